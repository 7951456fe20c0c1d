"""The actions that split one object and merge several, applied to the objects of a state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from samgeo.errors import OptionError

if TYPE_CHECKING:
    import shapely

    from samgeo.map.state.reducer import Annotation, Rules, State

__all__ = ["merged_objects", "split_object"]


def split_object(state: State, id: int, pieces: Sequence[shapely.Geometry], rules: Rules) -> State:  # noqa: A002
    """Return the state after an object was split: the first piece keeps the id, and the others get new ones."""
    whole = state.object(id)
    numbers = (id, *range(state.next_id, state.next_id + len(pieces) - 1))
    made = [
        _drawn(whole, geometry, area, id=number)
        for number, geometry, area in zip(numbers, pieces, rules.measure(pieces), strict=True)
    ]
    kept = tuple(made[0] if one is whole else one for one in state.objects)
    return replace(state, objects=(*kept, *made[1:]), next_id=state.next_id + len(made) - 1)


def merged_objects(state: State, ids: tuple[int, ...], geometry: shapely.Geometry, rules: Rules) -> State:
    """Return the state after objects were merged: the first keeps its id and its class, and the others are removed.

    Raises
    ------
    OptionError
        If there are fewer than two objects, or one does not exist.
    """
    if len(set(ids)) != len(ids) or len(ids) < 2:
        raise OptionError(f"the objects to merge are {ids}; give the ids of two different objects or more.")
    members = [state.object(id) for id in ids]  # noqa: A001 - the field's word
    first, *others = members
    (area,) = rules.measure([geometry])
    model = first.model if all(one.model == first.model for one in others) else None
    made = replace(_drawn(first, geometry, area, id=first.id), complete=all(one.complete for one in members), model=model)
    gone = {one.id for one in others}
    kept = tuple(made if one is first else one for one in state.objects if one.id not in gone)
    return replace(state, objects=kept, selected=first.id if state.selected in gone else state.selected)


def _drawn(one: Annotation, geometry: shapely.Geometry, area: float, *, id: int) -> Annotation:  # noqa: A002
    """Return an object with an outline that was drawn by hand, which has no scores of the model."""
    return replace(one, id=id, geometry=geometry, area=area, predicted_iou=None, stability_score=None, edited=True)
