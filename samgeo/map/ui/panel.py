"""The controls beside the map, in groups: prompts, classes, masks that wait, searches, what is drawn, and files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from samgeo.finding.finder import BUNDLED
from samgeo.map.closing import close_widgets
from samgeo.map.session import Session
from samgeo.map.state.class_list import ClassList
from samgeo.map.state.live_state import Snapshot
from samgeo.map.state.values import Offer
from samgeo.map.ui.browser_part import KEYS, LOOK_KEYS, library
from samgeo.map.ui.groups.class_editor import ClassEditor
from samgeo.map.ui.groups.file_group import FileGroup
from samgeo.map.ui.groups.object_list import ObjectList
from samgeo.map.ui.groups.outline_group import OutlineGroup
from samgeo.map.ui.messages import KINDS, Progress
from samgeo.map.ui.panel_html import iou_bar, key_table, text_color
from samgeo.map.ui.pointer import MODES
from samgeo.map.view.visibility import Visible

if TYPE_CHECKING:
    import ipywidgets

__all__ = ["Panel"]

W = TypeVar("W", bound="ipywidgets.Widget")

CANDIDATES = 3
COLUMN = 5
"""Number of groups in the first column, where a narrow page has the panel below the map."""

KEYED_CLASSES = 9
"""Number of classes that have a key."""

LABELS = {
    "accept-all": "accept all",
    "reject-all": "reject all",
    "segment": "segment view",
    "similar": "more like these",
    "train": "train on accepted",
    "stop-training": "stop training",
    "redraw": "redraw",
    "help": "keys",
}
"""Labels of the buttons whose names are not their labels."""

TIPS = {
    "mode-foreground": "click on the object",
    "mode-background": "click beside the object, where the candidate has too much; a right click does the same",
    "mode-box": "drag a box around the object",
    "mode-select": "click an object to select it; click a mask that waits to accept it, right click to reject it",
    "mode-add": "drag around what the selected object lacks",
    "mode-cut": "drag around what the selected object has too much",
    "mode-vertices": "move, add and remove vertices of the selected object; Enter ends it",
    "mode-split": "drag a line across the selected object",
    "mode-merge": "click the object to merge with the selected one",
    "each": "each click or box gives a waiting mask of its own, instead of correcting the last one",
    "preview": "draw the outline that a click would give while the mouse rests",
    "accept": "make the chosen candidate an object of the active class",
    "clear": "remove the clicks and the box",
    "undo": "undo the last action",
    "redo": "do again what was undone",
    "next": "choose the next candidate",
    "redraw": "give the selected object the outline of the candidate: prompt first, then select the object",
    "delete": "delete the selected object",
    "segment": "find everything in view; the masks wait to be accepted or rejected",
    "find": "find the objects of one kind in view; the masks wait to be accepted or rejected",
    "similar": "find more objects like the accepted ones in view; the masks wait to be accepted or rejected",
    "stop": "end the search; no mask is added",
    "train": "train the model on the accepted objects, and use it if it is better on those that are held out",
    "stop-training": "end the training; the model stays as it was",
    "accept-all": "accept all masks that wait and are drawn",
    "reject-all": "reject all masks that wait, also those that are not drawn",
    "export": "write the accepted objects to this file",
    "home": "show the whole raster",
    "fullscreen": "fill the screen with the map, or leave that",
    "help": "show or hide the list of keys",
    "layers": "show or hide the controls of what is drawn",
    "outline": "show or hide how outlines are cleaned before they are accepted",
}
SWITCHES = {"each": ("each click its own object", False), "preview": ("preview", True)}
"""Switches that are checkboxes, with their labels, and whether they are on at first."""

LEAST = "the least score: masks with a lower one are neither drawn nor accepted by 'accept all'"

KEY_OF = {action: key for key, action in reversed(KEYS.items())}
"""The first key of each action."""
SHORT = {"Escape": "Esc", "Delete": "Del"}

STARTS = {"search": ("segment", "find", "similar"), "training": ("train",)}
STOPS = {"search": "stop", "training": "stop-training"}
"""For each kind of work in the background, the buttons that start it and the one that ends it."""

LAYERS = {"raster": "raster", "candidates": "candidate", "waiting": "waiting", "accepted": "accepted"}
"""Layers of `Visible` that are switched on and off, and their labels."""


class Panel:
    """The controls of the map. They show the state of a session.

    Parameters
    ----------
    session : Session
    area_unit : str
        "m²" or "px".
    path : str
        The first value of the export path.
    act : callable
        Called with the name of an action: "accept", "mode-box", "class-2", "candidate-0" and so on.
    look : callable
        Called with what is to be drawn, after a change of the controls for it.
    guarded : callable
        Calls a function, and shows errors in the status line.

    Attributes
    ----------
    buttons : dict of str to Button
        The buttons by the same names; each has the CSS class ``samgeo-<name>``.
    switches : dict of str to Checkbox
        The switches that are checkboxes, by name.
    groups : dict of str to VBox
        The groups of controls by name.
    outline : OutlineGroup
    editor : ClassEditor
    files : FileGroup
    table : ObjectList
    """

    def __init__(  # noqa: PLR0917 - the session, two texts and the functions that it calls
        self,
        session: Session,
        area_unit: str,
        path: str,
        act: Callable[[str], None],
        look: Callable[[Visible], None],
        guarded: Callable[[Callable[[], object]], None],
    ) -> None:
        self._widgets = w = library("ipywidgets")
        self._classes: list[str] = []
        self._active = 0
        self._act, self._look = act, look
        self.buttons: dict[str, Any] = {}
        self.groups: dict[str, Any] = {}
        self.status, self.hint = self._styled(w.Label(""), "status"), self._styled(w.Label(""), "hint")
        self.hover = self._styled(w.Label("", layout={"margin": "0 4px", "display": "none"}), "hover")
        self.coordinates = self._styled(w.Label(""), "coordinates")
        self.table = ObjectList(area_unit)
        self._styled(self.table.widget, "table")
        self.outline = OutlineGroup(session, guarded)
        self.editor = ClassEditor(session, guarded, lambda number: act(f"activate-{number}"))
        self.path = self._styled(
            w.Text(path, tooltip=TIPS["export"], layout={"width": "auto", "flex": "1 1 80px"}), "export-path"
        )
        self.overwrite = self._styled(
            w.Checkbox(False, description="overwrite", tooltip="replace a file that this map did not write", indent=False),
            "overwrite",
        )
        self.overwrite.layout.width = "auto"
        self.files = FileGroup(self.path, guarded, act)
        self.progress = self._styled(w.IntProgress(0, layout={"width": "220px", "display": "none"}), "progress")
        self.searching = self._styled(w.Label("", layout={"display": "none"}), "searching")
        self.training = self._styled(w.Label("", layout={"display": "none"}), "training")
        least = {"min": 0.0, "max": 1.0, "step": 0.05, "tooltip": LEAST}
        self.least = self._styled(w.BoundedFloatText(0.0, **least, layout={"width": "64px"}), "least")
        slider = w.FloatSlider(0.0, **least, readout=False, layout={"width": "auto", "flex": "1 1 80px"})
        library("traitlets").link((self.least, "value"), (slider, "value"))
        self.what = self._styled(w.Dropdown(options=list(BUNDLED), layout={"width": "110px"}), "what")
        self._bars = self._styled(w.HTML(iou_bar(None) * CANDIDATES), "iou")
        self._layers = {name: self._checkbox(label) for name, label in LAYERS.items()}
        self.switches: dict[str, Any] = {name: self._switch(name, *given) for name, given in SWITCHES.items()}
        self._opacities = {name: self._opacity(name) for name in ("raster", "shapes")}
        self._eyes: list[Any] = []
        self.palette = self._row()
        self.palette.add_class("samgeo-palette")
        self.show_classes(session.state.class_list)
        groups = self._groups(slider)
        columns = [w.VBox(groups[:COLUMN]), w.VBox(groups[COLUMN:])]
        for one in columns:
            one.add_class("samgeo-column")
        self.box = w.VBox([*columns, self.table.widget])
        self.box.add_class("samgeo-panel")
        self.foot = w.HBox(
            [
                self.status,
                self.hint,
                self.searching,
                self.progress,
                self.buttons["stop"],
                self.training,
                self.buttons["stop-training"],
            ]
        )
        self.foot.add_class("samgeo-foot")
        self.keys = self._styled(w.HTML(key_table(self._key_texts())), "keys")
        self.corner = self._styled(w.VBox([self._button("home", "", icon="home"), self._fullscreen()]), "corner")
        for watched in (self.least, *self._layers.values(), *self._opacities.values()):
            watched.observe(self._looked, names="value")
        for kind in KINDS:
            self.show_progress(kind, None)

    @property
    def visible(self) -> Visible:
        """What is drawn, as the controls say."""
        hidden = frozenset(name for name, eye in zip(self._classes, self._eyes, strict=True) if not eye.value)
        layers = {name: box.value for name, box in self._layers.items()}
        opacity = {f"{name}_opacity": one.value for name, one in self._opacities.items()}
        return Visible(**layers, **opacity, hidden_classes=hidden, min_score=self.least.value)

    def show(self, now: Snapshot) -> None:
        """Show a session. Only the controls whose content changed are updated."""
        state = now.state
        self._enable("undo", now.can_undo)
        self._enable("redo", now.can_redo)
        self._enable("accept", state.candidate is not None)
        self._enable("clear", bool(state.prompt))
        self._enable("redraw", state.candidate is not None and state.selected is not None)
        for name in ("delete", *(f"mode-{one}" for one in MODES[4:])):
            self._enable(name, state.selected is not None)
        self.groups["selected"].layout.display = "none" if state.selected is None else None
        self._head("selected", f"Selected object {state.selected}")
        for name in ("accept-all", "reject-all"):
            self._enable(name, bool(state.proposals))
        for waiting in self._waiting_rows:  # without masks they would take the place of the table
            waiting.layout.display = None if state.proposals else "none"
        self._head("waiting", f"Waiting masks: {len(state.proposals):,}" if state.proposals else "Waiting masks: none")
        for number in range(CANDIDATES):
            self._show_candidate(number, state.answer.offers, number == state.chosen)
        shares = [one.predicted_iou for one in state.answer.offers[:CANDIDATES]]
        self._bars.value = "".join(map(iou_bar, (*shares, *[None] * (CANDIDATES - len(shares)))))
        self.outline.show(state)
        self.table.show(state)

    def show_classes(self, classes: ClassList) -> None:
        """Show the names and the colours of the classes. Buttons are added and removed where their number changed."""
        rows = list(self.palette.children)[: len(self._classes)]
        gone = rows[len(classes.names) :]
        for number in range(len(classes.names), len(rows)):
            del self.buttons[f"class-{number}"]
        del rows[len(classes.names) :], self._eyes[len(classes.names) :]
        self._classes = list(classes.names)
        rows.extend(map(self._class, range(len(rows), len(classes.names))))
        for number, (name, color) in enumerate(classes.colors.items()):
            self._show_class(number, name, color)
        if tuple(rows) != self.palette.children:
            self.palette.children = rows
        for one in gone:
            close_widgets(one)
        self.show_class(self._active if self._active < len(rows) else 0)

    def show_mode(self, mode: str) -> None:
        """Mark the active mode."""
        for one in MODES:
            self.buttons[f"mode-{one}"].button_style = "info" if one == mode else ""

    def show_class(self, active: int) -> None:
        """Mark the class that the next object gets."""
        self._active = active
        self.editor.show(active)
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
                self.progress.description = f"{done} of {total}" if total else ""
            # Where nothing can be counted, the bar moves to and fro.
            (self.progress.remove_class if total else self.progress.add_class)("samgeo-uncounted")
        label = self.searching if kind == "search" else self.training
        label.value = "" if now is None else now.text
        for shown in (label, self.progress) if kind == "search" else (label,):
            shown.layout.display = "none" if now is None else None
        for name in STARTS[kind]:
            self._enable(name, now is None)
        self._enable(STOPS[kind], now is not None)
        self.buttons[STOPS[kind]].layout.display = "none" if now is None else None

    def _groups(self, slider: ipywidgets.FloatSlider) -> list[Any]:
        row, button = self._row, self._button
        candidates = row(*map(self._candidate, range(CANDIDATES)))
        candidates.add_class("samgeo-candidates")
        for name in STOPS.values():
            button(name)
        layers = [
            row(*self._layers.values()),
            *(row(self._note(f"{name} opacity"), one) for name, one in self._opacities.items()),
        ]
        self._layer_rows = self._widgets.VBox(layers, layout={"display": "none"})
        self._layer_rows.add_class("samgeo-group")
        self._toggle = toggle = self._styled(
            self._widgets.ToggleButton(False, description="layers", tooltip=TIPS["layers"], icon="eye"), "layers"
        )
        toggle.observe(lambda change: setattr(self._layer_rows.layout, "display", None if change["new"] else "none"), "value")
        modes = [button(f"mode-{one}", one) for one in MODES]
        self._waiting_rows = (
            row(button("accept-all"), button("reject-all")),
            row(self._note("least score"), slider, self.least),
        )
        return [
            self._group("prompt", "Prompt", row(*modes[:4], self.switches["each"]), candidates, self._bars),
            self._group("class", "Class", self.palette, self.editor.toggle, self.editor.box),
            self._group("accept", "Accept", row(*(button(one) for one in ("accept", "clear", "undo", "redo")))),
            self._folded("outline", self.outline.box),
            self._group("selected", "Selected object", row(*modes[4:], button("redraw"), button("delete"))),
            self._group("waiting", "Waiting masks", *self._waiting_rows),
            self._group(
                "find",
                "Find",
                row(button("segment"), button("similar")),
                row(button("find", "find in view"), self.what, button("train")),
            ),
            self._group("show", "Show", row(toggle, self.switches["preview"], button("help")), self._layer_rows),
            self._group(
                "file",
                "File",
                row(self.path, self.overwrite, button("export", icon="download")),
                self.files.toggle,
                self.files.box,
            ),
        ]

    def _group(self, name: str, heading: str, *rows: ipywidgets.Widget) -> ipywidgets.VBox:
        head = self._widgets.HTML(heading)
        head.add_class("samgeo-heading")
        self.groups[name] = self._widgets.VBox([head, *rows])
        self.groups[name].add_class("samgeo-group")
        return self._styled(self.groups[name], f"group-{name}")

    def _folded(self, name: str, box: ipywidgets.VBox) -> ipywidgets.VBox:
        """Return a group whose heading opens and closes it."""
        box.add_class("samgeo-group")
        self.groups[name] = box
        return self._styled(box, f"group-{name}")

    def _head(self, name: str, text: str) -> None:
        self.groups[name].children[0].value = text

    def _note(self, text: str) -> ipywidgets.HTML:
        note = self._widgets.HTML(text)
        note.add_class("samgeo-note")
        return note

    def _row(self, *children: ipywidgets.Widget) -> ipywidgets.HBox:
        made = self._widgets.HBox(children)
        made.add_class("samgeo-row")
        return made

    def _button(self, name: str, label: str | None = None, *, icon: str = "") -> ipywidgets.Button:
        key, text = KEY_OF.get(name), LABELS.get(name, name) if label is None else label
        shown = f"{text} ({SHORT.get(key, key)})" if key is not None and text else text
        tip = TIPS[name] if key is None else f"{TIPS[name]} (key: {key})"
        return self._made(name, shown, tip, icon=icon)

    def _candidate(self, number: int) -> ipywidgets.Button:
        return self._made(
            f"candidate-{number}", "-", f"choose candidate {number + 1}, with its predicted IoU (key n: the next one)"
        )

    def _class(self, number: int) -> ipywidgets.HBox:
        button = self._made(f"class-{number}", "", "")
        eye = self._widgets.ToggleButton(True, icon="eye")
        eye.add_class("samgeo-eye")
        eye.observe(self._looked, names="value")
        self._eyes.append(eye)
        both = self._widgets.HBox([button, eye])
        both.add_class("samgeo-class")
        return both

    def _show_class(self, number: int, name: str, color: str) -> None:
        button, has_key = self.buttons[f"class-{number}"], number < KEYED_CLASSES
        with button.hold_sync():
            button.description = f"{name} ({number + 1})" if has_key else name
            button.tooltip = f"class {number + 1}: {name}" + (f" (key: {number + 1})" if has_key else "")
        button.style.button_color = color
        red, green, blue = bytes.fromhex(color[1:])
        button.style.text_color = text_color((red, green, blue))
        self._eyes[number].tooltip = f"draw what has the class {name}"

    def _made(self, name: str, label: str, tip: str, *, icon: str = "") -> ipywidgets.Button:
        button = self._widgets.Button(description=label, tooltip=tip, icon=icon, layout={"width": "auto"})
        if name != "help":  # the browser does this alone
            button.on_click(lambda _: self._act(name))
        self.buttons[name] = self._styled(button, name)
        return button

    def _fullscreen(self) -> ipywidgets.Button:
        # The browser does this alone, because it allows it only while it handles a click.
        made = self._widgets.Button(icon="expand", tooltip=TIPS["fullscreen"], layout={"width": "auto"})
        return self._styled(made, "fullscreen")

    def _checkbox(self, label: str) -> ipywidgets.Checkbox:
        return self._widgets.Checkbox(True, description=label, indent=False, layout={"width": "auto"})

    def _switch(self, name: str, label: str, is_on: bool) -> ipywidgets.Checkbox:
        key = KEY_OF[name]
        texts = {"description": f"{label} ({key})", "tooltip": f"{TIPS[name]} (key: {key})"}
        return self._styled(self._widgets.Checkbox(is_on, **texts, indent=False, layout={"width": "auto"}), name)

    def _opacity(self, name: str) -> ipywidgets.FloatSlider:
        made = self._widgets.FloatSlider(
            1.0, min=0.0, max=1.0, step=0.05, readout=False, layout={"width": "auto", "flex": "1 1 80px"}
        )
        return self._styled(made, f"{name}-opacity")

    def _looked(self, _: object) -> None:
        for eye in self._eyes:
            eye.icon = "eye" if eye.value else "eye-slash"
        hidden = sum(not box.value for box in self._layers.values())
        self._toggle.description = f"layers ({hidden} hidden)" if hidden else "layers"
        self._toggle.icon = "eye-slash" if hidden else "eye"
        self._look(self.visible)

    def _styled(self, widget: W, name: str) -> W:
        widget.add_class(f"samgeo-{name}")
        return widget

    def _enable(self, name: str, enabled: bool) -> None:
        self.buttons[name].disabled = not enabled

    def _show_candidate(self, number: int, offers: Sequence[Offer], is_chosen: bool) -> None:
        button = self.buttons[f"candidate-{number}"]
        there = number < len(offers)
        with button.hold_sync():
            button.description = f"score {offers[number].predicted_iou:.2f}" if there else "-"
            button.disabled = not there
            button.button_style = "info" if there and is_chosen else ""

    def _key_texts(self) -> dict[str, str]:
        texts = {key: TIPS.get(action, "") for key, action in KEYS.items() if not action.startswith("class-")}
        return {**texts, "1 to 9": "choose a class, and give it to the selected object", **LOOK_KEYS}
