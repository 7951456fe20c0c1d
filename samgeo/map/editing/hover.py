"""The preview: the outline that a click would give is drawn while the mouse rests. It is no action of the session."""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from samgeo.errors import SamgeoError
from samgeo.map.ui.browser_part import library
from samgeo.map.ui.latest_worker import Latest
from samgeo.map.view.layers import collection, feature

if TYPE_CHECKING:
    import ipyleaflet

    from samgeo.map.session import Session
    from samgeo.map.ui.pointer import LatLng
    from samgeo.map.ui.redraw import Drawing
    from samgeo.map.view.map_coordinates import MapPlacement

__all__ = ["HoverPreview"]

REST_S = 0.12
"""The mouse rests when it has not moved for this time."""

SLOW_S = 0.3
LAST, LEAST = 9, 5
"""The preview is switched off when the median of the last answers, at least 5 and at most 9, takes longer than ``SLOW_S``."""

STYLE = {
    "color": "#ffffff",
    "weight": 2,
    "dashArray": "1 5",
    "lineCap": "round",
    "fill": False,
    "className": "samgeo-hover-outline",
}


class HoverPreview:
    """Draws the outline under the resting mouse.

    Parameters
    ----------
    session : Session
    place : MapPlacement
        The position of its raster on the map.
    leaflet : Map
        The ipyleaflet map.
    drawing : Drawing
        The switch ``preview`` of its panel says whether the preview is on. It is switched off once if the model is too slow; if
        it is switched on again, it stays on.
    is_wanted : callable
        Returns whether a click would begin a new prompt now, and nothing else keeps the model busy.
    """

    def __init__(
        self,
        session: Session,
        place: MapPlacement,
        leaflet: ipyleaflet.Map,
        drawing: Drawing,
        is_wanted: Callable[[], bool],
    ) -> None:
        self._session, self._place, self._drawing, self._is_wanted = session, place, drawing, is_wanted
        self._switch = drawing.panel.switches["preview"]
        self._lock = threading.Lock()
        self._moves = 0
        self._outline: shapely.Geometry | None = None
        self._took: deque[float] = deque(maxlen=LAST)
        self._was_slow = False
        self._layer = library("ipyleaflet").GeoJSON(data=collection(()))
        leaflet.add(self._layer)
        self._latest: Latest[tuple[int, LatLng]] = Latest(self._look, REST_S)
        self._switch.observe(lambda change: None if change["new"] else self.clear(), names="value")

    @property
    def drawn(self) -> list[dict[str, Any]]:
        """What is drawn, as GeoJSON features."""
        features: list[dict[str, Any]] = self._layer.data["features"]
        return features

    def move(self, at: LatLng) -> None:
        """Note where the mouse is. What was asked for before is dropped, and an outline that the mouse has left is removed."""
        if not self._switch.value or not self._is_wanted():
            self.clear()
            return
        with self._lock:
            self._moves += 1
            job = self._moves, at
            has_left = self._outline is not None and not self._is_over(self._outline, at)
            if has_left:
                self._draw(None)
        self._latest.put(job)

    def clear(self) -> None:
        """Remove the outline, and drop what was asked for."""
        with self._lock:
            self._moves += 1
            self._draw(None)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the mouse has rested and its outline is drawn; return False if the timeout came first."""
        return self._latest.wait(timeout_s)

    def close(self) -> None:
        """End the thread."""
        self._latest.close()

    def _look(self, job: tuple[int, LatLng]) -> None:
        number, at = job
        if number != self._moves or not self._switch.value or not self._is_wanted():
            return
        start = time.perf_counter()
        try:
            offer = self._session.preview(*self._place.to_xy(*at), crs=self._place.crs)
        except SamgeoError:
            offer = None  # a click there says what is wrong
        took = time.perf_counter() - start
        with self._lock:
            if number == self._moves and self._is_wanted():
                self._draw(None if offer is None else offer.geometry)
        if offer is not None:
            self._took.append(took)
            self._switch_off_if_slow()

    def _switch_off_if_slow(self) -> None:
        median = statistics.median(self._took)
        if self._was_slow or len(self._took) < LEAST or median <= SLOW_S:
            return
        self._was_slow = True
        self._switch.value = False
        self._drawing.tell(
            f"the preview under the mouse takes {1000 * median:.0f} ms on this machine, so that it is switched off; tick "
            "preview to have it all the same"
        )

    def _draw(self, outline: shapely.Geometry | None) -> None:
        if outline is None and self._outline is None:
            return
        self._outline = outline
        self._layer.data = collection(() if outline is None else (feature(self._place.to_geojson(outline), STYLE),))

    def _is_over(self, outline: shapely.Geometry, at: LatLng) -> bool:
        x_px, y_px = self._place.to_pixels(np.array(at)).tolist()
        return bool(shapely.covers(outline, shapely.Point(self._place.geobox.affine * (x_px, y_px))))
