"""The raster drawn by localtileserver, a server of map tiles on this machine, instead of through the kernel's channel."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.errors import OptionError, SamgeoError
from samgeo.geo.raster.bands import ALPHA
from samgeo.geo.raster.sources.file_source import FileSource
from samgeo.map.ui.browser_part import library

if TYPE_CHECKING:
    import ipyleaflet

    from samgeo.geo.raster.raster import Raster
    from samgeo.map.view.map_coordinates import MapPlacement

__all__ = ["KERNEL", "TILES", "check_tiles", "tile_layer"]

KERNEL, SERVER = "kernel", "localtileserver"
TILES = (KERNEL, SERVER)
"""Programs that can draw a raster: the kernel of the notebook, or localtileserver."""

INSTEAD = 'use tiles="kernel", which shows any raster.'


def check_tiles(tiles: str, raster: Raster, place: MapPlacement) -> None:
    """Check that a kind of tiles can draw a raster.

    Parameters
    ----------
    tiles : str
        One of `TILES`.
    raster : Raster
    place : MapPlacement
        Of the raster.

    Raises
    ------
    OptionError
        If the name is unknown, the server is not installed, or it cannot show this raster as the model sees it.
    """
    if tiles not in TILES:
        raise OptionError(f"tiles is {tiles!r}; give {' or '.join(repr(one) for one in TILES)}.")
    if tiles != SERVER:
        return
    library(SERVER, extra="tiles")
    why = _hindrance(raster, place)
    if why is not None:
        raise OptionError(f"{SERVER} cannot show {raster.name}: {why}; {INSTEAD}")


def tile_layer(raster: Raster) -> ipyleaflet.TileLayer:
    """Start the tile server if it does not run yet, and return an ipyleaflet layer with its tiles of a raster.

    Parameters
    ----------
    raster : Raster
        A raster that `check_tiles` accepts. The tiles have its bands, stretch and nodata.

    Raises
    ------
    OptionError
        If the server does not start, or cannot read the raster.
    """
    server = library(SERVER, extra="tiles")
    try:
        return server.get_leaflet_tile_layer(_file(raster), show_loading=False, **_style(raster))
    except SamgeoError:
        raise
    except Exception as error:  # noqa: BLE001 - it raises what its own libraries do
        raise OptionError(
            f"{SERVER} does not serve {raster.name} ({type(error).__name__}: {error}); check that {SERVER} is "
            f"completely installed (pip install -U 'samgeo[tiles]'), or {INSTEAD}"
        ) from None


def _hindrance(raster: Raster, place: MapPlacement) -> str | None:
    if _file(raster) is None:
        return "it serves single files on this machine, and this raster is not one"
    if place.px_per_degree is not None:
        return "it serves Web Mercator, to which this raster cannot be transformed"
    if any(band.is_alpha != (band.color == ALPHA) for band in raster.source.bands):
        return "it uses the band that is tagged as transparency, whatever alpha says"
    nodata = set(map(str, raster.nodata))  # NaN differs from itself, not from its name
    own = {str(raster.source.bands[number - 1].nodata) for number in raster.bands}
    if len(nodata) > 1 or (nodata == {"None"} and own != nodata):
        return "it supports one nodata value for all bands, and no nodata only if the file has none"
    return None


def _file(raster: Raster) -> str | None:
    source = raster.source
    return source.path if isinstance(source, FileSource) and Path(source.path).is_file() else None


def _style(raster: Raster) -> dict[str, Any]:
    """Return bands, stretch and nodata as parameters of the server."""
    if raster.source.palette is not None:
        return {}
    bands = list(raster.bands[:1] if len(set(raster.bands)) == 1 else raster.bands)
    style: dict[str, Any] = {"indexes": bands, "nodata": raster.nodata[0]}
    if raster.stretch is not None:
        low = [pair[0] for pair in raster.stretch[: len(bands)]]
        high = [max(pair[1], math.nextafter(pair[0], math.inf)) for pair in raster.stretch[: len(bands)]]
        style |= {"vmin": low, "vmax": high} if len(bands) > 1 else {"vmin": low[0], "vmax": high[0]}
    return style
