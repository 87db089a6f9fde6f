"""The recorder sees every self-attention block of every family, changes nothing, and reduces what it sees correctly."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import tiny_models
from tracedge import attention
from tracedge.attention import (
    BlockCall,
    FusedAttention,
    add_upsampled,
    block_probabilities,
    fused_attention,
    record_attention,
)
from tracedge.backbones.mini import MiniBackbone, MiniConfig, build_mini
from tracedge.errors import RecordingError

ALL = pytest.mark.parametrize("kind", [*tiny_models.KINDS, "mini"])


@pytest.fixture(scope="module")
def backbone_of(tiny_backbone):
    torch.manual_seed(5)
    mini = MiniBackbone(build_mini(MiniConfig(width=32, heads=2, depth=2, grid=4)), px=16, settings={})
    return lambda kind: mini if kind == "mini" else tiny_backbone(kind)


def latents_of(backbone, latent_hw: tuple[int, int], batch: int = 2) -> Tensor:
    channels = 3 if isinstance(backbone, MiniBackbone) else backbone.space.channels
    return torch.randn(batch, channels, *latent_hw, generator=torch.Generator().manual_seed(1))


def bilinear(large: int, small: int) -> Tensor:
    """(large, small) half-pixel interpolation of one axis, borders held, written out by hand."""
    weights = torch.zeros(large, small, dtype=torch.float64)
    for i in range(large):
        at = min(max((i + 0.5) * small / large - 0.5, 0), small - 1)
        left = min(int(at), small - 1)
        weights[i, left] += 1 - (at - left)
        weights[i, min(left + 1, small - 1)] += at - left
    return weights


def rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions as complex numbers; x (B, A, S, d), rotary cos and sin (S, d), each angle twice."""
    turn = torch.complex(rotary[0][:, ::2].double(), rotary[1][:, ::2].double())
    pairs = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turn).flatten(-2)


def heads_of(module, x: Tensor, project, norm) -> Tensor:
    x = project(x).unflatten(-1, (module.heads, -1))
    return (x if norm is None else norm(x)).transpose(1, 2)


def queries_and_keys(module, args, kwargs) -> tuple[Tensor, Tensor, str]:
    """From the module's own weights and what it was given: q, k (B, A, S, d) and where the text tokens stand."""
    image = args[0] if args else kwargs["hidden_states"]
    text = kwargs.get("encoder_hidden_states")
    q = heads_of(module, image, module.to_q, getattr(module, "norm_q", None))
    k = heads_of(module, image, module.to_k, getattr(module, "norm_k", None))
    if type(module).__name__ == "FluxAttention":
        if text is not None:
            q = torch.cat([heads_of(module, text, module.add_q_proj, module.norm_added_q), q], dim=2)
            k = torch.cat([heads_of(module, text, module.add_k_proj, module.norm_added_k), k], dim=2)
        return rotate(q, kwargs["image_rotary_emb"]), rotate(k, kwargs["image_rotary_emb"]), "first"
    if text is not None:
        q = torch.cat([q, heads_of(module, text, module.add_q_proj, module.norm_added_q)], dim=2)
        k = torch.cat([k, heads_of(module, text, module.add_k_proj, module.norm_added_k)], dim=2)
    return q.double(), k.double(), "last"


def brute_force(backbone, latents: Tensor, timestep: Tensor, grid_of) -> Tensor:
    """The fused map from full fp64 softmaxes of every block, without the recorder."""
    maps, handles = [], []

    def hook(name: str):
        def see(module, args, kwargs):
            q, k, text = queries_and_keys(module, args, kwargs)
            shares = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, dim=-1).mean(dim=1)
            tokens = grid_of(name)[0] * grid_of(name)[1]
            shares = shares[:, -tokens:, -tokens:] if text == "first" else shares[:, :tokens, :tokens]
            maps.append((grid_of(name), shares / shares.sum(-1, keepdim=True)))

        return see

    for name in backbone.attention_blocks:
        handles.append(backbone.network.get_submodule(name).register_forward_pre_hook(hook(name), with_kwargs=True))
    backbone.denoise(latents, timestep)
    for handle in handles:
        handle.remove()
    largest, total = max(grid for grid, _ in maps), 0
    for grid in {grid for grid, _ in maps}:
        shares = sum(shares for its_grid, shares in maps if its_grid == grid)
        up = torch.kron(bilinear(largest[0], grid[0]), bilinear(largest[1], grid[1]))  # (N, n)
        keys = shares @ up.T
        total = total + up @ (keys * shares.sum(-1, keepdim=True) / keys.sum(-1, keepdim=True))
    return total / len(maps)


