"""What stands in a block: plots, houses, gardens, yards, trees and cars."""

from __future__ import annotations

import math

import numpy as np
import shapely

from samgeo.testing.scenes.houses import hall, house, outbuilding, roof_colour, row_house, slab
from samgeo.testing.scenes.plan import Car, Colour, Field, Plan, Surface, Tree, rectangle
from samgeo.testing.scenes.streets import Block

__all__ = ["furnish"]

_LAWNS: list[Colour] = [(104, 118, 68), (92, 110, 62), (120, 124, 78), (132, 130, 88), (84, 104, 58), (146, 138, 100)]
_SOILS: list[Colour] = [(168, 146, 116), (156, 134, 106), (178, 158, 128), (148, 130, 106)]
_PAVED: list[Colour] = [(158, 152, 144), (144, 140, 134), (172, 164, 152), (150, 138, 126), (134, 132, 130)]
_POOL: Colour = (92, 182, 198)


def furnish(block: Block, plan: Plan, rng: np.random.Generator) -> None:
    """Add a block's contents to the plan."""
    makers = {
        "detached": _detached, "terrace": _terrace, "mixed": _mixed, "courtyard": _courtyard, "apartments": _apartments,
        "industry": _industry, "park": _park, "field": _field,
    }  # fmt: skip
    makers[block.zone](block, plan, rng)


def _rows(block: Block, rng: np.random.Generator, two_from: float) -> list[tuple[float, float]]:
    """Return (front, back) of one row of plots, or of two that stand back to back."""
    if block.depth < two_from:
        return [(0.0, block.depth)] if rng.random() < 0.5 else [(block.depth, 0.0)]
    middle = block.depth * rng.uniform(0.46, 0.54)
    return [(0.0, middle), (block.depth, middle)]


def _cuts(length: float, low: float, high: float, rng: np.random.Generator) -> np.ndarray:
    """Cut a length into pieces between two sizes; one piece if it is too short for more."""
    count = max(round(length / rng.uniform(low, high)), 1)
    pieces = rng.uniform(0.8, 1.2, count)
    return np.concatenate([[0], np.cumsum(pieces / pieces.sum() * length)])


def _pick(rng: np.random.Generator, colours: list[Colour], vary: float = 5.0) -> Colour:
    base = np.array(colours[int(rng.integers(len(colours)))]) + rng.normal(0, vary) + rng.normal(0, vary / 3, 3)
    return float(base[0]), float(base[1]), float(base[2])


def _tree(plan: Plan, place: np.ndarray, radius: float, rng: np.random.Generator, kind: float | None = None) -> None:
    chosen = float(rng.random()) if kind is None else kind
    plan.trees.append(Tree(float(place[0]), float(place[1]), radius, radius * float(rng.uniform(1.5, 2.3)), chosen))


def _detached(block: Block, plan: Plan, rng: np.random.Generator) -> None:
    for front, back in _rows(block, rng, 30):
        sign = math.copysign(1.0, back - front)
        depth = abs(back - front)
        edges = _cuts(block.length, 13, 19, rng)
        for a0, a1 in zip(edges[:-1], edges[1:], strict=True):
            low, high = min(front, back), max(front, back)
            ground = _LAWNS if rng.random() < 0.72 else _SOILS
            plan.surfaces.append(
                Surface(block.polygon(a0, low, a1, high), "lawn" if ground is _LAWNS else "soil", _pick(rng, ground))
            )
            if rng.random() < 0.07:
                _grove(block, plan, rng, a0, a1, low, high, 3)
                continue
            width = min(depth * 0.5, rng.uniform(8, 11.5))
            length = min(a1 - a0 - 3.0, rng.uniform(9, 15.5))
            setback = rng.uniform(2.5, 5.0)
            a, b = (a0 + a1) / 2 + rng.uniform(-0.8, 0.8), front + sign * (setback + width / 2)
            inwards = block.inwards(a, b) * sign
            turn = rng.normal(0, 0.02)
            along = block.along(a, b) @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
            plan.buildings.append(house(block.at(a, b), along, inwards, length, width, rng))
            _garden(block, plan, rng, (a0, a1), front, back, setback + width)
            _drive(block, plan, rng, a0, a, front, sign, setback + width)
            fence = plan.hedges if rng.random() < 0.45 else plan.walls
            if a0 > 0:
                fence.append(block.line((a0, front + sign * 1.0), (a0, back)))
        if back not in (0.0, block.depth):
            (plan.hedges if rng.random() < 0.5 else plan.walls).append(block.line((0, back), (block.length, back)))


