"""Painting of roof details: parapets, stair heads, tanks, solar panels, chimneys and windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from samgeo.synthetic.painting.planes import Layer, RoofPlanes
from samgeo.synthetic.plan import Building

__all__ = ["Roof", "fit_flat", "fit_pitched"]

_PANEL, _FRAME = (36, 46, 72), (112, 118, 130)
_TANKS = ((46, 48, 50), (206, 206, 202), (70, 104, 150))


@dataclass(frozen=True, slots=True, eq=False)
class Roof:
    """A window around one roof. It is painted separately and then copied to the canvas where the building is.

    Attributes
    ----------
    building : Building
    planes : RoofPlanes
    x, y : ndarray of float32, shapes (1, w) and (h, 1)
        Metres.
    colour : ndarray of float32, shape (h, w, 3)
    height, facing : ndarray of float32, shape (h, w)
    rng : Generator
    """

    building: Building
    planes: RoofPlanes
    x: Layer
    y: Layer
    colour: Layer
    height: Layer
    facing: Layer
    rng: np.random.Generator

    def put(self, where: NDArray[np.bool_], colour: Sequence[float] | NDArray[np.floating] | float, top: float) -> None:
        """Put a level object on the roof."""
        self.colour[where] = colour
        self.height[where] = top
        self.facing[where] = 1.0

    def like(self, share: float) -> NDArray[np.floating]:
        """Return the colour of the roof, scaled in brightness."""
        return np.clip(np.array(self.building.colour) * share, 0, 234)

    def between(self, low: float, high: float) -> float:
        """Draw a number from a range."""
        return float(self.rng.uniform(low, high))


def fit_flat(roof: Roof) -> None:
    """Add a parapet, and further objects that fit the size of the roof."""
    wing, s, t = roof.building.wings[0], roof.planes.along, roof.planes.down
    roof.put(_to_outline(roof) < 0.32, roof.like(1.1) + 8, wing.eave_m + 0.55)
    length, width = wing.half_size
    reach, room = (length - 1.6, width - 1.6), 4 * length * width
    if room < 30 or min(reach) < 0.5:
        return
    if room > 60 and roof.rng.random() < 0.55:
        # The stair head stands in a corner.
        at = [float(roof.rng.choice([-1, 1])) * max(one - 0.6, 0) for one in reach]
        roof.put((np.abs(s - at[0]) < 1.6) & (np.abs(t - at[1]) < 1.5), roof.like(roof.between(0.86, 1.14)), wing.eave_m + 2.4)
    if min(reach) > 1.6 and roof.rng.random() < 0.3:
        _panel_rows(roof, reach, wing.eave_m + 0.5)
    for _ in range(int(roof.rng.integers(0, 3 + int(room / 60)))):
        at = [roof.between(-one, one) for one in reach]
        if roof.rng.random() < 0.45:
            tank = np.hypot(s - at[0], t - at[1]) < roof.between(0.55, 0.8)
            roof.put(tank, _TANKS[int(roof.rng.integers(len(_TANKS)))], wing.eave_m + 1.4)
        else:
            box = (np.abs(s - at[0]) < roof.between(0.4, 1.1)) & (np.abs(t - at[1]) < roof.between(0.4, 0.8))
            roof.put(box, roof.between(120, 215), wing.eave_m + roof.between(0.5, 1.1))


def _panel_rows(roof: Roof, reach: tuple[float, float], top: float) -> None:
    """Put rows of solar panels on a part of a flat roof."""
    s, t = roof.planes.along, roof.planes.down
    s0, t0 = -reach[0] * roof.between(0.2, 0.9), -reach[1] * roof.between(0.5, 0.9)
    s1, t1 = reach[0] * roof.between(0.1, 0.8), reach[1] * roof.between(0.3, 0.8)
    rows = (s > s0) & (s < s1) & (t > t0) & (t < t1) & ((t - t0) % 2.4 < 1.6)
    frame = ((s - s0) % 1.0 < 0.12) | ((t - t0) % 2.4 < 0.12)
    roof.put(rows, np.where(frame[rows][:, None], _FRAME, _PANEL), top)


def fit_pitched(roof: Roof) -> None:
    """Put chimneys, windows and solar panels on tiled roofs, and strips of skylights on the metal roofs of halls."""
    wing = roof.building.wings[int(roof.rng.integers(len(roof.building.wings)))]
    planes = RoofPlanes.of_wing(wing, roof.x, roof.y)
    seen = (planes.rim > 0) & (planes.height >= roof.planes.height - 0.02)
    length, width = wing.half_size
    if roof.building.cover == "metal":
        if width > 5 and roof.rng.random() < 0.6:
            strips = (np.abs(planes.along % 6.0 - 3.0) < 0.5) & (planes.down > 1.0) & (planes.down < width - 1.0)
            roof.colour[seen & strips] = (206, 212, 212)
        return
    if length > 3.5 and width > 2.8 and roof.rng.random() < 0.13:
        # Panels are on the side that faces the sun, in rows below the ridge.
        span, end = roof.between(1.4, length - 1.4), min(3.9, width - 0.6)
        array = seen & (roof.facing > 1) & (np.abs(planes.along) < span) & (planes.down > 0.7) & (planes.down < end)
        frame = (planes.along % 1.05 < 0.12) | ((planes.down - 0.7) % 1.6 < 0.12)
        roof.colour[array] = np.where(frame[array][:, None], _FRAME, _PANEL)
    if roof.rng.random() < 0.55:
        at, below = roof.between(-0.7, 0.7) * length, roof.between(0.3, 0.9)
        side = seen & (roof.facing < 1) if roof.rng.random() < 0.5 else seen & (roof.facing > 1)
        stack = side & (np.abs(planes.along - at) < 0.45) & (np.abs(planes.down - below) < 0.4)
        roof.put(
            stack, (142, 96, 80) if roof.building.cover == "tile" else (120, 112, 108), wing.eave_m + wing.pitch * width + 0.9
        )
    for _ in range(int(roof.rng.integers(0, 3))):
        at, below = roof.between(-0.8, 0.8) * length, roof.between(0.35, 0.6) * width
        roof.colour[seen & (np.abs(planes.along - at) < 0.4) & (np.abs(planes.down - below) < 0.5)] = (62, 70, 80)


def _to_outline(roof: Roof) -> Layer:
    """Return the distance to the nearest side of the building in metres."""
    nearest = np.full(roof.height.shape, np.inf, dtype=np.float32)
    for (x0, y0), (x1, y1) in pairwise(roof.building.polygon.exterior.coords):
        square = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-12)
        share = np.clip(((roof.x - x0) * (x1 - x0) + (roof.y - y0) * (y1 - y0)) / square, 0, 1)
        np.minimum(nearest, np.hypot(roof.x - x0 - share * (x1 - x0), roof.y - y0 - share * (y1 - y0)), out=nearest)
    return nearest
