"""Roofs: their planes, what covers them, and what stands on flat ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samgeo.testing.scenes.canvas import CLASSES, Canvas
from samgeo.testing.scenes.plan import Building, Wing

__all__ = ["paint_roofs"]

Layer = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Planes:
    """A roof over a window: height, its slope, and metres along the eaves, down from the ridge, to a gable end and to a ridge."""

    height: Layer
    slope_x: Layer
    slope_y: Layer
    along: Layer
    down: Layer
    end: Layer
    ridge: Layer


def paint_roofs(canvas: Canvas, buildings: list[Building], rng: np.random.Generator) -> None:
    """Paint buildings; ``canvas.ids`` tells already which sub-pixels are whose, 1 being the first."""
    for number, building in enumerate(buildings, start=1):
        window = canvas.window(building.polygon.bounds)
        inside = canvas.ids[window] == number
        if not inside.any():
            continue
        x, y = canvas.metres(window)
        parts = [_wing(wing, x, y) for wing in building.wings]
        roof = parts[0]
        for part in parts[1:]:
            roof = _higher(roof, part)
        grain = [layer[window] for layer in canvas.grain]
        colour = np.array(building.colour, np.float32) * _texture(building.cover, roof, grain, rng)[..., None]
        height, facing = roof.height.copy(), canvas.sun.on(roof.slope_x, roof.slope_y)
        if building.wings[0].roof == "flat":
            _flat(building, roof, x, y, colour, height, rng)
        else:
            cap, verge = roof.ridge < 0.16, roof.end < 0.2
            # Mortared verges and party walls are lighter than tiles; metal has flashing.
            colour[cap] *= 1.05 if building.cover == "metal" else 1.12
            colour[verge] = 0.6 * colour[verge] + 0.4 * np.array((186, 180, 170), np.float32)
            _fittings(building, x, y, colour, height, facing, rng)
        canvas.colour[window][inside] = colour[inside]
        canvas.height[window][inside] = height[inside]
        canvas.facing[window][inside] = np.minimum(facing, 1.45)[inside]
        canvas.classes[window][inside] = CLASSES.index("building")


def _wing(wing: Wing, x: Layer, y: Layer) -> _Planes:
    """Return the planes of one wing; outside of it they are lower than any other wing's."""
    a, b = np.array(wing.along), np.array(wing.across)
    length, width = float(np.hypot(*a)), float(np.hypot(*b))
    inverse = np.linalg.inv(np.stack([a, b], axis=1))
    dx, dy = x - wing.centre[0], y - wing.centre[1]
    s, t = inverse[0, 0] * dx + inverse[0, 1] * dy, inverse[1, 0] * dx + inverse[1, 1] * dy
    end, eave = (1 - np.abs(s)) * length, (1 - np.abs(t)) * width
    rim = np.minimum(end, eave)
    if wing.roof == "flat":
        zero = np.zeros_like(rim)
        return _Planes(
            np.where(rim > -0.1, wing.eave_m, -1).astype(np.float32), zero, zero, s * length, t * width, zero + 9, zero + 9
        )
    if wing.roof == "shed":
        height, down, ridge = wing.eave_m + wing.pitch * (1 + t) * width, (1 - t) * width, (1 - t) * width
        slope = wing.pitch * width * inverse[1]
        slope_x, slope_y = np.full_like(rim, slope[0]), np.full_like(rim, slope[1])
        along = s * length
    else:
        on_end = (end < eave) if wing.roof == "hip" else np.zeros_like(rim, dtype=bool)
        rise = np.where(on_end, end, eave)
        height, down = wing.eave_m + wing.pitch * rise, width - rise
        ridge = np.minimum(np.abs(t) * width, 9)
        if wing.roof == "hip":
            ridge = np.minimum(np.where(on_end, 9, ridge), np.abs(end - eave))
        slope_x = np.where(on_end, -np.sign(s) * inverse[0, 0] * length, -np.sign(t) * inverse[1, 0] * width) * wing.pitch
        slope_y = np.where(on_end, -np.sign(s) * inverse[0, 1] * length, -np.sign(t) * inverse[1, 1] * width) * wing.pitch
        along = np.where(on_end, t * width, s * length)
    verge = np.full_like(rim, 9) if wing.roof == "hip" else end
    height = np.where(rim > -0.1, np.maximum(height, wing.eave_m), -1)
    layers = (height, slope_x, slope_y, along, down, verge, ridge)
    return _Planes(*(np.asarray(layer, dtype=np.float32) for layer in layers))


