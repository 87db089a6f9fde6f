"""Workers of a run that is over keep the next one waiting, or do nothing."""

import subprocess
import sys
import time

import pytest

from tracedge import claims
from tracedge.errors import RunError
from tracedge.locking import fcntl
from tracedge.runs import FolderRun

pytestmark = pytest.mark.skipif(fcntl is None, reason="the system has no flock")

WORKER = """
import sys, time
from pathlib import Path
from tracedge import claims
claims.join(Path(sys.argv[1]))
claims.join(Path(sys.argv[1]))
print("joined", flush=True)
time.sleep(float(sys.argv[2]))
"""


def started_worker(claim, seconds):
    process = subprocess.Popen([sys.executable, "-c", WORKER, str(claim), str(seconds)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"joined\n"
    return process


def test_the_next_run_waits_for_all_workers_and_removes_the_claim(tmp_path):
    claim = claims.make(tmp_path)
    with started_worker(claim, 0.5) as first, started_worker(claim, 1.5) as second:
        start = time.monotonic()
        with FolderRun(tmp_path, {}, outputs=(".txt",)):
            waited = time.monotonic() - start
            assert first.poll() is not None
            second.wait(timeout=1)  # its lock goes a moment before it does
        assert 1 < waited < 30
    assert not claim.exists()


def test_a_worker_that_does_not_end_is_told_of(tmp_path):
    with started_worker(claim := claims.make(tmp_path), 60) as worker:
        with pytest.raises(RunError, match="workers of an earlier run still write to"):
            claims.take_over(tmp_path, seconds=0.2)
        assert claim.exists()
        worker.kill()
        worker.wait()
    claims.take_over(tmp_path, seconds=5)
    assert not claim.exists()


def test_a_worker_that_comes_when_the_run_is_over_does_nothing(tmp_path):
    claim = claims.make(tmp_path)
    claims.take_over(tmp_path)
    with pytest.raises(RunError, match=r"the run that writes to .* is over"):
        claims.join(claim)
    assert not claim.exists()


def test_a_worker_that_comes_as_the_next_run_takes_over_does_nothing(tmp_path, monkeypatch):
    """The claim is removed between the worker's opening and locking."""
    claim = claims.make(tmp_path)
    flock = fcntl.flock

    def after_the_next_run(descriptor, operation):
        monkeypatch.setattr(fcntl, "flock", flock)
        claims.take_over(tmp_path)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", after_the_next_run)
    with pytest.raises(RunError, match="is over"):
        claims.join(claim)


def test_each_run_has_a_claim_of_its_own(tmp_path):
    earlier, later = claims.make(tmp_path), claims.make(tmp_path)
    assert earlier != later
    earlier.unlink()
    claims.join(later)
    with pytest.raises(RunError, match="is over"):
        claims.join(earlier)
