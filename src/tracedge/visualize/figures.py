"""Pictures that stand beside numbers: panels in a row, and curves of precision and recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracedge.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RGB = NDArray[np.uint8]


def side_by_side(pictures: Sequence[RGB], gap: int = 6) -> RGB:
    """Pictures uint8 (H, W, 3) of one height in a row, white between them.

    Raises:
        DataError: none, or of different heights.
    """
    if len({picture.shape[0] for picture in pictures}) != 1:
        raise DataError(f"expected pictures of one height, got {[picture.shape[:2] for picture in pictures]}.")
    white = np.full((pictures[0].shape[0], gap, 3), 255, np.uint8)
    row = [part for picture in pictures for part in (picture, white)]
    return np.concatenate(row[:-1], axis=1)


def curves_picture(title: str, curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]) -> RGB:
    """Precision against recall, a line for each (recall (K,), precision (K,)), with the best F of each on its line.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(6, 5)
    axes = figure.add_subplot()
    for wanted in np.arange(0.1, 1, 0.1):
        recall = np.linspace(wanted / (2 - wanted) + 1e-6, 1, 100)
        axes.plot(recall, wanted * recall / (2 * recall - wanted), color="0.85", linewidth=0.8)
    for name, (recall, precision) in curves.items():
        f = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
        (line,) = axes.plot(recall, precision, label=f"{name} (F {f.max():.3f})")
        axes.plot(recall[f.argmax()], precision[f.argmax()], "o", color=line.get_color())
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="precision", title=title)
    axes.legend(loc="lower left", fontsize="small")
    return _drawn(figure)


def require_matplotlib() -> None:
    """To be asked before the work whose figures need it.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("the figure needs matplotlib: pip install 'tracedge[figures]'") from error


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _drawn(figure: Figure) -> RGB:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
