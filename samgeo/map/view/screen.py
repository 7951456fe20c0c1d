"""Create the ipyleaflet map for a raster, and read the view that it shows."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from samgeo.errors import OptionError
from samgeo.map.ui.browser_part import HANDLES_PANE, library
from samgeo.map.view.map_coordinates import RADIUS_M, MapPlacement
from samgeo.map.view.viewport import MAX_SIDE, View

if TYPE_CHECKING:
    import ipyleaflet

__all__ = ["TILE_M", "fit", "in_view", "make_leaflet", "read_basemap", "view_of_raster"]

# The assumed width of the map until the browser reports its size.
WIDTH_PX = 900
SIDE_PX = 1024

CLOSEST = 32  # screen pixels per raster pixel
OUTER_ZOOMS = 3
ZOOM_STEP = 0.25

TILE_M = 2 * math.pi * RADIUS_M / 256
"""Size in metres of a screen pixel of Web Mercator at zoom 0."""


def read_basemap(basemap: object) -> ipyleaflet.Layer | Mapping[str, Any] | None:
    """Return a basemap that ipyleaflet can draw under a raster. A name is looked up among those of ipyleaflet.

    Raises
    ------
    OptionError
        If it is neither a layer nor a basemap of ipyleaflet, or no basemap has this name.
    """
    ipyleaflet = library("ipyleaflet")
    if isinstance(basemap, str):
        try:
            found: Mapping[str, Any] = ipyleaflet.basemaps.query_name(basemap)
        except ValueError:
            known = list(ipyleaflet.basemaps.flatten())
            like = difflib.get_close_matches(basemap, known, n=3, cutoff=0.4) or known[:3]
            raise OptionError(f"no basemap has the name {basemap!r}; give a name such as {', '.join(like)}.") from None
        return found
    if basemap is None or isinstance(basemap, ipyleaflet.Layer | Mapping):
        return basemap
    raise OptionError(
        f"basemap is {basemap!r}; give a name, a layer, or a basemap such as ipyleaflet.basemaps.OpenStreetMap.Mapnik."
    )


def make_leaflet(place: MapPlacement, basemap: ipyleaflet.Layer | Mapping[str, Any] | None, height: int) -> ipyleaflet.Map:
    """Create an ipyleaflet map at the position of a raster.

    Parameters
    ----------
    place : MapPlacement
    basemap : TileLayer or basemap of ipyleaflet, or None
    height : int
        Height of the map in pixels.

    Raises
    ------
    OptionError
        If a basemap is given and the raster has no position on the globe.
    """
    ipyleaflet = library("ipyleaflet")
    if basemap is not None and place.px_per_degree is not None:
        raise OptionError("the raster has no position on the earth, so that no basemap can be shown; omit basemap.")
    tiles = basemap if basemap is None or isinstance(basemap, ipyleaflet.Layer) else ipyleaflet.basemap_to_tiles(basemap)
    center, zoom = fit(place, WIDTH_PX, height)
    rows, columns = place.geobox.shape
    leaflet = ipyleaflet.Map(
        layers=() if tiles is None else (tiles,),  # without this ipyleaflet loads tiles from the network
        crs=ipyleaflet.projections.EPSG3857 if place.px_per_degree is None else ipyleaflet.projections.Simple,
        center=center,
        zoom=zoom,
        min_zoom=max(math.floor(zoom) - OUTER_ZOOMS, 0),
        max_zoom=math.ceil(fit(place, CLOSEST * columns, CLOSEST * rows)[1]),
        zoom_snap=ZOOM_STEP,
        scroll_wheel_zoom=True,
        double_click_zoom=False,
        box_zoom=False,
        attribution_control=tiles is not None,
        panes={HANDLES_PANE: {"zIndex": 450}},  # above the objects, whose pane has 400
        layout={"height": "100%", "flex": "1 1 auto"},
    )
    leaflet.add_class("samgeo-leaflet")
    return leaflet


def fit(
    place: MapPlacement, width: float, height: float, bounds: tuple[float, float, float, float] | None = None
) -> tuple[tuple[float, float], float]:
    """Return the centre and the zoom that show a whole raster in a map of ``width`` times ``height`` screen pixels.

    ``bounds`` (south, west, north, east) has the place of the raster for another part of the map.
    """
    south, west, north, east = place.bounds if bounds is None else bounds
    corners = place.to_plane(np.array([[south, west], [north, east]]))
    across, up = (corners[1] - corners[0]).tolist()
    lat, lng = place.from_plane(corners.mean(axis=0)).tolist()
    unit = max(across / width, up / height)
    zoom = math.log2((TILE_M if place.px_per_degree is None else 1.0) / unit)
    return (lat, lng), math.floor(zoom / ZOOM_STEP) * ZOOM_STEP


def in_view(leaflet: ipyleaflet.Map) -> View | None:
    """Return the view of a map; None before the browser has reported it."""
    if not leaflet.pixel_bounds or not leaflet.bounds:
        return None
    ((left, top), (right, bottom)), ((south, west), (north, east)) = leaflet.pixel_bounds, leaflet.bounds
    width, height = round(right - left), round(bottom - top)
    if width < 1 or height < 1 or south >= north or west >= east:
        return None
    return View(south, west, north, east, min(width, MAX_SIDE), min(height, MAX_SIDE))


def view_of_raster(place: MapPlacement) -> View:
    """Return a view of a whole raster, for use before the size of the screen is known."""
    south, west, north, east = place.bounds
    corners = place.to_plane(np.array([[south, west], [north, east]]))
    across, up = (corners[1] - corners[0]).tolist()
    longer = max(across, up)
    size = [max(round(SIDE_PX * side / longer), 1) for side in (across, up)]
    return View(south, west, north, east, *size)
