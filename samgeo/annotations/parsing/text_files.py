"""Files that nobody vouches for: bounded, plain text, and every error with its place."""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from samgeo.errors import AnnotationError

if TYPE_CHECKING:
    from samgeo.types import Json

__all__ = [
    "MAX_FILES",
    "MAX_ROWS",
    "MAX_VECTOR_BYTES",
    "MAX_XML_BYTES",
    "MAX_YAML_BYTES",
    "FileFaultError",
    "Where",
    "as_count",
    "as_number",
    "check_size",
    "fail",
    "find_files",
    "head_of",
    "is_sidecar",
    "read_bytes",
    "read_json",
    "read_lines",
    "read_text",
    "shown",
    "stream_lines",
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
MAX_LINE_BYTES = 16 * MIB
# Text that is compressed to less of its size is made to fill memory.
_MOST_COMPRESSED = 200
_LEAST_LINE_BYTES = 64
_GZIP = b"\x1f\x8b"

_LONGEST_SHOWN = 60


class Where(NamedTuple):
    """A place in a file, for messages: ``"line 12"``, ``"annotations[3]"``, or nothing for the whole file."""

    path: Path
    part: str = ""

    def __str__(self) -> str:
        return f"{self.path}, {self.part}" if self.part else str(self.path)


class FileFaultError(AnnotationError):
    """A fault of a whole file or data set: it ends the reading also where faulty records are left out."""


def fail(where: Where, what: str, remedy: str = "correct the file", *, whole: bool = False) -> NoReturn:
    """Raise an `AnnotationError` with the place; ``whole`` where leaving out the record would not mend the fault."""
    raise (FileFaultError if whole else AnnotationError)(f"{where}: {what}; {remedy}.") from None


def shown(value: object) -> str:
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


def stream_lines(path: Path, most: int = MAX_JSON_BYTES) -> Iterator[tuple[int, str]]:
    """Give the lines of a text, compressed with gzip or not, one after the other, numbered from 1, with their line ends.

    Raises
    ------
    FileFaultError
        If it cannot be read, is not UTF-8, or is too large: more than ``most`` bytes, a line of more than 16 MiB, or more than
        200 times what it is compressed to.
    """
    check_size(path, most)
    limit, number = most, 0
    try:
        with path.open("rb") as plain:
            is_compressed = plain.read(len(_GZIP)) == _GZIP
        if is_compressed:
            limit = min(most, _MOST_COMPRESSED * path.stat().st_size + MIB)
        with gzip.open(path, "rb") if is_compressed else path.open("rb") as file:
            while raw := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                # Even an empty line takes time.
                limit -= max(len(raw), _LEAST_LINE_BYTES)
                where = Where(path, f"line {number}")
                if limit < 0 or len(raw) > MAX_LINE_BYTES:
                    what = f"it has more than {most} bytes, is compressed too much, or has a line of more than {MAX_LINE_BYTES}"
                    fail(where, what, "split it", whole=True)
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                if "\0" in text:
                    fail(where, "it has a NUL character", "save it as text", whole=True)
                yield number, text
    except UnicodeDecodeError as error:
        bad = error.object[error.start]
        fail(Where(path, f"line {number}"), f"byte {bad:#04x} is not UTF-8", "save it as UTF-8", whole=True)
    except (OSError, EOFError, zlib.error) as error:
        fail(Where(path), f"it cannot be read ({error})", "check that it is whole, and its permissions", whole=True)


def head_of(path: Path, count: int = 1 << 16) -> bytes:
    """Return the first bytes of a file, of what a file of gzip holds.

    Raises
    ------
    AnnotationError
        If it cannot be read.
    """
    check_size(path, MAX_VECTOR_BYTES)
    try:
        with path.open("rb") as file:
            head = file.read(count)
        if head.startswith(_GZIP):
            with gzip.open(path, "rb") as unpacked:
                head = unpacked.read(count)
    except (OSError, EOFError, zlib.error) as error:
        fail(Where(path), f"it cannot be read ({error})", "check that it is whole, and its permissions")
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()


def read_json(path: Path) -> Json:
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


def as_number(value: Json, where: Where, what: str) -> float:
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


def as_count(value: Json, where: Where, what: str) -> int:
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


# What GDAL and other programs put beside images: statistics, georeference and metadata.
_SIDECAR_ROOTS = (b"<PAMDataset", b"<VRTDataset", b"<metadata", b"<GMLDataset", b"<qgis", b"<isd", b"<gmd:", b"<mdb:")
_SIDECAR_ENDINGS = (".aux.xml", ".vrt.xml", ".shp.xml", "_mtl.txt", "_rpc.txt", "_metadata.txt")


def is_sidecar(path: Path) -> bool:
    """Whether a file belongs to an image and holds no annotations: ``a.tif.aux.xml`` of GDAL and the like."""
    name = path.name.lower()
    if name.endswith(_SIDECAR_ENDINGS):
        return True
    try:
        if name.endswith(".xml") and path.is_file():
            return re.sub(rb"^(<\?.*?\?>|<!--.*?-->|\s)*", b"", head_of(path, 4096), flags=re.DOTALL).startswith(_SIDECAR_ROOTS)
        return name.endswith(".json") and path.is_file() and b'"stac_version"' in head_of(path)
    except AnnotationError:
        return False


def find_files(folder: Path, suffix: str) -> list[Path]:
    """Return the files below a folder with a suffix, any case, in order.

    Folders and files whose names start with "." and what belongs to images (`is_sidecar`) are left.

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
    return [path for path in sorted(found) if not is_sidecar(path)]
