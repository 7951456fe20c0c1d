"""Files that are written whole or not at all, and checks of their names before any work."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from samgeo.errors import OptionError, SamgeoError

__all__ = [
    "STAGING_PREFIX",
    "Input",
    "check_name",
    "check_new",
    "inputs_among",
    "is_same_file",
    "refuse_inputs",
    "refuse_unwritable",
    "remove_staging",
    "write_whole",
]

STAGING_PREFIX = ".samgeo-"
"""Start of the names of folders in which files are written before they are moved to their place.

It is short, and does not contain the name of the output, so that it is valid wherever the output's own name is.
"""

SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Input:
    """A file or an address that is read.

    Attributes
    ----------
    path : str
    layer : str or None
        What is read of it, where that is named.
    """

    path: str
    layer: str | None

    def is_in(self, output: object) -> bool:
        """Whether it is the same file as an output, also by another path or a link, or lies in an output that is a folder."""
        if "://" in self.path or not isinstance(output, Path):
            return self.path == str(output)
        return is_same_file(output, Path(self.path)) or (output.is_dir() and _lies_in(Path(self.path), output))


def check_name(path: str | os.PathLike[str], error: type[SamgeoError], remedy: str = "give a shorter name") -> None:
    """Refuse a path that the file system cannot look up, such as a name that is longer than it allows (usually 255 bytes).

    Parameters
    ----------
    path : path
        It need not exist.
    error : type of SamgeoError
        What is raised.
    remedy : str
        What the message tells the user to do.

    Raises
    ------
    SamgeoError
        Of the type ``error``.
    """
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as reason:
        text = os.fspath(path)
        shown = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}... ({len(text)} characters)"
        why = getattr(reason, "strerror", None) or str(reason)
        raise error(f"{shown} cannot be used as a path ({why}); {remedy}.") from None


def check_new(path: str | os.PathLike[str], suffix: str, *, overwrite: bool = False, inputs: Iterable[object] = ()) -> Path:
    """Check, before any work, that a file can be written.

    Parameters
    ----------
    path : path
    suffix : str
        That its name must have, such as ".png".
    overwrite : bool, default False
        Whether an existing file may be replaced.
    inputs : iterable
        What the work reads, see `refuse_inputs`.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    OptionError
        If the suffix is another, the name is too long, the folder is missing or not writable, the file exists, or it is one
        of the inputs.
    """
    path = Path(path)
    if path.suffix.lower() != suffix:
        raise OptionError(f"{path} does not end in {suffix}; name it so.")
    refuse_unwritable(path, OptionError)
    refuse_inputs(path, inputs, OptionError)
    if path.exists() and not overwrite:
        raise OptionError(f"{path} exists; choose another name, or allow overwrite.")
    return path


def refuse_unwritable(path: Path, error: type[SamgeoError]) -> None:
    """Raise an error of a kind if a file cannot be made or replaced: it is a folder, or its own is missing or not writable."""
    check_name(path, error)
    if path.is_dir():
        raise error(f"{path} is a folder; give the name of a file.")
    if path.exists() and not path.is_file():
        raise error(f"{path} is no regular file; give the name of a file.")
    if not path.parent.is_dir():
        raise error(f"{path} cannot be written: the folder {path.parent} does not exist; make it first.")
    folder = _target(path).parent
    if not folder.is_dir():
        raise error(f"{path} cannot be written: it is a link to {_target(path)}, whose folder does not exist.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise error(f"{path} cannot be written: this user may not write to the folder {folder}.")


def _target(path: Path) -> Path:
    """Return the file that a link points to, or the path itself."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file or folder: by relative paths, symbolic or hard links, or another case of letters."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return one.absolute() == other.absolute()


def inputs_among(inputs: Iterable[object]) -> list[Input]:
    """Return those inputs of a function that are files or addresses; frames, arrays and models are none.

    Sequences are searched too, an opened raster stands for all its files, and names of parts of files, such as
    ``NETCDF:file.nc:band`` and ``city.gpkg:roofs``, for their files.
    """
    found: list[Input] = []
    for given in inputs:
        if isinstance(given, str | os.PathLike):
            found += _files_named(os.fspath(given))
        elif isinstance(given, list | tuple):
            found += inputs_among(given)
        elif (files := getattr(getattr(given, "source", None), "files", None)) is not None:
            for file in files:
                found += _files_named(str(file.path))
    return found


def _files_named(text: str) -> list[Input]:
    whole = Input(text, None)
    if "://" in text or ":" not in text or Path(text).exists():
        return [whole]
    parts = text.split(":")
    before = [Input(":".join(parts[:number]), ":".join(parts[number:])) for number in range(1, len(parts))]
    inside = [Input(part.strip('"'), None) for part in parts[1:]]
    return [whole, *(one for one in (*before, *inside) if one.path and Path(one.path).is_file())]


def refuse_inputs(output: object, inputs: Iterable[object], error: type[SamgeoError]) -> None:
    """Refuse an output that is one of the files that the work reads.

    Parameters
    ----------
    output : path or place
        A file or a folder, there or not, or an address.
    inputs : iterable
        Paths, addresses, opened rasters (all their files count), or sequences of these; what is something else is no file.
    error : type of SamgeoError
        What is raised.

    Raises
    ------
    SamgeoError
        Of the type ``error``, if an input is the same file (also by another path or a link), or lies in the output where that
        is a folder.
    """
    for one in inputs_among(inputs):
        if one.is_in(output):
            raise error(f"{output} is also an input ({one.path}), which would be lost; choose another name for the output.")


def _lies_in(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, check that all of it arrived, and move it to its place.

    Raises
    ------
    OptionError
        If it cannot be written; nothing is left of it.
    """
    place = _target(path)
    try:
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=STAGING_PREFIX) as folder:
            temporary = Path(folder) / "content"
            with temporary.open("wb") as file:
                file.write(content)
                # The content is on the disk before the name points to it.
                file.flush()
                os.fsync(file.fileno())
            _check_size(temporary, len(content))
            temporary.replace(place)
    except OSError as error:
        raise OptionError(f"{path} cannot be written ({error}); make space, or choose another folder.") from None


def remove_staging(folder: Path) -> None:
    """Remove from a folder what a killed process left there of files that it was writing.

    Only folders are removed that are named as `tempfile` names them behind `STAGING_PREFIX`, and that hold nothing but files.
    """
    for path in folder.glob(f"{STAGING_PREFIX}*"):
        if _STAGING.fullmatch(path.name) is None or path.is_symlink() or not path.is_dir():
            continue
        inside = list(path.iterdir())
        if all(one.is_file() and not one.is_symlink() for one in inside):
            with suppress(OSError):
                for one in inside:
                    one.unlink()
                path.rmdir()


_STAGING = re.compile(re.escape(STAGING_PREFIX) + r"[a-z0-9_]{8}")


def _check_size(path: Path, wanted: int) -> None:
    arrived = path.stat().st_size
    if arrived != wanted:
        raise OSError(f"{arrived:,} of {wanted:,} bytes arrived")