def _higher(one: _Planes, other: _Planes) -> _Planes:
    first = one.height >= other.height
    names = ("height", "slope_x", "slope_y", "along", "down", "end", "ridge")
    return _Planes(*(np.where(first, getattr(one, name), getattr(other, name)) for name in names))


def _texture(cover: str, roof: _Planes, grain: list[Layer], rng: np.random.Generator) -> Layer:
    """Return the tone of a cover: 1 on average."""
    patchy = float(rng.uniform(0.4, 1.4))
    if cover in ("tile", "slate"):
        size = 0.36 if cover == "tile" else 0.5
        row = np.floor(roof.down / size).astype(np.int64)
        column = np.floor(roof.along / 0.3 + 0.5 * (row % 2)).astype(np.int64)
        table = rng.normal(0, 1, 1021).astype(np.float32)
        each = table[(row * 131 + column * 71) % 1021]
        step = np.abs((roof.down / size) % 1 - 0.5) * 2
        tone = 1 + 0.055 * each + 0.05 * (step - 0.5) + 0.05 * patchy * grain[2] + 0.05 * patchy * grain[1]
        return np.asarray(tone - 0.05 * patchy * np.clip(grain[3], -1, 2), dtype=np.float32)
    if cover == "metal":
        sheet = np.floor(roof.along / 0.95).astype(np.int64)
        lap = np.floor(roof.down / 3.2).astype(np.int64)
        each = rng.normal(0, 1, 509).astype(np.float32)[(sheet * 31 + lap * 57) % 509]
        ribs = np.sin(roof.along * (2 * math.pi / 0.95))
        rust = np.clip(grain[2] + 0.5 * grain[1] - 0.9, 0, 1) * rng.uniform(0, 0.3)
        return np.asarray(1 + 0.045 * ribs + 0.03 * each + 0.03 * patchy * grain[2] + 0.015 * grain[0] - rust, dtype=np.float32)
    stains = np.clip(grain[2] + 0.8 * grain[1] - 0.5, 0, 2)
    tone = 1 + 0.03 * grain[0] + 0.03 * grain[1] + 0.045 * patchy * grain[2] - 0.07 * patchy * stains
    return np.asarray(tone, dtype=np.float32)


