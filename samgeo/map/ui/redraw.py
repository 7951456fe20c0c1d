"""Draw a session on the map. The panel and the layers follow its state, whichever thread changes it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from samgeo.errors import SamgeoError
from samgeo.map.session import Session
from samgeo.map.state.live_state import Snapshot
from samgeo.map.state.reducer import Annotation, Proposal, State
from samgeo.map.ui.browser_part import library
from samgeo.map.ui.messages import Progress, describe, next_step, tell_of
from samgeo.map.ui.panel import Panel
from samgeo.map.view.layers import Pictures, Polygons, Sketch
from samgeo.map.view.map_coordinates import MapPlacement
from samgeo.map.view.viewport import View, draw
from samgeo.map.view.visibility import Visible

if TYPE_CHECKING:
    import anywidget
    import ipyleaflet
    import ipywidgets

__all__ = ["Drawing"]

EXPORT = "objects.gpkg"
WAITING = {"color": "#ff9100", "weight": 2, "dashArray": "4 4", "fillOpacity": 0.15, "className": "samgeo-proposal"}

OPACITY = "samgeo-shapes-"
"""The beginning of the classes that set the opacity of shapes in percent; `map.css` has one for each step of the slider."""


class Drawing:
    """The panel and the layers of a map, drawn from snapshots of a session.

    Parameters
    ----------
    session : Session
    place : MapPlacement
        The position of its raster on the map.
    leaflet : Map
        The ipyleaflet map.
    act : callable
        Called with the name of a button's action.
    tiles : Layer or None
        The ipyleaflet layer that shows the raster, if a tile server draws it.

    Attributes
    ----------
    panel : Panel
    pictures : Pictures
    proposals, objects : Polygons
    sketch : Sketch
    visible : Visible
        What is drawn.
    mode : str
        The mode of the pointer.
    looked : callable
        Called after a change of what is drawn.
    """

    def __init__(
        self,
        session: Session,
        place: MapPlacement,
        leaflet: ipyleaflet.Map,
        act: Callable[[str], None],
        tiles: ipyleaflet.Layer | None,
    ) -> None:
        self._session, self._place, self._leaflet = session, place, leaflet
        self._unit = "px" if place.geobox.crs is None else "m²"
        self._lock = threading.RLock()
        self._drawn: State | None = None
        self._colors = session.colors
        self.mode, self._class_name, self._note = "foreground", session.classes[0], ""
        self.looked: Callable[[], None] = lambda: None
        self.visible = Visible()
        self.panel = Panel(session, self._unit, EXPORT, act, self.look, self.guarded)
        self.pictures = Pictures(leaflet, tiles)
        self.proposals = Polygons(leaflet, place, self._proposal_style, self._hovered)
        self.objects = Polygons(leaflet, place, self._object_style, self._hovered)
        self.sketch = Sketch(leaflet, place)
        controls = library("ipyleaflet")
        leaflet.add(controls.WidgetControl(widget=self.panel.corner, position="topleft", transparent_bg=True))
        leaflet.add(controls.WidgetControl(widget=self.panel.hover, position="bottomleft"))
        leaflet.add(controls.WidgetControl(widget=self.panel.coordinates, position="bottomright"))
        if place.px_per_degree is None:  # a plane of pixels has no metres
            leaflet.add(controls.ScaleControl(position="bottomright", imperial=False))

    def around(self, front: anywidget.AnyWidget, height: int) -> ipywidgets.VBox:
        """Return the widget that contains the map, the panel, the status line and the front end."""
        widgets = library("ipywidgets")
        self._leaflet.layout.height = f"{height}px"
        self.panel.box.layout.max_height = f"{height}px"
        self._body = body = widgets.Box([self._leaflet, self.panel.box, self.panel.foot])
        body.add_class("samgeo-body")
        widget = widgets.VBox([body, self.panel.keys, front])
        widget.add_class("samgeo-map")
        return widget

    def show(self, now: Snapshot) -> None:
        """Draw a session. The candidate comes first, because the analyst waits for it."""
        with self._lock:
            state, before = now.state, self._drawn
            self._show_classes(state, before)
            if before is None or before.candidate is not state.candidate:
                self.sketch.show_offer(state.candidate if self.visible.candidates else None)
            if before is None or before.prompt is not state.prompt:
                self.sketch.show_prompt(state.prompt)
            if before is None or before.objects is not state.objects or before.selected != state.selected:
                self.objects.show(self.visible.objects(state), state.selected)
            if before is None or before.proposals is not state.proposals:
                self.proposals.show(self.visible.proposals(state))
            self.panel.show(now)
            self.panel.tell(tell_of(now, self._unit))
            self._drawn = state
            self._show_hint()

    def aim(self, mode: str, class_name: str) -> None:
        """Show the next step for a mode of the pointer and an active class."""
        with self._lock:
            self.mode, self._class_name = mode, class_name
            self._show_hint()

    def note(self, text: str) -> None:
        """Show a remark beside the next step; with an empty text, remove it."""
        with self._lock:
            self._note = text
            self._show_hint()

    def look(self, visible: Visible) -> None:
        """Draw what is to be visible, and hide the rest."""
        with self._lock:
            self.visible = visible
            state = self._drawn or self._session.state
            self.sketch.show_offer(state.candidate if visible.candidates else None)
            self.objects.show(visible.objects(state), state.selected)
            self.proposals.show(visible.proposals(state))
            self.pictures.show_opacity(visible.raster_opacity if visible.raster else 0.0)
            self._show_opacity(visible.shapes_opacity)
        self.looked()

    def _show_opacity(self, opacity: float) -> None:
        # A class of an ordinary widget, because anywidget drops messages to a script that starts slowly.
        for name in [one for one in self._body.get_state("_dom_classes")["_dom_classes"] if one.startswith(OPACITY)]:
            self._body.remove_class(name)
        self._body.add_class(f"{OPACITY}{round(100 * opacity)}")

    def _show_hint(self) -> None:
        is_each = self.panel.switches["each"].value
        step = next_step(self._drawn or self._session.state, self.mode, self._class_name, is_each=is_each)
        self.panel.hint.value = f"{step}; {self._note}" if self._note else step

    def _show_classes(self, state: State, before: State | None) -> None:
        """Follow the classes and colours of the session. After a change of a colour all shapes are drawn again."""
        if before is None or before.class_list == state.class_list:
            return
        colors = state.class_list.colors
        if any(self._colors.get(name, color) != color for name, color in colors.items()):
            self.objects.forget()
            self.proposals.forget()
        self._colors = colors
        self.panel.show_classes(state.class_list)
        self.visible = self.panel.visible  # a class that is hidden may have another name
        self.objects.show(self.visible.objects(state), state.selected)
        self.proposals.show(self.visible.proposals(state))

    def show_view(self, view: View) -> None:
        """Draw the part of the raster that is in view."""
        with self.errors_shown():
            picture = draw(self._session.predictor.raster, self._place, view)
            if picture is not None:
                self.pictures.show(picture)

    def show_progress(self, kind: str, now: Progress | None) -> None:
        """Show the progress of a kind of work in the background; None means that no such work is in progress."""
        with self._lock:
            self.panel.show_progress(kind, now)

    def tell(self, text: str, *, is_error: bool = False) -> None:
        """Show a message in the status line."""
        with self._lock:
            self.panel.tell(text, is_error=is_error)

    def tell_of(self, now: Snapshot) -> None:
        """Show in the status line a message about the result of an action."""
        self.tell(tell_of(now, self._unit))

    def tell_instead_of(self, text: str) -> None:
        """Replace ``text`` by a message about the session, if the status line still shows it."""
        with self._lock:
            if self.panel.status.value == text:
                self.panel.tell(tell_of(self._session.snapshot, self._unit))

    def guarded(self, do: Callable[[], object]) -> None:
        """Call a function within `errors_shown`."""
        with self.errors_shown():
            do()

    @contextmanager
    def errors_shown(self) -> Iterator[None]:
        """Show errors of the block in the status line. Errors that are not a `SamgeoError` are also raised."""
        try:
            yield
        except SamgeoError as error:
            self.tell(str(error), is_error=True)
        except Exception as error:
            self.tell(f"{type(error).__name__}: {error}", is_error=True)
            raise

    def leave(self) -> None:
        """Clear the description of a shape after the mouse has left it."""
        with self._lock:
            self.panel.tell_hovered("")

    def _hovered(self, number: int) -> None:
        state = self._session.state
        found = next((one for one in _shapes(state) if one.id == number), None)
        if found is not None:
            with self._lock:
                self.panel.tell_hovered(describe(found.class_name, found, self._unit))

    def _object_style(self, one: Annotation, is_selected: bool) -> dict[str, Any]:
        color = self._colors[one.class_name]
        return {
            "color": "#ffffff" if is_selected else color,
            "weight": 4 if is_selected else 2,
            "fillColor": color,
            "fillOpacity": 0.3,
            "className": "samgeo-object samgeo-selected" if is_selected else "samgeo-object",
        }

    def _proposal_style(self, one: Proposal, _: bool) -> dict[str, Any]:
        color = self._colors.get(one.class_name or "", WAITING["color"])
        return WAITING | {"fillColor": color, "color": color}


def _shapes(state: State) -> list[Annotation | Proposal]:
    return [*state.objects, *state.proposals]
