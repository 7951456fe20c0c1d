"""Files that nobody vouches for: bounded, plain text, and every error with its place."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from samgeo.errors import AnnotationError

__all__ = [
    "MAX_FILES",
    "MAX_ROWS",
    "MAX_VECTOR_BYTES",
    "MAX_XML_BYTES",
    "MAX_YAML_BYTES",
    "Where",
    "as_count",
    "as_number",
    "check_size",
    "fail",
    "find_files",
    "read_bytes",
    "read_json",
    "read_lines",
    "read_text",
    "shown",
]

MIB = 1 << 20
MAX_TEXT_BYTES = 16 * MIB
MAX_XML_BYTES = 16 * MIB
MAX_YAML_BYTES = MIB // 4
MAX_JSON_BYTES = 1024 * MIB
MAX_VECTOR_BYTES = 4096 * MIB
MAX_FILES = 2_000_000
MAX_ROWS = 20_000_000
MAX_COUNT = 2**31 - 1

_LONGEST_SHOWN = 60


class Where(NamedTuple):
    """A place in a file, for messages: ``"line 12"``, ``"annotations[3]"``, or nothing for the whole file."""

    path: Path
    part: str = ""

    def __str__(self) -> str:
        return f"{self.path}, {self.part}" if self.part else str(self.path)


def fail(where: Where, what: str, remedy: str = "correct the file") -> NoReturn:
    """Raise an `AnnotationError` with the place."""
    raise AnnotationError(f"{where}: {what}; {remedy}.")


def shown(value: Any) -> str:
    """Return a value of a file for a message: printable and short."""
    # A long list is cut before it is written out.
    text = repr(value[:_LONGEST_SHOWN] if isinstance(value, str | bytes | list) else value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def read_bytes(path: Path, most: int) -> bytes:
    """Read a regular file of at most ``most`` bytes.

    Raises
    ------
    AnnotationError
        If it cannot be read, is no regular file, or is larger.
    """
    check_size(path, most)
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read ({error}); check its permissions.") from None
    if len(content) > most:
        fail(Where(path), f"it has more than the {most // MIB or 1} MiB that are read of such a file", "split it")
    return content


def check_size(path: Path, most: int) -> None:
    """Refuse what is no regular file, or has more bytes than ``most``."""
    try:
        size = path.stat().st_size
        # A pipe or a device could be read for ever.
        is_regular = path.is_file()
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path} cannot be read ({error}); check the path.") from None
    if not is_regular:
        fail(Where(path), "it is no regular file", "give a file of annotations, or a folder of them")
    if size > most:
        fail(Where(path), f"it has {size} bytes, more than the {most} that are read of such a file", "split it")


def read_text(path: Path, most: int = MAX_TEXT_BYTES) -> str:
    """Read UTF-8 text, with or without a byte order mark.

    Raises
    ------
    AnnotationError
        If it cannot be read, is too large, is in another encoding, or is no text.
    """
    content = read_bytes(path, most)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        fail(Where(path, f"line {line}"), f"byte {content[error.start]:#04x} is not UTF-8", "save it as UTF-8")
    if "\0" in text:
        fail(Where(path, f"line {text.count(chr(10), 0, text.index(chr(0))) + 1}"), "it has a NUL character", "save it as text")
    return text


def read_lines(path: Path) -> Iterator[tuple[Where, str]]:
    """Give the lines of a text that are not blank, with their places."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield Where(path, f"line {number}"), line.strip()


def read_json(path: Path) -> Any:
    """Read JSON without the NaN and Infinity that it does not know.

    Raises
    ------
    AnnotationError
        If it cannot be read, or is no JSON; with line and column.
    """

    def refuse(constant: str) -> NoReturn:
        fail(Where(path), f"it has the number {constant}, which JSON does not know", "leave such objects out")

    text = read_text(path, MAX_JSON_BYTES)
    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        fail(Where(path, place), f"it is no JSON ({error.msg})", "check that it is whole")
    except RecursionError:
        fail(Where(path), "its brackets are nested too deeply")
    except ValueError as error:
        fail(Where(path), f"it has a number that cannot be read ({str(error)[:100]})")


def as_number(value: Any, where: Where, what: str) -> float:
    """Return a finite number of a text or of JSON.

    Raises
    ------
    AnnotationError
        If it is none.
    """
    try:
        number = math.nan if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        fail(where, f"{what} is {shown(value)}, not a finite number")
    return number


def as_count(value: Any, where: Where, what: str) -> int:
    """Return a whole number from 0 to 2**31 - 1.

    Raises
    ------
    AnnotationError
        If it is none.
    """
    number = as_number(value, where, what)
    if not 0 <= number <= MAX_COUNT or number != int(number):
        fail(where, f"{what} is {shown(value)}, not a whole number from 0 to {MAX_COUNT}")
    return int(number)


def find_files(folder: Path, suffix: str) -> list[Path]:
    """Return the files below a folder with a suffix, any case, in order; folders and files whose names start with "." are left.

    Raises
    ------
    AnnotationError
        If there are too many, or a folder cannot be read.
    """
    found: list[Path] = []

    def refuse(error: OSError) -> NoReturn:
        raise AnnotationError(f"{folder} cannot be read ({error}); check its permissions.") from None

    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, name) for name in names if name.lower().endswith(suffix) and not name.startswith(".")]
        if len(found) > MAX_FILES:
            fail(Where(folder), f"it has more than {MAX_FILES} files that end in {suffix}", "give a smaller folder")
    return sorted(found)
