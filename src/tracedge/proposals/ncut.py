"""The normalised cut of tokens: the second eigenvector of their graph, without a dense eigen-decomposition."""

from __future__ import annotations

import inspect

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from tracedge.errors import SettingsError

Vector = NDArray[np.float64]
Matrix = NDArray[np.float32]

SMALL = 64
"""Up to this many tokens the dense decomposition is the quicker one."""
TOLERANCE = 1e-7
"""Of the eigenvalue; products of an fp32 graph carry no more digits."""
_SEEDED = {"rng": 0} if "rng" in inspect.signature(eigsh).parameters else {}  # SciPy 1.17 restarts at random otherwise


def similarity_graph(features: NDArray[np.float32], threshold: float, epsilon: float = 1e-5) -> Matrix:
    """Who is like whom: 1 where the cosine of two tokens exceeds the threshold, else epsilon; (N, N) from (N, D).

    A token of zero features has cosine 0 with all, itself too, so it hangs on by epsilons alone. (TokenCut, section 3.2.)

    Raises:
        SettingsError: a threshold outside [0, 1), or an epsilon outside (0, 1).
    """
    if not 0 <= threshold < 1 or not 0 < epsilon < 1:
        raise SettingsError(f"a graph needs threshold in [0, 1) and epsilon in (0, 1), got {threshold} and {epsilon}.")
    unit = normalised(features)
    graph = unit @ unit.T
    alike = graph > threshold
    graph.fill(epsilon)
    graph[alike] = 1
    return graph


def normalised(features: NDArray[np.float32], smallest: float = 1e-5) -> NDArray[np.float32]:
    """Rows (N, D) divided by their lengths; those shorter than `smallest` by that instead."""
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    return features / np.maximum(lengths, np.float32(smallest))


def second_eigenvector(affinity: Matrix) -> Vector:
    """The vector v of the second smallest eigenvalue of (D - A) v = lambda D v, D = diag(A 1).

    It relaxes the normalised cut: two groups of tokens with few edges between them for the edges that they have in all (Shi
    and Malik, PAMI 2000). v = D^-1/2 u with u the second eigenvector of M = D^-1/2 A D^-1/2. The first is known, D^1/2 1
    with eigenvalue 1, so it is taken out of M, and Lanczos looks for the largest of what is left.

    Args:
        affinity: float32 (N, N), symmetric, no number below 0, no row of zeros; N at least 2.

    Returns:
        float64 (N,). Its sign is such that the component of the largest size is positive; D^1/2 v has length 1. Where several
        eigenvectors share the eigenvalue it is one of them, always the same.

    Raises:
        SettingsError: not as above (symmetry is taken on trust).

    >>> graph = np.full((4, 4), 0.1, np.float32)
    >>> graph[:3, :3] = 1
    >>> (second_eigenvector(graph) > 0).tolist()
    [False, False, False, True]
    """
    _check(affinity)
    root = affinity.sum(axis=1, dtype=np.float64) ** 0.5  # D^1/2 as (N,)
    first = root / np.linalg.norm(root)
    floor, count = float(affinity.min()), len(affinity)
    above = affinity - np.float32(
        floor
    )  # what all edges have in common is summed in fp64: it decides between weak ties

    def deflated(vector: Vector) -> Vector:
        """M without its first eigenvector, whose eigenvalue becomes -1: no other is smaller."""
        vector = vector.ravel()
        scaled = vector / root
        product = above @ scaled.astype(np.float32) + floor * scaled.sum()
        return product / root - 2 * (first @ vector) * first

    vector = _lanczos(LinearOperator((count, count), matvec=deflated, dtype=np.float64), first)
    if vector is None:
        dense = affinity / root[:, None] / root - 2 * np.outer(first, first)
        vector = scipy.linalg.eigh(dense, subset_by_index=[count - 1, count - 1])[1][:, 0]
    back = _settled(vector / root, affinity, float(1 - vector @ deflated(vector)))
    return back * np.sign(back[np.abs(back).argmax()])


def _settled(vector: Vector, affinity: Matrix, eigenvalue: float) -> Vector:
    """The eigenvector with its values at tokens that are tied to all alike (those of zero features) worked out exactly.

    Each such value is the mean over all tokens / (1 - eigenvalue). It may differ from the mean by less than the vector's own
    error, and yet a bipartition at the mean has to tell them apart.
    """
    alike = affinity.min(axis=1) == affinity.max(axis=1)
    left = len(vector) * (1 - eigenvalue) - alike.sum()
    if alike.any() and left > 0:
        vector = np.where(alike, vector[~alike].sum() / left, vector)
    return vector


def _lanczos(operator: LinearOperator, first: Vector) -> Vector | None:
    """The eigenvector (N,) of the largest eigenvalue; None where it is not found so."""
    count = len(first)
    if count <= SMALL:
        return None
    start = np.random.default_rng(0).standard_normal(count)
    start -= (first @ start) * first
    try:
        return eigsh(operator, k=1, which="LA", v0=start, tol=TOLERANCE, **_SEEDED)[1][:, 0]
    except ArpackError:  # it did not converge, or broke down
        return None


def _check(affinity: Matrix) -> None:
    if (
        affinity.dtype != np.float32
        or affinity.ndim != 2
        or affinity.shape[0] != affinity.shape[1]
        or len(affinity) < 2
    ):
        raise SettingsError(
            f"expected an affinity as float32 (N, N), N at least 2, got {affinity.dtype} {affinity.shape}."
        )
    if (
        not affinity.min() >= 0 or not np.isfinite(affinity).all() or not affinity.any(axis=1).all()
    ):  # nan fails the first
        raise SettingsError("expected finite affinities from 0 upwards, and at least one above 0 in each row.")
