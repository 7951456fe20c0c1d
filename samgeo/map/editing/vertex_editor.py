"""Handles on the vertices of the selected object, with which its outline is edited.

The handles are a layer of points, and ``handles.js`` lets the mouse drag them. The editing tools of ipyleaflet, ``DrawControl``
and ``GeomanDrawControl``, are not used, because they keep copies of the shapes that undo and other programs do not change, let
clicks on their handles reach the map as prompts, and draw a handle for every vertex. Here the browser sends one message for
each finished drag, which is one action of the session.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from samgeo.errors import OptionError, SamgeoError
from samgeo.map.editing.handles import Handle, Screen, handles_of
from samgeo.map.editing.outline import Outline
from samgeo.map.ui.browser_part import HANDLES_PANE, library
from samgeo.map.view.layers import collection, feature
from samgeo.map.view.screen import in_view

if TYPE_CHECKING:
    import ipyleaflet
    from anywidget import AnyWidget

    from samgeo.map.session import Session
    from samgeo.map.ui.redraw import Drawing
    from samgeo.map.view.map_coordinates import MapPlacement

__all__ = ["VertexEditor"]

VERTEX = {"color": "#6a00b8", "weight": 2, "fillColor": "#ffffff", "fillOpacity": 1, "radius": 5}
MIDDLE = {"color": "#ffffff", "weight": 1.5, "fillColor": "#6a00b8", "fillOpacity": 1, "radius": 4}


class VertexEditor:
    """Shows handles on the vertices of the selected object, and applies what is done with them.

    Parameters
    ----------
    session : Session
    place : MapPlacement
        The position of its raster on the map.
    leaflet : Map
        The ipyleaflet map.
    drawing : Drawing
        Its status line says how many vertices have no handle.
    front : AnyWidget
        The part of the map in the browser.
    """

    def __init__(
        self, session: Session, place: MapPlacement, leaflet: ipyleaflet.Map, drawing: Drawing, front: AnyWidget
    ) -> None:
        self._session, self._place, self._leaflet, self._drawing = session, place, leaflet, drawing
        self._lock = threading.RLock()
        self._is_active = False
        self._revision = 0
        self._outline: tuple[int, Outline] | None = None
        self._shown: list[Handle] = []
        self._layer = library("ipyleaflet").GeoJSON(
            data=collection(()), point_style={"radius": VERTEX["radius"], "pane": HANDLES_PANE}
        )
        leaflet.add(self._layer)
        front.on_msg(self._receive)

    @property
    def revision(self) -> int:
        """Number of times that handles were drawn; what is done with handles that were drawn before is refused."""
        return self._revision

    @property
    def handles(self) -> tuple[Handle, ...]:
        """The handles on the map."""
        return tuple(self._shown)

    def switch(self, *, on: bool) -> None:
        """Show the handles, or hide them."""
        with self._lock:
            if on or self._is_active:
                self._is_active = on
                self.show()

    def show(self, *, again: bool = False) -> None:
        """Show the handles for the selected object, as it is drawn now.

        Handles that are shown already stay, because one of them may be dragged just now; with ``again`` they are drawn anew.
        """
        with self._lock:
            state = self._session.state
            drawn = self._drawing.visible.objects(state) if self._is_active else ()
            selected = next((one for one in drawn if one.id == state.selected), None)
            before, outlined = self._shown, self._outline
            self._shown, self._outline, hidden = [], None, 0
            if selected is not None:
                outline = Outline.of(selected.geometry)
                self._outline = selected.id, outline
                self._shown, hidden = handles_of(outline, self._screen, in_view(self._leaflet))
            self._drawing.note(f"{hidden:,} vertices too near to others have no handle: zoom in for them" if hidden else "")
            if not again and self._shown == before and (outlined or (None,))[0] == (self._outline or (None,))[0]:
                return
            self._revision += 1
            self._layer.data = collection(self._feature(number, one) for number, one in enumerate(self._shown))

    def do(self, told: dict[str, Any]) -> None:
        """Apply what was done with a handle. If that is not possible, the handles are drawn again where they were.

        Parameters
        ----------
        told : dict
            ``what`` is "drag" or "remove"; ``revision`` and ``number`` name the handle; ``x`` and ``y`` are the pixels of the
            page by which it was dragged. A handle in the middle of an edge becomes a vertex, also where it was only clicked.

        Raises
        ------
        SamgeoError
            If the outline would not be valid, or has changed since the handles were drawn.
        """
        with self._lock:
            try:
                number = told["number"]
                if not self._is_active or told["revision"] != self._revision or not 0 <= number < len(self._shown):
                    raise OptionError("the outline has changed in the meantime; do it again.")
                self._change(self._shown[number], told)
            except SamgeoError:
                self.show(again=True)
                raise

    def _receive(self, _: object, told: dict[str, Any], __: object) -> None:
        if told.get("kind") == "vertex" and _is_known(told):
            self._drawing.guarded(lambda: self.do(told))

    def _change(self, handle: Handle, told: dict[str, Any]) -> None:
        if self._outline is None:
            raise AssertionError("handles are of an outline")
        id, outline = self._outline  # noqa: A001 - the field's word
        x, y = outline.rings[handle.ring][handle.vertex].tolist()
        by_px = float(told.get("x", 0)), float(told.get("y", 0))
        if told["what"] == "remove":
            if handle.is_middle:
                return
            changed = outline.removed(handle.ring, handle.vertex, handle.before, handle.after)
        elif handle.is_middle:
            # The arms lead from the middle to the ends of its edge.
            to = self._screen.shifted((x, y), (by_px[0] - handle.arms[0], by_px[1] - handle.arms[1]))
            changed = outline.inserted(handle.ring, handle.vertex, _known(to))
        else:
            to = self._screen.shifted((x, y), by_px)
            changed = outline.moved(handle.ring, handle.vertex, _known(to), handle.before, handle.after)
        self._session.edit(id, changed)

    @property
    def _screen(self) -> Screen:
        return Screen(self._place, float(self._leaflet.zoom))

    def _feature(self, number: int, handle: Handle) -> dict[str, Any]:
        lat, lng = handle.latlng
        kind = "middle" if handle.is_middle else "vertex"
        # A class carries what the browser needs of a handle, because Leaflet gives paths no other attribute.
        about = ",".join(map(str, (self._revision, number, *(round(one, 1) for one in handle.arms))))
        names = f"samgeo-handle samgeo-{kind} samgeo-at:{about}"
        style = {**(MIDDLE if handle.is_middle else VERTEX), "className": names}
        return feature({"type": "Point", "coordinates": [lng, lat]}, style)


def _known(at: tuple[float, float]) -> tuple[float, float]:
    if not np.isfinite(at).all():
        raise OptionError("the place lies outside the domain of the raster's CRS; move the vertex near the raster.")
    return at


def _is_known(told: dict[str, Any]) -> bool:
    numbers, by_px = (told.get("revision"), told.get("number")), (told.get("x", 0), told.get("y", 0))
    is_named = told.get("what") in ("drag", "remove") and all(isinstance(one, int) for one in numbers)
    return is_named and all(isinstance(one, int | float) for one in by_px)
