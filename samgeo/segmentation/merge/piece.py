"""What windows saw of objects, and the objects."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from samgeo.segmentation.masks.mask import Mask

__all__ = ["MERGE_IOU", "Piece", "Segment", "place"]

# From this IoU on, where both are known, two pieces are the same object.
MERGE_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Piece:
    """A mask as one window saw it.

    Attributes
    ----------
    mask : Mask
        In raster pixels.
    predicted_iou, stability_score : float
        The model's estimate and the mask's stability.
    window : (int, int)
        Row and column of the window, as `samgeo.geo.levels.Levels` number them.
    rank : int
        Its place among the window's masks, best first.
    cut_at : Mask
        The pixels of the mask at which the window's edge may have cut it: those near an edge behind which the raster has data.
    """

    mask: Mask
    predicted_iou: float
    stability_score: float
    window: tuple[int, int]
    rank: int
    cut_at: Mask

    @property
    def cut(self) -> bool:
        """Whether the window's edge may have cut it."""
        return not self.cut_at.is_empty

    @property
    def order(self) -> tuple[float, tuple[int, int], int]:
        """Best first: predicted IoU, then window, then place in it. A total order."""
        return -self.predicted_iou, self.window, self.rank


@dataclass(frozen=True, slots=True)
class Segment:
    """One whole object of the raster.

    Attributes
    ----------
    mask : Mask
        In raster pixels.
    predicted_iou, stability_score : float
        Of the piece that stands for it, or the mean over its pieces weighted by their areas.
    complete : bool
        False where the edge of a window may have cut it, and no other window that saw the object shows how it goes on.
    scale : int, default 1
        Of the windows that saw it: what they show as one pixel are so many pixels of the raster in both directions.
    """

    mask: Mask
    predicted_iou: float
    stability_score: float
    complete: bool
    scale: int = 1


def place(segment: Segment) -> tuple[int, int, int, int, float, bytes]:
    """Sort key: where on the raster an object lies, from top to bottom, then left to right. A total order."""
    rect = segment.mask.rect
    return rect.y0, rect.x0, rect.y1, rect.x1, -segment.predicted_iou, blake2b(segment.mask.runs.tobytes()).digest()
