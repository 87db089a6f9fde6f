"""What many images are read from, and what their outputs are called; whatever the archives hold, nothing leaves its folder."""

import io
import itertools
import json
import pickle
import tarfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fake_runs import five_photos, photo
from tracedge.errors import DataError, RunError, SettingsError
from tracedge.images import load_image
from tracedge.jobs import folded
from tracedge.sources import Columns, LocalFiles, find_parts
from tracedge.sources.braces import expanded
from tracedge.sources.names import LONGEST, Names

fsspec = pytest.importorskip("fsspec")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), (value, value, value)).save(stream, format="PNG")
    return stream.getvalue()


def shard(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return path


def table(path: Path, columns: dict[str, list], **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return path


def read(*inputs: object, **options: object) -> dict[str, int | str]:
    """Name of the outputs -> grey value of the image, or why it cannot be read."""
    found: dict[str, int | str] = {}
    for part in pickle.loads(pickle.dumps(find_parts(list(map(str, inputs)), **options))):  # noqa: S301
        for task in part.tasks():
            assert str(task.relative) not in found
            try:
                found[str(task.relative)] = int(load_image(task.source)[0, 0, 0])
            except (DataError, OSError, ValueError) as error:
                found[str(task.relative)] = str(error)
    return found


def test_folders_are_parts_of_files_in_order(tmp_path):
    parts = find_parts([five_photos(tmp_path)], files_at_once=2)
    assert [len(part.jobs) for part in parts] == [2, 2, 1]
    assert all(isinstance(part, LocalFiles) for part in parts)
    assert read(tmp_path) == {"a": 0, "b": 10, "sub/a": 20, "sub/deep/c": 30, "z": 40}
    assert read(f"file://{tmp_path}") == read(tmp_path)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_the_images_of_a_shard_go_to_a_folder_of_its_name(tmp_path, suffix):
    members = {"0001.jpg": png(1), "0001.json": b"{}", "sub/0002.png": png(2), "._junk.jpg": b"", "./0003.PNG": png(3)}
    path = shard(tmp_path / f"a{suffix}", members)
    assert read(path) == {"a/0001": 1, "a/sub/0002": 2, "a/0003": 3}
    assert [task.file for part in find_parts([path]) for task in part.tasks()] == [
        "a/0001.jpg",
        "a/sub/0002.png",
        "a/0003.PNG",
    ]


def test_shards_that_webdataset_wrote_are_read(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as sink:
        for value in range(3):
            sink.write({"__key__": f"{value:04}", "png": np.full((3, 4, 3), value, np.uint8), "json": {"n": value}})
    assert read(tmp_path / "a.tar") == {"a/0000": 0, "a/0001": 1, "a/0002": 2}


def test_braces_and_patterns_mean_several_shards_and_mirror_their_folders(tmp_path):
    for name in ("train/00.tar", "train/01.tar", "val/00.tar"):
        shard(tmp_path / name, {"x.png": png(len(name))})
    assert set(read(tmp_path / "train" / "{00..01}.tar")) == {"00/x", "01/x"}
    assert set(read(tmp_path / "{train,val}" / "00.tar")) == {"train/00/x", "val/00/x"}
    assert set(read(tmp_path / "*" / "*.tar")) == {"train/00/x", "train/01/x", "val/00/x"}
    with pytest.raises(SettingsError, match=r"02\.tar does not exist"):
        find_parts([str(tmp_path / "train" / "{00..02}.tar")])
    with pytest.raises(SettingsError, match="runs backwards"):
        expanded("{3..1}.tar")
    with pytest.raises(SettingsError, match="more than 1000000"):
        expanded("{0..9999}{0..9999}")


def test_a_file_whose_name_has_braces_is_a_file(tmp_path):
    assert read(shard(tmp_path / "{a,b}.tar", {"x.png": png(1)})) == {"{a,b}/x": 1}


def test_bad_members_fail_alone(tmp_path):
    found = read(
        shard(tmp_path / "a.tar", {"1.png": png(1), "2.png": b"no image", "3.png": png(3)[:40], "4.png": png(4)})
    )
    assert (found["a/1"], found["a/4"]) == (1, 4)
    assert "is not an image of a kind read here" in found["a/2"]
    assert "damaged or cut short" in found["a/3"]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_a_torn_shard_fails_after_the_members_before_the_tear(tmp_path, suffix):
    whole = shard(
        tmp_path / f"a{suffix}", {f"{n}.png": png(n) + np.random.default_rng(n).bytes(3000) for n in range(9)}
    )
    data = whole.read_bytes()
    ends = range(0, len(data), 512) if suffix == ".tar" else range(0, len(data), 777)
    torn = 0
    for end in ends:
        whole.write_bytes(data[:end])
        found = read(whole)
        error = found.pop("a", None)
        assert list(found.values()) == list(range(len(found)))
        assert error is not None or len(found) == 9, end
        torn += error is not None and "cannot be read to its end" in error
    assert torn > 20


def test_a_damaged_header_within_a_shard_is_no_end(tmp_path):
    path = shard(tmp_path / "a.tar", {"1.png": png(1), "2.png": png(2)})
    data = bytearray(path.read_bytes())
    data[1024 + 100] ^= 255  # the mode of the second member: its checksum fails
    path.write_bytes(data)
    found = read(path)
    assert found["a/1"] == 1
    assert "a header at byte 1024 is damaged" in found["a"]


def test_what_a_shard_claims_is_not_believed(tmp_path):
    huge = tarfile.TarInfo("huge.png")
    huge.size = 2**40
    (tmp_path / "a.tar").write_bytes(huge.tobuf())
    found = read(tmp_path / "a.tar")
    assert "has 1099511627776 bytes" in found["a/huge"]
    long_name = tarfile.TarInfo("x")
    long_name.type, long_name.size = tarfile.GNUTYPE_LONGNAME, 2**40
    (tmp_path / "b.tar").write_bytes(long_name.tobuf(tarfile.GNU_FORMAT))
    assert "claims 1099511627776 bytes" in read(tmp_path / "b.tar")["b"]


def special(path: Path, kinds: tuple[bytes, ...], name: str, leads_to: str) -> Path:
    with tarfile.open(path, "w") as tar:
        for kind in kinds:
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, leads_to
            tar.addfile(header)
    return path


def test_devices_and_folders_in_a_shard_are_no_images(tmp_path):
    assert read(special(tmp_path / "a.tar", (tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE), "x.png", "")) == {}


def test_links_in_a_shard_are_not_followed_and_told_of(tmp_path):
    links = (tarfile.SYMTYPE, tarfile.LNKTYPE)
    path = special(tmp_path / "a.tar", links, "x.png", "/etc/passwd")
    said = f"{path}/x.png is a link to /etc/passwd, which is not followed: pack the files themselves, by tar "
    assert read(path) == dict.fromkeys(("a/x", "a/x~2"), f"{said}--dereference --hard-dereference.")
    assert read(special(tmp_path / "b.tar", links, "x.json", "x.png")) == {}


def test_a_file_that_tar_found_twice_is_an_image_and_a_link(tmp_path):
    """As tar writes files with several names: the second is a link to the first."""
    photo(tmp_path / "in" / "a.png", 7)
    (tmp_path / "in" / "b.png").hardlink_to(tmp_path / "in" / "a.png")
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in ("a.png", "b.png"):
            tar.add(tmp_path / "in" / name, arcname=name)
    found = read(tmp_path / "s.tar")
    assert found["s/a"] == 7 and "s.tar/b.png is a link to a.png, which is not followed" in found["s/b"]


def test_members_of_one_name_are_told_apart(tmp_path):
    path = shard(
        tmp_path / "a.tar", {"x.png": png(1), "x.jpg": png(2), "X.png": png(3), "../x.png": png(4), "/x.png": png(5)}
    )
    assert read(path) == {"a/x": 1, "a/x~2": 2, "a/X~3": 3, "a/_/x": 4, "a/x~4": 5}


def test_many_equal_names_cost_no_more_than_others(monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr("tracedge.sources.names.folded", lambda name: asked.append(name) or folded(name))
    names = Names(PurePosixPath("a"))
    called = [names.of(name).name for name in ["x~3", *("x", "X") * 500]]
    assert called[:5] == ["x~3", "x", "X~2", "x~4", "X~5"] and called[-1] == "X~1001"
    assert len(asked) < 2 * len(called) + 2


def test_long_names_are_cut_and_still_told_apart():
    names = Names(PurePosixPath("a"))
    first, second = (names.of(f"{'é' * 200}{ending}.jpg").name for ending in "xy")
    assert first != second
    assert max(len(first.encode()), len(second.encode())) <= LONGEST


@given(st.lists(st.text(st.characters() | st.sampled_from("./\\:~\0"), max_size=300), max_size=8))
def test_whatever_members_are_called_names_are_safe_and_unique(called):
    names = Names(PurePosixPath("a"))
    given_names = [names.of(name) for name in called]
    assert len({str(name).casefold() for name in given_names}) == len(called)
    for name in given_names:
        assert name.parts[0] == "a" and len(name.parts) > 1
        assert not {"..", ".", ""} & set(name.parts)
        for part in name.parts:
            assert len(part.encode()) <= LONGEST + 8
            assert not part.startswith(".") and not set(part) & set('\0\\:*?"<>|/\n')
    again = Names(PurePosixPath("a"))
    assert [again.of(name) for name in called] == given_names


def test_parquet_as_hugging_face_writes_it(tmp_path):
    cells = [
        {"bytes": png(1), "path": "x.png"},
        {"bytes": None, "path": "in/y.png"},
        {"bytes": None, "path": None},
        None,
    ]
    photo(tmp_path / "in" / "y.png", 2)
    path = table(tmp_path / "a.parquet", {"label": [0, 1, 2, 3], "image": cells})
    found = read(path)
    assert (found["a/00000000"], found["a/00000001"]) == (1, 2)
    assert found["a/00000002"] == found["a/00000003"].replace("row 3", "row 2") == f"{path}, row 2 holds no image."
    assert [task.file for part in find_parts([path]) for task in part.tasks()][:2] == [
        "a/00000000.png",
        "a/00000001.png",
    ]


def test_parquet_of_plain_bytes_in_row_groups(tmp_path):
    path = table(tmp_path / "a.parquet", {"jpg": [png(n) for n in range(5)]}, row_group_size=2)
    assert len(find_parts([path])) == 3
    assert read(path) == {f"a/{n // 2:05}/{n:08}": n for n in range(5)}


def test_columns_can_be_named(tmp_path):
    path = table(tmp_path / "a.parquet", {"photo": [png(1), png(2)], "id": ["x/one.jpg", "x/one"]}, row_group_size=1)
    assert read(path, columns=Columns("photo", "id")) == {"a/x/one": 1, "a/x/one~2": 2}
    with pytest.raises(
        SettingsError, match="has the columns photo, id: say which one holds the images by --image-column"
    ):
        find_parts([path])
    with pytest.raises(SettingsError, match="has no column 'foto'"):
        find_parts([path], columns=Columns("foto"))
    with pytest.raises(SettingsError, match="has no column 'key'"):
        find_parts([path], columns=Columns("photo", "key"))
    with pytest.raises(SettingsError, match="is of int64, expected bytes"):
        find_parts([table(tmp_path / "b.parquet", {"image": [1]})])
    with pytest.raises(SettingsError, match="no input is one"):
        find_parts([shard(tmp_path / "c.tar", {})], columns=Columns("photo"))


@pytest.mark.parametrize(
    "path",
    [
        "/etc/a.png",
        "../a.png",
        "x/../../a.png",
        "file:///etc/a.png",
        "out/a.png",
        "local:///etc/a.png",
        "https://a::file:///etc/a.png",
    ],
)
def test_paths_of_a_table_stay_in_its_folder(tmp_path, path):
    photo(tmp_path / "a.png", 9)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "out").symlink_to(tmp_path)
    found = read(table(tmp_path / "in" / "a.parquet", {"path": [path]}))
    assert "leads out of the folder" in found["a/00000000"]


def test_a_damaged_parquet_file_is_refused_and_a_damaged_row_group_fails(tmp_path):
    path = table(tmp_path / "a.parquet", {"image": [png(n) for n in range(4)]}, row_group_size=2, compression="none")
    data = path.read_bytes()
    parts = find_parts([path])
    path.write_bytes(data[:4] + bytes(200) + data[204:])
    found = {str(task.relative): task for part in parts for task in part.tasks()}
    with pytest.raises(DataError, match="cannot be read to its end"):
        load_image(found["a/00000"].source)
    assert found["a/00001/00000003"].content_hash() is not None
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="not a readable parquet file"):
        find_parts([path])


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    system.pipe({"/m/p/a.png": png(1), "/m/p/sub/b.png": png(2), "/m/p/.h/c.png": png(3), "/m/p/notes.txt": b""})
    yield system
    system.rm("/m", recursive=True)


def test_stores_are_read_as_folders_are(memory, tmp_path):
    assert read("memory://m/p") == {"a": 1, "sub/b": 2}
    assert read("memory://m/p/*.png") == {"a": 1}
    assert read("memory://m/p/a.png") == {"a": 1}
    assert read("memory://m/p/{a,sub/b}.png") == {"a": 1, "b": 2}
    memory.pipe("/m/s/a.tar", shard(tmp_path / "a.tar", {"x.png": png(7)}).read_bytes())
    assert read("memory://m/s/*.tar") == read("memory://m/s/a.tar") == {"a/x": 7}
    memory.pipe("/m/t/a.parquet", table(tmp_path / "a.parquet", {"path": ["x.png", "memory://m/p/a.png"]}).read_bytes())
    memory.pipe("/m/t/x.png", png(8))
    memory.pipe("/m/t/b.parquet", table(tmp_path / "b.parquet", {"path": ["../p/a.png", "/m/p/a.png"]}).read_bytes())
    assert all("leads out of the folder" in error for error in read("memory://m/t/b.parquet").values())
    assert read("memory://m/t/a.parquet") == {"a/00000000": 8, "a/00000001": 1}


def test_stores_that_there_are_not(memory):
    with pytest.raises(SettingsError, match="no images found in memory://m/p/\\*\\.gif"):
        find_parts(["memory://m/p/*.gif"])
    with pytest.raises(SettingsError, match="is a chain of stores"):
        find_parts(["simplecache::memory://m/p"])
    with pytest.raises(SettingsError, match="nothing://a"):
        find_parts(["nothing://a/b.png"])
    assert "gone.png" in read("memory://m/p/gone.png")["gone"]


def test_inputs_whose_outputs_would_meet_are_refused(tmp_path):
    a, b = shard(tmp_path / "1" / "a.tar", {}), shard(tmp_path / "2" / "a.tar", {})
    with pytest.raises(RunError, match="would both be written as a"):
        find_parts([a, b])
    photo(tmp_path / "3" / "a" / "x.png")
    with pytest.raises(RunError, match="the folder of"):
        find_parts([a, tmp_path / "3"])
    assert len(find_parts([a, a])) == 1


def test_no_inputs_and_missing_ones_are_said(tmp_path):
    with pytest.raises(SettingsError, match="no inputs"):
        find_parts([])
    with pytest.raises(SettingsError, match=r"a\.tar does not exist"):
        find_parts([tmp_path / "a.tar"])
    with pytest.raises(SettingsError, match="matches no file"):
        find_parts([tmp_path / "*.parquet"])
    with pytest.raises(SettingsError, match=r"a\.png does not exist"):
        find_parts([tmp_path / "a.png"])


def test_a_member_has_the_content_hash_of_its_file(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "x.png").write_bytes(png(3))
    (file,) = find_parts([tmp_path / "f"])[0].tasks()
    (member,) = find_parts([shard(tmp_path / "a.tar", {"x.png": png(3)})])[0].tasks()
    assert member.content_hash() == file.content_hash()
    assert json.dumps(str(member.source)) == json.dumps(f"{tmp_path / 'a.tar'}/x.png")


def test_an_archive_whose_headers_lead_backwards_comes_to_an_end(tmp_path):
    first, back = tarfile.TarInfo("a.png"), tarfile.TarInfo("x.png")
    first.size = len(png(3))
    back.pax_headers = {"size": "-1536"}  # applied after the header itself was judged
    content = first.tobuf() + png(3) + bytes(-first.size % 512) + back.tobuf(tarfile.PAX_FORMAT) + bytes(1024)
    (tmp_path / "a.tar").write_bytes(content)
    tasks = list(itertools.islice(find_parts([tmp_path / "a.tar"])[0].tasks(), 10))
    assert [str(task.relative) for task in tasks] == ["a/a", "a"]
    with pytest.raises(DataError, match="claims -1536 bytes"):
        load_image(tasks[1].source)
