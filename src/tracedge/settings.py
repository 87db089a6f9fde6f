"""From a table, as a TOML file gives it, to a frozen dataclass of settings: wrong keys, types and numbers said in a sentence."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from tracedge.errors import SettingsError

_TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "int": ("a whole number", (int,)),
    "float": ("a number", (int, float)),
    "str": ("text", (str,)),
    "bool": ("true or false", (bool,)),
}
_MAX_BYTES = 1 << 20
_LARGEST = 1 << 63
T = TypeVar("T")


def read_toml(path: Path) -> dict[str, Any]:
    """The table of a TOML file.

    Raises:
        SettingsError: it cannot be read, or is no TOML.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SettingsError(f"{path} is larger than settings ever are ({_MAX_BYTES} bytes)")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"{path} is not a readable TOML file: {error}") from error


@contextmanager
def of_file(path: Path | None) -> Iterator[None]:
    """What is wrong with settings that are from a file names the file; None: they are not from one."""
    try:
        yield
    except SettingsError as error:
        raise error if path is None or str(path) in str(error) else SettingsError(f"{path}: {error}") from error


def from_table(kind: type[T], table: Mapping[str, Any]) -> T:
    """A dataclass of settings from a table of its keys.

    Raises:
        SettingsError: a key that it does not have, or what `check_types` and the class itself refuse.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if unknown := sorted(table.keys() - set(names)):
        raise SettingsError(f"unknown setting {unknown[0]!r}: choose among {', '.join(names)}")
    return kind(**table)


def given(kind: type[T], settings: T | None, options: Mapping[str, Any]) -> T:
    """The settings that a caller gave, as an object or as single options; the defaults where neither.

    Raises:
        SettingsError: both, an option that there is not, or what the class itself refuses.
    """
    if settings is not None and options:
        raise SettingsError(f"give settings or single options, not both: got also {', '.join(options)}")
    try:
        return settings or kind(**options)
    except TypeError as error:
        raise SettingsError(f"{error}; the options are those of {kind.__name__}") from error


def choose(what: str, name: str, known: Mapping[str, T]) -> T:
    """What a table has under a name.

    Raises:
        SettingsError: no such name; the message says which there are, and `what` they are.

    >>> choose("number", "two", {"one": 1, "two": 2})
    2
    """
    if name not in known:
        raise SettingsError(f"unknown {what} {name!r}: choose one of {', '.join(known)}")
    return known[name]


def check_types(settings: Any) -> None:
    """Refuse values that are not of their field's type: int (64 bits), float (finite), str, bool, or a dataclass that is its own
    default.

    Fields of other types are not looked at.

    Raises:
        SettingsError: naming the field, what it takes and what came.
    """
    for field in fields(settings):
        value, nested = getattr(settings, field.name), field.default_factory
        if isinstance(nested, type) and is_dataclass(nested) and not isinstance(value, nested):
            raise SettingsError(f"{field.name} takes {nested.__name__}, got {_short(value)}")
        if str(field.type) not in _TYPES:
            continue
        named, types = _TYPES[str(field.type)]
        if type(value) not in types or (type(value) is float and not math.isfinite(value)):  # a bool is no int here
            raise SettingsError(f"{field.name} takes {named}, got {_short(value)}")
        if type(value) is int and not -_LARGEST <= value < _LARGEST:
            raise SettingsError(f"{field.name} takes {named} of at most 64 bits, got {_short(value)}")


def _short(value: object) -> str:
    """As a sentence quotes it."""
    try:
        return f"{value!r:.80}"
    except ValueError:  # Python writes no number of more than 4,300 digits
        return f"{type(value).__name__} that is too long to write"
