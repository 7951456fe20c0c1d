"""Names of the files in a run folder, and checks that refuse files that do not belong there.

    manifest.json         inputs and options of the run, compared with those of the current call
    lock                  held by the process that works in the folder; the system releases it when the process dies
    session.json          the process that works in the folder, its start time, and the number of windows finished before
    parts/R-A-B.npz       pieces of the windows of row R, columns A to B (exclusive); "-holes" is appended if some failed
    merged/R.npz          what merging row R has changed: new pieces of open objects, joins, and the objects that wait
    rows/R.parquet        the objects that closed with row R, as GeoParquet
    rows/R.blake2b        digest of that file
    kept/R.parquet        those of them that are written to the output, where the least score is chosen at the end
    output.json           path, size and time of the output that was written

A folder may come from someone else and hold any file. Therefore links and unknown files are refused.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from samgeo.errors import OptionError
from samgeo.segmentation.run.manifest import KIND
from samgeo.storage.atomic import check_name
from samgeo.storage.staging import remove_staging

__all__ = [
    "DIGEST",
    "KEPT",
    "LOCK",
    "MANIFEST",
    "MERGED",
    "OUTPUT",
    "PARTS",
    "ROWS",
    "SESSION",
    "Span",
    "check_folder",
    "forget_merged",
    "merged_path",
    "merged_rows",
    "prepare",
    "remove",
    "remove_file",
    "remove_kept",
    "spans_in",
]

MANIFEST, LOCK, SESSION, OUTPUT = "manifest.json", "lock", "session.json", "output.json"
PARTS, ROWS, KEPT, MERGED, DIGEST = "parts", "rows", "kept", "merged", ".blake2b"

_FOLDERS = (PARTS, ROWS, KEPT, MERGED)
_FILES = (MANIFEST, LOCK, SESSION, OUTPUT)
_ROW = re.compile(r"[0-9]{6,12}\.(parquet|blake2b)")
_MERGED = re.compile(r"[0-9]{6,12}\.npz")
_PART = re.compile(r"([0-9]{6,12})-([0-9]{6,12})-([0-9]{6,12})(-holes)?\.npz")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The windows of a part, which are also its file name: columns ``start`` to ``stop`` (exclusive) of a row."""

    row: int
    start: int
    stop: int
    has_holes: bool

    @property
    def name(self) -> str:
        """Name of the part's file."""
        return f"{self.row:06d}-{self.start:06d}-{self.stop:06d}{'-holes' if self.has_holes else ''}.npz"


def check_folder(path: Path) -> None:
    """Raise an error if the folder cannot be made, or holds files of something else, or links that lead to other places.

    Raises
    ------
    OptionError
        The message says what to do.
    """
    check_name(path, OptionError, "give a shorter name of the output, or name another folder with run_dir")
    if not path.exists():
        if not path.parent.is_dir():
            raise OptionError(f"the run {path} cannot be created: {path.parent} is not a folder; create it first.")
        return
    if not path.is_dir() or not {*_FOLDERS, *_FILES}.issuperset(inner.name for inner in path.glob("[!.]*")):
        raise OptionError(f"{path} exists and is not the folder of a run; give another one with run_dir.")
    if (strange := _not_ours(path)) is not None:
        raise OptionError(
            f"{path} exists and is not the folder of a run: {strange.relative_to(path)} does not belong to a run; give another "
            "one with run_dir."
        )
    for name in (*_FOLDERS, *_FILES):
        inner = path / name
        if inner.is_symlink() or (inner.exists() and inner.is_dir() != (name in _FOLDERS)):
            raise OptionError(
                f"{inner} is a link, or a folder instead of a file, which a run never creates; remove {path} to start again, "
                "or give another folder with run_dir."
            )


def prepare(path: Path) -> None:
    """Make the folders, and remove unfinished files of a process that was killed while it wrote.

    Raises
    ------
    OSError
        If the folders cannot be made.
    """
    for folder in (path, path / PARTS, path / ROWS, path / MERGED):
        folder.mkdir(exist_ok=True)
        remove_staging(folder)


