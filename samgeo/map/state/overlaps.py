"""Where new objects overlap accepted ones: the new outline is cut, stays as it is, or is merged with objects of its class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

if TYPE_CHECKING:
    from samgeo.map.state.values import Annotation

__all__ = ["Accepting", "cut_by", "largest_part"]

# Two outlines that touch share a strip of this part of a pixel at most, because coordinates are rounded.
TOUCH_PX = 1e-6

Geometries = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Accepting:
    """How new objects are placed among the accepted ones.

    Attributes
    ----------
    overlap : str
        "cut", "keep" or "merge".
    pixel_area : float
        Area of a pixel of the raster in the units of its CRS.
    min_part : float
        Parts of fewer pixels that a cut leaves are dropped.
    is_largest : bool
        Whether only the largest part that a cut leaves is kept.
    measure : callable
        Returns the areas of geometries in the raster's CRS.
    """

    overlap: str
    pixel_area: float
    min_part: float
    is_largest: bool
    measure: Callable[[Sequence[shapely.Geometry]], list[float]]

    def __call__(
        self, objects: tuple[Annotation, ...], new: Sequence[Annotation]
    ) -> tuple[tuple[Annotation, ...], dict[int, int]]:
        """Return the objects after new ones were accepted, and for each new id the id of its object.

        New objects are taken in the order of their scores, the highest first, and those without a score last; of two with the
        same score the one with the lower id is first. A new object of which a cut leaves nothing is not accepted, and has no id
        in the result.
        """
        if self.overlap == "keep" or not new:
            return (*objects, *new), {one.id: one.id for one in new}
        order = sorted(new, key=lambda one: (np.inf if one.predicted_iou is None else -one.predicted_iou, one.id))
        return (self._cut if self.overlap == "cut" else self._merge)(objects, new, order)

    def _cut(
        self, objects: tuple[Annotation, ...], new: Sequence[Annotation], order: Sequence[Annotation]
    ) -> tuple[tuple[Annotation, ...], dict[int, int]]:
        there = _array(objects)
        given, least = _array(order), TOUCH_PX * self.pixel_area
        by_accepted, by_new = _overlapping(given, there, least), _overlapping(given, given, least)
        left: dict[int, shapely.Geometry] = {}
        for number, one in enumerate(order):
            cutting = [there[other] for other in by_accepted.get(number, ())]
            cutting += [left[other] for other in by_new.get(number, ()) if other < number and other in left]
            rest = self._left(one.geometry, cutting)
            if rest is not None:
                left[number] = rest
        changed = [number for number, rest in left.items() if rest is not order[number].geometry]
        areas = dict(zip(changed, self.measure([left[number] for number in changed]), strict=True)) if changed else {}
        after = {
            order[number].id: replace(order[number], geometry=rest, area=areas.get(number, order[number].area))
            for number, rest in left.items()
        }
        return (*objects, *(after[one.id] for one in new if one.id in after)), {number: number for number in after}

    def _left(self, geometry: shapely.Geometry, others: Sequence[shapely.Geometry]) -> shapely.Geometry | None:
        """Return what accepted outlines leave of a new one; None if they leave nothing."""
        if not others:
            return geometry
        return cut_by(geometry, others, max(self.min_part, TOUCH_PX) * self.pixel_area, is_largest=self.is_largest)

    def _merge(
        self, objects: tuple[Annotation, ...], new: Sequence[Annotation], order: Sequence[Annotation]
    ) -> tuple[tuple[Annotation, ...], dict[int, int]]:
        """Join each new object with the objects of its class that it overlaps by a pixel or more."""
        position = {one.id: number for number, one in enumerate(order)}
        everything = [*objects, *order]
        pairs = _overlapping(_array(order), _array(everything), self.pixel_area)
        # For each object that was joined with another one, the place of that other object in the list.
        joined: dict[int, int] = {}

        def root(place: int) -> int:
            while place in joined:
                place = joined[place]
            return place

        members: dict[int, list[int]] = {}
        for number, one in enumerate(order):
            own = len(objects) + number
            found = {
                root(other) for other in pairs.get(number, ()) if other < own and everything[other].class_name == one.class_name
            }
            if found:
                first, *others = sorted({*found, own})
                members[first] = [place for each in (first, *others) for place in members.pop(each, [each])]
                joined |= dict.fromkeys(others, first)
        shapes = {first: shapely.union_all([everything[place].geometry for place in some]) for first, some in members.items()}
        areas = dict(zip(shapes, self.measure(list(shapes.values())), strict=True))
        for first, some in members.items():
            parts = [everything[place] for place in some]
            everything[first] = replace(
                parts[0],
                geometry=shapes[first],
                area=areas[first],
                predicted_iou=None,
                stability_score=None,
                complete=all(part.complete for part in parts),
                accepted_at=max((part.accepted_at for part in parts if part.accepted_at), default=None),
            )
        kept = tuple(everything[place] for place in range(len(objects)) if place not in joined)
        added = (len(objects) + position[one.id] for one in new)
        ids = {one.id: everything[root(len(objects) + position[one.id])].id for one in new}
        ids |= {objects[place].id: everything[root(place)].id for place in joined if place < len(objects)}
        return (*kept, *(everything[place] for place in added if place not in joined)), ids


def cut_by(
    geometry: shapely.Geometry, others: Sequence[shapely.Geometry], least: float, *, is_largest: bool = False
) -> shapely.Geometry | None:
    """Return what others leave of a polygon, without parts of less than an area; None if they leave nothing.

    Parameters
    ----------
    geometry : Polygon or MultiPolygon
    others : sequence of Polygon or MultiPolygon
    least : float
        The area, in the units of the coordinates.
    is_largest : bool, default False
        Whether only the largest part is left.
    """
    rest = shapely.difference(geometry, shapely.union_all(list(others)))
    parts = shapely.get_parts(shapely.get_parts(rest))
    parts = parts[(shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & (shapely.area(parts) >= least)]
    if not len(parts):
        return None
    found: shapely.Geometry = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts.tolist())
    return largest_part(found) if is_largest else found


def largest_part(geometry: shapely.Geometry) -> shapely.Geometry:
    """Return the largest polygon of a geometry, the first one of several."""
    parts = shapely.get_parts(geometry)
    found: shapely.Geometry = parts[int(np.argmax(shapely.area(parts)))]
    return found


def _array(objects: Sequence[Annotation]) -> Geometries:
    found = np.empty(len(objects), dtype=object)
    found[:] = [one.geometry for one in objects]
    return found


def _overlapping(some: Geometries, others: Geometries, least: float) -> dict[int, list[int]]:
    """Return for each of some geometries those of others, in their order, with which it shares more than an area."""
    if not len(some) or not len(others):
        return {}
    one, other = shapely.STRtree(others).query(some, predicate="intersects")
    shared = shapely.area(shapely.intersection(some[one], others[other])) > least
    found: dict[int, list[int]] = {}
    for first, second in sorted(zip(one[shared].tolist(), other[shared].tolist(), strict=True)):
        found.setdefault(first, []).append(second)
    return found