def _drive(
    block: Block, plan: Plan, rng: np.random.Generator, a0: float, a: float, front: float, sign: float, reach: float
) -> None:
    if rng.random() < 0.75:
        stop = front + sign * min(reach, rng.uniform(5, 9))
        low, high = min(front, stop), max(front, stop)
        plan.surfaces.append(Surface(block.polygon(a0 + 0.4, low, a0 + 3.2, high), "paved", _pick(rng, _PAVED)))
        if rng.random() < 0.5:
            _car(block, plan, rng, a0 + 1.8, front + sign * 2.9, across=True)
    low, high = min(front, front + sign * 4), max(front, front + sign * 4)
    plan.surfaces.append(Surface(block.polygon(a - 0.6, low, a + 0.6, high), "path", _pick(rng, _PAVED)))
    if rng.random() < 0.35:
        _tree(plan, block.at(a + rng.uniform(2, 4), front + sign * 1.6), rng.uniform(1.0, 2.0), rng)


def _garden(
    block: Block, plan: Plan, rng: np.random.Generator, span: tuple[float, float], front: float, back: float, used: float
) -> None:
    """Fill what is left of a plot behind its house."""
    a0, a1 = span
    sign = math.copysign(1.0, back - front)
    near, room = front + sign * (used + 1.0), abs(back - front) - used - 2.0
    if room < 3:
        return
    what = rng.random()
    if what < 0.2 and room > 5.5:
        place = block.at((a0 + a1) / 2 + rng.uniform(-1, 1), near + sign * (room * 0.5))
        along = block.along(a0, near)
        half = rng.uniform(2.6, 3.8), rng.uniform(1.4, 2.0)
        rim = _box(place, along, half[0] + 0.9, half[1] + 0.9)
        plan.surfaces.append(Surface(rim, "paved", (188, 178, 162)))
        water = (
            _box(place, along, *half).buffer(-0.5).buffer(0.5)
            if rng.random() < 0.6
            else shapely.Point(place).buffer(half[1] + 0.4)
        )
        plan.surfaces.append(Surface(water, "pool", _POOL))
    elif what < 0.5:
        length, width = rng.uniform(3.6, 6.0), rng.uniform(2.8, 3.6)
        place = block.at(a0 + 0.8 + length / 2, back - sign * (width / 2 + 0.7))
        plan.buildings.append(outbuilding(place, block.along(a0, back), length, width, rng))
    elif what < 0.68:
        low, high = sorted((near + sign * room * 0.3, near + sign * room * 0.85))
        plan.surfaces.append(Surface(block.polygon(a0 + 2, low, a0 + 2 + (a1 - a0) * 0.4, high), "bed", (118, 96, 74)))
    if rng.random() < 0.5:
        low, high = sorted((near - sign * 1.0, near + sign * 1.6))
        plan.surfaces.append(
            Surface(block.polygon((a0 + a1) / 2 - 3, low, (a0 + a1) / 2 + 2, high), "paved", _pick(rng, _PAVED))
        )
    for _ in range(int(rng.integers(0, 4))):
        _tree(plan, block.at(rng.uniform(a0 + 1, a1 - 1), near + sign * rng.uniform(1.5, room)), rng.uniform(1.0, 3.2), rng)


def _terrace(block: Block, plan: Plan, rng: np.random.Generator) -> None:
    plan.surfaces.append(Surface(block.outline, "lawn", _pick(rng, _LAWNS)))
    for front, back in _rows(block, rng, 25):
        sign = math.copysign(1.0, back - front)
        depth = float(min(rng.uniform(8.5, 11), abs(back - front) - 3))
        setback = float(rng.uniform(0.3, 2.6))
        cover = str(rng.choice(["tile", "slate", "tile"]))
        pitch, base, eave = float(rng.uniform(0.5, 0.8)), roof_colour(cover, rng), float(rng.uniform(5.2, 7.5))
        edges = _cuts(block.length, 6.0, 8.6, rng)
        gaps = set(rng.choice(len(edges) - 1, int(len(edges) / 9), replace=False).tolist())
        for number, (a0, a1) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            _backyard(block, plan, rng, (a0, a1), front + sign * (setback + depth), back)
            if number in gaps:
                continue
            # Each household has renewed its roof in its own year.
            shade = rng.normal(1, 0.12)
            own = (base[0] * shade, base[1] * shade, base[2] * shade) if rng.random() < 0.6 else roof_colour(cover, rng)
            b0, b1 = front + sign * setback, front + sign * (setback + depth)
            corners = block.at(np.array([a0, a1, a1, a0]), np.array([b0, b0, b1, b1]))
            plan.buildings.append(row_house(corners, cover, "gable", eave + float(rng.normal(0, 0.3)), own, pitch))
            if rng.random() < 0.3:
                deep, wide = rng.uniform(2.5, 4.5), (a1 - a0) * rng.uniform(0.45, 0.6)
                c1, c2 = b1, b1 + sign * deep
                annex = block.at(np.array([a0, a0 + wide, a0 + wide, a0]), np.array([c1, c1, c2, c2]))
                plan.buildings.append(row_house(annex, "concrete", "flat", 3.0, roof_colour("bitumen", rng), 0.0))
    for a in np.arange(4, block.length, rng.uniform(9, 14)):
        for b in (-1.0, block.depth + 1.0):
            if rng.random() < 0.5:
                _tree(plan, block.at(a + rng.uniform(-1, 1), b), rng.uniform(1.2, 2.3), rng, 0.1)


