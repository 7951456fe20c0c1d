"""What the map does beside prompts and choices: vertices, the preview under the mouse, and masks of clicks of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from samgeo.errors import OptionError
from samgeo.map.editing.hover import HoverPreview
from samgeo.map.editing.vertex_editor import VertexEditor
from samgeo.map.ui.latest_worker import Latest
from samgeo.map.ui.pointer import Box, LatLng, Point

if TYPE_CHECKING:
    import ipyleaflet
    from anywidget import AnyWidget

    from samgeo.map.state.live_state import Snapshot
    from samgeo.map.state.reducer import State
    from samgeo.map.ui.gestures import Hand
    from samgeo.map.ui.redraw import Drawing

__all__ = ["SETTLE_S", "MapEditing"]

SETTLE_S = 0.04
"""A mouse wheel sends several zoom events in a row: handles are drawn after the last one."""


class MapEditing:
    """The tools of one map.

    Parameters
    ----------
    hand : Hand
        The session, and the position of its raster on the map.
    leaflet : Map
        The ipyleaflet map.
    drawing : Drawing
        Its panel has the switches ``each`` and ``preview``.
    front : AnyWidget
        The part of the map in the browser.
    is_idle : callable
        Returns whether a click would be a prompt, and no work in the background keeps the model busy.

    Attributes
    ----------
    vertices : VertexEditor
    hover : HoverPreview
    """

    def __init__(
        self, hand: Hand, leaflet: ipyleaflet.Map, drawing: Drawing, front: AnyWidget, is_idle: Callable[[], bool]
    ) -> None:
        self._hand, self._drawing, self._is_idle = hand, drawing, is_idle
        self._before: State | None = None
        self.vertices = VertexEditor(hand.session, hand.place, leaflet, drawing, front)
        self.hover = HoverPreview(hand.session, hand.place, leaflet, drawing, self._previews)
        self._moves: Latest[None] = Latest(lambda _: self.vertices.show(), SETTLE_S)

    @property
    def is_each(self) -> bool:
        """Whether each click is an object of its own."""
        return bool(self._drawing.panel.switches["each"].value)

    def enter(self, mode: str) -> None:
        """Prepare for another mode of the pointer.

        Raises
        ------
        OptionError
            If the mode needs a selected object, and none is selected.
        """
        if mode in ("vertices", "split", "merge") and self._hand.session.state.selected is None:
            raise OptionError("no object is selected; press s and click the object first.")
        self.hover.clear()

    def follow(self, now: Snapshot) -> None:
        """Follow the session."""
        before, self._before = self._before, now.state
        if now.state.prompt:
            self.hover.clear()
        if before is None or before.objects is not now.state.objects or before.selected != now.state.selected:
            self.redraw()

    def redraw(self) -> None:
        """Draw the handles again, if the mode is that for vertices."""
        self.vertices.switch(on=self._drawing.mode == "vertices")

    def move(self) -> None:
        """Draw the handles again after the map has moved."""
        if self._drawing.mode == "vertices":
            self._moves.put(None)

    def on_mouse(self, event: str, at: LatLng) -> None:
        """Follow the mouse with the preview."""
        if event == "mousemove":
            self.hover.move(at)
        elif event == "mouseout":
            self.hover.clear()

    def each(self, gesture: Point | Box, class_name: str) -> None:
        """Give a click or box a waiting mask of its own; a background click rejects the waiting mask under it.

        Raises
        ------
        SamgeoError
            If the model cannot answer, or no mask waits where a background click is.
        """
        session, place = self._hand.session, self._hand.place
        match gesture:
            case Point(at, 1):
                done = session.propose_at([place.to_xy(*at)], crs=place.crs, class_name=class_name)
            case Point(at, _):
                waiting = self._hand.proposal_at(at, self._drawing.visible)
                if waiting is None:
                    raise OptionError(
                        "no mask waits here, and there is nothing to correct where each click is its own object; press i to "
                        "correct one object with several clicks."
                    )
                done = session.reject_proposals([waiting])
            case Box((one, other)):
                (x0, y0), (x1, y1) = place.to_xy(*one), place.to_xy(*other)
                box = [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]
                done = session.propose_at(boxes=[box], crs=place.crs, class_name=class_name)
        self._drawing.tell_of(done)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until handles and preview are drawn; return False if the timeout came first."""
        return self._moves.wait(timeout_s) and self.hover.wait(timeout_s)

    def close(self) -> None:
        """End the threads."""
        self._moves.close()
        self.hover.close()

    def _previews(self) -> bool:
        return self._drawing.mode == "foreground" and not self._hand.session.state.prompt and self._is_idle()
