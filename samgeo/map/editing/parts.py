"""Split a polygon along a line, and unite polygons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import shapely

from samgeo.errors import OptionError, VectorError
from samgeo.geo.coordinates.overlay import in_pixels, in_raster_crs
from samgeo.geo.coordinates.pixel_coordinates import PIXELS
from samgeo.segmentation.masks.vectorize import georeference

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from samgeo.types import CRSLike

__all__ = ["place_line", "split_polygon", "united"]

LEAST_PIECE_PX = 1.0
"""Pieces of a split object that are smaller, in raster pixels, stay with their neighbour."""

GRID_PX = 2.0**-10
"""Outlines that are united are rounded to this part of a raster pixel, so that no gap is left between those that touch."""


def place_line(line: shapely.Geometry, geobox: GeoBox, crs: CRSLike = None) -> shapely.Geometry:
    """Bring a line, with its edges, to the raster's CRS.

    Parameters
    ----------
    line : LineString
    geobox : GeoBox
        The grid of the raster.
    crs : anything that pyproj takes, or "pixels", optional
        The CRS of the line; that of the raster by default.

    Raises
    ------
    VectorError
        If it is not a line, or a part of it has no place in the raster's CRS.
    OptionError
        If the CRS is unknown, or the raster has none.
    """
    if not isinstance(line, shapely.LineString) or shapely.is_empty(line) or not shapely.length(line) > 0:
        raise VectorError(f"the line is {line!r}; give a shapely LineString of two different points or more.")
    if not np.isfinite(shapely.get_coordinates(line)).all():
        raise VectorError("a coordinate of the line is not a finite number; give finite ones.")
    given = np.array([shapely.force_2d(line)], dtype=object)
    if isinstance(crs, str) and crs == PIXELS:
        at_px: shapely.Geometry = georeference(given, geobox.affine)[0]
        return at_px
    (placed,), (lost,) = in_raster_crs(given, geobox, crs)
    if lost:
        raise VectorError("a part of the line lies outside the domain of the raster's CRS; check the CRS of the line.")
    at: shapely.Geometry = placed
    return at


def split_polygon(geometry: shapely.Geometry, line: shapely.Geometry, geobox: GeoBox) -> tuple[shapely.Geometry, ...]:
    """Split a polygon along a line.

    Parameters
    ----------
    geometry : Polygon or MultiPolygon
        In the raster's CRS.
    line : LineString
        In the raster's CRS. It divides the parts that it crosses from edge to edge. Where it ends inside, nothing is divided.
    geobox : GeoBox
        The grid of the raster.

    Returns
    -------
    tuple of Polygon or MultiPolygon
        Two pieces or more, the largest first. Parts of a multipolygon that the line does not divide stay with the largest
        piece. A piece of less than one pixel stays with the neighbour that has the longest edge in common with it.

    Raises
    ------
    OptionError
        If the line does not divide the polygon.
    """
    least = LEAST_PIECE_PX * abs(geobox.affine.determinant)
    pieces: list[shapely.Geometry] = []
    whole: list[shapely.Geometry] = []
    for part in shapely.get_parts(geometry).tolist():
        found = _without_slivers(_faces(part, line), least)
        if len(found) > 1:
            pieces += found
        else:
            whole.append(part)
    if not pieces:
        raise OptionError("the line does not divide the object; begin and end it outside, and draw it across the object.")
    # The bounds decide between pieces of equal area, so that the order is always the same.
    pieces.sort(key=lambda one: (-shapely.area(one), *shapely.bounds(one).tolist()))
    largest = shapely.union_all([pieces[0], *whole]) if whole else pieces[0]
    return largest, *pieces[1:]


def united(geometries: Sequence[shapely.Geometry], geobox: GeoBox) -> shapely.Geometry:
    """Return the union of polygons in the raster's CRS: a multipolygon where they do not touch.

    Coordinates are rounded to 1/1024 pixel, so that polygons whose edges touch but for rounding become one.
    """
    at_px, _ = in_pixels(np.array(geometries, dtype=object), geobox)
    joined = shapely.union_all(at_px, grid_size=GRID_PX)
    result: shapely.Geometry = georeference(np.array([joined], dtype=object), geobox.affine)[0]
    return result


def _faces(part: shapely.Geometry, line: shapely.Geometry) -> list[shapely.Geometry]:
    """Return the faces into which a line divides one polygon."""
    if not shapely.intersects(part, line):
        return [part]
    edges = shapely.union(shapely.boundary(part), line)
    faces = shapely.get_parts(shapely.polygonize([edges]))
    shapely.prepare(part)
    found: list[shapely.Geometry] = faces[shapely.contains(part, shapely.point_on_surface(faces))].tolist()
    return found


def _without_slivers(faces: list[shapely.Geometry], least: float) -> list[shapely.Geometry]:
    """Join each face whose area is below ``least`` to the neighbour that has the longest edge in common with it."""
    kept = sorted(faces, key=lambda one: float(shapely.area(one)))
    while len(kept) > 1 and shapely.area(kept[0]) < least:
        small, *others = kept
        shared = shapely.length(shapely.intersection(shapely.boundary(small), shapely.boundary(others)))
        nearest = int(np.argmax(shared))
        others[nearest] = shapely.union(small, others[nearest])
        kept = sorted(others, key=lambda one: float(shapely.area(one)))
    return kept
