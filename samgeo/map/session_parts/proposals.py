"""Masks that wait in a session: they are proposed, and then accepted or rejected."""

from __future__ import annotations

from dataclasses import replace

from samgeo.arguments import check_types
from samgeo.map.files.placing import read_proposals, without_known
from samgeo.map.session_parts.core import SessionCore, now
from samgeo.map.state.actions import AcceptProposals, Propose, RejectProposals
from samgeo.map.state.live_state import Snapshot
from samgeo.map.state.reducer import State
from samgeo.types import FeaturesLike

__all__ = ["Proposing"]


class Proposing(SessionCore):
    """The part of a session that adds, accepts and rejects proposals."""

    def propose(self, features: FeaturesLike) -> Snapshot:
        """Add polygons as proposals, which the analyst accepts or rejects.

        A polygon is left out if an object or a proposal with the same outline and class exists, so that the same features
        can be given twice. Polygons outside the raster are left out too. The ``action`` of the snapshot counts both.

        Parameters
        ----------
        features : path, GeoDataFrame or GeoSeries
            Polygons in any CRS, for example from `samgeo.segment`. The columns ``predicted_iou``, ``stability_score`` and
            ``class`` are used where they exist.

        Raises
        ------
        SamgeoError
            If they cannot be read, have no CRS, are not valid polygons, all lie outside the raster, or a class is not in the
            palette.
        """
        return self._put_up(read_proposals(features, self.predictor.raster.geobox))

    def _put_up(self, given: Propose) -> Snapshot:
        """Add those of some polygons that are new; the action of the snapshot has all counts."""
        made: list[Propose] = []

        def make(state: State) -> Propose:
            made.append(without_known(given, state, self._rules))
            return made[-1]

        done = self._live.do(make)
        # Where no polygon was new, there is no action in the history; the caller still gets the counts.
        return done if done.action is made[-1] else replace(done, action=made[-1], merge=None)

    @check_types
    def accept_proposals(self, ids: list[int] | tuple[int, ...] | None = None, class_name: str | None = None) -> Snapshot:
        """Accept proposals, all by default: each becomes an object with its id, and its own class or else ``class_name``.

        Where they overlap accepted objects or each other, the option ``on_overlap`` decides, see `set_on_overlap`. They are
        taken in the order of their scores, the highest first. Those of which a cut leaves nothing go on waiting.

        Raises
        ------
        OptionError
            If there is no such proposal or class, or a cut leaves nothing of all of them.
        """
        named = class_name or self.classes[0]
        return self._live.do(lambda state: AcceptProposals(_proposal_ids(state, ids), named, now()))

    def reject_proposals(self, ids: list[int] | tuple[int, ...] | None = None) -> Snapshot:
        """Reject proposals, all by default: they are removed."""
        return self._live.do(lambda state: RejectProposals(_proposal_ids(state, ids)))


def _proposal_ids(state: State, ids: list[int] | tuple[int, ...] | None) -> tuple[int, ...]:
    return tuple(one.id for one in state.proposals) if ids is None else tuple(ids)
