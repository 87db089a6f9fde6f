"""What a folder run says on a terminal: that it loads, how far it is, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from tracedge.runs import RunSummary


@contextmanager
def loading() -> Iterator[None]:
    """Says on a terminal that the model is being loaded: that takes longer than a photo."""
    from rich.console import Console

    with Console(stderr=True).status("loading the model"):
        yield


class PhotoBar:
    """A progress bar of photos, with the count of failures. total: how many there are, None if nobody knows."""

    def __init__(self, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._progress = Progress(
            BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"), console=console
        )
        self._task = self._progress.add_task("", total=total)
        self._failed = 0

    def __enter__(self) -> PhotoBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def step(self, job: object, status: str, error: str | None) -> None:
        self._failed += status == "failed"
        self._progress.update(self._task, advance=1, description=f"{self._failed} failed" if self._failed else "")


def finish(summary: RunSummary, output: Path, *, done: str = "done") -> NoReturn:
    """Say what became of the photos, the failed ones by name, and end the command with its exit code."""
    for file, error in summary.failed:
        typer.echo(f"failed: {file}: {error}", err=True)
    if before := len(summary.failed_before):
        first = ": ".join(summary.failed_before[0])
        typer.echo(
            f"{before} failed in an earlier run and have not changed since; --retry-failed tries them again (the first: {first})",
            err=True,
        )
    failed = before + len(summary.failed)
    typer.echo(
        f"{summary.done} {done}, {summary.skipped} skipped, {failed} failed in {summary.seconds:.1f} s: {output}"
    )
    raise typer.Exit(summary.exit_code)
