"""Painting of streets: asphalt, pavements, markings, hedges and walls along plots, and cars."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import shapely
from shapely.ops import substring

from samgeo.synthetic.painting.canvas import CLASSES, Canvas, Streams
from samgeo.synthetic.plan import Car, Street, TownPlan, Tree

__all__ = ["paint_cars", "paint_fences", "paint_streets", "populate"]

_ASPHALT = {"main": (104, 104, 106), "street": (118, 117, 116), "lane": (134, 131, 126), "track": (170, 150, 120)}
_PAVEMENT = (162, 157, 148)
_MARK = (212, 212, 204)
_PAINTS = (
    (222, 222, 220), (198, 200, 202), (128, 130, 134), (54, 56, 60), (40, 42, 48), (150, 44, 40), (52, 74, 118),
    (176, 168, 150), (96, 104, 100), (214, 210, 200),
)  # fmt: skip


def populate(plan: TownPlan, rng: np.random.Generator) -> None:
    """Put cars and trees along the streets."""
    for street in plan.streets:
        if street.kind == "track":
            continue
        _drive(plan, street, rng)
        if street.kind != "lane" and rng.random() < 0.65:
            _plant(plan, street, rng)


def _drive(plan: TownPlan, street: Street, rng: np.random.Generator) -> None:
    # Cars drive on main streets; on other streets they are parked.
    share, offset = (0.16, 2.3) if street.kind == "main" else (0.17, street.width / 2 - 1.05)
    for at in np.arange(6.0, street.line.length - 6.0, 6.2):
        place, way = _on(street.line, at)
        heading, square = math.atan2(way[1], way[0]), np.array([-way[1], way[0]])
        for side in (-1, 1):
            if rng.random() < share:
                x, y = place + square * side * offset
                plan.cars.append(Car(float(x), float(y), heading, float(rng.uniform(3.9, 4.9))))


def _plant(plan: TownPlan, street: Street, rng: np.random.Generator) -> None:
    size = rng.uniform(1.5, 2.8)
    for at in np.arange(4.0, street.line.length, rng.uniform(9, 14)):
        place, way = _on(street.line, at + rng.uniform(-1, 1))
        for side in (-1, 1):
            x, y = place + np.array([-way[1], way[0]]) * side * (street.width / 2 + 1.3)
            if rng.random() < 0.75:
                plan.trees.append(Tree(float(x), float(y), float(size * rng.uniform(0.8, 1.2)), 6.0, 0.1))


def paint_streets(canvas: Canvas, streets: list[Street], streams: Streams) -> None:
    """Paint pavements, then carriageways with the wide ones on top, then markings."""
    paved = [one.line.buffer(one.width / 2 + 1.7, cap_style="flat") for one in streets if one.kind in ("main", "street")]
    pavement = canvas.burn(paved) > 0
    tone = 1 + 0.03 * canvas.grain[0] + 0.03 * canvas.grain[2] + 0.03 * canvas.grain[3]
    canvas.colour[pavement] = tone[pavement, None] * np.array(_PAVEMENT, np.float32)
    canvas.classes[pavement] = CLASSES.index("other")
    canvas.height[pavement] = 0.0
    carriageways = [one.line.buffer(one.width / 2, cap_style="square") for one in streets]
    index = canvas.burn(carriageways)
    shades = [streams.of("street", number).normal(1, 0.05) for number in range(len(streets))]
    asphalt = (np.array(_ASPHALT[one.kind]) * shade for one, shade in zip(streets, shades, strict=True))
    colours = np.array([(0, 0, 0), *asphalt], np.float32)
    on = index > 0
    patched = np.clip(canvas.grain[2] * 0.8 + canvas.grain[3] * 0.6 - 1.3, 0, 1)
    rough = np.array([0, *(0.09 if one.kind == "track" else 0.035 for one in streets)], np.float32)[index]
    tone = (
        1 + rough * (canvas.grain[0] + 0.6 * canvas.grain[1] + 0.8 * canvas.grain[2]) + 0.03 * canvas.grain[3] - 0.16 * patched
    )
    canvas.colour[on] = colours[index[on]] * tone[on, None]
    canvas.classes[on] = CLASSES.index("road")
    canvas.height[on] = 0.0
    marks = canvas.burn(list(_markings(streets, carriageways))) > 0
    worn = marks & on & (canvas.grain[1] + canvas.grain[0] > -1.2)
    canvas.colour[worn] = 0.3 * canvas.colour[worn] + 0.7 * np.array(_MARK, np.float32)


def _markings(streets: list[Street], carriageways: list[shapely.Polygon]) -> Iterator[shapely.Geometry]:
    tree = shapely.STRtree(carriageways)
    for number, street in enumerate(streets):
        if street.kind not in ("main", "street"):
            continue
        others = [carriageways[other] for other in tree.query(street.line) if other != number]
        crossing = shapely.union_all(others).buffer(4.5 if street.kind == "main" else 1.0)
        lines: list[shapely.Geometry] = [street.line]
        if street.kind == "main":
            lines += [street.line.offset_curve(side * (street.width / 2 - 0.35)) for side in (-1, 1)]
        for lane, line in enumerate(lines):
            free = shapely.difference(line, crossing)
            for part in shapely.get_parts(free):
                yield from _dashes(part) if lane == 0 else (part.buffer(0.11, cap_style="flat"),)
        if street.kind == "main":
            wide = [carriageways[other] for other in tree.query(street.line) if streets[other].kind == "street"]
            yield from _zebras(street, shapely.union_all(wide).buffer(street.width / 2 + 1.0))


def _dashes(line: shapely.LineString) -> Iterator[shapely.Geometry]:
    for start in np.arange(0.0, max(line.length - 3.0, 0.0), 7.0):
        yield substring(line, start, start + 3.0).buffer(0.13, cap_style="flat")


def _zebras(street: Street, junctions: shapely.Geometry) -> Iterator[shapely.Geometry]:
    """Yield the stripes of the crossings beside each junction."""
    for part in shapely.get_parts(shapely.intersection(street.line, junctions)):
        ends = shapely.get_coordinates(part)
        if len(ends) < 2:
            continue
        for end, inner in ((ends[0], ends[1]), (ends[-1], ends[-2])):
            way = (end - inner) / max(float(np.hypot(*(end - inner))), 1e-9)
            square = np.array([-way[1], way[0]])
            for offset in np.arange(-street.width / 2 + 0.7, street.width / 2 - 0.4, 1.0):
                start = end + square * offset
                yield shapely.LineString([start, start + way * 2.8]).buffer(0.26, cap_style="flat")


def paint_fences(canvas: Canvas, plan: TownPlan, streams: Streams) -> None:
    """Paint hedges and garden walls; both are high enough to cast shadows."""
    widths = [float(streams.of("fence", number).uniform(0.4, 0.75)) for number in range(len(plan.hedges))]
    hedge = canvas.burn([line.buffer(width, cap_style="flat") for line, width in zip(plan.hedges, widths, strict=True)]) > 0
    hedge &= canvas.classes != CLASSES.index("road")
    leaves = 1 + 0.16 * canvas.grain[0] + 0.14 * canvas.grain[1] + 0.08 * canvas.grain[2]
    canvas.colour[hedge] = leaves[hedge, None] * np.array((70, 86, 48), np.float32)
    canvas.height[hedge] = 1.3 + 0.25 * canvas.grain[1][hedge]
    canvas.classes[hedge] = CLASSES.index("tree")
    wall = canvas.burn([line.buffer(0.14, cap_style="flat") for line in plan.walls]) > 0
    wall &= canvas.classes != CLASSES.index("road")
    canvas.colour[wall] = (178, 170, 158)
    canvas.height[wall] = 1.5
    canvas.classes[wall] = CLASSES.index("other")


def paint_cars(canvas: Canvas, cars: Mapping[int, Car], streams: Streams) -> None:
    """Paint cars by their numbers: body, glass, roof."""
    for number, car in cars.items():
        rng = streams.of("car", number)
        paint = np.array(_PAINTS[int(rng.integers(len(_PAINTS)))], np.float32) * float(rng.normal(1, 0.05))
        half, side = car.length / 2, 0.9
        window = canvas.window((car.x - 3, car.y - 3, car.x + 3, car.y + 3), 0)
        x, y = canvas.metres(window)
        cos, sin = math.cos(car.heading), math.sin(car.heading)
        s, t = (x - car.x) * cos + (y - car.y) * sin, (y - car.y) * cos - (x - car.x) * sin
        # The body has rounded corners with a radius of 0.4 m.
        body = np.hypot(np.maximum(np.abs(s) - half + 0.4, 0), np.maximum(np.abs(t) - side + 0.4, 0)) < 0.4
        cabin = (np.abs(s + 0.25) < half * 0.52) & (np.abs(t) < side - 0.12) & body
        roof = (np.abs(s + 0.3) < half * 0.30) & (np.abs(t) < side - 0.2)
        colour = np.where(cabin[..., None], np.array((46, 52, 60), np.float32), paint * 0.96)
        colour = np.where((roof & cabin)[..., None], np.minimum(paint * 1.08, 235), colour)
        canvas.colour[window][body] = colour[body]
        canvas.height[window][body] = np.where(cabin, 1.4, 0.85)[body]
        canvas.classes[window][body] = CLASSES.index("car")
        canvas.facing[window][body] = 1.0


def _on(line: shapely.LineString, at: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the point at a distance in metres along a line, and the unit vector of the line there."""
    here, ahead = (shapely.get_coordinates(line.interpolate(min(max(one, 0), line.length)))[0] for one in (at - 0.5, at + 0.5))
    way = ahead - here
    return here, way / max(float(np.hypot(*way)), 1e-9)
