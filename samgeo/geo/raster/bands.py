"""Bands of a raster, and the choice of those that make the RGB image for a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import RasterError

if TYPE_CHECKING:
    from samgeo.types import BandsLike

__all__ = ["ALPHA", "INVENTED", "INVENTED_TAG", "NOTES", "ROI_TAG", "Band", "choose_bands", "find_band", "marker_of"]

ALPHA = "alpha"
"""Name of GDAL's colour interpretation for bands that hold transparency."""

INVENTED = "invented"
"""Description of the band that marks invented pixels, which `samgeo.remove` writes: 0 where a pixel was measured."""

INVENTED_TAG = "samgeo_invented"
"""Tag of a file with invented pixels: how many there are, and how they were made, as JSON."""

ROI_TAG = "samgeo_roi"
"""Tag of a file whose pixels are exact only inside objects: how much coarser the others are, as JSON."""

NOTES = (INVENTED_TAG, ROI_TAG)

_RGB = ("red", "green", "blue")


@dataclass(frozen=True, slots=True)
class Band:
    """Properties of a band of a raster.

    Attributes
    ----------
    dtype : str
        NumPy's name of the data type.
    nodata : float or None
        The nodata value, if any.
    description : str
        Empty if there is none.
    color : str
        Colour interpretation in lower case, such as "red", "gray" or "alpha"; empty if unknown.
    transparency : bool or None
        Whether the band is transparency, whatever its colour interpretation. None if the colour interpretation decides.
    shows_invented : bool
        Whether pixels that the band marks as invented are used as data.
    """

    dtype: str
    nodata: float | None = None
    description: str = ""
    color: str = ""
    transparency: bool | None = None
    shows_invented: bool = False

    @property
    def is_alpha(self) -> bool:
        """Whether the band is transparency, which is never part of the image."""
        return self.color == ALPHA if self.transparency is None else self.transparency

    @property
    def is_marker(self) -> bool:
        """Whether the band marks invented pixels; it is no part of the image by default."""
        return not self.is_alpha and _key(self.description) == INVENTED

    @property
    def hides(self) -> bool:
        """Whether the band decides which pixels have data, as transparency or because it marks invented pixels."""
        return self.is_alpha or (self.is_marker and not self.shows_invented)

    def shown(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where a band that hides pixels hides none.

        Parameters
        ----------
        values : ndarray
            Values of the band.
        """
        return np.asarray(values > 0 if self.is_alpha else values == 0)


def choose_bands(bands: Sequence[Band], wanted: BandsLike, name: str) -> tuple[int, int, int]:
    """Choose the bands for red, green and blue.

    Parameters
    ----------
    bands : sequence of Band
        All bands of the raster.
    wanted : None, int, str or sequence of 1 or 3 int or str
        Band numbers from 1, or names: descriptions or colour interpretations, in any case. By default red, green and blue
        by colour interpretation, else by description, else the first three bands, else the first band three times.
    name : str
        Name of the raster, for messages.

    Returns
    -------
    (int, int, int)
        Band numbers from 1.

    Raises
    ------
    RasterError
        If there are no such bands.
    """
    if wanted is None:
        return _default_bands(bands, name)
    if isinstance(wanted, str | int):
        wanted = (wanted,)
    numbers = [find_band(bands, one, name) for one in wanted]
    if len(numbers) not in (1, 3):
        raise RasterError(f"{len(numbers)} bands of {name} were given; give 3 (red, green, blue), or 1 for a grey image.")
    hidden = [number for number in numbers if bands[number - 1].is_alpha]
    if hidden:
        raise RasterError(f"band {hidden[0]} of {name} holds transparency and not image values; choose other bands.")
    marking = [number for number in numbers if bands[number - 1].hides]
    if marking:
        raise RasterError(
            f"band {marking[0]} of {name} marks invented pixels and has no image values; choose other bands, or give "
            'invented="data" (--invented data) to look at it.'
        )
    red, green, blue = numbers * 3 if len(numbers) == 1 else numbers
    return red, green, blue


def _default_bands(bands: Sequence[Band], name: str) -> tuple[int, int, int]:
    for names in ([band.color for band in bands], [_key(band.description) for band in bands]):
        if all(color in names for color in _RGB):
            red, green, blue = (names.index(color) + 1 for color in _RGB)
            return red, green, blue
    numbers = [number for number, band in enumerate(bands, start=1) if not (band.is_alpha or band.is_marker)]
    if not numbers:
        raise RasterError(f'all bands of {name} are taken for transparency; give alpha="none" if they are image bands.')
    red, green, blue = numbers[:3] if len(numbers) >= 3 else numbers[:1] * 3
    return red, green, blue


def find_band(bands: Sequence[Band], wanted: int | str, name: str) -> int:
    """Return the number, from 1, of a band that is given by its number, its description or its colour interpretation.

    Raises
    ------
    RasterError
        If there is no such band, or several have the name.
    """
    if isinstance(wanted, str):
        key = _key(wanted)
        described = [number for number, band in enumerate(bands, start=1) if key and _key(band.description) == key]
        colored = [number for number, band in enumerate(bands, start=1) if key and band.color == key]
        found = described or colored
        if len(found) != 1:
            problem = "no band" if not found else f"{len(found)} bands"
            raise RasterError(
                f"{name} has {problem} called {wanted!r}: {_listing(bands)}. Give band numbers from 1 to {len(bands)}."
            )
        number = found[0]
    elif isinstance(wanted, bool) or not hasattr(wanted, "__index__"):
        raise RasterError(f"{wanted!r} is not a band of {name}; give numbers from 1 to {len(bands)}, or names.")
    else:
        number = int(wanted)
        if not 1 <= number <= len(bands):
            raise RasterError(f"{name} has no band {number}; it has {len(bands)}, counted from 1.")
    return number


def marker_of(descriptions: Sequence[str | None]) -> int | None:
    """Return the number, from 1, of the band that marks invented pixels; None if there is none.

    Parameters
    ----------
    descriptions : sequence of str or None
        Descriptions of all bands of a raster.
    """
    return next((number for number, text in enumerate(descriptions, start=1) if _key(text or "") == INVENTED), None)


def _key(text: str) -> str:
    return text.strip().lower()


def _listing(bands: Sequence[Band]) -> str:
    names = [
        f"{number} {band.description.strip() or band.color or 'without name'}" for number, band in enumerate(bands, start=1)
    ]
    shown = names if len(names) <= 16 else [*names[:16], f"and {len(names) - 16} more"]
    return "its bands are " + ", ".join(shown)
