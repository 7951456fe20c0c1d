"""Direction of the y axis in features of a raster without a CRS, in tables and in files.

The pixels of an image without a georeference are counted from its upper left corner: y runs down. QGIS draws such an image
below the x axis, from y = 0 down to minus its height, so that features with a positive y lie mirrored above it. A file may
therefore hold y with the opposite sign ("y up"). In Python tables y always runs down: `reading` and `writing` negate y when
they read and write such files, which have ``y_up`` in their provenance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from samgeo.errors import OptionError, VectorError

if TYPE_CHECKING:
    import geopandas as gpd
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

__all__ = ["Y_UP", "check_y_up", "describe_axes", "is_y_up", "mirrored", "refuse_mirrored"]

Y_UP = "y_up"

_DOWN = "no CRS: pixels of the raster; x runs right and y runs down from its upper left corner"
_UP = "no CRS: pixels of the raster; x runs right and y runs up, so that y is 0 at its upper edge and negative below"
_OWN = "no CRS: coordinates of the raster's own affine transform"


def check_y_up(geobox: GeoBox, y_up: bool, output: object) -> None:
    """Refuse ``y_up`` where it has no meaning.

    Raises
    ------
    OptionError
        If ``y_up`` is true and there is no output, the raster has a CRS, or y runs up in the raster's own transform.
    """
    if not isinstance(y_up, bool):
        raise OptionError(f"y_up is {y_up!r}; give True or False.")
    if not y_up:
        return
    if output is None:
        raise OptionError("y_up applies to the output file, but there is no output; give output, or omit y_up.")
    if geobox.crs is not None or geobox.affine.e <= 0:
        raise OptionError("y_up applies to rasters without a georeference, in which y runs down; omit it for this raster.")


def describe_axes(geobox: GeoBox, *, y_up: bool = False) -> dict[str, Any]:
    """Return the provenance entries that describe the axes where there is no CRS; an empty dict where there is one."""
    if geobox.crs is not None:
        return {}
    if y_up:
        return {"axes": _UP, Y_UP: True}
    return {"axes": _DOWN if geobox.affine.is_identity else _OWN}


def is_y_up(provenance: Mapping[str, Any] | None) -> bool:
    """Return whether y runs up in a file with this provenance."""
    return provenance is not None and provenance.get(Y_UP) is True


def mirrored(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return features with y negated."""

    def turn(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
        signs: NDArray[np.float64] = np.array([1.0, -1.0, 1.0][: coordinates.shape[1]])
        return coordinates * signs

    geometries = frame.geometry.to_numpy()
    has_z = bool(shapely.has_z(geometries).any())
    turned = shapely.transform(geometries, turn, include_z=has_z)
    result = frame.set_geometry(frame.geometry.__class__(turned, index=frame.index, crs=frame.crs, name=frame.geometry.name))
    result.attrs = frame.attrs
    return result


def refuse_mirrored(frame: gpd.GeoDataFrame, geobox: GeoBox, what: str) -> None:
    """Refuse features whose y runs up for a raster in which y runs down, because all of them would lie outside the raster.

    Parameters
    ----------
    frame : GeoDataFrame
        In the coordinates of the raster.
    geobox : GeoBox
        Grid of the raster.
    what : str
        The features, for the message: "the prompts".

    Raises
    ------
    VectorError
        If neither has a CRS, and every feature lies in the mirror image of the raster above its upper edge.
    """
    if geobox.crs is not None or frame.crs is not None or not geobox.affine.is_identity or not len(frame):
        return
    x0, y0, x1, y1 = frame.total_bounds.tolist()
    height, width = geobox.shape
    if y0 < 0 and y1 <= 0 and -y0 <= height and x0 >= 0 and x1 <= width:
        raise VectorError(
            f"{what} have y from {y0:g} to {y1:g}, as in a file that was written with y_up and has lost its metadata, but in "
            f"this raster y runs down from 0 to {height}. Change the sign of y, or give the file that samgeo wrote."
        )
