"""Messages for the status line about the results of actions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import shapely

from samgeo.map.state.actions import (
    Accept,
    AcceptProposals,
    AddClass,
    AddPoint,
    Choose,
    ClearPrompts,
    Delete,
    Edit,
    Merge,
    MergeObjects,
    Propose,
    Redo,
    RejectProposals,
    RenameClass,
    Select,
    SetBox,
    SetClass,
    SetClean,
    SetColor,
    SetOverlap,
    Split,
    Undo,
    UseModel,
)
from samgeo.map.state.live_state import Snapshot
from samgeo.map.state.reducer import Annotation, Offer, Proposal, State

__all__ = ["CUT", "KINDS", "OVERLAP_TEXTS", "Progress", "describe", "next_step", "tell_of"]

CUT = "cut by a window's edge"
OPEN = "the map is open"

EDITS = {
    "add": "next: drag around the part that the selected object lacks, or press s to stop",
    "cut": "next: drag around the part that the selected object has too much, or press s to stop",
    "vertices": "next: drag a vertex, click the middle of an edge to add one, right click one to remove it; Enter ends it",
    "split": "next: drag a line across the selected object, from outside to outside, or press s to stop",
    "merge": "next: click the object to merge with the selected one, or press s to stop",
}

OVERLAP_TEXTS = {
    "cut": "cut from the new outline",
    "keep": "kept in both outlines",
    "merge": "merged within a class",
}
"""What happens at acceptance, by the words of `samgeo.map.state.clean_options.OVERLAPS`."""

KINDS = ("search", "training")
"""The kinds of work in the background. One work of each kind is done at a time."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a work in the background is.

    Attributes
    ----------
    text : str
        What is done, such as "segmenting the view".
    done, total : int
        Numbers of the windows that are done and of all windows; both 0 if the work has no windows.
    unit : str
        What is counted.
    """

    text: str
    done: int = 0
    total: int = 0
    unit: str = "windows"

    def __str__(self) -> str:
        return f"{self.text}: {self.done} of {self.total} {self.unit}" if self.total else self.text


def describe(class_name: str | None, one: Offer | Proposal | Annotation, unit: str) -> str:
    """Return a line about an object, with areas in a unit."""
    score = None if one.predicted_iou is None else f"score {one.predicted_iou:.2f}"
    parts = [class_name, f"{one.area:,.1f} {unit}", score, None if one.complete else CUT]
    return ", ".join(part for part in parts if part)


def tell_of(now: Snapshot, unit: str) -> str:
    """Return a line about the result of the last action of a session.

    Parameters
    ----------
    now : Snapshot
    unit : str
        The unit of areas.
    """
    said = _said(now, unit) or OPEN
    return said if now.merge is None else f"{said}; {_merged(now.merge)}"


def next_step(state: State, mode: str, class_name: str, *, is_each: bool = False) -> str:  # noqa: PLR0911 - situations
    """Return a line on what the analyst can do next.

    Parameters
    ----------
    state : State
    mode : str
        One of `samgeo.map.ui.pointer.MODES`.
    class_name : str
        The active class.
    is_each : bool, default False
        Whether each click is an object of its own.
    """
    one = f"{'an' if class_name[:1].lower() in 'aeiou' else 'a'} {class_name}"
    if mode in EDITS:
        return EDITS[mode]
    if is_each and mode in ("foreground", "box"):
        return _next_of_each(state, mode, class_name)
    if state.prompt:
        return _next_of_prompt(state, one)
    if mode == "select" and state.proposals:
        return "next: click a mask to accept it, right click to reject it, or press accept all"
    if state.selected is not None:
        return "next: choose its class, press e or c to draw a part of it, d to move its vertices, or Delete to delete it"
    if mode == "select":
        return "next: click an object to select it, or press f and click something new"
    if mode == "box":
        return f"next: drag a box around {one}, or press f to click on it"
    if mode == "background":
        return f"next: press f, and click {one}; a right click is a background click in every mode but select"
    waiting = f"; {len(state.proposals):,} masks wait: press s to accept or reject them" if state.proposals else ""
    return f"next: click {one}, or press x and drag a box{waiting}"


def _next_of_prompt(state: State, one: str) -> str:
    if state.candidate is None:
        return "next: press Escape, and click elsewhere"
    if state.selected is not None:
        return "next: press r to give the selected object this outline, or Escape to keep it as it is"
    other = ", n for the next candidate" if len(state.answer.offers) > 1 else ""
    return f"next: press a to accept it as {one}{other}, or right click where it has too much"


def _next_of_each(state: State, mode: str, class_name: str) -> str:
    does = "click each" if mode == "foreground" else "drag a box around each"
    waiting = "; press s to accept or reject the masks that wait" if state.proposals else ""
    return f"next: {does} {class_name}{waiting}"


def _said(now: Snapshot, unit: str) -> str:  # noqa: C901, PLR0911, PLR0912 - a line for each kind of action
    state = now.state
    match now.action:
        case AddPoint() | SetBox() | Choose():
            return _offered(state, unit)
        case Accept(_, at):
            one = next((one for one in reversed(state.objects) if one.accepted_at == at), state.objects[-1])
            return f"accepted object {one.id} as {one.class_name}"
        case AcceptProposals(ids):
            waiting = {one.id for one in state.proposals}
            covered = sum(id in waiting for id in ids)  # noqa: A001 - the field's word
            more = f"; accepted objects cover {covered} of them, which {'is' if covered == 1 else 'are'} not accepted"
            return f"accepted {len(ids) - covered}, {len(state.proposals)} wait{more if covered else ''}"
        case RejectProposals(ids):
            return f"rejected {len(ids)}, {len(state.proposals)} wait"
        case Propose():
            return _proposed(now.action, len(state.proposals))
        case Select(id) if id is not None:
            one = state.object(id)
            return f"selected {id}: {describe(one.class_name, one, unit)}"
        case SetClass(id, class_name):
            return f"{id} is now {class_name}"
        case Split(id, pieces):
            others = ", ".join(str(one.id) for one in state.objects[1 - len(pieces) :])
            return f"split {id}: the largest piece is still {id}, and {others} {'is' if len(pieces) == 2 else 'are'} new"
        case MergeObjects(ids, geometry):
            parts = len(shapely.get_parts(geometry))
            apart = f"; it has {parts} parts that do not touch" if parts > 1 else ""
            return f"merged {', '.join(map(str, ids[1:]))} into {ids[0]}{apart}"
        case Edit(id):
            return f"changed the outline of {id}: {state.object(id).area:,.1f} {unit}"
        case Delete(id):
            return f"deleted {id}"
        case Undo():
            return f"undone; {_counted(state)}"
        case Redo():
            return f"redone; {_counted(state)}"
        case ClearPrompts():
            return "the clicks and the box are removed"
        case Merge():
            return _merged(now.action)
        case SetClean(options):
            return f"outlines of candidates and of waiting masks: {options}"
        case SetOverlap(overlap):
            return f"overlaps with accepted objects are {OVERLAP_TEXTS[overlap]}"
        case AddClass(class_name):
            return f"added the class {class_name}"
        case RenameClass(class_name, new_name):
            return f"the class {class_name} is named {new_name}"
        case SetColor(class_name, color):
            return f"{class_name} has the colour {color}"
        case UseModel(name, digest, path):
            return f"prompts are answered by {Path(path).name} ({name} {digest[:8]})"
    return _counted(state) if state.objects or state.proposals else OPEN


def _proposed(action: Propose, waiting: int) -> str:
    new = len(action.proposals)
    more = "" if new == waiting else f", {waiting} in all"
    parts = [f"{new} new {'mask waits' if new == 1 else 'masks wait'} to be accepted or rejected{more}"]
    if action.already:
        parts.append(f"{action.already} more {'was' if action.already == 1 else 'were'} there already")
    if action.nothing:
        parts.append(f"the model found nothing for {action.nothing} {'prompt' if action.nothing == 1 else 'prompts'}")
    if action.outside:
        parts.append(f"{action.outside} outside the raster {'was' if action.outside == 1 else 'were'} left out")
    return "; ".join(parts)


def _merged(merge: Merge) -> str:
    """Return a line about the changes of another program or session in the saved file."""
    kinds = Counter("changed" if change.kind == "restored" else change.kind for change in merge.changes)
    parts = [f"{kinds[kind]} {kind}" for kind in ("added", "changed", "removed") if kinds[kind]]
    waiting = sum(change.wait for change in merge.changes)
    told = [f"the saved file was changed elsewhere: {', '.join(parts)}"] if parts else []
    if merge.classes or merge.colors:
        names = dict.fromkeys((*merge.classes, *(name for name, _ in merge.colors)))
        told.append(f"classes of the saved file were added or coloured elsewhere: {', '.join(names)}")
    if waiting:
        told.append(f"{waiting} of the removed objects wait as proposals")
    if merge.left:
        told.append(f"{merge.left} rows of the saved file are not objects (no class or no valid polygon) and are not changed")
    if merge.remade:
        told.append("the saved file was missing and is written again")
    return "; ".join(told)


def _offered(state: State, unit: str) -> str:
    offer = state.candidate
    if offer is None:
        return f"nothing found: {state.answer.reason}"
    count = len(state.answer.offers)
    which = f"candidate {state.chosen + 1} of {count}" if count > 1 else "candidate"
    return f"{which}: {describe(None, offer, unit)}"


def _counted(state: State) -> str:
    return f"{len(state.objects)} accepted" + (f", {len(state.proposals)} wait" if state.proposals else "")
