"""From a raster to objects: windows through Dask, masks, merging, polygons, a GeoDataFrame and a file."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError, SamgeoError, WindowError
from samgeo.geo.grid import Lattice, Rect
from samgeo.segment.masks import Mask
from samgeo.segment.merge import MERGE_IOU, Piece, Segment, merge, place
from samgeo.segment.schedule import run_ordered

if TYPE_CHECKING:
    import geopandas as gpd
    import shapely
    from distributed import Client

    from samgeo.geo.raster import Raster
    from samgeo.sam.registry import Gates
    from samgeo.sam.segmenter import Segmenter

__all__ = ["segment"]

ATTEMPTS = 2
VECTORIZE_BATCH = 256

# A mask that ends within one cell of a model's low-resolution logits from the edge may well go on behind it.
EDGE_PX = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a worker needs to segment a window, besides the raster and the model."""

    lattice: Lattice
    gates: Gates
    aoi_px: shapely.Geometry | None


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A model by name: what travels to other processes, which load it once each."""

    name: str
    device: str
    dtype: str


def segment(
    image: Any,
    output: str | os.PathLike[str] | None = None,
    *,
    model: str | os.PathLike[str] | Segmenter = "tiny",
    device: str = "auto",
    dtype: str = "auto",
    bands: Any = None,
    stretch: Any = None,
    nodata: float | None = None,
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
    nodata : float, optional
        The value without data, where the file does not say it.
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
    overwrite : bool, default False
        Whether an existing output may be replaced.
    progress : bool, default True
        Whether to show a progress bar on standard error.

    Returns
    -------
    GeoDataFrame
        One row an object in the raster's CRS, from the top of the raster to its bottom: ``geometry``, ``predicted_iou``,
        ``stability_score`` and ``area_m2``, the true area (``area_px`` where there is no CRS). ``attrs["samgeo"]`` tells
        what made it.

    Raises
    ------
    SamgeoError
        Before work starts, if an input or an option cannot work; later, if a window cannot be read or computed, or the
        output cannot be written. Then there is no output.
    """
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
    aoi_px = None if aoi is None else _aoi_px(aoi, raster)
    segmenter = load_model(model, device=device, dtype=dtype)
    gates = _gates(default_gates(segmenter), points_per_side, pred_iou, stability)
    window = segmenter.input_size if window is None else window
    lattice = Lattice(raster.shape, window, window // 8 * 2 if overlap is None else overlap)
    plan = Plan(lattice, gates, aoi_px)

    by_name = isinstance(model, str | os.PathLike)
    reference = ModelReference(os.fspath(model), device, dtype) if by_name else segmenter
    shared = (raster, segmenter if scheduler in (None, "threads", "synchronous") else reference, plan)
    rows = _rows(shared, scheduler, workers, progress)
    segments = (one for closed in merge(rows, lattice, min_iou=merge_iou) for one in closed)

    options = {
        "window": window,
        "overlap": lattice.overlap,
        **asdict(gates),
        "merge_iou": merge_iou,
        "min_area": min_area,
        "max_area": None if math.isinf(max_area) else max_area,
        "aoi": None if aoi_px is None else aoi_px.wkt,
    }
    result = _frame(segments, raster, min_area, max_area)
    result.attrs["samgeo"] = _provenance(raster, segmenter, options)
    if output is not None:
        write_vectors(result, output, overwrite=overwrite, provenance=result.attrs["samgeo"])
    return result


def segment_window(raster: Raster, model: Segmenter | ModelReference, plan: Plan, index: tuple[int, int]) -> list[Piece]:
    """Segment one window; nothing is encoded where no point of its core has data and lies in the area of interest.

    Raises
    ------
    WindowError
        If it cannot be read or computed, after a second attempt.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _segment_window(raster, _load(model) if isinstance(model, ModelReference) else model, plan, index)
        except (SamgeoError, OSError, RuntimeError, MemoryError) as error:
            if attempt == ATTEMPTS:
                rect = plan.lattice.rect(*index)
                raise WindowError(
                    f"the window at row {index[0]}, column {index[1]} of {raster.name} (pixels x {rect.x0} to {rect.x1}, "
                    f"y {rect.y0} to {rect.y1}) failed {ATTEMPTS} times: {error}"
                ) from error
    raise AssertionError("unreachable: the last attempt returns or raises")


def _segment_window(raster: Raster, model: Segmenter, plan: Plan, index: tuple[int, int]) -> list[Piece]:
    from samgeo.segment.automatic import automatic_masks, embed_window

    lattice = plan.lattice
    rect = lattice.rect(*index)
    frame = Rect(0, 0, lattice.shape[1], lattice.shape[0])
    points = lattice.points(*index, plan.gates.points_per_side)
    if plan.aoi_px is not None:
        points = _inside(points, plan.aoi_px)
    if not len(points):
        return []
    # One pixel more on every side tells which edges of the window have data behind them.
    grown = Rect(rect.x0 - 1, rect.y0 - 1, rect.x1 + 1, rect.y1 + 1)
    pixels, known = raster.read(grown)
    image, valid = np.ascontiguousarray(pixels[1:-1, 1:-1]), known[1:-1, 1:-1]
    column, row = (points - (rect.x0, rect.y0)).astype(np.int64).T
    points = points[valid[row, column]] - (rect.x0, rect.y0)
    if not len(points):
        return []
    size = (rect & frame).shape
    embedding = embed_window(model, image, size)
    found = automatic_masks(model, embedding, points, gates=plan.gates, window=lattice.window, size=size)
    masks = [one.mask for one in found]
    if not valid[: size[0], : size[1]].all():
        valid_mask = Mask.from_array(valid)
        masks = [mask & valid_mask for mask in masks]
    return [
        Piece(mask.shift(rect.x0, rect.y0), one.predicted_iou, one.stability_score, index, rank, _is_cut(mask, known))
        for rank, (one, mask) in enumerate(zip(found, masks, strict=True))
        if not mask.is_empty
    ]


def _is_cut(mask: Mask, known: NDArray[np.bool_]) -> bool:
    """Whether a mask comes close to an edge of its window behind which the raster has data.

    ``known`` is the validity of the window grown by one pixel on every side.
    """
    y, start, stop = mask.runs.T
    side = known.shape[0] - 2
    left, right = known[y[start < EDGE_PX] + 1, 0], known[y[stop > side - EDGE_PX] + 1, -1]
    if left.any() or right.any():
        return True
    over, under = mask.clip(Rect(0, 0, side, EDGE_PX)), mask.clip(Rect(0, side - EDGE_PX, side, side))
    return any(known[row, start + 1 : stop + 1].any() for row, part in ((0, over), (-1, under)) for _, start, stop in part.runs)


def _inside(points: NDArray[np.float64], aoi_px: shapely.Geometry) -> NDArray[np.float64]:
    import shapely

    return points[shapely.contains_xy(aoi_px, points)]


@lru_cache(maxsize=2)
def _load(reference: ModelReference) -> Segmenter:
    from samgeo.sam.registry import load_model

    return load_model(reference.name, device=reference.device, dtype=reference.dtype)


def _rows(
    shared: tuple[Raster, Segmenter | ModelReference, Plan],
    scheduler: str | Client | None,
    workers: int | None,
    progress: bool,
) -> Iterator[dict[int, list[Piece]]]:
    """Give the pieces of each row of windows, from the top."""
    from tqdm import tqdm

    lattice = shared[2].lattice
    results = run_ordered(segment_window, shared, list(lattice), scheduler=scheduler, workers=workers)
    with tqdm(results, total=len(lattice), unit="window", desc=shared[0].name, disable=not progress) as bar:
        windows = iter(bar)
        for _ in range(lattice.rows):
            yield dict(enumerate(islice(windows, lattice.columns)))


def _frame(segments: Iterator[Segment], raster: Raster, min_area: float, max_area: float) -> gpd.GeoDataFrame:
    """Vectorize objects as they close; put them in the order of their places."""
    import geopandas as gpd
    import shapely

    from samgeo.geo.area import area_m2
    from samgeo.segment.vectorize import georeference, polygons

    records: list[tuple[Any, ...]] = []
    while batch := list(islice(segments, VECTORIZE_BATCH)):
        for one, geometry in zip(batch, polygons([one.mask for one in batch]), strict=True):
            records.append((place(one), one.predicted_iou, one.stability_score, geometry))
    records.sort(key=itemgetter(0))
    _, predicted_iou, stability_score, geometry_px = zip(*records, strict=True) if records else ((), (), (), ())
    in_pixels = np.array(geometry_px, dtype=object)
    geometry = georeference(in_pixels, raster.geobox.affine)
    crs = raster.geobox.crs
    area = shapely.area(in_pixels) if crs is None else area_m2(geometry, crs)
    columns = {
        "predicted_iou": np.array(predicted_iou, dtype=np.float64),
        "stability_score": np.array(stability_score, dtype=np.float64),
        "area_px" if crs is None else "area_m2": area,
    }
    frame = gpd.GeoDataFrame(columns, geometry=geometry, crs=None if crs is None else crs.proj)
    return frame[(area >= min_area) & (area <= max_area)].reset_index(drop=True)


def _aoi_px(aoi: Any, raster: Raster) -> shapely.Geometry:
    """Read an area of interest into raster pixels."""
    import shapely
    from shapely.affinity import affine_transform

    from samgeo.geo.vectors import read_vectors

    if isinstance(aoi, shapely.Geometry):
        area = aoi
    else:
        crs = raster.geobox.crs
        area = shapely.union_all(read_vectors(aoi, crs=None if crs is None else crs.proj).geometry.to_numpy())
    area_px = affine_transform(area, (~raster.geobox.affine).to_shapely())
    height, width = raster.shape
    if not area_px.intersects(shapely.box(0, 0, width, height)):
        raise OptionError(
            f"the area of interest does not meet {raster.name}: it covers {_bounds(area)} and the raster "
            f"{_bounds(raster.geobox.extent.geom)} in the raster's CRS. Check its CRS, and that it is of the same place."
        )
    shapely.prepare(area_px)
    return area_px


def _bounds(geometry: shapely.Geometry) -> str:
    return "({:.6g}, {:.6g}, {:.6g}, {:.6g})".format(*geometry.bounds) if not geometry.is_empty else "nothing"


def _gates(gates: Gates, points_per_side: int | None, pred_iou: float | None, stability: float | None) -> Gates:
    given = {"points_per_side": points_per_side, "pred_iou": pred_iou, "stability": stability}
    return replace(gates, **{name: value for name, value in given.items() if value is not None})


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
