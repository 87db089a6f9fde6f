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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from tracedge.errors import MissingExtraError, SettingsError
from tracedge.interrupts import raise_again, signals_raise

OBJECT_STORE = 160 * 2**20
"""Bytes of shared memory of a cluster of our own: only rows go through it. Ray wants 75 MiB at least."""

LONGEST_PLACE = 20
"""Of temporary files, in bytes: a socket's path has 107 at most (103 on a Mac), and Ray's own part of it is long."""


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
        stack.enter_context(_ending_as_asked())
        if cluster.address is None:
            for name, value in _own_cluster().items():
                os.environ.setdefault(name, value)
            needed = max(_cores(), (cluster.workers or 1) * cluster.threads)
            quiet |= {"num_cpus": needed, "object_store_memory": OBJECT_STORE}
            quiet |= {"include_dashboard": False, "_temp_dir": stack.enter_context(short_folder())}
        # Ray that is interrupted as it starts can end the process in the midst of its tidying up, and its processes die with the
        # thread that started them: so it has one, which signals do not reach, and which ends behind it.
        starter = stack.enter_context(ThreadPoolExecutor(1, "ray"))
        stack.callback(lambda: starter.submit(ray.shutdown).result())
        with _handler_kept(), _its_own_warnings(), _naming(cluster.address):
            starter.submit(ray.init, address=cluster.address or "local", **quiet).result()
        yield


@contextlib.contextmanager
def _ending_as_asked() -> Iterator[None]:
    """Ray makes an error of a signal, or gives it an exit code of its own; it is a signal again."""
    try:
        yield
    except (Exception, SystemExit):
        raise_again()
        raise


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
def short_folder() -> Iterator[str]:
    """Files of a cluster. If Ray is stopped as it starts, its processes end at exit, and only then."""
    usual = tempfile.gettempdir()
    is_short = len(os.fsencode(usual)) <= LONGEST_PLACE or not os.access("/tmp", os.W_OK)
    folder = tempfile.mkdtemp(prefix="tracedge-ray-", dir=usual if is_short else "/tmp")
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
def _handler_kept() -> Iterator[None]:
    """Ray's part in C sets a handler for SIGTERM behind Python's back; ours is put back."""
    try:
        yield
    finally:
        ours = signal.getsignal(signal.SIGTERM)
        if ours is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ours)


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
