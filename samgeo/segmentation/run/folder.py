"""The run folder: it holds the manifest, the parts, the frontier, and the objects of merged rows.

`folder_layout` lists the files. Every file is written completely or not at all. If a file is damaged nevertheless, it is made
again from the undamaged ones.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.errors import OptionError, RunError
from samgeo.segmentation.run.folder_layout import (
    DIGEST,
    LOCK,
    MANIFEST,
    OUTPUT,
    PARTS,
    ROWS,
    SESSION,
    Span,
    check_folder,
    forget_merged,
    merged_path,
    merged_rows,
    prepare,
    remove,
    remove_file,
    spans_in,
)
from samgeo.segmentation.run.manifest import FORMAT, KIND, SPOILED, changed_files, differences
from samgeo.segmentation.run.parts import MOST_ROWS, DamagedError, Frontier, MergedRow, Part
from samgeo.segmentation.windows.failures import Failure
from samgeo.storage.atomic import write_whole
from samgeo.storage.integrity import digest_of_file
from samgeo.storage.locations import Place, RemotePlace
from samgeo.storage.run_folder import is_locked, listed, locked, read_json, write_json

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["RunFolder", "Span"]

# `run_status` holds the lock of a run for a moment, so that a run that starts at this time has to wait.
LOCK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run folder; `opened` prepares it for work.

    Attributes
    ----------
    path : Path
        The folder.
    """

    path: Path

    def check(self) -> None:
        """Raise an error if the folder cannot be made, or holds files of something else.

        Raises
        ------
        OptionError
            The message says what to do.
        """
        check_folder(self.path)

    @contextmanager
    def opened(self, manifest: dict[str, Any]) -> Iterator[None]:
        """Start a run, or continue one that was started with the same manifest, and lock the folder for this process.

        Parameters
        ----------
        manifest : dict
            From `describe`.

        Raises
        ------
        OptionError
            If the folder cannot be made, or is not a run folder.
        RunError
            If another process works in this folder, or the run was started with another manifest. The message lists the
            differences.
        """
        self.check()
        existed = self.path.exists()
        with locked(self.path / LOCK, busy=self._busy, failed=self._not_made, wait_s=LOCK_SECONDS):
            try:
                self._begin(manifest)
            except OptionError:
                if not existed:
                    self.remove()
                raise
            yield

    def _busy(self) -> RunError:
        session = self.session()
        whose = f" (process {session['pid']} on {session['host']})" if session else ""
        return RunError(f"another process works on the run {self.path}{whose}; wait for it, or name another run_dir.")

    def _not_made(self, error: OSError) -> OptionError:
        return OptionError(f"the run {self.path} cannot be made ({error}); name another folder with run_dir.")

    def _begin(self, manifest: dict[str, Any]) -> None:
        try:
            prepare(self.path)
        except OSError as error:
            raise self._not_made(error) from None
        if not (self.path / MANIFEST).exists():
            write_json(self.path / MANIFEST, manifest)
            return
        before = self.manifest()
        if SPOILED in before:
            raise RunError(
                f"{before[SPOILED]} while the run {self.path} worked, so that its windows may be from two versions; remove "
                "that folder to start again, or give another one with run_dir."
            )
        lines = differences(before, manifest)
        if lines:
            changed = changed_files(before, manifest)
            which = f" These files have changed since: {', '.join(changed)}." if changed else ""
            raise RunError(
                f"the run {self.path} was started with other inputs or options: {listed(lines)}.{which} Give the same "
                "input, model and options to continue it, remove the folder to start again, or give another one with run_dir."
            )

    def mark_spoiled(self, why: str) -> None:
        """Mark the run so that it is never continued.

        The finished windows may come from two versions of the raster, even if the first version is restored later.
        """
        with suppress(RunError):
            manifest = self.manifest()
            write_json(self.path / MANIFEST, manifest | {SPOILED: why})

    def is_busy(self) -> bool:
        """Whether a process works in this folder now."""
        return is_locked(self.path / LOCK)

    def manifest(self) -> dict[str, Any]:
        """Read the manifest.

        Raises
        ------
        RunError
            If there is no manifest, or this version of samgeo cannot read it.
        """
        path = self.path / MANIFEST
        try:
            found = read_json(path)
        except (FileNotFoundError, ValueError):
            found = {}
        except OSError as error:
            raise RunError(f"{path} cannot be read ({error}); check its permissions.") from None
        if not found or found.get("kind") != KIND or found.get("format") != FORMAT:
            raise RunError(f"{path} is missing, damaged, or from another version of samgeo; remove {self.path} to start again.")
        return found

    def write_session(self, windows: int) -> None:
        """Write which process works in this folder, and how many windows were finished before it started."""
        told = {"pid": os.getpid(), "host": socket.gethostname(), "started": time.time(), "windows": windows}
        self._write(self.path / SESSION, json.dumps(told).encode())

    def session(self) -> dict[str, Any]:
        """Return the content that `write_session` wrote, or an empty dict."""
        found = _content(self.path / SESSION)
        return found if {"pid", "host", "started", "windows"} <= found.keys() else {}

    def spans(self) -> list[Span]:
        """Return the spans of all parts in the folder, in order."""
        return spans_in(self.path / PARTS)

    def part_path(self, span: Span) -> Path:
        """Return the path of a part."""
        return self.path / PARTS / span.name

    def read_part(self, span: Span) -> Part:
        """Read a part.

        Raises
        ------
        DamagedError
            If the file is damaged.
        """
        try:
            content = self.part_path(span).read_bytes()
        except OSError as error:
            raise DamagedError(str(error)) from None
        return Part.from_bytes(content, span.row, span.start, span.stop)

    def write_part(self, part: Part) -> None:
        """Write a part.

        Raises
        ------
        OptionError
            If it cannot be written, for example because the disk is full.
        """
        path = self.part_path(Span(part.row, part.start, part.stop, bool(part.failures)))
        self._write(path, part.to_bytes())

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        """Write a file of the run. A link in its place is replaced itself, so that the file it points to stays as it is."""
        write_whole(path, content, follow_links=False)

    def failures(self) -> list[Failure]:
        """Return the windows that failed, in order. Failures in damaged parts are unknown and left out."""
        found: list[Failure] = []
        for span in self.spans():
            if span.has_holes:
                with suppress(DamagedError):
                    found.extend(self.read_part(span).failures)
        return sorted(found, key=lambda failure: failure.window)

    def forget(self, spans: list[Span]) -> None:
        """Remove parts, and all merged rows, so that merging starts again from the first row."""
        if spans:
            forget_merged(self.path)
        for span in spans:
            remove_file(self.part_path(span))

    def read_frontier(self) -> Frontier:
        """Return the state of merging after the rows whose files are there and undamaged."""
        return self._frontier(())

    def _frontier(self, columns: Sequence[int]) -> Frontier:
        """Return the state after the rows whose files are there and undamaged, and after none if they are not of these windows.

        With ``columns``, the numbers of windows of the rows, the files are checked against these and against their digests.
        """
        try:
            return Frontier.of(self._sound_rows(columns))
        except DamagedError:
            return Frontier()

    def _sound_rows(self, columns: Sequence[int]) -> Iterator[MergedRow]:
        """Give the merged rows, from the first on, to the one before the first whose files are damaged; see `_frontier`.

        Raises
        ------
        DamagedError
            If there are more rows than any run has.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        for number, path in enumerate(merged_rows(self.path)):
            try:
                row = MergedRow.from_bytes(path.read_bytes())
                objects = self.row_path(number)
                if row.count and (objects.is_symlink() or pq.read_metadata(objects).num_rows != row.count):
                    return
            except (OSError, DamagedError, pa.ArrowException, ValueError):
                return
            # The digests are compared because Parquet files have no checksums of their own.
            if columns and row.count and not _is_whole(objects):
                return
            if number >= MOST_ROWS:
                raise DamagedError("it has more rows than any run")
            yield row

    def write_row(self, row: int, objects: gpd.GeoDataFrame, merged: MergedRow) -> None:
        """Write the objects that were settled with a row, and then what merging the row has changed.

        Raises
        ------
        VectorError, OptionError
            If a file cannot be written, for example because the disk is full.
        RunError
            If the file with the objects cannot be read back.
        """
        from samgeo.geo.vector.joining import write_part

        if len(objects):
            path = self.row_path(row)
            digest = path.with_suffix(DIGEST)
            write_part(objects, path)
            try:
                written = digest_of_file(path)
            except OSError as error:
                raise RunError(f"{path} cannot be read back ({error}); run the same call or command again.") from None
            self._write(digest, written.encode())
        self._write(merged_path(self.path, row), merged.to_bytes())

    def row_path(self, row: int) -> Path:
        """Return the path of the file with the objects of a row. It exists only if the row has objects."""
        return self.path / ROWS / f"{row:06d}.parquet"

    def row_paths(self, counts: Sequence[int]) -> list[Path]:
        """Return the files with objects, in the order of their rows. ``counts`` has the number of objects of each row."""
        return [self.row_path(row) for row, count in enumerate(counts) if count]

    def state(self, counts: Sequence[int], failures: Sequence[Failure], written_as: tuple[str | bool | None, ...] = ()) -> str:
        """Return a digest that changes when the content of the output, or the way it is written, changes."""
        rows = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in self.row_paths(counts)]
        return blake2b(repr((rows, [failure.window for failure in failures], written_as)).encode(), digest_size=16).hexdigest()

    def mark_output(self, output: Place, content: Path, state: str) -> None:
        """Record that the file ``content``, made from ``state``, is about to become ``output``."""
        status = content.stat()
        told = _stamp(output, status.st_size, status.st_mtime_ns) | {"state": state}
        self._write(self.path / OUTPUT, json.dumps(told).encode())

    def wrote(self, output: Place) -> str | None:
        """Return the state from which this run wrote an output; None if the output is not from this run."""
        told = _content(self.path / OUTPUT)
        state = str(told.pop("state", ""))
        if not told:
            return None
        if isinstance(output, RemotePlace):
            return state if told == _stamp(output, output.size(), None) else None
        try:
            status = output.stat()
        except OSError:
            return None
        return state if told == _stamp(output, status.st_size, status.st_mtime_ns) else None

    def remove(self) -> None:
        """Remove the files that the run made. Other files, and files that cannot be removed, are kept."""
        remove(self.path)

    def sound_frontier(self, columns: Sequence[int]) -> Frontier:
        """Return the state of merging after the rows that are undamaged, and remove the files of merged rows after these.

        ``columns`` are the numbers of windows of the rows. If the parts do not hold all windows of the merged rows, or a part
        with holes is damaged, merging starts again from the first row.
        """
        frontier = self._frontier(columns)
        if not self._is_sound(frontier, columns):
            frontier = Frontier()
        forget_merged(self.path, frontier.row)
        return frontier

    def _is_sound(self, frontier: Frontier, columns: Sequence[int]) -> bool:
        """Whether the parts hold all windows of the merged rows, and the pieces are of these windows."""
        covered = [0] * len(columns)
        for span in self.spans():
            if span.row < len(columns):
                covered[span.row] += span.stop - span.start
            if span.has_holes and self._is_damaged(span):
                return False
        if frontier.row > len(columns) or covered[: frontier.row] != list(columns[: frontier.row]):
            return False
        windows = (piece.window for piece in frontier.pieces)
        return all(0 <= row < frontier.row and 0 <= column < columns[row] for row, column in windows)

    def sound_spans(self, columns: Sequence[int], first: int) -> list[Span]:
        """Return the spans of the usable parts. Parts from row ``first`` on that are damaged or overlap others are removed.

        ``columns`` are the numbers of windows of the rows.
        """
        sound: list[Span] = []
        for span in self.spans():
            fits = span.row < len(columns) and span.start < span.stop <= columns[span.row]
            overlaps = bool(sound) and sound[-1].row == span.row and span.start < sound[-1].stop
            if not fits or (span.row >= first and (overlaps or self._is_damaged(span))):
                remove_file(self.part_path(span))
            else:
                sound.append(span)
        return sound

    def _is_damaged(self, span: Span) -> bool:
        try:
            self.read_part(span)
        except DamagedError:
            return True
        return False


def _is_whole(path: Path) -> bool:
    try:
        return path.with_suffix(DIGEST).read_text() == digest_of_file(path)
    except (OSError, ValueError):
        return False


def _stamp(output: Place, size: int | None, modified_ns: int | None) -> dict[str, Any]:
    """Return path, size and time of an output, by which it is recognized.

    The time is left out for an object in storage, because it comes from another clock.
    """
    if isinstance(output, RemotePlace):
        return {"path": str(output), "bytes": size}
    return {"path": str(output.absolute()), "bytes": size, "modified_ns": modified_ns}


def _content(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file; an empty dict if the file is missing or damaged."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return {}
