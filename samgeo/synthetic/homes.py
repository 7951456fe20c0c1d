"""Furnishing of residential blocks: detached houses, terraces, mixed buildings, and houses around a court."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import shapely

from samgeo.synthetic.houses import House, outbuilding, roof_colour, row_house
from samgeo.synthetic.lot import LAWN, PAVED, SOIL, Lot

__all__ = ["courtyard", "detached", "mixed", "terrace"]


def detached(lot: Lot) -> None:
    """Furnish a block with houses in gardens, two rows back to back."""
    for front, back in lot.rows(30):
        sign, depth = math.copysign(1.0, back - front), abs(back - front)
        for a0, a1 in pairwise(lot.cuts(lot.length, 13, 19).tolist()):
            if lot.chance(0.72):
                lot.strip((a0, a1), (front, back), "lawn", LAWN)
            else:
                lot.strip((a0, a1), (front, back), "soil", SOIL)
            if lot.chance(0.07):
                lot.trees(3, (a0, a1), (front, back), (1.5, 3.6))
                continue
            width, setback = min(depth * 0.5, lot.between(8, 11.5)), lot.between(2.5, 5.0)
            a, b = (a0 + a1) / 2 + lot.between(-0.8, 0.8), front + sign * (setback + width / 2)
            turn = float(lot.rng.normal(0, 0.02))
            lot.build(
                House(
                    centre=lot.block.at(a, b),
                    along=lot.block.along(a, b)
                    @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]),
                    inwards=lot.block.inwards(a, b) * sign,
                    length=min(a1 - a0 - 3.0, lot.between(9, 15.5)),
                    width=width,
                ).build(lot.rng)
            )
            _front_garden(lot, (a0, a), (front, front + sign * (setback + width)))
            _garden(lot, (a0, a1), (front + sign * (setback + width + 1.0), back))
            if a0 > 0:
                lot.fence((a0, front + sign), (a0, back), hedges=0.45)
        if 0 < back < lot.depth:
            lot.fence((0, back), (lot.length, back), hedges=0.5)


def _front_garden(lot: Lot, a: tuple[float, float], b: tuple[float, float]) -> None:
    """Lay a drive beside the house, from the street, and a path to the door."""
    sign = math.copysign(1.0, b[1] - b[0])
    if lot.chance(0.75):
        lot.strip((a[0] + 0.4, a[0] + 3.2), (b[0], b[0] + sign * min(abs(b[1] - b[0]), lot.between(5, 9))), "paved", PAVED)
        if lot.chance(0.5):
            lot.car(a[0] + 1.8, b[0] + sign * 2.9, across=True)
    lot.strip((a[1] - 0.6, a[1] + 0.6), (b[0], b[0] + sign * 4), "path", PAVED)
    if lot.chance(0.35):
        lot.tree(a[1] + lot.between(2, 4), b[0] + sign * 1.6, (1.0, 2.0))


def _garden(lot: Lot, a: tuple[float, float], b: tuple[float, float]) -> None:
    """Furnish the part of a plot behind its house."""
    (a0, a1), (near, back) = a, b
    sign, room = math.copysign(1.0, back - near), abs(back - near) - 1.0
    if room < 3:
        return
    what, middle = lot.rng.random(), (a0 + a1) / 2
    if what < 0.2 and room > 5.5:
        _pool(lot, middle + lot.between(-1, 1), near + sign * room / 2)
    elif what < 0.5:
        length, width = lot.between(3.6, 6.0), lot.between(2.8, 3.6)
        place = a0 + 0.8 + length / 2, back - sign * (width / 2 + 0.7)
        lot.build(outbuilding(lot.block.at(*place), lot.block.along(*place), (length, width), lot.rng))
    elif what < 0.68:
        lot.strip(
            (a0 + 2, a0 + 2 + (a1 - a0) * 0.4), (near + sign * room * 0.3, near + sign * room * 0.85), "bed", ((118, 96, 74),)
        )
    if lot.chance(0.5):
        lot.strip((middle - 3, middle + 2), (near - sign, near + sign * 1.6), "paved", PAVED)
    lot.trees(int(lot.rng.integers(1, 5)), (a0 + 1, a1 - 1), (near + sign * 1.5, near + sign * room), (1.0, 3.6))


def _pool(lot: Lot, a: float, b: float) -> None:
    half = lot.between(2.6, 3.8), lot.between(1.4, 2.0)
    lot.cover(lot.box(a, b, half[0] + 0.9, half[1] + 0.9), "paved", (188, 178, 162))
    is_round = lot.chance(0.4)
    water = (
        shapely.Point(lot.block.at(a, b)).buffer(half[1] + 0.4) if is_round else lot.box(a, b, *half).buffer(-0.5).buffer(0.5)
    )
    lot.cover(water, "pool", (92, 182, 198))


def terrace(lot: Lot) -> None:
    """Furnish a block with rows of houses that share walls, with small gardens behind."""
    lot.cover(lot.block.outline, "lawn", lot.colour(LAWN))
    for front, back in lot.rows(25):
        sign = math.copysign(1.0, back - front)
        depth, setback = min(lot.between(8.5, 11), abs(back - front) - 3), lot.between(0.3, 2.6)
        cover, pitch, eave = lot.one_of(tile=0.67, slate=0.33), lot.between(0.5, 0.8), lot.between(5.2, 7.5)
        base = roof_colour(cover, lot.rng)
        street, yard = front + sign * setback, front + sign * (setback + depth)
        edges = lot.cuts(lot.length, 6.0, 8.6).tolist()
        gaps = set(lot.rng.choice(len(edges) - 1, len(edges) // 9, replace=False).tolist())
        for number, (a0, a1) in enumerate(pairwise(edges)):
            _backyard(lot, (a0, a1), (yard, back))
            if number in gaps:
                continue
            # Roofs were renewed in different years, so their colours differ.
            shade = float(lot.rng.normal(1, 0.12))
            own = (base[0] * shade, base[1] * shade, base[2] * shade) if lot.chance(0.6) else roof_colour(cover, lot.rng)
            corners = lot.quadrilateral((a0, a1), (street, yard))
            lot.build(row_house(corners, cover, own, roof="gable", eave=eave + float(lot.rng.normal(0, 0.3)), pitch=pitch))
            if lot.chance(0.3):
                annex = lot.quadrilateral(
                    (a0, a0 + (a1 - a0) * lot.between(0.45, 0.6)), (yard, yard + sign * lot.between(2.5, 4.5))
                )
                lot.build(row_house(annex, "concrete", roof_colour("bitumen", lot.rng), roof="flat", eave=3.0, pitch=0.0))
    for a in np.arange(4, lot.length, lot.between(9, 14)):
        for b in (-1.0, lot.depth + 1.0):
            if lot.chance(0.5):
                lot.tree(a + lot.between(-1, 1), b, (1.2, 2.3), kind=0.1)


def _backyard(lot: Lot, a: tuple[float, float], b: tuple[float, float]) -> None:
    (a0, a1), (near, back) = a, b
    kind = lot.one_of(lawn=0.6, soil=0.15, paved=0.25)
    lot.strip(a, b, kind, {"lawn": LAWN, "soil": SOIL, "paved": PAVED}[kind])
    lot.fence((a1, near), (a1, back), hedges=0.4)
    room, sign = abs(back - near), math.copysign(1.0, back - near)
    if room > 5 and lot.chance(0.25):
        place = (a0 + a1) / 2, back - sign * 2.0
        lot.build(outbuilding(lot.block.at(*place), lot.block.along(*place), (min(3.6, a1 - a0 - 1), 2.6), lot.rng))
    elif room > 4 and lot.chance(0.6):
        lot.tree(lot.between(a0 + 1, a1 - 1), near + sign * lot.between(2.5, room), (1.0, 2.6))


def mixed(lot: Lot) -> None:
    """Fill a block with touching buildings of every height and cover, and small yards between."""
    lot.cover(lot.block.outline, "soil" if lot.chance(0.6) else "paved", lot.colour(SOIL))
    near = 0.0
    while near < lot.depth - 6:
        far = near + min(lot.between(8, 13), lot.depth - near)
        for a in pairwise(lot.cuts(lot.length, 7, 12).tolist()):
            if lot.chance(0.14):
                lot.trees(2, a, (near, far), (1.5, 3.6))
                continue
            cover = lot.one_of(metal=0.5, concrete=0.36, tile=0.14)
            back = far if lot.chance(0.6) else near + (far - near) * lot.between(0.72, 0.95)
            corners = np.roll(lot.quadrilateral(a, (near, back)), int(lot.chance(0.4)), axis=0)
            roof = "flat" if cover == "concrete" else lot.one_of(gable=0.5, shed=0.5)
            storeys = int(lot.rng.choice(3, p=[0.5, 0.35, 0.15]))
            eave, pitch = 3.2 + 3.0 * storeys + lot.between(-0.3, 0.3), 0.5 if cover == "tile" else 0.16
            lot.build(row_house(corners, cover, roof_colour(cover, lot.rng), roof=roof, eave=eave, pitch=pitch))
        near = far + (lot.between(1.5, 3.5) if lot.chance(0.5) else 0.0)


def courtyard(lot: Lot) -> None:
    """Furnish the four sides of a block with town houses around a court; a block that is too small gets terraces."""
    deep = lot.between(9.5, 12.5)
    ends = lot.depth - 2 * deep
    if ends < 9 or lot.length < 2 * deep + 12:
        terrace(lot)
        return
    lot.cover(lot.block.outline, "paved", lot.colour(PAVED))
    base, eave = lot.one_of(tile=0.67, slate=0.33), lot.between(9, 13)
    sides = ((lot.length, False, 0.0), (lot.length, False, lot.depth), (ends, True, 0.0), (ends, True, lot.length))
    for length, is_end, front in sides:
        back = deep if front == 0 else front - deep
        for span in pairwise((lot.cuts(length, 9, 16) + (deep if is_end else 0)).tolist()):
            if is_end and lot.chance(0.1):
                continue
            roof = "flat" if lot.chance(0.25) else "gable"
            cover = "concrete" if roof == "flat" else base
            # At the ends of the block the fronts run across it: corners turn by one, so that ridges follow the street.
            corners = (
                np.roll(lot.quadrilateral((front, back), span), 1, axis=0) if is_end else lot.quadrilateral(span, (front, back))
            )
            height = eave + float(lot.rng.normal(0, 0.7))
            lot.build(row_house(corners, cover, roof_colour(cover, lot.rng), roof=roof, eave=height, pitch=0.6))
    a, b = (deep + 1.5, lot.length - deep - 1.5), (deep + 1.5, lot.depth - deep - 1.5)
    if lot.chance(0.7):
        lot.strip(a, b, "lawn", LAWN)
    lot.trees(int(lot.length * lot.depth / 260), a, b, (1.4, 3.2))
    for _ in range(int(lot.rng.integers(0, 4))):
        lot.car(lot.between(*a), lot.between(*b), across=lot.chance(0.5))
