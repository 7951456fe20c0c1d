"""The run of `samgeo.track`: it finds and describes the objects of each date, links them, and writes the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import RunError, warn
from samgeo.geo.coordinates.overlay import in_pixels
from samgeo.geo.raster.identity import SourceWatch
from samgeo.geo.raster.sources.block_cache import block_cache_bytes
from samgeo.geo.vector.joining import join_vectors, read_parts, write_part
from samgeo.models.embedding_packing import Storable
from samgeo.segmentation.api import HolesWarning
from samgeo.segmentation.options import ExecutionOptions, ModelOptions, WindowOptions
from samgeo.segmentation.run.part_folder import folder_of
from samgeo.storage.locations import Place
from samgeo.time_series.candidates import Candidates, Layer, find_objects, keep
from samgeo.time_series.features import angles_between
from samgeo.time_series.request import search_options
from samgeo.time_series.tracking.linking import Links, Tracks, candidates, link
from samgeo.time_series.tracking.measuring import Description, describe_objects, have_data
from samgeo.time_series.tracking.rows import Rows, TrackSummary, to_table
from samgeo.time_series.tracking.series import OpenedSeries
from samgeo.time_series.tracking.track_folder import TrackFolder

if TYPE_CHECKING:
    from samgeo.segmentation.windows.store import EmbeddingStore

__all__ = ["run_track"]

# Number of objects of a part of the result, whose outlines are in memory at a time.
PART_ROWS = 16_384


def run_track(
    arguments: Mapping[str, Any], defaults: Mapping[str, Any], *, collect: bool, stop: Callable[[], bool] | None = None
) -> tuple[TrackSummary, Any]:
    """Check the arguments of `track`, and do its work in its run folder, or in one that is removed afterwards."""
    with folder_of(TrackFolder, arguments) as (folder, output):
        opened = OpenedSeries.of(arguments, defaults, folder, output)
        with folder.working(opened.manifest()):
            return _run(opened, folder, output, collect=collect, stop=stop)


def _run(
    opened: OpenedSeries, folder: TrackFolder, output: Place | None, *, collect: bool, stop: Callable[[], bool] | None
) -> tuple[TrackSummary, Any]:
    arguments = opened.arguments
    watches = [SourceWatch(one) for one in opened.originals]
    objects, failures = _objects(opened, folder, stop)
    vectors, not_described = _vectors(opened, folder, objects, stop)
    for watch in watches:
        if (change := watch.look(now=True)) is not None:
            raise RunError(
                f"{change} since it was opened, so that the dates are from different versions; remove {folder.path}, and "
                "start again when it no longer changes."
            )
    folder.forget_rows()
    linked = _Linked(opened, folder, objects, vectors)
    for date in range(len(opened.dates)):
        linked.add(date)
    paths = folder.row_paths(linked.parts)
    if not paths:
        paths = [folder.row_path(0)]
        write_part(opened.no_rows(), paths[0])
    told = (*failures, *not_described)
    stays = arguments["run_dir"] is not None or bool(told)
    summary = TrackSummary(
        objects=linked.objects,
        counts=dict(zip(opened.labels, linked.counts, strict=True)),
        missed=linked.missed,
        unseen=linked.unseen,
        shifts=tuple(one.shift for one in opened.aligned[1:]),
        has_crs=opened.first.geobox.crs is not None,
        failures=told,
        output=output,
        folder=folder.path if stays else None,
    )
    provenance = opened.provenance(summary)
    result = None
    if collect:
        result = read_parts(paths)
        result.attrs["samgeo"] = provenance
    if output is not None:
        join_vectors(
            paths,
            output,
            overwrite=arguments["overwrite"] or folder.wrote(output),
            provenance=provenance,
            layer=arguments["layer"],
            about_to_place=lambda whole: folder.mark_output(output, whole),
        )
    again = "Remove the cause, and repeat the call or command with retry_failed."
    if failures:
        warn(f"{len(failures)} windows could not be searched for objects; the first one: {failures[0]}. {again}", HolesWarning)
    if not_described:
        told_first = f"the objects of {len(not_described)} windows could not be described, so that they are matched by their "
        warn(f"{told_first}outlines alone; the first one: {not_described[0]}. {again}", HolesWarning)
    if not stays:
        folder.remove()
    return summary, result


def _objects(
    opened: OpenedSeries, folder: TrackFolder, stop: Callable[[], bool] | None
) -> tuple[tuple[Candidates, ...], tuple[str, ...]]:
    """Return the objects of each date, the same value for all if one layer was given; and the windows that failed."""
    sources: list[Layer | Path] = list(opened.layers)
    failures: list[str] = []
    if not sources:
        for date, (label, one) in enumerate(zip(opened.labels, opened.aligned, strict=True)):
            path = folder.of_date(date, ".parquet")
            cache = folder.of_date(date, ".zarr") if isinstance(opened.model, Storable) else None
            options = search_options(opened.arguments, opened.first, cache)
            failures += [f"{label}: {text}" for text in find_objects(one.raster, path, options, stop)]
            sources.append(path)
    kept = [keep(source, folder.of_date(date, ".geometry.parquet"), opened.first) for date, source in enumerate(sources)]
    return tuple(kept if len(kept) > 1 else kept * len(opened.dates)), tuple(failures)


def _vectors(
    opened: OpenedSeries, folder: TrackFolder, objects: tuple[Candidates, ...], stop: Callable[[], bool] | None
) -> tuple[list[NDArray[np.float32]], tuple[str, ...]]:
    """Return the vectors of the objects of each date, and the windows in which this failed."""
    arguments, model = opened.arguments, opened.model
    dates = range(len(opened.dates))
    caches = [folder.of_date(date, ".zarr") for date in dates]
    stored: list[Path | None] = list(caches) if all(one.exists() for one in caches) else [None for _ in dates]
    windows = WindowOptions() if arguments["zoom"] is None else WindowOptions().at_zoom(arguments["zoom"], model)
    sent = model if ExecutionOptions.of(arguments).is_here else ModelOptions.of(arguments).reference(model)
    found, failures = [], []
    for date, label in enumerate(opened.labels):
        raster = opened.aligned[date].raster
        known = folder.read_vectors(date)
        if known is None or (known[1] and arguments["retry_failed"]):
            folder.forget_vectors(date)
            store: EmbeddingStore | None = replace(windows, window=None, cache=stored[date]).store(raster, model)
            lattice = windows.lattice(raster, model) if store is None else store.lattice
            how = Description(
                model=sent,
                lattice=lattice,
                store=store,
                cache_bytes=block_cache_bytes(raster, lattice.window),
                scheduler=arguments["scheduler"],
                workers=arguments["workers"],
                progress=arguments["progress"],
            )
            path = folder.of_date(date, ".npy")
            known = describe_objects(raster, objects[date], how, path, title=f"describing {label}", stop=stop)
            folder.write_vectors(date, *known)
        found.append(known[0])
        failures += [f"{label}: {text}" for text in known[1]]
    return found, tuple(failures)


@dataclass(slots=True, eq=False)
class _Linked:
    """The tracks up to a date, and the parts of the result that were written."""

    opened: OpenedSeries
    folder: TrackFolder
    of_dates: tuple[Candidates, ...]
    vectors: list[NDArray[np.float32]]
    tracks: Tracks = field(default_factory=Tracks.none)
    objects: int = 0
    counts: list[int] = field(default_factory=list)
    missed: int = 0
    unseen: int = 0
    parts: int = 0

    def add(self, date: int) -> None:
        """Link the objects of the next date to the tracks, and write their rows."""
        objects = self.of_dates[date]
        rows = np.arange(len(objects), dtype=np.int64)
        if self.of_dates[0] is self.of_dates[-1]:
            # One layer for all dates: nothing has to be matched, but a date shows an object only if it has data there.
            rows = rows[self._have_data(date, date, rows)]
            links = self._same_rows(date, rows)
        else:
            links = self._linked(date, len(objects))
        tracks = self.tracks
        is_new = links.partner < 0
        ids = np.where(is_new, 0, tracks.id[links.partner] if len(tracks) else 0)
        ids[is_new] = self.objects + 1 + np.arange(is_new.sum())
        self.objects += int(is_new.sum())
        missed, unseen = (
            np.where(is_new, 0, values[links.partner] if len(tracks) else 0) for values in (tracks.missed, tracks.unseen)
        )
        result = Rows(
            date=self.opened.dates[date],
            id=ids,
            object_id=objects.ids[rows],
            iou=links.iou,
            angle=links.angle,
            missed=missed,
            unseen=unseen,
            classes=None if objects.classes is None else objects.classes[rows],
        )
        self._write(date, rows, result)
        self._go_on(date, rows, ids, links.partner)

    def _go_on(self, date: int, rows: NDArray[np.int64], ids: NDArray[np.int64], partner: NDArray[np.int64]) -> None:
        """Keep the tracks that may be continued at later dates."""
        continued = np.zeros(len(self.tracks), dtype=bool)
        continued[partner[partner >= 0]] = True
        waiting = self.tracks.part(~continued)
        seen = np.zeros(len(waiting), dtype=bool)
        for last in np.unique(waiting.date).tolist():
            mine = waiting.date == last
            seen[mine] = self._have_data(date, last, waiting.row[mine])
        waiting = waiting.waiting(seen)
        if self.of_dates[0] is not self.of_dates[-1]:
            waiting = waiting.part(waiting.missed <= self.opened.arguments["max_gap"])
        self.tracks = waiting.joined(Tracks.seen(date, rows, ids))

    def _same_rows(self, date: int, rows: NDArray[np.int64]) -> Links:
        """Return the links of the objects of the only layer to themselves."""
        place = np.full(len(self.of_dates[0]), -1, dtype=np.int64)
        place[self.tracks.row] = np.arange(len(self.tracks))
        partner = place[rows]
        angle = np.full(len(rows), np.nan)
        known = np.flatnonzero(partner >= 0)
        angle[known] = self._angles(date, partner[known], rows[known])
        return Links(partner, np.where(partner >= 0, 1.0, np.nan), angle)

    def _linked(self, date: int, count: int) -> Links:
        """Return the links of the objects of a date to the tracks."""
        tracks, new = self.tracks, self.of_dates[date]
        bounds = np.empty((len(tracks), 4))
        for last in np.unique(tracks.date).tolist():
            mine = tracks.date == last
            bounds[mine] = self.of_dates[last].bounds_px[tracks.row[mine]]

        def outlines(one: NDArray[np.int64], other: NDArray[np.int64]) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
            former = np.empty(len(one), dtype=object)
            for last in np.unique(tracks.date[one]).tolist():
                mine = tracks.date[one] == last
                former[mine] = self._outlines_px(last, tracks.row[one[mine]])
            return former, self._outlines_px(date, other)

        one, other, iou = candidates(bounds, new.bounds_px, outlines)
        if new.classes is not None:
            former = np.array([self._class_of(track) for track in one.tolist()], dtype=object)
            same = np.asarray(former == new.classes[other], dtype=bool)
            one, other, iou = one[same], other[same], iou[same]
        angle = self._angles(date, one, other)
        age = date - tracks.date[one]
        options = {name: float(self.opened.arguments[name]) for name in ("min_iou", "max_angle")}
        return link((one, other), iou, angle, age, (len(tracks), count), **options)

    def _class_of(self, track: int) -> object:
        classes = self.of_dates[int(self.tracks.date[track])].classes
        return None if classes is None else classes[self.tracks.row[track]]

    def _angles(self, date: int, track: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the angles between tracks, as they looked when they were last seen, and objects of a date."""
        angle = np.full(len(track), np.nan)
        dates = self.tracks.date[track]
        for last in np.unique(dates).tolist():
            for start in range(0, len(track), PART_ROWS):
                mine = start + np.flatnonzero(dates[start : start + PART_ROWS] == last)
                first = np.asarray(self.vectors[last][self.tracks.row[track[mine]]], dtype=np.float64)
                angle[mine] = angles_between(first, np.asarray(self.vectors[date][row[mine]], dtype=np.float64))
        return angle

    def _have_data(self, date: int, of_date: int, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether a date has data at the places of some objects of the same or of an earlier date."""
        raster = self.opened.aligned[date].raster
        parts = [rows[start : start + PART_ROWS] for start in range(0, len(rows), PART_ROWS)]
        found = [have_data(raster, self._outlines_px(of_date, part)) for part in parts]
        return np.concatenate([np.empty(0, dtype=bool), *found])

    def _outlines_px(self, date: int, rows: NDArray[np.int64]) -> NDArray[np.object_]:
        if not len(rows):
            return np.empty(0, dtype=object)
        objects = self.of_dates[date]
        return in_pixels(objects.geometries(rows), objects.geobox)[0]

    def _write(self, date: int, rows: NDArray[np.int64], result: Rows) -> None:
        """Write the rows of a date in parts, and count them."""
        objects = self.of_dates[date]
        for start in range(0, len(rows), PART_ROWS):
            part = slice(start, start + PART_ROWS)
            table = to_table(result.part(part), objects.geometries(rows[part]), objects.geobox)
            write_part(table, self.folder.row_path(self.parts))
            self.parts += 1
        self.counts.append(len(rows))
        self.missed += int(result.missed.sum())
        self.unseen += int(result.unseen.sum())
