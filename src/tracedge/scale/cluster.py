"""The processes of a cluster: where they run, how many, how they start and end."""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tracedge.errors import MissingExtraError, SettingsError
from tracedge.interrupts import signals_raise

OBJECT_STORE = 160 * 2**20
"""Bytes of shared memory of a cluster of our own: only rows go through it. Ray wants 75 MiB at least."""


@dataclass(frozen=True)
class Cluster:
    """Where workers run, and how many.

    address: of a running cluster ("auto", "host:6379"; "ray://host:10001" if Ray's client is installed, `ray[client]`); None: one
    of our own on this machine, for the length of the run. workers: processes that hold the model; None: one a GPU, else one for
    every so many cores as `threads` says. gpus_per_worker: may be a fraction; None: 1 if there are GPUs. threads: of each
    worker on a CPU.
    """

    address: str | None = None
    workers: int | None = None
    gpus_per_worker: float | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise SettingsError(f"workers must be at least 1, got {self.workers}.")
        if self.gpus_per_worker is not None and self.gpus_per_worker < 0:
            raise SettingsError(f"gpus_per_worker must not be negative, got {self.gpus_per_worker}.")
        if self.threads < 1:
            raise SettingsError(f"threads must be at least 1, got {self.threads}.")


def pool(cluster: Cluster, resources: Mapping[str, float]) -> tuple[int, dict[str, float]]:
    """How many workers, and what each of them takes."""
    gpus, cpus = resources.get("GPU", 0.0), resources.get("CPU", 0.0)
    share = cluster.gpus_per_worker if cluster.gpus_per_worker is not None else min(1.0, gpus)
    cores = 1 if share else cluster.threads
    fit = min(int(cpus // cores), int(gpus / share + 1e-9) if share else sys.maxsize)
    if fit < (cluster.workers or 1):
        raise SettingsError(
            f"the cluster has {cpus:g} cores and {gpus:g} GPUs, too few for {cluster.workers or 1} workers with "
            f"{share:g} GPUs and {cluster.threads} threads each: ask for fewer by --workers, --threads or --gpus-per-worker."
        )
    return cluster.workers or fit, {"num_cpus": cores, "num_gpus": share}


@contextlib.contextmanager
def joined(cluster: Cluster) -> Iterator[None]:
    """The cluster, left at the end; one of our own ends with the block, and its files with it."""
    ray = ray_module()
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    with contextlib.ExitStack() as stack:
        stack.enter_context(signals_raise())  # whatever ends the command, its cluster ends with it
        if cluster.address is None:
            for name, value in _own_cluster().items():
                os.environ.setdefault(name, value)
            needed = max(_cores(), (cluster.workers or 1) * cluster.threads)
            quiet |= {"num_cpus": needed, "object_store_memory": OBJECT_STORE}
            quiet |= {"include_dashboard": False, "_temp_dir": stack.enter_context(_short_folder())}
        stack.callback(ray.shutdown)
        with _handlers_kept(), _its_own_warnings(), _naming(cluster.address):
            ray.init(address=cluster.address or "local", **quiet)
        yield


@contextlib.contextmanager
def _naming(address: str | None) -> Iterator[None]:
    """A cluster that cannot be joined is said in a sentence, and soon: Ray would try for minutes.

    Raises:
        SettingsError: it cannot.
    """
    try:
        host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
        if colon and port.isdecimal():
            socket.create_connection((host.strip("[]"), int(port)), timeout=10.0).close()
        yield
    except (ValueError, OSError, ImportError, RuntimeError) as error:  # ConnectionError is an OSError
        if address is None:
            raise
        said = str(error).split("\n")[0].rstrip(".").replace("`--address` flag", "--ray-address")
        raise SettingsError(f"there is no cluster to join at {address}: {said}.") from error


@contextlib.contextmanager
def _short_folder() -> Iterator[str]:
    """Files of a cluster; sockets want a short path. If Ray is stopped as it starts, its processes end at exit, and only then."""
    folder = tempfile.mkdtemp(prefix="tracedge-ray-")
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(remove)  # before Ray's own, so that it runs after it
    try:
        yield folder
    except BaseException:
        remove()
        raise
    remove()
    atexit.unregister(remove)


def _cores() -> int:
    """Those that this process may use: on a queue's machine they are fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _own_cluster() -> dict[str, str]:
    """What Ray reads of the environment, as far as the user has not said it."""
    return {
        "RAY_AUTH_TOKEN": secrets.token_hex(32),  # else Ray writes one into the home folder
        # Workers are the work, and not what stands behind it: Ray would have them step back behind all other processes.
        "RAY_worker_niceness": "0",
    }


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """Ray sets a handler for SIGTERM that ends the process in its own way; ours is put back, and its exit code is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as asked:  # by SIGTERM, while it starts
        raise SystemExit(128 + signal.SIGTERM) from asked
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _its_own_warnings() -> Iterator[None]:
    """What Ray deprecates of itself is not for our users."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def ray_module() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("--engine ray needs Ray: pip install 'tracedge[ray]'.") from error
    return ray
