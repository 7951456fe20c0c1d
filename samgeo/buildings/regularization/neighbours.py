"""Who stands beside whom: neighbours, clusters of them, and blocks of one direction."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.buildings.regularization.outline import Stretches, apart, pooled_direction

__all__ = ["blocks", "by_first", "candidates", "clusters", "neighbours"]

Floats = NDArray[np.float64]
Pairs = NDArray[np.int64]

# Two outlines of which one lies in the other by more than this are two tries at one building, and not neighbours.
_SAME = 0.2
_FURTHEST_TURN = np.deg2rad(15)


def candidates(polygons: NDArray[np.object_], reach: Floats) -> Pairs:
    """Return pairs of polygons whose boxes, each wider by its reach (N, 2) to all sides, meet: (P, 2), first below second."""
    low_high = shapely.bounds(polygons)
    boxes = shapely.box(*(low_high + np.concatenate([-reach, reach], axis=1)).T)
    first, second = shapely.STRtree(boxes).query(boxes, predicate="intersects")
    return np.asarray(np.stack([first, second], axis=1)[first < second])


def clusters(count: int, pairs: Pairs) -> NDArray[np.int64]:
    """Return the number of the connected component of each of the things that pairs connect."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links: Any = coo_array((np.ones(len(pairs), dtype=np.bool_), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


def neighbours(polygons: NDArray[np.object_], pairs: Pairs, within: float) -> Pairs:
    """Return those pairs that stand within a distance, and are not two outlines of one building."""
    first, second = polygons[pairs[:, 0]], polygons[pairs[:, 1]]
    near = shapely.distance(first, second) <= within
    pairs, first, second = pairs[near], first[near], second[near]
    common = shapely.area(shapely.intersection(first, second))
    return pairs[common <= _SAME * np.minimum(shapely.area(first), shapely.area(second))]


def blocks(
    outlines: list[Stretches], turned: Floats, area: Floats, beside: dict[int, list[int]], tolerance: float
) -> tuple[NDArray[np.int64], Floats]:
    """Gather neighbours of about one direction, from the largest on.

    A neighbour joins where turning it to the block's direction moves the ends of its longest wall by at most half the
    tolerance: small buildings, which know their own direction least, join most easily.

    Parameters
    ----------
    outlines : list of Stretches, length N
    turned : ndarray, shape (N,)
        Each building's own direction, radians.
    area : ndarray, shape (N,)
    beside : dict of int to list of int
        Neighbours of each.
    tolerance : float
        Metres.

    Returns
    -------
    ndarray of int64, shape (N,)
        Each building's block, named after its first.
    ndarray, shape (N,)
        Each building's direction as fitted to its block.
    """
    block = np.full(len(outlines), -1, dtype=np.int64)
    fitted = turned.copy()
    half = np.array([each.length.max(initial=0.0) / 2 for each in outlines])
    for seed in np.lexsort([np.arange(len(area)), -np.round(area, 3)]).tolist():
        if block[seed] >= 0:
            continue
        block[seed] = seed
        members, place = [seed], 0
        while place < len(members):
            for other in beside.get(members[place], []):
                off = abs(float(apart(turned[other], turned[seed])))
                if block[other] < 0 and off <= _FURTHEST_TURN and half[other] * np.sin(off) <= tolerance / 2:
                    block[other] = seed
                    members.append(other)
            place += 1
        fitted[members] = pooled_direction([outlines[each] for each in members], turned[seed])
    return block, fitted


def by_first(pairs: Pairs) -> dict[int, list[int]]:
    """Return the neighbours of each, both ways, in order."""
    found: dict[int, list[int]] = defaultdict(list)
    for first, second in pairs.tolist():
        found[first].append(second)
        found[second].append(first)
    return {each: sorted(others) for each, others in found.items()}
