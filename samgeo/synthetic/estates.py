"""Furnishing of blocks that are one property: flats, halls, parks, and the fields around the town."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import shapely

from samgeo.synthetic.houses import hall, slab
from samgeo.synthetic.lot import LAWN, PAVED, SOIL, Lot
from samgeo.synthetic.plan import Field

__all__ = ["apartments", "field", "industry", "park"]


def apartments(lot: Lot) -> None:
    """Furnish a block with flats surrounded by lawns and trees."""
    lot.cover(lot.block.outline, "lawn", lot.colour(LAWN))
    count = max(int(lot.depth // 26), 1)
    for number in range(count):
        b = (number + 0.5) / count * lot.depth
        for a0, a1 in pairwise(lot.cuts(lot.length, 34, 48).tolist()):
            a, length = (a0 + a1) / 2, min(a1 - a0 - 6, 40)
            if length > 14:
                lot.build(slab(lot.block.at(a, b), lot.block.along(a, b), (length, lot.between(10.5, 13)), lot.rng))
        if lot.depth / count > 21:
            lot.car_park((3, lot.length - 3), b + 7.4)
    lot.trees(int(lot.length * lot.depth / 130), (1, lot.length - 1), (1, lot.depth - 1), (1.6, 3.6))


def industry(lot: Lot) -> None:
    """Furnish a block with halls and a car park."""
    lot.cover(lot.block.outline, "paved", lot.colour(PAVED))
    parking = lot.depth > 34
    top = 13.0 if parking else 4.0
    for a0, a1 in pairwise((lot.cuts(lot.length - 8, 26, 50) + 4).tolist()):
        a, b = (a0 + a1) / 2, (top + lot.depth - 4) / 2
        size = a1 - a0 - lot.between(2, 7), lot.depth - top - 4 - lot.between(0, 5)
        along = lot.block.along(a, b)
        if lot.chance(0.5):
            along, size = np.array([-along[1], along[0]]), (size[1], size[0])
        if min(size) > 6:
            lot.build(hall(lot.block.at(a, b), along, size, lot.rng))
    if parking:
        lot.car_park((3, lot.length - 3), 6.5)
    for a in np.arange(3, lot.length, 11.0):
        if lot.chance(0.5):
            lot.tree(float(a), lot.depth - 1.6, (1.2, 2.2))


def park(lot: Lot) -> None:
    """Furnish a block with a playing field, or with paths, a pond and trees."""
    lot.cover(lot.block.outline, "lawn", lot.colour(LAWN[:3]))
    length, depth = lot.length, lot.depth
    if depth > 36 and length > 52 and lot.chance(0.6):
        lot.cover(lot.box(length / 2, depth / 2, min(length / 2 - 6, 38), min(depth / 2 - 5, 22)), "pitch", (98, 132, 66))
        for a in np.arange(2, length, 7.0):
            for b in (1.5, depth - 1.5):
                if lot.chance(0.8):
                    lot.tree(a + lot.between(-1.5, 1.5), b, (1.8, 3.4))
        return
    gravel = lot.colour(SOIL)
    ways = (((0.0, 0.0), (length, depth)), ((0.0, depth), (length, 0.0)), ((length / 2, 0.0), (length / 2, depth)))
    for start, stop in ways:
        lot.cover(lot.block.line(start, stop).buffer(1.1), "path", gravel)
    lot.cover(shapely.Point(lot.block.at(length / 2, depth / 2)).buffer(min(depth / 5, 7.0)), "path", gravel)
    if depth > 24:
        _pond(lot, length * 0.26, depth * 0.5, min(depth / 5, 8.0))
    lot.trees(int(length * depth / 60), (1, length - 1), (1, depth - 1), (1.8, 4.4))


def _pond(lot: Lot, a: float, b: float, size: float) -> None:
    angle = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    radius = size * (1 + 0.18 * np.sin(2 * angle + lot.between(0, 6)) + 0.1 * np.sin(3 * angle + lot.between(0, 6)))
    shore = lot.block.at(a, b) + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    lot.cover(shapely.Polygon(shore), "pond", (74, 90, 80))


def field(lot: Lot) -> None:
    """Furnish a block with one crop, with trees on its edges and perhaps a barn."""
    crop = lot.one_of(wheat=0.18, green=0.2, ploughed=0.16, pasture=0.12, vineyard=0.22, orchard=0.12)
    length, depth = lot.length, lot.depth
    lot.cover(lot.block.outline, "lawn", lot.colour(LAWN))
    across = lot.block.inwards(length / 2, depth / 2)
    outline = lot.block.polygon(1.5, 1.5, length - 1.5, depth - 1.5)
    lot.plan.fields.append(Field(outline, crop, (float(across[0]), float(across[1]))))
    if crop == "orchard":
        for a in np.arange(5, length - 4, 5.0):
            for b in np.arange(5, depth - 4, 5.5):
                if lot.chance(0.94):
                    lot.tree(a + lot.between(-0.3, 0.3), b + lot.between(-0.3, 0.3), (1.3, 1.9), kind=0.25)
    for stop in ((length, 0.0), (0.0, depth)):
        if lot.chance(0.55):
            reach = max(stop)
            for step in np.arange(0, reach, lot.between(3, 9)):
                a, b = stop[0] * step / reach, stop[1] * step / reach
                lot.tree(a + lot.between(-0.9, 0.9), b + lot.between(-0.9, 0.9), (1.2, 3.4))
    if crop != "orchard" and length > 40 and lot.chance(0.5):
        a = lot.between(15, length - 15)
        lot.build(hall(lot.block.at(a, 13.0), lot.block.along(a, 13.0), (lot.between(12, 20), lot.between(8, 11)), lot.rng))
        lot.trees(4, (a - 13, a + 13), (1, 22), (1.5, 3.6))
