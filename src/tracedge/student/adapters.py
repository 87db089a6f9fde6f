"""LoRA on the self-attention projections of a backbone: put in, read, written, merged (by peft)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tracedge.backbones.protocol import AttentionSource
from tracedge.errors import CheckpointError, SettingsError

PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
_NAME = "tracedge"


def projections(source: AttentionSource) -> list[str]:
    """Names of the linear layers that get an adapter: query, key, value and output of every self-attention block."""
    layers = dict(source.network.named_modules())
    names = [f"{block}.{part}" for block in source.attention_blocks for part in PROJECTIONS]
    return [name for name in names if isinstance(layers.get(name), nn.Linear)]


def add_adapters(source: AttentionSource, rank: int, seed: int = 0) -> list[nn.Parameter]:
    """Freeze the network, add LoRA of a rank (alpha = rank) in fp32, and give the parameters that are trained.

    An adapter starts as zero: the network's output does not change.

    Raises:
        SettingsError: a rank below 1, or a network without such layers.
    """
    from peft import LoraConfig, inject_adapter_in_model

    if rank < 1:
        raise SettingsError(f"the rank of LoRA must be at least 1, got {rank}")
    names = projections(source)
    if not names:
        raise SettingsError(f"{source.name} has no attention projections that LoRA could be put on")
    source.network.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=names, bias="none")
        inject_adapter_in_model(config, source.network, adapter_name=_NAME)
    weights = [weight for name, weight in source.network.named_parameters() if "lora_" in name]
    for weight in weights:
        weight.data = weight.data.float()
        weight.requires_grad_(True)
    return weights


def adapter_state(network: nn.Module) -> dict[str, Tensor]:
    """The adapters' weights, by name: what is saved."""
    return {name: weight.detach() for name, weight in network.named_parameters() if "lora_" in name}


def load_adapter_state(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Put saved weights into adapters that `add_adapters` made.

    Raises:
        CheckpointError: other names or shapes than the network has.
    """
    own = {name: weight for name, weight in network.named_parameters() if "lora_" in name}
    wrong = sorted(own.keys() ^ state.keys()) or [n for n in own if own[n].shape != state[n].shape]
    if wrong:
        raise CheckpointError(
            f"the adapters do not fit the network: {len(wrong)} layers differ, {wrong[0]} is the first"
        )
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(state[name])


def merge_adapter_state(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Add saved adapters to the weights of a network that has none: W + B A, as fast as without.

    Raises:
        CheckpointError: a layer that the network does not have, another shape, or a weight that is no longer finite.
    """
    layers = dict(network.named_modules())
    for first in sorted(name for name in state if ".lora_A." in name):
        layer = layers.get(first.partition(".lora_A.")[0])
        low, high = state[first].float(), state.get(first.replace(".lora_A.", ".lora_B."))
        if not isinstance(layer, nn.Linear) or high is None or (len(high), low.shape[1]) != layer.weight.shape:
            raise CheckpointError(f"the adapter {first} does not fit the network")
        with torch.no_grad():
            layer.weight += (high.float() @ low).to(layer.weight)
        if not bool(layer.weight.isfinite().all()):
            raise CheckpointError(f"the adapter {first} makes weights that are not finite")
