"""One process at a time, and no lock that two of them hold."""

from contextlib import ExitStack

import pytest

from tracedge import locking
from tracedge.errors import RunError
from tracedge.locking import exclusive

pytestmark = pytest.mark.skipif(locking.fcntl is None, reason="the system has no flock")


def test_a_tidy_lock_leaves_nothing_also_after_an_error(tmp_path):
    with exclusive(tmp_path / "lock", tidy=True):
        assert (tmp_path / "lock").exists()
    with pytest.raises(ValueError), exclusive(tmp_path / "lock", tidy=True):
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_whoever_opened_the_file_before_it_was_removed_holds_the_new_one(tmp_path, monkeypatch):
    """A ends between B's opening and B's locking: B must not hold a file that is gone, beside which C would be let in."""
    path, a = tmp_path / "lock", ExitStack()
    a.enter_context(exclusive(path, tidy=True))
    flock = locking.fcntl.flock

    def a_ends_first(descriptor, how):
        a.close()
        flock(descriptor, how)

    monkeypatch.setattr(locking.fcntl, "flock", a_ends_first)
    with exclusive(path, tidy=True):  # B
        monkeypatch.undo()
        with pytest.raises(RunError, match="another run"), exclusive(path, tidy=True):  # C
            pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_another_is_not_removed(tmp_path):
    path = tmp_path / "lock"
    with exclusive(path, tidy=True):
        path.unlink()  # by hand
        path.write_text("of another")
    assert path.read_text() == "of another"
