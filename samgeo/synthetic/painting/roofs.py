"""Painting of roofs: materials, and light on the roof planes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from samgeo.synthetic.painting.canvas import CLASSES, Canvas, Streams
from samgeo.synthetic.painting.fittings import Roof, fit_flat, fit_pitched
from samgeo.synthetic.painting.planes import Layer, RoofPlanes
from samgeo.synthetic.plan import Building

__all__ = ["paint_roofs"]

_BRIGHTEST = 1.45  # a plane square to a low sun would burn out
_MORTAR = np.array((186, 180, 170), dtype=np.float32)


def paint_roofs(canvas: Canvas, buildings: Mapping[int, Building], streams: Streams) -> None:
    """Paint buildings by their numbers, which ``canvas.ids`` already holds at each sub-pixel."""
    for number, building in buildings.items():
        window = canvas.window(building.polygon.bounds)
        inside = canvas.ids[window] == number
        if not inside.any():
            continue
        x, y = canvas.metres(window)
        rng = streams.of("roof", number)
        planes = RoofPlanes.of(building, x, y)
        tone = _texture(building.cover, planes, [layer[window] for layer in canvas.grain], rng)
        roof = Roof(
            building=building,
            planes=planes,
            x=x,
            y=y,
            colour=np.array(building.colour, np.float32) * tone[..., None],
            height=planes.height.copy(),
            facing=np.minimum(canvas.sun.on(planes.slope_x, planes.slope_y), _BRIGHTEST),
            rng=rng,
        )
        if building.wings[0].roof == "flat":
            fit_flat(roof)
        else:
            _trim(roof)
            fit_pitched(roof)
        canvas.colour[window][inside] = roof.colour[inside]
        canvas.height[window][inside] = roof.height[inside]
        canvas.facing[window][inside] = roof.facing[inside]
        canvas.classes[window][inside] = CLASSES.index("building")


def _trim(roof: Roof) -> None:
    """Paint ridge caps, verges and party walls, which are lighter than tiles, and flashing on metal roofs."""
    roof.colour[roof.planes.ridge < 0.16] *= 1.05 if roof.building.cover == "metal" else 1.12
    verge = roof.planes.gable < 0.2
    roof.colour[verge] = 0.6 * roof.colour[verge] + 0.4 * _MORTAR


def _texture(cover: str, planes: RoofPlanes, grain: list[Layer], rng: np.random.Generator) -> Layer:
    """Return the relative brightness of a roof material, 1 on average."""
    age = float(rng.uniform(0.4, 1.4))
    if cover in ("tile", "slate"):
        return _tiles(planes, grain, rng, size=0.36 if cover == "tile" else 0.5, age=age)
    if cover == "metal":
        return _sheets(planes, grain, rng, age=age)
    stains = np.clip(grain[2] + 0.8 * grain[1] - 0.5, 0, 2)
    tone = 1 + 0.03 * grain[0] + 0.03 * grain[1] + 0.045 * age * grain[2] - 0.07 * age * stains
    return np.asarray(tone, dtype=np.float32)


def _tiles(planes: RoofPlanes, grain: list[Layer], rng: np.random.Generator, *, size: float, age: float) -> Layer:
    """Return the brightness of rows of tiles, each a little different, with patches of moss that follow the noise."""
    row = np.floor(planes.down / size).astype(np.int64)
    column = np.floor(planes.along / 0.3 + 0.5 * (row % 2)).astype(np.int64)
    each = rng.normal(0, 1, 1021).astype(np.float32)[(row * 131 + column * 71) % 1021]
    step = np.abs((planes.down / size) % 1 - 0.5) * 2
    tone = 1 + 0.055 * each + 0.05 * (step - 0.5) + 0.05 * age * (grain[1] + grain[2])
    return np.asarray(tone - 0.05 * age * np.clip(grain[3], -1, 2), dtype=np.float32)


def _sheets(planes: RoofPlanes, grain: list[Layer], rng: np.random.Generator, *, age: float) -> Layer:
    """Return the brightness of corrugated sheets of 0.95 m x 3.2 m, with patches of rust that follow the noise."""
    sheet = np.floor(planes.along / 0.95).astype(np.int64)
    lap = np.floor(planes.down / 3.2).astype(np.int64)
    each = rng.normal(0, 1, 509).astype(np.float32)[(sheet * 31 + lap * 57) % 509]
    ribs = np.sin(planes.along * (2 * math.pi / 0.95))
    rust = np.clip(grain[2] + 0.5 * grain[1] - 0.9, 0, 1) * float(rng.uniform(0, 0.3))
    tone = 1 + 0.045 * ribs + 0.03 * each + 0.03 * age * grain[2] + 0.015 * grain[0] - rust
    return np.asarray(tone, dtype=np.float32)
