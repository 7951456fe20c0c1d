"""How much of each pixel a polygon covers, exactly: antialiasing without sampling.

An edge that crosses a pixel adds its height within the pixel to all pixels right of it in the row; to the pixel itself it adds
only the area right of the edge. The sign depends on the direction of the edge. The sum of these contributions is the covered
area of the pixel. The method is that of FreeType's smooth rasteriser
(Raph Levien, https://medium.com/@raphlinus/inside-the-fastest-font-renderer-in-the-world-75ae5270c445), here for all edges of
many polygons at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray

__all__ = ["coverages"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def coverages(geometries: NDArray[np.object_], boxes: Ints) -> Iterator[NDArray[np.float32]]:
    """Yield the share of each pixel that each polygon covers.

    Parameters
    ----------
    geometries : ndarray of N Polygon or MultiPolygon
        Polygons in pixel coordinates, with the outer corner of the first pixel at (0, 0). They may reach outside their box.
    boxes : ndarray of int, shape (N, 4)
        ``x0, y0, x1, y1`` of the pixels to compute, for each polygon.

    Yields
    ------
    ndarray of float32, shape (y1 - y0, x1 - x0)
        Shares from 0 to 1, one array per polygon.
    """
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    # Two extra columns hold the contributions right of the box.
    ends = np.cumsum(height * (width + 2))
    starts = ends - height * (width + 2)
    owner, direction, low, high = _edges(geometries)
    low, high = low - boxes[owner, :2], high - boxes[owner, :2]
    # The shift can round the height of a nearly horizontal edge to zero.
    is_steep = low[:, 1] < high[:, 1]
    owner, direction, low, high = owner[is_steep], direction[is_steep], low[is_steep], high[is_steep]
    edge, row, height_px, left, right = _cut_by_rows(low, high, height[owner])
    part, column, share, inset = _cut_by_columns(left, right, width[owner[edge]])
    edge, row, height_px = edge[part], row[part], height_px[part] * share * direction[edge[part]]
    owner = owner[edge]
    place = starts[owner] + row * (width[owner] + 2) + column
    size = int(ends[-1]) if len(ends) else 0
    sums = np.bincount(place, height_px * (1 - inset), size) + np.bincount(place + 1, height_px * inset, size)
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        rows = sums[start:end].reshape(height[index], width[index] + 2)[:, : width[index]]
        yield np.clip(np.cumsum(rows, axis=1), 0, 1).astype(np.float32)


def _edges(geometries: NDArray[np.object_]) -> tuple[Ints, Floats, Floats, Floats]:
    """Return for each edge its polygon, whether the inside is right (1) or left (-1) of it, its upper and its lower end."""
    parts, part_owner = shapely.get_parts(geometries, return_index=True)
    rings, ring_part = shapely.get_rings(parts, return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    is_edge = ring[:-1] == ring[1:]
    start, end, ring = xy[:-1][is_edge], xy[1:][is_edge], ring[:-1][is_edge]
    area = np.bincount(ring, (start[:, 0] * end[:, 1] - end[:, 0] * start[:, 1]), len(rings))
    is_outer = np.diff(ring_part, prepend=-1) > 0
    inside = np.where(is_outer, -np.sign(area), np.sign(area))[ring] * np.sign(end[:, 1] - start[:, 1])
    owner = part_owner[ring_part[ring]]
    is_down = (end[:, 1] > start[:, 1])[:, np.newaxis]
    used = inside != 0
    low, high = np.where(is_down, start, end), np.where(is_down, end, start)
    return owner[used], inside[used], low[used], high[used]


def _cut_by_rows(low: Floats, high: Floats, height: Ints) -> tuple[Ints, Ints, Floats, Floats, Floats]:
    """Cut edges into the parts within each row of pixels.

    Returns the edge of each part, its row, its height, and the x of its left and its right end.
    """
    slope = (high[:, 0] - low[:, 0]) / (high[:, 1] - low[:, 1])
    top, bottom = np.maximum(low[:, 1], 0), np.minimum(high[:, 1], height)
    first = np.floor(top).astype(np.int64)
    edge, step = _count_up(np.where(top < bottom, np.ceil(bottom) - first, 0).astype(np.int64))
    row = first[edge] + step
    top, bottom = np.maximum(top[edge], row), np.minimum(bottom[edge], row + 1)
    x_top = low[edge, 0] + (top - low[edge, 1]) * slope[edge]
    x_bottom = low[edge, 0] + (bottom - low[edge, 1]) * slope[edge]
    return edge, row, bottom - top, np.minimum(x_top, x_bottom), np.maximum(x_top, x_bottom)


def _cut_by_columns(left: Floats, right: Floats, width: Ints) -> tuple[Ints, Ints, Floats, Floats]:
    """Cut the parts of a row into pieces within each pixel. Pieces outside the box count as on its edge.

    Returns the part of the row of each piece, its column, its share of the part, and how far right in the pixel its middle is.
    """
    first = np.clip(np.floor(left), -1, width).astype(np.int64)
    last = np.clip(np.ceil(right) - 1, first, width).astype(np.int64)
    part, step = _count_up(last - first + 1)
    column = first[part] + step
    piece_left = np.where(step == 0, left[part], column)
    piece_right = np.where(column == last[part], right[part], column + 1)
    length = (right - left)[part]
    share = np.divide(piece_right - piece_left, length, out=np.ones_like(length), where=length > 0)
    inset = np.where(column < 0, 0, np.clip((piece_left + piece_right) / 2 - column, 0, 1))
    return part, np.maximum(column, 0), share, inset


def _count_up(counts: Ints) -> tuple[Ints, Ints]:
    """Repeat each index as often as its count says, and count the repetitions from 0."""
    index = np.repeat(np.arange(len(counts)), counts)
    return index, np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
