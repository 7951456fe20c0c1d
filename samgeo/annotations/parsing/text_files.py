"""Reading of text and JSON files from unknown sources: their size is limited, and every error has its place in the file."""

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
# A file that is compressed by a larger factor is taken for an attack that fills memory.
_MAX_COMPRESSION = 200
_MIN_LINE_BYTES = 64
_GZIP = b"\x1f\x8b"

_MAX_SHOWN = 60


class Where(NamedTuple):
    """A place in a file, for messages. ``part`` is such as "line 12" or "annotations[3]"; empty for the whole file."""

    path: Path
    part: str = ""

    def __str__(self) -> str:
        return f"{self.path}, {self.part}" if self.part else str(self.path)


class FileFaultError(AnnotationError):
    """A fault of a whole file or data set. It ends the reading, also where faulty records are omitted."""


def fail(where: Where, what: str, remedy: str = "correct the file", *, whole: bool = False) -> NoReturn:
    """Raise an `AnnotationError` that says where the fault is, what it is and what to do.

    Parameters
    ----------
    where : Where
        Place of the fault.
    what : str
        What is wrong, as a clause: "its box is inside out".
    remedy : str
        What to do, in the imperative.
    whole : bool, default False
        Raise a `FileFaultError`, for a fault that remains if the record is omitted.
    """
    raise (FileFaultError if whole else AnnotationError)(f"{where}: {what}; {remedy}.") from None


def shown(value: object) -> str:
    """Return a value from a file in printable and short form, for a message."""
    # A long list is cut before it is converted, because its whole text could be very large.
    text = repr(value[:_MAX_SHOWN] if isinstance(value, str | bytes | list) else value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """Read a regular file of at max_bytes ``max_bytes`` bytes.

    Raises
    ------
    AnnotationError
        If the file cannot be read, is not a regular file, or is larger.
    """
    check_size(path, max_bytes)
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read ({error}); check its permissions.") from None
    if len(content) > max_bytes:
        fail(Where(path), f"it is larger than {max_bytes} bytes, the limit for such a file", "split it into several files")
    return content


def check_size(path: Path, max_bytes: int) -> None:
    """Check that a path is a regular file of at max_bytes ``max_bytes`` bytes.

    Raises
    ------
    AnnotationError
        If it is not, or cannot be read.
    """
    try:
        size = path.stat().st_size
        # Reading of a pipe or device might never end.
        is_regular = path.is_file()
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path} cannot be read ({error}); check the path.") from None
    if not is_regular:
        fail(Where(path), "it is not a regular file", "give a file of annotations, or a folder of them")
    if size > max_bytes:
        fail(
            Where(path),
            f"it has {size} bytes, more than the limit of {max_bytes} for such a file",
            "split it into several files",
        )


