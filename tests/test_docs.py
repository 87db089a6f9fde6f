"""What the documents show is run: each page from top to bottom, in a folder that holds photo.jpg and photos/.

The README runs with the fast tests, the other pages with the slow ones; that each option exists is a fast test of all.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from typer.testing import CliRunner

import tracedge
from document_pages import PAGES, ROOT, SHORTER, Step, output_of, reads, reason_not_to_run, shortened, steps, verb_of
from tracedge.cli import app
from tracedge.datasets.scenes import draw_scene

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
COMMANDS = [
    pytest.param(step.text, id=f"{name}:{step.line}")
    for name, page in zip(NAMES, PAGES, strict=True)
    for step in steps(page)
    if step.kind in ("command", "shown") and "$" not in step.text and "..." not in step.text
]
WITHOUT_NETWORK = ("sd15", "sd35-large", "sam-base", "clip-base16", "dinov2")


@pytest.fixture
def beside_photos(tmp_path, monkeypatch):
    """A folder as every page assumes: photo.jpg, photos/ with three photos, and the configs of this repository, cut short."""
    monkeypatch.chdir(tmp_path)
    coins = Image.fromarray(skimage.data.coins())
    coins.resize((96, 76)).save("photo.jpg")
    Path("photos").mkdir()
    coins.crop((0, 0, 192, 152)).resize((96, 76)).save("photos/a.jpg")
    Image.fromarray(draw_scene(1_000_001, px=80).image).save("photos/b.png")
    Image.fromarray(draw_scene(1_000_002, px=64).image).save("photos/c.png")
    Path("configs").mkdir()
    for config in (ROOT / "configs").glob("*.toml"):
        Path("configs", config.name).write_text(two_steps(config.read_text()))
    return tmp_path


def two_steps(config: str) -> str:
    """The same training, of two steps of two pictures."""
    config = re.sub(r"^(steps|batch) = \d+", r"\1 = 2", config, flags=re.MULTILINE)
    return re.sub(r"^px = \d+", "px = 64", config, flags=re.MULTILINE)


@dataclass
class Reader:
    """Somebody who does what a page says, from top to bottom, but for what cannot be done here.

    names: of the page's Python. absent: what commands would have written that were not run; who reads that is not run either.
    """

    names: dict[str, object] = field(default_factory=lambda: {"__name__": "page"})
    absent: set[str] = field(default_factory=set)

    def take(self, step: Step) -> None:
        getattr(self, f"_{step.kind}")(step)

    def _file(self, step: Step) -> None:
        Path(step.title).write_text(two_steps(step.text) if step.title.endswith(".toml") else step.text)

    def _python(self, step: Step) -> None:
        code = compile(step.text, f"line {step.line}", "exec")
        if not any(name in step.text for name in WITHOUT_NETWORK):
            exec(code, self.names)

    def _shown(self, step: Step) -> None:
        """There to be read."""

    def _copy(self, step: Step) -> None:
        subprocess.run(step.text.split(), check=True)

    def _command(self, step: Step) -> None:
        if reason_not_to_run(step.text) or any(reads(step.text, each) for each in self.absent):
            self.absent |= {output_of(step.text)} - {None}
            return
        result = CliRunner().invoke(app, shortened(step.text))
        assert result.exit_code == 0, f"line {step.line}: {step.text}\n{result.output}{result.exception}"
        self.absent.discard(output_of(step.text))


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")  # pycocotools
@pytest.mark.filterwarnings("ignore:OpenCV .* is not installed:UserWarning")  # supervision works without
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name, marks=[] if name == "README.md" else pytest.mark.slow)
        for name, page in zip(NAMES, PAGES, strict=True)
        if any(True for _ in steps(page))
    ],
)
def test_a_page_runs_from_top_to_bottom(page, beside_photos, monkeypatch):
    if page.is_relative_to(ROOT / "integrations"):
        monkeypatch.syspath_prepend(page.parent)  # as these pages ask for
    reader = Reader()
    for step in steps(page):
        reader.take(step)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_only_options_and_settings_that_exist(command):
    verb, words = verb_of(command)
    assert not hasattr(verb, "commands"), f"{command}: no such verb"
    verb.make_context(verb.name, words)  # raises at an unknown option, a value that cannot be, or one that is missing


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("edges p.jpg -o e --sise 64", "No such option"),
        ("edges p.jpg", "output"),
        ("edges p.jpg -o e --size big", "valid integer"),
    ],
)
def test_a_wrong_command_would_be_seen(wrong, why):
    verb, words = verb_of(f"tracedge {wrong}")
    with pytest.raises(Exception, match=why):
        verb.make_context(verb.name, words)


def test_what_reads_what_was_not_written_is_known():
    assert output_of("tracedge edges a -o out/x --size 3") == "out/x"
    assert reads("tracedge segment b --student out/x/student", "out/x")
    assert not reads("tracedge segment b --student out/xy", "out/x")


def test_commands_are_made_quick_and_not_others():
    assert shortened("tracedge edges photo.jpg -o e") == ["edges", "photo.jpg", "-o", "e", "--size", SHORTER["--size"]]
    assert shortened("tracedge scenes -o s")[-4:] == ["--size", "96", "--count", "2"]


def test_a_page_is_read_as_its_reader_would(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        '```json title="names.json"\n["a"]\n```\n\n```bash\nmake demo\ntracedge edges a \\\n  -o b  # why\n```\n\n'
        "```text\ntracedge nothing\n```\n\n1. so:\n\n    ```python\n    x = 1\n    ```\n"
    )
    assert [(step.kind, step.text.split(), step.title) for step in steps(page)] == [
        ("file", ['["a"]'], "names.json"),
        ("command", ["tracedge", "edges", "a", "-o", "b"], ""),
        ("shown", ["tracedge", "nothing"], ""),
        ("python", ["x", "=", "1"], ""),
    ]


def test_every_file_that_the_documents_link_to_is_there():
    for document in [ROOT / "CONTRIBUTING.md", *PAGES]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.relative_to(ROOT)} links to {link}"


def test_the_make_targets_that_the_documents_name_exist():
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE):
            assert f"\n{target}:" in makefile, f"{page.name}: make {target}"


def test_every_public_name_is_in_the_reference():
    reference = (ROOT / "docs/reference/python.md").read_text()
    for name in tracedge.__all__:
        assert re.search(rf"^::: tracedge\.[\w.]+\.{name}$", reference, re.MULTILINE), f"{name} is not in it"


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in sorted((ROOT / "docs").rglob("*.md")):
        name = page.relative_to(ROOT / "docs").as_posix()
        assert re.search(rf"\s{re.escape(name)}$", navigation, re.MULTILINE), f"{name} is not in mkdocs.yml"


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_names_no_other_host(tmp_path):
    for package in ("mkdocs", "material", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(package, reason="the documents are built with the packages of the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "COLUMNS": "100"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-3000:]
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        loaded = re.findall(
            r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"?(https?://[^\"\s>]+)", page.read_text()
        )
        assert not loaded, f"{page.name} loads {loaded}"
    shown = (tmp_path / "site/reference/commands.html").read_text()
    assert "--proposals" in shown and "tracedge detect relabel" in shown
    formula = (tmp_path / "site/concepts/divergence.html").read_text()
    assert "<math" in formula and "```" not in formula


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a minute or two by itself; machines are shared
def test_the_notebook_runs(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="the notebook is run by nbclient")
    nbclient = pytest.importorskip("nbclient", reason="the notebook is run by nbclient")
    notebook = nbformat.read(ROOT / "docs/notebook.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "outputs are not committed: they hold photos"
    found = nbclient.NotebookClient(notebook, timeout=1000, resources={"metadata": {"path": str(tmp_path)}}).execute()
    pictures = [o for cell in found.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) >= 6


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_pictures_of_the_concepts_are_those_that_the_script_draws(tmp_path):
    pytest.importorskip("matplotlib", reason="the pictures are drawn by matplotlib")
    pictures = ROOT / "docs/pictures"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(pictures / "draw.py"), str(tmp_path)], check=True, env=environment)
    assert len(list(tmp_path.glob("*.png"))) == 9
    for drawn in tmp_path.glob("*.png"):
        committed = pictures / drawn.name
        assert committed.stat().st_size < 200_000
        with Image.open(drawn) as new, Image.open(committed) as old:
            difference = np.abs(np.asarray(new.convert("RGB"), float) - np.asarray(old.convert("RGB"), float))
        assert difference.mean() < 2, f"docs/pictures/{drawn.name} is of another state: python docs/pictures/draw.py"


def test_what_a_page_copies_stays_in_its_folder():
    for page in PAGES:
        for step in steps(page):
            assert step.kind != "copy" or not re.search(r"\s[/~]|\.\.", step.text)
