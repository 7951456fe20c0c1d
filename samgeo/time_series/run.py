"""The run of `samgeo.change`: it finds the objects of both dates, compares them, and writes the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.errors import RunError, warn
from samgeo.geo.raster.identity import SourceWatch
from samgeo.geo.raster.sources.block_cache import LEAST_BYTES, block_cache_bytes
from samgeo.geo.vector.joining import join_vectors, read_parts, write_part
from samgeo.models.embedding_packing import Storable
from samgeo.segmentation.api import HolesWarning
from samgeo.segmentation.options import (
    ExecutionOptions,
    ModelOptions,
    WindowOptions,
)
from samgeo.segmentation.run.part_folder import folder_of
from samgeo.storage.locations import Place
from samgeo.time_series.candidates import Candidates, Layer, find_objects, keep
from samgeo.time_series.comparison import ChangeSummary, Comparison, compare
from samgeo.time_series.folder import ChangeFolder
from samgeo.time_series.request import DATES, Opened, search_options
from samgeo.time_series.table import RowCounts, no_objects, total

if TYPE_CHECKING:
    import geopandas as gpd

    from samgeo.geo.grid import Lattice
    from samgeo.segmentation.windows.store import EmbeddingStore

__all__ = ["run_change"]


def run_change(
    arguments: Mapping[str, Any], defaults: Mapping[str, Any], *, collect: bool, stop: Callable[[], bool] | None = None
) -> tuple[ChangeSummary, gpd.GeoDataFrame | None]:
    """Check the arguments of `change`, and do its work in its run folder, or in one that is removed afterwards."""
    with folder_of(ChangeFolder, arguments) as (folder, output):
        opened = Opened.of(arguments, defaults, folder, output)
        with folder.working(opened.manifest()):
            return _run(opened, folder, output, collect=collect, stop=stop)


def _run(
    opened: Opened,
    folder: ChangeFolder,
    output: Place | None,
    *,
    collect: bool,
    stop: Callable[[], bool] | None,
) -> tuple[ChangeSummary, gpd.GeoDataFrame | None]:
    arguments = opened.arguments
    if arguments["retry_failed"]:
        folder.forget_rows()
    objects, failures, stores, lattice = _candidates(opened, folder, stop)
    job = Comparison(
        before=opened.before,
        after=opened.aligned.raster,
        model=opened.model if ExecutionOptions.of(arguments).is_here else ModelOptions.of(arguments).reference(opened.model),
        lattice=lattice,
        stores=stores,
        cache_bytes=_cache_bytes(opened, lattice.window),
        objects=objects,
        min_angle=arguments["min_angle"],
        trusted=len(opened.layers) == 2,
        scheduler=arguments["scheduler"],
        workers=arguments["workers"],
        progress=arguments["progress"],
    )
    counts = _compare(opened, folder, job, stop)
    provenance = opened.provenance(counts, failures)
    paths = folder.row_paths(lattice.rows)
    if not paths:
        paths = [folder.row_path(lattice.rows)]  # a row that no raster has
        write_part(no_objects(opened.before.geobox, classes=objects[0].classes is not None), paths[0])
    result: gpd.GeoDataFrame | None = None
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
            about_to_place=partial(folder.mark_output, output),
        )
    told = tuple(f"{date}: {text}" for date, some in zip(DATES, failures, strict=True) for text in some)
    _tell_holes(told, counts)
    stays = arguments["run_dir"] is not None or bool(told) or counts.failed > 0
    if not stays:
        folder.remove()
    summary = ChangeSummary(
        counts=counts.counts,
        changed_area=counts.changed_area,
        above_angle=counts.above_share,
        shift=opened.aligned.shift,
        is_corrected=opened.aligned.is_corrected,
        has_crs=opened.before.geobox.crs is not None,
        failures=told,
        output=output,
        folder=folder.path if stays else None,
    )
    return summary, result


def _cache_bytes(opened: Opened, window: int) -> int:
    """Return the size of a cache for the rows of windows of both rasters."""
    sizes = [block_cache_bytes(one, window) for one in (opened.before, opened.original)]
    return LEAST_BYTES if max(sizes) == LEAST_BYTES else sum(sizes)


def _compare(opened: Opened, folder: ChangeFolder, job: Comparison, stop: Callable[[], bool] | None) -> RowCounts:
    """Compare the rows that are not finished yet, and return the counts of all rows."""
    rows = range(job.lattice.rows)
    done = {row for row in rows if folder.read_row(row) is not None}
    watches = [SourceWatch(one) for one in (opened.before, opened.original)]

    def check_same(*, now: bool = False) -> None:
        for watch in watches:
            if (change := watch.look(now=now)) is not None:
                raise RunError(
                    f"{change} since it was opened, so that finished and remaining rows are from different versions; remove "
                    f"{folder.path}, and start again when it no longer changes."
                )

    def write(row: int, results: gpd.GeoDataFrame, counts: RowCounts) -> None:
        check_same()
        folder.write_row(row, results, counts.as_json())
        done.add(row)

    compare(job, done.__contains__, write, stop)
    check_same(now=True)
    return total(counts for row in rows if (counts := folder.read_row(row)) is not None)


def _tell_holes(windows: Sequence[str], counts: RowCounts) -> None:
    """Warn of windows that could not be searched, and of objects that could not be compared."""
    again = "Remove the cause, and repeat the call or command with retry_failed."
    if windows:
        warn(f"{len(windows)} windows could not be searched for objects; the first one: {windows[0]}. {again}", HolesWarning)
    if counts.counts["unknown"]:
        failed = f" The windows of {counts.failed} of them failed. {again}" if counts.failed else ""
        told = f"{counts.counts['unknown']} objects cannot be compared, and their kind is unknown; the column reason says why."
        warn(told + failed, HolesWarning)


def _candidates(
    opened: Opened, folder: ChangeFolder, stop: Callable[[], bool] | None
) -> tuple[
    tuple[Candidates, Candidates],
    tuple[tuple[str, ...], tuple[str, ...]],
    tuple[EmbeddingStore | None, EmbeddingStore | None],
    Lattice,
]:
    """Return the objects of both dates, the windows that failed, the stores of embeddings, and the windows for pooling."""
    rasters, model, arguments = opened.rasters, opened.model, opened.arguments
    failures: list[tuple[str, ...]] = []
    sources: list[Layer | Path] = list(opened.layers)
    caches = [folder.file(date, ".zarr") if isinstance(model, Storable) else None for date in DATES]
    if not sources:
        for date, raster, cache in zip(DATES, rasters, caches, strict=True):
            path = folder.file(date, ".parquet")
            options = search_options(arguments, opened.before, cache)
            failures.append(find_objects(raster, path, options, stop))
            sources.append(path)
    stored = [one if one is not None and one.exists() else None for one in caches]
    if None in stored:
        stored = [None, None]
    windows = WindowOptions() if arguments["zoom"] is None else WindowOptions().at_zoom(arguments["zoom"], model)
    stores = [
        replace(windows, window=None, cache=one).store(raster, model) for one, raster in zip(stored, rasters, strict=True)
    ]
    lattice = windows.lattice(opened.before, model) if stores[0] is None else stores[0].lattice
    kept = [
        keep(source, folder.file(date, ".geometry.parquet"), opened.before)
        for date, source in zip(DATES, sources, strict=False)
    ]
    first, second = (kept[0], kept[0]) if len(kept) == 1 else (kept[0], kept[1])
    return (first, second), (failures[0], failures[1]) if failures else ((), ()), (stores[0], stores[1]), lattice
