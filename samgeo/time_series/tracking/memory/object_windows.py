"""The windows in which objects are followed: each around the middle of its objects, which share the encoding of each date."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.geo.levels import MOST_SCALE
from samgeo.time_series.tracking.memory.prompted_objects import PromptedObject

__all__ = ["ObjectWindow", "windows_around"]

# An object may take this share of the side of its window, so that the window shows its surroundings, and it may grow.
MOST_SHARE = 0.5
# Windows lie at multiples of this share of their side, so that neighbouring objects share one. The middle of an object is
# therefore at most an eighth of the side away from the middle of its window, except at the edges of the raster.
STEP_SHARE = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class ObjectWindow:
    """A square part of the grid, and the objects that are followed in it.

    Attributes
    ----------
    rect : Rect
        In raster pixels. It may reach beyond the raster at the right and the bottom.
    scale : int
        ``scale`` x ``scale`` raster pixels are read as one pixel.
    date : int
        Number of the date on which its objects are shown.
    objects : tuple of PromptedObject
        In the order of their ids.
    """

    rect: Rect
    scale: int
    date: int
    objects: tuple[PromptedObject, ...]

    def about(self) -> dict[str, Any]:
        """Return a description as values for JSON."""
        rect = self.rect
        return {
            "ids": [one.id for one in self.objects],
            "window_px": [rect.x0, rect.y0, rect.x1, rect.y1],
            "scale": self.scale,
        }


def windows_around(objects: Sequence[PromptedObject], shape: tuple[int, int], side: int) -> tuple[ObjectWindow, ...]:
    """Return the windows of objects, ordered by date, scale and position.

    The window of an object does not depend on the other objects. Its scale is the smallest power of two with which the object
    takes at most half of the side of the window. Windows are moved into the raster where the raster is large enough.

    Parameters
    ----------
    objects : sequence of PromptedObject
        The objects.
    shape : (int, int)
        Height and width of the raster in pixels.
    side : int
        Side of a window of scale 1 in raster pixels.

    Raises
    ------
    OptionError
        If an object is too large.
    """
    places: dict[tuple[int, int, int, int], list[PromptedObject]] = defaultdict(list)
    for one in objects:
        x0, y0, x1, y1 = shapely.bounds(one.region).tolist()
        scale = 1
        while max(x1 - x0, y1 - y0) > MOST_SHARE * side * scale:
            scale *= 2
        if scale > MOST_SCALE:
            raise OptionError(
                f"object {one.id} is {max(x1 - x0, y1 - y0):,.0f} pixels long, and a window of the largest scale has "
                f"{side * MOST_SCALE:,}; give a lower zoom, or rasters with larger pixels."
            )
        left, top = (_start((low + high) / 2, side * scale, scale, length)
                     for low, high, length in ((x0, x1, shape[1]), (y0, y1, shape[0])))  # fmt: skip
        places[one.date, scale, top, left].append(one)
    return tuple(
        ObjectWindow(
            Rect(left, top, left + side * scale, top + side * scale),
            scale,
            date,
            tuple(sorted(some, key=lambda one: one.id)),
        )
        for (date, scale, top, left), some in sorted(places.items(), key=lambda place: place[0])
    )


def _start(middle: float, side: int, scale: int, length: int) -> int:
    """Return where a window around a place starts along an axis: a multiple of ``scale``, in the raster as far as possible."""
    step = max(round(STEP_SHARE * side / scale), 1) * scale
    start = int(np.floor((middle - side / 2) / step + 0.5)) * step
    last = max(-(-(length - side) // scale) * scale, 0)
    return min(max(start, 0), last)
