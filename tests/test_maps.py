"""An EdgeMap that exists is a right one, and stays so."""

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from tracedge.errors import DataError
from tracedge.maps import EdgeMap, canonical_json, settings_hash


def edges(height: int = 3, width: int = 5) -> np.ndarray:
    return np.random.default_rng(0).random((height, width), dtype=np.float32)


def edge_map(**change: object) -> EdgeMap:
    fields = {
        "edges": edges(),
        "timestep": 200.0,
        "margin": 0.25,
        "timesteps": (0.0, 100.0, 200.0),
        "divergences": (0.1, 0.2, 0.45),
        "settings": {"model": "mini", "px": 512, "layers": [1, 2]},
    }
    return EdgeMap(**{**fields, **change})


def test_an_edge_map_keeps_what_it_is_given():
    found = edge_map()
    np.testing.assert_array_equal(found.edges, edges())
    assert found.shape == (3, 5)
    assert (found.timestep, found.margin) == (200.0, 0.25)
    assert found.timesteps == (0.0, 100.0, 200.0)
    assert found.divergences == (0.1, 0.2, 0.45)
    assert dict(found.settings) == {"model": "mini", "px": 512, "layers": [1, 2]}


def test_only_edges_are_needed():
    found = EdgeMap(edges())
    assert (found.timestep, found.margin, found.timesteps, found.divergences) == (None, None, (), ())
    assert dict(found.settings) == {}


def test_nobody_can_change_it_afterwards():
    mine, settings = edges(), {"px": 512}
    found = EdgeMap(mine, settings=settings)
    mine[:] = 0
    settings["px"] = 0
    np.testing.assert_array_equal(found.edges, edges())
    assert found.settings["px"] == 512
    with pytest.raises(ValueError, match="read-only"):
        found.edges[0, 0] = 0
    with pytest.raises(TypeError):
        found.settings["px"] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.timestep = 0.0


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (edges().astype(np.float64), r"float32 array \(H, W\).*got float64"),
        (edges()[None], r"got float32 \(1, 3, 5\)"),
        (np.zeros((0, 5), np.float32), "at least one pixel"),
        (edges().tolist(), "got list"),
        (edges() + 1, r"finite edges in \[0, 1\]"),
        (edges() - 1, r"finite edges in \[0, 1\]"),
        (np.full((3, 5), np.nan, np.float32), "got values in nan"),
        (np.full((3, 5), np.inf, np.float32), "got values in inf"),
    ],
)
def test_edges_of_another_kind_are_refused(wrong, sentence):
    with pytest.raises(DataError, match=sentence):
        EdgeMap(wrong)


def test_one_nan_among_good_edges_is_refused():
    wrong = edges()
    wrong[1, 2] = np.nan
    with pytest.raises(DataError, match="finite edges"):
        EdgeMap(wrong)


@pytest.mark.parametrize(
    "change",
    [
        {"timestep": np.nan},
        {"timestep": -1.0},
        {"margin": np.inf},
        {"margin": -0.1},
        {"divergences": (0.1, np.nan, 0.2)},
        {"divergences": (0.1, -0.1, 0.2)},
        {"timesteps": (0.0, np.inf, 200.0)},
        {"divergences": (0.1, 0.2)},
        {"settings": {"px": np.nan}},
        {"settings": {"px": np.zeros(2)}},
        {"settings": {1: "px"}},
    ],
)
def test_a_history_that_makes_no_sense_is_refused(change):
    with pytest.raises(DataError):
        edge_map(**change)


def test_png16_spans_the_whole_range():
    values = EdgeMap(np.array([[0, 0.5, 1]], np.float32)).to_png16()
    assert values.dtype == np.uint16
    assert values.tolist() == [[0, 32768, 65535]]


@given(st_numpy.arrays(np.float32, (2, 3), elements=st.floats(0, 1, width=32)))
def test_png16_is_within_half_a_step(values):
    found = EdgeMap(values)
    assert np.abs(found.to_png16() / 65535 - values).max() <= 0.5 / 65535 + 1e-12


def test_the_settings_hash_knows_the_values_and_not_their_order():
    assert settings_hash({"px": 512, "seed": 0}) == settings_hash({"seed": 0, "px": 512})
    assert settings_hash({"px": 512}) != settings_hash({"px": 513})
    assert EdgeMap(edges(), settings={"px": 512}).settings_hash == settings_hash({"px": 512})
    assert len(settings_hash({})) == 16


def test_the_settings_hash_stays_the_same_from_release_to_release():
    assert settings_hash({"model": "mini", "px": 512}) == "1740cf7e937800d7"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_settings_read_back_from_json_have_the_same_hash(settings):
    assert settings_hash(json.loads(canonical_json(settings))) == settings_hash(settings)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda found: pickle.loads(pickle.dumps(found))])  # noqa: S301
def test_an_edge_map_can_be_copied_and_sent_to_another_process(again):
    found, other = edge_map(), again(edge_map())
    np.testing.assert_array_equal(other.edges, found.edges)
    assert not other.edges.flags.writeable
    for name in ("timestep", "margin", "timesteps", "divergences", "settings"):
        assert getattr(other, name) == getattr(found, name)


def test_a_changed_copy_is_checked_again():
    assert dataclasses.replace(edge_map(), timestep=100.0).timestep == 100.0
    with pytest.raises(DataError):
        dataclasses.replace(edge_map(), timestep=-1.0)
