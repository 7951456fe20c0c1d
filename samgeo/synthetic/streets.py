"""Streets that divide a town into blocks, and the zone (the use) of each block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.synthetic.plan import Street, TownPlan, Warp

__all__ = ["CityBlock", "Site", "lay_out"]

# Width in metres and kind of the street that each successive cut makes. All later cuts use the last entry.
_CUTS = ((11.0, "main"), (8.0, "street"), (7.0, "street"), (6.0, "street"), (5.0, "lane"))
_MARGIN_M = 45.0  # around the frame, so that shadows and crowns reach in from outside

_CENTRE = {"courtyard": 0.36, "terrace": 0.32, "mixed": 0.16, "apartments": 0.06, "park": 0.1}
_TOWN = {"detached": 0.46, "terrace": 0.2, "mixed": 0.16, "apartments": 0.08, "park": 0.05, "industry": 0.05}
_LARGE = {"industry": 0.5, "apartments": 0.25, "park": 0.25}


@dataclass(frozen=True, slots=True)
class Site:
    """The site of a town: size of its frame in metres, map that bends its streets, and unit vector towards its fields."""

    width: float
    height: float
    warp: Warp
    outward: tuple[float, float]

    @classmethod
    def draw(cls, width: float, height: float, rng: np.random.Generator) -> Site:
        """Draw a site at random."""
        # The main crossing is near the middle. In small scenes it is moved aside, because it would fill the image.
        aside = rng.choice([-28.0, 28.0], 2) if min(width, height) < 120 else np.zeros(2)
        warp = Warp(
            centre=(width * rng.uniform(0.42, 0.58) + aside[0], height * rng.uniform(0.42, 0.58) + aside[1]),
            angle=float(rng.uniform(-0.6, 0.6)),
            swing=(float(rng.uniform(6, 13)), float(rng.uniform(4, 10))),
            wave=(float(rng.uniform(230, 380)), float(rng.uniform(230, 380))),
            phase=(float(rng.uniform(0, 6.3)), float(rng.uniform(0, 6.3))),
        )
        way = rng.uniform(0, 2 * math.pi)
        return cls(width, height, warp, (math.cos(way), math.sin(way)))

    @property
    def frame(self) -> shapely.Polygon:
        """The outline of the image."""
        return shapely.box(0, 0, self.width, self.height)

    def outwards(self, x: float, y: float) -> float:
        """Return how far a point lies towards the fields: about 0 in the middle and 1 at the frame."""
        dx, dy = x - self.width / 2, y - self.height / 2
        reach = (abs(self.outward[0]) * self.width + abs(self.outward[1]) * self.height) / 2
        ahead = dx * self.outward[0] + dy * self.outward[1]
        return ahead / reach + 0.12 * math.sin((dy * self.outward[0] - dx * self.outward[1]) / 45)

    def is_country(self, x: float, y: float) -> bool:
        """Whether a point lies outside the built-up area."""
        return self.outwards(x, y) > 0.5 and math.hypot(x - self.width / 2, y - self.height / 2) > 70


@dataclass(frozen=True, slots=True)
class CityBlock:
    """A block of land between streets: a rectangle of the straight plan with its own coordinates (a, b).

    Attributes
    ----------
    warp : Warp
    origin : (float, float)
        The corner (u, v) where a = b = 0.
    length, depth : float
        Long side (a) and short side (b).
    turned : bool
        Whether a runs along v.
    zone : str
    """

    warp: Warp
    origin: tuple[float, float]
    length: float
    depth: float
    turned: bool
    zone: str

    def at(self, a: NDArray[np.float64] | float, b: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Return the ground coordinates x, y of points (a, b) of the block, shape (..., 2)."""
        du, dv = (b, a) if self.turned else (a, b)
        return self.warp(np.asarray(self.origin[0] + du), np.asarray(self.origin[1] + dv))

    def along(self, a: float, b: float) -> NDArray[np.float64]:
        """Return the unit vector along the long side of the block at a point (a, b)."""
        step = self.at(a + 0.5, b) - self.at(a - 0.5, b)
        return np.asarray(step / np.hypot(*step))

    def inwards(self, a: float, b: float) -> NDArray[np.float64]:
        """Return the unit vector perpendicular to `along`, in the direction of growing b."""
        ahead, across = self.along(a, b), self.at(a, b + 0.5) - self.at(a, b - 0.5)
        square = np.array([-ahead[1], ahead[0]])
        return square * math.copysign(1.0, float(square @ across))

    def line(self, start: tuple[float, float], stop: tuple[float, float]) -> shapely.LineString:
        """Return the line on the ground of a straight line in block coordinates."""
        (a0, b0), (a1, b1) = start, stop
        count = max(int(math.hypot(a1 - a0, b1 - b0) / 4), 1) + 1
        t = np.linspace(0, 1, count)
        return shapely.LineString(self.at(a0 + t * (a1 - a0), b0 + t * (b1 - b0)))

    def polygon(self, a0: float, b0: float, a1: float, b1: float) -> shapely.Polygon:
        """Return the polygon on the ground of a rectangle in block coordinates."""
        across, along = (np.linspace(0, 1, max(int(abs(side) / 4), 1), endpoint=False) for side in (b1 - b0, a1 - a0))
        a = np.concatenate([a0 + (a1 - a0) * along, np.full(len(across), a1), a1 - (a1 - a0) * along, np.full(len(across), a0)])
        b = np.concatenate([np.full(len(along), b0), b0 + (b1 - b0) * across, np.full(len(along), b1), b1 - (b1 - b0) * across])
        return shapely.Polygon(self.at(a, b))

    @property
    def outline(self) -> shapely.Polygon:
        """The outline of the block on the ground."""
        return self.polygon(0, 0, self.length, self.depth)


