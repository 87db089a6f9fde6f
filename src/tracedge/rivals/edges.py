"""What instance edges are compared with: Sobel, Canny, and the edges another detector left in a folder.

None of them knows objects from texture; they are the floor of the benchmark.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2gray
from skimage.feature import canny
from skimage.filters import sobel

from tracedge.errors import DataError, SettingsError
from tracedge.export.png import read_grey
from tracedge.images import MAX_PIXELS

CANNY_LEVELS = tuple(float(high) for high in np.linspace(0.02, 0.6, 16))
_CANNY_LOW = 0.4  # of the high threshold, as MATLAB's edge() has it
_MODES = ("1", "L", "I;16")
_FULL_SCALE = {"b1": 1, "u1": 255, "u2": 65535}  # by the values' type


def sobel_edges(image: NDArray[np.uint8], sigma: float = 2.0) -> NDArray[np.float32]:
    """Sobel magnitude of the smoothed grey image, divided by its maximum.

    The map is soft, several pixels wide: the evaluation cuts and thins it, or suppresses its non-maxima on request.

    Args:
        image: uint8 (H, W, 3) RGB.
        sigma: of the Gaussian, in pixels, 0 or more.

    Returns:
        float32 (H, W) in [0, 1]; all 0 for an image of one colour.

    Raises:
        SettingsError: an image that is not uint8 (H, W, 3), or a negative sigma.

    >>> sobel_edges(np.zeros((4, 6, 3), np.uint8)).shape
    (4, 6)
    """
    grey = gaussian_filter(_grey(image, sigma), sigma, mode="nearest")
    strength = sobel(grey, mode="nearest")
    largest = strength.max()
    # Rounding leaves 1e-17 on a flat image: dividing by that would make edges of nothing.
    return (strength / largest if largest > 1e-9 else np.zeros_like(strength)).astype(np.float32)


def canny_edges(image: NDArray[np.uint8], sigma: float = 2.0) -> NDArray[np.float32]:
    """Canny edges at 16 high thresholds, 0.02 .. 0.6 in equal steps; the strength is the highest a pixel survives.

    The low threshold is 0.4 of the high one, both on the Sobel magnitude of the grey image in [0, 1] as
    ``skimage.feature.canny`` scales it. Survival of threshold number i of 16 gives strength i / 16, rising with the
    threshold: cutting the map at any t gives the Canny edges of one threshold.

    Args:
        image: uint8 (H, W, 3) RGB.
        sigma: of the Gaussian, in pixels, 0 or more.

    Returns:
        float32 (H, W), multiples of 1/16 in [0, 1]; lines are thin already.

    Raises:
        SettingsError: an image that is not uint8 (H, W, 3), or a negative sigma.

    Source: Canny, 1986.
    """
    smooth = gaussian_filter(_grey(image, sigma), sigma, mode="nearest")  # once, not once a threshold
    strength = np.zeros(smooth.shape, np.float32)
    for rank, high in enumerate(CANNY_LEVELS, start=1):
        survives = canny(smooth, sigma=0, low_threshold=_CANNY_LOW * high, high_threshold=high, mode="nearest")
        if not survives.any():
            break  # thresholds rise: nothing survives the next one either
        strength[survives] = rank / len(CANNY_LEVELS)
    return strength


class FolderOfEdges:
    """Edges that were computed elsewhere: ``<stem>.edges.png`` or ``<stem>.png``, grey, 1, 8 or 16 bits.

    A stem is the image's name without its suffix, and holds the folders that the data set names: of ``a/1.jpg`` the edges are
    in ``a/1.edges.png``, as ``tracedge edges`` writes them.

    Args:
        folder: where the files are; the first of the two names that is there is taken.

    Raises:
        DataError: the folder is not there.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError(f"{self.folder} is not a folder; expected one with <stem>.edges.png or <stem>.png files.")

    def require(self, stems: Iterable[str]) -> None:
        """Make sure that there is a file for each image.

        Raises:
            DataError: for some there is none.
        """
        missing = [stem for stem in stems if self._path_of(stem) is None]
        if missing:
            raise DataError(
                f"{self.folder} has no edges for {len(missing)} images, neither {missing[0]}.edges.png nor {missing[0]}.png."
            )

    def require_any(self, stems: Iterable[str]) -> None:
        """Make sure that there is a file for one of the images at least.

        Raises:
            DataError: for none there is.
        """
        listed = list(stems)
        if not any(self._path_of(stem) for stem in listed):
            raise DataError(
                f"{self.folder} has edges for none of the {len(listed)} images, neither {listed[0]}.edges.png nor "
                f"{listed[0]}.png: give the folder that `tracedge edges` wrote for them."
            )

    def fingerprint(self) -> str:
        """16 hexadecimal digits of the names and contents of its PNGs."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.rglob("*.png")):
            digest.update(f"{path.relative_to(self.folder).as_posix()}\0".encode())
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()[:16]

    def _path_of(self, stem: str) -> Path | None:
        names = (f"{stem}.edges.png", f"{stem}.png")
        return next((self.folder / name for name in names if (self.folder / name).is_file()), None)

    def read(self, stem: str, image_hw: tuple[int, int]) -> NDArray[np.float32]:
        """The edges of one image.

        Args:
            stem: the image's name without its suffix.
            image_hw: the size the edges must have.

        Returns:
            float32 (H, W) in [0, 1]: value / 255 or / 65535.

        Raises:
            DataError: no such file, one that is no grey PNG, or one of another size; what is larger than both the image and
                MAX_PIXELS is not decoded.
        """
        self.require([stem])
        path = self._path_of(stem)
        assert path is not None
        # Edges as large as an image that was accepted are accepted.
        limit = max(MAX_PIXELS, image_hw[0] * image_hw[1])
        values = read_grey(path, _MODES, "grey of 8 or 16 bits, brighter is stronger", max_pixels=limit)
        if values.shape != image_hw:
            raise DataError(f"{path} is {_size(values.shape)}, but the image of {stem!r} is {_size(image_hw)}.")
        return (values / _FULL_SCALE[values.dtype.kind + str(values.itemsize)]).astype(np.float32)


def _grey(image: NDArray[np.uint8], sigma: float) -> NDArray[np.float64]:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise SettingsError(f"Expected an image uint8 (H, W, 3), got {image.dtype} {image.shape}; use load_image.")
    if sigma < 0:
        raise SettingsError(f"sigma is a number of pixels, 0 or more; got {sigma}.")
    return rgb2gray(image)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape) + " (rows x columns)"
