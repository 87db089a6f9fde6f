"""Mask2Former (Cheng et al. 2022) as transformers has it: with random weights, on a trained backbone, or from its own files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tracedge.backbones.vision.files import VisionFiles, vision_files
from tracedge.backbones.vision.pixels import IMAGENET, Pixels, pixels_of
from tracedge.backbones.vision.weights import load_network, without_notes
from tracedge.categories import Category
from tracedge.detector.config import DetectorConfig
from tracedge.errors import BackboneError
from tracedge.settings import choose

BACKBONES: dict[str, str] = {
    "resnet-18": "microsoft/resnet-18",
    "resnet-50": "microsoft/resnet-50",
    "dino-resnet-50": "Ramos-Ramos/dino-resnet-50",
    "swin-tiny": "microsoft/swin-tiny-patch4-window7-224",
    "swin-small": "microsoft/swin-small-patch4-window7-224",
    "swin-base": "microsoft/swin-base-patch4-window12-384-in22k",
    "swin-large": "microsoft/swin-large-patch4-window12-384-in22k",
}
"""Names -> hub ids of backbones. All but DINO's were trained with the labels of ImageNet."""

SMALL = "small"
"""A ResNet of 1.2 M parameters with random weights: for drawn scenes, few photos and CPUs."""

MODEL_TYPE = "mask2former"
_STAGES = ["stage1", "stage2", "stage3", "stage4"]
_KINDS = {"resnet": "ResNetBackbone", "swin": "SwinBackbone"}
"""model_type of config.json -> class in transformers. (Its AutoBackbone asks the hub about folders.)"""


@dataclass(frozen=True, eq=False)
class Mask2Former:
    """A network with what it is given for a pixel. settings: where its first weights are from, of JSON's types."""

    network: Any
    pixels: Pixels
    settings: dict[str, object]

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def backbone(self) -> nn.Module:
        """The part whose weights a training may start from."""
        backbone: nn.Module = self.network.model.pixel_level_module.encoder
        return backbone

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Of images (B, 3, h, w) in [0, 1], sides multiples of 32: the probability of each class (B, Q, C + 1), the last for
        none, and each query's mask as log-odds (B, Q, h / 4, w / 4)."""
        pixels = self.pixels.standardised(images.to(self.device))
        found = self.network(pixel_values=pixels)
        return found.class_queries_logits.float().softmax(-1), found.masks_queries_logits.float()


def untrained(
    config: DetectorConfig, categories: tuple[Category, ...], *, local_files_only: bool = False
) -> Mask2Former:
    """A network to be trained: random but for its backbone, which has the weights of `config.backbone` unless that is "small".

    Raises:
        SettingsError, GatedModelError, BackboneError: no such backbone, it cannot be had, or is neither a ResNet nor a Swin.
    """
    torch.manual_seed(config.seed)
    if config.backbone == SMALL:
        return Mask2Former(_network(config, _small(), categories), IMAGENET, {"backbone": SMALL})
    files = vision_files(backbone_of(config.backbone), local_files_only=local_files_only)
    if files.model_type not in _KINDS:
        raise BackboneError(
            f"{files.source} is a model of the type {files.model_type!r}: a detector's backbone is one of {', '.join(_KINDS)}."
        )
    kind = _KINDS[str(files.model_type)]
    trained = load_network(kind, files, "a backbone", new=("hidden_states_norms.",), out_features=_STAGES)
    network = _network(config, trained.config, categories)
    found = Mask2Former(network, pixels_of(files.processing, files.source, IMAGENET), {"backbone": files.settings})
    found.backbone.load_state_dict(trained.state_dict())
    freeze_statistics(found.backbone)
    return found


def backbone_of(name: str) -> str:
    """The folder or hub id of a backbone with weights.

    Raises:
        SettingsError: neither a name of `BACKBONES`, nor a folder, nor of the form owner/model.
    """
    if Path(name).expanduser().is_dir() or name.count("/") == 1:
        return name
    return choose("backbone of detectors", name, {SMALL: SMALL, **BACKBONES})


def open_mask2former(files: VisionFiles) -> Mask2Former:
    """A trained network, as its own files say it: what `tracedge detect train` wrote, or one of the hub.

    Raises:
        BackboneError: it is no Mask2Former, or its weights do not fit its config.
    """
    if files.model_type != MODEL_TYPE:
        raise BackboneError(f"{files.source} is a model of the type {files.model_type!r}, expected {MODEL_TYPE}.")
    network = load_network("Mask2FormerForUniversalSegmentation", files, "a Mask2Former")
    return Mask2Former(network, pixels_of(files.processing, files.source, IMAGENET), dict(files.settings))


def _network(config: DetectorConfig, backbone: Any, categories: tuple[Category, ...]) -> Any:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

    with without_notes():  # on a ResNet, which transformers did not try under Mask2Former; here it was
        whole = Mask2FormerConfig(
            backbone_config=backbone,
            feature_size=config.width,
            mask_feature_size=config.width,
            hidden_dim=config.width,
            encoder_feedforward_dim=4 * config.width,
            dim_feedforward=8 * config.width,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers + 1,  # transformers counts the prediction before the first layer too
            num_attention_heads=config.heads,
            num_queries=config.queries,
            no_object_weight=config.no_object,
            train_num_points=config.points,
            id2label={place: category.name for place, category in enumerate(categories)},
            label2id={category.name: place for place, category in enumerate(categories)},
        )
        return Mask2FormerForUniversalSegmentation(whole)


def _small() -> Any:
    from transformers import ResNetConfig

    return ResNetConfig(
        embedding_size=32,
        hidden_sizes=[32, 64, 128, 256],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=_STAGES,
    )


def freeze_statistics(backbone: nn.Module) -> None:
    """Batch statistics of trained weights stay as they are, as in Mask2Former: batches are small."""
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            module.train = lambda mode=True, own=module: own  # type: ignore[method-assign, misc]
