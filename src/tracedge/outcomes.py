"""What became of an image, and the rules of the folder that its outputs go to; both may travel between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias

from tracedge.batching import Failure
from tracedge.earlier import Entry, is_same, would_fail_again
from tracedge.errors import RunError
from tracedge.jobs import Task, output_name
from tracedge.jsonlines import encode

Status: TypeAlias = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class Outcome:
    """What became of one image.

    line: for the manifest, of `jsonlines.encode`; None: it holds one already that says so. error: "TypeName: sentence" of a
    failure; without a line it is that of an earlier run.
    """

    task: Task
    status: Status
    line: bytes | None = None
    error: str | None = None


@dataclass(frozen=True)
class Named:
    """A `Task` by its names alone, to tell of one in another process."""

    source: str
    relative: PurePosixPath
    file: str

    def content_hash(self) -> None:
        """Nothing is at hand."""


@dataclass(frozen=True)
class OutputFolder:
    """Where outputs go, and when there is nothing to do.

    path: the folder. outputs: the suffixes of the files of each image. settings_hash: of what the results depend on.
    force: replace results of another photo of the same name. retry_failed: try again what failed and has not changed.
    """

    path: Path
    outputs: tuple[str, ...]
    settings_hash: str
    force: bool = False
    retry_failed: bool = False

    def place(self, task: Task, suffix: str) -> Path:
        """Where an output of a task stands.

        Raises:
            RunError: a link inside the output folder leads out of it.
        """
        path = self.path / output_name(task, suffix)
        if not path.parent.resolve().is_relative_to(self.path.resolve()):
            raise RunError(f"{path} lies outside of {self.path}, a link leads there: remove the link.")
        return path

    def is_done(self, entry: Entry | None, task: Task, content_hash: str | None) -> bool:
        """Whether an entry of the manifest and the files tell that nothing is left to do."""
        return (
            entry is not None
            and entry["status"] == "ok"
            and is_same(entry, self.settings_hash, content_hash)
            and all(self.place(task, suffix).is_file() for suffix in self.outputs)
        )

    def failed_before(self, entry: Entry | None, content_hash: str | None) -> str | None:
        """Why it failed in an earlier run, if it would again."""
        if entry is None or self.retry_failed or not is_same(entry, self.settings_hash, content_hash):
            return None
        return str(entry["error"]) if would_fail_again(entry, self.outputs) else None

    def refuse_replacing(self, entry: Entry | None, task: Task) -> None:
        """Raise `RunError` if the outputs of another photo stand where this one's would go."""
        if entry is not None and entry["status"] == "ok" and entry["file"] != task.file and not self.force:
            raise RunError(
                f"{self.path} holds the results of {entry['file']}, which those of {task.source} would replace: "
                "choose another output folder, or replace them with --force (force=True)."
            )

    def line(self, task: Task, content_hash: str | None, said: Mapping[str, Any] | Failure) -> bytes:
        """The line of an image that is done, with further fields, or of one that failed."""
        own: dict[str, object] = {"file": task.file, "output": str(task.relative), "content_hash": content_hash}
        own |= {"settings_hash": self.settings_hash, "suffixes": list(self.outputs)}
        if isinstance(said, Failure):
            return encode({**own, "status": "failed", "error": said.error, "lasting": said.lasting})
        return encode({**said, **own, "status": "ok", "error": None})
