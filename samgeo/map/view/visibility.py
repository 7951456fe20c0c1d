"""What is drawn on the map: layers and classes are switched on and off, and masks with low scores are hidden."""

from __future__ import annotations

from dataclasses import dataclass

from samgeo.map.state.reducer import Annotation, Proposal, State

__all__ = ["Visible"]


@dataclass(frozen=True, slots=True)
class Visible:
    """What is drawn.

    Attributes
    ----------
    raster, candidates, waiting, accepted : bool
        Whether the raster, the candidate, the masks that wait and the accepted objects are drawn.
    raster_opacity, shapes_opacity : float
        From 0 to 1.
    hidden_classes : frozenset of str
        Classes that are not drawn.
    min_score : float
        Masks that wait with a lower predicted IoU are not drawn. With 0, those without one are drawn too.
    """

    raster: bool = True
    candidates: bool = True
    waiting: bool = True
    accepted: bool = True
    raster_opacity: float = 1.0
    shapes_opacity: float = 1.0
    hidden_classes: frozenset[str] = frozenset()
    min_score: float = 0.0

    def objects(self, state: State) -> tuple[Annotation, ...]:
        """Return the accepted objects that are drawn."""
        if not self.accepted:
            return ()
        if not self.hidden_classes:
            return state.objects
        return tuple(one for one in state.objects if one.class_name not in self.hidden_classes)

    def proposals(self, state: State) -> tuple[Proposal, ...]:
        """Return the masks that wait and are drawn."""
        if not self.waiting:
            return ()
        return tuple(
            one
            for one in state.proposals
            if (one.predicted_iou or 0.0) >= self.min_score and one.class_name not in self.hidden_classes
        )
