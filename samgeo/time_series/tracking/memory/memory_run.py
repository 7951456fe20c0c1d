"""The run of `samgeo.track` with memory: it follows the objects window by window, and writes the rows of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import geopandas as gpd

from samgeo.errors import RunError, warn
from samgeo.geo.raster.identity import SourceWatch
from samgeo.geo.vector.joining import join_vectors, read_parts, write_part
from samgeo.progress import progress_bar
from samgeo.segmentation.api import HolesWarning
from samgeo.segmentation.run.part_folder import folder_of
from samgeo.storage.locations import Place
from samgeo.time_series.tracking.memory.following import SEEN, Cleaning, follow_window
from samgeo.time_series.tracking.memory.memory_folder import MemoryFolder
from samgeo.time_series.tracking.memory.memory_rows import FollowedRows, kept
from samgeo.time_series.tracking.memory.memory_series import MemorySeries
from samgeo.time_series.tracking.rows import TrackSummary

__all__ = ["run_memory"]


def run_memory(
    arguments: Mapping[str, Any], defaults: Mapping[str, Any], *, collect: bool, stop: Callable[[], bool] | None = None
) -> tuple[TrackSummary, Any]:
    """Check the arguments of `track`, and do its work with memory in its run folder, or in one that is removed afterwards."""
    with folder_of(MemoryFolder, arguments) as (folder, output):
        opened = MemorySeries.of(arguments, defaults, folder, output)
        with folder.working(opened.manifest()):
            return _run(opened, folder, output, collect=collect, stop=stop)


def _run(
    opened: MemorySeries, folder: MemoryFolder, output: Place | None, *, collect: bool, stop: Callable[[], bool] | None
) -> tuple[TrackSummary, Any]:
    arguments = opened.arguments
    watches = [SourceWatch(one) for one in opened.originals]
    told, failures = _followed(opened, folder, stop)
    for watch in watches:
        if (change := watch.look(now=True)) is not None:
            raise RunError(
                f"{change} since it was opened, so that the dates are from different versions; remove {folder.path}, and "
                "start again when it no longer changes."
            )
    rows = FollowedRows.of(opened.objects, told, opened.dates, opened.first.geobox)
    write_part(rows.table, folder.table)
    stays = arguments["run_dir"] is not None or bool(failures)
    summary = TrackSummary(
        objects=len(opened.objects),
        counts=rows.counts,
        missed=rows.missed,
        unseen=rows.unseen,
        shifts=tuple(one.shift for one in opened.aligned[1:]),
        has_crs=opened.first.geobox.crs is not None,
        failures=failures,
        output=output,
        folder=folder.path if stays else None,
    )
    provenance = opened.provenance(summary, {"absent": rows.absent})
    result = None
    if collect:
        result = read_parts([folder.table])
        result.attrs["samgeo"] = provenance
    if output is not None:
        join_vectors(
            [folder.table],
            output,
            overwrite=arguments["overwrite"] or folder.wrote(output),
            provenance=provenance,
            layer=arguments["layer"],
            about_to_place=lambda whole: folder.mark_output(output, whole),
        )
    if failures:
        again = "Remove the cause, and repeat the call or command with retry_failed."
        warn(f"{len(failures)} windows of dates could not be read; the first one: {failures[0]}. {again}", HolesWarning)
    if not stays:
        folder.remove()
    return summary, result


def _followed(
    opened: MemorySeries, folder: MemoryFolder, stop: Callable[[], bool] | None
) -> tuple[dict[int, tuple[Mapping[str, Any], gpd.GeoDataFrame]], tuple[str, ...]]:
    """Return what became of each object, by id, with its outlines; and what could not be read."""
    arguments, geobox = opened.arguments, opened.first.geobox
    rasters = [one.raster for one in opened.aligned]
    cleaning = Cleaning(arguments["min_part"], arguments["min_hole"])
    told: dict[int, tuple[Mapping[str, Any], gpd.GeoDataFrame]] = {}
    failures: list[str] = []
    total = len(opened.windows) * len(opened.dates)
    with progress_bar(total, "image", "following", progress=arguments["progress"]) as bar:
        for number, window in enumerate(opened.windows):
            known = folder.read_row(number)
            if known is None or (known["failures"] and arguments["retry_failed"]):
                found, wrong = follow_window(rasters, opened.model, window, cleaning, step=bar.update, stop=stop)
                table, histories = kept(found, geobox)
                texts = [_told(opened, window.date, date, reason) for date, reason in sorted(wrong.items())]
                folder.write_row(number, table, {"objects": histories, "failures": texts})
                known = {"objects": histories, "failures": texts}
            else:
                bar.update(len(opened.dates))
            failures += known["failures"]
            # The outlines are read back from their file, so that a run that is continued gives the same bytes.
            is_seen = any(SEEN in history["states"] for history in known["objects"])
            outlines = read_parts([folder.row_path(number)]) if is_seen else kept([], geobox)[0]
            for place, (one, history) in enumerate(zip(window.objects, known["objects"], strict=True)):
                told[one.id] = history, outlines[outlines["number"] == place]
    return told, tuple(failures)


def _told(opened: MemorySeries, prompted: int, date: int, reason: str) -> str:
    """Return a text that says what could not be read, and what follows from it."""
    what = "its objects are shown on this date, so that they are not followed" if date == prompted else "taken as no data"
    return f"{opened.labels[date]}: {reason} ({what})"
