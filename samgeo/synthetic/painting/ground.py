"""Painting of the ground: plots, gardens, fields and water."""

from __future__ import annotations

import math

import numpy as np
import shapely

from samgeo.synthetic.painting.canvas import CLASSES, Canvas, Streams
from samgeo.synthetic.plan import Colour, Field, TownPlan

__all__ = ["paint_fields", "paint_ground", "paint_river"]

# For each kind of ground: amplitude of noise with features of 0.15, 0.6, 2.5, 10 and 40 metres, and its class.
_KINDS: dict[str, tuple[tuple[float, float, float, float, float], str]] = {
    "wild": ((0.07, 0.07, 0.07, 0.08, 0.08), "grass"),
    "lawn": ((0.06, 0.06, 0.05, 0.05, 0.03), "grass"),
    "soil": ((0.05, 0.06, 0.05, 0.05, 0.03), "other"),
    "paved": ((0.03, 0.025, 0.035, 0.03, 0.02), "other"),
    "path": ((0.03, 0.02, 0.03, 0.02, 0.0), "other"),
    "pool": ((0.01, 0.03, 0.03, 0.0, 0.0), "water"),
    "pond": ((0.015, 0.02, 0.04, 0.05, 0.0), "water"),
    "pitch": ((0.05, 0.04, 0.03, 0.03, 0.02), "grass"),
    "bed": ((0.10, 0.10, 0.06, 0.03, 0.0), "other"),
}
_WILD: Colour = (128, 126, 84)

# For each crop: colour of the rows and between the rows, distance of rows in metres, and density of rows.
_CROPS: dict[str, tuple[Colour, Colour, float, float]] = {
    "wheat": ((196, 172, 110), (180, 156, 98), 1.3, 0.0),
    "green": ((88, 118, 58), (120, 116, 76), 1.5, 0.1),
    "ploughed": ((142, 112, 88), (118, 92, 72), 1.6, 0.0),
    "pasture": ((122, 134, 78), (128, 134, 82), 7.0, 0.0),
    "vineyard": ((70, 94, 46), (172, 148, 116), 2.5, -0.1),
    "orchard": ((126, 130, 84), (136, 132, 90), 5.5, 0.0),
}


def paint_ground(canvas: Canvas, plan: TownPlan) -> None:
    """Paint all surfaces of the plan, the later ones over the earlier."""
    index = canvas.burn([surface.polygon for surface in plan.surfaces])
    names = list(_KINDS)
    kinds = np.array([0, *(names.index(surface.kind) for surface in plan.surfaces)])
    colours = np.array([_WILD, *(surface.colour for surface in plan.surfaces)], dtype=np.float32)
    weights = np.array([_KINDS[name][0] for name in names], dtype=np.float32)[kinds]
    tone = np.ones(index.shape, dtype=np.float32)
    for band, grain in enumerate(canvas.grain):
        tone += weights[index, band] * grain
    kind = kinds.astype(np.uint8)[index]
    canvas.colour[:] = colours[index] * tone[..., None]
    canvas.classes[:] = np.array([CLASSES.index(_KINDS[name][1]) for name in names], dtype=np.uint8)[kind]
    _dry(canvas, np.isin(kind, [names.index(name) for name in ("wild", "lawn", "pitch")]))
    _overgrow(canvas, kind == names.index("soil"))
    canvas.height[kind == names.index("pool")] = -0.3
    for surface in plan.surfaces:
        if surface.kind == "pitch":
            _pitch(canvas, surface.polygon)


def _dry(canvas: Canvas, grass: np.ndarray) -> None:
    """Make grass yellow in patches, which follow noise of two scales."""
    dryness = np.clip(0.22 + 0.16 * canvas.grain[2] + 0.2 * canvas.grain[3] + 0.1 * canvas.grain[1], 0, 0.8)
    dryness *= grass
    for band, straw in enumerate((168, 152, 112)):
        layer = canvas.colour[..., band]
        layer += dryness * (straw - layer) * 0.75


def _overgrow(canvas: Canvas, soil: np.ndarray) -> None:
    weeds = np.clip(canvas.grain[2] + 0.7 * canvas.grain[1] + 0.6 * canvas.grain[3] - 0.7, 0, 1) * soil
    for band, green in enumerate((98, 108, 66)):
        layer = canvas.colour[..., band]
        layer += weeds * (green - layer) * 0.8


