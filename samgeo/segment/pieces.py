"""What windows saw of objects, and the objects."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from samgeo.segment.masks import Mask

__all__ = ["Piece", "Segment", "place"]


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
    cut : bool
        Whether the window's edge may have cut it.
    """

    mask: Mask
    predicted_iou: float
    stability_score: float
    window: tuple[int, int]
    rank: int
    cut: bool

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
        False where its outline runs along the edge of a window behind which no window went on with it.
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
