"""The pure function that applies an action to the state of an annotation session.

This module does not use a model itself: the caller passes a function that answers prompts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from samgeo.errors import OptionError
from samgeo.map.editing.reshaping import merged_objects, split_object
from samgeo.map.state.acceptance import accept, accept_proposals, cleared, split
from samgeo.map.state.actions import (
    Accept,
    AcceptProposals,
    Action,
    AddClass,
    AddPoint,
    Choose,
    ClearPrompts,
    Delete,
    Edit,
    MergeObjects,
    Propose,
    Proposed,
    RejectProposals,
    RenameClass,
    Select,
    SetBox,
    SetClass,
    SetClean,
    SetColor,
    SetOverlap,
    Split,
    UseModel,
)
from samgeo.map.state.clean_options import CleanOptions
from samgeo.map.state.values import Annotation, Offer, Prompt, Proposal, Rules, State, Suggestion, label_of

__all__ = ["Annotation", "Offer", "Prompt", "Proposal", "Rules", "State", "Suggestion", "apply", "cleaned", "label_of"]

Cleaned = TypeVar("Cleaned", Offer, Proposal)
Named = TypeVar("Named", Annotation, Proposal)


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
            return replace(state, prompt=prompt, answer=_asked(state, prompt, rules), chosen=0, selected=selected)
        case Choose(candidate):
            count = len(state.answer.offers)
            if not 0 <= candidate < count:
                wanted = f"give a number from 0 to {count - 1}" if count else "there are none; add a point or a box first"
                raise OptionError(f"there is no candidate {candidate}; {wanted}.")
            return replace(state, chosen=candidate)
        case ClearPrompts():
            return cleared(state)
        case Accept():
            return accept(state, action, rules)
        case Select(id):
            return replace(state, selected=None if id is None else state.object(id).id)
        case SetClass(id, class_name):
            state.class_list.check(class_name)
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
            for one in proposals:
                if one.class_name is not None:
                    state.class_list.check(one.class_name)
            numbered = enumerate(zip(proposals, rules.measure([one.geometry for one in proposals]), strict=True), state.next_id)
            added = cleaned(tuple(_proposal(number, one, area) for number, (one, area) in numbered), state.clean, rules)
            return replace(state, proposals=state.proposals + added, next_id=state.next_id + len(added))
        case AcceptProposals():
            return accept_proposals(state, action, rules)
        case RejectProposals(ids):
            refused, left = split(state.proposals, ids)
            return replace(state, proposals=left, rejected=(*state.rejected, *refused))
        case UseModel():
            return _asked_again(replace(state, weights=action), rules)
        case SetClean(options):
            return _with_clean(state, options, rules)
        case SetOverlap(overlap):
            return replace(state, overlap=overlap)
        case AddClass(class_name, color):
            return replace(state, class_list=state.class_list.added(class_name, color))
        case RenameClass(class_name, new_name):
            return _with_new_name(state, class_name, new_name)
        case SetColor(class_name, color):
            return replace(state, class_list=state.class_list.recolored(class_name, color))
    raise AssertionError(f"{action} is for the history of a session, not for a state")


def _asked_again(state: State, rules: Rules) -> State:
    """Ask the model again for the open prompt. Its candidates may be others, so that each mark corrects the best one."""
    if not state.prompt:
        return state
    prompt = Prompt(state.prompt.marks, (0,) * len(state.prompt.marks))
    return replace(state, prompt=prompt, answer=_asked(state, prompt, rules), chosen=0)


def _asked(state: State, prompt: Prompt, rules: Rules) -> Suggestion:
    """Return the answer of the model, with cleaned outlines."""
    answer = rules.ask(prompt, state.weights)
    return replace(answer, offers=cleaned(answer.offers, state.clean, rules))


def cleaned(shapes: tuple[Cleaned, ...], options: CleanOptions, rules: Rules) -> tuple[Cleaned, ...]:
    """Return candidates or proposals with outlines that are cleaned in another way."""
    raw = [one.geometry if one.raw is None else one.raw for one in shapes]
    after = rules.clean(raw, options) if options and shapes else raw
    changed = [number for number, one in enumerate(shapes) if after[number] is not one.geometry]
    areas = dict(zip(changed, rules.measure([after[number] for number in changed]), strict=True)) if changed else {}
    return tuple(
        replace(one, geometry=new, area=areas[number], raw=None if new is old else old) if number in areas else one
        for number, (one, new, old) in enumerate(zip(shapes, after, raw, strict=True))
    )


def _with_clean(state: State, options: CleanOptions, rules: Rules) -> State:
    answer = replace(state.answer, offers=cleaned(state.answer.offers, options, rules))
    return replace(state, clean=options, answer=answer, proposals=cleaned(state.proposals, options, rules))


def _with_new_name(state: State, class_name: str, new_name: str) -> State:
    def named(shapes: tuple[Named, ...]) -> tuple[Named, ...]:
        return tuple(replace(one, class_name=new_name) if one.class_name == class_name else one for one in shapes)

    return replace(
        state,
        class_list=state.class_list.renamed(class_name, new_name),
        objects=named(state.objects),
        proposals=named(state.proposals),
        rejected=named(state.rejected),
    )


def _replaced(state: State, changed: Annotation) -> State:
    return replace(state, objects=tuple(changed if one.id == changed.id else one for one in state.objects))


def _proposal(number: int, one: Proposed, area: float) -> Proposal:
    scores = one.predicted_iou, one.stability_score
    return Proposal(number, one.geometry, *scores, area, one.class_name, one.complete, one.model, one.prompt)
