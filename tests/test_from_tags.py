"""From tags to classes: the region of a tag is found, none that is not tagged appears, attention puts right what is alike."""

import numpy as np
import pytest
import torch

import tiny_image_text
from tracedge.backbones.image_text import load_image_text
from tracedge.categories import COCO_PANOPTIC, VOC_PANOPTIC
from tracedge.errors import DataError, SettingsError
from tracedge.fit import Fit
from tracedge.from_attention import Look
from tracedge.semantics.from_tags import FromTags, Match
from tracedge.semantics.refine import CRF_PX, Refiner, RefineSettings, followed, walked, walked_on_pixels
from tracedge.semantics.similarity import TextSimilarity
from tracedge.teacher import EdgeTeacher

HW = (24, 32)
CAT, DOG, SKY, GRASS = 17, 18, 187, 193
WHERE = np.zeros(HW, int)
WHERE[:, 10:] = 1
WHERE[12:, 20:] = 2
IMAGE = np.stack([80 * WHERE] * 3, axis=2).astype(np.uint8)
NOTHING = Refiner(None, RefineSettings(steps=0, crf=False))


class Knows:
    """Stands for CLIP: knows what each text is, 6 in its part of the picture and 0 elsewhere."""

    def __init__(self, **texts):
        self.texts, self.asked, self.provenance = texts, [], {"model": "knows"}

    def __call__(self, image, texts):
        self.asked = list(texts)
        odds = [6.0 * (self.texts[text] == WHERE) if text in self.texts else np.zeros(HW) for text in texts]
        return Match(torch.from_numpy(np.stack(odds)).float(), Fit(HW, max(HW)))


def made(match, tags, categories=COCO_PANOPTIC, **more):
    return FromTags(match, NOTHING, categories, **more)(IMAGE, tags)


# --- tags to scores ---------------------------------------------------------------------------------------------------


def test_the_region_of_each_tag_is_found():
    found = made(Knows(cat=0, dog=1, sky=2), (CAT, DOG, SKY)).semantic_map()
    np.testing.assert_array_equal(found.classes, np.array([CAT, DOG, SKY])[WHERE])


def test_a_class_that_is_not_tagged_never_appears():
    found = made(Knows(cat=0, dog=1, sky=2), (CAT, SKY))
    assert found.categories.tolist() == [CAT, SKY]
    assert set(found.semantic_map().present) <= {CAT, SKY}


def test_scores_of_each_pixel_sum_to_one():
    scores = made(Knows(cat=0, dog=1), (CAT, DOG)).scores
    assert scores.dtype == np.float32 and scores.shape == (3, *HW)  # and the background
    np.testing.assert_allclose(scores.sum(axis=0), 1, atol=1e-5)


def test_things_alone_compete_with_a_background_that_is_no_class_of_coco():
    found = made(Knows(cat=0, wall=1, floor=2), (CAT,))
    assert found.categories.tolist() == [CAT, -1]
    np.testing.assert_array_equal(found.semantic_map().classes, np.array([CAT, -1, -1])[WHERE])


def test_the_background_of_voc_is_its_first_class():
    found = made(Knows(cat=0, wall=1, floor=2), (8,), VOC_PANOPTIC)
    np.testing.assert_array_equal(found.semantic_map().classes, np.array([8, 0, 0])[WHERE])


def test_stuff_among_the_tags_leaves_no_background_unless_asked():
    match = Knows(cat=0, grass=1, sky=2)
    assert made(match, (CAT, GRASS)).categories.tolist() == [CAT, GRASS]
    assert match.asked == ["cat", "grass"]
    asked = made(match, (CAT, GRASS), background=True)
    assert asked.categories.tolist() == [CAT, GRASS, -1]
    assert "sky" in match.asked and match.asked.count("grass") == 1
    assert set(made(match, (CAT,), background=False).semantic_map().present) == {CAT}


def test_an_image_without_tags_is_background_all_over():
    assert not made(Knows(), ()).semantic_map().present
    assert made(Knows(), (), VOC_PANOPTIC).semantic_map().present == (0,)


def test_a_tag_that_is_no_category_is_refused():
    with pytest.raises(DataError, match="the tag 12 is none of the 133 categories"):
        made(Knows(), (12,))


# --- refinement -------------------------------------------------------------------------------------------------------


def blocks(sizes):
    parts = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    same = (parts[:, None] == parts).float()
    return parts, same / same.sum(1, keepdim=True)


def noisy(tokens, seed=0):
    return torch.rand(tokens, 3, generator=torch.Generator().manual_seed(seed)).softmax(-1)


@pytest.mark.parametrize("sharpness", [1, 2])
def test_attention_to_nothing_but_oneself_changes_nothing(sharpness):
    scores = noisy(6)
    torch.testing.assert_close(walked(torch.eye(6), scores, 4, sharpness), scores)


