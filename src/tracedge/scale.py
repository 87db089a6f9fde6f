"""The same work on the processes of a Ray cluster. Nothing else knows Ray.

Ray Data hands parts of the input to a pool of workers. Each holds the model, reads its parts, writes the outputs into
the output folder, which all of them must see, and sends back a small row for each image; no picture travels. A worker that
dies is started again and its part done again. The driver alone holds the folder's lock and writes its manifest.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tracedge.earlier import Entry
from tracedge.errors import MissingExtraError, RunError, SettingsError, TracedgeError
from tracedge.jobs import Task, folded
from tracedge.maps import settings_hash
from tracedge.outcomes import Named, Outcome, OutputFolder
from tracedge.sources import Part
from tracedge.work import Steps, Work, work_through

OBJECT_STORE = 160 * 2**20
"""Bytes of shared memory of a cluster of our own: only rows go through it. Ray wants 75 MiB at least."""


@dataclass(frozen=True)
class Cluster:
    """Where workers run, and how many.

    address: of a running cluster ("auto", "ray://host:10001"); None: one of our own on this machine, for the length of the
    run. workers: processes that hold the model; None: one a GPU, else one for every so many cores as `threads` says.
    gpus_per_worker: may be a fraction; None: 1 if there are GPUs. threads: of each worker on a CPU.
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


class RayEngine:
    """An `Engine` whose workers are actors of Ray Data; entering it starts or joins the cluster.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingsError: the cluster has fewer processors than the workers need.
    """

    def __init__(self, cluster: Cluster | None = None) -> None:
        self.cluster = cluster or Cluster()
        self._own = contextlib.ExitStack()
        self._work: Work | None = None

    def __enter__(self) -> RayEngine:
        ray = _ray()
        with contextlib.ExitStack() as stack:
            if not ray.is_initialized():
                stack.enter_context(_joined(self.cluster))
            self._size, self._resources = _pool(self.cluster, ray.cluster_resources())
            self._own = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._own.close()

    def open(self, work: Work) -> dict[str, Any]:
        """Ask a worker: the processors there may be others than here, and with them the precision."""
        ray = _ray()
        self._work = work
        asked = ray.remote(**self._resources)(_provenance).remote(work, self.cluster.threads, str(Path.cwd()))
        answer = ray.get(asked)
        if isinstance(answer, TracedgeError | OSError):
            raise answer
        return dict(answer)

    def outcomes(
        self, parts: Sequence[Part], folder: OutputFolder, known: Mapping[str, Entry], batch_size: int
    ) -> Iterator[Outcome]:
        """Rows as they come in, in no particular order of the parts; an image that was done twice is told of once."""
        if self._work is None:
            raise RunError("this engine has no work: open it first.")
        shares = [{"share": _Share(part, entries)} for part, entries in _shared_out(parts, known)]
        if not shares:  # tables without rows
            return
        data = _ray_data()
        # One share is one block, and so what is done again if a worker dies.
        rows = data.from_items(shares, override_num_blocks=len(shares)).map_batches(
            _Worker,
            fn_constructor_args=(self._work, folder, batch_size, self.cluster.threads, str(Path.cwd())),
            batch_size=1,
            compute=data.ActorPoolStrategy(size=min(self._size, len(shares))),
            **self._resources,
        )
        told: set[str] = set()
        for batch in rows.iter_batches(batch_size=None, prefetch_batches=0):
            for outcome in batch["outcome"]:
                if isinstance(outcome, Exception):
                    raise outcome
                name = folded(str(outcome.task.relative))
                if name not in told:
                    told.add(name)
                    yield outcome


@dataclass(frozen=True)
class _Share:
    """What a worker takes at a time: a part, and what the manifest holds of it."""

    part: Part
    known: Mapping[str, Entry]


class _Worker:
    """An actor: it loads the model once, and then does one share after the other."""

    def __init__(self, work: Work, folder: OutputFolder, batch_size: int, threads: int, here: str) -> None:
        self._folder = replace(folder, path=Path(here) / folder.path)
        self._batch_size = batch_size
        self._opened = _opened(work, threads, here)
        if isinstance(self._opened, Steps) and settings_hash(self._opened.provenance) != folder.settings_hash:
            self._opened = RunError(
                "workers differ: one would make other results than the first that was asked, by its processor or its files. "
                "Say --device and --dtype, and give all of them the same models."
            )

    def __call__(self, batch: Mapping[str, Sequence[_Share]]) -> Iterator[dict[str, list[Outcome | Exception]]]:
        """A row for each image, sent when its outputs are in place."""
        if isinstance(self._opened, Exception):
            yield {"outcome": [self._opened]}
            return
        try:
            for share in batch["share"]:
                for outcome in work_through(
                    share.part.tasks(), self._folder, share.known, self._opened, self._batch_size
                ):
                    yield {"outcome": [replace(outcome, task=_named(outcome.task))]}
        except (TracedgeError, OSError) as error:  # the run must not go on; Ray would wrap it
            yield {"outcome": [error]}


