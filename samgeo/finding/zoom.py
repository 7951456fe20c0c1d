"""The ground resolution of a raster, from which the zoom of a finder follows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from samgeo.geo.coordinates.local_metres import metres_at

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster

__all__ = ["ground_resolution"]


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
