"""The plan of a town before it is painted: buildings, streets, ground, trees and cars. Lengths are metres; y points down."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray

__all__ = ["Building", "Car", "Colour", "Field", "Street", "Surface", "TownPlan", "Tree", "Warp", "Wing", "rectangle"]

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Warp:
    """A smooth map from the straight plan (u, v) to ground coordinates (x, y), both in metres, which bends the streets.

    Attributes
    ----------
    centre : (float, float)
        The ground coordinates of (u, v) = (0, 0).
    angle : float
        Rotation of the plan in radians.
    swing : (float, float)
        Amplitude of the bends of streets along u and along v, in metres.
    wave : (float, float)
        Wavelength of these bends, in metres.
    phase : (float, float)
    """

    centre: tuple[float, float]
    angle: float
    swing: tuple[float, float]
    wave: tuple[float, float]
    phase: tuple[float, float]

    def __call__(self, u: NDArray[np.float64] | float, v: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Return x and y, shape (..., 2)."""
        tau = 2 * math.pi
        bent_u = u + self.swing[1] * np.sin(tau * np.asarray(v) / self.wave[1] + self.phase[1])
        bent_v = v + self.swing[0] * np.sin(tau * np.asarray(u) / self.wave[0] + self.phase[0])
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return np.stack([self.centre[0] + cos * bent_u - sin * bent_v, self.centre[1] + sin * bent_u + cos * bent_v], -1)

    def line(self, start: tuple[float, float], stop: tuple[float, float], step: float = 4.0) -> NDArray[np.float64]:
        """Return the points x, y on the ground of a straight line of the plan, shape (N, 2)."""
        count = max(int(math.dist(start, stop) / step), 1) + 1
        along = np.linspace(0, 1, count)
        return self(start[0] + along * (stop[0] - start[0]), start[1] + along * (stop[1] - start[1]))


@dataclass(frozen=True, slots=True)
class Wing:
    """A part of a building with its own roof.

    Attributes
    ----------
    centre : (float, float)
    along, across : (float, float)
        Half axes: from the centre to the middle of a gable end, and to the middle of an eave.
    roof : str
        ``gable``, ``hip``, ``shed`` or ``flat``.
    eave_m : float
        Height of the eaves above the ground.
    pitch : float
        Rise over run.
    """

    centre: tuple[float, float]
    along: tuple[float, float]
    across: tuple[float, float]
    roof: str
    eave_m: float
    pitch: float

    @property
    def half_size(self) -> tuple[float, float]:
        """Lengths of the half axes."""
        return math.hypot(*self.along), math.hypot(*self.across)

    @property
    def polygon(self) -> shapely.Polygon:
        """The parallelogram that the wing covers."""
        c, a, b = (np.array(one) for one in (self.centre, self.along, self.across))
        return shapely.Polygon([c - a - b, c + a - b, c + a + b, c - a + b])


@dataclass(frozen=True, slots=True)
class Building:
    """A building: outline of its roof, its wings, and material and colour of the roof."""

    polygon: shapely.Polygon
    wings: tuple[Wing, ...]
    cover: str
    colour: Colour


@dataclass(frozen=True, slots=True)
class Street:
    """A street with its centre line and width; ``kind`` is ``main``, ``street``, ``lane`` or ``track``."""

    line: shapely.LineString
    width: float
    kind: str

    def without(self, land: shapely.Geometry) -> list[Street]:
        """Return the parts of the street outside a polygon."""
        left = shapely.get_parts(shapely.difference(self.line, land))
        return [Street(part, self.width, self.kind) for part in left if part.length > self.width]


@dataclass(frozen=True, slots=True)
class Surface:
    """A piece of ground: ``lawn``, ``soil``, ``paved``, ``path``, ``pool``, ``pond``, ``pitch`` or ``bed``."""

    polygon: shapely.Geometry
    kind: str
    colour: Colour


@dataclass(frozen=True, slots=True)
class Field:
    """A field and its crop; ``row`` is the unit vector across the rows."""

    polygon: shapely.Polygon
    crop: str
    row: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Tree:
    """A crown: centre, radius, height of the top, and a number for its kind from 0 (broad) to 1 (conifer)."""

    x: float
    y: float
    radius: float
    height: float
    kind: float


@dataclass(frozen=True, slots=True)
class Car:
    """A parked or driving vehicle: centre, heading in radians, length."""

    x: float
    y: float
    heading: float
    length: float


@dataclass(frozen=True, slots=True)
class TownPlan:
    """All objects of a town, in the order in which they were planned."""

    streets: list[Street] = field(default_factory=list)
    surfaces: list[Surface] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)
    river: list[shapely.Polygon] = field(default_factory=list)
    hedges: list[shapely.LineString] = field(default_factory=list)
    walls: list[shapely.LineString] = field(default_factory=list)
    buildings: list[Building] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    cars: list[Car] = field(default_factory=list)


def rectangle(
    centre: NDArray[np.float64], along: NDArray[np.float64], half_length: float, half_width: float
) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
    """Return centre and half axes of a rectangle with this unit vector along its length."""
    a, across = along * half_length, np.array([-along[1], along[0]]) * half_width
    return (float(centre[0]), float(centre[1])), (float(a[0]), float(a[1])), (float(across[0]), float(across[1]))
