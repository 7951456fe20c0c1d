"""Apply the gestures of an analyst on the map to the session."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from samgeo.errors import OptionError
from samgeo.geo.coordinates.overlay import in_pixels
from samgeo.geo.coordinates.pixel_coordinates import PIXELS
from samgeo.map.session import Session
from samgeo.map.state.actions import AddPoint
from samgeo.map.ui.pointer import Box, Choice, LatLng, Outline, Pick, Point
from samgeo.map.view.map_coordinates import MapPlacement
from samgeo.map.view.viewport import View
from samgeo.map.view.visibility import Visible
from samgeo.segmentation.masks.vectorize import georeference

__all__ = ["Hand"]

EDGE_POINTS = 17

SCREEN_CRS = "EPSG:3857"

STRAIGHT = 0.015
"""A line that splits an object is simplified by this part of its length, so that one that is nearly straight is straight."""


@dataclass(frozen=True, slots=True)
class Hand:
    """Turns gestures at map positions into actions of a session.

    Attributes
    ----------
    session : Session
    place : MapPlacement
        The position of its raster on the map.
    """

    session: Session
    place: MapPlacement

    def do(self, gesture: Point | Box | Pick | Choice | Outline, class_name: str, visible: Visible) -> None:
        """Do the action of a gesture.

        Parameters
        ----------
        gesture : Point, Box, Pick, Choice or Outline
        class_name : str
            The class of objects that the gesture accepts.
        visible : Visible
            What is drawn; nothing else is picked.

        Raises
        ------
        SamgeoError
            If the action cannot be done.
        """
        match gesture:
            case Point(at, label):
                self._point(at, label)
            case Box((one, other)):
                (x0, y0), (x1, y1) = self.place.to_xy(*one), self.place.to_xy(*other)
                self.session.set_box(x0, y0, x1, y1, crs=self.place.crs)
            case Pick(at, other):
                self._pick(at, other, class_name, visible)
            case Choice(at, kind):
                self._choose(at, kind, visible)
            case Outline(track, "split"):
                self._split(track)
            case Outline(track, kind):
                self._outline(track, kind)

    def accept_drawn(self, class_name: str, visible: Visible) -> None:
        """Accept the proposals that are drawn.

        Raises
        ------
        OptionError
            If no proposal is drawn.
        """
        drawn = [one.id for one in visible.proposals(self.session.state)]
        if not drawn:
            raise OptionError(
                f"no open proposal has a score of {visible.min_score:g} or more and is drawn; choose a lower score, or show "
                "more layers."
            )
        self.session.accept_proposals(drawn, class_name)

    def proposal_at(self, at: LatLng, visible: Visible) -> int | None:
        """Return the id of the smallest proposal that is drawn at a position, or None."""
        proposals = visible.proposals(self.session.state)
        place = self._on_ground(at)
        under = np.flatnonzero(shapely.covers([one.geometry for one in proposals], place)) if proposals else ()
        return min((proposals[number] for number in under), key=lambda one: one.area).id if len(under) else None

    def object_at(self, at: LatLng, visible: Visible) -> int | None:
        """Return the id of the newest object that is drawn at a position, or None."""
        place = self._on_ground(at)
        drawn = reversed(visible.objects(self.session.state))
        return next((one.id for one in drawn if shapely.covers(one.geometry, place)), None)

    def area_px(self, view: View) -> shapely.Geometry:
        """Return the part of the raster that is in view, in raster pixels.

        Raises
        ------
        OptionError
            If no part of the raster is in view.
        """
        along = np.linspace(0, 1, EDGE_POINTS)
        x = np.concatenate([along, np.ones(EDGE_POINTS), along[::-1], np.zeros(EDGE_POINTS)])
        y = np.concatenate([np.zeros(EDGE_POINTS), along, np.ones(EDGE_POINTS), along[::-1]])
        # A view may be larger than the area in which the raster's CRS is valid.
        south, west, north, east = self.place.bounds
        low = max(view.south, south), max(view.west, west)
        high = min(view.north, north), min(view.east, east)
        if low[0] >= high[0] or low[1] >= high[1]:
            raise OptionError("nothing of the raster is in view; move the map to it.")
        latlng = np.stack([low[0] + y * (high[0] - low[0]), low[1] + x * (high[1] - low[1])], axis=-1)
        corners = self.place.to_pixels(latlng)
        height, width = self.place.geobox.shape
        area = shapely.intersection(shapely.make_valid(shapely.Polygon(corners)), shapely.box(0, 0, width, height))
        polygons = _polygons(area)
        if shapely.is_empty(polygons):
            raise OptionError("nothing of the raster is in view; move the map to it.")
        return polygons

    def _point(self, at: LatLng, label: int) -> None:
        x_px, y_px = self._pixels(at)
        marks = self.session.state.prompt.marks
        # A double-click clicks twice at one place, and the second click says nothing new.
        if marks and marks[-1] == AddPoint(x_px, y_px, label):
            return
        self.session.add_point(*self.place.to_xy(*at), label, crs=self.place.crs)

    def _on_ground(self, at: LatLng) -> shapely.Geometry:
        """Return a position as a point in the raster's CRS."""
        place: shapely.Geometry = georeference(np.array([shapely.Point(self._pixels(at))]), self.place.geobox.affine)[0]
        return place

    def _pick(self, at: LatLng, other: bool, class_name: str, visible: Visible) -> None:
        waiting = self.proposal_at(at, visible)
        if waiting is not None and other:
            self.session.reject_proposals([waiting])
        elif waiting is not None:
            self.session.accept_proposals([waiting], class_name)
        elif not other:
            self.session.select(self.object_at(at, visible))

    def _choose(self, at: LatLng, kind: str, visible: Visible) -> None:
        """Select the object at a position, or merge it with the selected one."""
        selected, place = self.session.state.selected, self._on_ground(at)
        drawn = [one for one in reversed(visible.objects(self.session.state)) if one.id != selected]
        other = next((one.id for one in drawn if shapely.covers(one.geometry, place)), None)
        if kind == "vertices":
            if other is not None and self.object_at(at, visible) != selected:
                self.session.select(other)
        elif selected is None or other is None:
            raise OptionError("there is no other object here; click on the object to merge with the selected one.")
        else:
            self.session.merge([selected, other])

    def _split(self, track: tuple[LatLng, ...]) -> None:
        selected = self.session.state.selected
        if selected is None:
            raise OptionError("no object is selected; select one, then drag a line across it.")
        is_globe = self.place.px_per_degree is None
        points = self.place.to_plane(np.array(track)) if is_globe else np.array([self._pixels(at) for at in track])
        line = shapely.LineString(points)
        straight = shapely.simplify(line, STRAIGHT * shapely.length(line))
        self.session.split(selected, straight, crs=SCREEN_CRS if is_globe else PIXELS)

    def _outline(self, track: tuple[LatLng, ...], kind: str) -> None:
        state = self.session.state
        if state.selected is None:
            raise OptionError("no object is selected; select one, then draw the part to add or to cut.")
        before = state.object(state.selected).geometry
        drawn_px = _polygons(shapely.make_valid(self._drawn(track)))
        (drawn,) = georeference(np.array([drawn_px]), self.place.geobox.affine)
        after = _polygons(shapely.union(before, drawn) if kind == "add" else shapely.difference(before, drawn))
        if shapely.is_empty(after):
            raise OptionError("the cut would remove the whole object; delete it instead.")
        self.session.edit(state.selected, after)

    def _drawn(self, track: tuple[LatLng, ...]) -> shapely.Geometry:
        """Return a drawn outline in raster pixels. Its edges are straight on the screen, which shows Web Mercator."""
        if self.place.px_per_degree is not None:
            return shapely.Polygon([self._pixels(at) for at in track])
        on_screen = np.array([shapely.Polygon(self.place.to_plane(np.array(track)))], dtype=object)
        (drawn,), (lost,) = in_pixels(on_screen, self.place.geobox, SCREEN_CRS)
        if lost:
            raise OptionError("a part of the drawing lies outside the domain of the raster's CRS; draw near the raster.")
        outline: shapely.Geometry = drawn
        return outline

    def _pixels(self, at: LatLng) -> tuple[float, float]:
        x, y = self.place.to_pixels(np.array(at)).tolist()
        if not np.isfinite([x, y]).all():
            raise OptionError("the point lies outside the domain of the raster's CRS; click near the raster.")
        return x, y


def _polygons(geometry: shapely.Geometry) -> shapely.Geometry:
    """Return the polygons of a geometry, without lines and points."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    kept = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON].tolist()
    return kept[0] if len(kept) == 1 else shapely.MultiPolygon(kept)
