"""Files of parts, damaged part by part and then put together again, with sums and lengths that fit: so the damage gets inside."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from random import Random

import numpy as np

from fuzz.json_trees import damaged_json
from fuzz.mutations import damaged

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def damaged_png(content: bytes, chance: Random) -> bytes:
    """A PNG with a chunk damaged, doubled, moved or left out; its sums are right, and pixels are compressed anew."""
    chunks = _chunks(content)
    if not chunks or chance.randrange(5) == 0:
        return damaged(content, chance)
    at, kind = chance.randrange(len(chunks)), chance.randrange(5)
    name, data = chunks[at]
    if kind <= 2:
        chunks[at] = (
            name,
            zlib.compress(damaged(zlib.decompress(data), chance)) if name == b"IDAT" else damaged(data, chance),
        )
    elif kind == 3:
        chunks.insert(chance.randrange(len(chunks) + 1), chunks[at])
    else:
        extra = chance.choice(
            (b"eXIf", b"iCCP", b"zTXt", b"iTXt", b"tRNS", b"PLTE", b"acTL", b"fcTL", b"sRGB", b"gAMA", b"pHYs")
        )
        chunks.insert(chance.randrange(1, len(chunks) + 1), (extra, damaged(data, chance)))
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], len(_SIGNATURE)
    while at + 8 <= len(content) and content.startswith(_SIGNATURE):
        (length,) = struct.unpack(">I", content[at : at + 4])
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    try:
        [zlib.decompress(data) for name, data in found if name == b"IDAT"]
    except zlib.error:
        return []
    return found


ARRAYS = (
    np.zeros((0,)), np.zeros((2, 0, 3), bool), np.array(np.nan), np.array([np.inf, -1.0]), np.array("[" * 2000),
    np.array("{}"), np.array("x"), np.array(b"\xff"), np.zeros((1, 1, 1), np.uint8), np.full((2, 3), 7, np.int64),
    np.array([1 << 62, 4, 4]), np.array([-1, 4, 4]), np.array([2, 3, 4]), np.zeros((3, 4), np.float16),
    np.ones((2, 6, 8), complex), np.zeros(2, [("a", "i4")]), np.array(["2020"], "M8[Y]"),
    np.array([[1, 0], [2, 3]], np.float32), np.array(0, np.uint64), np.ones((1, 4, 4), ">f4"),
    np.array('{"a": 1e999}'),
)  # fmt: skip


def damaged_npz(content: bytes, chance: Random) -> bytes:
    """An archive of arrays with a member exchanged, damaged within, renamed, doubled or left out; its sums are right."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:  # damaged before, in whatever way
        return damaged(content, chance)
    kind = chance.randrange(8) if members else 7
    at = chance.randrange(len(members)) if members else 0
    if kind <= 1:
        members[at] = members[at][0], damaged(members[at][1], chance)
    elif kind == 2:
        members[at] = members[at][0], _with_header(members[at][1], chance)
    elif kind <= 4:
        members[at] = members[at][0], _npy(chance.choice(ARRAYS))
    elif kind == 5:
        members.insert(
            at, (chance.choice((members[at][0], "scores.npy", "../up.npy", "a\nb.npy", "masks", "")), members[at][1])
        )
    elif kind == 6:
        del members[at]
    else:
        return damaged(content, chance)
    return zipped(members, chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def zipped(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive; names may come twice."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members:
            if name in archive.NameToInfo:
                del archive.NameToInfo[name]  # else zipfile warns
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return stream.getvalue()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _with_header(member: bytes, chance: Random) -> bytes:
    """Another header before the same numbers: as many or as strange as it likes."""
    kind = chance.choice(("|b1", "<f8", "|O", "<U1000000", "<i4", "V0", "no type", "<M8[ns]", "[('a','<f4')]"))
    shape = chance.choice(
        (
            "()",
            "(0,)",
            "(-1,)",
            "(9999999999,)",
            "(1,)" * 3,
            "(65536, 65536, 9)",
            "(2L, 3)",
            "'a'",
            "((",
        )
    )
    text = f"{{'descr': {kind!r}, 'fortran_order': {chance.choice((True, False, 2))}, 'shape': {shape}, }}"
    header = text.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + member[128:]


def damaged_safetensors(content: bytes, chance: Random) -> bytes:
    """Tensors whose table is damaged as JSON, with the length that it has, or whose numbers are."""
    if len(content) < 8 or chance.randrange(6) == 0:
        return damaged(content, chance)
    (length,) = struct.unpack("<Q", content[:8])
    table, numbers = content[8 : 8 + length], content[8 + length :]
    if chance.randrange(4) == 0:
        return content[:8] + table + damaged(numbers, chance)
    if chance.randrange(3) == 0:
        for kind in (
            b"F64",
            b"F16",
            b"BF16",
            b"I64",
            b"BOOL",
            b"F8_E4M3",
            b"F8_E5M2",
            b"C64",
            b"U32",
            b"F8_E8M0",
            b"F4",
        ):
            if chance.randrange(3) == 0:
                table = table.replace(b'"F32"', b'"' + kind + b'"', 1)
    else:
        table = damaged_json(table, chance)
    return struct.pack("<Q", len(table)) + table + numbers


def damaged_text(content: bytes, chance: Random) -> bytes:
    """Lines with a value or a name exchanged, or in another encoding."""
    lines = content.split(b"\n")
    for _ in range(chance.choice((1, 1, 3))):
        at = chance.randrange(len(lines))
        name, sign, _ = lines[at].partition(b"=")
        lines[at] = name + sign + chance.choice(_VALUES) if chance.randrange(4) else chance.choice(_VALUES)
    made = b"\n".join(lines)
    if chance.randrange(8) == 0:
        made = made.decode("utf-8", "replace").encode(chance.choice(("utf-8-sig", "utf-16", "utf-7", "utf-32")))
    return damaged(made, chance) if chance.randrange(4) == 0 else made


_VALUES = (
    b"", b" 0", b" -1", b" 1.0", b" nan", b" inf", b" -inf", b" 1e999", b" true", b' "a"', b' "\\u0000"',
    b' "a\\nb"', b" []", b" {}", b" 0x" + b"f" * 40, b" 9223372036854775808", b" 0x" + b"f" * 4000,
    b" " + b"9" * 5000, b" " + b"[" * 5000, b" 2020-01-01", b' """', b"[a.b]", b"[[stages]]", b" = 1", b"../up",
    b"/etc/passwd", b"#", b"\xff", b"\xc2\x85", b"9" * 400, b" {a={a={a=1}}}",
)  # fmt: skip


def damaged_tar(content: bytes, chance: Random) -> bytes:
    """A tar archive with a field of a header exchanged, a member damaged, doubled or left out, or told more of; sums fit."""
    members = _tar_members(content)
    if not members or chance.randrange(6) == 0:
        return damaged(content, chance)
    at, kind = chance.randrange(len(members)), chance.randrange(7)
    header, data = members[at]
    if kind <= 2:
        start, length = chance.choice(_TAR_FIELDS)
        value = chance.choice(_TAR_TYPES if length == 1 else _TAR_VALUES)[:length]
        members[at] = header[:start] + value.ljust(length, b"\0") + header[start + length :], data
    elif kind == 3:
        members[at] = header, damaged(data, chance)
    elif kind == 4:
        members.insert(chance.randrange(len(members) + 1), members[at])
    elif kind == 5:
        members.insert(at, _pax_header(chance))
    else:
        del members[at]
    return b"".join(_with_sum(header) + data for header, data in members) + bytes(chance.choice((0, 512, 1024, 9728)))


def damaged_tar_gz(content: bytes, chance: Random) -> bytes:
    """The same within a compressed one, or the compressed one damaged."""
    try:
        whole = gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        whole = b""
    if not whole or chance.randrange(4) == 0:
        return damaged(content, chance)
    return gzip.compress(damaged_tar(whole, chance), compresslevel=1, mtime=0)


def _tar_members(content: bytes) -> list[tuple[bytes, bytes]]:
    """Headers and contents, as far as they can be told."""
    found, at = [], 0
    while at + 512 <= len(content) and any(content[at : at + 512]):
        size = content[at + 124 : at + 135]
        if not size.isdigit() or set(size) & set(b"89"):
            break
        end = at + 512 + -(-int(size, 8) // 512) * 512
        found.append((content[at : at + 512], content[at + 512 : end]))
        at = end
    return found


def _with_sum(header: bytes) -> bytes:
    blank = header[:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(blank) + header[156:]


def _pax_header(chance: Random) -> tuple[bytes, bytes]:
    """What an extended header says of the next member, or of all that follow."""
    data = b"".join(_pax_record(chance.choice(_PAX), chance) for _ in range(chance.choice((1, 1, 2, 6))))
    header = b"@".ljust(124, b"\0") + b"%011o\0" % len(data)
    kind = chance.choice((b"x", b"x", b"g", b"L", b"K", b"X"))
    return (header.ljust(156, b"\0") + kind).ljust(257, b"\0").ljust(512, b"\0"), data.ljust(
        -(-len(data) // 512) * 512, b"\0"
    )


def _pax_record(said: bytes, chance: Random) -> bytes:
    length = len(said) + 3 + (len(said) > 6)
    return b"%d %s\n" % (length if chance.randrange(6) else chance.choice((0, 1, 3, 99, 10**30)), said)


_TAR_FIELDS = (
    *((0, 100), (100, 8), (124, 12), (124, 12), (136, 12), (156, 1), (156, 1), (157, 100)),
    *((257, 8), (345, 155), (386, 96), (482, 13)),
)
"""Where each begins, and how long it is: name, mode, size, time, type, link, kind of archive, beginning of the name, holes."""
_TAR_TYPES = tuple(bytes([one]) for one in b"01234567xgLKSDVNXA\0\xff")
_TAR_VALUES = (
    b"", b"\0" * 12, b"77777777777\0", b"-0000000001\0", b"00000001000\0", b"\x80" + bytes(3) + b"\xff" * 8, b"\xff" * 12,
    b"\xff" * 10 + b"\xfe\0", b"\x80" + b"\0" * 9 + b"\x02\0", b"nan", b" 8 ", b"../../up.png", b"/etc/passwd.png",
    b"a/" * 45 + b"b.png", b"x.png", b"X.PNG", b"x~2.png", b".png", b"a\nb.png", b"caf\xe9.png", b"\xed\xa0\x80.png",
    b"C:\\a.png", b" .png", b"x" * 150 + b".png", b"ustar  \0", b"ustar\x0000",
)  # fmt: skip
_PAX = (
    b"size=-1", b"size=-1536", b"size=0", b"size=512", b"size=" + b"9" * 30, b"size=" + b"9" * 5000, b"size=1.5", b"size=nan",
    b"path=../../up.png", b"path=", b"path=" + b"a/" * 3000 + b"b.png", b"path=a\0b.png", b"path=\xff.png", b"linkpath=\xff",
    b"mtime=nan", b"mtime=1e999", b"uid=x", b"hdrcharset=BINARY", b"hdrcharset=?", b"GNU.sparse.major=1",
    b"GNU.sparse.minor=0", b"GNU.sparse.name=y.png", b"GNU.sparse.realsize=9999999999", b"GNU.sparse.size=9999999999",
    b"GNU.sparse.size=-9", b"GNU.sparse.map=0,1,1,-5", b"GNU.sparse.map=0,9999999999", b"GNU.sparse.map=x",
    b"GNU.sparse.numblocks=1", b"GNU.sparse.offset=0", b"GNU.sparse.numbytes=9", b"=", b"a", b"\0",
)  # fmt: skip


def damaged_parquet(content: bytes, chance: Random) -> bytes:
    """A parquet file whose footer or whose pages are damaged; the footer is where the file says that it is."""
    if len(content) < 12 or chance.randrange(6) == 0:
        return damaged(content, chance)
    (length,) = struct.unpack("<I", content[-8:-4])
    pages, footer = content[: max(0, len(content) - 8 - length)], content[-8 - length : -8]
    if chance.randrange(3):
        footer = damaged(footer, chance, other=content)
    else:
        pages = pages[:4] + damaged(pages[4:], chance)
    return pages + footer + struct.pack("<I", len(footer)) + content[-4:]
