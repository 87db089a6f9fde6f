"""What fuzzing found: the very bytes, and what is said of them now."""

import json
import struct
import zipfile
import zlib

import numpy as np
import pytest
from fuzz.containers import zipped
from scipy.io import loadmat, savemat

from dataset_roots import HW, drawn, save_boundaries, voc
from tracedge.backbones.configs import read_table
from tracedge.backbones.mini import MiniConfig
from tracedge.categories import COCO_PANOPTIC, Category
from tracedge.checkpoints import cut_log
from tracedge.datasets.bsds import read_boundaries
from tracedge.datasets.mat import fields_of
from tracedge.datasets.voc import open_voc
from tracedge.errors import BackboneError, CheckpointError, DataError, RunError, SettingsError
from tracedge.evaluation.journal import Journal
from tracedge.export.coco_reader import read_coco
from tracedge.export.labels import read_instances
from tracedge.export.npz import read_npz
from tracedge.export.png import read_grey, read_rgb
from tracedge.export.rle import decode
from tracedge.images import load_image
from tracedge.instances import Instances
from tracedge.manifest import Manifest
from tracedge.panoptic_map import Segment
from tracedge.run_entries import read_entries
from tracedge.semantics.classes import read_class_names
from tracedge.semantics.tags import read_tags
from tracedge.settings import of_file, read_toml
from tracedge.student.config import DistillConfig

DEEP = b"[" * 100_000


def written(path, content: bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


HEADER = (b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, 2, 0, 0, 0))
PIXELS = (b"IDAT", zlib.compress(bytes(7)))


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [(b"acTL", b"\0\0\0\0\0\0\0\0"), (b"eXIf", b"II*\0\x08\0\0\0\xff\xff")])
def test_what_pillow_warns_of_is_no_news_for_a_caller(tmp_path, chunk):
    """Warnings are errors here, and would leave Pillow as exceptions that nobody expects."""
    path = written(tmp_path / "a.png", png(HEADER, chunk, PIXELS, (b"IEND", b"")))
    assert load_image(path).shape == (1, 2, 3)
    assert read_rgb(path).shape == (1, 2, 3)


@pytest.mark.parametrize(
    "chunk", [(b"pHYs", b"\0"), (b"gAMA", b""), (b"cHRM", b"\0"), (b"sRGB", b""), (b"acTL", b"\0"), (b"fcTL", b"\0")]
)
def test_a_png_with_a_chunk_that_is_too_short_is_damaged(tmp_path, chunk):
    path = written(tmp_path / "a.png", png(HEADER, chunk, PIXELS, (b"IEND", b"")))
    try:
        assert read_rgb(path).shape == (1, 2, 3)
    except DataError as error:
        assert "a.png cannot be read as a PNG" in str(error)


def test_a_png_whose_pixels_are_no_deflate_is_damaged(tmp_path):
    with pytest.raises(DataError, match=r"a\.png cannot be read as a PNG"):
        read_grey(written(tmp_path / "a.png", png(HEADER, (b"IDAT", b"xx"), (b"IEND", b""))), ("RGB",), "colours")


# --- arrays -----------------------------------------------------------------------------------------------------------


def member(shape: str, kind: str = "|u1", content: bytes = b"\1") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        (member("(65536, 65536, 9)", "|b1"), r"hold 1 bytes, not bool of the shape \(65536, 65536, 9\)"),  # 36 GiB
        (member("(("), "no plain array"),  # NumPy: TokenError
        (member("(1, 1, 1)", "|O"), "no plain array"),  # a pickle
        (member("(1, 1, 1)", "<f3"), "unknown type"),
        (b"no array", "no array of NumPy's format"),  # NumPy: bytes, which have no shape
    ],
)
def test_an_array_that_lies_about_itself_is_refused(tmp_path, one, sentence):
    path = written(tmp_path / "a.npz", zipped([("masks.npy", one)]))
    with pytest.raises(DataError, match=rf"a\.npz cannot be read as instances: its masks .*{sentence}"):
        read_instances(path)


def test_an_array_of_python_2_is_read_without_a_warning(tmp_path):
    path = written(tmp_path / "a.npz", zipped([("masks.npy", member("(1L, 1L, 1L)"))]))
    assert read_instances(path).masks.tolist() == [[[True]]]


