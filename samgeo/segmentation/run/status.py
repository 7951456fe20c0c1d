"""The public function `run_status`: it reads the progress of a run from its folder, whether or not the run is active."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samgeo.arguments import check_types
from samgeo.errors import RunError
from samgeo.geo.grid import Lattice
from samgeo.geo.levels import Levels, check_scales
from samgeo.segmentation.run.folder import RunFolder, Span
from samgeo.segmentation.run.parts import MOST_ROWS
from samgeo.segmentation.windows.failures import Failure
from samgeo.storage.atomic import check_name
from samgeo.storage.locations import as_place
from samgeo.storage.provenance import printable

__all__ = ["FailedWindow", "Status", "run_status"]


@dataclass(frozen=True, slots=True)
class FailedWindow:
    """A window that could not be segmented.

    Attributes
    ----------
    row, column : int
        Position in the lattice of its scale.
    bounds_px : (int, int, int, int)
        x0, y0, x1 and y1 of the window in raster pixels.
    bounds_crs : (float, float, float, float)
        Bounding box of the window in the raster's CRS, or in pixels if there is none.
    reason : str
        Why the last attempt failed.
    scale : int
        Scale of the window.
    """

    row: int
    column: int
    bounds_px: tuple[int, int, int, int]
    bounds_crs: tuple[float, float, float, float]
    reason: str
    scale: int


@dataclass(frozen=True, slots=True)
class Status:
    """Progress of a run.

    Attributes
    ----------
    path : Path
        The run folder.
    state : {"running", "stopped", "complete", "complete with holes"}
        "running" means that a process holds the lock of the folder.
    raster, model : str
        Names of the raster and the model.
    windows, done : int
        Number of all windows, and of finished windows. Failed windows count as finished.
    rows : int
        Number of merged rows of windows.
    objects : int
        Number of objects in the merged rows.
    failures : tuple of FailedWindow
        The windows that failed.
    windows_per_second : float or None
        Rate since the last start; None if no window has been finished since.
    seconds_left : float or None
        Remaining time at this rate; None if the run is not active.
    """

    path: Path
    state: str
    raster: str
    model: str
    windows: int
    done: int
    rows: int
    objects: int
    failures: tuple[FailedWindow, ...]
    windows_per_second: float | None
    seconds_left: float | None


@check_types
def run_status(path: str | os.PathLike[str]) -> Status:
    """Return the progress of a run.

    Parameters
    ----------
    path : path or address
        The run folder, or the output whose run folder is beside it with ``.run`` appended. If the output is an address, the
        folder is in the current folder.

    Returns
    -------
    Status

    Raises
    ------
    RunError
        If there is no run, or another version of samgeo made it.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.testing import Oracle, encode_ids
    >>> labels = np.zeros((96, 96), dtype=np.int32)
    >>> labels[10:30, 10:30] = 1
    >>> objects = samgeo.segment(encode_ids(labels), model=Oracle(64), run_dir="town.run", progress=False)
    >>> status = samgeo.segmentation.run_status("town.run")
    >>> status.state, status.windows, status.done, status.objects
    ('complete', 4, 4, 1)
    """
    place = as_place(path)
    folder = _find(place if isinstance(place, Path) else Path(place.name))
    manifest = folder.manifest()
    levels = _levels(folder, manifest)
    columns = levels.columns
    spans = [span for span in folder.spans() if span.row < len(columns) and span.start < span.stop <= columns[span.row]]
    done = min(sum(span.stop - span.start for span in spans), len(levels))
    frontier = folder.read_frontier()
    there = {(span.row, column) for span in spans if span.has_holes for column in range(span.start, span.stop)}
    failures = tuple(_located(failure, levels, manifest) for failure in folder.failures() if failure.window in there)
    is_busy = folder.is_busy()
    rate = _rate(folder, spans, done)
    is_complete = frontier.row == levels.rows
    complete = "complete with holes" if failures else "complete"
    return Status(
        path=folder.path,
        state="running" if is_busy else complete if is_complete else "stopped",
        raster=_name(manifest, "about", "raster"),
        model=_name(manifest, "model", "name"),
        windows=len(levels),
        done=done,
        rows=frontier.row,
        objects=sum(frontier.counts),
        failures=failures,
        windows_per_second=rate,
        seconds_left=(len(levels) - done) / rate if rate and is_busy else None,
    )


def _find(path: Path) -> RunFolder:
    check_name(path, RunError, "give the folder of a run, or its output")
    beside = path.with_name(f"{path.name}.run")
    folder = RunFolder(beside if not path.is_dir() and beside.is_dir() else path)
    if not folder.path.is_dir():
        raise RunError(
            f"there is no run at {path}, and no folder {beside.name} beside it. A finished run removes its folder; give the "
            "path of a run that is not finished."
        )
    return folder


def _levels(folder: RunFolder, manifest: dict[str, Any]) -> Levels:
    try:
        height, width = manifest["input"]["shape"]
        _transform(manifest)
        options = manifest["options"]
        lattice = Lattice((int(height), int(width)), int(options["window"]), int(options["overlap"]))
        scales = check_scales(options.get("scales", (1,)))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RunError(f"the manifest of {folder.path} is damaged ({error!r}); remove the folder to start again.") from None
    if lattice.rows > MOST_ROWS:
        raise RunError(f"the manifest of {folder.path} is damaged: it has {lattice.rows} rows of windows; remove the folder.")
    return Levels.of(lattice, scales)


def _name(manifest: dict[str, Any], group: str, name: str) -> str:
    """Return a name from the manifest as printable text."""
    found = manifest.get(group)
    return printable(found.get(name) if isinstance(found, dict) else "?")


def _transform(manifest: dict[str, Any]) -> tuple[float, float, float, float, float, float]:
    a, b, c, d, e, f = (float(value) for value in manifest["input"]["transform"])
    return a, b, c, d, e, f


def _located(failure: Failure, levels: Levels, manifest: dict[str, Any]) -> FailedWindow:
    rect, (scale, _, row) = levels.rect(*failure.window), levels.locate(failure.window[0])
    a, b, c, d, e, f = _transform(manifest)
    corners = [(a * x + b * y + c, d * x + e * y + f) for x in (rect.x0, rect.x1) for y in (rect.y0, rect.y1)]
    xs, ys = zip(*corners, strict=True)
    bounds_px = (rect.x0, rect.y0, rect.x1, rect.y1)
    return FailedWindow(row, failure.window[1], bounds_px, (min(xs), min(ys), max(xs), max(ys)), failure.reason, scale)


def _rate(folder: RunFolder, spans: list[Span], done: int) -> float | None:
    """Return windows per second of the process that is working, or that worked last."""
    session = folder.session()
    try:
        last = max((folder.part_path(span).stat().st_mtime for span in spans), default=0.0)
        seconds, windows = last - float(session["started"]), done - int(session["windows"])
    except (ArithmeticError, LookupError, TypeError, ValueError, OSError):
        return None
    return windows / seconds if seconds > 0 and windows > 0 else None
