"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from samgeo.errors import OptionError, SamgeoError

__all__ = ["STAGING_PREFIX", "check_new", "refuse_unwritable", "remove_staging", "write_whole"]

STAGING_PREFIX = ".samgeo-"
"""Start of the names of folders in which files are written before they are moved to their place."""


def check_new(path: str | os.PathLike[str], suffix: str, *, overwrite: bool = False) -> Path:
    """Check, before any work, that a file can be written.

    Parameters
    ----------
    path : path
    suffix : str
        That its name must have, such as ".png".
    overwrite : bool, default False
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    OptionError
        If the suffix is another, the folder is missing or not writable, or the file exists.
    """
    path = Path(path)
    if path.suffix.lower() != suffix:
        raise OptionError(f"{path} does not end in {suffix}; name it so.")
    refuse_unwritable(path, OptionError)
    if path.exists() and not overwrite:
        raise OptionError(f"{path} exists; choose another name, or allow overwrite.")
    return path


def refuse_unwritable(path: Path, error: type[SamgeoError]) -> None:
    """Raise an error of a kind if a file cannot be made or replaced: it is a folder, or its own is missing or not writable."""
    if path.is_dir():
        raise error(f"{path} is a folder; give the name of a file.")
    if not path.parent.is_dir():
        raise error(f"{path} cannot be written: the folder {path.parent} does not exist; make it first.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise error(f"{path} cannot be written: this user may not write to the folder {path.parent}.")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, then move it there.

    Raises
    ------
    OptionError
        If it cannot be written; nothing is left of it.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=STAGING_PREFIX) as folder:
            temporary = Path(folder) / path.name
            with temporary.open("wb") as file:
                file.write(content)
                # The content is on the disk before the name points to it.
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
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
