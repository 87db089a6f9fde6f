"""BSDS500: every annotator counts, and a .mat file is data and nothing else."""

import numpy as np
import pytest
from scipy.io import savemat

from dataset_roots import HW, bsds, drawn, save_boundaries, save_photo
from tracedge.datasets.bsds import open_bsds, read_boundaries
from tracedge.datasets.layouts import open_dataset
from tracedge.errors import DataError, SettingsError
from tracedge.evaluation.edges import evaluate_edges, true_boundaries
from tracedge.metrics.edges import EdgeProtocol


def test_the_folder_may_be_any_of_four(tmp_path):
    root = bsds(tmp_path)
    for path in (root, root / "BSR", root / "BSR/BSDS500", root / "BSR/BSDS500/data"):
        dataset = open_dataset(path)
        assert (dataset.layout, dataset.split) == ("BSDS", "test")
        assert dataset.names == ("100039.jpg", "2018.jpg")


def test_every_annotator_is_a_plane(tmp_path):
    sample = next(iter(open_bsds(bsds(tmp_path)).edges()))
    boundaries = true_boundaries(sample)
    assert boundaries.dtype == bool
    np.testing.assert_array_equal(boundaries, np.stack([drawn(0), drawn(1), drawn(3)]) == 1)
    assert not sample.ignore.any()
    with pytest.raises(DataError, match="no labels of instances"):
        _ = sample.labels


def test_a_prediction_is_matched_with_each_annotator(tmp_path):
    """One of three lines found, exactly: precision 1, recall 1 / 3."""

    def first(image):
        return drawn(0).astype(np.float32)

    protocol = EdgeProtocol(3, tolerance=0, cldice_tolerance=0, thin_truth=False)
    (row,) = evaluate_edges(open_bsds(bsds(tmp_path)).edges(), {"first": first}, protocol, 1)
    assert row.ods == pytest.approx(2 * 1 / 3 / (1 + 1 / 3)) and row.images == 2


def test_it_has_no_instances(tmp_path):
    dataset = open_bsds(bsds(tmp_path))
    with pytest.raises(DataError, match="it has no instances"):
        dataset.instances()
    with pytest.raises(DataError, match="it has no panoptic segments"):
        dataset.panoptic()
    with pytest.raises(SettingsError, match="boundaries only"):
        dataset.edges(crowd_edges=True)


def mat_of(folder, content):
    savemat(folder / "a.mat", content)
    return folder / "a.mat"


def cells(*values):
    array = np.empty((1, len(values)), object)
    for number, value in enumerate(values):
        array[0, number] = value
    return {"groundTruth": array}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"other": np.ones((2, 2))}, "no cell array groundTruth"),
        ({"groundTruth": np.ones((2, 2))}, "no cell array groundTruth"),
        (cells(np.ones((2, 2))), "annotator 1 has no map of Boundaries"),
        (cells({"Segmentation": np.ones((2, 2))}), "annotator 1 has no map of Boundaries"),
        (cells({"Boundaries": "text"}), "annotator 1 has no map of Boundaries"),
        (cells({"Boundaries": np.full((2, 2), 0.5)}), "annotator 1 has no map of Boundaries"),
        (cells({"Boundaries": cells(1)["groundTruth"]}), "annotator 1 has no map of Boundaries"),
        (cells({"Boundaries": np.full((2, 2), 7, np.uint8)}), r"are 0 or 1, got 7\.\.7"),
        (cells({"Boundaries": np.full((2, 2), -1, np.int8)}), r"are 0 or 1, got -1\.\.-1"),
        (cells({"Boundaries": np.zeros((0, 2), np.uint8)}), "annotator 1 has no map of Boundaries"),
        (cells({"Boundaries": np.zeros((2, 2, 2), np.uint8)}), "annotator 1 has no map of Boundaries"),
        (cells(np.zeros(2, [("Boundaries", object)])), "annotator 1 has no map of Boundaries"),
        (cells({"Boundaries": drawn(0)}, {"Boundaries": drawn(0)[:3]}), "of different sizes"),
        (cells(), "no annotator|no cell array"),
    ],
)
def test_a_mat_of_another_form_is_refused(tmp_path, content, sentence):
    with pytest.raises(DataError, match=sentence):
        read_boundaries(mat_of(tmp_path, content))


def test_a_damaged_or_a_huge_mat_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.mat"
    save_boundaries(path, [drawn(0)])
    whole = path.read_bytes()
    for damaged in (b"", b"no mat", whole[:200], whole[:-20], whole[:128] + bytes(len(whole) - 128)):
        path.write_bytes(damaged)
        with pytest.raises(DataError):
            read_boundaries(path)
    path.write_bytes(whole)
    monkeypatch.setattr("tracedge.datasets.bsds.MAX_MAT_BYTES", 10)
    with pytest.raises(DataError, match="more than the limit of 10"):
        read_boundaries(path)


def test_a_truth_of_another_size_than_its_photo_is_refused(tmp_path):
    root = bsds(tmp_path)
    save_photo(root / "BSR/BSDS500/data/images/test/100039.jpg", (HW[1], HW[0]))
    with pytest.raises(DataError, match=r"is 6 x 8 \(rows x columns\), but .* is 8 x 6"):
        _ = next(iter(open_bsds(root).edges())).ignore


def test_what_is_missing_is_named(tmp_path):
    root = bsds(tmp_path)
    with pytest.raises(DataError, match="photos of val are missing"):
        open_bsds(root, "val")
    (root / "BSR/BSDS500/data/images/val").mkdir()
    with pytest.raises(DataError, match=r"No image in .*val: looked for .*\.jpg"):
        open_bsds(root, "val")
    with pytest.raises(SettingsError, match="BSDS has the splits"):
        open_bsds(root, "all")
    (root / "BSR/BSDS500/data/groundTruth/test/2018.mat").unlink()
    with pytest.raises(DataError, match=r"1 of 2 images have no boundaries \(.mat\): 2018 .*groundTruth"):
        open_bsds(root)
