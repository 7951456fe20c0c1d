"""Closed objects that wait because an open object may turn out to be nearly equal to one of them.

An object in a river may wait until the river ends, and there may be such objects in all rows of windows. Therefore an object
that waits is only looked at again when something that it waits for has changed, and the state is kept as what each row of
windows changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from samgeo.geo.levels import Levels
from samgeo.segmentation.masks.nms import decide
from samgeo.segmentation.masks.piece import Segment
from samgeo.segmentation.merge.merger import Merger

__all__ = ["Waiting", "WaitingStep", "replayed_waiting"]


@dataclass(frozen=True, slots=True)
class WaitingStep:
    """What one row of windows changes in the objects that wait.

    Attributes
    ----------
    added : dict of int to Segment
        The objects that wait from this row on, by number. Objects are numbered in the order in which they begin to wait.
    gone : tuple of int
        The numbers of objects that waited before and do not wait any more.
    """

    added: Mapping[int, Segment] = field(default_factory=dict)
    gone: tuple[int, ...] = ()


def replayed_waiting(steps: Iterable[WaitingStep]) -> tuple[dict[int, Segment], int]:
    """Return the objects that wait after some steps, and how many were numbered.

    Raises
    ------
    LookupError
        If the steps do not follow from each other.
    """
    waiting: dict[int, Segment] = {}
    numbered = 0
    for step in steps:
        for number in step.gone:
            del waiting[number]
        for number, one in step.added.items():
            if number != numbered:
                raise LookupError(number)
            waiting[number] = one
            numbered += 1
    return waiting, numbered


class Waiting:
    """The closed objects that wait. The work for a row does not depend on how many wait.

    Over all rows the result equals that of `samgeo.segmentation.masks.nms.settle`, called with all undecided objects.

    Parameters
    ----------
    levels : Levels
        The windows of all scales.
    threshold : float or None
        IoU of masks above which only the better object is kept; None keeps all.
    waiting : dict of int to Segment, optional
        The objects that wait from earlier rows, by number.
    numbered : int, default 0
        How many objects were numbered in earlier rows.
    """

    def __init__(
        self, levels: Levels, threshold: float | None, waiting: Mapping[int, Segment] | None = None, numbered: int = 0
    ) -> None:
        self._levels, self._threshold, self._numbered = levels, threshold, numbered
        self._objects: dict[int, Segment] = {}
        # The objects that wait at each window, for each open object that they share pixels with, and with each other.
        self._at: dict[tuple[int, int], set[int]] = defaultdict(set)
        self._for: dict[int, set[int]] = defaultdict(set)
        self._with: dict[int, set[int]] = {}
        for number, one in (waiting or {}).items():
            self._keep(number, one)
        self._unknown = set(self._objects)  # what they wait for is not known yet

    def settle(self, closed: Sequence[Segment], merger: Merger) -> tuple[list[Segment], WaitingStep]:
        """Decide the objects that closed with a row, and those for which the row changed something.

        Parameters
        ----------
        closed : sequence of Segment
            The objects that closed with the row.
        merger : Merger
            The merger, which has finished the row.

        Returns
        -------
        settled : list of Segment
            The objects that are kept.
        step : WaitingStep
            What the row has changed.
        """
        numbers = sorted(self._changed(closed, merger))
        undecided = [*(self._objects[number] for number in numbers), *closed]
        pieces, least_areas = merger.open_pieces_at(one.mask.rect for one in undecided)
        decision = decide(undecided, pieces, self._threshold, least_areas=least_areas)
        gone = tuple(number for number, waits in zip(numbers, decision.waits, strict=False) if not waits)
        for number in gone:
            self._remove(number)
        added: dict[int, Segment] = {}
        for place in np.flatnonzero(decision.waits[len(numbers) :]).tolist():
            number, one = self._numbered + len(added), closed[place]
            added[number] = one
            self._keep(number, one)
        self._numbered += len(added)
        left = iter(added)
        number_at = [*numbers, *(next(left) if waits else -1 for waits in decision.waits[len(numbers) :])]
        for one, piece in zip(decision.overlapping[0].tolist(), decision.overlapping[1].tolist(), strict=True):
            if decision.waits[one]:
                self._for[merger.number_of(pieces[piece])].add(number_at[one])
        self._tie(number_at, decision.waits.tolist(), zip(*(pair.tolist() for pair in decision.nearly_equal), strict=True))
        return [undecided[place] for place in decision.kept.tolist()], WaitingStep(added, gone)

    def _changed(self, closed: Iterable[Segment], merger: Merger) -> set[int]:
        """Return the objects that wait and have to be decided again."""
        found = self._unknown
        self._unknown = set()
        for number in merger.changed_objects():
            found |= self._for.pop(number, set())
        for window in merger.changed_windows():
            found |= self._at.get(window, set())
        # One that closed may be nearly equal to one that waits.
        for one in closed if self._objects else ():
            for window in self._levels.meeting(one.mask.rect):
                found |= self._at.get(window, set())
        found &= self._objects.keys()
        return found.union(*(self._with[number] for number in found))

    def _keep(self, number: int, one: Segment) -> None:
        self._objects[number], self._with[number] = one, {number}
        for window in self._levels.meeting(one.mask.rect):
            self._at[window].add(number)

    def _remove(self, number: int) -> None:
        for window in self._levels.meeting(self._objects.pop(number).mask.rect):
            self._at[window].discard(number)
            if not self._at[window]:
                del self._at[window]
        del self._with[number]

    def _tie(self, number_at: Sequence[int], waits: Sequence[bool], pairs: Iterable[tuple[int, int]]) -> None:
        """Record which of the decided objects that wait are connected by pairs of nearly equal ones."""
        for number, is_waiting in zip(number_at, waits, strict=True):
            if is_waiting:
                self._with[number] = {number}
        for one, other in pairs:
            # Both of a pair wait, or none of them.
            if waits[one]:
                mine, others = self._with[number_at[one]], self._with[number_at[other]]
                if mine is not others:
                    mine |= others
                    for number in others:
                        self._with[number] = mine
