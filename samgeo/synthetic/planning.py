"""Planning of a town: streets, blocks furnished by their zones, perhaps a river; objects that overlap are removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import shapely

from samgeo.synthetic.estates import apartments, field, industry, park
from samgeo.synthetic.homes import courtyard, detached, mixed, terrace
from samgeo.synthetic.lot import Lot
from samgeo.synthetic.painting.traffic import populate
from samgeo.synthetic.plan import Building, TownPlan, Tree
from samgeo.synthetic.streets import CityBlock, Site, lay_out

__all__ = ["plan_town"]


def plan_town(shape: tuple[int, int], seed: int, resolution_m: float) -> TownPlan:
    """Plan a town: lay out the streets, furnish the blocks, then remove objects that overlap."""
    rng = np.random.default_rng([seed, 11])
    height, width = shape[0] * resolution_m, shape[1] * resolution_m
    plan, site = TownPlan(), Site.draw(width, height, rng)
    for block in lay_out(site, plan, rng):
        _furnish(block, plan, rng)
    populate(plan, rng)
    if min(width, height) > 200 and rng.random() < 0.6:
        _flood(plan, site, rng)
    _thin(plan, site)
    return plan


def _flood(plan: TownPlan, site: Site, rng: np.random.Generator) -> None:
    """Add a river at the side of the town away from the fields; only wide streets cross it."""
    reach = site.width + site.height
    ox, oy = site.outward
    along = np.linspace(-reach, reach, 200)
    depth = (abs(ox) * site.width + abs(oy) * site.height) / 2
    offset = -depth * rng.uniform(0.45, 0.62)
    bend = offset + 14 * np.sin(along / rng.uniform(38, 55) + rng.uniform(0, 6)) + 7 * np.sin(along / 19 + rng.uniform(0, 6))
    line = shapely.LineString(
        np.stack([site.width / 2 + ox * bend - oy * along, site.height / 2 + oy * bend + ox * along], axis=1)
    )
    half = float(rng.uniform(6.5, 10))
    plan.river.extend(line.buffer(half + extra) for extra in (5.0, 1.4, 0.0, -2.0))
    valley, water = plan.river[0].buffer(2.0), plan.river[1]
    shapely.prepare([valley, water])
    plan.buildings[:] = [one for one in plan.buildings if not valley.intersects(one.polygon)]
    plan.streets[:] = [
        part for street in plan.streets for part in ([street] if street.width > 7.5 else street.without(plan.river[0]))
    ]
    plan.hedges[:] = [one for one in plan.hedges if not water.intersects(one)]
    plan.walls[:] = [one for one in plan.walls if not valley.intersects(one)]
    plan.cars[:] = [one for one in plan.cars if not shapely.contains_xy(valley, one.x, one.y)]
    plan.trees[:] = [one for one in plan.trees if not shapely.contains_xy(water, one.x, one.y)]
    for x, y in shapely.get_coordinates(valley.exterior.segmentize(4.0)):
        size = float(rng.uniform(1.6, 4.2))
        if rng.random() < 0.4:
            place = float(x + rng.normal(0, 1)), float(y + rng.normal(0, 1))
            plan.trees.append(Tree(*place, size, size * 1.9, float(rng.random() * 0.8)))


def _thin(plan: TownPlan, site: Site) -> None:
    """Remove overlaps of buildings, cars under roofs or on other cars, and trees in houses or on roads."""
    seen = site.frame.buffer(30)
    plan.buildings[:] = [one for one in plan.buildings if one.polygon.is_valid and one.polygon.intersects(seen)]
    plan.buildings[:] = _apart(plan.buildings)
    built = shapely.union_all([one.polygon for one in plan.buildings])
    tarred = shapely.union_all([one.line.buffer(one.width / 2 - 0.3) for one in plan.streets])
    shapely.prepare([built, tarred])
    near_roofs = built.buffer(1.3)
    shapely.prepare(near_roofs)
    plan.trees[:] = [
        one for one in plan.trees
        if not shapely.contains_xy(built, one.x, one.y) and not shapely.contains_xy(tarred, one.x, one.y)
    ]  # fmt: skip
    kept: dict[tuple[int, int], bool] = {}
    cars = []
    for car in plan.cars:
        cell = round(car.x / 2.6), round(car.y / 2.6)
        if cell not in kept and not shapely.contains_xy(near_roofs, car.x, car.y):
            kept[cell] = True
            cars.append(car)
    plan.cars[:] = cars


def _apart(buildings: list[Building]) -> list[Building]:
    """Separate buildings: where two overlap, the later one is cut, or removed if 20 % or more of it would be lost."""
    outlines = [one.polygon for one in buildings]
    first, second = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    kept: dict[int, Building] = {}
    neighbours: dict[int, list[int]] = {}
    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        if one < other:
            neighbours.setdefault(other, []).append(one)
    for number, building in enumerate(buildings):
        others = [kept[one].polygon for one in sorted(neighbours.get(number, [])) if one in kept]
        left = shapely.difference(building.polygon, shapely.union_all(others)) if others else building.polygon
        # Only the largest part is kept; slivers behind a neighbour are removed.
        whole = max(shapely.get_parts(left), key=shapely.area, default=left)
        if isinstance(whole, shapely.Polygon) and whole.area > 0.8 * building.polygon.area:
            kept[number] = replace(building, polygon=whole)
    return list(kept.values())


_ZONES: dict[str, Callable[[Lot], None]] = {
    "apartments": apartments,
    "courtyard": courtyard,
    "detached": detached,
    "field": field,
    "industry": industry,
    "mixed": mixed,
    "park": park,
    "terrace": terrace,
}


def _furnish(block: CityBlock, plan: TownPlan, rng: np.random.Generator) -> None:
    """Add buildings, ground, plants and cars of a block to the plan, by the zone of the block."""
    _ZONES[block.zone](Lot(block, plan, rng))
