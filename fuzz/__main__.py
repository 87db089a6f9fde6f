"""`python -m fuzz`: let atheris damage files, guided by coverage, and say what broke the contract.

python -m fuzz                      the names of the readers
python -m fuzz all --seconds 60     each of them for a minute, one after the other; prints the table of docs/fuzzing.md
python -m fuzz manifest --seconds 60 --faults FOLDER     one of them; FOLDER keeps the bytes that broke it
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import traceback
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

_MEMORY = 3000  # MiB that a process may take: torch and what it loads take some 700 of them
_STATS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_COVERAGE = re.compile(r"cov: (\d+)")


def main() -> int:
    """0 if nothing was found."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("readers", nargs="*", help="names, or all")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--faults", type=Path, default=Path("out/fuzz"))
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if len(asked.readers) == 1 and asked.readers != ["all"]:
        fuzz(asked.readers[0], asked.seconds, asked.faults, asked.seed)
    from fuzz.readers import READERS

    if not asked.readers:
        print("\n".join(READERS))
        return 0
    return max(_row(name, asked) for name in (READERS if asked.readers == ["all"] else asked.readers))


def _row(name: str, asked: argparse.Namespace) -> int:
    """One reader in a process of its own; prints its row."""
    options = ["--seconds", str(asked.seconds), "--faults", str(asked.faults), "--seed", str(asked.seed)]
    command = [sys.executable, "-m", "fuzz", name, *options]
    with TemporaryDirectory() as scratch:  # libFuzzer ends its process without tidying up
        environment = os.environ | {"TMPDIR": scratch}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
    executed, coverage = _STATS.findall(done.stderr), _COVERAGE.findall(done.stderr)
    faults = done.stdout.count("FAULT")
    print(
        f"| {name} | {executed[-1] if executed else '?'} | {coverage[-1] if coverage else '?'} | {faults} |", flush=True
    )
    if done.returncode or not executed:
        print(done.stdout[-2000:], done.stderr[-4000:], file=sys.stderr, flush=True)
    return int(bool(faults or done.returncode))


def fuzz(name: str, seconds: int, faults: Path, seed: int) -> None:
    """Run libFuzzer on one reader; it ends the process. Faults are told once each, by the line that they came through."""
    import atheris

    with atheris.instrument_imports(include=["tracedge"], enable_loader_override=False):
        from fuzz.contract import hold
        from fuzz.readers import READERS
    reader, known = READERS[name], set[str]()
    folder, corpus = TemporaryDirectory(), TemporaryDirectory()
    faults.mkdir(parents=True, exist_ok=True)
    reader.prepare(Path(folder.name))
    for number, content in enumerate(reader.seeds()):
        (Path(corpus.name) / str(number)).write_bytes(content)

    def one(content: bytes) -> None:
        try:
            hold(reader, content, Path(folder.name))
        except Exception as error:
            where = _place(error)
            if where not in known:
                known.add(where)
                kept = faults / f"{re.sub('[^a-z0-9]+', '-', name.lower())}-{len(known)}"
                kept.write_bytes(content)
                print(f"FAULT {where}: {str(error)[:300]!r} ({kept})", flush=True)

    def mutate(content: bytes, most: int, number: int) -> bytes:
        chance = Random(number)
        if chance.randrange(3) == 0:
            return bytes(atheris.Mutate(content, most))
        return reader.mutate(content, chance)[:most]

    options = [
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={_MEMORY}",
        "-timeout=30",
        f"-seed={seed}",
        "-max_len=65536",
    ]
    atheris.Setup(
        [sys.argv[0], corpus.name, *options, "-print_final_stats=1", f"-artifact_prefix={faults}/"],
        one,
        custom_mutator=mutate,
    )
    atheris.Fuzz()


def _place(error: Exception) -> str:
    """The kind of an error, and the last line of the package, or of a check, on its way."""
    ours = [
        one for one in traceback.extract_tb(error.__traceback__) if "tracedge" in one.filename or "fuzz" in one.filename
    ]
    last = ours[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno} ({last.name})"


if __name__ == "__main__":
    sys.exit(main())
