"""DiffSeg and DiffCut by their common call: on every family of tiny models, as segments, proposals and commands."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import label
from typer.testing import CliRunner

from token_groups import FAMILIES, photo
from tracedge.backbones import load_backbone
from tracedge.datasets.scenes import draw_scene
from tracedge.errors import DataError, SettingsError
from tracedge.fit import Fit
from tracedge.rivals.diffcut import DiffCut, DiffCutSettings, encoder_block
from tracedge.rivals.diffseg import DiffSeg, DiffSegSettings
from tracedge.rivals.segments import Segments, labels_of
from tracedge.rivals.zero_shot import SegmentProposer, zero_shot


@pytest.mark.parametrize("name", ["diffseg", "diffcut"])
@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("image_hw", [(43, 61), (64, 37)])
def test_every_family_gives_a_label_for_each_pixel_and_the_same_again(tiny_backbone, name, kind, image_hw):
    method = zero_shot(name, tiny_backbone(kind), px=32)
    found = method(photo(*image_hw))
    assert found.shape == image_hw and found.labels.dtype == np.int32
    assert np.array_equal(np.unique(found.labels), np.arange(1, len(found) + 1))
    assert np.array_equal(found.labels, method(photo(*image_hw)).labels)
    assert found.settings["method"] == name
    assert json.loads(json.dumps(dict(found.settings)))["px"] == 32


@pytest.mark.parametrize("name", ["diffseg", "diffcut"])
def test_the_mini_model_finds_the_parts_of_a_drawing(name):
    image = photo(96, 128)
    found = zero_shot(name, load_backbone("mini", device="cpu"))(image)
    truth = np.unique(image.reshape(-1, 3), axis=0, return_inverse=True)[1].reshape(96, 128)
    for part in range(3):
        pieces = found.instances().masks
        overlap = (pieces & (truth == part)).sum((1, 2)) / (pieces | (truth == part)).sum((1, 2))
        assert overlap.max() > 0.6


def test_labels_go_to_the_largest_map_in_the_order_of_their_pixels():
    maps = torch.zeros(4, 2, 2)
    maps[3, :, 0] = maps[1, :, 1] = 1
    maps[2, 1, 1] = 0.5  # nowhere the largest
    assert labels_of(maps, Fit((2, 2), 2)).tolist() == [[1, 2], [1, 2]]
    assert labels_of(torch.ones(3, 5, 7), Fit((5, 7), 14, 2)).tolist() == np.ones((5, 7)).tolist()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 4), st.integers(0, 999))
def test_masks_are_the_connected_pieces_the_largest_first(height, width, count, seed):
    labels = np.random.default_rng(seed).integers(1, count + 1, (height, width)).astype(np.int32)
    found = Segments(labels).instances()
    assert (found.masks.sum(0) == 1).all()
    assert (np.diff(found.areas) <= 0).all()
    assert len(found) == sum(label(labels == one)[1] for one in range(1, count + 1))
    for mask in found.masks:
        assert len(np.unique(labels[mask])) == 1 and label(mask)[1] == 1
    large = Segments(labels).instances(min_area=3)
    assert large.areas.tolist() == [area for area in found.areas.tolist() if area >= 3]


def test_edges_lie_where_segments_part():
    labels = np.ones((4, 6), np.int32)
    labels[:, 3:] = 2
    expected = np.zeros((4, 6), np.float32)
    expected[:, 2] = 1
    edges = Segments(labels).edges()
    assert edges.dtype == np.float32
    np.testing.assert_array_equal(edges, expected)


@pytest.mark.parametrize("wrong", [np.zeros((2, 2), np.int32), np.ones((2, 2)), np.ones(4, np.int32)])
def test_labels_that_are_none_are_refused(wrong):
    with pytest.raises(DataError, match=r"int32 \(H, W\)"):
        Segments(wrong)


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        (DiffSegSettings, {"timestep": 1000}, "timestep lies in"),
        (DiffSegSettings, {"anchors": 0}, "anchors"),
        (DiffSegSettings, {"rounds": 0}, "rounds"),
        (DiffSegSettings, {"threshold": 0.0}, "threshold"),
        (DiffSegSettings, {"threshold": float("nan")}, "threshold"),
        (DiffSegSettings, {"threshold": "0.9"}, "threshold"),
        (DiffSegSettings, {"noise": 1}, "noise takes true or false"),
        (DiffCutSettings, {"timestep": -1}, "timestep lies in"),
        (DiffCutSettings, {"alpha": 0}, "alpha"),
        (DiffCutSettings, {"tau": 1.0}, "tau"),
        (DiffCutSettings, {"thresholds": 0}, "thresholds"),
        (DiffCutSettings, {"side": 0}, "side"),
        (DiffCutSettings, {"seed": 0.5}, "seed takes a whole number"),
    ],
)
def test_settings_that_make_no_sense_are_named(kind, wrong, said):
    with pytest.raises(SettingsError, match=said):
        kind(**wrong)


def test_the_threshold_is_as_published_but_for_the_mini_model(tiny_backbone):
    assert DiffSeg(tiny_backbone("sd15")).provenance["parameters"]["threshold"] == 0.9
    assert DiffSeg(load_backbone("mini", device="cpu")).provenance["parameters"]["threshold"] == 0.7
    assert DiffSeg(load_backbone("mini", device="cpu"), DiffSegSettings(threshold=1.1)).settings.threshold == 1.1


def test_what_no_backbone_has_is_refused_before_any_work(tiny_backbone):
    backbone = tiny_backbone("sd15")
    with pytest.raises(SettingsError, match="no self-attention block 'nothing'"):
        DiffCut(backbone, block="nothing")
    for kind in (DiffSeg, DiffCut):
        with pytest.raises(SettingsError, match="at least 16"):
            kind(backbone, px=15)
    with pytest.raises(SettingsError, match="unknown rival 'maskcut'"):
        zero_shot("maskcut", backbone)


def test_masks_as_proposals_carry_what_they_depend_on(tiny_backbone):
    proposer = SegmentProposer(zero_shot("diffcut", tiny_backbone("sd15"), px=32))
    found = proposer(photo())
    assert found.shape == (43, 61) and (found.scores == 1).all()
    assert found.areas.min() >= 0.0005 * 43 * 61
    large = SegmentProposer(proposer.rival, min_area=0.2)(photo())
    assert large.areas.tolist() == [area for area in found.areas.tolist() if area >= 0.2 * 43 * 61]
    with pytest.raises(SettingsError, match="min_area"):
        SegmentProposer(proposer.rival, min_area=1)
    assert proposer.provenance["proposals"]["parameters"]["tau"] == 0.5
    assert proposer.provenance["proposals"]["block"] == encoder_block(tiny_backbone("sd15"))


# The command line


def run(*words: object):
    from tracedge.cli import app

    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    scene = draw_scene(5, 64)
    for name, array in (("images", scene.image), ("masks", scene.labels)):
        (folder / name).mkdir()
        Image.fromarray(array).save(folder / name / "5.png")
    return folder


def test_evaluate_edges_scores_the_borders_of_segments(scenes, tmp_path):
    report = tmp_path / "report.json"
    cheap = ("--no-rivals", "--thresholds", 3, "--workers", 1, "--json", report, "--size", 48)
    done = run("evaluate", "edges", "--truth", scenes, "--rival", "diffseg", "--rival", "diffcut", *cheap)
    assert done.exit_code == 0, done.output
    written = json.loads(report.read_text())
    assert [row["name"] for row in written["rows"]] == ["diffseg", "diffcut"]
    assert written["provenance"]["predictors"]["diffcut"]["px"] == 48
    unknown = run("evaluate", "edges", "--truth", scenes, "--rival", "sift")
    assert "unknown rival 'sift': choose one of diffseg, diffcut" in str(unknown.exception)


def test_evaluate_instances_and_segment_take_them_as_proposals(scenes, tmp_path):
    cheap = ("--size", 48)
    done = run("evaluate", "instances", "--truth", scenes, "--proposals", "diffseg", "--no-rivals", *cheap)
    assert done.exit_code == 0, done.output
    assert "| diffseg |" in done.output and "diffseg + BGP, our edges" in done.output
    done = run("segment", scenes / "images", "-o", tmp_path / "out", "--proposals", "diffcut", "--no-bgp", *cheap)
    assert done.exit_code == 0, done.output
    coco = json.loads((tmp_path / "out" / "instances.json").read_text())
    assert coco["annotations"]
