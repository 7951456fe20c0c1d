"""The part of the group "Class" in which classes are added, renamed and recoloured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from samgeo.map.session import Session
from samgeo.map.ui.browser_part import library
from samgeo.map.ui.groups.rows import button, row, show_or_hide

if TYPE_CHECKING:
    import ipywidgets

__all__ = ["ClassEditor"]

TIPS = {
    "toggle": "show or hide the fields to add, rename and recolour classes",
    "name": "the name of the active class, or of a new one",
    "color": "the colour of the active class; a new class gets a colour of its own",
    "add": "add a class with the name in the field",
    "rename": "give the active class, and all of its objects, the name in the field",
}


class ClassEditor:
    """The fields for the name and the colour of a class.

    Parameters
    ----------
    session : Session
    guarded : callable
        Calls a function, and shows errors in the status line.
    activate : callable
        Called with the number of the class that the next object gets.

    Attributes
    ----------
    toggle : ToggleButton
        Shows and hides ``box``.
    box : VBox
    """

    def __init__(
        self, session: Session, guarded: Callable[[Callable[[], object]], None], activate: Callable[[int], None]
    ) -> None:
        w = library("ipywidgets")
        self._session, self._guarded, self._activate = session, guarded, activate
        self._active = 0
        self._is_following = False
        self.toggle = w.ToggleButton(False, icon="pencil", description="edit", tooltip=TIPS["toggle"])
        self.name = w.Text("", placeholder="name of a class", tooltip=TIPS["name"])
        self.name.layout.width, self.name.layout.flex = "auto", "1 1 80px"
        self.color = w.ColorPicker(concise=True, tooltip=TIPS["color"], layout={"width": "32px"})
        self.add = button("add", TIPS["add"], "add-class")
        self.rename = button("rename", TIPS["rename"], "rename-class")
        self.toggle.add_class("samgeo-in-heading")
        for name, widget in {"edit-classes": self.toggle, "class-name": self.name, "class-color": self.color}.items():
            widget.add_class(f"samgeo-{name}")
        self.box: ipywidgets.HBox = row(self.name, self.color, self.add, self.rename)
        show_or_hide(self.box, False)
        self.toggle.observe(self._fold, "value")
        self.color.observe(self._recolor, "value")
        self.add.on_click(lambda _: self._guarded(self._add))
        self.rename.on_click(lambda _: self._guarded(self._rename))
        self.show(0)

    def show(self, active: int) -> None:
        """Show the name and the colour of the active class."""
        classes = self._session.classes
        self._active = active if active < len(classes) else 0
        self._is_following = True
        try:
            self.name.value = classes[self._active]
            self.color.value = self._session.colors[classes[self._active]]
        finally:
            self._is_following = False

    @property
    def _class_name(self) -> str:
        return self._session.classes[self._active]

    def _fold(self, change: dict[str, Any]) -> None:
        show_or_hide(self.box, change["new"])

    def _add(self) -> None:
        self._session.add_class(self.name.value)
        self._activate(len(self._session.classes) - 1)

    def _rename(self) -> None:
        self._session.rename_class(self._class_name, self.name.value)

    def _recolor(self, change: dict[str, Any]) -> None:
        if not self._is_following:
            self._guarded(lambda: self._session.set_color(self._class_name, change["new"]))
