"""Instances in, instances out: with a SAM that knows the objects, rough seeds become them, and other things are refused."""

import json

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation, binary_erosion

import tracedge
from known_sam import HW, Fixed, OneColour, scene
from tiny_sam import save_tiny
from tracedge.datasets.scenes import draw_scene
from tracedge.errors import DataError, SettingsError
from tracedge.instances import Instances, pairwise_iou
from tracedge.maps import EdgeMap
from tracedge.sam.seeds import SamSeeds, SeedSettings
from tracedge.segmentation import Segmenter, SegmentSettings


def rough(instances, change):
    masks = np.stack([change(mask, iterations=3) for mask in instances.masks])
    return Instances(masks, instances.scores, {"model": "rough"})


@pytest.mark.parametrize("change", [binary_erosion, binary_dilation])
@pytest.mark.parametrize("prompts", [("box", "points"), ("points",), ("box",), ("mask",), ("mask", "points", "box")])
def test_eroded_and_dilated_seeds_become_the_objects(change, prompts):
    image, objects = scene()
    found = SamSeeds(OneColour(), SeedSettings(prompts))(image, rough(objects, change))
    np.testing.assert_array_equal(found.masks, objects.masks)
    np.testing.assert_array_equal(found.scores, objects.scores)


def test_segment_and_then_sam_gives_the_objects_of_a_scene():
    """Edges that lie beside the outlines close regions that are too large."""
    image, objects = scene()
    walls = np.zeros(HW, np.float32)
    for mask in objects.masks:
        walls[binary_dilation(mask, iterations=2) & ~mask] = 1

    class Drawn:
        provenance, device = {}, torch.device("cpu")

        def __call__(self, images):
            return [EdgeMap(walls) for _ in images]

    plain = Segmenter(Drawn())
    with_sam = Segmenter(Drawn(), refiner=SamSeeds(OneColour()))
    before, after = (pairwise_iou(one(image).masks, objects.masks).max(axis=0) for one in (plain, with_sam))
    assert before.max() < 1 and (after == 1).all()
    assert with_sam.provenance["refined"]["seeds"]["prompts"] == ["box", "points"]
    assert "refined" not in plain.provenance


def test_masks_that_sam_drew_do_not_overlap_unless_they_may():
    image, objects = scene()
    halves = np.stack([objects.masks[0] & side for side in (np.arange(HW[1]) < 15, np.arange(HW[1]) >= 15)])
    both = Instances(halves, [0.9, 0.5])  # each of them half of one object, which SAM draws for both

    class Edges:
        provenance, device = {}, torch.device("cpu")

        def __call__(self, images):
            return [EdgeMap(np.zeros(HW, np.float32)) for _ in images]

    for overlapping, count in ((False, 1), (True, 2)):
        settings = SegmentSettings(bgp=False, overlapping=overlapping)
        found = Segmenter(Edges(), None, settings, SamSeeds(OneColour()))(image, both)
        assert len(found) == count and (found.masks == objects.masks[0]).all()


def test_a_mask_that_is_something_else_is_refused_and_the_seed_stays():
    image, objects = scene()
    two = objects.masks[0] | objects.masks[1]  # SAM draws one of them: IoU 20 / 45
    found = SamSeeds(OneColour(), SeedSettings(("points",), agreement=0.6))(image, Instances(two[None]))
    np.testing.assert_array_equal(found.masks[0], two)
    taken = SamSeeds(OneColour(), SeedSettings(("points",), agreement=0.4))(image, Instances(two[None]))
    assert any((taken.masks[0] == mask).all() for mask in objects.masks[:2])


def test_the_best_mask_is_the_one_predicted_or_the_one_that_agrees():
    seed = np.zeros((1, 10, 10), bool)
    seed[0, 2:8, 2:8] = True
    wide, equal = np.pad(np.ones((8, 8), bool), 1), seed[0]
    model, image = Fixed([wide, equal], [0.9, 0.4]), np.zeros((10, 10, 3), np.uint8)
    predicted = SamSeeds(model, SeedSettings(choice="predicted"))(image, Instances(seed))
    agreeing = SamSeeds(model, SeedSettings(choice="agreement"))(image, Instances(seed))
    assert (predicted.masks[0] == wide).all() and (agreeing.masks[0] == equal).all()