def _backyard(block: Block, plan: Plan, rng: np.random.Generator, span: tuple[float, float], near: float, back: float) -> None:
    (a0, a1), sign = span, math.copysign(1.0, back - near)
    low, high = sorted((near, back))
    kind = str(rng.choice(["lawn", "soil", "paved"], p=[0.6, 0.15, 0.25]))
    colour = _pick(rng, {"lawn": _LAWNS, "soil": _SOILS, "paved": _PAVED}[kind])
    plan.surfaces.append(Surface(block.polygon(a0, low, a1, high), kind, colour))
    (plan.walls if rng.random() < 0.6 else plan.hedges).append(block.line((a1, near), (a1, back)))
    room = high - low
    if room > 5 and rng.random() < 0.25:
        place = block.at((a0 + a1) / 2, back - sign * 2.0)
        plan.buildings.append(outbuilding(place, block.along(a0, back), min(3.6, a1 - a0 - 1), 2.6, rng))
    elif room > 4 and rng.random() < 0.6:
        _tree(plan, block.at(rng.uniform(a0 + 1, a1 - 1), near + sign * rng.uniform(2.5, room)), rng.uniform(1.0, 2.6), rng)


def _mixed(block: Block, plan: Plan, rng: np.random.Generator) -> None:
    """Fill a block with touching buildings of every height and cover, and small yards between."""
    plan.surfaces.append(Surface(block.outline, "soil" if rng.random() < 0.6 else "paved", _pick(rng, _SOILS)))
    depth = 0.0
    while depth < block.depth - 6:
        deep = float(min(rng.uniform(8, 13), block.depth - depth))
        edges = _cuts(block.length, 7, 12, rng)
        for a0, a1 in zip(edges[:-1], edges[1:], strict=True):
            if rng.random() < 0.14:
                _grove(block, plan, rng, a0, a1, depth, depth + deep, 2)
                continue
            cover = str(rng.choice(["metal", "concrete", "tile"], p=[0.5, 0.36, 0.14]))
            flat = cover == "concrete"
            b1 = depth + deep * (1.0 if rng.random() < 0.6 else rng.uniform(0.72, 0.95))
            corners = block.at(np.array([a0, a1, a1, a0]), np.array([depth, depth, b1, b1]))
            if rng.random() < 0.4:
                corners = np.roll(corners, 1, axis=0)
            roof = "flat" if flat else str(rng.choice(["gable", "shed"]))
            eave = float(rng.choice([3.2, 6.2, 9.2], p=[0.5, 0.35, 0.15])) + float(rng.uniform(-0.3, 0.3))
            pitch = 0.5 if cover == "tile" else 0.16
            plan.buildings.append(row_house(corners, cover, roof, eave, roof_colour(cover, rng), pitch))
        depth += deep + (float(rng.uniform(1.5, 3.5)) if rng.random() < 0.5 else 0.0)


