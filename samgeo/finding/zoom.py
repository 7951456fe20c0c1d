"""The ground resolution of a raster, and the windows in which a finder reads it at the right zoom."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from samgeo.errors import OptionError
from samgeo.geo.coordinates.local_metres import metres_at

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster

__all__ = ["LEAST_WINDOW", "check_zoom", "ground_resolution", "window_of"]

# Smaller windows show too little of the surroundings of an object.
LEAST_WINDOW = 32
MOST_ZOOM = 16.0
# Overlap of windows, as a share of the window. An object up to this size is completely visible in some window.
OVERLAP = 0.25


def ground_resolution(raster: Raster) -> float | None:
    """Return the side of a square with the area of one pixel in the middle of a raster, in metres; None without a CRS."""
    geobox = raster.geobox
    if geobox.crs is None:
        return None
    height, width = raster.shape
    affine = geobox.affine
    middle = np.array([affine * (width / 2, height / 2)])
    steps = np.array([[affine.a, affine.b], [affine.d, affine.e]])
    return math.sqrt(abs(float(np.linalg.det(metres_at(middle, geobox.crs.proj)[0] @ steps))))


def check_zoom(zoom: float) -> None:
    """Check a zoom.

    Raises
    ------
    OptionError
        If it is not from 1/16 to 16.
    """
    if not 1 / MOST_ZOOM <= zoom <= MOST_ZOOM:
        raise OptionError(
            f"zoom is {zoom:g}; give a number from 1/16 to 16: 1 shows the raster to the model as it is, 2 at twice its size."
        )


def window_of(zoom: float, input_size: int) -> tuple[int, int]:
    """Return the side of a window in raster pixels, which the model sees at a zoom, and the overlap of windows."""
    window = max(round(input_size / zoom / 8) * 8, LEAST_WINDOW)
    return window, 2 * round(window * OVERLAP / 2)
