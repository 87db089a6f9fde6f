"""What the documents show, as steps that a test can take: Python, commands, and files that a page gives."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from typer.main import get_command

from tracedge.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "integrations").rglob("*.md"))]

NOT_RUN = {
    r"\b(sd15|sd21|sdxl|sd3|sd35\w*|pixart\w*|flux\w*|dino\w*|clip-\w+|siglip\w*|sam-\w+|sam2\.1|swin-\w+|resnet-\w+)\b": (
        "weights of this name would be downloaded first"
    ),
    r"^tracedge download": "it would ask the network",
    r"\b(COCO|VOC|BSDS|LABELLED)\b": "a data set that does not come with the package",
    r"^tracedge app": "it serves its page until it is stopped; tests/test_app_browser.py opens that in a browser",
    r"--engine ray": "it starts a cluster; tests/test_scale.py does",
    r"^tracedge bench": "it is a measurement, of minutes",
    r"^tracedge reproduce \w": "it is a table of the paper, of minutes to hours; tests/test_reproduce.py runs small ones",
}
"""Commands that are read but not run, and why. Their options and settings must exist all the same."""

SHORTER = {
    "--size": "64",
    "--count": "2",
    "--limit": "2",
    "--thresholds": "5",
}
"""Put behind every command of a page whose verb has the option: the same command, but quick."""

_FENCE = re.compile(r"^( *)```(\w+)(?: title=\"([^\"]+)\")?[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """kind: python, command, copy, file, or shown, a command that is there to be read.

    text: the code, the command without its comment, or the file's content.
    """

    kind: str
    text: str
    line: int
    title: str = ""


def steps(page: Path) -> Iterator[Step]:
    """What a page asks its reader to do, from top to bottom.

    A block with a title is a file of that name; of a block of bash the lines that begin with `tracedge` or `cp` count, of one of
    text those of `tracedge`.
    """
    text = page.read_text()
    for found in _FENCE.finditer(text):
        _, language, title, indented = found.groups()
        body = dedent(indented)
        line = text[: found.start()].count("\n") + 2
        if title:
            yield Step("file", body, line, title)
        elif language == "python":
            yield Step("python", body, line)
        elif language in ("bash", "text"):
            for number, shown in enumerate(body.replace("\\\n", "  ").splitlines()):
                command = shown.split("  #")[0].split(" # ")[0].strip()
                if language == "text" and command.startswith("tracedge "):
                    yield from (Step("shown", each, line + number) for each in command.split(" && "))
                elif command.startswith("tracedge "):
                    yield Step("command", command, line + number)
                elif language == "bash" and command.startswith("cp "):
                    yield Step("copy", command, line + number)


def reason_not_to_run(command: str) -> str | None:
    return next((reason for pattern, reason in NOT_RUN.items() if re.search(pattern, command)), None)


def output_of(command: str) -> str | None:
    """The folder or file that a command writes."""
    found = re.search(r"(?:\s-o|\s--output|\s--json|\s--report)\s+(\S+)", command)
    return found and found.group(1)


def reads(command: str, written: str) -> bool:
    """Whether a command names what another one writes, or something in it."""
    return any(word == written or word.startswith(f"{written}/") for word in shlex.split(command))


def verb_of(command: str) -> tuple[Any, list[str]]:
    """The verb of a command line, as click knows it, and the words behind it."""
    verb, words = get_command(app), shlex.split(command)[1:]
    while hasattr(verb, "commands") and words and words[0] in verb.commands:
        verb, words = verb.commands[words[0]], words[1:]
    return verb, words


def shortened(command: str) -> list[str]:
    """The words after `tracedge`, and what makes them quick; of an option that is given twice the last counts."""
    verb, words = verb_of(command)
    has = {name for parameter in verb.params for name in parameter.opts}
    quick = {option: value for option, value in SHORTER.items() if option in has}
    if "--count" in has:
        quick["--size"] = "96"  # of scenes: their own side, and not the model's
    if "--edges" in words:
        quick.pop("--size", None)  # edges of files have a size
    return [*shlex.split(command)[1:], *(word for pair in quick.items() for word in pair)]
