"""Pseudo labels: what each rule is sure of, and a folder that says what it lacks."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tracedge.errors import DataError, SettingsError
from tracedge.export.png import write_png8, write_png16
from tracedge.student.pseudo_labels import EDGE, INTERIOR, RULES, UNCERTAIN, PseudoLabels, load_at, ternary

PROVENANCE = {"predictor": "teacher", "taught_px": 16, "size": 8, "backbone": {"name": "mini"}}


def folder_of(path, **provenance):
    rng = np.random.default_rng(0)
    (path / "sub").mkdir(parents=True)
    (path / "settings.json").write_text(json.dumps(PROVENANCE | provenance))
    for stem in ("a", "sub/b"):
        write_png8(path / f"{stem}.image.png", rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        write_png16(path / f"{stem}.edges.png", rng.random((12, 16)).astype(np.float32))
    return path


def test_the_papers_rule_cuts_at_mean_and_deviation():
    edges = np.array([[0.0, 0.4, 0.5, 0.6, 1.0]], np.float32)  # mean 0.5, deviation 0.32
    assert ternary(edges, "mean_deviation").tolist() == [[INTERIOR, UNCERTAIN, UNCERTAIN, UNCERTAIN, EDGE]]


def test_on_thin_edges_the_papers_rule_has_no_interior_and_ridges_has():
    edges = np.zeros((32, 32), np.float32)
    edges[:, 10], edges[:, 20] = 0.9, 0.3
    assert not (ternary(edges, "mean_deviation") == INTERIOR).any()
    labels = ternary(edges, "ridges")
    assert (labels[:, 10] == EDGE).all()
    assert (labels[:, 20] != EDGE).all()
    assert (labels[:, 13:18] == INTERIOR).all()
    assert (labels[:, [8, 9, 11, 12]] == UNCERTAIN).all()  # a margin: the teacher may be a pixel off


@pytest.mark.parametrize("rule", sorted(RULES))
@given(edges=hnp.arrays(np.float32, (6, 7), elements=st.floats(0, 1, width=32)))
def test_what_is_edge_is_stronger_than_what_is_interior(rule, edges):
    labels = ternary(edges, rule)
    assert set(np.unique(labels)) <= {EDGE, INTERIOR, UNCERTAIN}
    if (labels == EDGE).any() and (labels == INTERIOR).any():
        assert edges[labels == EDGE].min() > edges[labels == INTERIOR].max()


def test_a_picture_without_edges_is_all_interior():
    assert (ternary(np.zeros((4, 4), np.float32), "ridges") == INTERIOR).all()


def test_an_unknown_rule_is_refused():
    with pytest.raises(SettingsError, match="ridges"):
        ternary(np.zeros((4, 4), np.float32), "best")


def test_a_folder_gives_its_pairs_in_the_order_of_their_names(tmp_path):
    labels = PseudoLabels(folder_of(tmp_path / "pseudo"))
    assert len(labels) == 2
    assert labels.provenance["taught_px"] == 16
    rng = np.random.default_rng(0)
    assert np.array_equal(labels[0].image, rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    assert labels[1].edges.shape == (12, 16)


def test_a_pair_without_its_edges_is_left_out(tmp_path):
    folder = folder_of(tmp_path / "pseudo")
    (folder / "a.edges.png").unlink()
    assert len(PseudoLabels(folder)) == 1


def test_a_torn_file_is_named_with_the_way_out(tmp_path):
    folder = folder_of(tmp_path / "pseudo")
    path = folder / "a.edges.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"a\.edges\.png.*tracedge teach"):
        PseudoLabels(folder)[0]


def test_an_image_of_another_size_is_named(tmp_path):
    folder = folder_of(tmp_path / "pseudo")
    write_png8(folder / "a.image.png", np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(DataError, match=r"\(12, 16\).*\(5, 5\)"):
        PseudoLabels(folder)[0]


@pytest.mark.parametrize("settings", [None, "{", '{"predictor": "student"}', '{"predictor": "teacher"}'])
def test_another_folder_is_refused(tmp_path, settings):
    if settings is not None:
        (tmp_path / "settings.json").write_text(settings)
    with pytest.raises(DataError, match="tracedge teach"):
        PseudoLabels(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps(PROVENANCE))
    with pytest.raises(DataError, match="no pseudo labels yet"):
        PseudoLabels(tmp_path)


@pytest.mark.parametrize(("hw", "expected"), [((30, 60), (32, 64)), ((128, 64), (64, 32)), ((1, 500), (1, 64))])
def test_pictures_are_brought_to_one_long_side(tmp_path, hw, expected):
    write_png8(tmp_path / "a.png", np.full((*hw, 3), 7, np.uint8))
    assert load_at(tmp_path / "a.png", 64, max_pixels=10**6).shape == (*expected, 3)
