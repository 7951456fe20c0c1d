"""The parts of the panel that are HTML: the table of objects, the list of keys, and the bars of candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from samgeo.map.state.reducer import Annotation
from samgeo.plot.colors import RGB

__all__ = ["hex_color", "iou_bar", "key_table", "object_table", "text_color"]

ROWS = 200

BLACK, WHITE = "#000000", "#ffffff"


def hex_color(color: RGB) -> str:
    """Return a colour as browsers write it."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def text_color(color: RGB) -> str:
    """Return black or white, whichever has the higher contrast with a colour; the contrast is 4.58 or more.

    The contrast is that of WCAG 2, ``(L1 + 0.05) / (L2 + 0.05)`` of the relative luminances. Black has the higher one if the
    luminance of the colour is above ``sqrt(0.05 * 1.05) - 0.05``.
    """
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (one / 255 for one in color)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return BLACK if luminance > (0.05 * 1.05) ** 0.5 - 0.05 else WHITE


def iou_bar(predicted_iou: float | None) -> str:
    """Return a bar as long as the predicted IoU of a candidate; one that is not seen without a candidate."""
    share = 0.0 if predicted_iou is None else min(max(predicted_iou, 0.0), 1.0)
    hidden = ' style="visibility:hidden"' if predicted_iou is None else ""
    return f'<div{hidden}><div style="width:{100 * share:.0f}%"></div></div>'


def key_table(keys: Mapping[str, str]) -> str:
    """Return a list of keys and what they do."""
    rows = "".join(f"<tr><td><kbd>{escape(key)}</kbd></td><td>{escape(text)}</td></tr>" for key, text in keys.items())
    return f"<table>{rows}</table>"


def object_table(objects: Sequence[Annotation], selected: int | None, colors: Mapping[str, str], unit: str) -> str:
    """Return the table of the objects, the newest first.

    Parameters
    ----------
    objects : sequence of Annotation
    selected : int or None
        The id of the selected object.
    colors : mapping of str to str
        Colours of the classes.
    unit : str
        Unit of the areas.
    """
    shown = list(reversed(objects[-ROWS:]))
    caption = f"<caption>{len(objects):,} accepted</caption>"
    head = f"<tr><th>id</th><th>class</th><th>{unit}</th><th>score</th></tr>" if objects else ""
    more = f"<tr><td></td><td>and {len(objects) - ROWS:,} before</td></tr>" if len(objects) > ROWS else ""
    rows = "".join(_line(one, one.id == selected, colors[one.class_name]) for one in shown)
    return f"<table>{caption}{head}{rows}{more}</table>"


def _line(one: Annotation, is_selected: bool, color: str) -> str:
    score = "" if one.predicted_iou is None else f"{one.predicted_iou:.2f}"
    mark = ' class="samgeo-chosen"' if is_selected else ""
    swatch = f'<span class="samgeo-swatch" style="background:{color}"></span>'
    notes = [note for note, there in (("edited", one.edited), ("cut", not one.complete)) if there]
    name = escape(one.class_name) + (f" ({', '.join(notes)})" if notes else "")
    cells = (str(one.id), f"{swatch}{name}", f"{one.area:,.1f}", score)
    return f'<tr data-samgeo-id="{one.id}"{mark}>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