def grid_rule(backbone, latent_hw: tuple[int, int]):
    """The grid of a block by what its name says, independent of `image_tokens`."""

    def grid(name: str) -> tuple[int, int]:
        if not hasattr(backbone.network, "down_blocks"):
            patch = 4 if isinstance(backbone, MiniBackbone) else 2
            return latent_hw[0] // patch, latent_hw[1] // patch
        halvings = {"down_blocks.0": 0, "down_blocks.1": 1, "mid_block": 2, "up_blocks.1": 1, "up_blocks.2": 0}
        rows, columns = latent_hw
        for _ in range(next(count for stage, count in halvings.items() if name.startswith(stage))):
            rows, columns = (rows + 1) // 2, (columns + 1) // 2
        return rows, columns

    return grid


@ALL
def test_fused_map_is_the_softmax_computed_by_hand_on_a_wide_picture(backbone_of, kind):
    backbone, latent_hw = backbone_of(kind), (8, 12)
    latents, timestep = latents_of(backbone, latent_hw), torch.tensor([0.0, 400.0])
    fused, grid_hw = fused_attention(backbone, latents, timestep)
    grid = grid_rule(backbone, latent_hw)
    expected = brute_force(backbone, latents, timestep, grid)
    assert grid_hw == max(grid(name) for name in backbone.attention_blocks)
    torch.testing.assert_close(fused.double(), expected, atol=2e-6, rtol=1e-4)
    torch.testing.assert_close(fused.sum(-1), torch.ones(2, grid_hw[0] * grid_hw[1]))
    uniform = torch.full_like(expected, 1 / expected.shape[-1])
    assert (expected - uniform).abs().max() > 1e-3, "a flat map would hide every mistake"


@ALL
def test_recording_leaves_the_output_bit_equal(backbone_of, kind):
    backbone = backbone_of(kind)
    latents, timestep = latents_of(backbone, (12, 8)), torch.tensor([100.0, 700.0])
    plain = backbone.denoise(latents, timestep)
    with record_attention(backbone, (12, 8), FusedAttention()):
        recorded = backbone.denoise(latents, timestep)
    assert torch.equal(plain, recorded)


@ALL
def test_images_of_a_batch_do_not_touch_each_other(backbone_of, kind):
    backbone = backbone_of(kind)
    latents, timestep = latents_of(backbone, (8, 8)), torch.tensor([0.0, 600.0])
    together, _ = fused_attention(backbone, latents, timestep)
    for i in range(2):
        alone, _ = fused_attention(backbone, latents[i : i + 1], timestep[i : i + 1])
        torch.testing.assert_close(together[i], alone[0], atol=1e-6, rtol=1e-4)


@ALL
def test_blocks_are_seen_in_the_order_of_the_forward_pass(backbone_of, kind):
    backbone, calls = backbone_of(kind), Collected()
    with record_attention(backbone, (8, 8), calls):
        backbone.denoise(latents_of(backbone, (8, 8)), torch.tensor([0.0, 0.0]))
    assert tuple(call.block for call in calls.calls) == backbone.attention_blocks


class Collected:
    """A reduction that keeps every call."""

    def __init__(self) -> None:
        self.calls: list[BlockCall] = []

    def add(self, call: BlockCall) -> None:
        self.calls.append(call)


def test_as_many_text_tokens_as_image_tokens_are_not_confused(backbone_of):
    backbone, latent_hw = backbone_of("sd15"), (7, 11)  # 77 tokens, as many as CLIP's
    assert backbone.null_text.embeds.shape[1] == 7 * 11
    latents, timestep = latents_of(backbone, latent_hw), torch.tensor([0.0, 300.0])
    fused, grid_hw = fused_attention(backbone, latents, timestep)
    assert grid_hw == (7, 11)
    expected = brute_force(backbone, latents, timestep, grid_rule(backbone, latent_hw))
    torch.testing.assert_close(fused.double(), expected, atol=2e-6, rtol=1e-4)


def hook_count(network) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


def test_hooks_are_gone_after_an_exception_inside_and_it_is_not_replaced(backbone_of):
    backbone = backbone_of("sd15")
    before = hook_count(backbone.network)
    with pytest.raises(KeyError, match="mine"), record_attention(backbone, (8, 8), FusedAttention()):
        assert hook_count(backbone.network) > before
        raise KeyError("mine")
    assert hook_count(backbone.network) == before
    original = F.scaled_dot_product_attention
    calls = Collected()
    with record_attention(backbone, (8, 8), calls):
        backbone.denoise(latents_of(backbone, (8, 8)), torch.tensor([0.0, 0.0]))
    assert len(calls.calls) == 7 and F.scaled_dot_product_attention is original


