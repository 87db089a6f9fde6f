"""The progress bar of a folder run."""

from __future__ import annotations


class PhotoBar:
    """A progress bar of photos, with the count of failures."""

    def __init__(self, total: int) -> None:
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
