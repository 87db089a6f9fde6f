"""Runs commands of tracedge in processes that begin with everything imported, so that a kill falls into their work.

A command is mostly imports when its work is small. The server imports once, computes nothing, and forks for each command. It
reads a line of JSON for each from its input ({"argv", "cwd", "log"}), and answers with two: the number of its process, and how it
ended.

Trainings in it write a checkpoint after every step, not every two minutes.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path


class CommandServer:
    """The tests' end of it: starts commands, one at a time."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "dumb"}  # threads do not survive a fork
        pipes = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "bufsize": 0,
        }  # what is not read yet can be waited for
        self._process = subprocess.Popen([sys.executable, __file__], env=environment, **pipes)

    def start(self, argv: list[object], cwd: Path) -> int:
        """Start a command; gives its process number. What it says is in cwd/said.txt."""
        self._ask({"argv": [str(word) for word in argv], "cwd": str(cwd), "log": str(cwd / "said.txt")})
        return int(self._answer())

    def has_ended(self) -> bool:
        """Whether the command has; `wait` gives how."""
        return bool(select.select([self._process.stdout], [], [], 0)[0])

    def wait(self) -> int:
        """How the command ended: its exit code, or minus the signal that it died of."""
        ended = int(self._answer())
        self._ask({})
        return ended

    def kill(self, process: int, number: int) -> int:
        """Send a signal, which comes to nothing if the command has ended; then as `wait`."""
        os.kill(process, number)
        return self.wait()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()

    def _ask(self, question: dict[str, object]) -> None:
        self._process.stdin.write(json.dumps(question).encode() + b"\n")

    def _answer(self) -> bytes:
        answer = self._process.stdout.readline()
        assert answer, "the server ended"
        return answer


def serve() -> None:
    """The server's end: until its input ends."""
    _import_all()
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            _be_the_command(**asked)
        print(child, flush=True)
        end = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        print(end.si_status if end.si_code == os.CLD_EXITED else -end.si_status, flush=True)
        sys.stdin.readline()  # until then the number is nobody else's: a late signal hits nothing
        os.waitpid(child, 0)


def _import_all() -> None:
    import faster_coco_eval  # noqa: F401
    import peft  # noqa: F401
    import skimage.feature
    import skimage.morphology
    import skimage.segmentation  # noqa: F401
    from diffusers import PixArtTransformer2DModel  # noqa: F401
    from transformers import CLIPModel, CLIPTokenizer, Mask2FormerForUniversalSegmentation  # noqa: F401

    import tracedge.cli
    import tracedge.detector.training
    import tracedge.pretraining
    import tracedge.segmentation
    import tracedge.student.predictor
    import tracedge.student.training
    import tracedge.teacher

    trainings = (
        tracedge.pretraining.pretrain,
        tracedge.student.training.distill,
        tracedge.detector.training.train_detector,
    )
    for training in trainings:
        assert "checkpoint_seconds" in training.__kwdefaults__
        training.__kwdefaults__["checkpoint_seconds"] = 0.0


def _be_the_command(argv: list[str], cwd: str, log: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it
    os.chdir(cwd)
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.argv = ["tracedge", *argv]
    code: object = 0
    try:
        tracedge_main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 70  # none of ours
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it has ended
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 71)


def tracedge_main() -> None:
    from tracedge.cli import main

    main()


if __name__ == "__main__":
    serve()
