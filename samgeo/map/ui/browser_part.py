"""The part of the map that runs in the browser: keys, clicks on table rows, the right-click menu, the pixel ratio."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from samgeo.errors import OptionError

if TYPE_CHECKING:
    from types import ModuleType

    from anywidget import AnyWidget

__all__ = ["HANDLES_PANE", "KEYS", "LOOK_KEYS", "library", "make_front"]

KEYS = {
    "f": "mode-foreground",
    "b": "mode-background",
    "x": "mode-box",
    "s": "mode-select",
    "e": "mode-add",
    "c": "mode-cut",
    "d": "mode-vertices",
    "l": "mode-split",
    "u": "mode-merge",
    "a": "accept",
    "Enter": "accept",
    "Escape": "clear",
    "n": "next",
    "r": "redraw",
    "v": "segment",
    "m": "similar",
    "i": "each",
    "p": "preview",
    "z": "undo",
    "y": "redo",
    "Delete": "delete",
    "Home": "home",
    "o": "outline",
    **{str(number): f"class-{number - 1}" for number in range(1, 10)},
}
"""Keys, by the names that browsers give them, and the actions that they start."""

HANDLES_PANE = "samgeo-handles"
"""The pane of Leaflet in which handles are drawn, above all objects."""

LOOK_KEYS = {"h": "hold: show the image without shapes", "?": "show or hide this list"}
"""Keys that the browser handles alone."""


def library(name: str, *, extra: str = "map") -> ModuleType:
    """Import a library of an extra.

    Raises
    ------
    OptionError
        If the library is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        remedy = f"pip install 'samgeo[{extra}]'"
        raise OptionError(f"the map needs {name}, which cannot be imported ({error}): {remedy}.") from None


def make_front(
    on_key: Callable[[str], None],
    on_row: Callable[[int], None],
    on_screen: Callable[[float], None],
    on_left: Callable[[], None],
) -> AnyWidget:
    """Make the invisible widget that listens to events in the surrounding element of class ``samgeo-map``.

    Parameters
    ----------
    on_key : callable
        Called with the name of the action of a key, see `KEYS`.
    on_row : callable
        Called with the id of the object whose row was clicked.
    on_screen : callable
        Called with the number of screen pixels along a side of a page pixel.
    on_left : callable
        Called when the mouse leaves a shape.
    """
    traitlets, anywidget = library("traitlets"), library("anywidget")
    script = "\n".join(one.read_text() for one in (files("samgeo.map.editing") / "handles.js", files(__package__) / "map.js"))
    parts = {"_esm": script, "_css": (files(__package__) / "map.css").read_text()}
    keys = traitlets.List(list(KEYS)).tag(sync=True)
    front: AnyWidget = type("Front", (anywidget.AnyWidget,), {**parts, "listens_to": keys})()

    def receive(_: object, content: dict[str, Any], __: object) -> None:
        if content.get("kind") == "key" and content.get("key") in KEYS:
            on_key(KEYS[content["key"]])
        elif content.get("kind") == "row" and isinstance(content.get("id"), int):
            on_row(content["id"])
        elif content.get("kind") == "screen" and isinstance(content.get("ratio"), int | float):
            on_screen(float(content["ratio"]))
        elif content.get("kind") == "left":
            on_left()

    front.on_msg(receive)
    return front
