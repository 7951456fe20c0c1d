"""Apply the gestures of an analyst on the map to the session."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from samgeo.errors import OptionError
from samgeo.geo.coordinates.overlay import in_pixels
from samgeo.map.session import Session
from samgeo.map.ui.pointer import Box, LatLng, Outline, Pick, Point
from samgeo.map.view.map_coordinates import MapPlacement
from samgeo.map.view.viewport import View
from samgeo.segmentation.masks.vectorize import georeference

__all__ = ["Hand"]

EDGE_POINTS = 17


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

    def do(self, gesture: Point | Box | Pick | Outline, class_name: str) -> None:
        """Do the action of a gesture.

        Parameters
        ----------
        gesture : Point, Box, Pick or Outline
        class_name : str
            The class of objects that the gesture accepts.

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
                self._pick(at, other, class_name)
            case Outline(track, kind):
                self._outline(track, kind)

    def accept_from(self, score: float, class_name: str) -> None:
        """Accept the proposals with this score or a higher one. A score of 0 also accepts proposals without a score.

        Raises
        ------
        OptionError
            If there is no such proposal.
        """
        confident = [one.id for one in self.session.state.proposals if (one.predicted_iou or 0.0) >= score]
        if not confident:
            raise OptionError(f"no open proposal has a score of {score:g} or more; choose a lower score.")
        self.session.accept_proposals(confident, class_name)

    def proposal_at(self, at: LatLng) -> int | None:
        """Return the id of the smallest proposal at a position, or None."""
        proposals = self.session.state.proposals
        (place,) = georeference(np.array([shapely.Point(self._pixels(at))]), self.place.geobox.affine)
        under = np.flatnonzero(shapely.covers([one.geometry for one in proposals], place)) if proposals else ()
        return min((proposals[number] for number in under), key=lambda one: one.area).id if len(under) else None

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
        self.session.add_point(*self.place.to_xy(*at), label, crs=self.place.crs)

    def _pick(self, at: LatLng, other: bool, class_name: str) -> None:
        waiting = self.proposal_at(at)
        if waiting is not None and other:
            self.session.reject_proposals([waiting])
        elif waiting is not None:
            self.session.accept_proposals([waiting], class_name)
        elif not other:
            self.session.select(self.session.object_at(*self.place.to_xy(*at), crs=self.place.crs))

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
        (drawn,), (lost,) = in_pixels(on_screen, self.place.geobox, "EPSG:3857")
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
