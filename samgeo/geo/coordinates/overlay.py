"""Vector layers in the CRS or in the pixels of a raster, with edges that are correct to a small part of a pixel.

A layer with a CRS cannot be placed on a raster without one, and the other way round. Both cases are refused, because degrees
would otherwise be taken for pixels without notice. An edge that is straight in the CRS of the layer is followed as the curve
that it is in the CRS of the raster, and longitudes are shifted by whole turns to those of the raster
(`samgeo.geo.coordinates.antimeridian`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import VectorError
from samgeo.geo.coordinates.antimeridian import near_centre, period_of, rejoined, shifted_by_turns
from samgeo.geo.coordinates.pixel_coordinates import PIXELS, Inward, crs_of, from_pixels, inward_to, middle_x, resolve_crs
from samgeo.geo.coordinates.reprojection import reproject
from samgeo.geo.vector.reading import read_vectors
from samgeo.types import CRSLike, FeaturesLike, GeometriesLike

if TYPE_CHECKING:
    import pyproj
    from odc.geo.geobox import GeoBox

__all__ = [
    "TOLERANCE_PX",
    "around_raster",
    "bounds_in_pixels",
    "check_same_kind",
    "in_pixels",
    "in_raster_crs",
    "not_finite",
    "read_onto",
    "repaired_polygons",
]

TOLERANCE_PX = 1 / 16
"""Largest error of an edge, in pixels of the raster."""

# Number of points along each side of a raster, and margin as a share of its extent, with which `around_raster` works.
_ACROSS = 17
_MARGIN = 0.25

_AREAL = (3, 6)
_COLLECTION = 7


def check_same_kind(crs: pyproj.CRS | None, geobox: GeoBox, *, what: str, raster: str = "the raster") -> None:
    """Refuse a layer with a CRS on a raster without one, and the other way round.

    Parameters
    ----------
    crs : pyproj.CRS or None
        CRS of the layer.
    geobox : GeoBox
        Grid of the raster.
    what, raster : str
        The layer and the raster, for messages.

    Raises
    ------
    VectorError
        If only one of the two has a CRS. The message says what to do.
    """
    if geobox.crs is None and crs is not None:
        raise VectorError(
            f"{what} has a CRS ({crs.to_string()}) and {raster} has none, so that the features cannot be placed on the raster. "
            "Assign a CRS to the raster (gdal_edit.py -a_srs), or give features in pixels of the raster, without a CRS (not as "
            "GeoJSON, which is in longitude and latitude if it names no CRS)."
        )
    if geobox.crs is not None and crs is None:
        raise VectorError(
            f"{raster} has a CRS ({_crs_name(geobox)}) and {what} has none, so that the features cannot be placed on the "
            f"raster. Set the CRS of {what} with gdf.set_crs(...) first."
        )


@check_types
def read_onto(source: FeaturesLike, geobox: GeoBox, *, what: str = "the layer", raster: str = "the raster") -> gpd.GeoDataFrame:
    """Read features and reproject them to the CRS of a raster.

    Parameters
    ----------
    source : path, URL, GeoDataFrame or GeoSeries
        See `samgeo.geo.vector.reading.read_vectors`.
    geobox : GeoBox
        Grid of the raster.
    what, raster : str
        The features and the raster, for messages.

    Returns
    -------
    GeoDataFrame
        Two-dimensional. Coordinates that are already in the CRS of the raster keep every bit.

    Raises
    ------
    VectorError
        If the features cannot be read, only one of the two has a CRS, or a feature has a part that cannot be represented in the
        CRS of the raster.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from odc.geo.geobox import GeoBox
    >>> from samgeo.geo.coordinates import read_onto
    >>> from shapely.geometry import Point
    >>> grid = GeoBox.from_bbox((500_000, 5_400_000, 500_100, 5_400_100), "EPSG:32633", resolution=1)
    >>> trees = gpd.GeoDataFrame(geometry=[Point(15.0, 48.75)], crs="EPSG:4326")
    >>> placed = read_onto(trees, grid)
    >>> placed.crs.to_string(), round(placed.geometry.x[0])
    ('EPSG:32633', 500000)
    """
    frame = read_vectors(source)
    check_same_kind(frame.crs, geobox, what=what, raster=raster)
    if frame.crs is None:
        return frame
    flat = np.asarray(shapely.force_2d(frame.geometry.to_numpy()), dtype=object)
    placed, lost = in_raster_crs(flat, geobox, frame.crs)
    if lost.any():
        first = int(np.argmax(lost))
        raise VectorError(
            f"feature {first} of {what} cannot be transformed to the CRS of {raster}, because a part of it lies outside the "
            f"domain of that CRS ({int(lost.sum())} such features in all). Check that the features are in "
            f"{frame.crs.to_string()}, and clip them to the area that you need."
        )
    return frame.set_geometry(gpd.GeoSeries(placed, index=frame.index, crs=crs_of(geobox)))


def in_raster_crs(
    geometries: NDArray[np.object_], geobox: GeoBox, crs: CRSLike = None
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Reproject geometries to the CRS of a raster; where x repeats around the earth, they are shifted near the raster.

    Parameters
    ----------
    geometries : ndarray of shapely geometries, shape (N,)
        Two-dimensional.
    geobox : GeoBox
        Grid of the raster.
    crs : anything that pyproj takes, optional
        CRS of the geometries; that of the raster by default.

    Returns
    -------
    geometries : ndarray of shapely geometries, shape (N,)
        Polygons that cross themselves are not repaired. Lost geometries are None.
    lost : ndarray of bool, shape (N,)
        True for geometries with a part that cannot be represented in the CRS of the raster.

    Raises
    ------
    OptionError
        If the CRS is unknown, or the raster has none.
    """
    placed, lost = _reprojected(geometries, geobox, resolve_crs(geobox, crs))
    known = placed.copy()
    known[lost] = None
    return shifted_by_turns(known, middle_x(geobox), period_of(crs_of(geobox))), lost