def _named(task: Task) -> Named:
    return Named(str(task.source), task.relative, task.file)


def _opened(work: Work, threads: int, here: str) -> Steps | Exception:
    """The model in this process; what is said on purpose is given back, since Ray would wrap it."""
    import torch

    with contextlib.suppress(OSError):  # names of files are relative to where the driver stands
        os.chdir(here)
    torch.set_num_threads(threads)
    try:
        return work.open()
    except (TracedgeError, OSError) as error:
        return error


def _provenance(work: Work, threads: int, here: str) -> dict[str, Any] | Exception:
    opened = _opened(work, threads, here)
    return opened if isinstance(opened, Exception) else opened.provenance


def _shared_out(parts: Sequence[Part], known: Mapping[str, Entry]) -> Iterator[tuple[Part, dict[str, Entry]]]:
    """Each part with the entries of its own images."""
    under: dict[str, dict[str, Entry]] = {folded(str(part.prefix)): {} for part in parts if part.prefix is not None}
    for name, entry in known.items() if under else ():
        cut = len(name)
        while cut > 0 and name[:cut] not in under:
            cut = name.rfind("/", 0, cut)
        if cut > 0:
            under[name[:cut]][name] = entry
    for part in parts:
        if part.prefix is not None:
            yield part, under[folded(str(part.prefix))]
        else:
            names = (folded(str(task.relative)) for task in part.tasks())
            yield part, {name: known[name] for name in names if name in known}


def _pool(cluster: Cluster, resources: Mapping[str, float]) -> tuple[int, dict[str, float]]:
    """How many workers, and what each of them takes."""
    gpus, cpus = resources.get("GPU", 0.0), resources.get("CPU", 0.0)
    share = cluster.gpus_per_worker if cluster.gpus_per_worker is not None else min(1.0, gpus)
    fit = int(gpus / share + 1e-9) if share else int(cpus // cluster.threads)
    if fit < (cluster.workers or 1):
        raise SettingsError(
            f"the cluster has {cpus:g} cores and {gpus:g} GPUs, too few for {cluster.workers or 1} workers with "
            f"{share:g} GPUs and {cluster.threads} threads each: ask for fewer by --workers, --threads or --gpus-per-worker."
        )
    return cluster.workers or fit, {"num_cpus": 1 if share else cluster.threads, "num_gpus": share}


@contextlib.contextmanager
def _joined(cluster: Cluster) -> Iterator[None]:
    """The cluster, left at the end; one of our own ends with the block, and its files with it."""
    ray = _ray()
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    with contextlib.ExitStack() as stack:
        if cluster.address is None:
            folder = tempfile.mkdtemp(prefix="tracedge-ray-")  # sockets want a short path
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            for name, value in _own_cluster().items():
                os.environ.setdefault(name, value)
            needed = max(_cores(), (cluster.workers or 1) * cluster.threads)
            quiet |= {"num_cpus": needed, "object_store_memory": OBJECT_STORE}
            quiet |= {"include_dashboard": False, "_temp_dir": folder}
        stack.callback(ray.shutdown)
        with _handlers_kept(), _its_own_warnings():
            ray.init(address=cluster.address or "local", **quiet)
        yield


def _cores() -> int:
    """Those that this process may use: on a queue's machine they are fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _own_cluster() -> dict[str, str]:
    """What Ray reads of the environment, as far as the user has not said it."""
    return {
        "RAY_AUTH_TOKEN": secrets.token_hex(32),  # else Ray writes one into the home folder
        "RAY_BACKEND_LOG_LEVEL": "fatal",
        # Workers are the work, and not what stands behind it: Ray would have them step back behind all other processes.
        "RAY_worker_niceness": "0",
    }


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """Ray sets a handler for SIGTERM that ends the process in its own way; ours is put back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _its_own_warnings() -> Iterator[None]:
    """What Ray deprecates of itself is not for our users."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("--engine ray needs Ray: pip install 'tracedge[ray]'.") from error
    return ray


def _ray_data() -> Any:
    _ray()
    with _its_own_warnings():
        import ray.data

        context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # there is one of ours
    context.target_max_block_size = 1  # each row is sent when it is made, and not when 128 MiB are full
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray.data
