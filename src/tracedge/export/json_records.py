"""JSON files of records, as COCO's are, read strictly: what is wrong is said in a sentence that names the record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from tracedge.errors import DataError

MAX_JSON_BYTES = 1 << 32


def read_json(path: Path) -> Any:
    """The content of a JSON file; one that is not there, too large or damaged, or has a nan, is refused."""
    try:
        size = path.stat().st_size
        if size > MAX_JSON_BYTES:
            raise DataError(f"{path} is {size} bytes, more than the limit of {MAX_JSON_BYTES}: split it.")
        return json.loads(path.read_bytes(), parse_constant=refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read as JSON: {error}.") from error


def refuse_constant(name: str) -> NoReturn:
    """NaN and Infinity, which Python writes and JSON does not know."""
    raise ValueError(f"{name} is no number of JSON")


def list_of(content: object, key: str) -> list[Any]:
    """The list that stands under a key of an object."""
    value = content.get(key) if isinstance(content, dict) else None
    if not isinstance(value, list):
        raise DataError(f"expected an object with a list of {key}.")
    return value


def check_keys(entry: object, name: str, keys: tuple[str, ...]) -> None:
    """Refuse what is no object, or lacks one of the keys; `name` says in the sentence what it is."""
    if not isinstance(entry, dict):
        raise DataError(f"{name} is {type(entry).__name__}, expected an object.")
    if missing := [key for key in keys if key not in entry]:
        raise DataError(f"{name} has no {missing[0]}, expected {', '.join(keys)}.")


def whole(entry: Mapping[str, Any], key: str, name: str) -> int:
    """A whole number that stands under a key."""
    value = entry[key]
    if type(value) is not int:
        raise DataError(f"{name} has the {key} {value!r:.60}, expected a whole number.")
    return value


def check_size(height: object, width: object, name: str, max_pixels: int) -> None:
    """Refuse a size that is no size, or larger than `max_pixels`."""
    if type(height) is not int or type(width) is not int or height < 1 or width < 1:
        raise DataError(f"{name} is of height {height!r:.40} and width {width!r:.40}, expected whole numbers above 0.")
    if height * width > max_pixels:
        raise DataError(
            f"{name} is {width} x {height} pixels, more than the limit of {max_pixels}: "
            "raise it by --max-pixels (max_pixels=) if you trust the file."
        )
