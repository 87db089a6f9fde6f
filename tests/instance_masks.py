"""Small instances for tests: not square, of odd sizes, overlapping, in pieces, with holes."""

import warnings

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tracedge.instances import Instances

with warnings.catch_warnings():  # once, where it is first imported: it works without OpenCV
    warnings.filterwarnings("ignore", message=r"OpenCV \(`opencv-python`\) is not installed", category=UserWarning)
    import supervision

__all__ = ["a_few", "any_instances", "any_masks", "assert_equal", "blobs", "supervision", "two"]

a_few = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def any_masks(draw: st.DrawFn) -> np.ndarray:
    """One mask (H, W) of any small size, which may be empty or full; drawn pixel by pixel it would take too long."""
    return _random(draw, draw(st.tuples(st.integers(1, 12), st.integers(1, 12))))


@st.composite
def any_instances(draw: st.DrawFn) -> Instances:
    """0 to 4 instances of any small size, with any scores."""
    masks = _random(draw, draw(st.tuples(st.integers(0, 4), st.integers(1, 9), st.integers(1, 9))))
    masks = masks[masks.any(axis=(1, 2))]
    scores = draw(st.lists(st.floats(0, 1, width=32), min_size=len(masks), max_size=len(masks)))
    return Instances(masks, scores, {"px": 512})


def _random(draw: st.DrawFn, shape: tuple[int, ...]) -> np.ndarray:
    density = draw(st.sampled_from([0.5, 0.0, 0.1, 0.9, 1.0]))
    return np.random.default_rng(draw(st.integers(0, 2**32))).random(shape) < density


def two() -> Instances:
    """Two that overlap, in 7 x 10; the first, of the lower score, is in two pieces, the second has a hole."""
    masks = np.zeros((2, 7, 10), bool)
    masks[0, 1:4, 0:4] = masks[0, 6, 9] = True
    masks[1, 2:7, 3:8] = True
    masks[1, 4, 5] = False
    return Instances(masks, [0.25, 0.9], {"model": "mini"})


def blobs(count: int, hw: tuple[int, int] = (61, 90), seed: int = 0) -> Instances:
    """Ellipses of more than 100 pixels, some of them cut by the border of the image."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[: hw[0], : hw[1]]
    masks = []
    while len(masks) < count:
        middle, radius = generator.uniform((0, 0), hw), generator.uniform(5, 20, 2)
        mask = ((rows - middle[0]) / radius[0]) ** 2 + ((columns - middle[1]) / radius[1]) ** 2 < 1
        if mask.sum() > 100:
            masks.append(mask)
    return Instances(np.array(masks).reshape(count, *hw), generator.random(count).astype(np.float32))


def assert_equal(one: Instances, other: Instances, *, settings: bool = True) -> None:
    np.testing.assert_array_equal(one.masks, other.masks)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert one.shape == other.shape
    assert not settings or dict(one.settings) == dict(other.settings)
