"""`change`: what appeared, vanished or changed between two rasters of one place."""

from __future__ import annotations

import inspect
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.arguments import check_types
from samgeo.errors import OptionError, warn
from samgeo.finding.api import PromptSource
from samgeo.finding.detectors.detection import Detector
from samgeo.geo.raster.identity import identify
from samgeo.geo.raster.sources.block_cache import block_cache_bytes
from samgeo.geo.vector.axes import describe_axes
from samgeo.geo.vector.joining import join_vectors, read_parts, write_part
from samgeo.geo.vector.outputs import check_asked, check_output
from samgeo.geo.vector.reading import check_fit
from samgeo.models.embedding_packing import Storable
from samgeo.objects.pooling import check_describing
from samgeo.segmentation.api import HolesWarning
from samgeo.segmentation.masks.cleaning import MIN_HOLE, MIN_PART
from samgeo.segmentation.options import (
    AutomaticOptions,
    CleaningOptions,
    ExecutionOptions,
    ModelOptions,
    ObjectOptions,
    ReadingOptions,
    WindowOptions,
)
from samgeo.segmentation.profile import refuse_other_processes
from samgeo.storage.locations import Place, as_place
from samgeo.storage.provenance import made_with, versions
from samgeo.storage.run_folder import plain_json
from samgeo.time_series.alignment import MAX_SHIFT_PX, Aligned, align, check_max_shift
from samgeo.time_series.candidates import Candidates, Layer, find_objects, given_layers, keep, read_layer
from samgeo.time_series.comparison import ChangeSummary, Comparison, compare
from samgeo.time_series.features import compared_channels
from samgeo.time_series.folder import ABOUT, FORMAT, KIND, ChangeFolder
from samgeo.time_series.kinds import MIN_ANGLE
from samgeo.time_series.table import RowCounts, no_objects, total
from samgeo.types import AoiLike, BandsLike, FeaturesLike, RasterLike, StretchLike

if TYPE_CHECKING:
    import geopandas as gpd
    import torch
    from distributed import Client

    from samgeo.geo.grid import Lattice
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.store import EmbeddingStore

__all__ = ["change", "change_to_file"]

DATES = ("before", "after")
# Options of `samgeo.find` and of `samgeo.segment` that are passed on to them.
_COMMON = (
    *("model", "device", "dtype", "min_part", "min_hole", "min_area", "max_area", "aoi", "aoi_mode", "scheduler", "workers"),
    *("retry_failed", "progress"),
)
_OF_FINDING = ("what", "examples", "finder", "resolution", "zoom", "min_score", "flips")
_OF_SEGMENTING = ("points_per_side", "pred_iou", "stability", "scales")


