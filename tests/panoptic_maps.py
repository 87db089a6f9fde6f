"""Small panoptic maps for tests: four categories, segments of any shape, void, crowds."""

import numpy as np
from hypothesis import strategies as st

from tracedge.categories import Category
from tracedge.panoptic_map import PanopticMap, Segment

CAT, DOG, SKY, SEA = (
    Category(1, "cat", True),
    Category(18, "dog", True),
    Category(187, "sky", False),
    Category(155, "sea", False),
)
CATEGORIES = (CAT, DOG, SKY, SEA)


def panoptic(ids, named, crowds=(), scores=None):
    """A map of ids (H, W), and the category of each id."""
    ids = np.asarray(ids)
    segments = (
        Segment(number, one.id, one.isthing, (scores or {}).get(number), number in crowds)
        for number, one in named.items()
    )
    return PanopticMap(ids, tuple(segments))


def drawn(rng, hw, crowds=False, void=True, blocks=False):
    """A map of up to seven segments, with ids that are not 1, 2, 3; stuff may come in several segments."""
    count = int(rng.integers(0, 8)) if void else int(rng.integers(1, 8))
    numbers = np.unique([0, *rng.integers(1, 1 << 24, count)])
    count = len(numbers) - 1
    low = 0 if void else 1
    side = max(hw) // 2 if blocks else 1
    places = rng.integers(low, count + 1, [-(-length // side) for length in hw])
    ids = numbers[np.kron(places, np.ones((side, side), int))[: hw[0], : hw[1]]]
    named = {int(number): CATEGORIES[rng.integers(4)] for number in np.unique(ids) if number}
    marked = {number for number in named if crowds and rng.random() < 0.3}
    return panoptic(ids, named, marked)


@st.composite
def pairs(draw):
    """A truth with void and crowds, and a prediction: much of what the truth was before parts of it were made void."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    hw = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    whole, other = drawn(rng, hw, crowds=True), drawn(rng, hw)
    known = {one.id: one for one in (*other.segments, *whole.segments)}
    unknown, wrong = (rng.random(hw) < draw(st.sampled_from([0.0, 0.1, 0.4, 1.0])) for _ in range(2))
    truth, found = np.where(unknown, 0, whole.ids), np.where(wrong, other.ids, whole.ids)
    return _of(truth, known, crowds=True), _of(found, known, crowds=False)


def _of(ids, known, crowds):
    kept = [known[number] for number in np.unique(ids).tolist() if number]
    return PanopticMap(
        ids, tuple(Segment(one.id, one.category_id, one.isthing, iscrowd=one.iscrowd and crowds) for one in kept)
    )
