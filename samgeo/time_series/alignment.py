"""A raster of another date on the grid of a first one, with the shift between both measured and corrected."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from samgeo.errors import OptionError, RasterError
from samgeo.geo.raster.hints import tell
from samgeo.geo.raster.raster import Raster
from samgeo.geo.raster.sources.warped import WarpedSource
from samgeo.time_series.shift import Shift, estimate_shift

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_SHIFT_PX", "Aligned", "align", "check_max_shift", "on_grid_of"]

MAX_SHIFT_PX = 5.0
# Shifts below this are not corrected: interpolation would blur the image more than they matter.
LEAST_SHIFT_PX = 0.25
# Parts of the raster whose shifts differ by more than this are told of.
MOST_SPREAD_PX = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """A raster on the grid of another one.

    Attributes
    ----------
    raster : Raster
        The raster as it is read on the grid, with the shift corrected.
    shift : Shift or None
        The measured shift; None if it is unknown.
    is_corrected : bool
        Whether the shift was corrected.
    """

    raster: Raster
    shift: Shift | None
    is_corrected: bool

    def about(self) -> Mapping[str, Any]:
        """Return the shift as values for JSON."""
        if self.shift is None:
            return {"shift_px": None, "corrected": False}
        shift = self.shift
        return {
            "shift_px": [round(shift.x_px, 3), round(shift.y_px, 3)],
            "spread_px": round(shift.spread_px, 3),
            "blocks": shift.blocks,
            "corrected": self.is_corrected,
        }


def check_max_shift(max_shift_px: float) -> None:
    """Raise an `OptionError` if the limit of the shift is invalid."""
    if not 0 <= max_shift_px < math.inf:
        raise OptionError(f"max_shift_px is {max_shift_px}; give 0 pixels or more.")


def on_grid_of(first: Raster, second: Raster) -> Raster:
    """Return a raster as it is read on the grid of another one; the raster itself if it has this grid.

    Raises
    ------
    RasterError
        If only one of them has a CRS, neither has one and their shapes differ, or they do not overlap.
    """
    one, other = first.geobox, second.geobox
    if (one.crs is None) != (other.crs is None):
        which, with_crs = (first, second) if one.crs is None else (second, first)
        raise RasterError(
            f"{which.name} has no CRS and {with_crs.name} has one, so that they cannot be laid over each other; assign the CRS "
            "(gdal_edit.py -a_srs), or give both without a CRS and with equal shapes."
        )
    if one.crs is None:
        if first.shape != second.shape:
            raise RasterError(
                f"{first.name} has {first.shape[0]} x {first.shape[1]} pixels, {second.name} has {second.shape[0]} x "
                f"{second.shape[1]}, and neither has a CRS, so that it is unknown how they lie on each other; georeference "
                "both, or resample them to one grid."
            )
        return second
    if one == other:
        return second
    source = WarpedSource(second, one)
    if not source.overlaps():
        raise RasterError(
            f"{first.name} and {second.name} do not overlap; give two rasters of the same place, and check their CRSs."
        )
    return _of_source(source)


def align(first: Raster, second: Raster, *, max_shift_px: float = MAX_SHIFT_PX) -> Aligned:
    """Lay a raster on the grid of another one, measure the shift between both, and correct it.

    Parameters
    ----------
    first : Raster
        The raster whose grid is used.
    second : Raster
        The raster that is laid on it, in any CRS and with any resolution.
    max_shift_px : float, default 5
        The largest shift that is corrected, in pixels of the grid. Shifts below 0.25 pixels are left as they are.

    Returns
    -------
    Aligned

    Warns
    -----
    RasterWarning
        If the shift cannot be measured, or differs by more than a pixel between parts of the raster.

    Raises
    ------
    RasterError
        If the rasters do not fit each other, or the shift is larger than the limit.
    """
    placed = on_grid_of(first, second)
    shift = estimate_shift(first, placed)
    names = f"{second.name} against {first.name}"
    if shift is None:
        tell([f"the shift of {names} cannot be measured, because no common pattern stands out; it is not corrected."])
        return Aligned(placed, None, False)
    if shift.length_px > max_shift_px:
        raise RasterError(
            f"the shift of {names} is {_told(shift)}, which is more than {max_shift_px:g}, so that everything would seem to "
            "have changed. Register the rasters to each other first, for example with ground control points (gdal_translate "
            "-gcp, gdalwarp); or raise the limit with max_shift_px (--max-shift), if the shift is the same everywhere."
        )
    if shift.spread_px > MOST_SPREAD_PX:
        told = (
            f"the shift of {names} differs by about {shift.spread_px:.1f} pixels between parts of the rasters, so that "
            "correcting it by one value leaves objects displaced; orthorectify the rasters with the same terrain model."
        )
        tell([told])
    if shift.length_px < LEAST_SHIFT_PX:
        return Aligned(placed, shift, False)
    return Aligned(_moved(placed, first, (shift.x_px, shift.y_px)), shift, True)


def _moved(raster: Raster, first: Raster, shift_px: tuple[float, float]) -> Raster:
    """Return a raster on the grid of the first one whose content is moved back by a shift."""
    source = raster.source
    warped = source if isinstance(source, WarpedSource) else WarpedSource(raster, first.geobox)
    return _of_source(replace(warped, shift_px=shift_px))


def _of_source(source: WarpedSource) -> Raster:
    return Raster(source, (1, 2, 3), (None, None, None), None)


def _told(shift: Shift) -> str:
    across = f"{abs(shift.x_px):.1f} pixels to the {'right' if shift.x_px >= 0 else 'left'}"
    return f"{across} and {abs(shift.y_px):.1f} pixels {'down' if shift.y_px >= 0 else 'up'}"