def lay_out(site: Site, plan: TownPlan, rng: np.random.Generator) -> list[CityBlock]:
    """Divide the site into blocks, and add the streets between them to the plan."""
    reach = math.hypot(site.width, site.height) / 2 + _MARGIN_M + 40
    seen = site.frame.buffer(_MARGIN_M)
    cut = _cut(site, plan, rng, (-reach, -reach, reach, reach), 0)
    blocks = [block for block in cut if block.depth > 6 and block.outline.intersects(seen)]
    plan.streets.sort(key=lambda street: street.width)
    return blocks


def _cut(
    site: Site, plan: TownPlan, rng: np.random.Generator, rect: tuple[float, float, float, float], depth: int
) -> Iterator[CityBlock]:
    """Divide a rectangle until each part is a block. Half of the street width was already removed from its sides."""
    u0, v0, u1, v1 = rect
    place = site.warp((u0 + u1) / 2, (v0 + v1) / 2)
    long, short = max(u1 - u0, v1 - v0), min(u1 - u0, v1 - v0)
    country = site.is_country(float(place[0]), float(place[1]))
    zone = _zone(site, rng, place, (long, short), country=country)
    if zone:
        turned = v1 - v0 > u1 - u0
        yield CityBlock(site.warp, (u0, v0), long, short, turned, zone)
        return
    along_u = u1 - u0 >= v1 - v0
    if not country and long < 105:  # the long side is a block's already
        along_u = not along_u
    width, kind = (4.0, "track") if country and depth > 3 else _CUTS[min(depth, len(_CUTS) - 1)]
    low, high = (u0, u1) if along_u else (v0, v1)
    at = low + (high - low) * rng.uniform(0.4, 0.6)
    if depth == 0:
        at = rng.uniform(-25, 25)
    ends = ((at, v0), (at, v1)) if along_u else ((u0, at), (u1, at))
    plan.streets.append(Street(shapely.LineString(site.warp.line(*ends)), width, kind))
    verge = width / 2 + (2.0 if kind in ("main", "street") else 0.6)
    first = (u0, v0, at - verge, v1) if along_u else (u0, v0, u1, at - verge)
    second = (at + verge, v0, u1, v1) if along_u else (u0, at + verge, u1, v1)
    yield from _cut(site, plan, rng, first, depth + 1)
    yield from _cut(site, plan, rng, second, depth + 1)


def _zone(
    site: Site, rng: np.random.Generator, place: NDArray[np.float64], sides: tuple[float, float], *, country: bool
) -> str | None:
    """Return the zone of a rectangle, or nothing if it must be divided further."""
    long, short = sides
    if country:
        return "field" if long < rng.uniform(85, 150) or short < 45 else None
    if long < 105 and short < 80 and short > 48 and rng.random() < 0.2:
        return _choice(rng, _LARGE)
    if long >= 105 or short >= rng.uniform(44, 60):
        return None
    centred = math.hypot(place[0] / site.width - 0.5, place[1] / site.height - 0.5) < 0.22
    return _choice(rng, _CENTRE if centred else _TOWN)


def _choice(rng: np.random.Generator, shares: dict[str, float]) -> str:
    return str(rng.choice(list(shares), p=np.array(list(shares.values()))))
