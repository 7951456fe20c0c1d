"""Find the differences between two lists of objects, and merge the changes of other programs into a history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from samgeo.map.state.actions import Change, Merge
from samgeo.map.state.values import Annotation, Proposal, State

__all__ = ["differences", "merged", "new_ids", "reconciled", "with_changes"]

# The area is not compared, because it follows from the geometry.
_COMPARED = (
    "geometry",
    "class_name",
    "predicted_iou",
    "stability_score",
    "prompt",
    "edited",
    "complete",
    "model",
    "accepted_at",
)


def differences(before: Iterable[Annotation], after: Iterable[Annotation]) -> dict[int, Change]:
    """Return the changes, by id, that turn ``before`` into ``after``. The order of the objects is ignored."""
    old, new = ({one.id: one for one in objects} for objects in (before, after))
    found = {number: Change(number, "removed", {}) for number in old if number not in new}
    for number, one in new.items():
        was = old.get(number)
        if was is one:
            continue
        if was is None:
            found[number] = Change(number, "added", _values(one))
        elif changed := {name: getattr(one, name) for name in _COMPARED if getattr(one, name) != getattr(was, name)}:
            found[number] = Change(number, "changed", changed | ({"area": one.area} if "geometry" in changed else {}))
    return found


def reconciled(
    base: Sequence[Annotation], theirs: Sequence[Annotation], ours: Sequence[Annotation], next_id: int, *, wait: bool
) -> list[Change]:
    """Return the changes to take over from the saved file. Both the file and the session may have changed the same objects.

    No change of either side is lost. If both sides changed an attribute to different values, the session's object keeps its
    value, and the object of the file becomes a second object. An object that one side removed and the other changed stays.

    Parameters
    ----------
    base : sequence of Annotation
        The objects that both sides started from.
    theirs : sequence of Annotation
        The current objects of the file.
    ours : sequence of Annotation
        The current objects of the session.
    next_id : int
        The next free id, for second objects.
    wait : bool
        Whether objects that were removed from the file become proposals, which can be accepted again.
    """
    here, there = differences(base, ours), {one.id: one for one in theirs}
    next_id = max([next_id, *(number + 1 for number in there)])
    found: list[Change] = []
    for number, change in differences(base, theirs).items():
        own = here.get(number)
        if own is None:
            found.append(replace(change, wait=wait) if change.kind == "removed" else change)
        elif change.kind == "removed":
            continue  # The session writes its own change to the file again.
        elif own.kind == "removed":
            found.append(Change(number, "restored", _values(there[number])))
        elif own.kind == "added":
            if own.values != change.values:
                found.append(change)
        elif _clash(own.values, change.values):
            found.append(Change(next_id, "added", _values(there[number])))
            next_id += 1
        else:
            found.append(change)
    return found


def merged(states: Sequence[State], merge: Merge) -> list[State]:
    """Return the states of a history as if the changes of others had been there from the start.

    Undo then takes back only the session's own actions, never the changes of others.
    """
    renamed = new_ids(states, merge)
    next_id = max(
        [state.next_id for state in states]
        + [change.id + 1 for change in merge.changes]
        + [number + 1 for number in renamed.values()]
    )
    named = [change.values["class_name"] for change in merge.changes if "class_name" in change.values]
    return [
        replace(
            with_changes(_renamed(state, renamed), merge.changes),
            next_id=next_id,
            class_list=state.class_list.with_others((*named, *merge.classes), merge.colors),
        )
        for state in states
    ]


def new_ids(states: Sequence[State], merge: Merge) -> dict[int, int]:
    """Return new ids for objects and proposals of a history whose ids other programs have used for their own objects."""
    taken = {change.id for change in merge.changes if change.kind == "added"}
    used = {one.id for state in states for one in state.objects} | {one.id for state in states for one in state.proposals}
    first = max([state.next_id for state in states] + [number + 1 for number in taken | used])
    return dict(zip(sorted(taken & used), range(first, first + len(taken)), strict=False))


def with_changes(state: State, changes: Iterable[Change]) -> State:
    """Return a state after changes of others; the selection is updated too."""
    objects = {one.id: one for one in state.objects}
    waiting = {one.id: one for one in state.proposals}
    for change in changes:
        there = objects.get(change.id)
        if change.kind == "removed":
            gone = objects.pop(change.id, None)
            if gone is not None and change.wait:
                waiting[gone.id] = _proposal(gone)
        elif there is not None:
            objects[change.id] = replace(there, **change.values)
        elif change.kind != "changed":
            objects[change.id] = Annotation(id=change.id, **change.values)
            waiting.pop(change.id, None)
    selected = state.selected if state.selected in objects else None
    return replace(state, objects=tuple(objects.values()), proposals=tuple(waiting.values()), selected=selected)


def _renamed(state: State, ids: Mapping[int, int]) -> State:
    if not ids:
        return state
    return replace(
        state,
        objects=tuple(replace(one, id=ids.get(one.id, one.id)) for one in state.objects),
        proposals=tuple(replace(one, id=ids.get(one.id, one.id)) for one in state.proposals),
        selected=None if state.selected is None else ids.get(state.selected, state.selected),
    )


def _values(one: Annotation) -> dict[str, Any]:
    return {name: getattr(one, name) for name in (*_COMPARED, "area")}


def _clash(some: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    return any(some[name] != others[name] for name in some.keys() & others.keys() if name != "area")


def _proposal(one: Annotation) -> Proposal:
    scores = one.predicted_iou, one.stability_score
    return Proposal(one.id, one.geometry, *scores, one.area, one.class_name, one.complete, one.model, one.prompt)
