"""Conversion of masks from runs to polygons along pixel edges: exact and valid, for many masks at once, without images.

Consider the grid line between two rows of pixels. If only one of the rows has an end of a run at a place, the place is a corner
of the outline. If both rows have the same kind of end there, it is on a straight vertical edge. If one row starts and the other
stops there, two pixels touch at a corner: the place is a saddle, which counts as two corners. The corners of a line, taken in
pairs from left to right, are the ends of horizontal edges; the corners of a column, in pairs from top to bottom, are the ends
of vertical edges. The rings follow horizontal and vertical edges in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.segmentation.masks.cleaning import connected_runs
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.profile import timed

if TYPE_CHECKING:
    from affine import Affine

__all__ = ["georeference", "polygons"]

Ints = NDArray[np.int64]

# A corner is its position and two more bits in an int64.
_MOST_PLACES = 1 << 60


@timed("vectorize")
def polygons(masks: Sequence[Mask]) -> NDArray[np.object_]:
    """Return the outlines of masks as polygons along pixel edges.

    Foreground is 4-connected: pixels that touch only at a corner belong to separate parts, whose outlines touch there. Every
    geometry is valid, covers exactly the mask's pixels, and has a vertex only where its outline turns.

    Parameters
    ----------
    masks : sequence of Mask
        In raster pixels.

    Returns
    -------
    ndarray of shapely Polygon or MultiPolygon, shape (len(masks),)
        In integer pixel coordinates, x to the right and y down. Exteriors have a negative signed area here, holes a positive
        one, so that exteriors run counter-clockwise after a transform to north-up coordinates. An empty mask gives an empty
        Polygon.

    Raises
    ------
    OptionError
        If the masks together span more than 2**60 pixels: the rows of all masks times the columns of the widest.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.segmentation.masks.mask import Mask
    >>> from samgeo.segmentation.masks.vectorize import polygons
    >>> (outline,) = polygons([Mask.from_array(np.ones((2, 3), dtype=bool))])
    >>> outline.bounds, outline.area
    ((0.0, 0.0, 3.0, 2.0), 6.0)
    """
    result = np.full(len(masks), shapely.Polygon(), dtype=np.object_)
    filled = np.array([index for index, mask in enumerate(masks) if not mask.is_empty], dtype=np.int64)
    if len(filled) == 0:
        return result
    rows = _Rows.of([masks[index] for index in filled])
    corners = rows.corners()
    vertices, starts = _rings(corners, rows.width)
    sizes = np.diff(starts, append=len(vertices))
    x, y, owner = rows.place(corners >> 2)
    x, y, first = x[vertices], y[vertices], vertices[starts]
    is_shell = _signed_areas(x, y, starts) < 0
    polygon, polygon_owner = _group(rows, corners[first], owner[first], is_shell)
    rings = np.asarray(
        shapely.linearrings(np.stack([x, y], axis=1).astype(np.float64), indices=np.repeat(np.arange(len(starts)), sizes)),
        dtype=np.object_,
    )
    order = np.lexsort([~is_shell, polygon])
    parts = np.asarray(shapely.polygons(rings[order], indices=polygon[order]), dtype=np.object_)
    count = np.bincount(polygon_owner, minlength=len(filled))
    single = count[polygon_owner] == 1
    result[filled[polygon_owner[single]]] = parts[single]
    if not single.all():
        several, index = np.unique(polygon_owner[~single], return_inverse=True)
        result[filled[several]] = shapely.multipolygons(parts[~single], indices=index)
    return result


def georeference(geometries: NDArray[np.object_], transform: Affine) -> NDArray[np.object_]:
    """Transform geometries from pixels to the coordinates of a raster's CRS.

    Parameters
    ----------
    geometries : ndarray of shapely geometries
        From `polygons`, in pixels.
    transform : affine.Affine
        From pixels to the CRS, as in ``GeoBox.affine``.

    Returns
    -------
    ndarray of shapely geometries
        Exteriors run counter-clockwise and holes clockwise, even if the transform flips an axis.

    Raises
    ------
    OptionError
        If the determinant of the transform is 0.
    """
    turn = transform.a * transform.e - transform.b * transform.d
    if turn == 0:
        raise OptionError(f"pixels have no area with the transform {tuple(transform)[:6]}; give the transform of the raster.")

    def apply(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = xy.T
        return np.stack(
            [transform.a * x + transform.b * y + transform.c, transform.d * x + transform.e * y + transform.f], axis=1
        )

    moved = np.asarray(shapely.transform(geometries, apply), dtype=np.object_)
    return moved if turn < 0 else np.asarray(shapely.reverse(moved), dtype=np.object_)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of all masks below one another, with all runs on one line. Each mask has its own band of grid lines.

    The position of ``(line, x)`` is ``line * width + x``, with ``x`` counted from the mask's left side. The line below a mask's
    last row belongs to its band too, so that rows of different masks never touch.
    """

    start: Ints
    stop: Ints
    width: int
    band: Ints
    left: Ints
    top: Ints

    @classmethod
    def of(cls, masks: Sequence[Mask]) -> _Rows:
        lengths = np.array([len(mask.runs) for mask in masks])
        y, x_start, x_stop = np.concatenate([mask.runs for mask in masks]).astype(np.int64).T
        first = np.cumsum(lengths) - lengths
        left, top = np.minimum.reduceat(x_start, first), y[first]
        width = int((np.maximum.reduceat(x_stop, first) - left).max()) + 1
        heights = y[first + lengths - 1] - top + 2
        band = np.cumsum(heights) - heights
        if int(band[-1] + heights[-1]) * width > _MOST_PLACES:
            raise OptionError(
                f"{len(masks)} masks span {int(heights.sum())} rows of up to {width} pixels, "
                "too many for numbers of int64; convert fewer masks at a time."
            )
        place = (y + np.repeat(band - top, lengths)) * width - np.repeat(left, lengths)
        return cls(place + x_start, place + x_stop, width, band, left, top)

    def place(self, places: Ints) -> tuple[Ints, Ints, Ints]:
        """Return x and y in raster pixels, and the index of the mask, of positions."""
        line, x = np.divmod(places, self.width)
        mask = np.searchsorted(self.band, line, side="right") - 1
        return x + self.left[mask], line - self.band[mask] + self.top[mask], mask

    def corners(self) -> Ints:
        """Return corners as ``place * 4 + is_start * 2 + is_below``, sorted.

        ``is_start`` is the kind of the run's end, ``is_below`` whether the run is below the line. In this order the stop of a
        saddle is before its start: the edge on its left then joins the pixel on its left, and diagonal pixels are separated.
        """
        ends = np.concatenate([self.stop * 4, self.start * 4 + 2])
        ends = np.sort(np.concatenate([ends + 1, ends + 4 * self.width]))
        kind = ends >> 1
        straight = np.zeros(len(ends) + 1, dtype=np.bool_)
        straight[1:-1] = kind[1:] == kind[:-1]
        return ends[~(straight[1:] | straight[:-1])]

    def components(self, corners: Ints, masks: Ints) -> Ints:
        """Return the number of the 4-connected component on whose outline each corner of these masks is."""
        wanted = np.isin(self.place(self.start)[2], masks)
        start, stop = self.start[wanted], self.stop[wanted]
        component = connected_runs(start, stop, self.width)
        end = (corners >> 2) - np.where(corners & 1, 0, self.width)
        return component[np.where(corners & 2, np.searchsorted(start, end), np.searchsorted(stop, end))]


