"""Preparation of two layers for comparison: a common CRS, repaired geometries, areas, and reasons why objects are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from samgeo.errors import OptionError, VectorError
from samgeo.geo.coordinates.antimeridian import period_of, shifted_by_turns
from samgeo.geo.coordinates.metric_planes import NOWHERE, Planes, batches
from samgeo.geo.coordinates.overlay import not_finite
from samgeo.geo.coordinates.reprojection import reproject

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

__all__ = ["BATCH", "Layer", "common_crs", "read_layer"]

BATCH = 4096
"""Number of objects that are transformed and overlaid at a time."""

AREAL = (3, 6)  # These are shapely's type ids of polygons and multipolygons.
COLLECTION = 7

NO_PLACE = "coordinates that have no place in the CRS"


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """The objects of a layer that can be evaluated.

    Attributes
    ----------
    geometries : ndarray of (multi)polygons, shape (N,)
        Valid geometries in two dimensions, with an area.
    rows : ndarray of int, shape (N,)
        Row of each object in the input.
    cells : ndarray of int, shape (N,)
        Local plane in which each object is measured; see `Planes`.
    areas : ndarray of float, shape (N,)
        Areas in square metres, or in square pixels without a CRS.
    left_out : tuple of (row, reason)
        Objects that cannot be evaluated.
    repaired : int
        Number of geometries that were repaired because they were invalid, or that were collections of which only the polygons
        were kept.
    """

    geometries: NDArray[np.object_]
    rows: NDArray[np.int64]
    cells: NDArray[np.int64]
    areas: NDArray[np.float64]
    left_out: tuple[tuple[int, str], ...]
    repaired: int

    def __len__(self) -> int:
        return len(self.rows)


def common_crs(found: gpd.GeoDataFrame, truth: gpd.GeoDataFrame) -> pyproj.CRS | None:
    """Return the CRS of the truth, in which both layers are compared, or None if neither layer has one.

    Raises
    ------
    OptionError
        If only one layer has a CRS, or a CRS is not a map CRS.
    """
    if (found.crs is None) != (truth.crs is None):
        raise OptionError("only one of the two layers has a CRS; set the CRS of the other with gdf.set_crs(...).")
    for crs in (found.crs, truth.crs):
        if crs is not None and (len(crs.axis_info) < 2 or crs.is_geocentric):
            raise OptionError(f"{crs.name} is not a geographic or projected CRS; reproject to one with two horizontal axes.")
    target: pyproj.CRS | None = truth.crs
    return target


def read_layer(frame: gpd.GeoDataFrame, planes: Planes, labels: pd.Series | None = None) -> Layer:
    """Transform a layer to the CRS of the planes, repair its geometries, and measure their areas.

    Longitudes are shifted by full turns to be within half a turn of the middle of the planes, because -170 and 190 degrees are
    the same place.

    These objects are left out: geometries that are missing, empty, not polygons, outside the CRS, or without area after repair;
    and objects without a class, if there are classes.

    Parameters
    ----------
    frame : GeoDataFrame
        The layer, in any CRS. It has no CRS if the planes have none.
    planes : Planes
        Local planes in which objects are measured.
    labels : Series, optional
        Class of each row.

    Returns
    -------
    Layer
        The objects that can be evaluated.
    """
    geometries = np.array(frame.geometry.array, dtype=object)
    reasons = np.full(len(frame), "", dtype=object)

    def leave_out(which: NDArray[np.bool_], reason: str) -> None:
        reasons[which & (reasons == "")] = reason

    kinds = shapely.get_type_id(geometries)
    leave_out(shapely.is_missing(geometries), "no geometry")
    leave_out(shapely.is_empty(geometries), "empty geometry")
    leave_out(~np.isin(kinds, (*AREAL, COLLECTION)), "not a polygon")
    if labels is not None:
        leave_out(labels.isna().to_numpy(), "no class")
    geometries[reasons != ""] = None

    geometries, lost = _to_crs(np.asarray(shapely.force_2d(geometries), dtype=object), frame.crs, planes)
    leave_out(lost, NO_PLACE)
    geometries[reasons != ""] = None
    broken = ((kinds == COLLECTION) | ~shapely.is_valid(geometries)) & (reasons == "")
    geometries[broken] = [_polygons_of(geometry) for geometry in shapely.make_valid(geometries[broken])]

    cells, areas = planes.cells_of(geometries), np.zeros(len(frame))
    leave_out(shapely.is_missing(geometries) | shapely.is_empty(geometries), "no area")
    leave_out(cells == NOWHERE, NO_PLACE)
    good = np.flatnonzero(reasons == "")
    for cell, some in batches(cells[good], BATCH):
        areas[good[some]] = shapely.area(planes.place(geometries[good[some]], cell))
    leave_out(~np.isfinite(areas), NO_PLACE)
    leave_out(~(areas > 0), "no area")

    kept = np.flatnonzero(reasons == "")
    left_out = tuple((int(row), str(reasons[row])) for row in np.flatnonzero(reasons != ""))
    return Layer(geometries[kept], kept.astype(np.int64), cells[kept], areas[kept], left_out, int(broken[kept].sum()))


def _to_crs(
    geometries: NDArray[np.object_], crs: pyproj.CRS | None, planes: Planes
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Transform geometries, with their edges, to the CRS of the planes.

    Also return which of them have a part that cannot be transformed; these geometries are None.
    """
    source = planes.crs if crs is None else crs
    if source is None:
        return geometries, not_finite(geometries)
    try:
        placed = reproject(geometries, source, planes.crs)
    except pyproj.exceptions.ProjError as error:
        raise VectorError(f"the layers cannot be transformed to one CRS ({error}); check both CRSs.") from None
    known = placed.geometries.copy()
    known[placed.lost] = None
    return shifted_by_turns(known, planes.middle_x, period_of(planes.crs)), placed.lost


def _polygons_of(geometry: shapely.Geometry) -> shapely.Geometry:
    """Return the polygons of a repaired geometry, without the lines and points that the repair may leave."""
    parts = np.asarray(shapely.get_parts(geometry))
    while COLLECTION in shapely.get_type_id(parts):
        parts = np.asarray(shapely.get_parts(parts))
    return shapely.union_all(parts[np.isin(shapely.get_type_id(parts), AREAL)])
