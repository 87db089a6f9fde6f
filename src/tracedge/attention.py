"""The recorder: what every self-attention block of a network attends to, seen without changing the network.

Every diffusers and transformers model of today computes attention by `F.scaled_dot_product_attention`. A
`TorchFunctionMode` sees each of these calls with its queries and keys (after norms and rotary positions); pre-hooks on the
attention modules say which block is at work; the source says where that block's image tokens are. The call itself goes
through untouched, so the network's output is bit-equal with and without recording, and nothing has to be put back.

A *reduction* folds the blocks as they come, so that no tensor of shape heads x N x N is ever held for the whole model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tracedge.backbones.protocol import AttentionSource, Backbone
from tracedge.errors import RecordingError

CHUNK_ELEMENTS = 4 * 2**20
"""Largest temporary of attention probabilities, in elements: 16 MiB of fp32, which the allocator keeps and reuses."""


@dataclass(frozen=True)
class BlockCall:
    """One attention call of one block, as a reduction gets it.

    query: (B, A, Q, d), key: (B, A, K, d), after norms and rotary positions; value: (B, A, K, d), without either. scale:
    multiplies q k^T. bias: additive mask broadcastable to (B, A, Q, K), or None. image: where the image tokens stand in
    both sequences. grid_hw: their grid.
    """

    block: str
    query: Tensor
    key: Tensor
    value: Tensor
    scale: float
    bias: Tensor | None
    image: slice
    grid_hw: tuple[int, int]


class Reduction(Protocol):
    """Folds the blocks of one forward pass."""

    def add(self, call: BlockCall) -> None: ...


R = TypeVar("R", bound=Reduction)


@contextmanager
def record_attention(source: AttentionSource, latent_hw: tuple[int, int], reduce: R) -> Iterator[R]:
    """Show every image self-attention block of one forward pass inside the context to `reduce`.

    Args:
        source: the network that will be run inside the context.
        latent_hw: rows and columns of the latents that it will be given (pixels for a pixel-space model).
        reduce: gets `add(BlockCall)` for each block, in forward order.

    Raises:
        RecordingError: on leaving, the blocks seen are not exactly `source.attention_blocks`, each once; or a block's
            sequence is shorter than its image tokens. Nothing is raised over an exception of the body.
    """
    names = {module: name for name, module in source.network.named_modules() if name in set(source.attention_blocks)}
    stack: list[str] = []
    seen: list[str] = []

    def enter(module: torch.nn.Module, *_: object) -> None:
        stack.append(names[module])

    def leave(*_: object) -> None:
        stack.pop()

    def see(query: Tensor, key: Tensor, value: Tensor, scale: float | None, bias: Tensor | None) -> None:
        place = source.image_tokens(stack[-1], query.shape[-2], key.shape[-2], latent_hw)
        if place is None:
            return
        image, grid_hw = place
        if isinstance(image, Tensor):
            image, query, key, value = _in_order(image, query, key, value, bias, f"{source.name}: block {stack[-1]}")
        if (
            image.stop > query.shape[-2]
            or image.stop > key.shape[-2]
            or image.stop - image.start != grid_hw[0] * grid_hw[1]
        ):
            raise RecordingError(
                f"{source.name}: block {stack[-1]} has {query.shape[-2]} queries and {key.shape[-2]} keys, "
                f"which cannot hold a {grid_hw[0]} x {grid_hw[1]} grid of image tokens"
            )
        seen.append(stack[-1])
        reduce.add(BlockCall(stack[-1], query, key, value, scale or query.shape[-1] ** -0.5, bias, image, grid_hw))

    handles = [module.register_forward_pre_hook(enter) for module in names]
    handles += [module.register_forward_hook(leave, always_call=True) for module in names]
    try:
        with _Watch(stack, see):
            yield reduce
    finally:
        for handle in handles:
            handle.remove()
    if sorted(seen) != sorted(source.attention_blocks):
        raise RecordingError(_wrong_blocks(source, seen))


def _in_order(
    places: Tensor, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, where: str
) -> tuple[slice, Tensor, Tensor, Tensor]:
    """Queries, keys and values with the image tokens row by row, for a sequence of nothing else."""
    if bias is not None or not query.shape[-2] == key.shape[-2] == len(places):
        raise RecordingError(
            f"{where} has {query.shape[-2]} queries and {key.shape[-2]} keys{' and a mask' if bias is not None else ''}, "
            f"expected the {len(places)} image tokens alone"
        )
    order = places.to(query.device)
    query, key, value = (each.index_select(-2, order) for each in (query, key, value))
    return slice(0, len(places)), query, key, value


class _Watch(TorchFunctionMode):
    """Calls `see` for each scaled_dot_product_attention that runs while a watched module is at work."""

    def __init__(self, stack: list[str], see: Any) -> None:
        super().__init__()
        self.stack, self.see = stack, see

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention and self.stack:
            self._show(*args, **kwargs)
        return func(*args, **kwargs)

    def _show(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> None:
        if is_causal or enable_gqa:
            raise RecordingError(f"block {self.stack[-1]}: causal or grouped-query attention cannot be recorded")
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, -torch.inf)
        self.see(query, key, value, scale, attn_mask)


def _wrong_blocks(source: AttentionSource, seen: list[str]) -> str:
    missing = [name for name in source.attention_blocks if name not in seen]
    twice = sorted({name for name in seen if seen.count(name) > 1})
    return (
        f"{source.name} has {len(source.attention_blocks)} self-attention blocks but {len(seen)} calls were recorded"
        + (f"; not seen: {', '.join(missing[:3])}" if missing else "")
        + (f"; more than once: {', '.join(twice[:3])} (record one forward pass at a time)" if twice else "")
        + ". An attention processor that does not call torch's scaled_dot_product_attention cannot be recorded."
    )


def block_probabilities(call: BlockCall, rows: slice) -> Tensor:
    """Head-averaged attention of some image queries over the image keys, (B, rows, N) in fp32; rows sum to 1.

    The softmax runs over all keys of the block, in fp32; then heads are averaged, text keys are cut off and rows
    are renormalised (paper, 3.1, for the image-to-image part of a joint block).
    """
    query = call.query[..., call.image, :][..., rows, :].float() * call.scale
    logits = query @ call.key.float().transpose(-1, -2)  # (B, A, rows, K)
    if call.bias is not None:
        logits = logits + (call.bias[..., call.image, :][..., rows, :] if call.bias.shape[-2] > 1 else call.bias)
    shares = torch.softmax(logits, dim=-1).mean(dim=1)  # (B, rows, K)
    if call.image == slice(0, call.key.shape[-2]):
        return shares
    shares = shares[..., call.image]
    return shares / shares.sum(dim=-1, keepdim=True)


class FusedAttention:
    """The paper's SA(X_t): head-averaged maps of all blocks, brought to the largest grid, and averaged (3.1).

    Holds one (B, N, N) sum for each grid that occurs; a single-grid transformer has one.

    by_resolution: not every block weighs the same, but every grid in proportion to its side, the root of its tokens, however
    many blocks it has; and a query of the largest grid has the row of the query it lies in, without interpolation (DiffSeg:
    Tian, Aggarwal, Colaco, Kira, Gonzalez-Franco, CVPR 2024, section 3.2). With one grid it is the same.
    """

    def __init__(self, by_resolution: bool = False) -> None:
        self._sums: dict[tuple[int, int], Tensor] = {}
        self._blocks: dict[tuple[int, int], int] = {}
        self._by_resolution = by_resolution

    def add(self, call: BlockCall) -> None:
        batch, heads, _, _ = call.query.shape
        tokens = call.grid_hw[0] * call.grid_hw[1]
        if call.grid_hw not in self._sums:
            self._sums[call.grid_hw] = torch.zeros(batch, tokens, tokens, device=call.query.device)
        total = self._sums[call.grid_hw]
        step = max(1, CHUNK_ELEMENTS // (batch * heads * call.key.shape[-2]))
        for start in range(0, tokens, step):
            rows = slice(start, min(start + step, tokens))
            total[:, rows] += block_probabilities(call, rows)
        self._blocks[call.grid_hw] = self._blocks.get(call.grid_hw, 0) + 1

    def result(self) -> tuple[Tensor, tuple[int, int]]:
        """The fused map (B, N, N) in fp32, rows sum to 1, and its grid (h, w), N = h w. Ends the reduction."""
        grid_hw = max(self._sums, key=lambda hw: hw[0] * hw[1])
        weights = {hw: math.sqrt(hw[0] * hw[1]) / count for hw, count in self._blocks.items()}
        if not self._by_resolution:
            weights = dict.fromkeys(weights, 1.0)
        fused = self._sums.pop(grid_hw).mul_(weights[grid_hw])
        for small_hw in sorted(self._sums):
            small = self._sums.pop(small_hw).mul_(weights[small_hw])
            add_upsampled(fused, grid_hw, small, small_hw, repeat_queries=self._by_resolution)
        return fused.div_(sum(weights[hw] * count for hw, count in self._blocks.items())), grid_hw


def add_upsampled(
    fused: Tensor,
    grid_hw: tuple[int, int],
    small: Tensor,
    small_hw: tuple[int, int],
    *,
    repeat_queries: bool = False,
) -> None:
    """Add a map of a smaller grid, (B, n, n), to one of a larger grid, (B, N, N), in place: keys, then queries, bilinearly.

    Bilinear weights need not sum to the ratio of the grids at the border, so each row (of the sum over the small grid's
    blocks) keeps its own sum. repeat_queries: queries are repeated instead of interpolated.
    """
    batch, tokens = small.shape[0], grid_hw[0] * grid_hw[1]
    mode = "nearest-exact" if repeat_queries else "bilinear"
    sums = small.sum(dim=-1, keepdim=True)
    keys = F.interpolate(small.reshape(batch, -1, *small_hw), size=grid_hw, mode="bilinear").flatten(2)  # (B, n, N)
    keys = keys * (sums / keys.sum(dim=-1, keepdim=True))
    step = max(1, CHUNK_ELEMENTS // (batch * tokens))
    for start in range(0, tokens, step):
        columns = slice(start, min(start + step, tokens))
        queries = keys[:, :, columns].transpose(1, 2).reshape(batch, -1, *small_hw)
        fused[:, :, columns] += F.interpolate(queries, size=grid_hw, mode=mode).flatten(2).transpose(1, 2)


def fused_attention(
    backbone: Backbone, latents: Tensor, timestep: Tensor, *, by_resolution: bool = False
) -> tuple[Tensor, tuple[int, int]]:
    """SA(X_t) of latents (B, C, h, w) at timesteps (B,): (B, N, N), rows sum to 1, and the grid (h', w').

    by_resolution: see `FusedAttention`.
    """
    latent_hw, reduction = (latents.shape[-2], latents.shape[-1]), FusedAttention(by_resolution)
    with torch.no_grad(), record_attention(backbone, latent_hw, reduction) as taken:
        backbone.denoise(latents, timestep)
    return taken.result()
