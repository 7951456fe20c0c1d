"""An index of an area of interest: each question about a small place costs little, however many vertices the area has.

The vertices of each ring are kept in blocks of `BLOCK` neighbours, blocks of blocks, and so on, with the bounds of each. Near a
rectangle all edges are the given ones, bit for bit. A chain of vertices that lies above, below, left or right of the rectangle
is replaced by the edge from its first to its last vertex, which lies on the same side. Whether a point in the rectangle is
inside, outside or on an edge of the area is therefore the same for the few vertices that remain as for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray

__all__ = ["IndexedArea"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BLOCK = 32
"""Number of vertices in a block, and of blocks in a larger block."""

# Points are divided into halves until the product of their number and that of the vertices near them is at most this number.
MOST_COMPARED = 1 << 20

# Polygons are handled together with those of a similar size in the same cell of a grid, whose cells have this number of times
# their longer side, or this number of units if they are smaller.
CELL_SIDES, LEAST_CELL = 8.0, 128.0

# With more vertices than this, the area near the polygons of a cell is reduced again for each of them.
FEW_VERTICES = 512


@dataclass(frozen=True, eq=False)
class IndexedArea:
    """An area of interest that is asked many times about small places.

    Attributes
    ----------
    geometry : Polygon or MultiPolygon
        The area: valid and two-dimensional.

    Examples
    --------
    >>> import numpy as np
    >>> import shapely
    >>> from samgeo.geo.coordinates.indexed_area import IndexedArea
    >>> angle = np.linspace(0, 2 * np.pi, 40_000, endpoint=False)
    >>> island = IndexedArea(shapely.Polygon(500 + 400 * np.stack([np.cos(angle), np.sin(angle)], axis=1)))
    >>> near = island.near(490, 890, 510, 910)
    >>> len(island.geometry.exterior.coords), len(near.exterior.coords) < 1000
    (40001, True)
    >>> island.contains_xy(np.array([[500.0, 899.0], [500.0, 901.0]])).tolist()
    [True, False]
    """

    geometry: shapely.Geometry

    def __getstate__(self) -> dict[str, shapely.Geometry]:
        # The index is made again where it is needed, because it is larger than the area.
        return {"geometry": self.geometry}

    @cached_property
    def _blocks(self) -> _Blocks:
        return _Blocks.of(self.geometry)

    def near(self, x0: float, y0: float, x1: float, y1: float) -> shapely.Geometry:
        """Return a polygon or multipolygon that is equal to the area in a rectangle, with few vertices outside of it.

        Outside of the rectangle it is another area, and it may cross itself there.
        """
        return self._blocks.near((x0, y0, x1, y1))

    def meets(self, x0: float, y0: float, x1: float, y1: float) -> bool:
        """Return whether a rectangle has a point in the area or on its edge."""
        return bool(shapely.intersects(self.near(x0, y0, x1, y1), shapely.box(x0, y0, x1, y1)))

    def contains_xy(self, xy: Floats, *, on_edge: bool = False) -> NDArray[np.bool_]:
        """Return which points lie in the area.

        Parameters
        ----------
        xy : ndarray, shape (N, 2)
            Finite x and y.
        on_edge : bool, default False
            Whether points on an edge of the area are in it.
        """
        inside = np.zeros(len(xy), dtype=np.bool_)
        holds = shapely.intersects_xy if on_edge else shapely.contains_xy
        waiting = [np.arange(len(xy))] if len(xy) else []
        while waiting:
            some = waiting.pop()
            low, high = xy[some].min(axis=0), xy[some].max(axis=0)
            local = self.near(*low, *high)
            if len(some) * int(shapely.get_num_coordinates(local)) <= MOST_COMPARED or len(some) < 2 * BLOCK:
                inside[some] = holds(local, xy[some])
                continue
            order = some[np.argsort(xy[some, int(np.argmax(high - low))], kind="stable")]
            waiting += [order[: len(order) // 2], order[len(order) // 2 :]]
        return inside

    def intersects(self, polygons: NDArray[np.object_]) -> NDArray[np.bool_]:
        """Return which polygons, shape (N,), share a point with the area, also one on its edge; none that is empty does."""
        result = np.zeros(len(polygons), dtype=np.bool_)
        for some in _cells(polygons):
            local = self.near(*_around(polygons[some]))
            shapely.prepare(local)
            result[some] = shapely.intersects(local, polygons[some])
        return result

    def clip(self, polygons: NDArray[np.object_]) -> NDArray[np.object_]:
        """Return the parts of polygons, shape (N,), that are inside the area; an empty polygon if there is no such part.

        Polygons that are inside as a whole are returned as they are.
        """
        result = polygons.copy()
        result[shapely.is_empty(polygons)] = shapely.MultiPolygon()
        for some in _cells(polygons):
            local = self.near(*_around(polygons[some]))
            few = shapely.get_num_coordinates(local) <= FEW_VERTICES
            for number in some[~_inside(polygons[some], local)].tolist():
                # One unit of the surroundings is enough: the edges of the clipped surroundings are no edges of the result.
                around = _around(polygons[number : number + 1])
                near = shapely.clip_by_rect(local if few else self.near(*around), *around)
                parts = shapely.get_parts(shapely.intersection(polygons[number], shapely.make_valid(near)))
                surfaces = shapely.get_parts(parts[shapely.get_dimensions(parts) == 2])
                result[number] = surfaces[0] if len(surfaces) == 1 else shapely.multipolygons(surfaces)
        return result


@dataclass(frozen=True, slots=True, eq=False)
class _Blocks:
    """The vertices of an area and the bounds of their blocks.

    Attributes
    ----------
    xy : ndarray, shape (V, 2)
        Vertices of all rings, one ring after the other, without the last vertex of each, which is its first one.
    ring : ndarray, shape (V,)
        The ring of each vertex.
    part : ndarray, shape (R,)
        The polygon of each ring.
    turns_left : ndarray of bool, shape (R,)
        Whether each ring runs counter-clockwise.
    bounds : tuple of ndarray, shape (B, 4)
        For each level, from the smallest blocks to whole rings, x0, y0, x1, y1 of each block: of the edges from each of its
        vertices to the next vertex.
    first : tuple of ndarray, shape (B + 1,)
        For each level, the first vertex, or the first block of the level below, of each block.
    tree : STRtree
        The bounds of the rings.
    """

    xy: Floats
    ring: Integers
    part: Integers
    turns_left: NDArray[np.bool_]
    bounds: tuple[Floats, ...]
    first: tuple[Integers, ...]
    tree: shapely.STRtree

    @classmethod
    def of(cls, geometry: shapely.Geometry) -> _Blocks:
        rings, part = shapely.get_rings(shapely.get_parts(geometry), return_index=True)
        xy, ring = shapely.get_coordinates(rings, return_index=True)
        is_last = np.append(ring[1:] != ring[:-1], True) if len(ring) else np.zeros(0, dtype=np.bool_)
        following = np.flatnonzero(~is_last) + 1  # the last vertex of a ring is equal to its first one
        end, xy, ring = xy[following], xy[~is_last], ring[~is_last]
        lowest, highest = np.minimum(xy, end), np.maximum(xy, end)
        sizes = np.bincount(ring, minlength=len(rings))
        bounds, firsts = [], []
        while True:
            first, sizes = _divided(sizes)
            if len(first) == 1:
                bounds, firsts = [np.zeros((0, 4))], [first]
                break
            lowest, highest = np.minimum.reduceat(lowest, first[:-1]), np.maximum.reduceat(highest, first[:-1])
            bounds.append(np.concatenate([lowest, highest], axis=1))
            firsts.append(first)
            if (sizes == 1).all():
                break
        return cls(
            xy,
            ring,
            part,
            shapely.is_ccw(rings),
            tuple(bounds),
            tuple(firsts),
            shapely.STRtree(_objects(shapely.box(*bounds[-1].T))),
        )

    def near(self, rect: tuple[float, float, float, float]) -> shapely.Geometry:
        blocks = np.sort(self.tree.query(shapely.box(*rect)))
        chosen: list[Integers] = []
        for level in range(len(self.bounds) - 1, -1, -1):
            bounds = self.bounds[level][blocks]
            meets = (bounds[:, :2] <= rect[2:]).all(axis=1) & (bounds[:, 2:] >= rect[:2]).all(axis=1)
            # Of a block on one side of the rectangle the first vertex is enough: the last one is the first of the next block.
            skipped = blocks[~meets]
            for below in range(level, -1, -1):
                skipped = self.first[below][skipped]
            chosen.append(skipped)
            blocks = _ranges(self.first[level][blocks[meets]], self.first[level][blocks[meets] + 1])
        numbers = np.sort(np.concatenate([*chosen, blocks]))
        xy, ring = _without_outer_chains(self.xy[numbers], self.ring[numbers], rect)
        if not len(xy):
            return shapely.Polygon()
        numbers, inverse = np.unique(ring, return_inverse=True)
        rings = _objects(shapely.linearrings(xy, indices=inverse))
        for turned in np.flatnonzero(shapely.is_ccw(rings) != self.turns_left[numbers]).tolist():
            left = bool(self.turns_left[numbers[turned]])
            rings[turned] = shapely.linearrings(_with_loop(xy[inverse == turned], rect, left=left))
        part = np.unique(self.part[numbers], return_inverse=True)[1]
        polygons = _objects(shapely.polygons(rings, indices=part))
        result: shapely.Geometry = polygons[0] if len(polygons) == 1 else _objects(shapely.multipolygons(polygons))[0]
        return result


def _divided(sizes: Integers) -> tuple[Integers, Integers]:
    """Divide each ring, of which ``sizes`` are given, into blocks; return where these begin, and how many each ring has."""
    counts = -(-sizes // BLOCK)
    ring_begins = np.cumsum(sizes) - sizes
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.append(np.repeat(ring_begins, counts) + within * BLOCK, sizes.sum()), counts


def _ranges(begin: Integers, end: Integers) -> Integers:
    """Return the whole numbers from each begin to before each end, one after the other."""
    lengths = end - begin
    numbers: Integers = np.arange(int(lengths.sum())) + np.repeat(begin - (np.cumsum(lengths) - lengths), lengths)
    return numbers


def _without_outer_chains(xy: Floats, ring: Integers, rect: tuple[float, float, float, float]) -> tuple[Floats, Integers]:
    """Leave out the vertices within chains that lie on one side of a rectangle, and rings that lie on one side of it."""
    x0, y0, x1, y1 = rect
    for axis, is_low, limit in ((0, True, x0), (0, False, x1), (1, True, y0), (1, False, y1)):
        if not len(xy):
            break
        out = xy[:, axis] < limit if is_low else xy[:, axis] > limit
        begins = np.flatnonzero(np.append(True, ring[1:] != ring[:-1]))
        ends = np.append(begins[1:], len(ring)) - 1
        before, after = np.roll(out, 1), np.roll(out, -1)
        before[begins], after[ends] = out[ends], out[begins]
        kept = ~(out & before & after)
        xy, ring = xy[kept], ring[kept]
    counts = np.bincount(ring, minlength=1)
    # A ring that meets the rectangle, or goes around it, has at least three vertices that are not on one side of it.
    enough = counts[ring] > 2 if len(ring) else np.zeros(0, dtype=np.bool_)
    return xy[enough], ring[enough]


def _with_loop(xy: Floats, rect: tuple[float, float, float, float], *, left: bool) -> Floats:
    """Add a loop to a ring, outside of a rectangle and above all vertices, which decides in which direction the ring runs.

    `shapely.clip_by_rect` asks in which direction rings run, and looks at their highest vertices.
    """
    x0, _, x1, y1 = rect
    beside = np.flatnonzero((xy[:, 0] < x0) | (xy[:, 0] > x1) | (xy[:, 1] > y1))
    if not len(beside):
        return xy
    at = int(beside[0])
    x, top = float(xy[at, 0]), float(max(xy[:, 1].max(), y1)) + 1.0
    ends = [[x, top], [x + (1.0 if x > x1 else -1.0), top]]
    ends.sort(reverse=left)
    return np.concatenate([xy[: at + 1], ends, xy[at:]])


def _cells(polygons: NDArray[np.object_]) -> list[Integers]:
    """Return groups of neighbouring polygons of a similar size, which together have all polygons that are not empty."""
    bounds = shapely.bounds(polygons).reshape(-1, 4)
    there = np.flatnonzero(np.isfinite(bounds).all(axis=1))
    if not len(there):
        return []
    bounds = bounds[there]
    side = (bounds[:, 2:] - bounds[:, :2]).max(axis=1)
    size = np.ceil(np.log2(np.maximum(side * CELL_SIDES, LEAST_CELL)))
    middle = (bounds[:, :2] + bounds[:, 2:]) / 2
    keys = np.column_stack([size, np.floor(middle / np.exp2(size)[:, None])])
    order = np.lexsort(keys.T[::-1])
    changes = np.flatnonzero((np.diff(keys[order], axis=0) != 0).any(axis=1)) + 1
    return np.split(there[order], changes)


def _around(polygons: NDArray[np.object_]) -> tuple[float, float, float, float]:
    """Return the bounds of polygons and one unit around them."""
    x0, y0, x1, y1 = (shapely.total_bounds(polygons) + np.array([-1.0, -1.0, 1.0, 1.0])).tolist()
    return x0, y0, x1, y1


def _inside(polygons: NDArray[np.object_], local: shapely.Geometry) -> NDArray[np.bool_]:
    """Return which polygons lie in an area or touch its edge from inside. The area may cross itself away from them.

    A polygon is inside if no edge of the area has a point inside the polygon, and a point of each of its parts is in the area.
    """
    parts, owner = shapely.get_parts(polygons, return_index=True)
    points = shapely.get_coordinates(shapely.point_on_surface(parts))
    result = np.ones(len(polygons), dtype=np.bool_)
    result[owner[~shapely.contains_xy(local, points)]] = False
    edges = _edges(local)
    if not len(edges) or not result.any():
        return result
    tree = shapely.STRtree(edges)
    some = np.flatnonzero(result)
    who, which = tree.query(polygons[some], predicate="intersects")
    begins = np.flatnonzero(np.append(np.ones(min(len(who), 1), dtype=np.bool_), np.diff(who) != 0))
    for begin, end in pairwise([*begins.tolist(), len(who)]):
        number = some[who[begin]]
        crossing = shapely.multilinestrings(edges[which[begin:end]])
        result[number] = not shapely.relate_pattern(crossing, polygons[number], "T********")
    return result


def _edges(geometry: shapely.Geometry) -> NDArray[np.object_]:
    """Return the edges of polygons as single lines."""
    xy, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(geometry)), return_index=True)
    follows = np.flatnonzero(ring[1:] == ring[:-1]) if len(ring) else np.zeros(0, dtype=np.int64)
    return _objects(shapely.linestrings(np.stack([xy[follows], xy[follows + 1]], axis=1)))


def _objects(geometries: object) -> NDArray[np.object_]:
    """Return one geometry, or an array of them, as an array of shape (N,)."""
    return np.asarray(geometries, dtype=object).reshape(-1)
