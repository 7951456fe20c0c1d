"""Drives a map as a browser does: it sends the messages of a mouse, of keys and of a screen, and reads what is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd
import ipyleaflet
import numpy as np
import shapely
import torch
from map_scene import POINTS, box_of

from samgeo.geo.coordinates.prompt_geometry import from_pixels
from samgeo.map.view.map_coordinates import MapPlacement
from samgeo.testing import Oracle

if TYPE_CHECKING:
    from ipywidgets import DOMWidget, Widget

    import samgeo


class PartsOracle(Oracle):
    """Offers three candidates: the object, and two parts of it."""

    def __init__(self) -> None:
        super().__init__(128)

    def decode(self, embedding, **prompts):
        logits, _ = super().decode(embedding, **prompts)
        height, width = logits.shape[-2:]
        there = logits[:, 0] > 0
        parts = [logits[:, 0]]
        for axis, side in ((-2, height), (-1, width)):
            index = torch.arange(side).reshape((-1, 1) if axis == -2 else (1, -1))
            middle = (there * index).sum((-2, -1)) / there.sum((-2, -1)).clamp(min=1)
            parts.append(torch.where(index < middle[:, None, None], logits[:, 0], -10.0))
        iou = torch.tensor([[0.9, 0.8, 0.7]]).expand(len(logits), 3)
        return (torch.stack(parts, 1), iou) if prompts.get("multimask", True) else (torch.stack(parts[:1], 1), iou[:, :1])


def send(widget: Widget, content: dict) -> None:
    """Give a widget a message through its channel, as its part in the browser does."""
    widget.comm.handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})


def place_of(m: samgeo.Map) -> MapPlacement:
    """Where the raster is on the map."""
    return MapPlacement.of(m.session.predictor.raster.geobox)


class Mouse:
    """Sends to a map what the browser sends when a mouse is used at pixels of the raster."""

    def __init__(self, m: samgeo.Map) -> None:
        self.map, self.place = m, place_of(m)

    def tell(self, kind: str, xy_px) -> None:
        coordinates = self.place.from_pixels(np.array(xy_px, dtype=float)).tolist()
        send(self.map.leaflet, {"event": "interaction", "type": kind, "coordinates": coordinates})

    def click(self, xy_px) -> None:
        for kind in ("mousemove", "mousedown", "mouseup", "preclick", "click"):
            self.tell(kind, xy_px)

    def right(self, xy_px) -> None:
        for kind in ("mousedown", "contextmenu", "mouseup"):
            self.tell(kind, xy_px)

    def drag(self, *track) -> None:
        self.tell("mousedown", track[0])
        for xy_px in track:
            self.tell("mousemove", xy_px)
        self.tell("mouseup", track[-1])
        self.tell("click", track[-1])


def hover(layer: ipyleaflet.GeoJSON, number: int) -> None:
    """Move the mouse over the shape of an object."""
    send(layer, {"event": "mouseover", "feature": {}, "id": None, "properties": {"id": number}})


def press(m: samgeo.Map, name: str) -> None:
    """Press a button."""
    button = m.drawing.panel.buttons[name]
    assert not button.disabled, f"{name} cannot be pressed"
    button.click()


def key(m: samgeo.Map, name: str) -> None:
    """Press a key."""
    send(m.front, {"kind": "key", "key": name})


def accept(m: samgeo.Map, number: int) -> None:
    """Click on an object and accept it."""
    Mouse(m).click(POINTS[number])
    press(m, "accept")


def show_in_browser(m: samgeo.Map, view, size=(800, 600)) -> None:
    """Send what a browser sends when the map has moved."""
    south, west, north, east = view
    m.leaflet.set_state(
        {"south": south, "west": west, "north": north, "east": east}
        | {"left": 1000.0, "top": 2000.0, "right": 1000.0 + size[0], "bottom": 2000.0 + size[1]}
    )


def status(m: samgeo.Map) -> str:
    """The text of the status line."""
    return m.drawing.panel.status.value


def css_classes(widget: DOMWidget) -> list[str]:
    """The CSS classes of a widget."""
    return list(widget.get_state("_dom_classes")["_dom_classes"])


def is_error(m: samgeo.Map) -> bool:
    """Whether the status line shows an error."""
    return "samgeo-error" in css_classes(m.drawing.panel.status)


def layers_of(m: samgeo.Map, features: list[dict]) -> list[ipyleaflet.GeoJSON]:
    """The layers of the map that draw the given features, such as ``m.drawing.objects.features``."""
    ids = {one["properties"]["id"] for one in features}
    groups = [one.layers for one in m.leaflet.layers if isinstance(one, ipyleaflet.LayerGroup)]
    layers = [one for group in groups for one in group if isinstance(one, ipyleaflet.GeoJSON)]
    return [one for one in layers if ids & {feature["properties"].get("id") for feature in one.data["features"]}]


def drawn_area_px(m: samgeo.Map, feature) -> float:
    """The area of what is drawn, in pixels of the raster."""
    polygon = shapely.geometry.shape(feature["geometry"])
    return shapely.area(shapely.transform(polygon, lambda lnglat: place_of(m).to_pixels(lnglat[:, ::-1])))


def found(m: samgeo.Map, *numbers: int) -> gpd.GeoDataFrame:
    """The boxes of objects in degrees, as a result of segmentation."""
    geobox = m.session.predictor.raster.geobox
    corners = [np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]) for x0, y0, x1, y1 in map(box_of, numbers)]
    geometry = [shapely.Polygon(from_pixels(one, geobox, "EPSG:4326")) for one in corners]
    return gpd.GeoDataFrame({"predicted_iou": [0.9] * len(numbers)}, geometry=geometry, crs="EPSG:4326")