def test_an_archive_is_not_unpacked_beyond_the_limit(tmp_path):
    """A gigabyte of zeros in a megabyte: it is refused by its size, before it is unpacked."""
    edges = member("(16384, 16384)", "<f4", bytes(1 << 20))
    names = ("edges", "timestep", "margin", "timesteps", "divergences", "settings")
    content = zipped([(f"{name}.npy", edges) for name in names], zipfile.ZIP_DEFLATED)
    path = written(tmp_path / "a.npz", content)
    with pytest.raises(DataError, match=r"its (timesteps|edges) take 10486.. bytes, expected at most"):
        read_npz(path, max_pixels=10_000)


def test_a_few_bytes_do_not_name_more_masks_than_memory_holds(tmp_path):
    labels = np.arange(1 << 16, dtype=np.uint16)
    with pytest.raises(DataError, match=r"65535 masks of 5 x 65536 \(rows x columns\) would take more than 16 GiB"):
        Instances.from_labels(np.broadcast_to(labels, (5, 1 << 16)))
    large = {"size": [10_000, 10_000], "counts": [100_000_000]}
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 10_000, "width": 10_000}],
        "annotations": [{"id": number, "image_id": 1, "segmentation": large} for number in range(200)],
    }
    found = read_coco(written(tmp_path / "a.json", json.dumps(content).encode()))
    with pytest.raises(DataError, match="200 masks of 10000 x 10000"):
        found.instances(1)


# --- Matlab -----------------------------------------------------------------------------------------------------------


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def mat(*elements: bytes) -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\x01IM" + b"".join(elements)


def cell_array(*cells: bytes, count: int | None = None, name: bytes = b"groundTruth") -> bytes:
    sides = struct.pack("<ii", 1, len(cells) if count is None else count)
    return element(14, element(6, struct.pack("<II", 1, 0)) + element(5, sides) + element(1, name) + b"".join(cells))


def test_a_cell_array_that_calls_itself_sparse_does_not_end_the_process(tmp_path):
    """One byte of a file of SciPy's: its compiled code then reads numbers where there are cells (segmentation fault)."""
    save_boundaries(tmp_path / "a.mat", [drawn(0)])
    savemat(tmp_path / "a.mat", {"groundTruth": loadmat(tmp_path / "a.mat")["groundTruth"]})  # not compressed
    content = bytearray((tmp_path / "a.mat").read_bytes())
    assert content[144] == 1  # the class: cells
    content[144] = 5
    with pytest.raises(DataError, match=r"a\.mat has no cell array groundTruth"):
        read_boundaries(written(tmp_path / "a.mat", bytes(content)))


def test_cells_within_cells_are_not_followed(tmp_path):
    nested = b""
    for _ in range(2000):
        nested = cell_array(nested, name=b"")
    with pytest.raises(DataError, match="annotator 1 has no map of Boundaries"):
        read_boundaries(written(tmp_path / "a.mat", mat(cell_array(nested))))


@pytest.mark.parametrize("count", [3, 2**31 - 1, -1])
def test_a_cell_array_that_names_more_cells_than_it_has_is_refused(tmp_path, count):
    with pytest.raises(DataError, match=r"a\.mat cannot be read as a \.mat file"):
        read_boundaries(written(tmp_path / "a.mat", mat(cell_array(count=count))))


def test_a_mat_does_not_unpack_beyond_its_limit(tmp_path):
    bomb = zlib.compress(bytes(70 << 20))
    with pytest.raises(DataError, match="unpacks to more than 67108864 bytes"):
        read_boundaries(written(tmp_path / "a.mat", mat(struct.pack("<II", 15, len(bomb)) + bomb)))


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint32, np.int64, bool])
def test_matlab_files_are_read_as_scipy_reads_them(tmp_path, compressed, kind):
    cells = np.empty((1, 2), object)
    for number in range(2):
        cells[0, number] = {"Segmentation": np.ones(HW, np.uint16), "Boundaries": drawn(number).astype(kind)}
    path = tmp_path / "a.mat"
    savemat(path, {"other": np.eye(3), "groundTruth": cells}, do_compression=compressed)
    theirs = [cell["Boundaries"][0, 0] for cell in loadmat(path)["groundTruth"].ravel()]
    ours = fields_of(path.read_bytes(), "groundTruth", "Boundaries")
    assert [one.tolist() for one in ours] == [one.tolist() for one in theirs]
    assert fields_of(path.read_bytes(), "groundTruth", "other") == [None, None]
    assert fields_of(path.read_bytes(), "other", "Boundaries") is None