def remove(path: Path) -> None:
    """Remove the files of a run, and its folders if nothing else is in them. Files that cannot be removed are kept."""
    for folder, ours in _ours(path):
        _remove_ours(folder, ours)
    # The manifest is removed last, because without it the remaining files would not be recognized as those of a run.
    for name in (SESSION, OUTPUT, LOCK, MANIFEST):
        remove_file(path / name)
    _remove_emptied(path)


def remove_kept(path: Path) -> None:
    """Remove the files in the folder ``kept`` of a run that the run made, and the folder if nothing else is in it."""
    _remove_ours(path / KEPT, _ROW)


def merged_rows(path: Path) -> list[Path]:
    """Return the files of merged rows in a run folder, from row 0 to the first row whose file is missing."""
    found: list[Path] = []
    while (file := merged_path(path, len(found))).is_file() and not file.is_symlink():
        found.append(file)
    return found


def merged_path(path: Path, row: int) -> Path:
    """Return the file of a merged row in a run folder."""
    return path / MERGED / f"{row:06d}.npz"


def forget_merged(path: Path, first: int = 0) -> None:
    """Remove the files of merged rows from row ``first`` on.

    The last rows are removed first, so that those which are left are always rows without a gap.
    """
    for inner in sorted(_inside(path / MERGED), key=lambda inner: (len(inner.name), inner.name), reverse=True):
        if _MERGED.fullmatch(inner.name) and int(inner.stem) >= first:
            remove_file(inner)


def _ours(path: Path) -> tuple[tuple[Path, re.Pattern[str]], ...]:
    """Return the folders in a run folder, and the patterns of the names of their files."""
    return (path / PARTS, _PART), (path / ROWS, _ROW), (path / KEPT, _ROW), (path / MERGED, _MERGED)


def _remove_ours(folder: Path, ours: re.Pattern[str]) -> None:
    """Remove the files in a folder whose names match a pattern, and the folder if nothing else is in it."""
    for inner in _inside(folder):
        if ours.fullmatch(inner.name) and inner.is_file() and not inner.is_symlink():
            remove_file(inner)
    _remove_emptied(folder)


def _remove_emptied(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        remove_staging(folder)
        with suppress(OSError):
            folder.rmdir()


def _not_ours(path: Path) -> Path | None:
    """Return a file that has the name of a file of a run but comes from something else; None if there is none."""
    lock, manifest = path / LOCK, path / MANIFEST
    # The lock file of a run is always empty.
    if lock.is_file() and lock.stat().st_size:
        return lock
    if manifest.is_file():
        try:
            found = json.loads(manifest.read_bytes())
        except (OSError, ValueError, RecursionError):
            return None  # a damaged manifest is reported by `RunFolder.manifest`
        return None if isinstance(found, dict) and found.get("kind", KIND) == KIND and "format" in found else manifest
    for name in (SESSION, OUTPUT):
        if (path / name).exists():
            return path / name
    for folder, ours in _ours(path):
        for inner in _inside(folder):
            if not inner.name.startswith(".") and not ours.fullmatch(inner.name):
                return inner
    return None


def _inside(folder: Path) -> list[Path]:
    """Return the files in a folder; an empty list if the folder is a link or cannot be read."""
    with suppress(OSError):
        if not folder.is_symlink():
            return sorted(folder.iterdir())
    return []


def spans_in(folder: Path) -> list[Span]:
    """Return the spans of the parts in a folder, in order. Links and folders are ignored."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if (match := _PART.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False):
                row, start, stop = (int(number) for number in match.groups()[:3])
                span = Span(row, start, stop, match[4] is not None)
                if span.name == entry.name:
                    found.append(span)
    return sorted(found)


def remove_file(path: Path) -> None:
    """Remove a file if it exists."""
    with suppress(OSError):
        path.unlink()
