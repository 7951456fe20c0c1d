"""The part of the map that runs in the browser: keys, clicks on table rows, the right-click menu, the pixel ratio."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from samgeo.errors import OptionError

if TYPE_CHECKING:
    from types import ModuleType

    from anywidget import AnyWidget

__all__ = ["KEYS", "library", "make_front"]

KEYS = {
    "f": "mode-foreground",
    "b": "mode-background",
    "x": "mode-box",
    "s": "mode-select",
    "e": "mode-add",
    "c": "mode-cut",
    "a": "accept",
    "Enter": "accept",
    "Escape": "clear",
    "n": "next",
    "z": "undo",
    "y": "redo",
    "Delete": "delete",
    **{str(number): f"class-{number - 1}" for number in range(1, 10)},
}
"""Keys, by the names that browsers give them, and the actions that they start."""

# JupyterLab opens its own menu on a right click, and uses letters as commands for cells (x cuts the cell). It ignores elements
# with these attributes. Jupyter Notebook gets each key before any element does, and only checks which element has the focus.
# Therefore the root element can have the focus: a click on an element that cannot have it, such as a row of the table or the
# status line, moves the focus to the map and not to the notebook. A button that is disabled while it has the focus loses the
# focus to the page. The root element takes it back after two frames, when the browser has moved the focus.
SCRIPT = """
function listen(root, model) {
  root.setAttribute("data-jp-suppress-context-menu", "");
  root.setAttribute("data-lm-suppress-shortcuts", "true");
  root.tabIndex = -1;
  let focused = null;
  const onFocus = (event) => {
    focused = event.target;
    focused.setAttribute("data-lm-suppress-shortcuts", "true");
  };
  const onLeave = (event) => {
    // Without a place that it goes to, the focus is lost and not moved by a hand.
    if (event.relatedTarget && !root.contains(event.relatedTarget)) focused = null;
  };
  const takeBack = (lost) => {
    const now = document.activeElement;
    if (!now || now === lost || (now !== root && now.contains(root))) root.focus({ preventScroll: true });
  };
  const observer = new MutationObserver((changes) => {
    const lost = focused;
    if (!lost?.disabled || !changes.some((change) => change.target === lost)) return;
    focused = null;
    requestAnimationFrame(() => requestAnimationFrame(() => takeBack(lost)));
  });
  observer.observe(root, { attributes: true, attributeFilter: ["disabled"], subtree: true });
  const keys = new Set(model.get("listens_to"));
  const onKey = (event) => {
    const target = event.target;
    if (event.altKey || target.closest("input:not([type=checkbox]), textarea, select")) return;
    if (target.closest("button, input") && ["Enter", " "].includes(event.key)) return;
    let key = event.key;
    if (event.ctrlKey || event.metaKey) {
      if (key.toLowerCase() !== "z") return;
      key = event.shiftKey ? "y" : "z";
    }
    if (!keys.has(key)) return;
    event.preventDefault();
    event.stopPropagation();
    model.send({ kind: "key", key });
  };
  const onClick = (event) => {
    const row = event.target.closest("[data-samgeo-id]");
    if (row) model.send({ kind: "row", id: Number(row.dataset.samgeoId) });
  };
  // Leaflet tells when the mouse comes over a shape, and ipyleaflet does not pass on when it leaves.
  const onOut = (event) => {
    if (event.target.closest("path.leaflet-interactive")) model.send({ kind: "left" });
  };
  let screen = null;
  const onScreen = () => {
    screen?.removeEventListener("change", onScreen);
    model.send({ kind: "screen", ratio: window.devicePixelRatio });
    // It changes when the page is zoomed, or its window is moved to another screen.
    screen = window.matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
    screen.addEventListener("change", onScreen);
  };
  onScreen();
  root.addEventListener("mouseout", onOut);
  root.addEventListener("focusin", onFocus);
  root.addEventListener("focusout", onLeave);
  root.addEventListener("keydown", onKey);
  root.addEventListener("click", onClick);
  return () => {
    screen.removeEventListener("change", onScreen);
    root.removeEventListener("mouseout", onOut);
    observer.disconnect();
    root.removeEventListener("focusin", onFocus);
    root.removeEventListener("focusout", onLeave);
    root.removeEventListener("keydown", onKey);
    root.removeEventListener("click", onClick);
  };
}

function render({ model, el }) {
  let stop = () => {};
  let frame = 0;
  const attach = () => {
    const root = el.closest(".samgeo-map");
    if (root) stop = listen(root, model);
    else frame = requestAnimationFrame(attach);
  };
  attach();
  return () => {
    cancelAnimationFrame(frame);
    stop();
  };
}

export default { render };
"""

STYLE = """
.samgeo-map:focus { outline: none; }
.samgeo-map button { padding: 0 4px; }
.samgeo-map .samgeo-active { outline: 3px solid currentcolor; outline-offset: -3px; font-weight: bold; }
.samgeo-map .samgeo-error { color: #b00020; font-weight: bold; }
.samgeo-map .samgeo-status, .samgeo-map .samgeo-hover { overflow: hidden; text-overflow: ellipsis; }
.samgeo-map .leaflet-container { background: #ffffff; user-select: none; }
.samgeo-map .samgeo-drawing .leaflet-container { cursor: crosshair; }
.samgeo-map .leaflet-pane > svg path:is(.samgeo-preview, .samgeo-prompt, .samgeo-box, .samgeo-draft) { pointer-events: none; }
.samgeo-map .samgeo-table table { border-collapse: collapse; width: 100%; line-height: 1.5; }
.samgeo-map .samgeo-table td, .samgeo-map .samgeo-table th { padding: 0 6px; text-align: right; }
.samgeo-map .samgeo-table td:nth-child(2), .samgeo-map .samgeo-table th:nth-child(2) { text-align: left; }
.samgeo-map .samgeo-table tr[data-samgeo-id] { cursor: pointer; }
.samgeo-map .samgeo-table .samgeo-chosen { font-weight: bold; outline: 1px solid currentcolor; }
.samgeo-map .samgeo-swatch { display: inline-block; width: 0.8em; height: 0.8em; margin-right: 4px; }
"""


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
    keys = traitlets.List(list(KEYS)).tag(sync=True)
    front: AnyWidget = type("Front", (anywidget.AnyWidget,), {"_esm": SCRIPT, "_css": STYLE, "listens_to": keys})()

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