def _courtyard(block: Block, plan: Plan, rng: np.random.Generator) -> None:
    """Close a block's four sides with town houses around a court."""
    deep = float(rng.uniform(9.5, 12.5))
    if block.depth < 2 * deep + 9 or block.length < 2 * deep + 12:
        _terrace(block, plan, rng)
        return
    plan.surfaces.append(Surface(block.outline, "paved", _pick(rng, _PAVED)))
    base, eave = str(rng.choice(["tile", "slate", "tile"])), float(rng.uniform(9, 13))
    ends = block.depth - 2 * deep
    sides = ((block.length, False, 0.0), (block.length, False, block.depth), (ends, True, 0.0), (ends, True, block.length))
    for length, is_end, front in sides:
        back = deep if front == 0 else front - deep
        edges = _cuts(length, 9, 16, rng) + (deep if is_end else 0)
        for p0, p1 in zip(edges[:-1], edges[1:], strict=True):
            if is_end and rng.random() < 0.1:
                continue
            flat = rng.random() < 0.25
            cover = "concrete" if flat else base
            a, b = np.array([p0, p1, p1, p0]), np.array([front, front, back, back])
            corners = block.at(b, a) if is_end else block.at(a, b)
            own = roof_colour(cover, rng)
            plan.buildings.append(
                row_house(corners, cover, "flat" if flat else "gable", eave + float(rng.normal(0, 0.7)), own, 0.6)
            )
    inner = (deep + 1.5, block.length - deep - 1.5), (deep + 1.5, block.depth - deep - 1.5)
    if rng.random() < 0.7:
        plan.surfaces.append(
            Surface(block.polygon(inner[0][0], inner[1][0], inner[0][1], inner[1][1]), "lawn", _pick(rng, _LAWNS))
        )
    for _ in range(int(block.length * block.depth / 260)):
        _tree(plan, block.at(rng.uniform(*inner[0]), rng.uniform(*inner[1])), rng.uniform(1.4, 3.2), rng)
    for _ in range(int(rng.integers(0, 4))):
        _car(block, plan, rng, rng.uniform(*inner[0]), rng.uniform(*inner[1]), across=bool(rng.random() < 0.5))