@check_types
def change(
    before: RasterLike,
    after: RasterLike,
    output: str | os.PathLike[str] | None = None,
    *,
    objects: FeaturesLike | Sequence[FeaturesLike] | None = None,
    what: str | Sequence[str] | None = None,
    finder: str | Path | PromptSource | Detector | None = None,
    examples: FeaturesLike | None = None,
    resolution: str | float = "auto",
    zoom: float | None = None,
    min_score: float | str | None = None,
    flips: bool = False,
    min_angle: float = MIN_ANGLE,
    max_shift_px: float = MAX_SHIFT_PX,
    model: str | Path | Segmenter = "tiny",
    device: str | torch.device = "auto",
    dtype: str = "auto",
    bands: BandsLike = None,
    stretch: StretchLike = None,
    nodata: float | str | None = None,
    alpha: int | str | None = None,
    points_per_side: int | None = None,
    pred_iou: float | None = None,
    stability: float | None = None,
    scales: Sequence[int] = (1,),
    min_part: float = MIN_PART,
    min_hole: float = MIN_HOLE,
    min_area: float = 0.0,
    max_area: float = math.inf,
    aoi: AoiLike = None,
    aoi_mode: str = "whole",
    scheduler: str | Client | None = None,
    workers: int | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
    layer: str | None = None,
    y_up: bool = False,
    progress: bool = True,
) -> gpd.GeoDataFrame:
    """Find what appeared, vanished or changed between two rasters of one place.

    The second raster is read on the grid of the first. The shift between both is measured and corrected. Objects of both dates
    are matched by their outlines, and the model's features inside each outline are compared between the dates.

    With an output or a run folder, finished work is kept on disk. After a kill, an error or a stop, the same call continues the
    run, and the result is the same to the byte.

    Parameters
    ----------
    before, after : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The rasters of the first and of the second date; see `samgeo.Raster.open`. They may have different CRSs, resolutions and
        extents. Without CRSs they must have equal shapes.
    output : path or address, optional
        Where to write the result: ``.parquet``, ``.gpkg``, ``.fgb`` or ``.geojson``.
    objects : path, GeoDataFrame, GeoSeries, sequence of geometries, or two of these, optional
        Outlines of the objects. One layer is compared as it is at both dates: its objects are "changed" or "same". Two, in a
        list or a tuple, are the complete objects of the first and of the second date: an object without a partner in the other
        layer has vanished or appeared. Without objects, and without any of the following options, everything in both rasters is
        segmented, as `samgeo.segment` does.
    what, finder, examples, resolution, zoom, min_score, flips
        Objects of which classes to find in both rasters, in place of everything; see `samgeo.find`. Examples are outlines on
        the first raster. ``zoom`` may also be given without a class: the objects are then segmented and compared with it.
    min_angle : float, default 45
        Angle between the features of both dates from which the image of an object has changed, in degrees from 0 to 180.
    max_shift_px : float, default 5
        The largest shift between the rasters that is corrected, in pixels of the first. A larger shift is an error.
    model, device, dtype, bands, stretch, nodata, alpha
        See `samgeo.segment`. The model must be able to describe objects, as those of `samgeo.objects.describe`. How pixels are
        read is the same for both rasters.
    points_per_side, pred_iou, stability, scales, min_part, min_hole, min_area, max_area, aoi, aoi_mode
        See `samgeo.segment`; the first four if everything is segmented, the next two if objects are not given.
    scheduler, workers, run_dir, retry_failed, overwrite, layer, y_up, progress
        See `samgeo.segment`.

    Returns
    -------
    GeoDataFrame
        One row for each object, in the CRS of the first raster. Partners are one row, with the outline of the second date.

        - ``kind``: "appeared", "vanished", "changed", "same", or "unknown" if the object cannot be compared.
        - ``score``: how clearly the image changed, from 0 to 1; 0.5 at ``min_angle``, and 1 from twice as much.
        - ``angle``: the angle between the features of both dates, in degrees.
        - ``iou``: IoU of the outlines of partners.
        - ``before_id``, ``after_id``: number of the object in the layer of each date, from 0; missing if it has none there.
        - ``before_area_m2``, ``after_area_m2``: areas of the outlines; ``before_area_px``, ``after_area_px`` without a CRS.
        - ``reason``: why an object is "unknown"; missing otherwise.
        - ``class``: class of found objects.

        ``attrs["samgeo"]`` has the provenance. Its entry ``change`` has the measured shift, the number of objects of each kind,
        the area that changed, and ``above_angle``, the share of all compared objects whose angle is at least ``min_angle``.

    Warns
    -----
    RasterWarning
        If the shift cannot be measured, or differs between parts of the raster; and as `samgeo.Raster.open`.
    HolesWarning
        If windows of a raster could not be searched, or objects could not be compared because a window failed.

    Raises
    ------
    SamgeoError
        Before the work starts, if an input or an option is invalid, the rasters do not overlap, or the shift is too large.
        Later, as `samgeo.segment`.

    Examples
    --------
    >>> import geopandas as gpd
    >>> import numpy as np
    >>> import samgeo
    >>> from samgeo.synthetic import two_dates
    >>> town = two_dates((128, 128), seed=1, vanished=0.2, appeared=0.2)
    >>> footprints = [scene.footprints for scene in (town.before, town.after)]
    >>> images = [scene.save(f"{name}.tif") for name, scene in (("2019", town.before), ("2024", town.after))]
    >>> changes = samgeo.change(*images, "changes.gpkg", objects=footprints, progress=False)
    >>> changes.attrs["samgeo"]["change"]["shift_px"]
    [0.0, 0.0]
    >>> bool((changes.kind == "vanished").sum() == (town.truth.kind == "vanished").sum())
    True
    """
    _, result = _change(locals(), collect=True)
    return result


