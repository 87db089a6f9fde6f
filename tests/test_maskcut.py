"""The normalised cut is the dense solver's, and MaskCut follows its description to the letter."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from scipy.ndimage import label

from drawn_features import scene, sets
from tracedge.errors import SettingsError
from tracedge.proposals import ncut
from tracedge.proposals.maskcut import maskcut
from tracedge.proposals.ncut import second_eigenvector, similarity_graph


def dense_cut(affinity: np.ndarray) -> np.ndarray:
    """The second eigenvector of (D - A) v = lambda D v by the dense solver, in fp64."""
    exact = affinity.astype(np.float64)
    degrees = np.diag(exact.sum(axis=1))
    vector = scipy.linalg.eigh(degrees - exact, degrees, subset_by_index=[1, 1])[1][:, 0]
    return vector * np.sign(vector[abs(vector).argmax()])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("side", "noise", "blank"), [(12, 0.8, 0), (20, 1.5, 0), (16, 0.3, 30), (18, 0.0, 50)])
def test_the_cut_is_the_dense_solvers_with_tokens_of_zero_features_too(side, noise, blank, seed):
    features, _ = scene(
        (side, side), ((side // 3, side // 3, 3), (side - 5, side - 4, 3)), noise=noise, depth=16, seed=seed
    )
    tokens = features.reshape(-1, 16)
    tokens[np.random.default_rng(seed).permutation(len(tokens))[:blank]] = 0
    graph = similarity_graph(tokens, 0.15)
    ours, theirs = second_eigenvector(graph), dense_cut(graph)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99999
    assert np.array_equal(ours > ours.mean(), theirs > theirs.mean())
    assert np.array_equal(ours, second_eigenvector(graph))


def test_tokens_tied_to_all_alike_fall_on_the_right_side_of_the_mean_by_less_than_fp32_can_tell():
    """Theirs is the mean / (1 - eigenvalue), and with edges of 1e-7 the eigenvalue is about as small."""
    features, _ = scene((12, 12), ((4, 4, 3), (9, 9, 2)), noise=0)
    tokens = features.reshape(144, -1)
    tokens[np.random.default_rng(0).permutation(144)[:25]] = 0
    graph = similarity_graph(tokens, 0.15, epsilon=1e-7)
    ours, theirs = second_eigenvector(graph), dense_cut(graph)
    assert np.array_equal(ours > ours.mean(), theirs > theirs.mean())


def test_where_lanczos_does_not_converge_the_dense_solver_steps_in(monkeypatch):
    graph = similarity_graph(scene(noise=0.8)[0].reshape(-1, 48), 0.15)
    fast = second_eigenvector(graph)

    def fails(*args, **kwargs):
        raise ncut.ArpackError(-9)

    monkeypatch.setattr(ncut, "eigsh", fails)
    assert np.allclose(second_eigenvector(graph), fast, atol=1e-4 * abs(fast).max())


def test_the_graph_is_1_where_the_cosine_exceeds_the_threshold_and_epsilon_elsewhere():
    tokens = np.array([[1, 0], [2, 0.1], [0, 3], [0, 0]], np.float32)
    graph = similarity_graph(tokens, 0.2)
    e = np.float32(1e-5)
    assert graph.tolist() == [[1, 1, e, e], [1, 1, e, e], [e, e, 1, e], [e, e, e, e]]


@pytest.mark.parametrize(
    "affinity",
    [np.ones((3, 3)), np.ones((3, 4), np.float32), np.ones((1, 1), np.float32), -np.eye(3, dtype=np.float32),
     np.full((3, 3), np.nan, np.float32), np.zeros((3, 3), np.float32)],
)  # fmt: skip
def test_what_is_no_affinity_is_refused(affinity):
    with pytest.raises(SettingsError, match="affinit"):
        second_eigenvector(affinity)


def slow_maskcut(features: np.ndarray, count: int, threshold: float = 0.15) -> list[np.ndarray]:
    """The description followed to the letter: features set to zero, a dense solve in each round, no early end."""
    height, width, _ = features.shape
    painted, before, found = np.zeros((height, width), bool), None, []
    for _ in range(count):
        tokens = np.where(painted[..., None], 0, features).reshape(height * width, -1)
        vector = dense_cut(similarity_graph(tokens, threshold)).reshape(height, width)
        side = vector > vector.mean()
        seed = np.unravel_index(abs(vector).argmax(), vector.shape)
        if sum(map(int, (side[0, 0], side[0, -1], side[-1, 0], side[-1, -1]))) >= 3 or not side[seed]:
            side, vector = ~side, -vector
        seed = np.unravel_index(vector.argmax(), vector.shape)
        pieces = label(side)[0]
        mask = pieces == pieces[seed]
        again = before is not None and (mask & before).sum() / (mask | before).sum() > 0.5
        before = mask
        if found and (again or mask.mean() <= 0.01):
            continue
        found.append(mask & ~painted)
        painted |= mask
    return [mask for mask in found if mask.any()]


def test_maskcut_finds_both_of_two_discs():
    features, labels = scene(noise=0.3)
    assert sets(maskcut(features)) == sets([labels == 1, labels == 2])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noise", [0.5, 1.0, 1.6])
def test_maskcut_is_its_description_followed_to_the_letter(noise, seed):
    features, _ = scene((14, 18), ((5, 5, 3), (9, 13, 3)), noise=noise, seed=seed)
    ours, theirs = maskcut(features, count=4), slow_maskcut(features, 4)
    assert len(ours) == len(theirs)
    assert all(np.array_equal(*pair) for pair in zip(ours, theirs, strict=True))
    assert ours.sum(axis=0).max() <= 1
    assert np.array_equal(ours, maskcut(features, count=4))


def test_what_fills_three_corners_is_background_even_if_it_is_small():
    """Three bright corners of a dark picture: the object is the rest."""
    features = np.zeros((12, 12, 2), np.float32)
    features[..., 0] = 1
    for corner in (np.s_[:2, :2], np.s_[:2, -2:], np.s_[-2:, :2]):
        features[corner] = [0, 1]
    assert maskcut(features, count=1)[0].sum() == 144 - 12


def test_of_the_object_only_the_piece_around_its_most_outstanding_token_is_taken():
    features, labels = scene(kinds=(1, 1), noise=0.3)
    assert maskcut(features, count=1)[0].tobytes() in sets([labels == 1, labels == 2])
    assert sets(maskcut(features, count=2)) == sets([labels == 1, labels == 2])


def test_maskcut_drops_what_is_too_small_but_not_in_the_first_round():
    features, labels = scene(discs=((6, 7, 4), (14, 20, 0)), noise=0)  # a disc and a single token of 560
    assert sets(maskcut(features)) == sets([labels == 1])
    assert sets(maskcut(features, min_area=0)) == sets([labels == 1, labels == 2])
    assert sets(maskcut(features, min_area=0.5)) == sets([labels == 1])


def test_a_cut_much_like_the_one_before_is_discarded_and_another_loses_what_is_painted(monkeypatch):
    first, again, other = np.zeros((3, 6, 8), bool)
    first[1:5, 1:5] = again[1:5, 1:6] = other[1:5, 4:8] = True  # 16, 20 and 16 tokens; 16 and 4 shared with the first
    features, _ = scene((6, 8), ((2, 2, 1),))

    def cuts(*masks: np.ndarray, **options) -> list[int]:
        rounds = iter(masks)
        monkeypatch.setattr("tracedge.proposals.maskcut._object", lambda graph, grid_hw: next(rounds))
        return maskcut(features, count=len(masks), **options).sum(axis=(1, 2)).tolist()

    assert cuts(first, other) == [16, 12]
    assert cuts(first, again) == [16]
    assert cuts(first, again, max_iou=0.8) == [16, 4]  # exactly as much is not more
    assert cuts(first, other, again) == [16, 12]  # nothing new: not even an empty mask


def test_where_all_tokens_are_alike_there_is_nothing_to_cut():
    for features in (np.ones((6, 7, 4), np.float32), np.zeros((6, 7, 4), np.float32)):
        assert maskcut(features).shape == (0, 6, 7)


@pytest.mark.slow
def test_three_cuts_of_3600_tokens_take_seconds():
    from time import process_time

    features, _ = scene((60, 60), ((15, 20, 9), (40, 40, 12), (45, 10, 6)), noise=1.5, depth=768)
    start = process_time()
    assert len(maskcut(features)) == 3
    assert process_time() - start < 10
