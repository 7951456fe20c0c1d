"""The state of an annotation session, and the pure function that applies an action to it.

This module does not use a model itself: the caller passes a function that answers prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import shapely

from samgeo.errors import OptionError
from samgeo.map.editing.reshaping import merged_objects, split_object
from samgeo.map.state.actions import (
    Accept,
    AcceptProposals,
    Action,
    AddPoint,
    Choose,
    ClearPrompts,
    Delete,
    Edit,
    MergeObjects,
    Propose,
    Proposed,
    RejectProposals,
    Select,
    SetBox,
    SetClass,
    Split,
    UseModel,
)

__all__ = ["Annotation", "Offer", "Prompt", "Proposal", "Rules", "State", "Suggestion", "apply", "label_of"]

DIGEST_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Prompt:
    """The clicks and boxes around one object, in the order in which they were made.

    Attributes
    ----------
    marks : tuple of AddPoint or SetBox
        Clicks and boxes in raster pixels. Of several boxes the last one is used.
    chosen : tuple of int
        For each mark, the candidate that was chosen when the mark was made. The mark corrects the logits of that candidate.
    """

    marks: tuple[AddPoint | SetBox, ...] = ()
    chosen: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.marks)

    @property
    def points(self) -> tuple[AddPoint, ...]:
        """The clicks."""
        return tuple(mark for mark in self.marks if isinstance(mark, AddPoint))

    @property
    def box(self) -> SetBox | None:
        """The box, if there is one."""
        return next((mark for mark in reversed(self.marks) if isinstance(mark, SetBox)), None)


@dataclass(frozen=True, slots=True)
class Offer:
    """A candidate that the model offers for the current prompt.

    Attributes
    ----------
    geometry : Polygon or MultiPolygon
        In the raster's CRS.
    predicted_iou, stability_score : float
        The model's own estimate, and how little the mask depends on the threshold.
    area : float
        Square metres; pixels where the raster has no CRS.
    complete : bool
        False where the edge of a window cut the outline.
    model : str or None
        Name of the model that drew the outline, and the first 16 digits of the digest of its weights.
    """

    geometry: shapely.Geometry
    predicted_iou: float
    stability_score: float
    area: float
    complete: bool = True
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The answer of a model to a prompt: up to three candidates, the best first, or none and the reason."""

    offers: tuple[Offer, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """A polygon that waits to be accepted or rejected. Its attributes mean the same as those of `Annotation`."""

    id: int
    geometry: shapely.Geometry
    predicted_iou: float | None
    stability_score: float | None
    area: float
    class_name: str | None = None
    complete: bool = True
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Annotation:
    """An accepted object.

    Attributes
    ----------
    id : int
        Counted from 1; unique in a session and in all sessions that continue it.
    geometry : Polygon or MultiPolygon
        In the raster's CRS.
    class_name : str
    predicted_iou, stability_score : float or None
        The scores of the model's mask; None if no model scored this geometry.
    area : float
        Square metres; pixels where the raster has no CRS.
    made : str
        How the object was made: "points", "box", "box and points", "proposal", or "file" if that is unknown.
    edited : bool
        Whether the geometry was replaced by hand.
    complete : bool
        False if the edge of a window cut the model's outline.
    model : str or None
        Name of the model that drew the first outline, and the first 16 digits of the digest of its weights; None if unknown.
    """

    id: int
    geometry: shapely.Geometry
    class_name: str
    predicted_iou: float | None
    stability_score: float | None
    area: float
    made: str
    edited: bool = False
    complete: bool = True
    model: str | None = None


@dataclass(frozen=True, slots=True)
class State:
    """The part of a session that undo and redo change.

    Attributes
    ----------
    prompt : Prompt
        The clicks and the box for the next object.
    answer : Suggestion
        The candidates for the prompt.
    chosen : int
        The number of the chosen candidate, from 0.
    objects : tuple of Annotation
        The accepted objects, in the order of acceptance.
    proposals : tuple of Proposal
        The polygons that wait to be accepted or rejected.
    rejected : tuple of Proposal
        The polygons that were rejected, in the order of rejection.
    selected : int or None
        The id of the selected object.
    next_id : int
        The id of the next object or proposal.
    weights : UseModel or None
        The weights that answer prompts; None for those that the session was opened with.
    """

    prompt: Prompt = Prompt()
    answer: Suggestion = Suggestion()
    chosen: int = 0
    objects: tuple[Annotation, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    rejected: tuple[Proposal, ...] = ()
    selected: int | None = None
    next_id: int = 1
    weights: UseModel | None = None

    @property
    def candidate(self) -> Offer | None:
        """The chosen candidate, if there is one."""
        return self.answer.offers[self.chosen] if self.answer.offers else None

    def object(self, id: int) -> Annotation:  # noqa: A002 - the field's word, and the column's name
        """Return an object.

        Raises
        ------
        OptionError
            If no object has this id.
        """
        found = next((one for one in self.objects if one.id == id), None)
        if found is None:
            raise OptionError(
                f"there is no object {id!r} among the {len(self.objects)} accepted ones; it may have been deleted."
            )
        return found


@dataclass(frozen=True, slots=True)
class Rules:
    """The palette and the functions that `apply` needs in addition to the state.

    Attributes
    ----------
    classes : tuple of str
        The palette.
    ask : callable
        Returns the `Suggestion` of a model for a `Prompt`, given the prompt and the weights of the state.
    measure : callable
        Returns the areas of geometries in the raster's CRS.
    """

    classes: tuple[str, ...]
    ask: Callable[[Prompt, UseModel | None], Suggestion]
    measure: Callable[[Sequence[shapely.Geometry]], list[float]]


def label_of(name: str, digest: str) -> str:
    """Return the text that names the model of an object: its name, and the first 16 digits of the digest of its weights."""
    return f"{name} {digest[:DIGEST_DIGITS]}"


def apply(state: State, action: Action, rules: Rules) -> State:  # noqa: C901, PLR0911, PLR0912 - a case for each kind of action
    """Return the state after an action other than undo and redo.

    Raises
    ------
    OptionError
        If the candidate, object, proposal or class of the action does not exist, or fewer than two objects are merged.
    SamgeoError
        If the model cannot answer.
    """
    match action:
        case AddPoint() | SetBox():
            prompt = Prompt((*state.prompt.marks, action), (*state.prompt.chosen, state.chosen))
            # The first mark deselects, so that a class chosen next is for the new object and not for the selected one.
            selected = state.selected if state.prompt else None
            return replace(state, prompt=prompt, answer=rules.ask(prompt, state.weights), chosen=0, selected=selected)
        case Choose(candidate):
            count = len(state.answer.offers)
            if not 0 <= candidate < count:
                wanted = f"give a number from 0 to {count - 1}" if count else "there are none; add a point or a box first"
                raise OptionError(f"there is no candidate {candidate}; {wanted}.")
            return replace(state, chosen=candidate)
        case ClearPrompts():
            return _cleared(state)
        case Accept(class_name):
            return _accept(state, class_name, rules)
        case Select(id):
            return replace(state, selected=None if id is None else state.object(id).id)
        case SetClass(id, class_name):
            _check_class(class_name, rules.classes)
            return _replaced(state, replace(state.object(id), class_name=class_name))
        case Edit(id, geometry):
            drawn = replace(
                state.object(id),
                geometry=geometry,
                area=rules.measure([geometry])[0],
                predicted_iou=None,
                stability_score=None,
                edited=True,
                complete=True,
            )
            return _replaced(state, drawn)
        case Split(id, pieces):
            return split_object(state, id, pieces, rules)
        case MergeObjects(ids, geometry):
            return merged_objects(state, ids, geometry, rules)
        case Delete(id):
            gone = state.object(id)
            kept = tuple(one for one in state.objects if one is not gone)
            return replace(state, objects=kept, selected=None if state.selected == id else state.selected)
        case Propose(proposals):
            areas = rules.measure([one.geometry for one in proposals])
            for one in proposals:
                if one.class_name is not None:
                    _check_class(one.class_name, rules.classes)
            added = tuple(
                _proposal(number, one, area)
                for number, (one, area) in enumerate(zip(proposals, areas, strict=True), state.next_id)
            )
            return replace(state, proposals=state.proposals + added, next_id=state.next_id + len(added))
        case AcceptProposals(ids, class_name):
            _check_class(class_name, rules.classes)
            taken, left = _split(state.proposals, ids)
            return replace(state, objects=state.objects + tuple(_accepted(one, class_name) for one in taken), proposals=left)
        case RejectProposals(ids):
            refused, left = _split(state.proposals, ids)
            return replace(state, proposals=left, rejected=(*state.rejected, *refused))
        case UseModel():
            return _asked_again(replace(state, weights=action), rules)
    raise AssertionError(f"{action} is for the history of a session, not for a state")


def _check_class(class_name: str, classes: tuple[str, ...]) -> None:
    if class_name not in classes:
        raise OptionError(f"{class_name!r} is not a class of the session; choose one of {', '.join(classes)}.")


def _asked_again(state: State, rules: Rules) -> State:
    """Ask the model again for the open prompt. Its candidates may be others, so that each mark corrects the best one."""
    if not state.prompt:
        return state
    prompt = Prompt(state.prompt.marks, (0,) * len(state.prompt.marks))
    return replace(state, prompt=prompt, answer=rules.ask(prompt, state.weights), chosen=0)


def _cleared(state: State) -> State:
    return replace(state, prompt=Prompt(), answer=Suggestion(), chosen=0)


def _accept(state: State, class_name: str, rules: Rules) -> State:
    _check_class(class_name, rules.classes)
    offer = state.candidate
    if offer is None:
        why = "click on an object or draw a box around it first" if state.answer.reason is None else "click somewhere else"
        found = "" if state.answer.reason is None else f" ({state.answer.reason})"
        raise OptionError(f"there is no candidate to accept{found}; {why}.")
    parts = [name for name, there in (("box", state.prompt.box), ("points", state.prompt.points)) if there]
    made = Annotation(
        state.next_id,
        offer.geometry,
        class_name,
        offer.predicted_iou,
        offer.stability_score,
        offer.area,
        " and ".join(parts),
        complete=offer.complete,
        model=offer.model,
    )
    return replace(_cleared(state), objects=(*state.objects, made), next_id=state.next_id + 1)


def _replaced(state: State, changed: Annotation) -> State:
    return replace(state, objects=tuple(changed if one.id == changed.id else one for one in state.objects))


def _proposal(number: int, one: Proposed, area: float) -> Proposal:
    scores = one.predicted_iou, one.stability_score
    return Proposal(number, one.geometry, *scores, area, one.class_name, one.complete, one.model)


def _accepted(one: Proposal, class_name: str) -> Annotation:
    named = one.class_name or class_name
    scores = one.predicted_iou, one.stability_score
    return Annotation(one.id, one.geometry, named, *scores, one.area, "proposal", complete=one.complete, model=one.model)


def _split(proposals: tuple[Proposal, ...], ids: tuple[int, ...]) -> tuple[list[Proposal], tuple[Proposal, ...]]:
    """Return the proposals with these ids, and the others."""
    by_id = {one.id: one for one in proposals}
    missing = [id for id in ids if id not in by_id]  # noqa: A001 - the field's word
    if missing:
        raise OptionError(
            f"there is no proposal {missing[0]!r} among the {len(proposals)} open ones; it was accepted or rejected before."
        )
    wanted = set(ids)
    return [one for one in proposals if one.id in wanted], tuple(one for one in proposals if one.id not in wanted)
