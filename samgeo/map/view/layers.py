"""The layers of the map: raster pictures, candidates, objects and proposals. Only changes are sent to the browser."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from samgeo.map.state.actions import AddPoint
from samgeo.map.state.reducer import Annotation, Offer, Prompt, Proposal
from samgeo.map.ui.browser_part import library
from samgeo.map.ui.pointer import LatLng
from samgeo.map.view.map_coordinates import MapPlacement
from samgeo.map.view.viewport import ViewPicture, encode

if TYPE_CHECKING:
    import ipyleaflet

__all__ = ["Pictures", "Polygons", "Sketch", "collection", "feature"]

# Number of shapes in a layer. After a change of one shape, all shapes of its layer are sent again.
CHUNK = 16

HOVER = {"weight": 4, "fillOpacity": 0.35}
PREVIEW = {"color": "#00e5ff", "weight": 3, "fillColor": "#00e5ff", "fillOpacity": 0.25, "className": "samgeo-preview"}
MARKS = {1: "#00c853", 0: "#ff1744"}
MARK_PX = 5
BOX = {"color": "#ffea00", "weight": 2, "fill": False, "dashArray": "6 4", "className": "samgeo-box"}
DRAFTS = {"box": "#ffea00", "add": "#00c853", "cut": "#ff1744", "split": "#ff00e5"}

Hovered = Callable[[int], None]


def collection(features: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return features as GeoJSON."""
    return {"type": "FeatureCollection", "features": list(features)}


def feature(geometry: Mapping[str, Any], style: Mapping[str, Any], **properties: object) -> dict[str, Any]:
    """Return a GeoJSON feature with its style for Leaflet."""
    return {"type": "Feature", "geometry": geometry, "properties": {"style": style, **properties}}


class Pictures:
    """Pictures of the raster. The first stays under the last two, so that the map is never empty while it moves.

    Parameters
    ----------
    leaflet : Map
        Of ipyleaflet.
    below : Layer or None
        An ipyleaflet layer that is drawn under the pictures.
    """

    def __init__(self, leaflet: ipyleaflet.Map, below: ipyleaflet.Layer | None = None) -> None:
        self._library = library("ipyleaflet")
        self._below, self._opacity = below, 1.0
        if below is not None:
            leaflet.add(below)
        self._group = self._library.LayerGroup()
        leaflet.add(self._group)

    @property
    def shown(self) -> tuple[Any, ...]:
        """The layers, from the lowest."""
        layers: tuple[Any, ...] = self._group.layers
        return layers

    def show(self, picture: ViewPicture) -> None:
        """Show a picture above the others. Of these only the first and the last stay."""
        layer = self._library.ImageOverlay(url=encode(picture.image), bounds=picture.bounds, opacity=self._opacity)
        before = self.shown
        kept = before if len(before) < 3 else (before[0], before[-1])
        self._group.layers = (*kept, layer)
        for one in set(before) - set(kept):
            one.close()

    def show_opacity(self, opacity: float) -> None:
        """Draw the raster with an opacity from 0 to 1."""
        self._opacity = opacity
        for layer in (*self.shown, *(() if self._below is None else (self._below,))):
            layer.opacity = opacity


class Polygons:
    """Shapes with ids, such as objects or proposals, in layers of up to 16 shapes each.

    Parameters
    ----------
    leaflet : Map
        Of ipyleaflet.
    place : MapPlacement
    style : callable
        Returns the Leaflet style of a shape, given the shape and whether it is selected.
    hovered : callable
        Called with the id of a shape when the mouse enters it.
    """

    def __init__(
        self, leaflet: ipyleaflet.Map, place: MapPlacement, style: Callable[[Any, bool], Mapping[str, Any]], hovered: Hovered
    ) -> None:
        self._library = library("ipyleaflet")
        self._group = self._library.LayerGroup()
        self._place = place
        self._style = style
        self._hovered = hovered
        self._chunks: list[tuple[tuple[Any, ...], Any]] = []
        leaflet.add(self._group)

    @property
    def features(self) -> list[dict[str, Any]]:
        """The shapes on the map, as GeoJSON features."""
        return [one for layer in self._group.layers for one in layer.data["features"]]

    def show(self, shapes: Sequence[Annotation] | Sequence[Proposal], selected: int | None = None) -> None:
        """Show these shapes, and no others."""
        layers = list(self._group.layers)
        chunks = []
        for number, start in enumerate(range(0, len(shapes), CHUNK)):
            members: tuple[Annotation | Proposal, ...] = tuple(shapes[start : start + CHUNK])
            chosen = selected if any(one.id == selected for one in members) else None
            before = self._chunks[number] if number < len(self._chunks) else None
            chunks.append((members, chosen))
            if before is not None and before[1] == chosen and _same(before[0], members):
                continue
            data = collection(self._feature(one, one.id == chosen) for one in members)
            if number < len(layers):
                layers[number].data = data
            else:
                layers.append(self._new(data))
        self._chunks = chunks
        gone = layers[len(chunks) :]
        if gone or len(layers) != len(self._group.layers):
            self._group.layers = tuple(layers[: len(chunks)])
        for one in gone:
            one.close()

    def forget(self) -> None:
        """Draw all shapes anew with the next `show`, for example because their colours changed."""
        self._chunks = []

    def _new(self, data: dict[str, Any]) -> ipyleaflet.GeoJSON:
        layer = self._library.GeoJSON(data=data, hover_style=HOVER)
        layer.on_hover(lambda **told: self._hovered(told["properties"]["id"]))
        return layer

    def _feature(self, shape: Annotation | Proposal, is_selected: bool) -> dict[str, Any]:
        return feature(self._place.to_geojson(shape.geometry), self._style(shape, is_selected), id=shape.id)


