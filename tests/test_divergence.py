"""ABDiv and the criteria: against formulas written out, and on attention whose truth is known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracedge.criteria import CRITERIA, criterion, mean_over_rows
from tracedge.divergence import attention_boundary_divergence
from tracedge.errors import SettingsError


def random_attention(seed: int, height: int, width: int, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, height * width, height * width, generator=generator).softmax(-1)


def attention_of_objects(labels: np.ndarray, leak: float = 1e-3) -> torch.Tensor:
    """Every token attends evenly to its own object, and a little to all."""
    flat = torch.from_numpy(labels.ravel())
    same = (flat[:, None] == flat[None, :]).double() + leak
    return (same / same.sum(-1, keepdim=True)).float()[None]


def test_abdiv_is_high_on_the_shared_border_of_two_touching_squares_and_zero_inside():
    labels = np.zeros((12, 18), int)
    labels[3:9, 3:9], labels[3:9, 9:15] = 1, 2
    found = attention_boundary_divergence(attention_of_objects(labels), (12, 18))[0].numpy()
    shared = found[4:8, 8:10]  # the last column of the one and the first of the other
    inside = np.concatenate([found[5:7, 5:7].ravel(), found[5:7, 11:13].ravel(), found[0, :]])
    assert shared.min() > 5
    assert inside.max() < 1e-5


def test_abdiv_equals_equation_two_written_out():
    attention = random_attention(0, 3, 4)
    rows = attention[0].double().reshape(3, 4, 12)
    found = attention_boundary_divergence(attention, (3, 4), rows=5)[0]
    for i in range(3):
        for j in range(4):
            pairs = [
                (rows[min(i + 1, 2), j], rows[max(i - 1, 0), j]),
                (rows[i, min(j + 1, 3)], rows[i, max(j - 1, 0)]),
            ]
            expected = sum(float((p * (p / q).log()).sum()) for p, q in pairs)
            assert float(found[i, j]) == pytest.approx(expected, rel=1e-4)


def test_eight_neighbours_add_the_diagonals():
    labels = np.add.outer(np.arange(9), np.arange(9)) >= 8  # a diagonal border
    attention = attention_of_objects(labels.astype(int))
    four = attention_boundary_divergence(attention, (9, 9))
    eight = attention_boundary_divergence(attention, (9, 9), neighbours=8)
    assert float(eight[0, 4, 4]) > float(four[0, 4, 4])
    assert float((eight - four).min()) >= 0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 6))
def test_transposition_commutes_with_abdiv(seed, height, width):
    attention = random_attention(seed, height, width)
    grid = attention.reshape(1, height, width, height, width)
    turned = grid.permute(0, 2, 1, 4, 3).reshape(1, height * width, height * width)
    straight = attention_boundary_divergence(attention, (height, width))
    torch.testing.assert_close(attention_boundary_divergence(turned, (width, height)), straight.transpose(1, 2))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(2, 6))
def test_flips_commute_when_symmetric(seed, height, width):
    attention = random_attention(seed, height, width)
    grid = attention.reshape(1, height, width, height, width)
    flipped = grid.flip(1, 3).reshape(1, height * width, height * width)
    straight = attention_boundary_divergence(attention, (height, width), symmetric=True)
    found = attention_boundary_divergence(flipped, (height, width), symmetric=True)
    torch.testing.assert_close(found, straight.flip(1), rtol=1e-4, atol=1e-6)


def test_flips_do_not_commute_with_the_one_sided_kl_of_equation_two():
    attention = random_attention(3, 4, 4)
    flipped = attention.reshape(1, 4, 4, 4, 4).flip(1, 3).reshape(1, 16, 16)
    straight = attention_boundary_divergence(attention, (4, 4))
    assert not torch.allclose(attention_boundary_divergence(flipped, (4, 4)), straight.flip(1), rtol=1e-2)


def test_two_images_of_a_batch_are_kept_apart():
    both = torch.cat([random_attention(1, 3, 5), random_attention(2, 3, 5)])
    found = attention_boundary_divergence(both, (3, 5), rows=4)
    torch.testing.assert_close(found[1:], attention_boundary_divergence(both[1:], (3, 5)))


@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_every_criterion_is_zero_for_equal_rows_and_positive_for_moved_mass(name):
    p, q = torch.zeros(12), torch.zeros(12)
    p[0], q[4], q[7] = 1, 0.5, 0.5
    measure = criterion(name)
    assert float(measure(p, p, (3, 4))) == pytest.approx(0, abs=1e-6)
    assert float(measure(p, q, (3, 4))) > 0.1


def test_kl_and_jsd_equal_scipy():
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import entropy

    p, q = random_attention(5, 2, 3)[0, 0].double(), random_attention(6, 2, 3)[0, 0].double()
    assert float(CRITERIA["kl"](p, q, (2, 3))) == pytest.approx(entropy(p, q), rel=1e-6)
    assert float(CRITERIA["jsd"](p, q, (2, 3))) == pytest.approx(jensenshannon(p, q) ** 2, rel=1e-6)


def test_wasserstein_of_one_token_is_the_city_block_distance():
    p, q = torch.zeros(4, 5), torch.zeros(4, 5)
    p[0, 1], q[2, 4] = 1, 1
    assert float(CRITERIA["wasserstein"](p.flatten(), q.flatten(), (4, 5))) == pytest.approx(2 + 3)


def test_the_mean_over_rows_does_not_depend_on_the_chunk():
    p, q = random_attention(1, 3, 4, batch=2), random_attention(2, 3, 4, batch=2)
    whole = mean_over_rows(CRITERIA["kl"], p, q, (3, 4), rows=12)
    torch.testing.assert_close(mean_over_rows(CRITERIA["kl"], p, q, (3, 4), rows=5), whole)
    torch.testing.assert_close(whole, CRITERIA["kl"](p, q, (3, 4)).double().mean(-1))


@pytest.mark.parametrize(
    ("options", "words"), [({"neighbours": 6}, "4 or 8"), ({"measure": "cosine"}, "unknown criterion")]
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(SettingsError, match=words):
        attention_boundary_divergence(random_attention(0, 2, 2), (2, 2), **options)


def test_a_grid_that_does_not_fit_is_refused():
    with pytest.raises(SettingsError, match="2 x 3"):
        attention_boundary_divergence(random_attention(0, 2, 2), (2, 3))
