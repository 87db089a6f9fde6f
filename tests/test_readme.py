"""What the README shows is run: its Python as it stands, its commands as far as they can go offline."""

import re
import shlex
from pathlib import Path

import pytest
import skimage.data
from PIL import Image
from typer.testing import CliRunner

from tracedge.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BASH = "\n".join(re.findall(r"```bash\n(.*?)```", README, re.DOTALL))
COMMANDS = [line.split("#")[0].strip() for line in BASH.splitlines() if line.startswith("tracedge ")]


@pytest.fixture
def photo(tmp_path, monkeypatch):
    """A folder as the README assumes: photo.jpg and photos/ beside you."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(skimage.data.coins()).resize((96, 76)).save("photo.jpg")
    Path("photos").mkdir()
    Image.open("photo.jpg").save("photos/one.jpg")
    return tmp_path


def test_the_python_of_the_readme_runs(photo):
    shapes = []
    names: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL):  # one after the other, as a reader would
        exec(code, names)
        shapes.append(names["found"].shape)
    assert shapes == [(76, 96), (76, 96)]


WITH_WEIGHTS = ("sd15", "sam-base")
"""What a command names that must be downloaded first."""


@pytest.mark.parametrize(
    "command",
    [
        c
        for c in COMMANDS
        if c.split()[1] in ("edges", "inspect", "segment")
        and "photo" in c
        and not any(name in c for name in WITH_WEIGHTS)
    ],
)
def test_the_commands_of_the_readme_on_photos_run(photo, command):
    result = CliRunner().invoke(app, [*shlex.split(command)[1:], "--size", "64"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_has_only_options_that_exist(command):
    verb = [word for word in shlex.split(command)[1:3] if re.fullmatch("[a-z]+", word)]
    verb = verb if verb[0] in ("evaluate", "detect") else verb[:1]
    shown = CliRunner().invoke(app, [*verb, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    for option in re.findall(r"(?<=\s)--?[a-z][a-z-]*", command):
        assert option in shown


def test_every_file_that_the_documents_link_to_is_there():
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"


def test_the_make_targets_that_the_readme_names_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([a-z-]+)", BASH, re.MULTILINE):
        assert f"\n{target}:" in makefile
