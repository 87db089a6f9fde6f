"""How much memory tensors and arrays take at the worst moment of a computation, and how much there is."""

from __future__ import annotations

import os
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Watch(TorchDispatchMode):
    """Adds up the storages that operations return, and takes off those that are freed."""

    def __init__(self) -> None:
        super().__init__()
        self._sizes: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {self._key(part) for part in _strided((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for part in _strided(result):
            if self._key(part) not in given and self._key(part) not in self._sizes:
                self._take(part)
        return result

    @staticmethod
    def _key(tensor: torch.Tensor) -> int:
        return tensor.untyped_storage()._cdata

    def _take(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        self._sizes[key] = size
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self.now -= self._sizes.pop(key, 0)


def _strided(tree: Any) -> list[torch.Tensor]:
    """All tensors of what an operation takes or gives; of a sparse one (CSR) the three it consists of."""
    tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
    parts = [
        (tensor.crow_indices(), tensor.col_indices(), tensor.values())
        if tensor.layout == torch.sparse_csr
        else (tensor,)
        for tensor in tensors
    ]
    return [part for three in parts for part in three]


def peak_tensor_bytes(compute: Callable[[], object]) -> int:
    """The most bytes that tensors made inside `compute` held at one time; what an operation needs inside is not seen.

    >>> peak_tensor_bytes(lambda: torch.zeros(1000).add(1).sum()) >= 2 * 4000
    True
    """
    watch = _Watch()
    with watch:
        compute()
    return watch.peak


def peak_bytes(compute: Callable[[], object]) -> int:
    """The most bytes that arrays and Python's objects held at one time, and the most that tensors did, added up.

    The two moments need not be the same: the peak is at most this, but for what operations need inside.

    >>> peak_bytes(lambda: (bytes(1000), torch.zeros(1000))) >= 5000
    True
    """
    peak_tensor_bytes(lambda: torch.zeros(1))  # what torch loads the first time is not of the computation
    tracemalloc.start()
    try:
        tensors = peak_tensor_bytes(compute)
        return tensors + tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def free_bytes(device: torch.device) -> int:
    """The memory of a device that nothing holds; 1 GiB where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 2**30