def _apartments(block: Block, plan: Plan, rng: np.random.Generator) -> None:
    plan.surfaces.append(Surface(block.outline, "lawn", _pick(rng, _LAWNS)))
    count = max(int(block.depth // 26), 1)
    for number in range(count):
        b = (number + 0.5) / count * block.depth
        edges = _cuts(block.length, 34, 48, rng)
        for a0, a1 in zip(edges[:-1], edges[1:], strict=True):
            a, length = (a0 + a1) / 2, min(a1 - a0 - 6, 40)
            if length > 14:
                plan.buildings.append(slab(block.at(a, b), block.along(a, b), length, rng.uniform(10.5, 13), rng))
        if block.depth / count > 21:
            _car_park(block, plan, rng, 3, block.length - 3, b + 7.4)
    for _ in range(int(block.length * block.depth / 130)):
        _tree(plan, block.at(rng.uniform(1, block.length - 1), rng.uniform(1, block.depth - 1)), rng.uniform(1.6, 3.6), rng)


def _industry(block: Block, plan: Plan, rng: np.random.Generator) -> None:
    plan.surfaces.append(Surface(block.outline, "paved", _pick(rng, _PAVED)))
    edges = _cuts(block.length - 8, 26, 50, rng) + 4
    park = block.depth > 34
    for a0, a1 in zip(edges[:-1], edges[1:], strict=True):
        top = 13.0 if park else 4.0
        b, width = (top + block.depth - 4) / 2, block.depth - top - 4 - rng.uniform(0, 5)
        a, length = (a0 + a1) / 2, a1 - a0 - rng.uniform(2, 7)
        along = block.along(a, b)
        if rng.random() < 0.5:
            along, length, width = np.array([-along[1], along[0]]), width, length
        plan.buildings.append(hall(block.at(a, b), along, length, width, rng))
    if park:
        _car_park(block, plan, rng, 3, block.length - 3, 6.5)
    for a in np.arange(3, block.length, 11.0):
        if rng.random() < 0.5:
            _tree(plan, block.at(a, block.depth - 1.6), rng.uniform(1.2, 2.2), rng)


def _park(block: Block, plan: Plan, rng: np.random.Generator) -> None:
    plan.surfaces.append(Surface(block.outline, "lawn", _pick(rng, _LAWNS[:3])))
    length, depth = block.length, block.depth
    if depth > 36 and length > 52 and rng.random() < 0.6:
        centre = block.at(length / 2, depth / 2)
        plan.surfaces.append(
            Surface(
                _box(centre, block.along(length / 2, depth / 2), min(length / 2 - 6, 38), min(depth / 2 - 5, 22)),
                "pitch",
                (98, 132, 66),
            )
        )
        _ring(block, plan, rng)
        return
    colour = _pick(rng, _SOILS)
    for start, stop in (((0, 0), (length, depth)), ((0, depth), (length, 0)), ((length / 2, 0), (length / 2, depth))):
        plan.surfaces.append(Surface(block.line(start, stop).buffer(1.1), "path", colour))
    plan.surfaces.append(Surface(shapely.Point(block.at(length / 2, depth / 2)).buffer(min(depth / 5, 7.0)), "path", colour))
    if depth > 24:
        middle = block.at(length * 0.26, depth * 0.5)
        angles = np.linspace(0, 2 * math.pi, 40, endpoint=False)
        radius = min(depth / 5, 8.0) * (
            1 + 0.18 * np.sin(2 * angles + rng.uniform(0, 6)) + 0.1 * np.sin(3 * angles + rng.uniform(0, 6))
        )
        plan.surfaces.append(
            Surface(
                shapely.Polygon(np.stack([middle[0] + radius * np.cos(angles), middle[1] + radius * np.sin(angles)], 1)),
                "pond",
                (74, 90, 80),
            )
        )
    for _ in range(int(length * depth / 60)):
        _tree(plan, block.at(rng.uniform(1, length - 1), rng.uniform(1, depth - 1)), rng.uniform(1.8, 4.4), rng)


def _ring(block: Block, plan: Plan, rng: np.random.Generator) -> None:
    for a in np.arange(2, block.length, 7.0):
        for b in (1.5, block.depth - 1.5):
            if rng.random() < 0.8:
                _tree(plan, block.at(a + rng.uniform(-1.5, 1.5), b), rng.uniform(1.8, 3.4), rng)


def _field(block: Block, plan: Plan, rng: np.random.Generator) -> None:
    crop = str(
        rng.choice(["wheat", "green", "ploughed", "pasture", "vineyard", "orchard"], p=[0.18, 0.2, 0.16, 0.12, 0.22, 0.12])
    )
    outline = block.polygon(1.5, 1.5, block.length - 1.5, block.depth - 1.5)
    plan.surfaces.append(Surface(block.outline, "lawn", _pick(rng, _LAWNS)))
    across = block.inwards(block.length / 2, block.depth / 2)
    plan.fields.append(Field(outline, crop, (float(across[0]), float(across[1]))))
    if crop == "orchard":
        for a in np.arange(5, block.length - 4, 5.0):
            for b in np.arange(5, block.depth - 4, 5.5):
                if rng.random() < 0.94:
                    _tree(plan, block.at(a + rng.normal(0, 0.2), b + rng.normal(0, 0.2)), rng.uniform(1.3, 1.9), rng, 0.25)
    for start, stop in (((0, 0), (block.length, 0)), ((0, 0), (0, block.depth))):
        if rng.random() < 0.55:
            reach = math.dist(start, stop)
            for step in np.arange(0, reach, rng.uniform(3, 9)):
                a, b = start[0] + (stop[0] - start[0]) * step / reach, start[1] + (stop[1] - start[1]) * step / reach
                _tree(plan, block.at(a, b) + rng.normal(0, 0.5, 2), rng.uniform(1.2, 3.4), rng)
    if rng.random() < 0.5 and crop != "orchard":
        a = rng.uniform(12, block.length - 12)
        place = block.at(a, 13.0)
        plan.buildings.append(hall(place, block.along(a, 13.0), rng.uniform(12, 20), rng.uniform(8, 11), rng))
        plan.surfaces.append(Surface(block.polygon(a - 14, 1, a + 14, 22), "soil", _pick(rng, _SOILS)))
        _grove(block, plan, rng, a - 13, a + 13, 1, 22, 4)


def _grove(block: Block, plan: Plan, rng: np.random.Generator, a0: float, a1: float, b0: float, b1: float, count: int) -> None:
    for _ in range(count):
        _tree(plan, block.at(rng.uniform(a0, a1), rng.uniform(b0, b1)), rng.uniform(1.5, 3.6), rng)


def _car_park(block: Block, plan: Plan, rng: np.random.Generator, a0: float, a1: float, b: float) -> None:
    plan.surfaces.append(Surface(block.polygon(a0, b - 3.4, a1, b + 4.5), "paved", (112, 112, 112)))
    for a in np.arange(a0 + 1.6, a1 - 1.2, 2.7):
        if rng.random() < 0.6:
            _car(block, plan, rng, float(a), b + 1.6, across=True)


def _car(block: Block, plan: Plan, rng: np.random.Generator, a: float, b: float, *, across: bool) -> None:
    place, way = block.at(a, b), block.inwards(a, b) if across else block.along(a, b)
    heading = math.atan2(way[1], way[0]) + float(rng.normal(0, 0.03))
    plan.cars.append(Car(float(place[0]), float(place[1]), heading, float(rng.uniform(3.9, 4.8))))


def _box(centre: np.ndarray, along: np.ndarray, half_length: float, half_width: float) -> shapely.Polygon:
    middle, a, b = (np.array(one) for one in rectangle(centre, along, half_length, half_width))
    return shapely.Polygon([middle - a - b, middle + a - b, middle + a + b, middle - a + b])