@pytest.mark.parametrize("sharpness", [1, 2])
def test_attention_inside_blocks_makes_scores_constant_in_each_and_keeps_their_means(sharpness):
    parts, attention = blocks([2, 3, 1])
    scores = noisy(6)
    found = walked(attention, scores, 3, sharpness)
    for part in range(3):
        mean = scores[parts == part].mean(0)
        torch.testing.assert_close(found[parts == part], mean.expand((parts == part).sum(), 3))


def test_rows_stay_normalised_and_the_range_is_kept():
    attention = torch.rand(20, 20, generator=torch.Generator().manual_seed(1)) ** 4
    attention /= attention.sum(1, keepdim=True)
    scores = noisy(20)
    found = walked(attention, scores, 5, 2.0)
    torch.testing.assert_close(found.sum(1), torch.ones(20))
    assert found.min() >= scores.min() and found.max() <= scores.max()


def test_sharpness_counts_what_is_attended_to_most_more_than_in_proportion():
    attention = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    found = walked(attention, torch.eye(2), 1, 2.0)
    torch.testing.assert_close(found, torch.tensor([[0.9, 0.1], [0.1, 0.9]]))


def test_a_wrong_spot_is_put_right_by_attention_within_the_true_regions():
    """Tokens of 4 x 4 pixels; attention goes to tokens of the same region alone."""
    tokens = torch.from_numpy(WHERE[2::4, 2::4]).flatten()
    same = (tokens[:, None] == tokens).float()
    truth = np.stack([part == WHERE for part in range(3)]).astype(np.float32)
    scores = truth.copy()
    scores[:, 4:8, 12:16] = np.array([0.9, 0.1, 0], np.float32)[:, None, None]  # a spot of part 1 taken for part 0
    look = Look(Fit(HW, 32, 4), (same / same.sum(1, keepdim=True))[None], (6, 8))
    assert (scores.argmax(0) != WHERE).sum() == 16
    found = walked_on_pixels(look, scores, 1)
    assert found.shape == scores.shape and (found.argmax(0) == WHERE)[5, 13]
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)


def test_no_steps_ask_no_model_and_a_walk_without_one_is_refused():
    scores = noisy(2).T.reshape(3, 1, 2).numpy()
    assert NOTHING(IMAGE[:1, :2], scores) is scores
    with pytest.raises(SettingsError, match="needs a model to attend"):
        Refiner(None, RefineSettings(steps=1))
    for wrong in ({"steps": 65}, {"sharpness": 0.0}, {"steps": 1.5}):
        with pytest.raises(SettingsError):
            RefineSettings(**wrong)
    with pytest.raises(SettingsError, match=r"expected attention \(N, N\) and scores \(N, K\)"):
        walked(torch.eye(3), torch.zeros(2, 1), 1)


def test_the_crf_of_a_large_picture_is_done_on_a_smaller_one():
    image = np.zeros((40, CRF_PX * 2, 3), np.uint8)
    image[:, CRF_PX:] = 200
    scores = np.full((2, *image.shape[:2]), 0.5, np.float32)
    scores[0, :, : CRF_PX + 16], scores[1, :, : CRF_PX + 16] = 0.7, 0.3
    scores[0, :, CRF_PX + 16 :], scores[1, :, CRF_PX + 16 :] = 0.3, 0.7
    found = followed(image, scores)
    assert found.shape == scores.shape
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-4)
    assert (found.argmax(0)[:, : CRF_PX - 4] == 0).all() and (found.argmax(0)[:, CRF_PX + 4 :] == 1).all()


# --- with models ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", tiny_image_text.KINDS)
def test_a_tiny_random_model_and_mini_give_scores_of_the_photos_size(tmp_path, kind):
    model = load_image_text(tiny_image_text.save_tiny(kind, tmp_path / kind), device="cpu")
    teacher = EdgeTeacher("mini", size=48, device="cpu")
    whole = FromTags(TextSimilarity(model, px=40), Refiner(teacher, RefineSettings(steps=2, crf=False)), COCO_PANOPTIC)
    found = whole(np.tile(IMAGE, (2, 1, 1))[:37], (CAT, SKY))
    assert found.scores.shape == (2, 37, 32)
    np.testing.assert_allclose(found.scores.sum(axis=0), 1, atol=1e-5)
    assert found.settings["match"]["model"]["name"] == kind and found.settings["refine"]["attention"]["size"] == 48


def test_the_text_that_a_patch_is_like_gets_it(tmp_path):
    """Texts that are made the tokens of two patches themselves: each patch is likest to its own."""
    model = load_image_text(tiny_image_text.save_tiny("clip", tmp_path / "clip"), device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)
    tokens = model.tokens(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)[0]  # 2 x 3
    model.texts = lambda sentences: tokens[int("dog" in sentences[0]) * 5].expand(len(sentences), -1)
    odds = TextSimilarity(model, px=24)(image, ["cat", "dog"]).odds
    assert odds.shape == (2, 2, 3)
    assert odds[0].argmax() == 0 and odds[1].argmax() == 5
    assert float(odds[0, 0, 0]) == pytest.approx(model.scale, rel=1e-5)