def read_text(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Read UTF-8 text, with or without a byte order mark.

    Raises
    ------
    AnnotationError
        If the file cannot be read, is too large, has another encoding, or has a NUL character.
    """
    content = read_bytes(path, max_bytes)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        fail(Where(path, f"line {line}"), f"byte {content[error.start]:#04x} is not UTF-8", "save the file as UTF-8")
    if "\0" in text:
        fail(
            Where(path, f"line {text.count(chr(10), 0, text.index(chr(0))) + 1}"),
            "it has a NUL character",
            "save the file as plain text",
        )
    return text


def read_lines(path: Path) -> Iterator[tuple[Where, str]]:
    """Give the place and the text, without surrounding whitespace, of each line that is not blank."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield Where(path, f"line {number}"), line.strip()


def stream_lines(path: Path, max_bytes: int = MAX_JSON_BYTES) -> Iterator[tuple[int, str]]:
    """Give the number, from 1, and the text of each line of a text file with or without gzip compression, one at a time.

    The text includes the end of the line.

    Raises
    ------
    FileFaultError
        If the file cannot be read, is not UTF-8, or is too large: it has more than ``max_bytes`` bytes, has a line of more than
        16 MiB, or is compressed by a factor of more than 200.
    """
    check_size(path, max_bytes)
    limit, number = max_bytes, 0
    try:
        with path.open("rb") as plain:
            is_compressed = plain.read(len(_GZIP)) == _GZIP
        if is_compressed:
            limit = min(max_bytes, _MAX_COMPRESSION * path.stat().st_size + MIB)
        with gzip.open(path, "rb") if is_compressed else path.open("rb") as file:
            while raw := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                # Even an empty line takes time, so that it counts as some bytes.
                limit -= max(len(raw), _MIN_LINE_BYTES)
                where = Where(path, f"line {number}")
                if limit < 0 or len(raw) > MAX_LINE_BYTES:
                    what = f"the file has more than {max_bytes} bytes or a line of more than {MAX_LINE_BYTES} bytes"
                    fail(where, f"{what}, or is compressed too much", "split it into several files", whole=True)
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                if "\0" in text:
                    fail(where, "it has a NUL character", "save the file as plain text", whole=True)
                yield number, text
    except UnicodeDecodeError as error:
        bad = error.object[error.start]
        fail(Where(path, f"line {number}"), f"byte {bad:#04x} is not UTF-8", "save the file as UTF-8", whole=True)
    except (OSError, EOFError, zlib.error) as error:
        fail(Where(path), f"it cannot be read ({error})", "check that the file is complete and may be read", whole=True)


def head_of(path: Path, count: int = 1 << 16) -> bytes:
    """Return the first bytes of a file, decompressed if it is gzip, without a byte order mark and leading whitespace.

    Raises
    ------
    AnnotationError
        If the file cannot be read.
    """
    check_size(path, MAX_VECTOR_BYTES)
    try:
        with path.open("rb") as file:
            head = file.read(count)
        if head.startswith(_GZIP):
            with gzip.open(path, "rb") as unpacked:
                head = unpacked.read(count)
    except (OSError, EOFError, zlib.error) as error:
        fail(Where(path), f"it cannot be read ({error})", "check that the file is complete and may be read")
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()


def read_json(path: Path) -> Json:
    """Read a JSON file. NaN and Infinity, which Python accepts and the standard does not, are errors.

    Raises
    ------
    AnnotationError
        If the file cannot be read or is not valid JSON. The message then has line and column.
    """

    def refuse(constant: str) -> NoReturn:
        fail(Where(path), f"it has the number {constant}, which JSON does not allow", "remove the objects with this number")

    text = read_text(path, MAX_JSON_BYTES)
    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        fail(Where(path, place), f"it is not valid JSON ({error.msg})", "check that the file is complete")
    except RecursionError:
        fail(Where(path), "its brackets are nested too deeply")
    except ValueError as error:
        fail(Where(path), f"it has a number that cannot be read ({str(error)[:100]})")


def as_number(value: Json, where: Where, what: str) -> float:
    """Return a value from text or JSON that must be a finite number.

    Raises
    ------
    AnnotationError
        If the value is not a finite number. ``what`` names the value in the message.
    """
    try:
        number = math.nan if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        fail(where, f"{what} is {shown(value)}, not a finite number")
    return number


def as_count(value: Json, where: Where, what: str) -> int:
    """Return a value from text or JSON that must be a whole number from 0 to 2**31 - 1.

    Raises
    ------
    AnnotationError
        If the value is not such a number. ``what`` names the value in the message.
    """
    number = as_number(value, where, what)
    if not 0 <= number <= MAX_COUNT or number != int(number):
        fail(where, f"{what} is {shown(value)}, not a whole number from 0 to {MAX_COUNT}")
    return int(number)


# Files that GDAL and other programs write beside images, with statistics, georeference or metadata.
_SIDECAR_ROOTS = (b"<PAMDataset", b"<VRTDataset", b"<metadata", b"<GMLDataset", b"<qgis", b"<isd", b"<gmd:", b"<mdb:")
_SIDECAR_ENDINGS = (".aux.xml", ".vrt.xml", ".shp.xml", "_mtl.txt", "_rpc.txt", "_metadata.txt")


def is_sidecar(path: Path) -> bool:
    """Return whether a file describes an image and has no annotations, such as ``a.tif.aux.xml`` of GDAL."""
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
    """Return the sorted files below a folder that have a suffix, in upper or lower case.

    Folders and files whose names start with ".", and files that describe images (`is_sidecar`), are ignored.

    Raises
    ------
    AnnotationError
        If there are too many files, or a folder cannot be read.
    """
    found: list[Path] = []

    def refuse(error: OSError) -> NoReturn:
        raise AnnotationError(f"{folder} cannot be read ({error}); check its permissions.") from None

    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, name) for name in names if name.lower().endswith(suffix) and not name.startswith(".")]
        if len(found) > MAX_FILES:
            fail(Where(folder), f"it has more than {MAX_FILES} files that end in {suffix}", "give a folder with fewer files")
    return [path for path in sorted(found) if not is_sidecar(path)]
