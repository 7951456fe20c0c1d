"""How a session cleans outlines, and what it does with overlaps at acceptance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from samgeo.arguments import check_types
from samgeo.map.session_parts.core import SessionCore
from samgeo.map.state.actions import SetClean, SetOverlap
from samgeo.map.state.clean_options import CleanOptions, check_overlap
from samgeo.map.state.live_state import Snapshot
from samgeo.map.state.values import State

__all__ = ["Outlining"]


class Outlining(SessionCore):
    """The part of a session that chooses how outlines are cleaned and placed."""

    @property
    def clean(self) -> CleanOptions:
        """How the outlines of candidates and of proposals are cleaned; see `set_clean`."""
        return self.state.clean

    @property
    def on_overlap(self) -> str:
        """What happens with overlaps at acceptance: "cut", "keep" or "merge"; see `set_on_overlap`."""
        return self.state.overlap

    @check_types
    def set_clean(
        self,
        *,
        largest_part: bool | None = None,
        fill_holes: bool | None = None,
        simplify: bool | None = None,
        regularize: bool | None = None,
        tolerance: float | None = None,
        unit: str | None = None,
    ) -> Snapshot:
        """Change how the outlines of candidates and of proposals are cleaned.

        Outlines of the open prompt and of the proposals that wait are cleaned anew from the model's outlines; what is then in
        the state is what is accepted. Accepted objects keep the outline with which they were accepted. An option that is not
        given stays as it is. See `samgeo.map.CleanOptions` for the options.

        Raises
        ------
        OptionError
            If the tolerance is not a positive number, there is no such unit, or it is "m" and the raster has no CRS.
        """
        given = {
            "largest_part": largest_part,
            "fill_holes": fill_holes,
            "simplify": simplify,
            "regularize": regularize,
            "tolerance": tolerance,
            "unit": unit,
        }
        changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}

        def make(state: State) -> SetClean:
            return SetClean(self._answers.clean.check(replace(state.clean, **changed)))

        return self._live.do(make)

    @check_types
    def set_on_overlap(self, on_overlap: str) -> Snapshot:
        """Choose what happens from now on where an outline that is accepted overlaps accepted objects.

        Parameters
        ----------
        on_overlap : {"cut", "keep", "merge"}
            With "cut" the new outline loses what accepted objects cover, and parts of it that are then smaller than the
            ``min_part`` of the predictor; if nothing is left, nothing is accepted. With "keep" both outlines stay. With "merge"
            the new outline is joined with the objects of its class that it overlaps by a pixel or more: the first of these gets
            the union and loses its scores, and the others are removed.

        Raises
        ------
        OptionError
            If it is another word.
        """
        chosen = SetOverlap(check_overlap(on_overlap))
        return self._live.do(lambda _: chosen)