def in_pixels(
    geometries: NDArray[np.object_], geobox: GeoBox, crs: CRSLike = None
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Transform geometries to pixels of a raster, rounded as all prompts are.

    Parameters
    ----------
    geometries, geobox
        As for `in_raster_crs`.
    crs : anything that pyproj takes, or "pixels", optional
        CRS of the geometries; that of the raster by default.

    Returns
    -------
    geometries, lost
        As from `in_raster_crs`.
    """
    if _is_pixels(crs):
        placed, lost = geometries.copy(), not_finite(geometries)
        placed[lost] = None
    else:
        placed, lost = in_raster_crs(geometries, geobox, crs)
    return np.asarray(shapely.transform(placed, _to_pixels(geobox, crs)), dtype=object), lost


def bounds_in_pixels(geometries: NDArray[np.object_], geobox: GeoBox, crs: CRSLike = None) -> NDArray[np.float64]:
    """Return the bounding boxes, in pixels of a raster, of geometries.

    Parameters
    ----------
    geometries, geobox, crs
        As for `in_pixels`.

    Returns
    -------
    ndarray, shape (N, 4)
        x0, y0, x1, y1 around the geometry with its edges, rounded as all prompts are. NaN for an empty geometry, and for one
        with a part that cannot be represented in the CRS of the raster. The parts of a geometry on both sides of the
        antimeridian are joined first.
    """
    if _is_pixels(crs):
        placed, lost = geometries, not_finite(geometries)
    else:
        placed, lost = _reprojected(geometries, geobox, resolve_crs(geobox, crs))
        period = period_of(crs_of(geobox))
        if period is not None:
            placed = rejoined(placed, period)
            x0, _, x1, _ = shapely.bounds(placed).T
            middle = (x0 + x1) / 2
            shift = near_centre(middle, middle_x(geobox), period) - middle
            if np.nan_to_num(shift).any():
                xy, owner = shapely.get_coordinates(placed, return_index=True)
                placed = shapely.set_coordinates(placed.copy(), xy + np.stack([shift[owner], np.zeros(len(xy))], axis=1))
    result = placed.copy()
    result[lost] = None
    return np.asarray(shapely.bounds(shapely.transform(result, _to_pixels(geobox, crs))), dtype=np.float64).reshape(-1, 4)


def repaired_polygons(geometries: GeometriesLike, what: str) -> NDArray[np.object_]:
    """Return geometries as valid two-dimensional polygons, by the one rule that is used for all inputs.

    Rings that cross themselves are made valid with `shapely.make_valid`, method "structure": everything that a ring goes around
    belongs to the polygon. Overlapping parts become one. Lines and points that result from this, or that a collection holds
    beside polygons, are dropped.

    Parameters
    ----------
    geometries : array-like of shapely geometries, shape (N,)
        Polygons, multipolygons or collections of these; missing ones are allowed.
    what : str
        Name of the layer, for messages.

    Returns
    -------
    ndarray of shapely geometries, shape (N,)
        Polygons and multipolygons; empty where there is no geometry or no area.

    Raises
    ------
    VectorError
        If a geometry is a point or a line, or has a coordinate that is not a finite number.
    """
    given = np.array(geometries, dtype=object).reshape(-1)
    given[shapely.is_missing(given)] = shapely.Polygon()
    given = np.asarray(shapely.force_2d(given), dtype=object)
    lost = not_finite(given)
    if lost.any():
        raise VectorError(
            f"feature {int(np.argmax(lost))} of {what} has a coordinate that is not a finite number; repair or remove it."
        )
    kinds = shapely.get_type_id(given)
    other = ~(np.isin(kinds, (*_AREAL, _COLLECTION)) | shapely.is_empty(given))
    if other.any():
        first = int(np.argmax(other))
        raise VectorError(f"feature {first} of {what} is a {given[first].geom_type}; give polygons.")
    given[~np.isin(kinds, (*_AREAL, _COLLECTION))] = shapely.Polygon()
    for index in np.flatnonzero((kinds == _COLLECTION) | ~shapely.is_valid(given)):
        given[index] = _areal(given[index])
    return given


def around_raster(geobox: GeoBox, crs: pyproj.CRS) -> shapely.Geometry | None:
    """Return the neighbourhood of a raster in another CRS.

    Parameters
    ----------
    geobox : GeoBox
        Grid of the raster, with a CRS.
    crs : pyproj.CRS
        The other CRS.

    Returns
    -------
    MultiPolygon or None
        A box whose sides are one and a half times those of the raster's extent, once for each turn around the earth. Around a
        pole it is a band of latitudes. None where there is no such box.
    """
    height, width = geobox.shape
    along = np.linspace(0, 1, _ACROSS)
    x, y = np.meshgrid(along * width, along * height)
    placed = from_pixels(np.stack([x, y], axis=-1), geobox, crs)
    if not np.isfinite(placed).all():
        return None
    period = period_of(crs)
    if period is not None:
        xs = np.unwrap(np.unwrap(placed[..., 0], axis=1, period=period), axis=0, period=period)
        placed = np.stack([xs, placed[..., 1]], axis=-1)
        # If neighbouring points are far apart in longitude, the raster lies around a pole.
        if max(np.abs(np.diff(xs, axis=0)).max(), np.abs(np.diff(xs, axis=1)).max()) > period / 8:
            return _around_pole(placed[..., 1], period) if crs.is_geographic else None
    low, high = placed.min(axis=(0, 1)), placed.max(axis=(0, 1))
    margin = (high - low) * _MARGIN
    (x0, y0), (x1, y1) = (low - margin).tolist(), (high + margin).tolist()
    if period is None:
        return shapely.MultiPolygon([shapely.box(x0, y0, x1, y1)])
    if x1 - x0 >= period:
        return None
    first, last = int(np.floor((-period - x1) / period)), int(np.ceil((period - x0) / period))
    boxes = [shapely.box(x0 + turn * period, y0, x1 + turn * period, y1) for turn in range(first, last + 1)]
    return shapely.MultiPolygon(boxes)


def not_finite(geometries: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Return which geometries, of shape (N,), have a coordinate that is not a finite number; bounds would ignore NaN."""
    xy, owner = shapely.get_coordinates(geometries, return_index=True)
    result = np.zeros(len(geometries), dtype=bool)
    result[owner[~np.isfinite(xy).all(axis=1)]] = True
    return result


def _around_pole(latitudes: NDArray[np.float64], period: float) -> shapely.Geometry:
    low, high, pole = float(latitudes.min()), float(latitudes.max()), period / 4
    margin = (high - low) * _MARGIN
    low, high = (low - margin, pole) if high > -low else (-pole, high + margin)
    return shapely.MultiPolygon([shapely.box(-2 * period, max(low, -pole), 2 * period, min(high, pole))])


def _reprojected(
    geometries: NDArray[np.object_], geobox: GeoBox, source: pyproj.CRS | None
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    target = crs_of(geobox)
    if source is None or target is None:
        return geometries, not_finite(geometries)
    affine = geobox.affine
    side = float(np.linalg.svd(np.array([[affine.a, affine.b], [affine.d, affine.e]]), compute_uv=False).min())
    placed = reproject(geometries, source, target, tolerance=TOLERANCE_PX * side)
    return placed.geometries, placed.lost


def _areal(geometry: shapely.Geometry) -> shapely.Geometry:
    parts = shapely.get_parts(shapely.make_valid(geometry, method="structure"))
    while _COLLECTION in shapely.get_type_id(parts):
        parts = shapely.get_parts(parts)
    areal: shapely.Geometry = shapely.union_all(shapely.make_valid(parts[np.isin(shapely.get_type_id(parts), _AREAL)]))
    return areal


def _to_pixels(geobox: GeoBox, crs: CRSLike) -> Inward:
    """Return the function from coordinates in the CRS of the raster, or from pixels, to rounded pixels."""
    rounded = inward_to(geobox, PIXELS)
    if _is_pixels(crs):
        return rounded
    inverse = ~geobox.affine

    def inward(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = xy[..., 0], xy[..., 1]
        return rounded(
            np.stack([inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f], axis=-1)
        )

    return inward


def _crs_name(geobox: GeoBox) -> str:
    crs = crs_of(geobox)
    return "none" if crs is None else crs.to_string() if crs.to_authority() is not None else crs.name


def _is_pixels(crs: CRSLike) -> bool:
    return isinstance(crs, str) and crs == PIXELS
