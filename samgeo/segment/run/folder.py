"""The folder of a run: its manifest, its parts, its frontier, and the objects of the rows that are merged.

    manifest.json         what was begun, compared with what is asked now
    lock                  held by the process that works here; the system lets go of it when the process dies
    session.json          who works here, since when, and what was there before
    parts/R-A-B.npz       pieces of the windows of row R, columns A to B (not B); "-holes" behind it where some failed
    frontier.npz          the objects that are still open, and how many closed with each row
    rows/R.parquet        the objects that closed with row R, GeoParquet
    output.json           the output that was written: its path, size and time

Everything is written whole or not at all. What is damaged in spite of that is made again from what is not.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.errors import OptionError, RunError
from samgeo.geo.files import write_whole
from samgeo.segment.run.manifest import FORMAT, KIND, differences, tell_differences
from samgeo.segment.run.parts import DamagedError, Failure, Frontier, Part

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["RunFolder", "Span"]

MANIFEST, LOCK, SESSION, OUTPUT = "manifest.json", "lock", "session.json", "output.json"
PARTS, ROWS, FRONTIER = "parts", "rows", "frontier.npz"

_KNOWN = {MANIFEST, LOCK, SESSION, OUTPUT, PARTS, ROWS, FRONTIER}

# Whoever asks for the status of a run holds its lock for a moment.
LOCK_SECONDS = 2.0

_PART = re.compile(r"(\d{6,})-(\d{6,})-(\d{6,})(-holes)?\.npz")


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


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder of a run; `opened` makes it ready for work.

    Attributes
    ----------
    path : Path
    """

    path: Path

    def check(self) -> None:
        """Refuse a folder that cannot be made, or that holds something else.

        Raises
        ------
        OptionError
            With what to do.
        """
        if not self.path.exists():
            if not self.path.parent.is_dir():
                raise OptionError(f"the run {self.path} cannot be made: {self.path.parent} is not a folder; make it first.")
        elif not self.path.is_dir() or not _KNOWN.issuperset(path.name for path in self.path.glob("[!.]*")):
            raise OptionError(f"{self.path} exists and is not the folder of a run; name another one with run_dir.")

    @contextmanager
    def opened(self, manifest: dict[str, Any]) -> Iterator[None]:
        """Begin a run, or go on with one that was begun in the same way; for this process alone.

        Parameters
        ----------
        manifest : dict
            From `describe`.

        Raises
        ------
        OptionError
            If the folder cannot be made, or is something else.
        RunError
            If another process works here, or the run was begun with something else; the message says what.
        """
        import filelock

        self.check()
        lock = filelock.FileLock(self.path / LOCK)
        try:
            self.path.mkdir(exist_ok=True)
            lock.acquire(timeout=LOCK_SECONDS, poll_interval=0.05)
        except filelock.Timeout as error:
            raise RunError(
                f"another process works on the run {self.path}{self._whose()}; wait for it, or name another run_dir."
            ) from error
        except OSError as error:
            raise OptionError(f"the run {self.path} cannot be made ({error}); name another folder with run_dir.") from error
        try:
            try:
                self._begin(manifest)
            except OptionError:
                if not (self.path / MANIFEST).exists():
                    self.remove()
                raise
            yield
        finally:
            lock.release()

    def _begin(self, manifest: dict[str, Any]) -> None:
        try:
            for folder in (self.path, self.path / PARTS, self.path / ROWS):
                folder.mkdir(exist_ok=True)
                for leftover in folder.glob(".*-*"):  # of a process that was killed while it wrote
                    shutil.rmtree(leftover, ignore_errors=True)
        except OSError as error:
            raise OptionError(f"the run {self.path} cannot be made ({error}); name another folder with run_dir.") from error
        if (self.path / MANIFEST).exists():
            lines = differences(self.manifest(), manifest)
            if lines:
                raise RunError(
                    f"the run {self.path} was begun with something else: {tell_differences(lines)}. Give the same input, model "
                    "and options to go on with it, remove the folder to begin anew, or name another one with run_dir."
                )
        else:
            write_whole(self.path / MANIFEST, json.dumps(manifest, indent=1).encode())

    def _whose(self) -> str:
        session = self.session()
        return f" (process {session['pid']} on {session['host']})" if session else ""

    def is_busy(self) -> bool:
        """Whether a process works here now."""
        import filelock

        lock = filelock.FileLock(self.path / LOCK)
        try:
            lock.acquire(blocking=False)
        except (filelock.Timeout, OSError):
            return True
        lock.release()
        return False

    def manifest(self) -> dict[str, Any]:
        """Read the manifest.

        Raises
        ------
        RunError
            If there is none that this samgeo understands.
        """
        path = self.path / MANIFEST
        found = _read_json(path)
        if not found or found.get("kind") != KIND or found.get("format") != FORMAT:
            raise RunError(f"{path} is missing, damaged, or of another version of samgeo; remove {self.path} to begin anew.")
        return found

    def write_session(self, windows: int) -> None:
        """Say who works here, and how many windows were there before."""
        told = {"pid": os.getpid(), "host": socket.gethostname(), "started": time.time(), "windows": windows}
        write_whole(self.path / SESSION, json.dumps(told).encode())

    def session(self) -> dict[str, Any]:
        """Return what `write_session` said, nothing if it did not."""
        found = _read_json(self.path / SESSION)
        return found if {"pid", "host", "started", "windows"} <= found.keys() else {}

    def spans(self) -> list[Span]:
        """Return the parts that are there, in order."""
        found = []
        with suppress(OSError):
            for name in os.listdir(self.path / PARTS):  # noqa: PTH208 - names of many files, and nothing but names
                if match := _PART.fullmatch(name):
                    row, start, stop = (int(number) for number in match.groups()[:3])
                    found.append(Span(row, start, stop, match[4] is not None))
        return sorted(found)

    def part_path(self, span: Span) -> Path:
        """Return where a part is."""
        return self.path / PARTS / span.name

    def read_part(self, span: Span) -> Part:
        """Read a part.

        Raises
        ------
        DamagedError
            If it is not whole.
        """
        try:
            content = self.part_path(span).read_bytes()
        except OSError as error:
            raise DamagedError(str(error)) from error
        return Part.from_bytes(content, span.row, span.start, span.stop)

    def write_part(self, part: Part) -> None:
        """Keep a part.

        Raises
        ------
        OptionError
            If the disk does not take it.
        """
        write_whole(self.part_path(Span(part.row, part.start, part.stop, bool(part.failures))), part.to_bytes())

    def failures(self) -> list[Failure]:
        """Return the windows that failed, in order; those of damaged parts are not known."""
        found: list[Failure] = []
        for span in self.spans():
            if span.has_holes:
                with suppress(DamagedError):
                    found.extend(self.read_part(span).failures)
        return sorted(found, key=lambda failure: failure.window)

    def forget(self, spans: list[Span]) -> None:
        """Take away parts, and with them all that was merged."""
        if spans:
            (self.path / FRONTIER).unlink(missing_ok=True)
        for span in spans:
            self.part_path(span).unlink(missing_ok=True)

    def read_frontier(self) -> Frontier:
        """Return where merging has come to: nowhere, if its file or one of the merged rows is missing or damaged."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            frontier = Frontier.from_bytes((self.path / FRONTIER).read_bytes())
            for row, count in enumerate(frontier.counts):
                if count and pq.read_metadata(self.row_path(row)).num_rows != count:
                    return Frontier()
        except (OSError, DamagedError, pa.ArrowException, ValueError):
            return Frontier()
        return frontier

    def write_row(self, row: int, objects: gpd.GeoDataFrame, frontier: Frontier) -> None:
        """Keep the objects that closed with a row, and then the frontier behind it.

        Raises
        ------
        VectorError, OptionError
            If the disk does not take them.
        """
        from samgeo.geo.vectors import write_vectors

        if len(objects):
            write_vectors(objects, self.row_path(row), overwrite=True)
        write_whole(self.path / FRONTIER, frontier.to_bytes())

    def row_path(self, row: int) -> Path:
        """Return where the objects of a row are, if it has any."""
        return self.path / ROWS / f"{row:06d}.parquet"

    def row_paths(self, frontier: Frontier) -> list[Path]:
        """Return the files with objects, in order."""
        return [self.row_path(row) for row, count in enumerate(frontier.counts) if count]

    def state(self, frontier: Frontier, failures: Sequence[Failure]) -> str:
        """Return a text that changes with what an output is made of."""
        rows = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self.row_paths(frontier)]
        return blake2b(repr((rows, [failure.window for failure in failures])).encode(), digest_size=16).hexdigest()

    def mark_output(self, output: Path, content: Path, state: str) -> None:
        """Remember that the file ``content``, made of ``state``, is about to become ``output``."""
        write_whole(self.path / OUTPUT, json.dumps(_stamp(output, content) | {"state": state}).encode())

    def wrote(self, output: Path) -> str | None:
        """Return the state of which this run made a file, None if it is not from this run."""
        told = _read_json(self.path / OUTPUT)
        state = str(told.pop("state", ""))
        try:
            return state if told == _stamp(output, output) else None
        except OSError:
            return None

    def has_output(self) -> bool:
        """Whether an output was written."""
        return (self.path / OUTPUT).is_file()

    def remove(self) -> None:
        """Take the folder away; what cannot be removed stays."""
        shutil.rmtree(self.path, ignore_errors=True)

    def sound_frontier(self, rows: int, columns: int) -> Frontier:
        """Return where merging has come to, if all that it was merged from is there; else it begins anew, from the parts."""
        frontier = self.read_frontier()
        covered = [0] * rows
        for span in self.spans():
            if span.row < rows:
                covered[span.row] += span.stop - span.start
            if span.has_holes and self._is_damaged(span):
                return Frontier()
        is_sound = frontier.row <= rows and all(count == columns for count in covered[: frontier.row])
        return frontier if is_sound else Frontier()

    def sound_spans(self, rows: int, columns: int, first: int) -> list[Span]:
        """Return the parts, without those from row ``first`` on that are damaged or overlap others: these are taken away."""
        sound: list[Span] = []
        for span in self.spans():
            fits = span.row < rows and span.start < span.stop <= columns
            overlaps = bool(sound) and sound[-1].row == span.row and span.start < sound[-1].stop
            if not fits or (span.row >= first and (overlaps or self._is_damaged(span))):
                self.part_path(span).unlink(missing_ok=True)
            else:
                sound.append(span)
        return sound

    def _is_damaged(self, span: Span) -> bool:
        try:
            self.read_part(span)
        except DamagedError:
            return True
        return False


def _stamp(output: Path, content: Path) -> dict[str, Any]:
    status = content.stat()
    return {"path": str(output.absolute()), "bytes": status.st_size, "modified_ns": status.st_mtime_ns}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