def _rings(corners: Ints, width: int) -> tuple[Ints, Ints]:
    """Return the indices of the corners along all rings, and the position in them at which each ring starts.

    On a screen, foreground is on the left hand of the direction of a ring. No ring passes a place twice.
    """
    line, x = np.divmod(corners >> 2, width)
    by_column = np.argsort((x * (line[-1] + 1) + line) * 2 + (corners & 1))
    across = np.empty(len(corners), dtype=np.int64)
    across[by_column[0::2]], across[by_column[1::2]] = by_column[1::2], by_column[0::2]
    # Corners 2i and 2i + 1 are the ends of a horizontal edge. If the foreground is below it, the edge runs to the left.
    left = corners[0::2]
    tail = np.arange(0, len(corners), 2) + ((left >> 1 & 1) == (left & 1))
    following = (across[tail ^ 1] >> 1).tolist()
    edges: list[int] = []
    starts: list[int] = []
    for start in range(len(following)):
        if following[start] < 0:
            continue
        starts.append(2 * len(edges))
        edges.append(start)
        edge, following[start] = following[start], -1
        while edge != start:
            edges.append(edge)
            # Python evaluates the right side first, so the successor is read before it is overwritten.
            following[edge], edge = -1, following[edge]
    tail = tail[edges]
    return _simple(np.stack([tail, tail ^ 1], axis=1).ravel(), np.array(starts, dtype=np.int64), corners >> 2)


