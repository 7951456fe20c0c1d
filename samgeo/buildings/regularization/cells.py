"""Polygons along lines: the union of the cells between a building's lines that the building covers by half or more."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.buildings.regularization.lines import DIAGONALS, NORMALS, STEP, Line
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.vectorize import polygons

__all__ = ["MOST_CELLS", "covered", "diagonal_polygon", "largest", "only_polygons", "right_polygons", "tidy"]

Floats = NDArray[np.float64]

MOST_CELLS = 10_000
"""Largest number of cells of one building. An outline with more cells is not treated as a building."""
_MOST_TERMS = 4_000_000
# Half the width in metres of the parts that `tidy` removes.
_NEEDLE = 5e-5


def right_polygons(shapes: list[shapely.Polygon], lines: list[list[Line]]) -> list[shapely.Polygon]:
    """Return one polygon along lines of the normals (1, 0) and (0, 1) for each shape.

    If several parts are covered, the largest is returned. If no cell is covered, the polygon is empty.
    """
    axes = [tuple(np.unique([line.at for line in each if line.kind == kind]) for kind in (0, 1)) for each in lines]
    masks = []
    for shape, (x, y) in zip(shapes, axes, strict=True):
        fits = min(len(x), len(y)) > 1 and len(x) * len(y) <= MOST_CELLS
        half = np.outer(np.diff(y), np.diff(x)) / 2 if fits else np.zeros((1, 1))
        inside = covered(shape, x, y) >= half if fits else np.zeros((1, 1), dtype=np.bool_)
        masks.append(Mask.from_array(inside))
    return [_placed(found, x, y) for found, (x, y) in zip(polygons(masks), axes, strict=True)]


def _placed(found: shapely.Geometry, x: Floats, y: Floats) -> shapely.Polygon:
    """Replace the cell indices of a polygon's corners by coordinates."""

    def place(xy: Floats) -> Floats:
        index = xy.astype(np.int64)
        return np.stack([x[index[:, 0]], y[index[:, 1]]], axis=1)

    return largest(shapely.transform(found, place))


def largest(found: shapely.Geometry) -> shapely.Polygon:
    """Return the polygon with the largest area in a geometry, or an empty one if there is none."""
    parts = [part for part in shapely.get_parts(found) if part.geom_type == "Polygon"]
    return max(parts, key=lambda part: part.area) if parts else shapely.Polygon()


def only_polygons(geometry: shapely.Geometry) -> shapely.MultiPolygon:
    """Return the polygons in the result of an overlay, without lines and points along which the inputs only touched."""
    parts = shapely.get_parts(geometry)
    return shapely.MultiPolygon(list(parts[shapely.get_dimensions(parts) == 2]))


def tidy(geometry: shapely.Geometry, grid: float) -> shapely.Polygon:
    """Remove parts that are thinner than a tenth of a millimetre, and return the largest polygon.

    Such parts are left when a polygon is cut along walls that are equal except for rounding.
    """
    thinner = shapely.buffer(only_polygons(geometry), -_NEEDLE, join_style="mitre", mitre_limit=50)
    whole = shapely.buffer(thinner, _NEEDLE, join_style="mitre", mitre_limit=50)
    return largest(shapely.simplify(shapely.set_precision(whole, grid), grid / 4))


def covered(shape: shapely.Polygon, x: Floats, y: Floats) -> Floats:
    """Measure the area of a polygon in each cell of a grid, exactly.

    By Green's theorem, the area left of X and below Y is, up to the sign, the line integral of ``min(y, Y) dx`` over the parts
    of the rings left of X. The areas of cells are differences of these areas.

    Parameters
    ----------
    shape : Polygon
        The polygon.
    x, y : ndarray, shapes (W + 1,) and (H + 1,)
        Ascending grid lines.

    Returns
    -------
    ndarray, shape (H, W)
        Areas.
    """
    shape = shapely.orient_polygons(shape)
    rings, total = shapely.get_rings(shape), np.zeros((len(y), len(x)))
    for ring in rings:
        xy = shapely.get_coordinates(ring)
        size = max(_MOST_TERMS // total.size, 1)
        for first in range(0, len(xy) - 1, size):
            total -= _below(xy[first : first + size + 1], x, y)
    return np.asarray(np.diff(np.diff(total, axis=0), axis=1))


def _below(xy: Floats, x: Floats, y: Floats) -> Floats:
    """Integrate ``min(y, Y) dx`` over the parts of edges left of each X; return shape (len(y), len(x))."""
    x0, x1, y0, y1 = xy[:-1, 0], xy[1:, 0], xy[:-1, 1], xy[1:, 1]
    across = x1 != x0
    x0, x1, y0, y1 = x0[across], x1[across], y0[across], y1[across]
    slope = (y1 - y0) / (x1 - x0)
    left, right = np.minimum(x0[:, None], x), np.minimum(x1[:, None], x)
    low, high = y0[:, None] + slope[:, None] * (left - x0[:, None]), y0[:, None] + slope[:, None] * (right - x0[:, None])
    # The mean of min(y, Y) over a straight edge is computed from the fraction of the edge that is below Y.
    low, high = low[:, None], high[:, None]
    least, most = np.minimum(low, high), np.maximum(low, high)
    top = y[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(most > least, (top - least) / (most - least), (top >= most).astype(np.float64))
    share = np.clip(share, 0, 1)
    mean = share * (least + np.minimum(most, top)) / 2 + (1 - share) * top
    mean = np.where(share == 0, top, mean)
    return np.asarray((mean * (right - left)[:, None]).sum(axis=0))


def diagonal_polygon(shape: shapely.Polygon, lines: list[Line]) -> shapely.Polygon:
    """Return the polygon along lines of all four normals; empty if no cell is covered, or if there are too many cells."""
    if not any(line.kind in DIAGONALS for line in lines) or len(lines) ** 2 > MOST_CELLS:
        return shapely.Polygon()
    x, y = (np.unique([line.at for line in lines if line.kind == kind]) for kind in (0, 1))
    if min(len(x), len(y)) < 2:
        return shapely.Polygon()
    frame = shapely.box(x[0], y[0], x[-1], y[-1])
    reach = 2 * (np.abs([x[0], x[-1]]).max() + np.abs([y[0], y[-1]]).max())
    cuts = [_cut(line, reach) for line in lines]
    drawn = shapely.intersection(shapely.union_all([*cuts], grid_size=STEP), frame)
    cells = shapely.get_parts(shapely.polygonize([shapely.union_all([drawn, frame.exterior], grid_size=STEP)]))
    inside = shapely.area(shapely.intersection(cells, shape)) >= shapely.area(cells) / 2
    if not inside.any():
        return shapely.Polygon()
    return largest(straight(shapely.union_all(cells[inside])))


def _cut(line: Line, reach: float) -> shapely.LineString:
    """Return a line as a line string that is long enough to cross the building."""
    normal = NORMALS[line.kind]
    foot = normal * line.at / (normal @ normal)
    along = np.array([-normal[1], normal[0]]) * np.ceil(reach)
    return shapely.LineString([foot - along, foot + along])


def straight(found: shapely.Geometry) -> shapely.Geometry:
    """Remove corners at which an outline does not turn."""
    return shapely.simplify(found, STEP / 4, preserve_topology=True)