@check_types
def change_to_file(
    before: RasterLike,
    after: RasterLike,
    output: str | os.PathLike[str],
    *,
    stop: Callable[[], bool] | None = None,
    **options: object,
) -> ChangeSummary:
    """Find what changed between two rasters of one place, into a file, without collecting the objects in memory.

    Parameters
    ----------
    before, after, output, **options
        As in `samgeo.change`.
    stop : callable, optional
        See `samgeo.segmentation.segment_to_file`.

    Returns
    -------
    ChangeSummary
        The number of objects of each kind, the area that changed, and the shift.

    Raises
    ------
    StoppedError
        If ``stop`` returned true.
    SamgeoError
        As in `samgeo.change`.

    Examples
    --------
    >>> from samgeo.synthetic import two_dates
    >>> from samgeo.time_series import change_to_file
    >>> town = two_dates((128, 128), seed=1, vanished=0, appeared=0)
    >>> images = [scene.save(f"{name}.tif") for name, scene in (("2019", town.before), ("2024", town.after))]
    >>> done = change_to_file(*images, "changes.gpkg", objects=town.before.footprints, progress=False)
    >>> done.counts["changed"], done.changed_area
    (0, 0.0)
    """
    bound = inspect.signature(change).bind(before, after, output, **options)
    bound.apply_defaults()
    return _change(bound.arguments, collect=False, stop=stop)[0]


def _change(
    arguments: Mapping[str, Any], *, collect: bool, stop: Callable[[], bool] | None = None
) -> tuple[ChangeSummary, Any]:
    """Check the arguments of `change`, and do its work in its run folder, or in one that is removed afterwards."""
    output = None if arguments["output"] is None else as_place(arguments["output"])
    if arguments["run_dir"] is not None:
        folder = ChangeFolder(Path(arguments["run_dir"]))
    elif output is not None:
        beside = output if isinstance(output, Path) else Path(output.name)
        folder = ChangeFolder(beside.parent / f"{beside.name}.run")
    else:
        if arguments["retry_failed"]:
            raise OptionError("retry_failed needs a run; give its output or its run_dir.")
        with tempfile.TemporaryDirectory(prefix="samgeo-") as place:
            return _change_in(arguments, ChangeFolder(Path(place) / "run"), None, collect=collect, stop=stop)
    return _change_in(arguments, folder, output, collect=collect, stop=stop)


def _change_in(
    arguments: Mapping[str, Any],
    folder: ChangeFolder,
    output: Place | None,
    *,
    collect: bool,
    stop: Callable[[], bool] | None,
) -> tuple[ChangeSummary, Any]:
    opened = _Opened.of(arguments, folder, output)
    existed = folder.path.exists()
    with folder.opened(opened.manifest()):
        try:
            return _run(opened, folder, output, collect=collect, stop=stop)
        except BaseException:
            if not existed and not _has_work(folder):
                folder.remove()
            raise


