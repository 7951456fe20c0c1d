"""Generation of a town: plan it, fill its blocks by their zones, paint it, and return the image with its truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import shapely
from affine import Affine
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.synthetic.estates import apartments, field, industry, park
from samgeo.synthetic.homes import courtyard, detached, mixed, terrace
from samgeo.synthetic.lot import Lot
from samgeo.synthetic.painting.canvas import CLASSES, SUB, Canvas, Sun, burn
from samgeo.synthetic.painting.ground import paint_fields, paint_ground, paint_river
from samgeo.synthetic.painting.light import expose
from samgeo.synthetic.painting.roofs import paint_roofs
from samgeo.synthetic.painting.traffic import paint_cars, paint_fences, paint_streets, populate
from samgeo.synthetic.painting.vegetation import paint_trees
from samgeo.synthetic.plan import Building, TownPlan, Tree
from samgeo.synthetic.scene import Scene
from samgeo.synthetic.streets import CityBlock, Site, lay_out

__all__ = ["furnish", "town"]


# The scene lies in the Cape Winelands, which have towns and vineyards. The sun is in the north there, so that shadows fall
# towards the bottom of the image, as viewers expect.
_CRS, _WEST, _NORTH = "EPSG:32734", 311_200.0, 6_243_800.0


@check_types
def town(shape: tuple[int, int] = (1024, 1024), seed: int = 0, *, resolution_m: float = 0.3) -> Scene:
    """Generate an overhead image of a town together with its truth.

    Curved streets divide the land into blocks of detached houses, terraces, closed courts, flats, halls and parks. There are
    fields where the town ends, and perhaps a river. The sun lights each roof plane by its slope, and everything that has a
    height casts a shadow. The same arguments give the same scene.

    Parameters
    ----------
    shape : (int, int), default (1024, 1024)
        Height and width in pixels.
    seed : int, default 0
        Seed of the town. Different seeds give different towns.
    resolution_m : float, default 0.3
        Side of a pixel on the ground in metres, from 0.05 to 2.

    Returns
    -------
    Scene
        In EPSG:32734 (UTM zone 34 south).

    Raises
    ------
    OptionError
        If the shape, the seed or the resolution is out of range.

    Examples
    --------
    >>> from samgeo.synthetic import town
    >>> scene = town((128, 128), seed=1)
    >>> scene.image.shape, len(scene.footprints) > 0
    ((128, 128, 3), True)
    """
    if min(shape) < 16:
        raise OptionError(f"shape is {tuple(shape)}; give at least 16 pixels for each side.")
    if seed < 0:
        raise OptionError(f"seed is {seed}; give 0 or more.")
    if not 0.05 <= resolution_m <= 2:
        raise OptionError(f"resolution_m is {resolution_m}; give a number from 0.05 to 2 metres.")
    plan, rng = _plan(shape, seed, resolution_m), np.random.default_rng([seed, 12])
    buildings, footprints, labels = _truth(plan.buildings, shape, resolution_m)
    sun = Sun.at(int(rng.integers(3, 9)), float(rng.uniform(44, 56)), east=bool(rng.random() < 0.6))
    canvas = Canvas.blank(shape, resolution_m, sun, rng)
    canvas.ids[:] = canvas.burn([building.polygon for building in buildings])
    paint_ground(canvas, plan)
    paint_fields(canvas, plan.fields, rng)
    paint_river(canvas, plan.river)
    paint_fences(canvas, plan, rng)
    paint_streets(canvas, plan.streets, rng)
    paint_cars(canvas, plan.cars, rng)
    paint_trees(canvas, plan.trees, rng)
    paint_roofs(canvas, buildings, rng)
    classes = canvas.classes[SUB // 2 :: SUB, SUB // 2 :: SUB].copy()
    # Classes are painted at half pixels, so a pixel may have the class of a roof although its centre is outside the footprint.
    # Such pixels become bare ground.
    classes[(classes == CLASSES.index("building")) & (labels == 0)] = CLASSES.index("other")
    classes[labels > 0] = CLASSES.index("building")
    return Scene(
        image=expose(canvas, rng),
        labels=labels,
        classes=classes,
        class_names=CLASSES,
        footprints=_frame(buildings, footprints, resolution_m),
        geobox=_geobox(shape, resolution_m),
    )


def _plan(shape: tuple[int, int], seed: int, resolution_m: float) -> TownPlan:
    """Plan a town: lay out the streets, furnish the blocks, then remove objects that overlap."""
    rng = np.random.default_rng([seed, 11])
    height, width = shape[0] * resolution_m, shape[1] * resolution_m
    plan, site = TownPlan(), Site.draw(width, height, rng)
    for block in lay_out(site, plan, rng):
        furnish(block, plan, rng)
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


def _truth(
    buildings: list[Building], shape: tuple[int, int], resolution_m: float
) -> tuple[list[Building], list[shapely.Geometry], NDArray[np.int32]]:
    """Return the buildings that cover a pixel centre, their outlines in pixels, clipped to the frame, and the label image."""
    frame = shapely.box(0, 0, shape[1], shape[0])
    outlines = [shapely.intersection(shapely.transform(one.polygon, lambda xy: xy / resolution_m), frame) for one in buildings]
    labels = burn(outlines, None, shape, 1.0)
    present = np.unique(labels[labels > 0])
    renumbered = np.zeros(len(buildings) + 1, dtype=np.int32)
    renumbered[present] = np.arange(1, len(present) + 1)
    chosen = (present - 1).tolist()
    return [buildings[at] for at in chosen], [outlines[at] for at in chosen], renumbered[labels]


def _geobox(shape: tuple[int, int], resolution_m: float) -> GeoBox:
    return GeoBox(shape, Affine.translation(_WEST, _NORTH) * Affine.scale(resolution_m, -resolution_m), _CRS)


def _frame(buildings: list[Building], outlines: list[shapely.Geometry], resolution_m: float) -> GeoDataFrame:
    origin, step = np.array([_WEST, _NORTH]), np.array([resolution_m, -resolution_m])
    columns = {
        "id": np.arange(1, len(buildings) + 1, dtype=np.int32),
        "roof": [one.wings[0].roof for one in buildings],
        "cover": [one.cover for one in buildings],
        "height_m": np.array([one.wings[0].eave_m for one in buildings], dtype=np.float64).round(2),
    }
    geometry = [shapely.transform(one, lambda xy: origin + xy * step) for one in outlines]
    return GeoDataFrame(columns, geometry=geometry, crs=_CRS)


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


def furnish(block: CityBlock, plan: TownPlan, rng: np.random.Generator) -> None:
    """Add buildings, ground, plants and cars of a block to the plan, by the zone of the block."""
    _ZONES[block.zone](Lot(block, plan, rng))
