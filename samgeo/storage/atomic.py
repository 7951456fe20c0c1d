"""Atomic writing of a file from its content, and checks of output names before any work.

A file is written beside its final name and moved there when it is whole, so that nobody sees a partial file. `staging` has
the same for files that a library writes, for several files, and for folders.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from samgeo.errors import OptionError, SamgeoError
from samgeo.storage.staging import link_target, staged_file

__all__ = [
    "Input",
    "check_name",
    "check_new",
    "inputs_among",
    "is_same_file",
    "refuse_inputs",
    "refuse_unwritable",
    "write_whole",
]

SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Input:
    """A file or an address that is read.

    Attributes
    ----------
    path : str
        Path or address.
    layer : str or None
        Layer or part of the file that is read, where the name gives one.
    """

    path: str
    layer: str | None

    def is_in(self, output: object) -> bool:
        """Return whether the input is the same file as an output, or lies in an output that is a folder.

        Other paths and links to the same file count as the same file.
        """
        if "://" in self.path or not isinstance(output, Path):
            return self.path == str(output)
        return is_same_file(output, Path(self.path)) or (output.is_dir() and _lies_in(Path(self.path), output))


def check_name(path: str | os.PathLike[str], error: type[SamgeoError], remedy: str = "give a shorter name") -> None:
    """Refuse a path that the file system cannot look up, for example because a name is too long (usually over 255 bytes).

    Parameters
    ----------
    path : path
        The file need not exist.
    error : type of SamgeoError
        Type of the error that is raised.
    remedy : str
        End of the message: what the user can do.

    Raises
    ------
    SamgeoError
        Of the type ``error``, if the path cannot be looked up.
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
        The output file.
    suffix : str
        The suffix that the name must have, such as ".png".
    overwrite : bool, default False
        Whether an existing file may be replaced.
    inputs : iterable
        Inputs of the work, see `refuse_inputs`.

    Returns
    -------
    Path
        The checked path.

    Raises
    ------
    OptionError
        If the name has another suffix or is too long, the folder is missing or not writable, the file exists, or the file is
        one of the inputs.
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
    """Refuse a path at which no file can be made or replaced.

    Parameters
    ----------
    path : Path
        The output file.
    error : type of SamgeoError
        Type of the error that is raised.

    Raises
    ------
    SamgeoError
        Of the type ``error``, if the path is a folder or a special file, or the folder of the file is missing or not writable.
    """
    check_name(path, error)
    if path.is_dir():
        raise error(f"{path} is a folder; give the name of a file.")
    if path.exists() and not path.is_file():
        raise error(f"{path} is no regular file; give the name of a file.")
    if not path.parent.is_dir():
        raise error(f"{path} cannot be written: the folder {path.parent} does not exist; create it first.")
    folder = link_target(path).parent
    if not folder.is_dir():
        raise error(f"{path} cannot be written: it is a link to {link_target(path)}, whose folder does not exist.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise error(f"{path} cannot be written: this user may not write to the folder {folder}.")


def is_same_file(one: Path, other: Path) -> bool:
    """Return whether two paths lead to one file or folder.

    Relative paths, symbolic and hard links, and letters of another case (where the file system ignores case) are followed.
    """
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return one.absolute() == other.absolute()


def inputs_among(inputs: Iterable[object]) -> list[Input]:
    """Return those inputs of a function that are files or addresses; data frames, arrays and models are skipped.

    Sequences are searched too. An open raster counts as all its files. The name of a part of a file, such as
    ``NETCDF:file.nc:band`` or ``city.gpkg:roofs``, counts as its file.
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
        A file, a folder or an address; it need not exist.
    inputs : iterable
        Paths, addresses, open rasters (all their files count), or sequences of these. Other values are ignored.
    error : type of SamgeoError
        Type of the error that is raised.

    Raises
    ------
    SamgeoError
        Of the type ``error``, if an input is the same file as the output (also by another path or a link), or lies in the
        output folder.
    """
    for one in inputs_among(inputs):
        if one.is_in(output):
            raise error(f"{output} is also an input ({one.path}), which would be lost; choose another name for the output.")


def _lies_in(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def write_whole(path: Path, content: bytes, *, follow_links: bool = True) -> None:
    """Write a file under a temporary name, check its size, and move it to its final name.

    Parameters
    ----------
    path : Path
        The file; an existing file is replaced.
    content : bytes
        Content of the file.
    follow_links : bool, default True
        What to do where ``path`` is a link: replace the file behind the link, or the link itself.

    Raises
    ------
    OptionError
        If the file cannot be written. An existing file is then unchanged, and no partial file is left.
    """
    try:
        with staged_file(path, follow_links=follow_links) as temporary:
            temporary.write_bytes(content)
            _check_size(temporary, len(content))
    except OSError as error:
        raise OptionError(f"{path} cannot be written ({error}); make space, or choose another folder.") from None


def _check_size(path: Path, wanted: int) -> None:
    arrived = path.stat().st_size
    if arrived != wanted:
        raise OSError(f"{arrived:,} of {wanted:,} bytes arrived")
