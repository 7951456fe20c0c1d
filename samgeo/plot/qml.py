"""Styles of QGIS for polygons, in its XML (QML): one outline, a colour for each value, or a scale of colours for numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree as ET

import numpy as np

from samgeo.plot.colors import RGB, UNKNOWN, palette, ramp

__all__ = ["RANGES", "categorized", "graduated", "outline"]

RANGES = 5
"""Number of equal intervals of a scale."""

OUTLINE: RGB = (255, 221, 0)
OUTLINE_MM = 0.46
FILL_ALPHA = 70
OPAQUE = 255
MAX_DECIMALS = 9

# QGIS 3.0 and later read this; the version tells it that nothing needs to be converted.
_HEAD = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_VERSION = "3.22.0"
_POLYGONS = "2"


def outline() -> str:
    """Return the style that draws each polygon as an outline."""
    return _document("singleSymbol", {}, [], [_symbol(0, OUTLINE, filled=False)])


def categorized(column: str, values: Sequence[tuple[str, str]]) -> str:
    """Return the style with a colour for each value of a column; features with another value, or with none, are grey.

    Parameters
    ----------
    column : str
        Name of the column.
    values : sequence of (str, str)
        The values as text, sorted, each with its type in QGIS: "string", "long", "double" or "bool". An empty text is grey.
    """
    group = ET.Element("categories")
    colors = [*palette(len(values)), UNKNOWN]
    # The category of the empty text is, in QGIS, that of all values without a category. An empty text among the values has no
    # other one, but its place in the palette, so that the other values have the colours of `samgeo.show`.
    named = [(index, value, kind) for index, (value, kind) in enumerate(values) if value]
    for index, value, kind in [*named, (len(values), "", "string")]:
        about = {"render": "true", "symbol": str(index), "value": value, "label": value or "other", "type": kind}
        ET.SubElement(group, "category", about)
    return _document(
        "categorizedSymbol", {"attr": column}, [group], [_symbol(index, color) for index, color in enumerate(colors)]
    )


def graduated(column: str, least: float, greatest: float) -> str:
    """Return the style with a scale of colours for the numbers of a column, in equal intervals.

    Parameters
    ----------
    column : str
        Name of the column.
    least, greatest : float
        The finite bounds of the numbers; both belong to the scale. Where they are equal, the scale has one interval.
    """
    edges = np.linspace(least, greatest, RANGES + 1) if greatest > least else np.array([least, greatest])
    group, decimals = ET.Element("ranges"), _decimals((greatest - least) / RANGES)
    for index, (lower, upper) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        about = {"render": "true", "symbol": str(index), "lower": repr(lower), "upper": repr(upper)}
        ET.SubElement(group, "range", {**about, "label": f"{_label(lower, decimals)} - {_label(upper, decimals)}"})
    colors = ramp(np.arange(len(edges) - 1, dtype=np.float64))
    return _document(
        "graduatedSymbol",
        {"attr": column, "graduatedMethod": "GraduatedColor"},
        [group],
        [_symbol(index, color) for index, color in enumerate(colors)],
    )


def _decimals(step: float) -> int | None:
    """Return with how many decimals the edges of intervals are written: two digits of their width; None for any number."""
    if step <= 0:
        return None
    exponent = math.floor(math.log10(step))
    return max(0, 1 - exponent) if abs(exponent) <= MAX_DECIMALS else None


def _label(value: float, decimals: int | None) -> str:
    return f"{value:.6g}" if decimals is None else f"{value:.{decimals}f}"


def _document(kind: str, about: dict[str, str], groups: Sequence[ET.Element], symbols: Sequence[ET.Element]) -> str:
    root = ET.Element("qgis", {"version": _VERSION, "styleCategories": "Symbology"})
    renderer = ET.SubElement(root, "renderer-v2", {"type": kind, "symbollevels": "0", "enableorderby": "0", "forceraster": "0"})
    renderer.attrib.update(about)
    renderer.extend(groups)
    ET.SubElement(renderer, "symbols").extend(symbols)
    ET.SubElement(renderer, "rotation")
    ET.SubElement(renderer, "sizescale")
    for name, text in (("blendMode", "0"), ("featureBlendMode", "0"), ("layerGeometryType", _POLYGONS)):
        ET.SubElement(root, name).text = text
    ET.indent(root)
    return _HEAD + ET.tostring(root, encoding="unicode") + "\n"


def _symbol(index: int, color: RGB, *, filled: bool = True) -> ET.Element:
    symbol = ET.Element("symbol", {"name": str(index), "type": "fill", "alpha": "1", "clip_to_extent": "1", "force_rhr": "0"})
    layer = ET.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"})
    properties = {
        "color": _rgba(color, FILL_ALPHA),
        "joinstyle": "bevel",
        "outline_color": _rgba(color, OPAQUE),
        "outline_style": "solid",
        "outline_width": str(OUTLINE_MM),
        "outline_width_unit": "MM",
        "style": "solid" if filled else "no",
    }
    # QGIS reads the map of options since 3.18, and the older properties before that.
    options = ET.SubElement(layer, "Option", {"type": "Map"})
    for name, value in properties.items():
        ET.SubElement(options, "Option", {"name": name, "type": "QString", "value": value})
    for name, value in properties.items():
        ET.SubElement(layer, "prop", {"k": name, "v": value})
    return symbol


def _rgba(color: RGB, alpha: int) -> str:
    return ",".join(map(str, (*color, alpha)))
