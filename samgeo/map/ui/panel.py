"""The controls beside the map: buttons, the palette, candidates, the table, the status line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, TypeVar

from samgeo.map.state.live_state import Snapshot
from samgeo.map.state.reducer import Annotation, Offer, State
from samgeo.map.ui.browser_part import library
from samgeo.map.ui.messages import KINDS, Progress
from samgeo.map.ui.pointer import MODES
from samgeo.plot.colors import RGB

if TYPE_CHECKING:
    import ipywidgets

__all__ = ["Panel", "hex_color"]

W = TypeVar("W", bound="ipywidgets.Widget")

CANDIDATES = 3
ROWS = 200
KEYED_CLASSES = 9
"""Number of classes that have a key."""
PANEL_WIDTH = "312px"

MODE_TIPS = {
    "foreground": "a click is on the object (f)",
    "background": "a click is beside the object (b); so is a right click",
    "box": "drag a box around the object (x)",
    "select": "click an object to select it; click a mask that waits to accept it, right click to reject it (s)",
    "add": "drag around what the selected object lacks (e)",
    "cut": "drag around what the selected object has too much (c)",
}
TIPS = {
    "accept": "make the chosen candidate an object (a)",
    "clear": "take clicks and the box away (Escape)",
    "undo": "take the last action back (z)",
    "redo": "do it again (y)",
    "replace": "give the selected object the outline of the candidate (prompt first, then select the object)",
    "delete": "delete the selected object (Delete)",
    "segment": "put a mask up for everything that is in view",
    "stop": "end that",
    "train": "train the model on the accepted objects, and use it if it is better on those that are held out",
    "stop-training": "end the training; the model stays as it was",
    "accept-all": "accept all masks that wait, with the score beside this or a higher one",
    "least": "the least score of what is accepted all at once; the other masks go on waiting",
    "reject-all": "take all masks that wait away",
    "export": "write the objects to this file",
}


STARTS = {"search": ("segment",), "training": ("train",)}
STOPS = {"search": "stop", "training": "stop-training"}
"""For each kind of work in the background, the buttons that start it and the one that ends it."""


def hex_color(color: RGB) -> str:
    """Return a colour as browsers write it."""
    return "#{:02x}{:02x}{:02x}".format(*color)


class Panel:
    """The controls of the map. They show the state of a session.

    Parameters
    ----------
    classes : sequence of str
        The palette.
    colors : sequence of (int, int, int)
        One for each class.
    area_unit : str
        "m²" or "px".
    path : str
        The first value of the export path.
    act : callable
        Called with the name of an action: "accept", "mode-box", "class-2", "candidate-0" and so on.

    Attributes
    ----------
    buttons : dict of str to Button
        The buttons by the same names; each has the CSS class ``samgeo-<name>``.
    """

    def __init__(
        self, classes: Sequence[str], colors: Sequence[RGB], area_unit: str, path: str, act: Callable[[str], None]
    ) -> None:
        self._widgets = library("ipywidgets")
        self._classes, self._colors, self._unit = list(classes), [hex_color(one) for one in colors], area_unit
        self._act = act
        self.buttons: dict[str, Any] = {}
        w = self._widgets
        self.status = self._styled(w.Label("", layout={"width": "auto"}), "status")
        self.hover = self._styled(w.Label("", layout={"margin": "0 4px", "display": "none"}), "hover")
        self.table = self._styled(w.HTML("", layout={"overflow": "auto", "flex": "1 1 120px", "min_height": "80px"}), "table")
        self.path = self._styled(w.Text(path, layout={"width": "auto", "flex": "1"}), "export-path")
        self.overwrite = self._styled(
            w.Checkbox(False, description="replace", indent=False, layout={"width": "auto", "flex": "1 1 80px"}), "overwrite"
        )
        self.progress = self._styled(
            w.IntProgress(0, layout={"width": "auto", "flex": "1", "visibility": "hidden"}), "progress"
        )
        self.least = self._styled(
            w.BoundedFloatText(0.0, min=0.0, max=1.0, step=0.05, tooltip=TIPS["least"], layout={"width": "64px"}), "least"
        )
        self.box = w.VBox(self._rows(), layout={"width": PANEL_WIDTH, "flex": f"0 0 {PANEL_WIDTH}", "padding": "0 0 0 8px"})
        for kind in KINDS:
            self.show_progress(kind, None)

    def show(self, now: Snapshot, before: State | None) -> None:
        """Show a session. Only the controls whose content changed are updated."""
        state = now.state
        self._enable("undo", now.can_undo)
        self._enable("redo", now.can_redo)
        self._enable("accept", state.candidate is not None)
        self._enable("clear", bool(state.prompt))
        self._enable("replace", state.candidate is not None and state.selected is not None)
        for name in ("delete", "mode-add", "mode-cut"):
            self._enable(name, state.selected is not None)
        for name in ("accept-all", "reject-all"):
            self._enable(name, bool(state.proposals))
        for number in range(CANDIDATES):
            self._show_candidate(number, state.answer.offers, number == state.chosen)
        if before is None or before.objects is not state.objects or before.selected != state.selected:
            self.table.value = self._table(state.objects, state.selected)

    def show_classes(self, classes: Sequence[str], colors: Sequence[RGB]) -> None:
        """Add buttons for classes that the palette has now and did not have before."""
        before = len(self._classes)
        self._classes.extend(classes[before:])
        self._colors.extend(hex_color(one) for one in colors[before:])
        if len(classes) > before:
            self.palette.children = (*self.palette.children, *map(self._class_button, range(before, len(classes))))

    def show_mode(self, mode: str) -> None:
        """Mark the active mode."""
        for one in MODES:
            self.buttons[f"mode-{one}"].button_style = "info" if one == mode else ""

    def show_class(self, active: int) -> None:
        """Mark the class that the next object gets."""
        for number in range(len(self._classes)):
            button = self.buttons[f"class-{number}"]
            (button.add_class if number == active else button.remove_class)("samgeo-active")

    def tell(self, text: str, *, is_error: bool = False) -> None:
        """Show a message in the status line."""
        (self.status.add_class if is_error else self.status.remove_class)("samgeo-error")
        self.status.value = text

    def tell_hovered(self, text: str) -> None:
        """Show in the corner of the map a description of the shape under the mouse."""
        if text:
            self.hover.value = text
        self.hover.layout.display = None if text else "none"

    def show_progress(self, kind: str, now: Progress | None) -> None:
        """Show the progress of a kind of work in the background; None means that no such work is in progress."""
        if kind == "search":
            done, total = (0, 0) if now is None else (now.done, now.total)
            with self.progress.hold_sync():
                self.progress.max = max(total, 1)
                self.progress.value = done
                self.progress.description = f"{done} of {total}"
            self.progress.layout.visibility = "hidden" if now is None else "visible"
        for name in STARTS[kind]:
            self._enable(name, now is None)
        self._enable(STOPS[kind], now is not None)
        if now is not None:
            self.tell(str(now))

    def _rows(self) -> list[Any]:
        modes = [self._button(f"mode-{one}", one, MODE_TIPS[one]) for one in MODES]
        candidates = [
            self._button(f"candidate-{one}", "-", f"candidate {one + 1} (n: the next one)") for one in range(CANDIDATES)
        ]
        row, wrap = self._row, {"flex_flow": "row wrap", "max_height": "96px", "overflow": "auto", "min_height": "34px"}
        self.palette = row(*map(self._class_button, range(len(self._classes))), layout=wrap)
        return [
            row(*modes[:3]),
            row(*modes[3:]),
            row(*candidates),
            self.palette,
            row(self._plain("accept", style="success"), self._plain("clear")),
            row(self._plain("undo", icon="undo"), self._plain("redo", icon="repeat")),
            row(self._plain("replace"), self._plain("delete", icon="trash")),
            row(self._plain("segment", "segment view"), self._plain("stop")),
            row(self.progress),
            row(self._plain("train", "train on accepted"), self._plain("stop-training", "stop training")),
            row(self._plain("accept-all", "accept all"), self.least, self._plain("reject-all", "reject all")),
            self.table,
            row(self.path),
            row(self.overwrite, self._plain("export", icon="download")),
        ]

    def _class_button(self, number: int) -> ipywidgets.Button:
        name = self._classes[number]
        key = f" ({number + 1})" if number < KEYED_CLASSES else ""
        button = self._button(f"class-{number}", name, f"class {number + 1}: {name}{key}")
        button.style.button_color = self._colors[number]
        button.style.text_color = "#000000"
        return button

    def _plain(self, name: str, label: str | None = None, *, icon: str = "", style: str = "") -> ipywidgets.Button:
        button = self._button(name, label or name, TIPS[name], icon=icon)
        button.button_style = style
        return button

    def _button(self, name: str, label: str, tip: str, *, icon: str = "") -> ipywidgets.Button:
        button = self._widgets.Button(description=label, tooltip=tip, icon=icon, layout={"width": "auto", "flex": "1 1 80px"})
        button.on_click(lambda _: self._act(name))
        self.buttons[name] = self._styled(button, name)
        return button

    def _row(self, *children: ipywidgets.Widget, layout: dict[str, str] | None = None) -> ipywidgets.HBox:
        return self._widgets.HBox(children, layout={"flex": "0 0 auto"} | (layout or {}))

    def _styled(self, widget: W, name: str) -> W:
        widget.add_class(f"samgeo-{name}")
        return widget

    def _enable(self, name: str, enabled: bool) -> None:
        self.buttons[name].disabled = not enabled

    def _show_candidate(self, number: int, offers: Sequence[Offer], is_chosen: bool) -> None:
        button = self.buttons[f"candidate-{number}"]
        there = number < len(offers)
        with button.hold_sync():
            button.description = f"{offers[number].predicted_iou:.2f}" if there else "-"
            button.disabled = not there
            button.button_style = "info" if there and is_chosen else ""

    def _table(self, objects: Sequence[Annotation], selected: int | None) -> str:
        shown = list(reversed(objects[-ROWS:]))
        caption = f"<caption>{len(objects):,} accepted</caption>"
        head = f"<tr><th>id</th><th>class</th><th>{self._unit}</th><th>score</th></tr>"
        more = f"<tr><td></td><td>and {len(objects) - ROWS:,} before</td></tr>" if len(objects) > ROWS else ""
        return f"<table>{caption}{head}{''.join(self._line(one, one.id == selected) for one in shown)}{more}</table>"

    def _line(self, one: Annotation, is_selected: bool) -> str:
        color = self._colors[self._classes.index(one.class_name)]
        score = "" if one.predicted_iou is None else f"{one.predicted_iou:.2f}"
        mark = ' class="samgeo-chosen"' if is_selected else ""
        swatch = f'<span class="samgeo-swatch" style="background:{color}"></span>'
        notes = [note for note, there in (("edited", one.edited), ("cut", not one.complete)) if there]
        name = escape(one.class_name) + (f" ({', '.join(notes)})" if notes else "")
        cells = (str(one.id), f"{swatch}{name}", f"{one.area:,.1f}", score)
        return f'<tr data-samgeo-id="{one.id}"{mark}>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
