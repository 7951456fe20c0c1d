"""The end of a map: its widgets are closed, also when the cell that made the map runs again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ipywidgets import Widget

__all__ = ["close_widgets", "current_cell", "replace_earlier"]

EARLIER = "samgeo_maps"


class Closable(Protocol):
    """Something that is replaced when its cell runs again, such as a map."""

    def close(self, *, wait: bool = True) -> None:
        """Remove it from the notebook."""


def close_widgets(root: Widget) -> None:
    """Close a widget and all widgets that it holds, such as children, layers, controls, layouts and styles.

    ipywidgets keeps each widget in memory, in the kernel and in the browser, until it is closed.
    """
    from ipywidgets import Widget

    found: dict[str, Widget] = {}
    waiting: list[object] = [root]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Widget):
            if one.comm is not None and one.model_id not in found:
                found[one.model_id] = one
                waiting.extend(getattr(one, name, None) for name in one.keys)
        elif isinstance(one, list | tuple):
            waiting.extend(one)
        elif isinstance(one, dict):
            waiting.extend(one.values())
    for one in found.values():
        one.close()


def current_cell() -> tuple[str, str] | None:
    """Return the id of the notebook's cell that runs, and the id of the request to run it; None outside a notebook."""
    parent: dict[str, dict[str, object]] = getattr(_shell(), "get_parent", dict)()
    cell, request = parent.get("metadata", {}).get("cellId"), parent.get("header", {}).get("msg_id")
    return (cell, request) if isinstance(cell, str) and isinstance(request, str) else None


def replace_earlier(new: Closable) -> None:
    """Close what an earlier run of the present cell made, and remember what this run makes.

    It is remembered in the place that IPython has for extensions. Outside a notebook nothing happens.
    """
    cell = current_cell()
    if cell is None:
        return
    made: dict[str, tuple[str, list[Closable]]] = getattr(_shell(), "meta", {}).setdefault(EARLIER, {})
    request, earlier = made.get(cell[0], (cell[1], []))
    if request != cell[1]:
        for one in earlier:
            one.close(wait=False)
        earlier = []
    made[cell[0]] = cell[1], [*earlier, new]


def _shell() -> object:
    """Return IPython's shell; None outside IPython, which is not imported for this."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()