# --- JSON, TOML, XML --------------------------------------------------------------------------------------------------


def test_json_that_is_nested_too_deeply_is_damage_like_any_other(tmp_path):
    with pytest.raises(RunError, match=r"line 1 of .* is not an entry"):
        Manifest(written(tmp_path / "manifest.jsonl", DEEP + b"\n"))
    with pytest.raises(RunError, match="is no journal"):
        Journal(written(tmp_path / "journal", DEEP + b"\n"), {})
    with pytest.raises(SettingsError, match=r"a\.toml is not a readable TOML file"):
        read_toml(written(tmp_path / "a.toml", b"a = " + b"[" * 5000))
    with pytest.raises(BackboneError, match=r"a\.json is not readable JSON: it is nested too deeply"):
        read_table(written(tmp_path / "a.json", DEEP))


@pytest.mark.parametrize(
    "change", [{"file": 1}, {"status": []}, {"suffixes": 3.5}, {"suffixes": [1]}, {"settings_hash": None}]
)
def test_a_manifest_whose_entries_are_of_other_types_is_refused(tmp_path, change):
    entry = {"file": "a", "output": "a", "content_hash": None, "settings_hash": "0", "status": "ok", "error": None}
    with pytest.raises(RunError, match=r"line 1 of .* is not an entry"):
        Manifest(written(tmp_path / "manifest.jsonl", json.dumps(entry | change).encode() + b"\n"))


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (b'"seconds": null', "its seconds is not a number"),
        (b'"seconds": [0.5]', "its seconds is not a number"),
        (b'"timestep": [100.0]', "its timestep is not a number"),
        (b'"margin": [0.25]', "its margin is not a number"),
        (b'"margin": NaN', "its margin is not a number"),
        (b'"classes": -1e999', "its classes are neither a number nor a list"),
        (b'"instances": true', "its instances are neither a number nor a list"),
        (b'"scores": [[[0.5]], 0.25]', "its scores are not a list of numbers"),
        (b'"scores": [' + b"9" * 400 + b"]", "its scores are not a list of numbers"),
        (b'"scores": "0.5"', "its scores are not a list of numbers"),
    ],
)
def test_a_manifest_with_figures_that_are_none_makes_no_sheet(tmp_path, said, sentence):
    line = (
        b'{"content_hash": "0", "error": null, "file": "a.png", "output": "a", "settings_hash": "1", "status": "ok", '
    )
    written(tmp_path / "manifest.jsonl", line + b'"timestep": null}\n' + line + said + b"}\n")
    with pytest.raises(DataError, match=rf"line 2 of .*manifest\.jsonl is not an entry of a run: {sentence}"):
        read_entries(tmp_path)


def test_an_entry_of_a_journal_in_another_encoding_is_refused(tmp_path):
    """JSON in UTF-16 has line breaks of two bytes: read again by its line it is cut within one."""
    first = b'{"settings":{}}\n'
    entry = json.dumps({"key": ["a"], "counts": 1}).encode("utf-16-le") + b"\n"
    with pytest.raises(RunError, match="is no journal"):
        Journal(written(tmp_path / "journal", first + entry), {})


@pytest.mark.parametrize(
    "line", [b"{}", b'{"step": {}}', b"\xff", b'{"step": 1, "a"}', b'{"step": ' + b"9" * 5000 + b"}", DEEP]
)
def test_a_log_with_a_line_that_is_no_entry_is_refused_and_left_as_it_is(tmp_path, line):
    path = written(tmp_path / "train.jsonl", b'{"step": 1}\n' + line + b'\n{"step": 2}\n')
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"line 2 of .*train\.jsonl is no entry"):
        cut_log(path, 2)
    assert path.read_bytes() == before