def _pitch(canvas: Canvas, polygon: shapely.Geometry) -> None:
    """Paint a playing field with mowing stripes and lines."""
    window = canvas.window(tuple(shapely.bounds(polygon).tolist()))
    corners = shapely.get_coordinates(polygon)[:4]
    centre, along, across = corners.mean(axis=0), corners[1] - corners[0], corners[3] - corners[0]
    length, width = float(np.hypot(*along)), float(np.hypot(*across))
    along, across = along / length, across / width
    x, y = canvas.metres(window)
    s = (x - centre[0]) * along[0] + (y - centre[1]) * along[1]
    t = (x - centre[0]) * across[0] + (y - centre[1]) * across[1]
    half, side = length / 2 - 2.5, width / 2 - 2.5
    inside = (np.abs(s) < length / 2) & (np.abs(t) < width / 2)
    canvas.colour[window] *= np.where(inside & (np.sin(s * math.pi / 4.5) > 0), 1.09, 1.0)[..., None]
    ring = np.hypot(s, t)
    border = np.maximum(np.abs(s) - half, np.abs(t) - side)
    box = np.maximum(np.abs(np.abs(s) - half + 3.5) - 3.5, np.abs(t) - side * 0.45)
    inner = np.minimum(np.minimum(np.abs(s), np.abs(box)), np.abs(ring - side * 0.3))
    lines = np.where(border < 0, np.minimum(inner, -border), border) < 0.14
    canvas.colour[window][lines & inside] = (214, 216, 204)


def paint_fields(canvas: Canvas, fields: list[Field], streams: Streams) -> None:
    """Paint crops in rows."""
    inside_all = canvas.burn([one.polygon for one in fields])
    for number, one in enumerate(fields, start=1):
        window = canvas.window(one.polygon.bounds)
        inside = inside_all[window] == number
        if not inside.any():
            continue
        on, between, period, bias = _CROPS[one.crop]
        x, y = canvas.metres(window)
        grain = [layer[window] for layer in canvas.grain]
        bend = 0.9 * grain[4] + 0.05 * grain[2]
        across = x * one.row[0] + y * one.row[1] + bend
        wave = np.sin(across * (2 * math.pi / period)) + bias
        gaps = 0.55 * grain[1] + 0.35 * grain[0] + 0.3 * grain[2]
        cover = np.clip(0.5 + (1.6 if one.crop == "vineyard" else 0.7) * (wave + gaps * 0.5), 0, 1)
        wheels = np.abs((across / 15.0) % 1 - 0.5) * 15.0
        if one.crop in ("wheat", "green"):
            cover *= np.clip((np.abs(wheels - 0.9) - 0.15) / 0.3, 0.25, 1)
        tone = 1 + 0.05 * grain[0] + 0.04 * grain[1] + 0.03 * grain[2] + 0.03 * grain[3] + 0.03 * grain[4]
        tone *= streams.of("field", number).normal(1, 0.06)
        mixed = cover[..., None] * np.array(on, np.float32) + (1 - cover[..., None]) * np.array(between, np.float32)
        canvas.colour[window][inside] = (mixed * tone[..., None])[inside]
        canvas.classes[window][inside] = CLASSES.index("field")
        if one.crop == "vineyard":
            canvas.height[window][inside] = (1.5 * cover * (cover > 0.6))[inside]


def paint_river(canvas: Canvas, river: list[shapely.Polygon]) -> None:
    """Paint the river, outer bank first: reeds and gravel, then shallow and deep water."""
    banks = zip(
        ("grass", "other", "water", "water"),
        ((112, 116, 74), (166, 152, 122), (98, 108, 88), (80, 94, 82)),
        ((0.1, 0.1, 0.08), (0.06, 0.07, 0.06), (0.02, 0.03, 0.05), (0.012, 0.02, 0.04)),
        strict=True,
    )
    for polygon, (name, colour, weights) in zip(river, banks, strict=False):
        inside = canvas.burn([polygon]) > 0
        tone = np.ones(np.count_nonzero(inside), dtype=np.float32)
        for weight, grain in zip(weights, canvas.grain[:3], strict=True):
            tone += weight * grain[inside]
        canvas.colour[inside] = tone[:, None] * np.array(colour, np.float32)
        canvas.height[inside] = 0.0
        canvas.classes[inside] = CLASSES.index(name)
