"""EdgePredictor: a photo in, instance edges out, in one step. Answers to the same call as EdgeTeacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pil
from torch import Tensor

from tracedge.backbones import MODELS, load_backbone
from tracedge.backbones.protocol import Backbone
from tracedge.batching import predict_by_size
from tracedge.checkpoints import under
from tracedge.contours import levelled
from tracedge.edges import non_maximum_suppression
from tracedge.errors import CheckpointError, SettingsError
from tracedge.fit import Fit
from tracedge.images import ImageSource, load_image
from tracedge.maps import EdgeMap
from tracedge.student.adapters import adapter_state, merge_adapter_state
from tracedge.student.decoder import DecoderConfig, EdgeDecoder
from tracedge.student.files import (
    ADAPTERS,
    DECODER,
    MERGED,
    StudentCard,
    find_student,
    fingerprint,
    read_student,
    refuse_other,
    write_student,
)
from tracedge.student.network import Student, read_attention
from tracedge.tiling import blend_tiles, zoom_tiles

Image = NDArray[Any]


class EdgePredictor:
    """Instance edges of images by a distilled student: one forward at t = 0, no noise, no seed.

    Made by `EdgePredictor.from_pretrained`.

    >>> import numpy as np
    >>> predictor = EdgePredictor.from_pretrained("mini")
    >>> predictor(np.zeros((48, 64, 3), np.uint8)).shape
    (48, 64)
    """

    def __init__(
        self,
        student: Student,
        card: StudentCard,
        tensors: dict[str, Tensor] | None = None,
        *,
        size: int | None = None,
        zoom: int = 1,
        thin: bool = False,
    ) -> None:
        """tensors: what is saved; None takes it from the student, whose adapters are then not merged yet."""
        if not 1 <= zoom <= 16:
            raise SettingsError(f"zoom must be from 1 to 16, got {zoom}")
        self.student, self.card, self.zoom, self.thin = student, card, zoom, thin
        self.size = size or card.size
        self._tensors = _tensors_of(student) if tensors is None else tensors
        self._hash = fingerprint(self._tensors)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = "mini",
        *,
        backbone: Backbone | str | Path | None = None,
        size: int | None = None,
        zoom: int = 1,
        thin: bool = False,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        local_files_only: bool = False,
    ) -> EdgePredictor:
        """Load a student and the model under it, LoRA merged into its weights.

        Args:
            name: "mini" (inside the package), a folder that `tracedge distill` or `save_pretrained` wrote, or a hub id.
            backbone: where its base model is, if not where the card says: a name, folder, hub id or loaded model. A loaded
                one is changed: LoRA is merged into it.
            size: long side in pixels that the backbone sees; None: as it was trained.
            zoom: above 1, the picture is also read in overlapping tiles at this many times the size, and both are averaged:
                small objects are found, for as many forwards as there are tiles (6 to 9 at zoom 2).
            thin: suppress non-maxima, so that edges are one pixel wide; by default the decoder's soft map is kept.
            device, dtype, local_files_only: as for `load_backbone`.

        Raises:
            CheckpointError: not a student, or the base model is not the one it was distilled from.
            SettingsError, BackboneError: as `load_backbone`.
        """
        tensors, card = read_student(find_student(name, local_files_only=local_files_only))
        if size is not None and not 16 <= size <= 4096:
            raise SettingsError(f"size must be from 16 to 4096 px, got {size}")
        if backbone is None:
            backbone = home_of(card)
        if isinstance(backbone, str | Path):
            backbone = load_backbone(backbone, device=device, dtype=dtype, local_files_only=local_files_only)
        refuse_other(card, backbone)
        merge_adapter_state(backbone.network, under(ADAPTERS, tensors))
        backbone.settings = {**backbone.settings, MERGED: fingerprint(tensors)}
        state = under(DECODER, tensors)
        try:
            decoder = EdgeDecoder(DecoderConfig(len(state["mean"]), card.width))
            decoder.load_state_dict(state)
        except (KeyError, RuntimeError, SettingsError) as error:
            raise CheckpointError(f"the decoder of {name} does not fit its card: {error}") from error
        student = Student(backbone, decoder.to(backbone.device), card.detail, card.values).eval().requires_grad_(False)
        return cls(student, card, tensors, size=size, zoom=zoom, thin=thin)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.student.backbone.device

    @property
    def provenance(self) -> dict[str, object]:
        """What the edges depend on, as JSON types: goes into every `EdgeMap` and every manifest."""
        backbone = self.student.backbone
        return {
            "predictor": "student",
            "student": self._hash,
            "size": self.size,
            "log_odds": list(self.card.log_odds),
            "zoom": self.zoom,
            "thin": self.thin,
            "backbone": backbone.settings,
            "dtype": str(backbone.dtype).removeprefix("torch."),
        }

    @overload
    def __call__(self, images: ImageSource) -> EdgeMap: ...
    @overload
    def __call__(self, images: list[Any]) -> list[EdgeMap]: ...
    def __call__(self, images: ImageSource | list[Any]) -> EdgeMap | list[EdgeMap]:
        """Edges of one image (path, PIL image or array), or of a list of them in one batch where their sizes agree.

        Returns an `EdgeMap` of exactly the image's size, or a list of them in the order given. Its edges
        are linear in their log-odds (`StudentCard.log_odds`), each contour at its mean (`tracedge.contours`): a threshold
        means the same in every picture.
        """
        if not isinstance(images, list):
            return self([images])[0]
        return predict_by_size(self._edges_of_batch, [load_image(image) for image in images])

    @torch.inference_mode()
    def _edges_of_batch(self, images: list[Image]) -> list[EdgeMap]:
        """Images of one size, (H, W, 3) uint8 each."""
        # 1. The whole pictures.
        soft = self._soft(images)

        # 2. Their tiles, all of one size, a picture at a time.
        if self.zoom > 1:
            boxes = zoom_tiles(images[0].shape[:2], self.zoom)
            for image, whole in zip(images, soft, strict=True):
                parts = self._soft([image[top:bottom, left:right] for top, left, bottom, right in boxes])
                whole += blend_tiles(zip(boxes, parts, strict=True))
                whole /= 2

        # 3. One pixel wide, if asked for.
        return [EdgeMap(non_maximum_suppression(e) if self.thin else e, settings=self.provenance) for e in soft]

    def _soft(self, images: list[Image]) -> NDArray[np.float32]:
        """Edges (B, H, W) in [0, 1] of one forward."""
        # 1. At the decoder's resolution; the backbone sees it `detail` times smaller.
        detail = self.card.detail
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255  # (B, 3, H, W)
        fit = Fit(images[0].shape[:2], detail * self.size, detail * self.student.backbone.multiple_of)

        # 2. One forward; contours stand or fall as a whole.
        logits = self.student.edges(fit.apply(pixels))[:, 0].float().cpu()
        low, high = self.card.log_odds
        soft = ((logits - low) / (high - low)).clamp(0, 1)
        soft = torch.stack([torch.from_numpy(levelled(each.numpy())) for each in soft])

        # 3. Back onto the pictures' own pixels.
        placed: NDArray[np.float32] = fit.undo(soft).clamp(0, 1).numpy()
        return placed

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `student.json`, `student.safetensors` and a model card, for `from_pretrained`."""
        write_student(Path(folder), self._tensors, self.card)

    def push_to_hub(self, hub_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload what `save_pretrained` writes to the Hugging Face hub; returns the address of the commit."""
        from tempfile import TemporaryDirectory

        from huggingface_hub import HfApi

        api = HfApi(token=token)
        api.create_repo(hub_id, private=private, exist_ok=True)
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return str(api.upload_folder(repo_id=hub_id, folder_path=folder, commit_message="A tracedge student"))

    def as_detector(self) -> Callable[[Pil.Image], Pil.Image]:
        """A function as ControlNet's preprocessors are: PIL image in, PIL image (RGB, white edges on black) of its size out."""
        return detector_of(self)

    def compile(self) -> EdgePredictor:
        """torch.compile the decoder: slower the first time for each picture size, faster after; returns self.

        The backbone stays as it is, since its attention is watched as it runs.
        """
        self.student.decoder.compile()
        return self


def untrained(backbone: Backbone, size: int, detail: int = 1) -> EdgePredictor:
    """A student whose decoder is random, to be timed: what it finds means nothing."""
    side, blocks, values = 4 * backbone.multiple_of, len(backbone.attention_blocks), 6
    with torch.no_grad():
        reading, _ = read_attention(backbone, backbone.encode(torch.zeros(1, 3, side, side)), values)
    decoder = EdgeDecoder(DecoderConfig(reading.shape[1])).to(backbone.device)
    card = StudentCard(dict(backbone.settings), size, detail, 0, decoder.config.width, blocks, values=values)
    return EdgePredictor(Student(backbone, decoder, detail, values).eval().requires_grad_(False), card)


def detector_of(predictor: Callable[[Any], EdgeMap]) -> Callable[[Pil.Image], Pil.Image]:
    """Any predictor of edges as a function from PIL image to PIL image."""

    def detect(image: Pil.Image) -> Pil.Image:
        edges = predictor(image).edges
        return Pil.fromarray(np.rint(edges * 255).astype(np.uint8)).convert("RGB")

    return detect


def _tensors_of(student: Student) -> dict[str, Tensor]:
    tensors = {f"{ADAPTERS}{name}": weight for name, weight in adapter_state(student.network).items()}
    tensors |= {f"{DECODER}{name}": weight for name, weight in student.decoder.state_dict().items()}
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def home_of(card: StudentCard) -> str:
    """Where to look for the base model of a student: the folder that it was in, or its name in our table, or its hub id."""
    name, source = str(card.backbone.get("name")), card.backbone.get("source")
    is_folder = "weights" in card.backbone and source is not None
    return name if name in MODELS and not is_folder else str(source or name)
