"""From a raster to objects: windows through Dask, masks, merging, polygons, a GeoDataFrame and a file."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.errors import OptionError
from samgeo.geo.grid import Lattice
from samgeo.geo.prompts import to_pixels
from samgeo.segment.frame import to_frame
from samgeo.segment.merge import MERGE_IOU, Piece, merge
from samgeo.segment.schedule import run_ordered
from samgeo.segment.window import ModelReference, Plan, segment_window

if TYPE_CHECKING:
    import geopandas as gpd
    from distributed import Client

    from samgeo.geo.raster import Raster
    from samgeo.sam.registry import Gates
    from samgeo.sam.segmenter import Segmenter
    from samgeo.segment.store import EmbeddingStore

__all__ = ["segment"]


def segment(
    image: Any,
    output: str | os.PathLike[str] | None = None,
    *,
    model: str | Path | Segmenter = "tiny",
    device: str = "auto",
    dtype: str = "auto",
    bands: Any = None,
    stretch: Any = None,
    nodata: float | str | None = None,
    window: int | None = None,
    overlap: int | None = None,
    points_per_side: int | None = None,
    pred_iou: float | None = None,
    stability: float | None = None,
    merge_iou: float = MERGE_IOU,
    min_area: float = 0.0,
    max_area: float = math.inf,
    aoi: Any = None,
    scheduler: str | Client | None = None,
    workers: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> gpd.GeoDataFrame:
    """Segment everything in a raster of any size.

    Parameters
    ----------
    image : path, URL, xarray.DataArray, ndarray or Raster
        The raster; see `samgeo.Raster.open`.
    output : path, optional
        Where to write the objects: ``.parquet``, ``.gpkg``, ``.fgb`` or ``.geojson``. Written whole or not at all.
    model : str, path or Segmenter, default "tiny"
        A name of `samgeo.models`, a checkpoint file, or a model.
    device : {"auto", "cpu", "cuda", "cuda:N", "mps"}, default "auto"
        Where the model runs.
    dtype : {"auto", "float32", "bfloat16"}, default "auto"
        What it computes in.
    bands : sequence of int or str, optional
        One or three bands by number, from 1, or by name. Red, green and blue by default.
    stretch : (float, float) or three such pairs, optional
        Values that become black and white. 8-bit rasters stay as they are by default; others go by the 2nd and 98th
        percentile of the whole raster.
    nodata : float or "none", optional
        The value without data, where the file does not say it; "none" where it says it wrongly.
    window : int, optional
        Side of a window in raster pixels; the model's input size by default. Larger windows are resampled to the input.
    overlap : int, optional
        Pixels that neighbouring windows share: even, at most half a window. A quarter of a window by default. Objects up
        to this size are always whole in some window.
    points_per_side : int, optional
        Prompts along a window's side.
    pred_iou, stability : float, optional
        Masks below either are dropped. The model's own defaults (`samgeo.models`) unless given.
    merge_iou : float, default 0.5
        Pieces from neighbouring windows are one object from this IoU on.
    min_area, max_area : float
        Objects outside are dropped; square metres, or pixels where the raster has no CRS.
    aoi : path, GeoDataFrame or geometry, optional
        Only what lies under points inside it is segmented. A geometry is in the raster's CRS.
    scheduler : {"threads", "processes", "synchronous"}, address or distributed.Client, optional
        Where Dask computes the windows; threads of this process by default.
    workers : int, optional
        Threads or processes of a local scheduler; 2 by default.
    cache : path, optional
        A store of embeddings from `samgeo.encode`, made if it is not there: windows that it has are not encoded again, others
        are added to it. Its lattice is the default for ``window`` and ``overlap``.
    overwrite : bool, default False
        Whether an existing output may be replaced.
    progress : bool, default True
        Whether to show a progress bar on standard error.

    Returns
    -------
    GeoDataFrame
        One row an object in the raster's CRS, from the top of the raster to its bottom: ``geometry``, ``predicted_iou``,
        ``stability_score``, ``area_m2``, the true area (``area_px`` where there is no CRS), and ``complete``: false where
        the outline is the edge of a window because the model saw nothing of it in the next. ``attrs["samgeo"]`` tells what
        made it.

    Raises
    ------
    SamgeoError
        Before work starts, if an input or an option cannot work; later, if a window cannot be read or computed, or the
        output cannot be written. Then there is no output.
    """
    import shapely

    from samgeo.geo.raster import Raster
    from samgeo.geo.vectors import check_output, write_vectors
    from samgeo.sam.registry import default_gates, load_model

    _check_options(
        points_per_side=points_per_side,
        pred_iou=pred_iou,
        stability=stability,
        merge_iou=merge_iou,
        min_area=min_area,
        max_area=max_area,
        workers=workers,
    )
    if output is not None:
        check_output(output, overwrite=overwrite)
    raster = Raster.open(image, bands=bands, stretch=stretch, nodata=nodata)
    if output is not None:
        check_output(output, overwrite=overwrite, crs=raster.geobox.crs)
    aoi_px = None if aoi is None else to_pixels(aoi, raster.geobox, name=raster.name)
    segmenter = load_model(model, device=device, dtype=dtype)
    gates = _gates(default_gates(segmenter), points_per_side, pred_iou, stability)
    store = None if cache is None else _store(cache, raster, segmenter, window, overlap)
    side = segmenter.input_size if window is None else window
    lattice = Lattice(raster.shape, side, side // 8 * 2 if overlap is None else overlap) if store is None else store.lattice
    plan = Plan(lattice, gates, aoi_px, store)

    reference = ModelReference(str(model), device, dtype) if isinstance(model, str | Path) else segmenter
    shared = (raster, segmenter if scheduler in (None, "threads", "synchronous") else reference, plan)
    rows = _rows(shared, scheduler, workers, progress)
    segments = (one for closed in merge(rows, lattice, min_iou=merge_iou) for one in closed)

    options = {
        "window": lattice.window,
        "overlap": lattice.overlap,
        **asdict(gates),
        "merge_iou": merge_iou,
        "min_area": min_area,
        "max_area": None if math.isinf(max_area) else max_area,
        "aoi": None if aoi_px is None else shapely.to_wkt(aoi_px),
    }
    result = to_frame(segments, raster.geobox, min_area=min_area, max_area=max_area)
    result.attrs["samgeo"] = _provenance(raster, segmenter, options)
    if output is not None:
        write_vectors(result, output, overwrite=overwrite, provenance=result.attrs["samgeo"])
    return result


def _store(
    path: str | os.PathLike[str], raster: Raster, model: Segmenter, window: int | None, overlap: int | None
) -> EmbeddingStore:
    from samgeo.segment.embeddings import check_fresh
    from samgeo.segment.store import EmbeddingStore

    store = EmbeddingStore.open_or_create(path, raster, model, window=window, overlap=overlap)
    check_fresh(raster, store)
    return store


def _rows(
    shared: tuple[Raster, Segmenter | ModelReference, Plan],
    scheduler: str | Client | None,
    workers: int | None,
    progress: bool,
) -> Iterator[dict[int, list[Piece]]]:
    """Give the pieces of each row of windows, from the top."""
    from tqdm import tqdm

    lattice = shared[2].lattice
    with tqdm(total=len(lattice), unit="window", desc=Path(shared[0].name).name, disable=not progress) as bar:
        windows = run_ordered(segment_window, shared, list(lattice), scheduler=scheduler, workers=workers, done=bar.update)
        for _ in range(lattice.rows):
            yield dict(enumerate(islice(windows, lattice.columns)))


def _gates(gates: Gates, points_per_side: int | None, pred_iou: float | None, stability: float | None) -> Gates:
    return replace(
        gates,
        points_per_side=gates.points_per_side if points_per_side is None else points_per_side,
        pred_iou=gates.pred_iou if pred_iou is None else pred_iou,
        stability=gates.stability if stability is None else stability,
    )


def _check_options(
    *,
    points_per_side: int | None,
    pred_iou: float | None,
    stability: float | None,
    merge_iou: float,
    min_area: float,
    max_area: float,
    workers: int | None,
) -> None:
    for name, count in (("points_per_side", points_per_side), ("workers", workers)):
        if count is not None and count < 1:
            raise OptionError(f"{name} is {count}; give 1 or more.")
    for name, share in (("pred_iou", pred_iou), ("stability", stability)):
        if share is not None and not 0 <= share <= 1:
            raise OptionError(f"{name} is {share}; give a number from 0 to 1.")
    if not 0 < merge_iou <= 1:
        raise OptionError(f"merge_iou is {merge_iou}; give a number above 0, up to 1.")
    if not 0 <= min_area <= max_area:
        raise OptionError(f"min_area is {min_area} and max_area {max_area}; give 0 <= min_area <= max_area.")


def _provenance(raster: Raster, model: Segmenter, options: dict[str, Any]) -> dict[str, Any]:
    from samgeo import __version__

    return {
        "samgeo": __version__,
        "model": {"name": model.name, "digest": model.digest},
        "raster": raster.provenance(),
        "options": options,
    }
