"""Choice of the bands that hide pixels: those that are transparency, and those that mark invented pixels.

Transparency is chosen by the user's option, else by tags, unless the values contradict a tag: GDAL, rasterio and many providers
tag the fourth band of every 8-bit raster as alpha, even if it is near infrared.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError, RasterError
from samgeo.geo.raster.bands import ALPHA, INVENTED, INVENTED_TAG, Band, find_band
from samgeo.geo.raster.sources.band_stack import StackSource
from samgeo.geo.raster.sources.mosaic import MosaicSource
from samgeo.geo.raster.sources.sampling import sample

if TYPE_CHECKING:
    from samgeo.geo.raster.sources.base import Source
    from samgeo.geo.raster.sources.file_source import FileSource
    from samgeo.types import BandsLike

__all__ = [
    "NO_ALPHA",
    "check_alpha",
    "check_invented",
    "settle_alpha",
    "settle_invented",
    "shows_invented",
    "transparent_bands",
]

NO_ALPHA = "none"

INVENTED_AS = ("nodata", "data")

# Number of files of a mosaic that are sampled; they are spread over the mosaic.
MOST_TILES = 16

# After lossy compression, an opaque pixel may be a little below the greatest value.
OPAQUE_SHARE = 0.98


def check_alpha(alpha: object) -> int | str | None:
    """Check the option ``alpha``, and return it with digits converted to a number.

    Raises
    ------
    OptionError
        If it is not the number of a band, from 1, a name, or "none".
    """
    if isinstance(alpha, str) and alpha.strip().isdigit():
        alpha = int(alpha)
    if alpha is None or (isinstance(alpha, str) and alpha.strip()):
        return alpha
    if not isinstance(alpha, bool) and hasattr(alpha, "__index__") and alpha.__index__() >= 1:
        return int(alpha.__index__())
    raise OptionError(f'alpha is {alpha!r}; give a band by its number, from 1, or its name, or "{NO_ALPHA}" if there is none.')


def settle_alpha(source: Source, wanted: BandsLike, alpha: int | str | None) -> tuple[Source, list[str]]:
    """Decide which bands of a raster are transparency.

    Parameters
    ----------
    source : Source
        The raster.
    wanted : optional
        The bands of the image, as the user gave them. None of them is transparency.
    alpha : int, str or None
        Result of `check_alpha`: the band that is transparency instead of the tagged bands, or "none" if there is none. None
        means the tagged bands, except those most of whose values lie between transparent and opaque.

    Returns
    -------
    source : Source
        The raster with `Band.transparency` set.
    hints : list of str
        Hints for the user about decisions against the tags.

    Raises
    ------
    RasterError
        If there is no such band, it is also a band of the image, or files of a mosaic differ in which bands are transparency.
    """
    if isinstance(source, StackSource):
        return _of_stack(source, wanted, alpha)
    tiles = source.tiles if isinstance(source, MosaicSource) else (source,)
    named = set() if wanted is None else _named(source, wanted)
    if alpha is None or alpha == NO_ALPHA:
        chosen = None
    else:
        chosen = find_band(source.bands, alpha, source.name)
        if chosen in named:
            raise RasterError(f"band {chosen} of {source.name} is asked for as transparency and as image; choose another one.")
    belied = _belied(tiles, named) if alpha is None else {}
    known: dict[tuple[Band, ...], tuple[Band, ...]] = {}

    def settled(bands: Sequence[Band]) -> tuple[Band, ...]:
        own = tuple(bands)
        if own not in known:
            known[own] = tuple(
                _settled(band, number, named | belied.keys(), alpha, chosen) for number, band in enumerate(own, 1)
            )
        return known[own]

    hints = [
        f"band {number} of {source.name} is tagged as transparency (alpha), but most of its values lie between transparent and "
        f"opaque ({low:g} to {high:g}), as in a band of near infrared. It is therefore not used as transparency. Give "
        f'alpha={number} (--alpha {number}) if it is transparency, or alpha="{NO_ALPHA}" (--alpha {NO_ALPHA}) if not.'
        for number, (low, high) in belied.items()
    ]
    if not isinstance(source, MosaicSource):
        return _with_bands(source, settled(source.bands)), hints
    tiles = tuple(_with_bands(tile, settled(tile.bands)) for tile in tiles)
    for tile in tiles[1:]:
        _check_alike(tiles[0], tile)
    return replace(source, tiles=tiles, bands=settled(source.bands)), hints


def transparent_bands(source: Source) -> list[int | str]:
    """Return the numbers of the bands that are transparency; "file:number" for those in the files of a stack."""
    own: list[int | str] = [number for number, band in enumerate(source.bands, start=1) if band.is_alpha]
    if isinstance(source, StackSource):
        for key, file in zip(source.keys, source.files, strict=True):
            own += [f"{key}:{number}" for number in transparent_bands(file)]
    return own


def check_invented(invented: str | None) -> bool | None:
    """Check the option ``invented``, and return whether invented pixels are used as data; None if nothing is given.

    Raises
    ------
    OptionError
        If it is neither "nodata" nor "data".
    """
    if invented is None:
        return None
    if invented not in INVENTED_AS:
        raise OptionError(f'invented is {invented!r}; give "nodata" to leave invented pixels out, or "data" to use them.')
    return invented == "data"


def settle_invented(source: Source, shows: bool | None) -> Source:
    """Decide whether pixels that a raster marks as invented are data.

    Parameters
    ----------
    source : Source
        The raster.
    shows : bool or None
        Result of `check_invented`. None keeps what was decided before; invented pixels are no data at first.

    Returns
    -------
    Source
        The raster with `Band.shows_invented` set.

    Raises
    ------
    RasterError
        If the tag of a file says that it has invented pixels, the band that marks them is missing, and ``shows`` is not true.
    """
    if not shows:
        for file in source.files:
            _check_marker(file)
    return source if shows is None else _with_marks(source, shows)


def shows_invented(source: Source) -> bool:
    """Return whether invented pixels of a raster are used as data."""
    if any(band.is_marker and band.shows_invented for band in source.bands):
        return True
    return isinstance(source, StackSource) and any(shows_invented(file) for file in source.files)


def _check_marker(file: FileSource) -> None:
    """Refuse a file that lost the band of its invented pixels."""
    note = dict(file.notes).get(INVENTED_TAG)
    if note is None or any(band.is_marker for band in file.bands):
        return
    try:
        content = json.loads(note)
        pixels = content["pixels"] if isinstance(content, dict) else None
    except (ValueError, KeyError):
        pixels = None
    if pixels != 0:
        count = f"{pixels:,}" if isinstance(pixels, int) else "some"
        raise RasterError(
            f"{file.name} says that {count} of its pixels are invented, but the band {INVENTED!r}, which marks them, is "
            'missing. Give the file that samgeo remove wrote, or invented="data" (--invented data) to use all pixels as if '
            "they were measured."
        )


def _with_marks(source: Source, shows: bool) -> Source:
    if isinstance(source, MosaicSource):
        source = replace(source, tiles=tuple(_with_marks(tile, shows) for tile in source.tiles))
    elif isinstance(source, StackSource):
        source = replace(source, files=tuple(replace(file, bands=_marked(file.bands, shows)) for file in source.files))
    return _with_bands(source, _marked(source.bands, shows))


def _marked(bands: Sequence[Band], shows: bool) -> tuple[Band, ...]:
    return tuple(replace(band, shows_invented=shows) if band.is_marker else band for band in bands)


def _of_stack(source: StackSource, wanted: BandsLike, alpha: int | str | None) -> tuple[Source, list[str]]:
    """Decide for the files of a stack, and then for the chosen band of the stack.

    The alpha bands of the files are not bands of the stack.
    """
    files: dict[str, Any] = {}
    hints: list[str] = []
    for key, file in zip(source.keys, source.files, strict=True):
        files[key], told = settle_alpha(file, None, NO_ALPHA if alpha == NO_ALPHA else None)
        hints += told
    if any(file is not own for file, own in zip(files.values(), source.files, strict=True)):
        source = StackSource.of(source.name, files)
    if alpha is None or alpha == NO_ALPHA:
        return source, hints
    chosen = find_band(source.bands, alpha, source.name)
    if wanted is not None and chosen in _named(source, wanted):
        raise RasterError(f"band {chosen} of {source.name} is asked for as transparency and as image; choose another one.")
    bands = tuple(replace(band, transparency=number == chosen) for number, band in enumerate(source.bands, start=1))
    return replace(source, bands=bands), hints


def _named(source: Source, wanted: int | str | Sequence[int | str]) -> set[int]:
    given = (wanted,) if isinstance(wanted, str | int) else wanted
    return {find_band(source.bands, one, source.name) for one in given}


def _settled(band: Band, number: int, image: set[int], alpha: int | str | None, chosen: int | None) -> Band:
    if chosen is not None:
        is_alpha: bool | None = number == chosen
    elif alpha == NO_ALPHA or number in image:
        is_alpha = False
    else:
        # A decision that was made before is kept when a raster is opened again with other options.
        is_alpha = band.is_alpha
    is_plain = band.color != ALPHA and band.transparency is None and not is_alpha
    return band if is_plain else replace(band, transparency=is_alpha)


def _with_bands(source: Source, bands: tuple[Band, ...]) -> Source:
    return source if bands == tuple(source.bands) else replace(source, bands=bands)


def _check_alike(first: Source, other: Source) -> None:
    for number, (one, its) in enumerate(zip(first.bands, other.bands, strict=True), start=1):
        if one.is_alpha != its.is_alpha:
            raise RasterError(
                f"band {number} is transparency in only one of {first.name} and {other.name}; give its meaning in both: "
                f'alpha={number} (--alpha {number}), or alpha="{NO_ALPHA}" (--alpha {NO_ALPHA}).'
            )


def _belied(tiles: Sequence[Source], named: set[int]) -> dict[int, tuple[float, float]]:
    """Return the bands whose values contradict the tag, with the least and the greatest value that is not transparent."""
    found: dict[int, tuple[float, float]] = {}
    numbers = range(1, len(tiles[0].bands) + 1)
    for number in set(numbers) - named:
        tagged = [tile for tile in tiles if (band := tile.bands[number - 1]).is_alpha and band.transparency is None]
        if tagged:
            looked = {round(place) for place in np.linspace(0, len(tagged) - 1, min(len(tagged), MOST_TILES))}
            parts = [values.ravel() for place in sorted(looked) for _, values, _ in sample(tagged[place], [number])]
            between = _between(np.concatenate(parts)) if parts else None
            if between is not None:
                found[number] = between
    return found


def _between(values: NDArray[Any]) -> tuple[float, float] | None:
    """Return the range of the values if they cannot be transparency, because most values above 0 are not opaque.

    Opaque is 255, 65535 or another number whose binary digits are all ones, including 1, whatever the data type.
    """
    shown = values[values > 0]
    if not shown.size:
        return None
    top = float(shown.max())
    bits = math.log2(top + 1)
    if bits == round(bits) and 2 * np.count_nonzero(shown >= OPAQUE_SHARE * top) >= shown.size:
        return None
    return float(shown.min()), top
