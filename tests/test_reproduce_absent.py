"""What `reproduce` says of what is not there: all of it, and a line for each thing that can be read."""

from pathlib import Path

import pytest

from tracedge.errors import DataError
from tracedge.evaluation.reproduction.recipes import RECIPES
from tracedge.evaluation.reproduction.reproduce import plan
from tracedge.evaluation.reproduction.request import SMALL, Request


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's machine may have them."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def said_of(request: Request) -> list[str]:
    with pytest.raises(DataError) as raised:
        plan(request)
    return str(raised.value).splitlines()


def test_a_folder_that_is_not_there_is_named_and_all_that_is_absent_too(tmp_path: Path) -> None:
    nowhere, file = tmp_path / "nowhere", tmp_path / "a.txt"
    file.touch()
    first, second, third, *lines = said_of(Request("uis", tmp_path / "out", (nowhere, file)))
    assert first == f"--data names {nowhere}, which is not there."
    assert second == f"--data names {file}, which is not a folder; a data set is one."
    assert third.startswith(f"uis lacks (looked for data in {nowhere}, {file}, files in no --files")
    assert f"  COCO 2017 val: no COCO root, looked in {nowhere}, {file}: for all rows" in lines
    assert any("weights of dino-vitb8" in line for line in lines)
    assert any("--files cutler=PATH" in line for line in lines)


def test_a_wrong_folder_is_refused_though_rows_could_be_run(tmp_path: Path) -> None:
    first, *_ = said_of(Request("edge-quality", tmp_path / "out", (tmp_path / "nowhere",), small=True, scale=SMALL))
    assert first.endswith("nowhere, which is not there.")


def test_each_row_can_be_told_from_the_next_though_its_name_has_a_comma(tmp_path: Path) -> None:
    lines = said_of(Request("backbones", tmp_path / "out"))[1:]
    labels = {row.label for row in RECIPES["backbones"].rows}
    assert any(", " in label for label in labels)
    named = [set(line.split(": for ")[1].split("; ")) for line in lines if not line.endswith(": for all rows")]
    assert len(named) == len(lines) - 1 and all(names <= labels for names in named)
    assert set.union(*named) == labels
