"""The run: it segments a raster row of windows by row of windows, and writes a vector file or a raster of labels.

Finished windows and rows are kept on disk. Memory holds only the open frontier, that is, the objects that later windows may
still change.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import geopandas as gpd
import numpy as np
import pandas as pd

from samgeo.errors import RunError, StoppedError, WindowError
from samgeo.geo.label_drawing import write_label_raster
from samgeo.geo.label_outputs import is_label_raster
from samgeo.geo.label_raster import stored_frames
from samgeo.geo.raster.identity import SourceWatch
from samgeo.geo.raster.sources.block_cache import limited_block_cache
from samgeo.geo.vector.joining import read_parts
from samgeo.models.allocator import return_freed_memory
from samgeo.progress import progress_bar
from samgeo.segmentation.masks.piece import Piece
from samgeo.segmentation.merge.continuation import ContinuationRequest
from samgeo.segmentation.profile import stage, timed
from samgeo.segmentation.run.folder import RunFolder, Span
from samgeo.segmentation.run.folder_layout import remove_kept
from samgeo.segmentation.run.holes import remove_old_holes, write_holes
from samgeo.segmentation.run.job import Job, objects_by_row
from samgeo.segmentation.run.manifest import describe
from samgeo.segmentation.run.parts import DamagedError, Frontier, Part
from samgeo.segmentation.run.score_cut import ScoreCut, kept_objects, kept_parts, stored_scores
from samgeo.segmentation.run.window_stream import WindowStream
from samgeo.segmentation.windows.failures import Failure, tell_failure
from samgeo.segmentation.windows.worker import found_in
from samgeo.storage.locations import Place, RemotePlace

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["Summary", "run", "segment_in_memory"]

_log = logging.getLogger(__name__)

# A part is written after so many windows or seconds. A killed process loses only windows that are not in a part yet: some
# seconds of work of a fast model, or one window of a slow one.
PART_WINDOWS = 32
PART_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Summary:
    """Result of a run.

    Attributes
    ----------
    objects : int
        Number of objects found.
    windows : int
        Number of windows of the raster.
    continued : int
        Windows that were finished before this call.
    failures : tuple of str
        Windows that could not be segmented: which, where, and why.
    has_crs : bool
        Whether the raster has a CRS. Without one, areas are in pixels.
    output, holes : Path, RemotePlace or None
        Where the objects, and the polygons of failed windows, were written.
    folder : Path or None
        The run folder, if it was kept.
    """

    objects: int
    windows: int
    continued: int
    failures: tuple[str, ...]
    has_crs: bool
    output: Place | None
    holes: Place | None
    folder: Path | None


def segment_in_memory(job: Job) -> gpd.GeoDataFrame:
    """Segment a raster without a run folder, and return the objects as a table.

    Raises
    ------
    RunError
        If the raster has changed during the work.
    WindowError
        If a window cannot be segmented, because the table would not show the hole.
    """
    watch = SourceWatch(job.raster)

    def rows(windows: WindowStream) -> Generator[dict[int, list[Piece]]]:
        for columns in job.levels.columns:
            yield {column: _found(windows, job) for column in range(columns)}
            _check_same(job, watch)
        _check_same(job, watch, now=True)

    with (
        _bar(job, 0) as bar,
        limited_block_cache(job.plan.cache_bytes),
        closing(WindowStream(job, job.levels, done=bar.update)) as windows,
    ):
        by_row = objects_by_row(job, rows(windows), Frontier(), ask=windows.ask)
        found = [objects for objects, _ in by_row if len(objects)]
    result = gpd.GeoDataFrame(pd.concat(found, ignore_index=True)) if found else job.no_objects()
    cut = None if job.choose_cut is None else job.choose_cut(result["score"].to_numpy(dtype=np.float64))
    result = kept_objects(result, cut)
    result.attrs["samgeo"] = job.provenance(cut)
    return result


def _found(windows: WindowStream, job: Job) -> list[Piece]:
    result = windows.next_window()
    if result is None:
        raise StoppedError("the run was asked to stop.")
    return found_in(result, job.raster, job.plan)


def run(
    job: Job,
    folder: RunFolder,
    output: Place | None,
    *,
    keep: bool,
    overwrite: bool,
    layer: str | None = None,
    retry_failed: bool,
    collect: bool,
    stop: Callable[[], bool] | None = None,
) -> tuple[Summary, gpd.GeoDataFrame | None]:
    """Start a run, or continue it, until it is complete.

    Parameters
    ----------
    job : Job
        The opened inputs and options.
    folder : RunFolder
        The run folder.
    output : Path, RemotePlace or None
        The file of features or labels.
    keep : bool
        Whether to keep the folder when the run is complete. It is always kept if windows failed or there is no output.
    overwrite : bool
        Whether an existing output may be replaced. An output that this run wrote may always be replaced.
    layer : str, optional
        Name of the layer in a GeoPackage.
    retry_failed : bool
        Whether to try windows again that failed before.
    collect : bool
        Whether to return the objects.
    stop : callable, optional
        See `samgeo.segmentation.execution.tasks.run_ordered`.

    Returns
    -------
    summary : Summary
        Counts, failures and paths.
    objects : GeoDataFrame or None
        The objects, if ``collect`` is true.

    Raises
    ------
    StoppedError
        If ``stop`` returned true. Finished work is kept.
    WindowError
        If windows failed and no object was found.
    RunError
        If another process works in the folder, the run was started with other inputs or options, or the raster has changed.
    SamgeoError
        If a file cannot be written, for example because the disk is full. The run can be continued.
    """
    watch = SourceWatch(job.raster)
    with folder.opened(describe(job.raster, job.model, job.options)):
        try:
            check = partial(_check_same, job, watch, folder=folder)
            # A file may have changed between opening the raster and describing it in the manifest.
            check(now=True)
            continued, counts = _advance(job, folder, retry_failed, stop, check)
            _log.info("The run %s has %d windows; %d were there before.", folder.path, len(job.levels), continued)
            check(now=True)
            failures = folder.failures()
            _check_found(job, counts, failures)
            cut = None if job.choose_cut is None else job.choose_cut(stored_scores(folder.row_paths(counts)))
            result = _collect(job, folder, counts, failures, cut) if collect else None
            holes = None
            if output is not None:
                how: dict[str, Any] = {"output": output, "layer": layer, "overwrite": overwrite}
                holes = _write(job, folder, counts, failures, check, cut=cut, **how)
            stays = keep or output is None or bool(failures)
            if not stays:
                with stage("keep"):
                    folder.remove()
        except BaseException:
            if not keep and not _has_work(folder):
                folder.remove()
            raise
    told = tuple(tell_failure(failure, job.raster.name, job.levels) for failure in failures)
    summary = Summary(
        objects=sum(counts) if cut is None else cut.kept,
        windows=len(job.levels),
        continued=continued,
        failures=told,
        has_crs=job.raster.geobox.crs is not None,
        output=output,
        holes=holes,
        folder=folder.path if stays else None,
    )
    return summary, result


class _Check(Protocol):
    """Type of `_check_same` bound to a run: it raises an error if the raster has changed."""

    def __call__(self, *, now: bool = False) -> None: ...


def _check_same(job: Job, watch: SourceWatch, *, now: bool = False, folder: RunFolder | None = None) -> None:
    change = watch.look(now=now)
    if change is None:
        return
    if folder is None:
        raise RunError(
            f"{change} since {job.raster.name} was opened, so that finished and remaining windows are from different versions; "
            "segment it again when it no longer changes."
        )
    if change.is_loss:
        raise RunError(
            f"{change}, but the run {folder.path} of {job.raster.name} needs it. Finished windows are kept: restore the file, "
            "and run the same call or command again to continue."
        )
    folder.mark_spoiled(str(change))
    raise RunError(
        f"{change} since the run {folder.path} of {job.raster.name} was started, so that finished and remaining windows are "
        "from different versions; remove that folder, and start again."
    )


def _advance(
    job: Job, folder: RunFolder, retry_failed: bool, stop: Callable[[], bool] | None, check: _Check
) -> tuple[int, list[int]]:
    """Compute the missing windows and merge all rows.

    Returns
    -------
    continued : int
        Number of windows that were finished before.
    counts : list of int
        Number of objects of each row.
    """
    if retry_failed:
        folder.forget([span for span in folder.spans() if span.has_holes])
    frontier = folder.sound_frontier(job.levels.columns)
    counts = list(frontier.counts)
    spans = folder.sound_spans(job.levels.columns, frontier.row)
    continued = sum(span.stop - span.start for span in spans)
    folder.write_session(continued)
    with _bar(job, continued) as bar, limited_block_cache(job.plan.cache_bytes):
        rows = _Rows(job, folder, spans, frontier.row, stop=stop, done=bar.update, check=check)
        with closing(rows):
            for objects, merged in objects_by_row(job, rows, frontier, ask=rows.ask, missing=rows.missing):
                check()
                with stage("keep"):
                    folder.write_row(len(counts), objects, merged)
                counts.append(merged.count)
                return_freed_memory()
    return continued, counts


class _Rows:
    """Iterator over the rows of windows, which gives the pieces of each row; must be closed after use.

    Windows that are in a part are read from it. All others are computed and written to new parts.
    """

    def __init__(
        self,
        job: Job,
        folder: RunFolder,
        spans: Sequence[Span],
        first: int,
        *,
        stop: Callable[[], bool] | None,
        done: Callable[[], object],
        check: _Check,
    ) -> None:
        self._job, self._folder, self._first, self._check = job, folder, first, check
        self._columns = job.levels.columns
        self._there: dict[int, list[Span]] = {}
        for span in spans:
            self._there.setdefault(span.row, []).append(span)
        # Windows that failed, earlier or in this call.
        self.missing = {failure.window for failure in folder.failures()}
        absent = (
            (row, column)
            for row in range(first, job.levels.rows)
            for start, stop_, span in self._stretches(row)
            if span is None
            for column in range(start, stop_)
        )
        self._windows = WindowStream(job, absent, done=done, stop=stop)

    def close(self) -> None:
        """Start no more windows."""
        self._windows.close()

    def __iter__(self) -> Iterator[dict[int, Sequence[Piece]]]:
        for row in range(self._first, self._job.levels.rows):
            pieces: dict[int, Sequence[Piece]] = {}
            for start, stop, span in self._stretches(row):
                pieces.update(self._compute(row, start, stop) if span is None else self._read(span))
            yield pieces

    def ask(self, requests: Sequence[ContinuationRequest]) -> Sequence[Sequence[Piece | None]]:
        """Send continuation requests to windows; see `WindowStream.ask`."""
        try:
            return self._windows.ask(requests)
        except StoppedError:
            raise self._stopped() from None

    def _stopped(self) -> StoppedError:
        return StoppedError(
            f"the run was asked to stop; finished windows are kept in {self._folder.path}. Run the same call or command again "
            "to continue."
        )

    def _stretches(self, row: int) -> Iterator[tuple[int, int, Span | None]]:
        """Divide the columns of a row, from left to right, into ranges that are in a part and ranges that are missing.

        Yields the first column, the column after the last one, and the part's span, or None if the range is missing.
        """
        at = 0
        for span in self._there.get(row, ()):
            if span.start > at:
                yield at, span.start, None
            yield span.start, span.stop, span
            at = span.stop
        columns = self._columns[row]
        if at < columns:
            yield at, columns, None

    def _read(self, span: Span) -> Mapping[int, Sequence[Piece]]:
        try:
            return self._folder.read_part(span).pieces
        except DamagedError as error:
            raise RunError(
                f"{self._folder.part_path(span)} was changed while it was in use ({error}); run the same call or command again."
            ) from None

    def _compute(self, row: int, start: int, stop: int) -> dict[int, Sequence[Piece]]:
        found: dict[int, Sequence[Piece]] = {}
        unsaved = _Unsaved(self._folder, row, start, self._check)
        try:
            for column in range(start, stop):
                result = self._windows.next_window()
                if result is None:
                    raise self._stopped()
                unsaved.add(result)
                if isinstance(result, Failure):
                    self.missing.add(result.window)
                found[column] = [] if isinstance(result, Failure) else result
        finally:
            unsaved.save()
        return found


class _Unsaved:
    """Finished windows of a row that are not in a part yet."""

    def __init__(self, folder: RunFolder, row: int, start: int, check: _Check) -> None:
        self._folder, self._row, self._start, self._check = folder, row, start, check
        self._results: list[list[Piece] | Failure] = []
        self._since = time.monotonic()

    def add(self, result: list[Piece] | Failure) -> None:
        self._results.append(result)
        if len(self._results) >= PART_WINDOWS or time.monotonic() - self._since > PART_SECONDS:
            self.save()

    def save(self) -> None:
        if not self._results:
            return
        # If the raster has changed, these windows must not be kept together with those of the old raster.
        self._check()
        stop = self._start + len(self._results)
        pieces = {
            column: [] if isinstance(result, Failure) else result for column, result in enumerate(self._results, self._start)
        }
        failures = tuple(result for result in self._results if isinstance(result, Failure))
        with stage("keep"):
            self._folder.write_part(Part(self._row, self._start, stop, pieces, failures))
        self._results, self._start, self._since = [], stop, time.monotonic()


def _check_found(job: Job, counts: Sequence[int], failures: Sequence[Failure]) -> None:
    if failures and not sum(counts):
        first = tell_failure(failures[0], job.raster.name, job.levels)
        others = f" (and {len(failures) - 1} other windows failed)" if len(failures) > 1 else ""
        raise WindowError(f"nothing was found, and {first}{others}")


def _has_work(folder: RunFolder) -> bool:
    """Whether the folder holds a window that was segmented successfully."""
    spans = folder.spans()
    return sum(span.stop - span.start for span in spans) > len(folder.failures())


@timed("collect")
def _collect(
    job: Job, folder: RunFolder, counts: Sequence[int], failures: Sequence[Failure], cut: ScoreCut | None
) -> gpd.GeoDataFrame:
    paths = folder.row_paths(counts)
    result = read_parts(paths, partial(kept_objects, cut=cut)) if paths else job.no_objects()
    result.attrs["samgeo"] = _provenance(job, failures, cut)
    return result


@timed("write")
def _write(
    job: Job,
    folder: RunFolder,
    counts: Sequence[int],
    failures: Sequence[Failure],
    check: _Check,
    *,
    cut: ScoreCut | None,
    output: Place,
    layer: str | None,
    overwrite: bool,
) -> Place | None:
    """Write the holes, and the output unless it was written before a kill; return where the holes were written."""
    from samgeo.geo.vector.joining import join_vectors, write_part

    ours = folder.wrote(output)
    holes = write_holes(job, failures, output, layer=layer, overwrite=overwrite) if failures else None
    if not failures:
        remove_old_holes(output, layer)
    state = folder.state(counts, failures, (layer, job.y_up, *(() if cut is None else (repr(cut.score),))))
    if ours == state:
        return holes
    rows = folder.row_paths(counts)
    paths = rows if cut is None else kept_parts(folder.path, rows, cut)
    if not paths:
        paths = [folder.row_path(len(counts))]  # a row that no raster has
        write_part(job.no_objects(), paths[0])

    def about_to_place(whole: Path) -> None:
        check(now=True)
        folder.mark_output(output, whole, state)

    staged = isinstance(output, RemotePlace) or folder.path.stat().st_dev == output.resolve().parent.stat().st_dev
    how: dict[str, Any] = {
        "overwrite": overwrite or ours is not None,
        "provenance": _provenance(job, failures, cut),
        "staging": folder.path if staged else None,
        "about_to_place": about_to_place,
    }
    if is_label_raster(output):
        write_label_raster(stored_frames(paths), job.raster.geobox, output, **how)
    else:
        join_vectors(paths, output, layer=layer, **how)
    remove_kept(folder.path)
    return holes


def _provenance(job: Job, failures: Sequence[Failure], cut: ScoreCut | None) -> dict[str, Any]:
    failed = [_told(failure, job) for failure in failures]
    return job.provenance(cut) | ({"failed_windows": failed} if failures else {})


def _told(failure: Failure, job: Job) -> list[int]:
    """Return row and column of a window in the lattice of its scale, and the scale if it is not 1."""
    scale, _, row = job.levels.locate(failure.window[0])
    return [row, failure.window[1], *([scale] if scale > 1 else [])]


def _bar(job: Job, initial: int) -> tqdm[NoReturn]:
    name = Path(job.raster.name).name
    return progress_bar(len(job.levels), "window", name, progress=job.execution.progress, initial=initial)
