"""Answers in the order of the jobs, and none of them lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tracedge.evaluation.processes import in_order


def twice(job: int) -> int:
    if job < 0:
        raise ValueError(f"job {job}")
    return 2 * job


def until(number: int):
    yield from range(number)
    raise OSError("no more jobs")


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_an_error_in_making_jobs_loses_no_answer(workers):
    answers = []
    with pytest.raises(OSError, match="no more jobs"):
        for answer in in_order(twice, until(10), workers):
            answers.append(answer)
    assert answers == [2 * job for job in range(10)]


def test_an_error_of_one_job_loses_no_other_answer_that_was_asked_for():
    answers = []
    with pytest.raises(ValueError, match="job -1"):
        for answer in in_order(twice, [0, 1, -1, *range(3, 50)], 2):
            answers.append(answer)
    assert answers[:3] == [0, 2, 6]
    assert len(answers) < 10, "no new jobs after an error"


def test_whoever_stops_listening_ends_the_processes():
    answers = in_order(twice, range(50), 2)
    assert next(answers) == 0
    answers.close()


_KILLED = """
import os, signal, sys, time
from pathlib import Path
from tracedge.evaluation.processes import in_order

def named(job):
    pids = Path(sys.argv[1])
    (pids / str(os.getpid())).touch()
    while len(list(pids.iterdir())) < 2:  # each worker is at a job when its parent is killed
        time.sleep(0.01)
    return job

if __name__ == "__main__":
    for answer in in_order(named, range(100), 2):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no kill -9")
def test_a_kill_leaves_no_process_behind(tmp_path):
    script, pids = tmp_path / "killed.py", tmp_path / "pids"
    script.write_text(_KILLED)
    pids.mkdir()
    assert subprocess.run([sys.executable, str(script), str(pids)], check=False).returncode == -signal.SIGKILL
    workers = [int(path.name) for path in pids.iterdir()]
    for _ in range(100):
        alive = [pid for pid in workers if _is_alive(pid)]
        if not alive:
            return
        time.sleep(0.1)
    pytest.fail(f"{alive} of {workers} still run")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().split()[2] == "Z")
