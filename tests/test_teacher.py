"""EdgeTeacher on tiny models: sizes, seeds, batches, tiles, and an oracle that knows the objects."""

import numpy as np
import pytest
import torch
from PIL import Image

from tracedge import EdgeTeacher, TeacherSettings
from tracedge.backbones import flow
from tracedge.backbones.mini import MiniBackbone, MiniConfig, build_mini
from tracedge.datasets.scenes import draw_scene
from tracedge.errors import SettingsError


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    network = build_mini(MiniConfig(width=32, heads=2, depth=2, patch=4, grid=8))
    for weight in network.parameters():  # as initialised the attention is nearly even
        weight.data.mul_(2)
    return MiniBackbone(network, px=64, settings={"name": "tiny"})


@pytest.fixture(scope="module")
def scene():
    return draw_scene(3, 96).image


@pytest.mark.parametrize("shape", [(48, 64), (33, 71), (128, 40), (1, 1), (5, 300)])
def test_edges_have_exactly_the_size_of_the_image(backbone, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = EdgeTeacher(backbone, stride=300)(image)
    assert found.shape == shape
    assert found.edges.dtype == np.float32


def test_path_pil_and_array_give_the_same_edges(backbone, scene, tmp_path):
    Image.fromarray(scene).save(tmp_path / "a.png")
    teacher = EdgeTeacher(backbone, stride=300)
    from_array = teacher(scene)
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(scene)):
        assert np.array_equal(teacher(source).edges, from_array.edges)


def test_a_list_gives_the_same_edges_as_one_by_one_in_the_order_given(backbone, scene):
    images = [scene, scene[:64], scene[::-1].copy(), scene[:64, ::-1].copy()]
    teacher = EdgeTeacher(backbone, stride=300)
    together = teacher(images)
    for image, found in zip(images, together, strict=True):
        alone = teacher(image)
        assert found.timestep == alone.timestep
        np.testing.assert_allclose(found.edges, alone.edges, atol=1e-3)


def test_two_runs_give_equal_bytes_and_another_seed_other_edges(backbone, scene):
    first = EdgeTeacher(backbone, timestep=400)(scene)
    again = EdgeTeacher(backbone, timestep=400)(scene)
    other = EdgeTeacher(backbone, timestep=400, seed=1)(scene)
    assert first.edges.tobytes() == again.edges.tobytes()
    assert not np.array_equal(first.edges, other.edges)


def test_at_timestep_zero_the_seed_does_not_matter(backbone, scene):
    assert np.array_equal(
        EdgeTeacher(backbone, timestep=0, ensemble=3)(scene).edges,
        EdgeTeacher(backbone, timestep=0, seed=5)(scene).edges,
    )


def test_the_curve_the_choice_and_the_settings_travel_with_the_edges(backbone, scene):
    found = EdgeTeacher(backbone, stride=250, rule="argmax")(scene)  # argmax needs the whole curve
    assert found.timesteps == (0, 250, 500, 750)
    assert found.divergences[0] == 0
    assert found.timestep == found.timesteps[int(np.argmax(found.divergences))]
    assert found.settings["rule"] == "argmax"
    assert found.settings["size"] == 64
    assert found.settings["backbone"] == {"name": "tiny"}


def test_the_map_at_the_choice_is_the_one_a_fixed_timestep_gives(backbone, scene):
    found = EdgeTeacher(backbone, stride=200)(scene)
    fixed = EdgeTeacher(backbone, timestep=found.timestep)(scene)
    assert np.array_equal(found.edges, fixed.edges)
    assert fixed.divergences == ()


def test_more_noise_draws_move_the_edges_towards_those_of_very_many(backbone, scene):
    def edges(**options):
        return EdgeTeacher(backbone, timestep=300, snap=False, **options)(scene).edges

    truth = edges(ensemble=32, seed=9)
    assert np.abs(edges(ensemble=8) - truth).mean() < np.abs(edges() - truth).mean()


def test_an_image_much_larger_than_the_model_is_also_read_in_tiles(backbone):
    large = draw_scene(3, 192).image
    seen = []
    original = backbone.denoise
    backbone.denoise = lambda latents, timestep: seen.append(tuple(latents.shape[-2:])) or original(latents, timestep)
    try:
        tiled = EdgeTeacher(backbone, timestep=200)(large)
        whole = EdgeTeacher(backbone, timestep=200, zoom=1)(large)
    finally:
        del backbone.denoise
    assert len(seen) == 1 + 9 + 1  # whole, tiles of half the side with a quarter overlap, whole
    assert tiled.shape == whole.shape == (192, 192)
    assert not np.array_equal(tiled.edges, whole.edges)


