"""Geometry of roof planes at every sub-pixel."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from samgeo.synthetic.plan import Building, Wing

__all__ = ["Layer", "RoofPlanes"]

Layer = NDArray[np.float32]
_FAR = 9.0  # distance in metres that stands for "there is no such edge"


@dataclass(frozen=True, slots=True, eq=False)
class RoofPlanes:
    """A roof over a window of the canvas.

    Attributes
    ----------
    height : ndarray of float32, shape (h, w)
        Metres above the ground.
    slope_x, slope_y : ndarray of float32, shape (h, w)
        Gradient of the height.
    along, down : ndarray of float32, shape (h, w)
        Metres along the eaves from the wing's middle, and from the ridge down; on flat roofs, metres along both axes.
    gable, ridge : ndarray of float32, shape (h, w)
        Metres to the next gable end, and to the next ridge or hip.
    rim : ndarray of float32, shape (h, w)
        Metres to the wing's outline, negative outside.
    """

    height: Layer
    slope_x: Layer
    slope_y: Layer
    along: Layer
    down: Layer
    gable: Layer
    ridge: Layer
    rim: Layer

    @classmethod
    def of(cls, building: Building, x: Layer, y: Layer) -> RoofPlanes:
        """Return a building's roof: the highest of its wings' roofs, which meet in valleys."""
        return reduce(_higher, (cls.of_wing(wing, x, y) for wing in building.wings))

    @classmethod
    def of_wing(cls, wing: Wing, x: Layer, y: Layer) -> RoofPlanes:
        """Return the roof of one wing, continued outside the wing."""
        length, width = wing.half_size
        to_s, to_t = np.linalg.inv(np.stack([wing.along, wing.across], axis=1)).astype(np.float32)
        dx, dy = x - np.float32(wing.centre[0]), y - np.float32(wing.centre[1])
        s, t = to_s[0] * dx + to_s[1] * dy, to_t[0] * dx + to_t[1] * dy
        end, eave = (1 - np.abs(s)) * length, (1 - np.abs(t)) * width
        rim, far = np.minimum(end, eave), np.full_like(s, _FAR)
        if wing.roof == "flat":
            return cls._of(np.full_like(s, wing.eave_m), 0 * s, 0 * s, s * length, t * width, far, far, rim)
        if wing.roof == "shed":
            rise, slope = (1 + t) * width, to_t * (width * wing.pitch)
            height = wing.eave_m + wing.pitch * rise
            return cls._of(height, far * 0 + slope[0], far * 0 + slope[1], s * length, 2 * width - rise, end, far, rim)
        on_end = end < eave if wing.roof == "hip" else np.zeros(s.shape, dtype=bool)
        rise = np.where(on_end, end, eave)
        hip = np.abs(end - eave) if wing.roof == "hip" else far
        slopes = (
            np.where(on_end, -np.sign(s) * (to_s[axis] * length), -np.sign(t) * (to_t[axis] * width)) * wing.pitch
            for axis in (0, 1)
        )
        return cls._of(
            wing.eave_m + wing.pitch * np.maximum(rise, 0),
            *slopes,
            np.where(on_end, t * width, s * length),
            width - rise,
            far if wing.roof == "hip" else end,
            np.minimum(np.where(on_end, far, np.abs(t) * width), hip),
            rim,
        )

    @classmethod
    def _of(cls, *layers: NDArray[np.floating]) -> RoofPlanes:
        return cls(*(np.asarray(layer, dtype=np.float32) for layer in layers))


def _higher(one: RoofPlanes, other: RoofPlanes) -> RoofPlanes:
    # A roof counts only inside its wing, with a margin of about a sub-pixel.
    heights = (np.where(planes.rim > -0.1, planes.height, -1) for planes in (one, other))
    first = np.greater_equal(*heights)
    return RoofPlanes(*(np.where(first, getattr(one, name.name), getattr(other, name.name)) for name in fields(RoofPlanes)))