def _has_work(folder: ChangeFolder) -> bool:
    """Whether the folder holds objects of a date, or results of a row."""
    runs = [folder.file(date, ending) for date in DATES for ending in (".run", ".parquet")]
    return any(one.exists() for one in runs) or folder.read_row(0) is not None


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """The inputs of a call, opened and checked.

    Attributes
    ----------
    arguments : mapping
        The arguments of `change`.
    before : Raster
        The first raster.
    original : Raster
        The second raster on its own grid.
    aligned : Aligned
        The second raster on the grid of the first.
    model : Segmenter
        The model.
    layers : tuple of Layer
        The given objects: none, one for both dates, or two.
    """

    arguments: Mapping[str, Any]
    before: Raster
    original: Raster
    aligned: Aligned
    model: Segmenter
    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, arguments: Mapping[str, Any], folder: ChangeFolder, output: Place | None) -> _Opened:
        """Check all arguments, cheap checks first, and open the inputs."""
        _check(arguments)
        given = arguments["objects"]
        layers = () if given is None else given_layers(given)
        inputs = (arguments["before"], arguments["after"], arguments["aoi"], arguments["model"], *layers)
        overwrite = arguments["overwrite"] or (output is not None and folder.wrote(output))
        check_asked(output, overwrite=overwrite, layer=arguments["layer"], inputs=inputs)
        folder.check()
        reading = ReadingOptions.of(arguments)
        before, original = reading.open(arguments["before"]), reading.open(arguments["after"])
        if output is not None:
            crs = before.geobox.crs
            options: dict[str, Any] = {"crs": crs, "layer": arguments["layer"], "inputs": (*inputs, before, original)}
            check_output(output, overwrite, **options)
        model = ModelOptions.of(arguments).load()
        check_describing(model)
        limits = {name: arguments[name] for name in ("min_area", "max_area", "aoi")}
        names = ("the layer of objects",) if len(layers) == 1 else ("the objects before", "the objects after")
        read = tuple(read_layer(one, before, name, **limits) for one, name in zip(layers, names, strict=False))
        aligned = align(before, original, max_shift_px=arguments["max_shift_px"])
        opened = cls(arguments, before, original, aligned, model, read)
        if output is not None:
            empty = no_objects(before.geobox, classes=opened.finds_classes)
            check_fit(empty, output, layer=arguments["layer"], provenance=opened.provenance(RowCounts(), ((), ())))
        return opened

    @property
    def rasters(self) -> tuple[Raster, Raster]:
        """Both rasters on the grid of the first."""
        return self.before, self.aligned.raster

    @property
    def finds_classes(self) -> bool:
        """Whether objects of classes are found, in place of everything."""
        return any(self.arguments[name] is not None for name in ("what", "finder", "examples"))

    def options(self) -> dict[str, Any]:
        """Return what decides the result, besides the inputs, as values for JSON."""
        names = [name for name in (*_COMMON, *_OF_FINDING, *_OF_SEGMENTING) if name not in _NOT_DECIDING]
        told = {name: _plain(self.arguments[name]) for name in names}
        channels = compared_channels(self.model)
        return told | {
            "objects": [one.digest for one in self.layers],
            "min_angle": self.arguments["min_angle"],
            "max_shift_px": self.arguments["max_shift_px"],
            "channels": [channels.start, channels.stop],
        }

    def manifest(self) -> dict[str, Any]:
        """Return the manifest of the run."""
        told = {date: one.provenance() for date, one in zip(DATES, (self.before, self.original), strict=True)}
        about = {date: {"path": one.pop("path"), "files": one.pop("files", None)} for date, one in told.items()}
        inputs = {
            date: one | identify(raster) for (date, one), raster in zip(told.items(), (self.before, self.original), strict=True)
        }
        model = {"name": self.model.name, "digest": self.model.digest, "device": str(getattr(self.model, "device", None)),
                 "dtype": str(getattr(self.model, "dtype", None))}  # fmt: skip
        options = {name: value for name, value in self.options().items()} | {"aoi": _described_aoi(self)}
        return plain_json(
            {"kind": KIND, "format": FORMAT, **inputs, "alignment": self.aligned.about(), "model": model, "options": options,
             "versions": versions(), ABOUT: about}
        )  # fmt: skip

    def provenance(self, counts: RowCounts, failures: tuple[Sequence[str], Sequence[str]]) -> dict[str, Any]:
        """Return what made the result, and its summary, as values for JSON."""
        above = None if math.isnan(counts.above_share) else counts.above_share
        unit = "px" if self.before.geobox.crs is None else "m2"
        told: dict[str, Any] = {
            **self.aligned.about(),
            "counts": counts.counts,
            f"changed_area_{unit}": counts.changed_area,
            "compared": counts.compared,
            "above_angle": above,
        }
        failed = {date: list(some) for date, some in zip(DATES, failures, strict=True) if some}
        return (
            made_with(self.model, self.before.provenance())
            | {"after": self.original.provenance(), "options": plain_json(self.options()), "change": told}
            | ({"failed_windows": failed} if failed else {})
            | describe_axes(self.before.geobox, y_up=self.arguments["y_up"])
        )


_NOT_DECIDING = {"model", "device", "dtype", "scheduler", "workers", "retry_failed", "progress", "aoi", "examples"}


def _described_aoi(opened: _Opened) -> Any:
    from samgeo.geo.coordinates.area_summary import describe_area
    from samgeo.geo.coordinates.prompt_geometry import to_pixels

    aoi = opened.arguments["aoi"]
    return None if aoi is None else describe_area(to_pixels(aoi, opened.before.geobox, name=opened.before.name))


