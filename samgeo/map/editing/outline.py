"""Move, insert and remove vertices of a polygon. Vertices that are not concerned keep their coordinates exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.errors import OptionError

__all__ = ["Outline"]

LEAST_VERTICES = 3

CROSSES = "the outline would cross itself, so that it stays as it was; move the vertex to another place."
OUTSIDE = "a hole would not lie inside the outline, so that it stays as it was; move the vertex to another place."


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """The rings of a polygon.

    Attributes
    ----------
    rings : tuple of ndarray, each of shape (N, 2)
        The rings of all parts, the outer ring of a part before its holes. The first vertex is not repeated at the end.
    parts : tuple of int
        For each ring, the number of its part.
    """

    rings: tuple[NDArray[np.float64], ...]
    parts: tuple[int, ...]

    @classmethod
    def of(cls, geometry: shapely.Geometry) -> Outline:
        """Return the rings of a polygon or multipolygon."""
        rings: list[NDArray[np.float64]] = []
        parts: list[int] = []
        for number, part in enumerate(shapely.get_parts(geometry).tolist()):
            found = [shapely.get_exterior_ring(part)]
            found += [shapely.get_interior_ring(part, hole) for hole in range(int(shapely.get_num_interior_rings(part)))]
            rings += [shapely.get_coordinates(ring)[:-1] for ring in found]
            parts += [number] * len(found)
        return cls(tuple(rings), tuple(parts))

    def moved(self, ring: int, vertex: int, to: tuple[float, float], before: int, after: int) -> shapely.Geometry:
        """Return the polygon with a vertex moved.

        Parameters
        ----------
        ring, vertex : int
        to : (float, float)
            The new place of the vertex.
        before, after : int
            The vertices of the ring that stay, on both sides. Those between them and the moved one move by a part of its way
            that falls to 0 along the ring, so that what is too fine to be seen keeps its shape.

        Raises
        ------
        OptionError
            If the polygon would not be valid.
        """
        points = self.rings[ring].copy()
        way = np.array(to) - points[vertex]
        for end, step in ((before, -1), (after, 1)):
            run = _run(vertex, end, len(points), step)
            along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(self.rings[ring][run], axis=0).T))])
            points[run[1:-1]] += way * (1 - along[1:-1, None] / along[-1])
        points[vertex] = to
        return self._with(ring, points)

    def inserted(self, ring: int, after: int, at: tuple[float, float]) -> shapely.Geometry:
        """Return the polygon with a new vertex behind another one.

        Raises
        ------
        OptionError
            If the polygon would not be valid.
        """
        return self._with(ring, np.insert(self.rings[ring], after + 1, at, axis=0))

    def removed(self, ring: int, vertex: int, before: int, after: int) -> shapely.Geometry:
        """Return the polygon without a vertex, and without those between it and the vertices on both sides that stay.

        A hole of which fewer than three vertices would be left is removed.

        Raises
        ------
        OptionError
            If fewer than three vertices of an outer ring would be left, or the polygon would not be valid.
        """
        count = len(self.rings[ring])
        gone = {*_run(vertex, before, count, -1)[:-1], *_run(vertex, after, count, 1)[:-1]}
        points = np.delete(self.rings[ring], sorted(gone), axis=0)
        if len(points) >= LEAST_VERTICES:
            return self._with(ring, points)
        if self._is_outer(ring):
            raise OptionError("an outline has three vertices or more, so that this one stays; to remove the object, delete it.")
        return self._with(ring, None)

    def _is_outer(self, ring: int) -> bool:
        return ring == 0 or self.parts[ring] != self.parts[ring - 1]

    def _with(self, ring: int, points: NDArray[np.float64] | None) -> shapely.Geometry:
        """Return the polygon with another ring, or without it."""
        rings = [points if number == ring else one for number, one in enumerate(self.rings)]
        made = []
        for part in range(self.parts[-1] + 1):
            own = [one for one, number in zip(rings, self.parts, strict=True) if number == part and one is not None]
            made.append(shapely.Polygon(own[0], own[1:]))
        geometry = made[0] if len(made) == 1 else shapely.MultiPolygon(made)
        if not shapely.is_valid(geometry):
            is_outside = shapely.is_valid_reason(geometry).startswith("Hole lies outside")
            raise OptionError(OUTSIDE if is_outside else CROSSES)
        return geometry


def _run(start: int, end: int, count: int, step: int) -> list[int]:
    """Return the vertices from one to another along a ring, both included; the whole ring where both are the same."""
    steps = (end - start) * step % count or count
    return [(start + step * number) % count for number in range(steps + 1)]
