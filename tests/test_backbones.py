"""The registry, loading, and each family against the layout of the real model and against diffusers' own pipeline."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import torch

import tiny_models
from tracedge.backbones import MODELS, flux, hub, load_backbone, loading, mini, mmdit, model_of, pixart, unet
from tracedge.backbones.architectures import ARCHITECTURES, random_network
from tracedge.backbones.latent import LatentSpace
from tracedge.backbones.protocol import AttentionSource, Backbone
from tracedge.errors import BackboneError, SettingsError

KINDS = pytest.mark.parametrize("kind", tiny_models.KINDS)

ON_PAPER = loading.Place(torch.device("meta"), torch.bfloat16)  # of full size, without memory for its weights


@pytest.mark.parametrize(
    ("name", "blocks_of", "count", "billions"),
    [
        ("sd15", unet.attention_levels, 16, 0.86),
        ("sd21", unet.attention_levels, 16, 0.87),
        ("sdxl", unet.attention_levels, 70, 2.57),
        ("pixart-alpha", pixart.attention_blocks, 28, 0.61),
        ("pixart-alpha-1024", pixart.attention_blocks, 28, 0.61),
        ("pixart-sigma", pixart.attention_blocks, 28, 0.61),
        ("sd3", mmdit.attention_blocks, 24, 2.03),
        ("sd35-medium", mmdit.attention_blocks, 24 + 13, 2.24),
        ("sd35-large", mmdit.attention_blocks, 38, 8.06),
        ("flux-dev", flux.attention_blocks, 19 + 38, 11.9),
        ("flux-schnell", flux.attention_blocks, 19 + 38, 11.9),
    ],
)
def test_a_model_of_full_size_has_the_blocks_and_the_parameters_that_the_paper_counts(name, blocks_of, count, billions):
    network = random_network(name, ON_PAPER)
    blocks = tuple(blocks_of(network))
    assert len(blocks) == len(set(blocks)) == count
    assert set(blocks) <= {name for name, _ in network.named_modules()}
    assert sum(weight.numel() for weight in network.parameters()) / 1e9 == pytest.approx(billions, rel=0.01)


def test_every_model_of_the_table_has_an_architecture_to_be_timed_by():
    assert set(ARCHITECTURES) == set(MODELS) - {"mini"}
    with pytest.raises(SettingsError, match="flux-dev"):
        random_network("sd14", ON_PAPER)


def test_levels_of_sd15_follow_its_grids():
    levels = unet.attention_levels(random_network("sd15", ON_PAPER))
    assert list(levels.values()) == [0, 0, 1, 1, 2, 2, 3, 2, 2, 2, 1, 1, 1, 0, 0, 0]
    assert [name.split(".")[0] for name in levels] == ["down_blocks"] * 6 + ["mid_block"] + ["up_blocks"] * 9


def test_blocks_that_attend_only_to_the_text_are_not_self_attention():
    network = tiny_models.unet(8, only_cross_attention=(True, False, False))
    stages = {".".join(name.split(".")[:2]) for name in unet.attention_levels(network)}
    assert stages == {"down_blocks.1", "mid_block.attentions", "up_blocks.1"}


def test_importing_the_table_loads_no_torch():
    code = "import sys, tracedge.backbones; print({'torch', 'diffusers', 'huggingface_hub'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


def test_every_gated_row_names_an_open_one_instead():
    for name, model in MODELS.items():
        assert bool(model.hub_ids) == (name != "mini")
        assert model.gated == (model.instead is not None)
        assert model.instead is None or not MODELS[model.instead].gated


def test_an_unknown_name_lists_the_names():
    with pytest.raises(SettingsError, match=r"'sd14' is no backbone.*mini, sd15, .*flux-schnell"):
        load_backbone("sd14")
    with pytest.raises(SettingsError):
        load_backbone("/no/such/folder")
    assert model_of("someone/fine-tune").licence == "unknown"


def test_places_are_fp32_on_a_cpu_and_bf16_elsewhere():
    assert loading.place("cpu").dtype == torch.float32
    assert loading.place("meta").dtype == torch.bfloat16
    assert loading.place("cpu", torch.float16).dtype == torch.float16
    assert loading.place().device.type == (
        torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"
    )


@KINDS
def test_a_folder_loads_as_a_whole_backbone(tiny_backbone, tiny_folder, kind):
    backbone = tiny_backbone(kind)
    assert isinstance(backbone, Backbone) and isinstance(backbone, AttentionSource)
    assert not any(weight.requires_grad for weight in backbone.network.parameters()) and not backbone.network.training
    assert backbone.px == {"flux-dev": 1024, "flux-schnell": 1024, "pixart-alpha": 512}.get(kind, 64)
    assert backbone.multiple_of == (16 if kind in ("sd15", "sd21", "sdxl") else 8)
    assert len(str(backbone.settings["weights"])) == 16
    assert {name: value for name, value in backbone.settings.items() if name != "weights"} == {
        "name": kind,
        "source": str(tiny_folder(kind).resolve()),
        "revision": None,
        "licence": "unknown",
    }
    images = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    latents = backbone.encode(images)
    assert latents.dtype == torch.float32 and latents.shape == (2, backbone.space.channels, 8, 12)
    prediction = backbone.denoise(latents, torch.tensor([0.0, 900.0]))
    assert prediction.shape == latents.shape and bool(prediction.isfinite().all())
    assert backbone.process.timesteps(100).tolist() == list(range(0, 1000, 100))


@KINDS
def test_the_network_gets_what_diffusers_own_pipeline_gives_it(tiny_backbone, tiny_folder, kind):
    from diffusers import DDIMScheduler, DiffusionPipeline

    absent = {"text_encoder_3": None, "tokenizer_3": None} if kind == "sd35-medium" else {}
    pipeline = DiffusionPipeline.from_pretrained(tiny_folder(kind), local_files_only=True, **absent)
    pipeline.set_progress_bar_config(disable=True)
    if kind in ("sdxl", "pixart-alpha", "pixart-sigma"):  # their own samplers warn under this NumPy
        pipeline.scheduler = DDIMScheduler(**tiny_models.DDPM)
    backbone, seen = tiny_backbone(kind), []
    latents = torch.randn(1, backbone.space.channels, 8, 12, generator=torch.Generator().manual_seed(0))
    network = getattr(pipeline, "unet", None) or pipeline.transformer
    network.register_forward_hook(lambda _, args, kwargs, out: seen.append((args, kwargs, out[0])), with_kwargs=True)
    extra = {"use_resolution_binning": False, "clean_caption": False} if "pixart" in kind else {}
    extra |= {"max_sequence_length": 256} if kind == "flux-schnell" else {}
    pipeline(
        "",
        guidance_scale=1.0,
        num_inference_steps=2,
        latents=flux.pack(latents) if "flux" in kind else latents,
        height=32,
        width=48,
        output_type="latent",
        **extra,
    )
    for args, kwargs, theirs in seen:
        given = args[0] if args else kwargs["hidden_states"]
        timestep = torch.as_tensor(args[1] if len(args) > 1 else kwargs["timestep"]).reshape(-1).float()
        if "flux" in kind:
            given, timestep, theirs = flux.unpack(given, (8, 12)), timestep * 1000, flux.unpack(theirs, (8, 12))
        ours = backbone.denoise(given, timestep)
        torch.testing.assert_close(ours, theirs[:, : ours.shape[1]], atol=1e-4, rtol=1e-4)
    assert len(seen) == 2


@pytest.mark.parametrize("kind", ["sd15", "sd35-medium"])
def test_encoding_is_the_mode_shifted_and_scaled_and_deterministic(tiny_backbone, kind):
    backbone, images = tiny_backbone(kind), torch.rand(1, 3, 16, 32, generator=torch.Generator().manual_seed(2))
    moments = backbone.space.vae.encode(images * 2 - 1).latent_dist.parameters
    shift = 0.1 if kind == "sd35-medium" else 0.0
    expected = (moments[:, : backbone.space.channels] - shift) * 0.5
    torch.testing.assert_close(backbone.encode(images), expected)
    assert torch.equal(backbone.encode(images), backbone.encode(images))


@pytest.mark.parametrize("shape", [(1, 3, 16, 24), (3, 16, 16), (1, 1, 16, 16), (1, 3, 1, 16, 16)])
def test_images_that_do_not_fit_are_refused(tiny_backbone, shape):
    with pytest.raises(SettingsError, match=r"multiples of 16, got"):
        tiny_backbone("sd15").encode(torch.zeros(shape))


def test_the_vae_stays_in_fp32_where_the_network_is_fp16(tiny_folder):
    backbone = load_backbone(tiny_folder("sdxl"), device="cpu", dtype=torch.float16)
    assert backbone.dtype == torch.float16 and backbone.space.vae.dtype == torch.float32
    latents = backbone.encode(torch.rand(1, 3, 16, 16))
    assert backbone.denoise(latents, torch.tensor([100.0])).dtype == torch.float16


def test_pixart_repositories_that_say_transformer2dmodel_load(tiny_folder, tiny_backbone, tmp_path):
    folder = shutil.copytree(tiny_folder("pixart-alpha"), tmp_path / "old")
    edit(folder / "model_index.json", transformer=["diffusers", "Transformer2DModel"])
    edit(folder / "transformer" / "config.json", _class_name="Transformer2DModel", num_vector_embeds=None)
    backbone, latents = load_backbone(folder, device="cpu"), torch.ones(1, 4, 4, 4)
    there = tiny_backbone("pixart-alpha").denoise(latents, torch.tensor([5.0]))
    torch.testing.assert_close(backbone.denoise(latents, torch.tensor([5.0])), there, atol=1e-5, rtol=1e-5)


def test_only_the_null_text_of_sigma_is_300_tokens(tiny_backbone):
    assert tiny_backbone("pixart-alpha").null_text.embeds.shape[1] == 120
    assert tiny_backbone("pixart-sigma").null_text.embeds.shape[1] == 300


def test_flux_tokens_are_packed_and_placed_as_in_diffusers():
    from diffusers import FluxPipeline

    latents = torch.arange(2 * 4 * 6 * 10.0).reshape(2, 4, 6, 10)
    tokens = flux.pack(latents)
    assert torch.equal(tokens, FluxPipeline._pack_latents(latents, 2, 4, 6, 10))
    assert torch.equal(flux.unpack(tokens, (6, 10)), latents)
    theirs = FluxPipeline._prepare_latent_image_ids(1, 3, 5, "cpu", torch.float32)
    assert torch.equal(flux.positions((3, 5), torch.device("cpu")), theirs)


def test_a_mini_folder_loads(tmp_path):
    torch.manual_seed(0)
    network = mini.build_mini(mini.MiniConfig(width=16, heads=2, depth=1, grid=4))
    mini.save_mini(tmp_path, network, {"px": 16, "settings": {"name": "my-mini"}})
    assert load_backbone(tmp_path).name == "my-mini"


def edit(path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_folders_that_are_no_pipeline_are_refused(tiny_folder, tmp_path):
    with pytest.raises(BackboneError, match=r"model_index\.json is not readable"):
        load_backbone(tmp_path)
    folder = shutil.copytree(tiny_folder("sd15"), tmp_path / "other")
    edit(folder / "model_index.json", unet=["diffusers", "UNet3DConditionModel"])
    with pytest.raises(BackboneError, match="is a UNet3DConditionModel, expected one of UNet2DConditionModel"):
        load_backbone(folder)


def test_a_transformer2dmodel_that_is_not_pixart_is_refused(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder("pixart-alpha"), tmp_path / "dit")
    edit(folder / "model_index.json", transformer=["diffusers", "Transformer2DModel"], _class_name="DiTPipeline")
    with pytest.raises(BackboneError, match="is a Transformer2DModel"):
        load_backbone(folder)


def test_a_missing_weight_or_one_of_another_shape_is_refused(tiny_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_folder("sd35-medium"), tmp_path / "less")
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    less = {name: weight for name, weight in weights.items() if name != "proj_out.weight"}
    save_file(less, path, {"format": "pt"})
    with pytest.raises(BackboneError, match=r"do not fit its config.*proj_out\.weight"):
        load_backbone(folder, device="cpu")
    save_file(weights | {"proj_out.weight": torch.zeros(3, 3)}, path, {"format": "pt"})
    with pytest.raises(BackboneError, match=r"proj_out\.weight"):
        load_backbone(folder, device="cpu")


def test_a_part_with_pickles_only_is_refused(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder("sd15"), tmp_path / "pickles")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(BackboneError, match=r"unet/ is not there or not whole.*loads no pickle"):
        load_backbone(folder, device="cpu")


def test_a_network_of_other_channels_than_the_vae_is_refused(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder("flux-dev"), tmp_path / "inpainting")
    shutil.rmtree(folder / "vae")
    tiny_models.vae(8).save_pretrained(folder / "vae")
    with pytest.raises(BackboneError, match="takes 4 channels and the VAE gives 8"):
        load_backbone(folder, device="cpu")


def test_a_part_is_whole_only_with_all_its_shards(tmp_path):
    part = tmp_path / "transformer"
    part.mkdir()
    (part / "config.json").write_text("{}")
    names = [f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    table = {"weight_map": {"a": names[0], "b": names[1]}}
    (part / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(table))
    (part / names[0]).touch()
    assert not hub.is_whole(tmp_path, "transformer")
    (part / names[1]).touch()
    assert hub.is_whole(tmp_path, "transformer")


def test_latent_space_counts_the_halvings_of_its_vae():
    space = LatentSpace(tiny_models.vae(4), latents_multiple_of=2)
    assert (space.factor, space.multiple_of, space.shift) == (4, 8, 0.0)
