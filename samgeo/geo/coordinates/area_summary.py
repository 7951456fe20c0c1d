"""Short descriptions of areas for metadata: a digest that identifies an area, and an outline with few corners."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import shapely

__all__ = ["describe_area"]

MOST_CORNERS = 200
"""Largest number of corners of an outline. An area with fewer corners is not simplified."""


def describe_area(area_px: shapely.Geometry) -> dict[str, Any]:
    """Describe an area of interest for metadata, however many corners it has.

    Parameters
    ----------
    area_px : geometry
        In raster pixels.

    Returns
    -------
    dict
        JSON-serializable: ``digest``, a digest of all coordinates; ``corners``, their number; and ``outline``, the area as WKT.
        An area with more than 200 corners is simplified, if necessary to its convex hull or its bounding box.
    """
    corners = int(shapely.get_num_coordinates(area_px))
    return {
        "digest": blake2b(shapely.to_wkb(area_px, byte_order=1), digest_size=16).hexdigest(),
        "corners": corners,
        "outline": shapely.to_wkt(_simple(area_px), rounding_precision=17 if corners <= MOST_CORNERS else 1),
    }


def _simple(area_px: shapely.Geometry) -> shapely.Geometry:
    x0, y0, x1, y1 = shapely.bounds(area_px).tolist()
    simple, tolerance = area_px, 0.5
    while shapely.get_num_coordinates(simple) > MOST_CORNERS and tolerance < max(x1 - x0, y1 - y0):
        simple = shapely.simplify(simple, tolerance, preserve_topology=False)
        tolerance *= 4
    if shapely.get_num_coordinates(simple) <= MOST_CORNERS and not shapely.is_empty(simple):
        return simple
    hull = shapely.simplify(shapely.convex_hull(area_px), 0.5)
    return hull if shapely.get_num_coordinates(hull) <= MOST_CORNERS else shapely.box(x0, y0, x1, y1)