class Sketch:
    """The unfinished object: the chosen candidate, the clicks, the box, and the line that the mouse is drawing.

    Parameters
    ----------
    leaflet : Map
        Of ipyleaflet.
    place : MapPlacement
    """

    def __init__(self, leaflet: ipyleaflet.Map, place: MapPlacement) -> None:
        self._place = place
        made = [library("ipyleaflet").GeoJSON(data=collection(())) for _ in range(2)]
        self._preview, self._draft = made
        # Clicks are circles, because the pins that Leaflet draws by default would catch further clicks.
        self._marks = library("ipyleaflet").GeoJSON(data=collection(()), point_style={"radius": MARK_PX})
        for layer in (self._preview, self._marks, self._draft):
            leaflet.add(layer)

    @property
    def preview(self) -> list[dict[str, Any]]:
        """The chosen candidate as GeoJSON, if there is one."""
        features: list[dict[str, Any]] = self._preview.data["features"]
        return features

    @property
    def marks(self) -> list[dict[str, Any]]:
        """The clicks and the box as GeoJSON."""
        features: list[dict[str, Any]] = self._marks.data["features"]
        return features

    @property
    def draft(self) -> list[dict[str, Any]]:
        """The box or line that the mouse is drawing, as GeoJSON."""
        features: list[dict[str, Any]] = self._draft.data["features"]
        return features

    def show_offer(self, offer: Offer | None) -> None:
        """Show a candidate."""
        features = () if offer is None else (feature(self._place.to_geojson(offer.geometry), PREVIEW),)
        self._preview.data = collection(features)

    def show_prompt(self, prompt: Prompt) -> None:
        """Show clicks and the box."""
        features = [self._point(one) for one in prompt.points]
        if prompt.box is not None:
            x0, y0, x1, y1 = prompt.box.xyxy_px
            ring = ((x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0))
            features.append(feature({"type": "Polygon", "coordinates": [[self._lnglat(x, y) for x, y in ring]]}, BOX))
        self._marks.data = collection(features)

    def show_draft(self, track: Sequence[LatLng], kind: str) -> None:
        """Show the box or line that the mouse is drawing."""
        line: Sequence[LatLng] = track
        if kind == "box" and len(track) == 2:
            (lat, lng), (other_lat, other_lng) = track
            line = ((lat, lng), (lat, other_lng), (other_lat, other_lng), (other_lat, lng), (lat, lng))
        style = {"color": DRAFTS.get(kind, BOX["color"]), "weight": 2, "fill": False, "className": "samgeo-draft"}
        points = [[lng, lat] for lat, lng in line]
        drawn = (feature({"type": "LineString", "coordinates": points}, style),) if len(points) > 1 else ()
        self._draft.data = collection(drawn)

    def _point(self, point: AddPoint) -> dict[str, Any]:
        style = {
            "color": "#ffffff",
            "weight": 2,
            "fillColor": MARKS[point.label],
            "fillOpacity": 1,
            "className": "samgeo-prompt",
        }
        return feature({"type": "Point", "coordinates": self._lnglat(point.x_px, point.y_px)}, style, label=point.label)

    def _lnglat(self, x_px: float, y_px: float) -> list[float]:
        lat, lng = self._place.from_pixels(np.array([x_px, y_px])).tolist()
        return [lng, lat]


def _same(some: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))
