"""Colours for polygons in a picture. The same input always gets the same colours."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from samgeo.errors import OptionError

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

__all__ = ["RGB", "UNKNOWN", "checkerboard", "colors_of", "palette", "ramp"]

RGB = tuple[int, int, int]

# Hues are a golden angle apart, so that each differs clearly from the hues just before it.
GOLDEN_TURN = 0.618033988749895
SATURATIONS = (0.85, 0.6, 1.0)
VALUES = (1.0, 0.95, 0.8)

# Nine equal steps through viridis (van der Walt and Smith 2015, public domain): its lightness rises evenly.
RAMP = np.array(
    [
        (68, 1, 84), (71, 45, 123), (59, 82, 139), (44, 114, 142), (33, 145, 140),
        (40, 174, 128), (94, 201, 98), (173, 220, 48), (253, 231, 37),
    ],
    dtype=np.float64,
)  # fmt: skip
UNKNOWN: RGB = (150, 150, 150)

CHECKER_PX = 8
CHECKER_GREYS = (204, 232)


def palette(count: int) -> list[RGB]:
    """Return ``count`` colours, each far from those just before it."""
    colors = []
    for index in range(count):
        hue = index * GOLDEN_TURN % 1
        red, green, blue = colorsys.hsv_to_rgb(hue, SATURATIONS[index % 3], VALUES[index // 3 % 3])
        colors.append((round(red * 255), round(green * 255), round(blue * 255)))
    return colors


def ramp(values: NDArray[np.float64]) -> list[RGB]:
    """Return a colour for each number, from dark blue for the least to yellow for the greatest; grey for NaN."""
    known = np.isfinite(values)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 0.0)
    share = np.where(known, values - low, 0) / ((high - low) or 1)
    steps = np.linspace(0, 1, len(RAMP))
    channels = np.rint([np.interp(share, steps, channel) for channel in RAMP.T]).astype(int).T
    return [(red, green, blue) if sure else UNKNOWN for (red, green, blue), sure in zip(channels.tolist(), known, strict=True)]


def colors_of(frame: gpd.GeoDataFrame, column: str | None) -> list[RGB]:
    """Return a colour for each row of a frame.

    Parameters
    ----------
    frame : GeoDataFrame
        N rows.
    column : str, optional
        The column to colour by. Numbers get a colour from a ramp, other values one colour each, and missing values grey.
        By default each row gets its own colour.

    Returns
    -------
    list of (int, int, int)
        Red, green and blue, 0 to 255; N of them.

    Raises
    ------
    OptionError
        If the frame has no such column.
    """
    if column is None:
        return palette(len(frame))
    if column not in frame.columns or column == frame.geometry.name:
        names = ", ".join(str(name) for name in frame.columns if name != frame.geometry.name) or "none"
        raise OptionError(f"the result has no column {column!r} to colour by; it has: {names}.")
    values = frame[column]
    if is_numeric_dtype(values) and not is_bool_dtype(values):
        return ramp(values.to_numpy(dtype=np.float64, na_value=np.nan))
    return _by_value(values)


def _by_value(values: pd.Series) -> list[RGB]:
    """Return the colour of each value. Colours follow the sorted values, so that the order of the rows does not matter."""
    names = sorted(values.dropna().astype(str).unique())
    table = dict(zip(names, palette(len(names)), strict=True))
    return [UNKNOWN if missing else table[str(value)] for value, missing in zip(values, values.isna(), strict=True)]


def checkerboard(height: int, width: int) -> NDArray[np.uint8]:
    """Return a grey checkerboard, which marks pixels without data; shape (height, width, 3)."""
    y, x = np.ogrid[:height, :width]
    odd = (y // CHECKER_PX + x // CHECKER_PX) % 2
    return np.repeat(np.array(CHECKER_GREYS, dtype=np.uint8)[odd][..., np.newaxis], 3, axis=2)
