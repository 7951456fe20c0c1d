"""The parts of the panel that are HTML: the list of keys and the bars of candidates; and colours of text."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from samgeo.plot.colors import RGB

__all__ = ["iou_bar", "key_table", "text_color"]

BLACK, WHITE = "#000000", "#ffffff"


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
