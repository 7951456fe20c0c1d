"""Short descriptions of areas for metadata: a digest that identifies an area, and an outline with few corners."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
import shapely

__all__ = ["describe_area"]

MOST_CORNERS = 200
"""Largest number of corners of an outline. An area with fewer corners is not simplified."""

# The algorithm of Douglas and Peucker takes time with the square of the number of corners where corners alternate between two
# sides, as in a comb. If an area and one of its rings have more corners than these, rings are simplified in chains of edges.
MOST_AT_ONCE, MOST_OF_RING, CHAIN = 10_000, 1000, 128


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
        simple = _simplified(simple, tolerance)
        tolerance *= 4
    if shapely.get_num_coordinates(simple) <= MOST_CORNERS and not shapely.is_empty(simple):
        return simple
    hull = shapely.simplify(shapely.convex_hull(area_px), 0.5)
    return hull if shapely.get_num_coordinates(hull) <= MOST_CORNERS else shapely.box(x0, y0, x1, y1)


def _simplified(area: shapely.Geometry, tolerance: float) -> shapely.Geometry:
    """Simplify an area in a time that is proportional to the number of its corners, if it has many."""
    rings, part = shapely.get_rings(shapely.get_parts(area), return_index=True)
    corners = shapely.get_num_coordinates(rings)
    if corners.sum() <= MOST_AT_ONCE or corners.max() <= MOST_OF_RING:
        simple: shapely.Geometry = shapely.simplify(area, tolerance, preserve_topology=False)
        return simple
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    place = np.arange(len(xy)) - np.searchsorted(ring, ring)  # of each corner in its ring
    edge = np.flatnonzero(ring[1:] == ring[:-1])
    is_first = place[edge] % CHAIN == 0
    begins, number = np.flatnonzero(is_first), np.cumsum(is_first) - 1
    order = np.insert(edge + 1, begins, edge[begins])
    chains = shapely.linestrings(xy[order], indices=np.insert(number, begins, number[begins]))
    kept, chain = shapely.get_coordinates(shapely.simplify(chains, tolerance, preserve_topology=False), return_index=True)
    owner = ring[edge[begins]][chain]
    # The last corner of a chain is the first one of the next.
    distinct = np.append(True, (np.diff(owner) != 0) | (np.diff(kept, axis=0) != 0).any(axis=1))
    kept, owner = kept[distinct], owner[distinct]
    large = np.bincount(owner, minlength=len(rings)) > 3  # fewer corners enclose nothing
    kept, owner = kept[large[owner]], owner[large[owner]]
    if not len(kept):
        return shapely.Polygon()
    there, placed = np.unique(owner, return_inverse=True)
    outlines = shapely.linearrings(kept, indices=placed)
    polygons = np.asarray(shapely.polygons(outlines, indices=np.unique(part[there], return_inverse=True)[1]), dtype=object)
    return shapely.MultiPolygon(polygons.reshape(-1).tolist())
