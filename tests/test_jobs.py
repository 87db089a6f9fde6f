"""Which images a run takes, and what their outputs are called."""

import os
from pathlib import Path, PurePosixPath

import pytest

from fake_runs import five_photos, photo
from tracedge.errors import RunError, SettingsError
from tracedge.jobs import Job, find_images, refuse_collisions


def relatives(jobs: list[Job]) -> list[str]:
    return [str(job.relative) for job in jobs]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return five_photos(tmp_path / "photos")


def test_a_folder_is_searched_in_sorted_order_and_its_tree_mirrored(photos):
    assert relatives(find_images([photos])) == ["a", "b", "sub/a", "sub/deep/c", "z"]


def test_only_names_of_images_count_inside_folders_in_either_case(tmp_path):
    for name in ("b.JPG", "a.tiff", "notes.txt", "c.webp", "d"):
        photo(tmp_path / name)
    assert relatives(find_images([tmp_path])) == ["a", "b", "c"]


def test_a_file_named_outright_is_taken_whatever_its_suffix(tmp_path):
    assert find_images([photo(tmp_path / "deep" / "scan.dat")]) == [
        Job(tmp_path / "deep" / "scan.dat", PurePosixPath("scan"))
    ]


def test_dots_inside_a_name_stay(tmp_path):
    photo(tmp_path / "2024.05.01.png")
    assert relatives(find_images([tmp_path])) == ["2024.05.01"]


def test_hidden_files_and_folders_are_left_out(photos):
    photo(photos / ".hidden.png")
    photo(photos / ".git" / "a.png")
    assert relatives(find_images([photos])) == ["a", "b", "sub/a", "sub/deep/c", "z"]


def test_links_that_lead_out_of_the_folder_are_left_out(photos, tmp_path):
    outside = photo(tmp_path / "outside" / "secret.png")
    (photos / "file.png").symlink_to(outside)
    (photos / "folder").symlink_to(outside.parent)
    (photos / "broken.png").symlink_to(tmp_path / "nowhere.png")
    (photos / "gone.png").symlink_to(photos / "nowhere.png")
    (photos / "inside.png").symlink_to(photos / "a.png")
    (photos / "loop").symlink_to(photos)
    expected = ["a", "b", "inside", "sub/a", "sub/deep/c", "z"]
    assert relatives(find_images([photos])) == expected
    assert relatives(find_images([photos / "*.png"])) == ["a", "b", "inside", "z"]
    assert relatives(find_images([photos / "*" / "*.png"])) == ["sub/a"]


def test_a_pattern_mirrors_the_tree_under_its_fixed_part(photos):
    photo(photos / ".hidden.png")
    assert relatives(find_images([str(photos / "**" / "*.png")])) == ["a", "b", "sub/a", "sub/deep/c", "z"]
    assert relatives(find_images([str(photos / "sub" / "*")])) == ["a"]


def test_a_folder_with_the_suffix_of_an_image_is_no_image(photos):
    (photos / "sub").rename(photos / "sub.png")
    assert relatives(find_images([photos / "*.png"])) == ["a", "b", "z"]
    assert relatives(find_images([photos])) == ["a", "b", "sub.png/a", "sub.png/deep/c", "z"]


def test_a_relative_pattern_starts_where_we_are(photos, monkeypatch):
    monkeypatch.chdir(photos)
    assert relatives(find_images(["*.png"])) == ["a", "b", "z"]
    assert relatives(find_images(["."])) == ["a", "b", "sub/a", "sub/deep/c", "z"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path):
    assert relatives(find_images([photo(tmp_path / "a[1].png")])) == ["a[1]"]


def test_a_file_found_twice_counts_once_where_it_was_found_first(photos):
    jobs = find_images([photos / "sub", photos / "sub" / "a.png", photos / "sub" / ".." / "sub" / "a.png"])
    assert relatives(jobs) == ["a", "deep/c"]


def test_the_output_folder_inside_the_input_is_left_out(photos):
    photo(photos / "edges" / "a.edges.png")
    assert "edges/a.edges" not in relatives(find_images([photos], output=photos / "edges"))
    assert "edges/a.edges" in relatives(find_images([photos]))


def test_an_output_folder_above_the_input_leaves_nothing_out(photos):
    assert len(find_images([photos], output=photos.parent)) == 5


@pytest.mark.parametrize("entry", [".", "*.png"])
def test_an_input_folder_as_output_folder_is_refused(photos, entry):
    with pytest.raises(SettingsError, match="is input and output at once"):
        find_images([photos / entry], output=photos / "sub" / "..")


@pytest.mark.parametrize(
    ("first", "second"),
    [("a.jpg", "a.png"), ("A.png", "a.jpg"), ("sub/x.png", "Sub/X.png"), ("\u00e9.png", "e\u0301.jpg")],
)
def test_two_images_of_one_output_name_are_both_named(tmp_path, first, second):
    photo(tmp_path / first)
    photo(tmp_path / second)
    with pytest.raises(RunError) as caught:
        find_images([tmp_path])
    assert first in str(caught.value)
    assert second in str(caught.value)


def test_equal_names_of_two_input_folders_collide(tmp_path):
    with pytest.raises(RunError, match="would both be written as a"):
        find_images([photo(tmp_path / "one" / "a.png").parent, photo(tmp_path / "two" / "a.png").parent])


def test_suffixes_that_meet_are_a_collision_too():
    jobs = [Job(Path("a.jpg"), PurePosixPath("a")), Job(Path("a.edges.jpg"), PurePosixPath("a.edges"))]
    refuse_collisions(jobs, (".edges.png",))
    with pytest.raises(RunError, match=r"would both be written as a\.edges\.png"):
        refuse_collisions(jobs, (".edges.png", ".png"))


def test_inputs_without_images_are_an_error_and_not_an_empty_run(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SettingsError, match=r"no images found in .*: looked for names ending in \.bmp, .*\.webp"):
        find_images([tmp_path])
    with pytest.raises(SettingsError, match="no inputs"):
        find_images([])
    with pytest.raises(SettingsError, match=r"nothing\.png does not exist"):
        find_images([tmp_path / "nothing.png"])
    with pytest.raises(SettingsError, match=r"the pattern .*\*\.png matches no image"):
        find_images([tmp_path / "*.png"])


def test_a_folder_that_cannot_be_listed_is_an_error(photos, monkeypatch):
    scandir = os.scandir

    def refuse_sub(path: str) -> object:
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_sub)  # and not chmod, which root does not feel
    with pytest.raises(RunError, match=r"photos/sub cannot be listed: Permission denied"):
        find_images([photos])


@pytest.mark.parametrize("relative", ["../a", "/a", "x/../../a", "", ".", "a\0"])
def test_no_job_leaves_the_output_folder(relative):
    with pytest.raises(RunError, match="outside of the output folder"):
        Job(Path("a.png"), PurePosixPath(relative))
