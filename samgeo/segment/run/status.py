"""How far a run is, from what lies in its folder: it need not be going on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samgeo.errors import RunError
from samgeo.geo.grid import Lattice
from samgeo.segment.run.folder import RunFolder, Span
from samgeo.segment.run.parts import Failure

__all__ = ["FailedWindow", "Status", "run_status"]


@dataclass(frozen=True, slots=True)
class FailedWindow:
    """A window that could not be segmented.

    Attributes
    ----------
    row, column : int
        In the lattice.
    bounds_px : (int, int, int, int)
        Its x0, y0, x1 and y1 in raster pixels.
    bounds_crs : (float, float, float, float)
        The box around it in the raster's CRS, or in pixels where there is none.
    reason : str
        What went wrong when it was tried last.
    """

    row: int
    column: int
    bounds_px: tuple[int, int, int, int]
    bounds_crs: tuple[float, float, float, float]
    reason: str


@dataclass(frozen=True, slots=True)
class Status:
    """How far a run is.

    Attributes
    ----------
    path : Path
        Its folder.
    state : {"running", "stopped", "complete", "complete with holes"}
        Running while a process holds its lock.
    raster, model : str
        Their names.
    windows, done : int
        All windows, and those that are kept, failed ones too.
    rows : int
        Rows of windows that are merged.
    objects : int
        In these.
    failures : tuple of FailedWindow
    windows_per_second : float or None
        Since the last start; None where nothing was done since.
    seconds_left : float or None
        At that rate; None where nothing is running.
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


def run_status(path: str | os.PathLike[str]) -> Status:
    """Say how far a run is.

    Parameters
    ----------
    path : path
        Its folder, or an output with ``.run`` beside it.

    Returns
    -------
    Status

    Raises
    ------
    RunError
        If there is no run, or it is of another version of samgeo.
    """
    folder = _find(Path(path))
    manifest = folder.manifest()
    lattice = _lattice(folder, manifest)
    spans = [span for span in folder.spans() if span.row < lattice.rows and span.start < span.stop <= lattice.columns]
    done = min(sum(span.stop - span.start for span in spans), len(lattice))
    frontier = folder.read_frontier()
    failures = tuple(_located(failure, lattice, manifest) for failure in folder.failures())
    is_busy = folder.is_busy()
    rate = _rate(folder, spans, done)
    is_complete = frontier.row == lattice.rows
    complete = "complete with holes" if failures else "complete"
    return Status(
        path=folder.path,
        state="running" if is_busy else complete if is_complete else "stopped",
        raster=str(manifest.get("about", {}).get("raster")),
        model=str(manifest.get("model", {}).get("name")),
        windows=len(lattice),
        done=done,
        rows=frontier.row,
        objects=sum(frontier.counts),
        failures=failures,
        windows_per_second=rate,
        seconds_left=(len(lattice) - done) / rate if rate and is_busy else None,
    )


def _find(path: Path) -> RunFolder:
    beside = path.with_name(f"{path.name}.run")
    folder = RunFolder(beside if not path.is_dir() and beside.is_dir() else path)
    if not folder.path.is_dir():
        raise RunError(
            f"there is no run at {path}, nor beside it as {beside.name}; a run that is complete has taken its folder away."
        )
    return folder


def _lattice(folder: RunFolder, manifest: dict[str, Any]) -> Lattice:
    try:
        height, width = manifest["input"]["shape"]
        _transform(manifest)
        return Lattice((int(height), int(width)), int(manifest["options"]["window"]), int(manifest["options"]["overlap"]))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"the manifest of {folder.path} is damaged ({error!r}); remove the folder to begin anew.") from error


def _transform(manifest: dict[str, Any]) -> tuple[float, float, float, float, float, float]:
    a, b, c, d, e, f = (float(value) for value in manifest["input"]["transform"])
    return a, b, c, d, e, f


def _located(failure: Failure, lattice: Lattice, manifest: dict[str, Any]) -> FailedWindow:
    rect = lattice.rect(*failure.window)
    a, b, c, d, e, f = _transform(manifest)
    corners = [(a * x + b * y + c, d * x + e * y + f) for x in (rect.x0, rect.x1) for y in (rect.y0, rect.y1)]
    xs, ys = zip(*corners, strict=True)
    bounds_px = (rect.x0, rect.y0, rect.x1, rect.y1)
    return FailedWindow(*failure.window, bounds_px, (min(xs), min(ys), max(xs), max(ys)), failure.reason)


def _rate(folder: RunFolder, spans: list[Span], done: int) -> float | None:
    """Return windows a second of the process that is at work, or was last."""
    session = folder.session()
    try:
        last = max((folder.part_path(span).stat().st_mtime for span in spans), default=0.0)
        seconds, windows = last - float(session["started"]), done - int(session["windows"])
    except (KeyError, TypeError, ValueError, OSError):
        return None
    return windows / seconds if seconds > 0 and windows > 0 else None
