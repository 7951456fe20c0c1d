"""How candidates and proposals become objects among those that were accepted before.

Where a new outline overlaps accepted objects, it is cut, stays as it is, or is merged with objects of its class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.map.state.actions import Accept, AcceptProposals
from samgeo.map.state.values import Annotation, Prompt, Proposal, Rules, State, Suggestion

__all__ = ["Accepting", "accept", "accept_proposals", "cleared", "cut_by", "largest_part", "split"]

# Two outlines that touch share a strip of this part of a pixel at most, because coordinates are rounded.
TOUCH_PX = 1e-6

Geometries = NDArray[np.object_]


def cleared(state: State) -> State:
    """Return the state without clicks and box."""
    return replace(state, prompt=Prompt(), answer=Suggestion(), chosen=0)


def accept(state: State, action: Accept, rules: Rules) -> State:
    """Return the state after the chosen candidate was accepted.

    Raises
    ------
    OptionError
        If there is no candidate or no such class, or accepted objects cover the whole candidate.
    """
    state.class_list.check(action.class_name)
    offer = state.candidate
    if offer is None:
        why = "click on an object or draw a box around it first" if state.answer.reason is None else "click somewhere else"
        found = "" if state.answer.reason is None else f" ({state.answer.reason})"
        raise OptionError(f"there is no candidate to accept{found}; {why}.")
    parts = [name for name, there in (("box", state.prompt.box), ("clicks", state.prompt.points)) if there]
    made = Annotation(
        state.next_id,
        offer.geometry,
        action.class_name,
        offer.predicted_iou,
        offer.stability_score,
        offer.area,
        " and ".join(parts),
        complete=offer.complete,
        model=offer.model,
        accepted_at=action.at,
    )
    return replace(_placed(cleared(state), [made], rules)[0], next_id=state.next_id + 1)


def accept_proposals(state: State, action: AcceptProposals, rules: Rules) -> State:
    """Return the state after proposals were accepted. Those that accepted objects cover go on waiting.

    Raises
    ------
    OptionError
        If there is no such proposal or class, or accepted objects cover all of the proposals.
    """
    state.class_list.check(action.class_name)
    taken, _ = split(state.proposals, action.ids)
    after, ids = _placed(state, [_accepted(one, action) for one in taken], rules)
    return replace(after, proposals=tuple(one for one in state.proposals if one.id not in ids))


def _placed(state: State, new: Sequence[Annotation], rules: Rules) -> tuple[State, dict[int, int]]:
    """Return the state with new objects among the accepted ones, and the ids of those that were accepted; see `Accepting`.

    Raises
    ------
    OptionError
        If accepted objects leave nothing of the new ones.
    """
    accepting = Accepting(state.overlap, rules.pixel_area, rules.min_part, state.clean.largest_part, rules.measure)
    objects, ids = accepting(state.objects, new)
    if new and not ids:
        what = "the outline" if len(new) == 1 else f"all {len(new)} outlines"
        raise OptionError(
            f"accepted objects cover {what}, so that nothing is left to accept; choose keep or merge for overlaps."
        )
    selected = None if state.selected is None else ids.get(state.selected, state.selected)
    return replace(state, objects=objects, selected=selected), ids


def _accepted(one: Proposal, action: AcceptProposals) -> Annotation:
    named = one.class_name or action.class_name
    scores = one.predicted_iou, one.stability_score
    return Annotation(one.id, one.geometry, named, *scores, one.area, one.prompt, False, one.complete, one.model, action.at)


def split(proposals: tuple[Proposal, ...], ids: tuple[int, ...]) -> tuple[list[Proposal], tuple[Proposal, ...]]:
    """Return the proposals with these ids, and the others."""
    by_id = {one.id: one for one in proposals}
    missing = [id for id in ids if id not in by_id]  # noqa: A001 - the field's word
    if missing:
        raise OptionError(
            f"there is no proposal {missing[0]!r} among the {len(proposals)} open ones; it was accepted or rejected before."
        )
    wanted = set(ids)
    return [one for one in proposals if one.id in wanted], tuple(one for one in proposals if one.id not in wanted)


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