def test_an_exception_of_the_network_does_not_leave_a_block_at_work(backbone_of):
    backbone = backbone_of("sd15")
    block = backbone.network.get_submodule(backbone.attention_blocks[1]).to_out[0]

    def fail(*_):
        raise ZeroDivisionError

    handle = block.register_forward_pre_hook(fail)
    latents, timestep, calls = latents_of(backbone, (8, 8)), torch.tensor([0.0, 0.0]), Collected()
    with pytest.raises(RecordingError, match="9 calls"), record_attention(backbone, (8, 8), calls):
        with pytest.raises(ZeroDivisionError):
            backbone.denoise(latents, timestep)
        handle.remove()
        backbone.denoise(latents, timestep)
    assert [call.block for call in calls.calls[2:]] == list(backbone.attention_blocks)


def test_a_block_that_bypasses_scaled_dot_product_attention_raises(backbone_of):
    from diffusers.models.attention_processor import AttnProcessor

    backbone = backbone_of("sd15")
    module = backbone.network.get_submodule(backbone.attention_blocks[2])
    usual = module.processor
    module.set_processor(AttnProcessor())
    try:
        with pytest.raises(RecordingError, match=r"7 self-attention blocks but 6 .* not seen: mid_block"):
            fused_attention(backbone, latents_of(backbone, (8, 8)), torch.tensor([0.0, 0.0]))
    finally:
        module.set_processor(usual)


def test_two_forward_passes_in_one_recording_raise(backbone_of):
    backbone = backbone_of("mini")
    latents, timestep = latents_of(backbone, (8, 8)), torch.tensor([0.0, 0.0])
    with pytest.raises(RecordingError, match="more than once"), record_attention(backbone, (8, 8), FusedAttention()):
        backbone.denoise(latents, timestep)
        backbone.denoise(latents, timestep)


def test_a_grid_larger_than_the_sequence_raises(backbone_of):
    backbone = backbone_of("mini")
    smaller, timestep = latents_of(backbone, (8, 8)), torch.tensor([0.0, 0.0])
    said = "cannot hold a 4 x 2 grid"
    with pytest.raises(RecordingError, match=said), record_attention(backbone, (16, 8), FusedAttention()):
        backbone.denoise(smaller, timestep)


@pytest.mark.parametrize("kind", ["sdxl", "sd35-medium"])
def test_small_chunks_give_the_same_map(backbone_of, kind, monkeypatch):
    backbone = backbone_of(kind)
    latents, timestep = latents_of(backbone, (12, 8)), torch.tensor([0.0, 500.0])
    whole, _ = fused_attention(backbone, latents, timestep)
    monkeypatch.setattr(attention, "CHUNK_ELEMENTS", 2 * 2 * 96 * 5)  # five rows, which divides nothing
    chunked, _ = fused_attention(backbone, latents, timestep)
    torch.testing.assert_close(chunked, whole, atol=1e-7, rtol=1e-5)


class LargestTensor(TorchDispatchMode):
    """The number of elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


@pytest.mark.parametrize("kind", ["sd15", "sdxl", "pixart-alpha"])
def test_no_tensor_larger_than_one_map_is_made(backbone_of, kind, monkeypatch):
    monkeypatch.setattr(attention, "CHUNK_ELEMENTS", 2**14)
    backbone = backbone_of(kind)
    latent_hw = (24, 32) if kind != "pixart-alpha" else (48, 64)
    tokens = 24 * 32
    with LargestTensor() as largest:
        fused_attention(backbone, latents_of(backbone, latent_hw, batch=1), torch.tensor([0.0]))
    assert largest.elements == tokens**2  # and not heads x N x N


def test_added_rows_keep_their_sum():
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(2, 6, 6, generator=generator) ** 8
    small = small / small.sum(-1, keepdim=True) * 3
    fused = torch.ones(2, 35, 35)
    add_upsampled(fused, (5, 7), small, (2, 3))
    torch.testing.assert_close(fused.sum(-1), torch.full((2, 35), 35.0 + 3.0))


def test_a_bias_counts_and_text_keys_are_cut_off_and_rows_renormalised():
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 3, 7, 4, generator=generator)
    bias = torch.randn(1, 1, 7, 7, generator=generator)
    call = BlockCall("x", query, key, key, 0.3, bias, slice(1, 7), (2, 3))
    weights = (query @ key.transpose(-1, -2) * 0.3 + bias).exp()
    expected = (weights / weights.sum(-1, keepdim=True)).mean(1)[:, 1:, 1:]
    expected = expected / expected.sum(-1, keepdim=True)
    torch.testing.assert_close(block_probabilities(call, slice(2, 5)), expected[:, 2:5])
