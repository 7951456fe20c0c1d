"""Temporary places in which files and folders are written until they are complete, and moving them to their final names.

A temporary place is a folder beside the final name, so that moving is one step of the file system, and files that a library
leaves beside its own file are removed with the folder. All functions raise the `OSError` of the file system; their callers
know what to say about it.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from samgeo.storage.integrity import sync_file

__all__ = [
    "STAGING_PREFIX",
    "link_target",
    "move_whole",
    "place_new",
    "remove_staging",
    "staged_file",
    "staged_files",
    "staged_folder",
    "staging_folder",
]

STAGING_PREFIX = ".samgeo-"
"""Start of the names of folders in which files are written before they are moved to their place.

It is short, and does not contain the name of the output, so that it is valid wherever the output's own name is.
"""

_STAGING = re.compile(re.escape(STAGING_PREFIX) + r"[a-z0-9_]{8}")


def link_target(path: Path) -> Path:
    """Return the file that a link points to, or the path itself if it is no link."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextmanager
def staging_folder(folder: Path | None) -> Iterator[Path]:
    """Give a temporary folder inside a folder, and remove it with its content at the end.

    Parameters
    ----------
    folder : Path or None
        Folder on the file system of the output; None is the folder of temporary files of this machine.

    Raises
    ------
    OSError
        If the temporary folder cannot be made.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=STAGING_PREFIX) as made:
        yield Path(made)


@contextmanager
def staged_file(path: Path, *, follow_links: bool = True) -> Iterator[Path]:
    """Give the name of a temporary file, and move the file to its final name when the block ends without an error.

    Parameters
    ----------
    path : Path
        The final name; an existing file is replaced.
    follow_links : bool, default True
        What to do where ``path`` is a link: replace the file behind the link, or the link itself.

    Raises
    ------
    OSError
        If the file cannot be written or moved. An existing file is then unchanged, and no partial file is left.
    """
    with staging_folder((link_target(path) if follow_links else path).parent) as folder:
        temporary = folder / "content"
        yield temporary
        move_whole(temporary, path, follow_links=follow_links)


def move_whole(temporary: Path, path: Path, *, follow_links: bool = True) -> None:
    """Put a complete file on the disk, and move it to its final name on the same file system.

    The content must be on the disk before the final name points to it, in case the machine stops in between.

    Parameters
    ----------
    temporary : Path
        The complete file.
    path : Path
        The final name; an existing file is replaced.
    follow_links : bool, default True
        What to do where ``path`` is a link: replace the file behind the link, or the link itself.

    Raises
    ------
    OSError
        If the file cannot be moved.
    """
    sync_file(temporary)
    temporary.replace(link_target(path) if follow_links else path)


def place_new(temporary: Path, path: Path) -> None:
    """Move a complete file to its final name, where no file may exist.

    Raises
    ------
    FileExistsError
        If a file exists at the path.
    OSError
        If the file cannot be moved.
    """
    sync_file(temporary)
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # Some file systems have no links. There another program could make the file between the check and the move.
        if path.exists():
            raise FileExistsError(f"{path} was made by another program meanwhile") from None
        temporary.replace(path)


@contextmanager
def staged_folder(path: Path) -> Iterator[Path]:
    """Give an empty temporary folder, and move it to its final name when the block ends without an error.

    Parameters
    ----------
    path : Path
        The final name; there may be an empty folder.

    Raises
    ------
    OSError
        If the folder cannot be made or moved, or a file or a folder with content is at its final name. No partial folder is
        left.
    """
    with staging_folder(path.parent) as folder:
        temporary = folder / "content"
        temporary.mkdir()
        yield temporary
        if path.exists():
            path.rmdir()
        temporary.rename(path)


@contextmanager
def staged_files(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Give a temporary folder, and move the files in it to a folder when the block ends without an error.

    All files are complete before the first is moved.

    Parameters
    ----------
    folder : Path
        Where the files belong. It is made if it does not exist; its parent must exist.
    names : sequence of str
        Names that the files may have. A file of such a name that is in ``folder`` and was not written is removed, because it
        belongs to an earlier result.

    Raises
    ------
    OSError
        If a file cannot be written or moved.
    """
    with staging_folder(folder.parent) as temporary:
        yield temporary
        folder.mkdir(exist_ok=True)
        for name in names:
            if (temporary / name).exists():
                move_whole(temporary / name, folder / name, follow_links=False)
            else:
                (folder / name).unlink(missing_ok=True)


def remove_staging(folder: Path) -> None:
    """Remove the temporary folders that a killed process left in a folder.

    A folder is removed only if its name is `STAGING_PREFIX` and eight characters of `tempfile`, and if it holds nothing but
    regular files.
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
