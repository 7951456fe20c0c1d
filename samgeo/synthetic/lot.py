"""Helper that places buildings, ground, plants and cars in a block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.synthetic.plan import Building, Car, Colour, Surface, TownPlan, Tree, rectangle
from samgeo.synthetic.streets import CityBlock

__all__ = ["LAWN", "PAVED", "SOIL", "Lot"]

LAWN: tuple[Colour, ...] = ((104, 118, 68), (92, 110, 62), (84, 104, 58), (120, 124, 78), (132, 130, 88), (146, 138, 100))
SOIL: tuple[Colour, ...] = ((168, 146, 116), (156, 134, 106), (178, 158, 128), (148, 130, 106))
PAVED: tuple[Colour, ...] = ((158, 152, 144), (144, 140, 134), (172, 164, 152), (150, 138, 126), (134, 132, 130))


@dataclass(frozen=True, slots=True)
class Lot:
    """A block, the plan that it belongs to, and a random generator. Points are given in block coordinates (a, b)."""

    block: CityBlock
    plan: TownPlan
    rng: np.random.Generator

    @property
    def length(self) -> float:
        """Long side of the block in metres."""
        return self.block.length

    @property
    def depth(self) -> float:
        """Short side of the block in metres."""
        return self.block.depth

    def chance(self, share: float) -> bool:
        """Return True with this probability."""
        return bool(self.rng.random() < share)

    def between(self, low: float, high: float) -> float:
        """Draw a number between two numbers, which may be in either order."""
        return low + (high - low) * float(self.rng.random())

    def one_of(self, **shares: float) -> str:
        """Draw one of the names with probabilities proportional to the shares."""
        return str(self.rng.choice(list(shares), p=np.array(list(shares.values()))))

    def colour(self, colours: tuple[Colour, ...], vary: float = 5.0) -> Colour:
        """Draw one of the colours, and vary it at random, in brightness more than in hue."""
        base = np.array(colours[int(self.rng.integers(len(colours)))])
        red, green, blue = base + self.rng.normal(0, vary) + self.rng.normal(0, vary / 3, 3)
        return float(red), float(green), float(blue)

    def cuts(self, length: float, low: float, high: float) -> NDArray[np.float64]:
        """Divide a length into pieces of similar size, drawn from a range; return the boundaries of the pieces."""
        count = max(round(length / self.between(low, high)), 1)
        pieces = self.rng.uniform(0.8, 1.2, count)
        return np.concatenate([[0.0], np.cumsum(pieces / pieces.sum() * length)])

    def rows(self, two_from: float) -> list[tuple[float, float]]:
        """Return (front, back) of one row of plots, or of two rows that stand back to back."""
        if self.depth < two_from:
            return [(0.0, self.depth) if self.chance(0.5) else (self.depth, 0.0)]
        middle = self.depth * self.between(0.46, 0.54)
        return [(0.0, middle), (self.depth, middle)]

    def cover(self, shape: shapely.Geometry, kind: str, colour: Colour) -> None:
        """Add a surface of a kind and a colour to the ground."""
        self.plan.surfaces.append(Surface(shape, kind, colour))

    def strip(self, a: tuple[float, float], b: tuple[float, float], kind: str, colours: tuple[Colour, ...]) -> None:
        """Add a surface on a rectangle of the block."""
        (a0, a1), (b0, b1) = sorted(a), sorted(b)
        self.cover(self.block.polygon(a0, b0, a1, b1), kind, self.colour(colours))

    def box(self, a: float, b: float, half_length: float, half_width: float) -> shapely.Polygon:
        """Return an exact rectangle around a point, aligned with the block there."""
        parts = rectangle(self.block.at(a, b), self.block.along(a, b), half_length, half_width)
        middle, along, across = (np.array(one) for one in parts)
        return shapely.Polygon(
            [middle - along - across, middle + along - across, middle + along + across, middle - along + across]
        )

    def quadrilateral(self, a: tuple[float, float], b: tuple[float, float]) -> NDArray[np.float64]:
        """Return the corners (front, front, back, back) of a building between walls; equal points give equal corners."""
        return self.block.at(np.array([a[0], a[1], a[1], a[0]]), np.array([b[0], b[0], b[1], b[1]]))

    def build(self, building: Building) -> None:
        """Add a building."""
        self.plan.buildings.append(building)

    def fence(self, start: tuple[float, float], stop: tuple[float, float], hedges: float) -> None:
        """Put a hedge or a wall on a line."""
        (self.plan.hedges if self.chance(hedges) else self.plan.walls).append(self.block.line(start, stop))

    def tree(self, a: float, b: float, radius: tuple[float, float], kind: float | None = None) -> None:
        """Plant a tree of a radius from a range."""
        (x, y), size = self.block.at(a, b), self.between(*radius)
        chosen = float(self.rng.random()) if kind is None else kind
        self.plan.trees.append(Tree(float(x), float(y), size, size * self.between(1.5, 2.3), chosen))

    def trees(self, count: int, a: tuple[float, float], b: tuple[float, float], radius: tuple[float, float]) -> None:
        """Plant trees anywhere in a rectangle."""
        for _ in range(count):
            self.tree(self.between(*a), self.between(*b), radius)

    def car(self, a: float, b: float, *, across: bool) -> None:
        """Park a car along the block or across it."""
        x, y = self.block.at(a, b)
        way: NDArray[Any] = self.block.inwards(a, b) if across else self.block.along(a, b)
        heading = math.atan2(way[1], way[0]) + float(self.rng.normal(0, 0.03))
        self.plan.cars.append(Car(float(x), float(y), heading, self.between(3.9, 4.8)))

    def car_park(self, a: tuple[float, float], b: float) -> None:
        """Lay out a row of parking bays."""
        self.strip(a, (b - 3.4, b + 4.5), "paved", ((112, 112, 112),))
        for place in np.arange(a[0] + 1.6, a[1] - 1.2, 2.7):
            if self.chance(0.6):
                self.car(float(place), b + 1.6, across=True)