def _simple(vertices: Ints, starts: Ints, places: Ints) -> tuple[Ints, Ints]:
    """Cut each ring that passes a place twice into rings that do not. A hole then touches its exterior or another hole."""
    sizes = np.diff(starts, append=len(vertices))
    ring = np.empty(len(vertices), dtype=np.int64)
    ring[vertices] = np.repeat(np.arange(len(starts)), sizes)
    twice = np.unique(ring[1:][(places[1:] == places[:-1]) & (ring[1:] == ring[:-1])])
    if len(twice) == 0:
        return vertices, starts
    pieces, lengths, done = [], [], 0
    bounds = np.append(starts, len(vertices))
    for index in twice.tolist():
        loops = _loops(vertices[bounds[index] : bounds[index + 1]], places)
        pieces += [vertices[bounds[done] : bounds[index]], *loops]
        lengths += [sizes[done:index], [len(loop) for loop in loops]]
        done = index + 1
    vertices = np.concatenate([*pieces, vertices[bounds[done] :]])
    sizes = np.concatenate([*lengths, sizes[done:]]).astype(np.int64)
    return vertices, np.cumsum(sizes) - sizes


def _loops(ring: Ints, places: Ints) -> list[Ints]:
    loops: list[Ints] = []
    path: list[int] = []
    met: dict[int, int] = {}
    place_of = dict(zip(ring.tolist(), places[ring].tolist(), strict=True))
    for vertex, place in place_of.items():
        if place in met:
            loop = path[met[place] :]
            del path[met[place] :]
            for passed in loop:
                del met[place_of[passed]]
            loops.append(np.array(loop, dtype=np.int64))
        met[place] = len(path)
        path.append(vertex)
    return [*loops, np.array(path, dtype=np.int64)]


def _signed_areas(x: Ints, y: Ints, starts: Ints) -> Ints:
    following = np.arange(1, len(x) + 1)
    following[np.append(starts[1:], len(x)) - 1] = starts
    # Only horizontal edges add area between them and the axis. Differences from the ring's start keep the sum within int64.
    return -np.add.reduceat((x[following] - x) * (y - np.repeat(y[starts], np.diff(starts, append=len(x)))), starts)


def _group(rows: _Rows, corner: Ints, owner: Ints, is_shell: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Return the polygon of each ring and the mask of each polygon, given one corner of each ring and its mask.

    If a mask has several shells, a hole belongs to the shell of the component on whose outline it is.
    """
    shells, holes = np.flatnonzero(is_shell), np.flatnonzero(~is_shell)
    polygon = np.empty(len(owner), dtype=np.int64)
    polygon[shells] = np.arange(len(shells))
    polygon[holes] = np.searchsorted(owner[shells], owner[holes])
    several = np.bincount(owner[shells])[owner[holes]] > 1
    if several.any():
        holes, masks = holes[several], np.unique(owner[holes[several]])
        among = shells[np.isin(owner[shells], masks)]
        component = rows.components(corner[among], masks)
        shell_of = np.empty(int(component.max()) + 1, dtype=np.int64)
        shell_of[component] = polygon[among]
        polygon[holes] = shell_of[rows.components(corner[holes], masks)]
    return polygon, owner[shells]