def _flat(
    building: Building, roof: _Planes, x: Layer, y: Layer, colour: Layer, height: Layer, rng: np.random.Generator
) -> None:
    """Add a parapet, and clutter by what the roof has room for."""
    wing = building.wings[0]
    inside = _distance_to_edge(building, x, y)
    parapet = inside < 0.32
    height[parapet] += 0.55
    colour[parapet] = np.clip(np.array(building.colour) * 1.1 + 8, 0, 232)
    half_length, half_width = float(np.hypot(*wing.along)), float(np.hypot(*wing.across))
    room = half_length * half_width * 4
    if room < 30:
        return
    s, t = roof.along, roof.down
    reach = half_length - 1.6, half_width - 1.6
    if min(reach) < 0.5:
        return
    if room > 60 and rng.random() < 0.55:
        # The head of the stairs.
        cs, ct = (float(rng.choice([-1, 1]) * max(one - 0.6, 0)) for one in reach)
        head = (np.abs(s - cs) < 1.6) & (np.abs(t - ct) < 1.5)
        height[head] = wing.eave_m + 2.4
        colour[head] = np.clip(np.array(building.colour) * rng.uniform(0.86, 1.14), 0, 235)
    if rng.random() < 0.4 and min(reach) > 1.6:
        _panels(s, t, reach, colour, height, wing.eave_m + 0.5, rng)
    for _ in range(int(rng.integers(0, 3 + room // 60))):
        cs, ct = (float(rng.uniform(-one, one)) for one in reach)
        kind = rng.random()
        if kind < 0.45:
            tank = np.hypot(s - cs, t - ct) < rng.uniform(0.55, 0.8)
            height[tank] = wing.eave_m + 1.4
            colour[tank] = ((46, 48, 50), (206, 206, 202), (70, 104, 150))[int(rng.integers(3))]
        else:
            box = (np.abs(s - cs) < rng.uniform(0.4, 1.1)) & (np.abs(t - ct) < rng.uniform(0.4, 0.8))
            height[box] = wing.eave_m + float(rng.uniform(0.5, 1.1))
            colour[box] = float(rng.uniform(120, 215))


def _panels(
    s: Layer, t: Layer, reach: tuple[float, float], colour: Layer, height: Layer, top: float, rng: np.random.Generator
) -> None:
    """Put rows of solar panels into a part of a roof."""
    low = -reach[0] * rng.uniform(0.2, 0.9), -reach[1] * rng.uniform(0.5, 0.9)
    high = reach[0] * rng.uniform(0.1, 0.8), reach[1] * rng.uniform(0.3, 0.8)
    array = (s > low[0]) & (s < high[0]) & (t > low[1]) & (t < high[1]) & ((t - low[1]) % 2.4 < 1.6)
    frame = ((s - low[0]) % 1.0 < 0.12) | ((t - low[1]) % 2.4 < 0.12)
    colour[array] = np.where(frame[array][:, None], (120, 126, 136), (36, 46, 72))
    height[array] = top


def _fittings(
    building: Building, x: Layer, y: Layer, colour: Layer, height: Layer, facing: Layer, rng: np.random.Generator
) -> None:
    """Put chimneys, roof windows, panels or strips of roof light on a pitched roof."""
    wing = building.wings[int(rng.integers(len(building.wings)))]
    planes = _wing(wing, x, y)
    top = planes.height >= height - 0.02
    half_length, half_width = float(np.hypot(*wing.along)), float(np.hypot(*wing.across))
    signed = np.sign(planes.slope_x * wing.across[0] + planes.slope_y * wing.across[1])
    if building.cover == "metal":
        if half_width > 5 and rng.random() < 0.6:
            lights = top & (np.abs(planes.along % 6.0 - 3.0) < 0.5) & (planes.down > 1.0) & (planes.down < half_width - 1.0)
            colour[lights] = (206, 212, 212)
        return
    if rng.random() < 0.22 and half_length > 3.5 and half_width > 2.8:
        sunny = float(np.sign(wing.across[1])) or 1.0
        span = float(rng.uniform(1.4, half_length - 1.4))
        array = (
            top
            & (signed == sunny)
            & (np.abs(planes.along) < span)
            & (planes.down > 0.7)
            & (planes.down < min(3.9, half_width - 0.6))
        )
        frame = (planes.along % 1.05 < 0.12) | ((planes.down - 0.7) % 1.6 < 0.12)
        colour[array] = np.where(frame[array][:, None], (92, 98, 110), (34, 42, 66))
    if rng.random() < 0.55:
        at, side = float(rng.uniform(-0.7, 0.7)) * half_length, float(rng.uniform(0.3, 0.9))
        stack = top & (np.abs(planes.along - at) < 0.45) & (np.abs(planes.down - side) < 0.4) & (signed > 0)
        colour[stack] = (142, 96, 80) if building.cover == "tile" else (120, 112, 108)
        height[stack] = wing.eave_m + wing.pitch * half_width + 0.9
        facing[stack] = 1.0
    for _ in range(int(rng.integers(0, 3))):
        at, down = float(rng.uniform(-0.8, 0.8)) * half_length, float(rng.uniform(0.35, 0.6)) * half_width
        pane = (
            top
            & (np.abs(planes.along - at) < 0.4)
            & (np.abs(planes.down - down) < 0.5)
            & (signed == float(rng.choice([-1, 1])))
        )
        colour[pane] = (62, 70, 80)


def _distance_to_edge(building: Building, x: Layer, y: Layer) -> Layer:
    """Return metres to the nearest side of a convex building's polygon, negative outside."""
    ring = np.asarray(building.polygon.exterior.coords)
    nearest = np.full(np.broadcast_shapes(x.shape, y.shape), np.inf, dtype=np.float32)
    sense = 1.0 if building.polygon.exterior.is_ccw else -1.0
    for (x0, y0), (x1, y1) in zip(ring[:-1], ring[1:], strict=True):
        length = max(math.hypot(x1 - x0, y1 - y0), 1e-9)
        side = sense * ((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) / length
        # Only where the foot of the perpendicular is on the side, so that an L keeps its inner corner.
        foot = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length
        nearest = np.where((foot >= -0.3) & (foot <= length + 0.3), np.minimum(nearest, np.abs(side)), nearest)
    return np.asarray(nearest, dtype=np.float32)
