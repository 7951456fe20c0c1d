"""What lies in the folder of a run, by name, and what does not belong there: links, and the folders of others.

    manifest.json         what was begun, compared with what is asked now
    lock                  held by the process that works here; the system lets go of it when the process dies
    session.json          who works here, since when, and what was there before
    parts/R-A-B.npz       pieces of the windows of row R, columns A to B (not B); "-holes" behind it where some failed
    frontier.npz          the objects that are still open, and how many closed with each row
    rows/R.parquet        the objects that closed with row R, GeoParquet
    rows/R.blake2b        digest of that file
    output.json           the output that was written: its path, size and time

Whoever hands a folder on may have put anything there.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from samgeo.errors import OptionError
from samgeo.geo.files import STAGING_PREFIX, check_name

__all__ = [
    "DIGEST",
    "FRONTIER",
    "LOCK",
    "MANIFEST",
    "OUTPUT",
    "PARTS",
    "ROWS",
    "SESSION",
    "Span",
    "check_folder",
    "prepare",
    "spans_in",
    "take_away",
]

MANIFEST, LOCK, SESSION, OUTPUT = "manifest.json", "lock", "session.json", "output.json"
PARTS, ROWS, FRONTIER, DIGEST = "parts", "rows", "frontier.npz", ".blake2b"

_FOLDERS = (PARTS, ROWS)
_FILES = (MANIFEST, LOCK, SESSION, OUTPUT, FRONTIER)
_PART = re.compile(r"([0-9]{6,12})-([0-9]{6,12})-([0-9]{6,12})(-holes)?\.npz")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A part by its name: columns ``start`` to ``stop``, not included, of a row."""

    row: int
    start: int
    stop: int
    has_holes: bool

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.row:06d}-{self.start:06d}-{self.stop:06d}{'-holes' if self.has_holes else ''}.npz"


def check_folder(path: Path) -> None:
    """Refuse a folder that cannot be made, or that holds something else: what is written there must not land elsewhere.

    Raises
    ------
    OptionError
        With what to do.
    """
    check_name(path, OptionError, "give a shorter name of the output, or name another folder with run_dir")
    if not path.exists():
        if not path.parent.is_dir():
            raise OptionError(f"the run {path} cannot be made: {path.parent} is not a folder; make it first.")
        return
    if not path.is_dir() or not {*_FOLDERS, *_FILES}.issuperset(inner.name for inner in path.glob("[!.]*")):
        raise OptionError(f"{path} exists and is not the folder of a run; name another one with run_dir.")
    for name in (*_FOLDERS, *_FILES):
        inner = path / name
        if inner.is_symlink() or (inner.exists() and inner.is_dir() != (name in _FOLDERS)):
            raise OptionError(
                f"{inner} is a link, or a folder in the place of a file: no run makes such; remove {path} to begin anew, or "
                "name another folder with run_dir."
            )


def prepare(path: Path) -> None:
    """Make the folders, and take away what a process left that was killed while it wrote.

    Raises
    ------
    OSError
        If they cannot be made.
    """
    for folder in (path, path / PARTS, path / ROWS):
        folder.mkdir(exist_ok=True)
        # Other hidden folders may be of whoever owns the folder.
        for leftover in folder.glob(f"{STAGING_PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)


def spans_in(folder: Path) -> list[Span]:
    """Return the parts in a folder, in order; links and folders are none."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if (match := _PART.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False):
                row, start, stop = (int(number) for number in match.groups()[:3])
                span = Span(row, start, stop, match[4] is not None)
                if span.name == entry.name:
                    found.append(span)
    return sorted(found)


def take_away(path: Path) -> None:
    """Remove a file, if it is there."""
    with suppress(OSError):
        path.unlink()
