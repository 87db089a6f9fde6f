"""Visits: nobody sees another's photos, names are not guessed, what is idle or too much goes, and its files with it."""

import os
import threading
import time

import numpy as np
import pytest

from tracedge.errors import DataError, SettingsError
from tracedge.web.limits import Limits
from tracedge.web.visits import Visits

IMAGE = np.zeros((4, 6, 3), np.uint8)
SMALL = Limits(max_pixels=24, max_photos=2, kept_pixels=48, idle_minutes=10)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_visitor_has_a_folder_of_its_own_that_only_this_user_enters(tmp_path):
    visits = Visits(tmp_path, SMALL)
    with visits.open("a") as first, visits.open("b") as second:
        assert first.folder != second.folder
        assert len(first.folder.name) == 64  # 32 random bytes
        assert first.folder.stat().st_mode & 0o777 == 0o700
        first.add("photo.png", IMAGE)
        assert second.photos == []
    with visits.open("a") as again:
        assert [photo.name for photo in again.photos] == ["photo.png"]
        assert np.array_equal(again.photos[0].image(), IMAGE)


def test_a_closed_visit_leaves_nothing(tmp_path):
    visits = Visits(tmp_path, SMALL)
    with visits.open("a") as visit:
        visit.add("photo.png", IMAGE)
    visits.close("a")
    visits.close("never opened")
    assert not visit.folder.exists()
    with visits.open("a") as again:
        assert again.photos == []


def test_a_closed_visit_ends_after_what_is_being_done_even_if_that_fails(tmp_path):
    visits = Visits(tmp_path, SMALL)
    with pytest.raises(ZeroDivisionError), visits.open("a") as visit:
        closing = threading.Thread(target=visits.close, args=["a"])
        closing.start()
        closing.join(5)
        assert not closing.is_alive()  # it waits for nothing
        assert visit.folder.exists()
        raise ZeroDivisionError
    assert not visit.folder.exists()


def test_the_visit_idle_longest_makes_room(tmp_path):
    clock = Clock()
    visits = Visits(tmp_path, SMALL, clock)
    for number, key in enumerate(("a", "b", "c")):  # 24 pixels each, and 48 are kept
        clock.now = number
        with visits.open(key) as visit:
            visit.add("photo.png", IMAGE)
    assert len(visits) == 2
    with visits.open("a") as visit:
        assert visit.photos == []
    with visits.open("c") as visit:
        assert len(visit.photos) == 1


def test_an_idle_visit_is_forgotten_and_so_are_uploads_that_nobody_read(tmp_path):
    clock = Clock()
    visits = Visits(tmp_path, SMALL, clock)
    with visits.open("a") as visit:
        visit.add("photo.png", IMAGE)
    for name in ("0f3a", "examples"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "photo.png").write_bytes(b"")
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "tmp0").write_bytes(b"half an upload")
    os.utime(tmp_path / "tmp0", (0, 0))
    (tmp_path / "tmp1").write_bytes(b"one that is coming in")
    (tmp_path / "77aa").mkdir()
    os.utime(tmp_path / "77aa", (time.time() - 4 * 60,) * 2)  # young enough to be asked for
    clock.now = 11 * 60
    visits.sweep()
    assert not visit.folder.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["77aa", "examples", "tmp1", "visits"]


def test_a_visit_at_work_is_neither_idle_nor_makes_room(tmp_path):
    clock = Clock()
    visits = Visits(tmp_path, SMALL, clock)
    with visits.open("a") as visit:
        visit.add("photo.png", IMAGE)
        clock.now = 11 * 60
        visits.sweep()
        for key in ("b", "c"):  # 24 pixels each, and 48 are kept
            clock.now += 1
            with visits.open(key) as other:
                other.add("photo.png", IMAGE)
    assert visits.has_photos("a")
    assert not visits.has_photos("b")
    assert visits.has_photos("c")
    assert visit.folder.exists()


def test_the_end_waits_for_what_is_being_done_but_not_for_ever(tmp_path):
    visits = Visits(tmp_path, SMALL)
    with visits.open("a"):
        assert not visits.wait(seconds=0.1)
    assert visits.wait(seconds=0.1)


def test_all_that_waits_is_counted_once_and_another_drop_takes_its_place(tmp_path):
    visits = Visits(tmp_path, SMALL)
    (tmp_path / "0f3a").mkdir()
    (tmp_path / "tmp0").write_bytes(b"half")
    uploads = [tmp_path / "0f3a" / name for name in ("a.png", "b.png", "c.png")]
    for upload in uploads:
        upload.write_bytes(b"twelve bytes")
    visits.receive("a", uploads)
    assert visits.unread_bytes() == 3 * 12 + 4  # a link is no second file
    for upload in uploads:
        upload.unlink()
    assert visits.unread_bytes() == 2 * 12 + 4  # the third is more than one visitor may bring
    visits.receive("a", [tmp_path / "0f3a" / "gone.png"])
    assert visits.unread_bytes() == 4
    (file,), left_out = visits.received("a")
    assert (file.name, left_out, file.exists()) == ("gone.png", 0, False)


def test_what_one_address_has_wait_leaves_room_for_others(tmp_path):
    visits = Visits(tmp_path, Limits(max_megabytes=1, max_photos=1, max_pixels=24))
    heavy, light = tmp_path / "0f3a" / "heavy.png", tmp_path / "0f3a" / "light.png"
    heavy.parent.mkdir()
    for path, size in ((heavy, 256 * 2**20 // 6), (light, 1)):
        with path.open("wb") as stream:
            stream.truncate(size)
    visits.receive("a", [heavy], "192.0.2.1")
    with pytest.raises(DataError, match="from your address wait"):
        visits.receive("b", [light], "192.0.2.1")
    visits.receive("c", [light], "192.0.2.2")
    visits.receive("a", [heavy], "192.0.2.1")  # in place of what waited there
    visits.received("a")
    visits.receive("b", [light], "192.0.2.1")


def test_photos_of_one_name_get_downloads_of_different_names(tmp_path):
    with Visits(tmp_path, Limits()).open("a") as visit:
        photos = [visit.add(name, IMAGE) for name in ("a.png", "a.png", "a.jpg", "a-2.png")]
    assert len({photo.stem for photo in photos}) == 4
    assert photos[1].file == "a-2.png"


def test_a_new_picture_has_a_new_name_and_the_old_one_goes(tmp_path):
    with Visits(tmp_path, SMALL).open("a") as visit:
        photo = visit.add("photo.png", IMAGE)
        first, second = photo.show("edges", IMAGE), photo.show("edges", IMAGE)
    assert first != second
    assert not first.exists()
    assert second.exists()


def test_limits_without_room_for_one_visitor_are_refused():
    with pytest.raises(SettingsError, match="less than one visitor may bring"):
        Limits(max_pixels=100, max_photos=8, kept_pixels=700)
    with pytest.raises(SettingsError, match="at least 1"):
        Limits(queue=0)
