"""The values of merging: `Piece` is a mask in one window, `Segment` is a whole object of the raster."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from samgeo.segmentation.masks.mask import Mask

__all__ = ["MERGE_IOU", "Piece", "Segment", "place"]

# Two pieces are the same object if their IoU, over the pixels where both are known, is at least this value.
MERGE_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Piece:
    """A mask of an object as one window shows it.

    Attributes
    ----------
    mask : Mask
        The pixels, in raster pixels.
    predicted_iou, stability_score : float
        The model's estimate of the IoU, and the mask's stability.
    window : (int, int)
        Row and column of the window, as `samgeo.geo.levels.Levels` numbers them.
    rank : int
        Position among the window's masks, the best first.
    cut_at : Mask
        The pixels at which the window's edge may have cut the object: those near an edge behind which the raster has data.
    score : float, optional
        Probability that the mask shows an object of its class, if a prompt source found it.
    kind : int, default 0
        Number of the class, if a prompt source found it.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.segmentation.masks.mask import Mask
    >>> from samgeo.segmentation.merge import Piece
    >>> mask = Mask.from_array(np.ones((4, 6), dtype=bool))
    >>> piece = Piece(mask, 0.9, 0.95, window=(0, 0), rank=0, cut_at=mask.clip(mask.rect))
    >>> piece.mask.area, piece.cut
    (24, True)
    """

    mask: Mask
    predicted_iou: float
    stability_score: float
    window: tuple[int, int]
    rank: int
    cut_at: Mask
    score: float | None = None
    kind: int = 0

    @property
    def cut(self) -> bool:
        """Whether the window's edge may have cut the object."""
        return not self.cut_at.is_empty

    @property
    def order(self) -> tuple[float, tuple[int, int], int]:
        """Sort key: falling score, or predicted IoU without one; then window, then rank. It is a total order."""
        return -(self.predicted_iou if self.score is None else self.score), self.window, self.rank


@dataclass(frozen=True, slots=True)
class Segment:
    """A whole object of the raster.

    Attributes
    ----------
    mask : Mask
        The pixels, in raster pixels.
    predicted_iou, stability_score : float
        Those of the piece that was chosen for the object, or the means over its pieces, weighted by their areas.
    complete : bool
        False if the edge of a window may have cut the object and no other window that shows the object covers this place.
    scale : int, default 1
        Scale of the windows that found the object: one pixel of such a window is ``scale`` x ``scale`` raster pixels.
    score, kind
        As of `Piece`.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.segmentation.masks.mask import Mask
    >>> from samgeo.segmentation.merge import Segment
    >>> Segment(Mask.from_array(np.ones((4, 6), dtype=bool)), 0.9, 0.95, complete=True).mask.rect
    Rect(x0=0, y0=0, x1=6, y1=4)
    """

    mask: Mask
    predicted_iou: float
    stability_score: float
    complete: bool
    scale: int = 1
    score: float | None = None
    kind: int = 0


def place(segment: Segment) -> tuple[int, int, int, int, float, bytes]:
    """Return a sort key that orders objects from top to bottom, then from left to right. It is a total order."""
    rect = segment.mask.rect
    return rect.y0, rect.x0, rect.y1, rect.x1, -segment.predicted_iou, blake2b(segment.mask.runs.tobytes()).digest()