def _plain(value: Any) -> Any:
    """Return an option as a value for JSON."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return {"name": str(getattr(value, "name", value)), "digest": str(getattr(value, "digest", ""))}


def _check(arguments: Mapping[str, Any]) -> None:
    """Check the values of all options that need no input."""
    for group in (AutomaticOptions, CleaningOptions, ObjectOptions, ExecutionOptions):
        group.of(arguments).check()
    if arguments["zoom"] is not None:
        WindowOptions().check_zoom(arguments["zoom"])
    check_max_shift(arguments["max_shift_px"])
    if not 0 < arguments["min_angle"] <= 180:
        raise OptionError(f"min_angle is {arguments['min_angle']}; give a number of degrees above 0, up to 180.")
    refuse_other_processes(arguments["scheduler"])
    defaults = {name: one.default for name, one in inspect.signature(change).parameters.items()}

    def given(names: Sequence[str]) -> list[str]:
        return [name for name in names if arguments[name] is not defaults[name] and arguments[name] != defaults[name]]

    finding = [name for name in given(_OF_FINDING) if name != "zoom"]
    is_finding = any(arguments[name] is not None for name in ("what", "finder", "examples"))
    segmenting = given(_OF_SEGMENTING)
    if arguments["objects"] is not None:
        useless = [*finding, *segmenting, *given(("min_part", "min_hole", "aoi_mode"))]
        if useless:
            raise OptionError(
                f"objects are given, so that nothing is searched; leave out {', '.join(useless)}, or the objects."
            )
    elif is_finding and segmenting:
        raise OptionError(f"{', '.join(segmenting)} belong to the segmentation of everything; leave them out, or {finding[0]}.")
    elif finding and not is_finding:
        raise OptionError(f'{", ".join(finding)} belong to objects of a class; give what, for example "building", or finder.')


def _run(
    opened: _Opened,
    folder: ChangeFolder,
    output: Place | None,
    *,
    collect: bool,
    stop: Callable[[], bool] | None,
) -> tuple[ChangeSummary, Any]:
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
        cache_bytes=block_cache_bytes(opened.before, lattice.window),
        objects=objects,
        min_angle=arguments["min_angle"],
        trusted=len(opened.layers) == 2,
        scheduler=arguments["scheduler"],
        workers=arguments["workers"],
        progress=arguments["progress"],
    )
    done = {row for row in range(lattice.rows) if folder.read_row(row) is not None}

    def write(row: int, results: gpd.GeoDataFrame, counts: RowCounts) -> None:
        folder.write_row(row, results, counts.as_json())
        done.add(row)

    compare(job, done.__contains__, write, stop)
    counts = total(row for number in range(lattice.rows) if (row := folder.read_row(number)) is not None)
    paths = folder.row_paths(lattice.rows)
    if not paths:
        paths = [folder.row_path(lattice.rows)]  # a row that no raster has
        write_part(no_objects(opened.before.geobox, classes=objects[0].classes is not None), paths[0])
    provenance = opened.provenance(counts, failures)
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
    told = tuple(f"{date}: {text}" for date, some in zip(DATES, failures, strict=True) for text in some)
    if told:
        warn(
            f"{len(told)} windows could not be searched for objects; the first one: {told[0]}. Remove the cause, and repeat the "
            "call or command with retry_failed.",
            HolesWarning,
        )
    if counts.counts["unknown"]:
        warn(
            f"{counts.counts['unknown']} objects cannot be compared, and their kind is unknown; the column reason says why.",
            HolesWarning,
        )
    stays = arguments["run_dir"] is not None or bool(told)
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


def _candidates(
    opened: _Opened, folder: ChangeFolder, stop: Callable[[], bool] | None
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
            options = _search(opened, cache)
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


def _search(opened: _Opened, cache: Path | None) -> dict[str, Any]:
    """Return the arguments with which the objects of one date are searched."""
    arguments = opened.arguments
    options = {name: arguments[name] for name in _COMMON}
    # Both rasters are opened already, with the given bands and values.
    if not opened.finds_classes:
        zoom = {} if arguments["zoom"] is None else {"zoom": arguments["zoom"]}
        return options | {name: arguments[name] for name in _OF_SEGMENTING} | zoom | {"cache": cache}
    options |= {name: arguments[name] for name in _OF_FINDING} | {"example_image": None, "layer": None, "y_up": False}
    options |= ReadingOptions().arguments()
    if arguments["examples"] is not None:
        options["example_image"] = opened.before
    needs_zooms = arguments["zoom"] is None and opened.before.geobox.crs is None
    return options | {"cache": None if needs_zooms else cache}