def test_scores_are_the_seeds_or_times_what_sam_says():
    seed = np.zeros((2, 10, 10), bool)
    seed[0, 2:8, 2:8] = seed[1, 2:8, :2] = True
    model, image = Fixed([seed[0]], [1.2]), np.zeros((10, 10, 3), np.uint8)
    given = Instances(seed, [0.5, 0.8])
    assert SamSeeds(model)(image, given).scores.tolist() == [0.5, 0.8]
    rated = SamSeeds(model, SeedSettings(score="product"))
    assert rated(image, given).scores.tolist() == [0.5, 0.0]  # 1.2 counts as 1; the second shares nothing with it


def test_an_empty_answer_and_no_instances_change_nothing():
    model = Fixed([np.zeros((10, 10), bool)], [0.9])
    seed, image = Instances(np.ones((1, 10, 10), bool)), np.zeros((10, 10, 3), np.uint8)
    assert SamSeeds(model, SeedSettings(agreement=0.0))(image, seed).areas.tolist() == [100]
    knows = OneColour()
    assert len(SamSeeds(knows)(image, Instances.empty((10, 10)))) == 0 and knows.looks == 0
    blank = Instances(np.zeros((1, 10, 10), bool), blanks=True)
    assert len(SamSeeds(model)(image, blank)) == 0


def test_a_photo_is_looked_at_once_for_several_sets_of_instances():
    image, objects = scene()
    knows = OneColour()
    refine = SamSeeds(knows).on(image)
    assert len(refine(objects)) == 4 and len(refine(objects[:2])) == 2 and knows.looks == 1


def test_what_the_masks_depend_on_is_said_and_json():
    image, objects = scene()
    found = SamSeeds(OneColour())(image, rough(objects, binary_erosion))
    assert found.settings["model"] == "rough" and found.settings["sam"]["model"] == {"name": "one colour"}
    assert found.settings["sam"]["seeds"]["agreement"] == 0.5


def test_instances_of_another_size_are_refused():
    with pytest.raises(DataError, match="must be of one image"):
        SamSeeds(OneColour())(np.zeros((10, 10, 3), np.uint8), Instances(np.ones((1, 9, 10), bool)))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"prompts": ("boxes",)}, "unknown kind of prompt 'boxes': choose one of box, points, mask"),
        ({"prompts": ()}, "prompts are some of box, points, mask"),
        ({"prompts": "box"}, "each once, got 'box'"),
        ({"prompts": ("box", "box")}, "each once"),
        ({"points": 0}, "points are at least 1"),
        ({"negatives": -1}, "negatives 0"),
        ({"agreement": 1.5}, "agreement is an IoU"),
        ({"choice": "best"}, "choice among SAM's masks"),
        ({"score": "ours"}, "score of SAM's masks"),
        ({"points": 1.5}, "points takes a whole number"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, says):
    with pytest.raises(SettingsError, match=says):
        SeedSettings(**wrong)


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_a_random_network_refines_a_drawn_scene(kind, tmp_path):
    drawn = draw_scene(900_001, 96)
    objects = Instances.from_labels(drawn.labels[:80])
    settings = SeedSettings(("box", "points", "mask"), points=2, negatives=1, agreement=0.0)
    seeds = tracedge.SamSeeds.from_pretrained(save_tiny(kind, tmp_path / kind), settings=settings, device="cpu")
    found = seeds(drawn.image[:80], objects)
    assert len(found) == len(objects) and found.shape == objects.shape
    assert (found.masks != objects.masks).any()  # random, but drawn
    np.testing.assert_array_equal(found.masks, seeds(drawn.image[:80], objects).masks)
    kept = tracedge.SamSeeds(seeds.model, SeedSettings(agreement=1.0))(drawn.image[:80], objects)
    np.testing.assert_array_equal(kept.masks, objects.masks)
    json.dumps(seeds.provenance)
