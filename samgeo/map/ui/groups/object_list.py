"""The table of all accepted objects. The browser asks for the rows that are seen, and the kernel sorts and sends them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from samgeo.map.state.values import Annotation, State
from samgeo.map.ui.browser_part import library

if TYPE_CHECKING:
    import anywidget
    import ipywidgets

__all__ = ["COLUMNS", "ObjectList"]

COLUMNS = ("id", "class", "area", "score", "time")
"""The columns, by each of which the table can be sorted."""

MOST_ROWS = 200
"""Most rows that are sent in one message."""

_KEYS: Mapping[str, Callable[[Annotation], Any]] = {
    "id": lambda one: one.id,
    "class": lambda one: (one.class_name, one.id),
    "area": lambda one: one.area,
    "score": lambda one: -1.0 if one.predicted_iou is None else one.predicted_iou,
    "time": lambda one: one.accepted_at or "",
}


class ObjectList:
    """The table of the objects.

    Parameters
    ----------
    unit : str
        Unit of the areas.

    Attributes
    ----------
    widget : VBox
        The table.
    front : AnyWidget
        Its part in the browser. It asks for rows by a message of the kind "rows" with ``first`` and ``count``, and for another
        order by one of the kind "sort" with the name of a column.
    data : HTML
        What the kernel tells the browser, as JSON. It is not shown. A message to ``front`` would be lost where its script
        takes longer than two seconds to start, as on a busy machine, because anywidget then drops all messages.
    shown : dict
        How many objects there are, how they are sorted, and where the selected one is. Whenever it changes, the browser asks
        for its rows again.
    """

    def __init__(self, unit: str) -> None:
        traitlets, library_, w = library("traitlets"), library("anywidget"), library("ipywidgets")
        self._objects: tuple[Annotation, ...] = ()
        self._selected: int | None = None
        self._colors: Mapping[str, str] = {}
        self._by, self._is_down = "time", True
        self._order: list[Annotation] | None = None
        self._version = 0
        parts = {
            "_esm": (files(__package__) / "object_list.js").read_text(),
            "unit": traitlets.Unicode(unit).tag(sync=True),
        }
        self.front: anywidget.AnyWidget = type("ObjectRows", (library_.AnyWidget,), parts)()
        self.front.on_msg(self._receive)
        self.data: ipywidgets.HTML = w.HTML("", layout={"display": "none"})
        self.data.add_class("samgeo-table-data")
        self.widget: ipywidgets.VBox = w.VBox([self.front, self.data])
        self.shown: dict[str, int | str | bool | None] = {}
        self._tell()

    def show(self, state: State) -> None:
        """Follow the state of the session."""
        colors = state.class_list.colors
        if state.objects is self._objects and state.selected == self._selected and colors == self._colors:
            return
        if state.objects is not self._objects:
            self._order = None
        self._objects, self._selected, self._colors = state.objects, state.selected, colors
        self._tell()

    def sort(self, by: str) -> None:
        """Sort by a column; once more by the same one turns the order round."""
        self._is_down = not self._is_down if by == self._by else by in ("time", "area", "score")
        self._by, self._order = by, None
        self._tell()

    def rows(self, first: int, count: int) -> list[dict[str, int | str]]:
        """Return rows, given the number of the first one in the present order."""
        first, count = max(first, 0), min(max(count, 0), MOST_ROWS)
        return [self._row(one) for one in self._sorted()[first : first + count]]

    def _sorted(self) -> list[Annotation]:
        if self._order is None:
            placed = list(self._objects)
            # Of objects with equal values, the one that was accepted last is the first in a descending order.
            if self._is_down:
                placed.reverse()
            self._order = sorted(placed, key=_KEYS[self._by], reverse=self._is_down)
        return self._order

    def _row(self, one: Annotation) -> dict[str, int | str]:
        notes = [note for note, there in (("edited", one.edited), ("cut", not one.complete)) if there]
        return {
            "id": one.id,
            "class": one.class_name + (f" ({', '.join(notes)})" if notes else ""),
            "color": self._colors.get(one.class_name, ""),
            "area": f"{one.area:,.1f}",
            "score": "" if one.predicted_iou is None else f"{one.predicted_iou:.2f}",
            "time": one.accepted_at or "",
        }

    def _tell(self) -> None:
        self._version += 1
        place = -1
        if self._selected is not None:
            place = next((number for number, one in enumerate(self._sorted()) if one.id == self._selected), -1)
        self.shown = {
            "version": self._version,
            "total": len(self._objects),
            "by": self._by,
            "down": self._is_down,
            "selected": self._selected,
            "place": place,
        }
        self._send(None)

    def _send(self, page: dict[str, int | list[dict[str, int | str]]] | None) -> None:
        self.data.value = escape(json.dumps({"shown": self.shown, "page": page}))

    def _receive(self, _: object, content: dict[str, Any], __: object) -> None:
        kind, first, count, by = (content.get(name) for name in ("kind", "first", "count", "by"))
        if kind == "rows" and isinstance(first, int) and isinstance(count, int):
            self._send({"first": max(first, 0), "rows": self.rows(first, count)})
        elif kind == "sort" and by in COLUMNS:
            self.sort(by)
