"""The group "Outline" of the panel: how outlines are cleaned, and what happens where they overlap accepted objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from samgeo.map.session import Session
from samgeo.map.state.clean_options import OVERLAPS, UNITS
from samgeo.map.state.values import State
from samgeo.map.ui.browser_part import library
from samgeo.map.ui.groups.rows import note, row, show_or_hide
from samgeo.map.ui.messages import OVERLAP_TEXTS

if TYPE_CHECKING:
    import ipywidgets

__all__ = ["OutlineGroup"]

HEADING = "Outline"
KEY = "o"
TIP = f"show or hide how outlines are cleaned before they are accepted (key: {KEY})"

OPTIONS = {
    "largest_part": ("largest part", "keep only the largest part of each outline"),
    "fill_holes": ("fill holes", "fill the holes of each outline, of any size"),
    "simplify": ("simplify", "remove corners; none moves further than the tolerance"),
    "regularize": ("right angles", "give outlines right angles, or make circles of them, as for buildings"),
}
"""The options of `CleanOptions` that are ticked: labels and tooltips."""

TOLERANCE_TIP = "tolerance of simplify and of right angles, in pixels of the raster or in metres"
OVERLAP_TIP = "what happens at acceptance where an outline overlaps accepted objects"


class OutlineGroup:
    """The controls of the outlines. What they say is drawn at once, and is what is then accepted.

    Parameters
    ----------
    session : Session
    guarded : callable
        Calls a function, and shows errors in the status line.

    Attributes
    ----------
    box : VBox
        The heading, which opens and closes the group, and the controls.
    """

    def __init__(self, session: Session, guarded: Callable[[Callable[[], object]], None]) -> None:
        w = library("ipywidgets")
        self._session, self._guarded = session, guarded
        self._is_following = False
        self.heading = w.ToggleButton(False, icon="caret-right", tooltip=TIP)
        self.heading.add_class("samgeo-fold")
        self.heading.observe(self._fold, "value")
        self.ticks = {name: self._tick(label, tip) for name, (label, tip) in OPTIONS.items()}
        self.tolerance = w.BoundedFloatText(2.0, min=0.1, max=1000.0, step=0.5, tooltip=TOLERANCE_TIP, layout={"width": "64px"})
        units = UNITS if session.predictor.raster.geobox.crs is not None else UNITS[:1]
        self.unit = w.Dropdown(options=units, tooltip=TOLERANCE_TIP, layout={"width": "52px"})
        texts = [(OVERLAP_TEXTS[name], name) for name in OVERLAPS]
        self.overlap = w.Dropdown(options=texts, tooltip=OVERLAP_TIP, layout={"width": "auto", "flex": "1 1 80px"})
        for name, widget in {"tolerance": self.tolerance, "unit": self.unit, "overlap": self.overlap}.items():
            widget.add_class(f"samgeo-{name}")
            widget.observe(self._changed, "value")
        self._body = w.VBox(
            [
                row(self.ticks["largest_part"], self.ticks["fill_holes"]),
                row(self.ticks["simplify"], self.ticks["regularize"]),
                row(note("tolerance"), self.tolerance, self.unit),
                row(note("overlaps are"), self.overlap),
            ],
            layout={"display": "none"},
        )
        self.box = w.VBox([self.heading, self._body])
        self.show(session.state)

    def toggle(self) -> None:
        """Open or close the group."""
        self.heading.value = not self.heading.value

    def show(self, state: State) -> None:
        """Follow the state of the session."""
        self._is_following = True
        try:
            for name, tick in self.ticks.items():
                tick.value = getattr(state.clean, name)
            self.tolerance.value = state.clean.tolerance
            self.unit.value = state.clean.unit
            self.overlap.value = state.overlap
            options = str(state.clean) + ("" if state.overlap == "cut" else f", overlaps: {state.overlap}")
            self.heading.description = f"{HEADING}: {options} ({KEY})"
        finally:
            self._is_following = False

    def _tick(self, label: str, tip: str) -> ipywidgets.Checkbox:
        made: ipywidgets.Checkbox = library("ipywidgets").Checkbox(
            False, description=label, tooltip=tip, indent=False, layout={"width": "auto"}
        )
        made.observe(self._changed, "value")
        return made

    def _fold(self, change: dict[str, Any]) -> None:
        show_or_hide(self._body, change["new"])
        self.heading.icon = "caret-down" if change["new"] else "caret-right"

    def _changed(self, _: object) -> None:
        if not self._is_following:
            self._guarded(self._apply)

    def _apply(self) -> None:
        ticks = {name: tick.value for name, tick in self.ticks.items()}
        self._session.set_clean(**ticks, tolerance=self.tolerance.value, unit=self.unit.value)
        self._session.set_on_overlap(self.overlap.value)
