"""The masks of clicks and boxes that are objects of their own, as proposals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

from samgeo.map.state.actions import AddPoint, Propose, Proposed, SetBox
from samgeo.map.state.reducer import Prompt
from samgeo.segmentation.tables import SAME_IOU

if TYPE_CHECKING:
    from collections.abc import Sequence

    from samgeo.map.state.reducer import State
    from samgeo.map.suggestions import Answers

__all__ = ["masks_at"]


def masks_at(marks: Sequence[AddPoint | SetBox], state: State, answers: Answers, class_name: str | None) -> Propose:
    """Ask the model for the object of each click or box, and return the best masks as proposals.

    A mask is left out and counted if an object, a proposal or an earlier mask of the call is there, with an IoU of 0.5 or more.

    Parameters
    ----------
    marks : sequence of AddPoint or SetBox
        In raster pixels.
    state : State
    answers : Answers
        The model of the session.
    class_name : str or None
        Class of the proposals; None if it is given on acceptance.

    Raises
    ------
    SamgeoError
        If the model cannot answer.
    """
    there = [*(one.geometry for one in state.objects), *(one.geometry for one in state.proposals)]
    made: list[Proposed] = []
    already = nothing = 0
    for mark in marks:
        offers = answers.ask(Prompt((mark,), (0,)), state.weights).offers
        if not offers:
            nothing += 1
            continue
        best = offers[0]
        if _is_there(best.geometry, there):
            already += 1
            continue
        there.append(best.geometry)
        scores = best.predicted_iou, best.stability_score
        prompt = "box" if isinstance(mark, SetBox) else "clicks"
        made.append(Proposed(best.geometry, *scores, class_name, best.complete, best.model, prompt))
    return Propose(tuple(made), already, nothing=nothing)


def _is_there(geometry: shapely.Geometry, there: list[shapely.Geometry]) -> bool:
    others = np.array(there, dtype=object)
    near = others[shapely.intersects(others, geometry)]
    shared = shapely.area(shapely.intersection(near, geometry))
    return bool((shared >= SAME_IOU * (shapely.area(near) + shapely.area(geometry) - shared)).any())
