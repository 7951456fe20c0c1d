"""How candidates and proposals become objects, among the objects that were accepted before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from samgeo.errors import OptionError
from samgeo.map.state.actions import Accept, AcceptProposals
from samgeo.map.state.overlaps import Accepting
from samgeo.map.state.values import Annotation, Prompt, Proposal, Rules, State, Suggestion

__all__ = ["accept", "accept_proposals", "cleared", "split"]


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
