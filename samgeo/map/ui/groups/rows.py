"""Small widgets that the groups of the panel share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samgeo.map.ui.browser_part import library

if TYPE_CHECKING:
    import ipywidgets

__all__ = ["button", "note", "row", "show_or_hide"]


def row(*children: ipywidgets.Widget) -> ipywidgets.HBox:
    """Return widgets in a row, which goes on in the next line where they have no room."""
    made: ipywidgets.HBox = library("ipywidgets").HBox(children)
    made.add_class("samgeo-row")
    return made


def note(text: str) -> ipywidgets.HTML:
    """Return a short text beside controls."""
    made: ipywidgets.HTML = library("ipywidgets").HTML(text)
    made.add_class("samgeo-note")
    return made


def button(label: str, tip: str, name: str) -> ipywidgets.Button:
    """Return a button with the CSS class ``samgeo-<name>``."""
    made: ipywidgets.Button = library("ipywidgets").Button(description=label, tooltip=tip, layout={"width": "auto"})
    made.add_class(f"samgeo-{name}")
    return made


def show_or_hide(box: ipywidgets.Box, is_shown: bool) -> None:
    """Show or hide a box."""
    box.layout.display = None if is_shown else "none"