def test_an_entity_in_utf_16_is_seen_too(tmp_path):
    """A search for the bytes <!DOCTYPE does not find it."""
    text = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY x "cat">]><a><object><name>&x;</name></object></a>'
    written(tmp_path / "a.xml", text.encode("utf-16"))
    with pytest.raises(DataError, match=r"a\.xml is no annotation of VOC: it has a DOCTYPE"):
        read_tags(str(tmp_path), COCO_PANOPTIC)


@pytest.mark.parametrize("encoding", [b"no such", b"matin-1"])
def test_xml_in_an_unknown_encoding_is_refused(tmp_path, encoding):
    written(tmp_path / "a.xml", b'<?xml version="1.0" encoding="%s"?><a/>' % encoding)
    with pytest.raises(DataError, match=r"a\.xml cannot be read as XML"):
        read_tags(str(tmp_path), COCO_PANOPTIC)


@pytest.mark.parametrize("key", ["9" * 5000, "²", "٣", "-1"])
def test_a_value_of_a_class_is_a_number_in_digits(tmp_path, key):
    with pytest.raises(DataError, match="names no classes"):
        read_class_names(written(tmp_path / "names.json", json.dumps({key: "cat"}).encode()))


def test_two_names_of_one_value_are_refused(tmp_path):
    with pytest.raises(DataError, match="names no classes"):
        read_class_names(written(tmp_path / "names.json", b'{"1": "cat", "01": "dog"}'))


def test_a_name_that_no_file_can_have_is_refused_where_it_is_read(tmp_path):
    image = {"id": 1, "file_name": "\ud800.jpg", "height": 2, "width": 2}
    with pytest.raises(DataError, match=r"the file name of an image is Unicode, got '\\ud800\.jpg'"):
        read_coco(written(tmp_path / "a.json", json.dumps({"images": [image], "annotations": []}).encode()))


def test_a_list_of_voc_names_no_other_folder(tmp_path):
    root = voc(tmp_path)
    listed = next(root.rglob("ImageSets/Segmentation/val.txt"))
    for name in ("../../secret", "a" * 5000, "/etc/passwd"):
        listed.write_text(f"{name}\n")
        with pytest.raises(DataError, match=r"val\.txt names .*expected the names of photos without folder"):
            open_voc(root)


def test_polygons_together_are_no_longer_than_their_image_holds():
    """Ten thousand of them, each as long as one may be: hours of work in a megabyte."""
    zigzag = [0, 0, 3, 2] * 20_000
    assert not decode([zigzag], (4, 5)).all()
    with pytest.raises(DataError, match=r"the polygons of a mask are .* pixels long"):
        decode([zigzag] * 10, (4, 5))


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1 << 63, int("9" * 4000), 1 << 20_000], ids=["2^63", "4,000 digits", "2^20,000"])
def test_settings_are_numbers_of_64_bits(value):
    for key in ("steps", "seed", "weight_decay"):
        with pytest.raises(SettingsError, match=rf"{key} takes a (whole )?number of at most 64 bits"):
            DistillConfig(**{key: value})
    with pytest.raises(SettingsError, match="width takes a whole number"):
        MiniConfig(width=128.0)


def test_what_is_wrong_with_settings_of_a_file_names_the_file(tmp_path):
    with pytest.raises(SettingsError, match=r"a\.toml: unknown setting 'x'"), of_file(tmp_path / "a.toml"):
        raise SettingsError("unknown setting 'x'")


@pytest.mark.parametrize("number", [1 << 31, "1", True, None, -2])
def test_a_category_is_a_number_that_a_map_can_hold(number):
    with pytest.raises(DataError, match="the id of a category"):
        Category(number, "cat", True)
    with pytest.raises(DataError, match="a segment needs"):
        Segment(1, 1 << 31, True)


def test_boundaries_are_still_read(tmp_path):
    """The way of BSDS's own files, compressed."""
    save_boundaries(tmp_path / "a.mat", [drawn(0), drawn(2)])
    assert (read_boundaries(tmp_path / "a.mat") == np.stack([drawn(0), drawn(2)]).astype(bool)).all()
