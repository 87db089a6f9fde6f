"""Images per second of `tracedge edges` by one process and by Ray's workers, on the same folder of drawn scenes.

    python examples/engines.py --count 200 --size 192 --repeats 3

The command is watched from outside: start-up ends with the first line of the manifest; the rate is that of the lines after
the first tenth, when all workers are at work. Processor time an image is that of the command and all its processes, Ray's own
too, between the same two moments; other work on the machine changes it least (Linux only). Rows are run in turn,
`repeats` times; the median is told, and the range.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROWS = {
    "one process, 1 thread": (1, ()),
    "one process, 2 threads": (2, ()),
    "Ray, 1 worker of 1 thread": (1, ("--engine", "ray", "--workers", "1")),
    "Ray, 2 workers of 1 thread": (1, ("--engine", "ray", "--workers", "2")),
}


class Run(NamedTuple):
    """startup: seconds to the first image. rate: images per second from the first tenth on, cpu: seconds of all processors
    for each of them. total: seconds of the whole command."""

    startup: float
    rate: float
    cpu: float
    total: float


def watched(photos: Path, output: Path, count: int, threads: int, options: tuple[str, ...]) -> Run:
    """One run of the command."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "tracedge", "edges", str(photos), "-o", str(output), *options]
    start = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen: list[tuple[float, float, int]] = []  # when, and after how much processor time, so many images were done
    used: dict[int, float] = {}
    while process.poll() is None:
        done = lines_of(output / "manifest.jsonl")
        if done and (not seen or done > seen[-1][2]):
            used |= processor_seconds(process.pid)  # of those that have ended meanwhile, too
            seen.append((time.monotonic() - start, sum(used.values()), done))
        time.sleep(0.01)
    if process.returncode != 0 or lines_of(output / "manifest.jsonl") != count:
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")
    first = next(place for place, (*_, done) in enumerate(seen) if done >= count / 10)
    (begun, used_before, before), (ended, used_after, after) = seen[first], seen[-1]
    images = after - before
    total = time.monotonic() - start
    return Run(seen[0][0], images / (ended - begun), (used_after - used_before) / images, total)


def processor_seconds(root: int) -> dict[int, float]:
    """What a process and each below it have used so far."""
    used: dict[int, float] = {}
    below: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rsplit(")", 1)[1].split()
        except OSError:  # it ended meanwhile
            continue
        pid = int(place.parent.name)
        used[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        below.setdefault(int(fields[1]), []).append(pid)
    family = [root]
    for pid in family:  # it grows
        family += below.get(pid, [])
    return {pid: used[pid] for pid in family if pid in used}


def lines_of(manifest: Path) -> int:
    return manifest.read_bytes().count(b"\n") if manifest.exists() else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    runs: dict[str, list[Run]] = {name: [] for name in ROWS}
    with tempfile.TemporaryDirectory() as folder:
        scenes = ["scenes", "--seed", "3000000", "--count", str(asked.count), "--size", str(asked.size)]
        subprocess.run([sys.executable, "-m", "tracedge", *scenes, "-o", folder], check=True, stdout=subprocess.DEVNULL)
        for repeat in range(asked.repeats):
            for place, (name, (threads, options)) in enumerate(ROWS.items()):
                output = Path(folder, f"edges-{repeat}-{place}")
                runs[name].append(watched(Path(folder, "images"), output, asked.count, threads, options))
                print(f"{name}: {runs[name][-1]}", file=sys.stderr)
    print("| engine | images/s (range) | CPU s / image | start-up, s | all, s |\n| --- | --- | --- | --- | --- |")
    for name, found in runs.items():
        rates = [run.rate for run in found]
        cpu, startup, total = (
            statistics.median(getattr(run, field) for run in found) for field in ("cpu", "startup", "total")
        )
        rate = f"{statistics.median(rates):.2f} ({min(rates):.2f} to {max(rates):.2f})"
        print(f"| {name} | {rate} | {cpu:.2f} | {startup:.1f} | {total:.1f} |")


if __name__ == "__main__":
    main()
