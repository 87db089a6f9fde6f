"""Instance edges as a ControlNet preprocessor, with the calls of `controlnet_aux`.

detector = TracedgeDetector.from_pretrained("mini")
control_image = detector(Image.open("photo.jpg"))  # white edges on black, of the photo's own size
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tracedge.edges import KINDS, as_kind
from tracedge.errors import SettingsError
from tracedge.images import load_image
from tracedge.settings import choose
from tracedge.student.predictor import EdgePredictor

MULTIPLE = 64  # px, of both sides, wherever controlnet_aux chooses the size


class TracedgeDetector:
    """What `HEDdetector` and its like are: from_pretrained, to, and a call from a picture to a picture."""

    def __init__(self, predictor: EdgePredictor, *, reload: dict[str, Any] | None = None) -> None:
        """predictor: of edges. reload: the arguments of `from_pretrained` that made it, for `to`."""
        self.predictor, self._reload = predictor, reload

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_or_path: str | Path = "mini",
        filename: str | None = None,
        cache_dir: str | None = None,
        local_files_only: bool = False,
        **options: Any,
    ) -> TracedgeDetector:
        """Load a student: "mini", which ships with tracedge, a folder that `tracedge distill` wrote, or a hub id.

        Args:
            filename, cache_dir: of controlnet_aux, which keeps each model in one file. Students are folders: leave them out.
            options: further arguments of `EdgePredictor.from_pretrained` (size, zoom, device, ...).

        Raises:
            SettingsError: a filename or cache_dir; and as `EdgePredictor.from_pretrained`.
        """
        if filename is not None or cache_dir is not None:
            raise SettingsError(
                "a student is a whole folder: leave filename and cache_dir out, and give the folder's path."
            )
        given = {"name": pretrained_model_or_path, "local_files_only": local_files_only} | options
        return cls(EdgePredictor.from_pretrained(**given), reload=given)

    def to(self, device: Any) -> TracedgeDetector:
        """The detector on another device ("cpu", "cuda:1"; "cuda" is any of them), loaded anew unless it is there already."""
        wanted, own = torch.device(device), self.predictor.device
        if wanted.type == own.type and wanted.index in (None, own.index or 0):
            return self
        if self._reload is None:
            raise SettingsError("this detector was made of a loaded predictor: load that one with device= instead.")
        self.predictor = EdgePredictor.from_pretrained(**self._reload | {"device": str(device)})
        return self

    def __call__(
        self,
        input_image: Image.Image | NDArray[np.uint8],
        detect_resolution: int | None = None,
        image_resolution: int | None = None,
        safe: bool = False,
        output_type: str = "pil",
        scribble: bool = False,
        kind: str = "soft",
        **ignored: Any,
    ) -> Image.Image | NDArray[np.uint8]:
        """White edges on black, uint8 RGB, of the picture's own size.

        Args:
            input_image: PIL, or an array (H, W, 3) of uint8.
            detect_resolution: None: what the student was made for. Else, as in controlnet_aux, the short side in pixels to which
                the picture is brought before edges are looked for.
            image_resolution: None: edges of the picture's own size. Else, as in controlnet_aux, the short side of what comes out;
                both sides are then multiples of 64.
            safe: edges in few grey levels, as controlnet_aux's `safe` makes them.
            output_type: "pil" or "np".
            scribble: the same as kind="binary".
            kind: soft, nms (ridges alone), thin (lines a pixel wide) or binary.
            ignored: what other detectors take (return_pil, which is deprecated there, is heard).

        Raises:
            SettingsError: an unknown output_type or kind, or a resolution below 64. ImageError: no picture.
        """
        choose("kind of edges", kind, KINDS)
        if "return_pil" in ignored:
            output_type = "pil" if ignored["return_pil"] else "np"
        choose("output_type", output_type, {"pil": None, "np": None})
        image = load_image(input_image)
        seen = image if detect_resolution is None else _resized(image, _sides(image, detect_resolution))
        sides = (image.shape[1], image.shape[0]) if image_resolution is None else _sides(image, image_resolution)
        # Brought to size while they are soft: lines and levels that are made before would be blurred.
        edges = as_kind(_resized(self.predictor(seen).edges, sides), "binary" if scribble else kind)
        if safe:
            edges = np.minimum(np.floor(edges * 3), 2) / 2
        drawn = np.rint(255 * np.clip(edges, 0, 1)).astype(np.uint8)
        picture = Image.fromarray(drawn).convert("RGB")
        return picture if output_type == "pil" else np.asarray(picture)


def _sides(image: NDArray[np.uint8], short: int) -> tuple[int, int]:
    """Width and height where the short side has about so many pixels, both of them multiples of 64."""
    if short < MULTIPLE:
        raise SettingsError(f"a resolution is at least {MULTIPLE} px, got {short}")
    height, width = image.shape[:2]
    scale = short / min(height, width)
    return max(1, round(width * scale / MULTIPLE)) * MULTIPLE, max(1, round(height * scale / MULTIPLE)) * MULTIPLE


def _resized(picture: NDArray[Any], sides: tuple[int, int]) -> NDArray[Any]:
    """A picture (H, W, 3) of uint8, or edges (H, W) of float32, with these width and height."""
    if (picture.shape[1], picture.shape[0]) == sides:
        return picture
    return np.asarray(Image.fromarray(picture).resize(sides, Image.Resampling.BILINEAR))