class Oracle:
    """A backbone whose attention is the truth: tokens of one colour attend to each other."""

    name, px, multiple_of, settings = "oracle", 64, 4, {"name": "oracle"}
    device, dtype, process = torch.device("cpu"), torch.float32, flow
    attention_blocks = ("block",)

    def __init__(self):
        class Block(torch.nn.Module):
            def forward(self, latents):
                tokens = torch.nn.functional.avg_pool2d(latents, 4).flatten(2).transpose(1, 2)[:, None] * 8
                apart = torch.cdist(tokens, tokens).square()
                return torch.nn.functional.scaled_dot_product_attention(
                    tokens * 0, tokens * 0, tokens, attn_mask=-apart
                )

        self.network = torch.nn.ModuleDict({"block": Block()})

    def image_tokens(self, block, query_length, key_length, latent_hw):
        grid = latent_hw[0] // 4, latent_hw[1] // 4
        return slice(0, grid[0] * grid[1]), grid

    def encode(self, images):
        return images

    def denoise(self, latents, timestep):
        return self.network["block"](latents)


def test_with_oracle_attention_the_edges_are_the_borders_of_two_touching_squares():
    image = np.full((64, 64, 3), 20, np.uint8)
    image[16:48, 16:32], image[16:48, 32:48] = (200, 40, 40), (40, 200, 40)
    found = EdgeTeacher(Oracle(), timestep=0)(image).edges
    assert found[22:42, 31:33].max(axis=1).min() > 0.5  # the shared border
    assert found[20:44, 20:28].max() < 0.05  # inside


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "best"}, "first_peak"),
        ({"measure": "cosine"}, "criterion"),
        ({"stride": 0}, "stride"),
        ({"timestep": 1000}, "timestep"),
        ({"ensemble": 0}, "ensemble"),
        ({"zoom": 0}, "zoom"),
        ({"size": 8}, "size"),
        ({"neighbours": 5}, "neighbours"),
        ({"tempo": 3}, "tempo"),
    ],
)
def test_settings_out_of_range_are_refused_before_a_model_is_loaded(options, words):
    with pytest.raises(SettingsError, match=words):
        EdgeTeacher("no such backbone", **options)


def test_settings_and_single_options_do_not_mix(backbone):
    with pytest.raises(SettingsError, match="not both"):
        EdgeTeacher(backbone, settings=TeacherSettings(), stride=50)


@pytest.mark.parametrize("kind", ["sd15", "sd3", "flux-dev"])
def test_every_family_of_diffusion_model_teaches(tiny_backbone, kind):
    found = EdgeTeacher(tiny_backbone(kind), stride=450, size=64)(draw_scene(3, 80).image[:56])
    assert found.shape == (56, 80)
    assert found.timestep in (450, 900)


def test_stopping_early_does_not_change_the_edges(backbone, scene):
    whole = EdgeTeacher(backbone, early_stop=False)(scene)
    early = EdgeTeacher(backbone)(scene)
    assert len(whole.timesteps) == 10
    assert early.timestep == whole.timestep
    assert early.divergences == whole.divergences[: len(early.divergences)]
    assert np.array_equal(early.edges, whole.edges)


def test_inversion_needs_no_noise_and_agrees_with_a_fixed_timestep(backbone, scene):
    found = EdgeTeacher(backbone, inversion=True, stride=300)(scene)
    other_seed = EdgeTeacher(backbone, inversion=True, stride=300, seed=1)(scene)
    fixed = EdgeTeacher(backbone, inversion=True, stride=300, timestep=found.timestep)(scene)
    assert np.array_equal(found.edges, other_seed.edges)
    assert np.array_equal(found.edges, fixed.edges)
    assert not np.array_equal(found.edges, EdgeTeacher(backbone, timestep=found.timestep)(scene).edges)


def test_timesteps_in_one_batch_give_the_same_edges_as_one_by_one(backbone, scene, monkeypatch):
    alone = EdgeTeacher(backbone, early_stop=False)(scene)
    monkeypatch.setattr("tracedge.teacher._steps_in_a_batch", lambda attention: 4)
    batched = EdgeTeacher(backbone, early_stop=False)(scene)
    assert batched.divergences == pytest.approx(alone.divergences, rel=1e-4)
    np.testing.assert_allclose(batched.edges, alone.edges, atol=1e-3)
