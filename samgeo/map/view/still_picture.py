"""The picture of a map that stays in a saved notebook."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from samgeo.errors import SamgeoError
from samgeo.geo.grid import Rect
from samgeo.map.view.viewport import READ_LIMIT
from samgeo.plot.display import show

if TYPE_CHECKING:
    import geopandas as gpd

    from samgeo.geo.raster.raster import Raster

__all__ = ["still_picture"]

SIDE_PX, QUALITY = 640, 75


def still_picture(raster: Raster, objects: gpd.GeoDataFrame) -> str | None:
    """Draw a raster with the accepted objects, in the colours of their classes, as a JPEG in base64.

    Returns
    -------
    str or None
        None if the raster cannot be read, or has no overviews and too many pixels would have to be read.
    """
    height, width = raster.shape
    scale = min(SIDE_PX / max(height, width), 1.0)
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    if raster.pixels_touched(Rect(0, 0, width, height), size) > READ_LIMIT:
        return None
    try:
        picture = show(raster, objects if len(objects) else None, max_side=SIDE_PX, column="class" if len(objects) else None)
    except SamgeoError:
        return None
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=QUALITY)
    return base64.b64encode(stream.getvalue()).decode()
