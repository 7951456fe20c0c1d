"""Split of a data set into train, val and test by blocks of ground, so that no two parts show the same place.

Also advice for the user: why a split leaves pictures out, and which chip overlap or block size would keep them.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from samgeo.geo.coordinates.pixel_coordinates import from_pixels
from samgeo.geo.grid import Rect
from samgeo.samrs.chips import chip_name, chip_rects, visible_shares
from samgeo.samrs.planning import ImageJob
from samgeo.samrs.recipe import SetOptions

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

__all__ = ["PARTS", "Shown", "advise", "default_block_m", "ground_of", "split"]


PARTS = ("train", "val", "test")

# EASE-Grid 2.0 is one equal-area grid for the whole earth, so that blocks have the same area everywhere.
_GROUND_CRS = "EPSG:6933"
# By default, a block is at most _BLOCK_SIDES pictures long, and shorter if there would be fewer than _ENOUGH_BLOCKS blocks.
_BLOCK_SIDES, _ENOUGH_BLOCKS = 4, 12
# Smaller overlaps, as fractions of the area, are rounding errors: neighbours share an edge, and coordinates are rounded.
_SAME_PLACE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Source and ground of a picture.

    Attributes
    ----------
    image : str
        Name of the image from which it was cut.
    ground : Polygon or None
        Ground that it shows, in metres of a global equal-area grid; None without a georeference.
    """

    image: str
    ground: shapely.Polygon | None


def ground_of(geobox: GeoBox) -> shapely.Polygon | None:
    """Return the ground of a picture; None if it has no CRS, or lies outside the valid area of the grid."""
    if geobox.crs is None:
        return None
    height, width = geobox.shape
    edge = shapely.get_coordinates(shapely.segmentize(shapely.box(0, 0, width, height), max(height, width) / 8))
    placed = from_pixels(edge, geobox, _GROUND_CRS)
    return shapely.Polygon(placed) if np.isfinite(placed).all() else None


def default_block_m(shown: Sequence[Shown]) -> float:
    """Return the default side of blocks in metres; 0 if no picture has a georeference.

    It is four, three, two or one times the longest side of a picture: the largest with which there are at least twelve blocks.
    If there is none, it is the longest side of a picture.
    """
    placed = [one for one in shown if one.ground is not None]
    bounds = [one.ground.bounds for one in placed if one.ground is not None]
    longest = max((max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in bounds), default=0.0)
    sides = [longest * times for times in range(_BLOCK_SIDES, 0, -1)]
    return next((side for side in sides if len({_block(one, side) for one in placed}) >= _ENOUGH_BLOCKS), longest)


def split(shown: Mapping[str, Shown], shares: Sequence[float], block_m: float, seed: int) -> dict[str, str]:
    """Split pictures into train, val and test.

    Pictures with a georeference are grouped by the block that contains their middle; other pictures are grouped by their image.
    Groups are visited in a random order that depends on the seed, and each goes to the part that lacks most of its fraction. If
    pictures of two parts show the same ground, one is left out: the picture of train, or of val if there is none of train.

    Parameters
    ----------
    shown : mapping of str to Shown
        Pictures by name.
    shares : sequence of 3 float
        Fractions of train, val and test.
    block_m : float
        Side of a block in metres.
    seed : int
        Seed of the order of the groups.

    Returns
    -------
    dict of str to str
        ``"train"``, ``"val"`` or ``"test"`` for each picture; empty for pictures that are left out.
    """
    blocks: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for name, one in shown.items():
        blocks[_block(one, block_m)].append(name)
    order = sorted(blocks, key=lambda block: hashlib.sha256(repr((seed, block)).encode()).digest())
    part_of: dict[str, str] = {}
    counts = np.zeros(3)
    wanted = np.array(shares) * len(shown)
    for position, block in enumerate(order):
        empty = (counts == 0) & (wanted > 0)
        # The last blocks go to parts that are still empty.
        is_last = len(order) - position <= empty.sum()
        lack = np.where(empty, wanted, -np.inf) if is_last else wanted - counts
        part = int(np.argmax(lack))
        counts[part] += len(blocks[block])
        part_of |= dict.fromkeys(blocks[block], PARTS[part])
    return part_of | dict.fromkeys(_shared(shown, part_of), "")


def _block(one: Shown, block_m: float) -> tuple[Any, ...]:
    """Return the key of the group of a picture: its block of ground, or its image."""
    if one.ground is None:
        return ("image", one.image)
    x0, y0, x1, y1 = one.ground.bounds
    return ("ground", math.floor((x0 + x1) / 2 / block_m), math.floor((y0 + y1) / 2 / block_m))


def _shared(shown: Mapping[str, Shown], part_of: Mapping[str, str]) -> set[str]:
    """Return pictures that show the same ground as pictures of a later part.

    Of the other pictures, no two parts show the same ground.
    """
    placed = [(name, one.ground) for name, one in shown.items() if one.ground is not None]
    if not placed:
        return set()
    names, grounds = zip(*placed, strict=True)
    shapes = np.array(grounds, dtype=object)
    rank = np.array([PARTS.index(part_of[name]) for name in names])
    i, j = shapely.STRtree(shapes).query(shapes)
    differ = rank[i] < rank[j]
    i, j = i[differ], j[differ]
    common = shapely.area(shapely.intersection(shapes[i], shapes[j]))
    same = common > _SAME_PLACE * np.minimum(shapely.area(shapes[i]), shapely.area(shapes[j]))
    left_out: set[int] = set()
    # Val is processed first, because its pictures that are left out no longer exclude pictures of train.
    for part in (1, 0):
        for first, second in zip(i[same].tolist(), j[same].tolist(), strict=True):
            if rank[first] == part and second not in left_out:
                left_out.add(first)
    return {names[index] for index in left_out}


# Block sides to try, as multiples of the side that was used.
_TIMES = (1.5, 2, 3, 4, 6, 8, 12, 16)
# A side that leaves out at most this fraction is accepted, because larger blocks only make the parts less similar.
_FEW = 0.1


def advise(
    shown: Mapping[str, Shown], part_of: Mapping[str, str], jobs: Sequence[ImageJob], recipe: SetOptions, block_m: float
) -> str:
    """Return a text that says how many pictures a split leaves out, why, and which options would keep them.

    Parameters
    ----------
    shown : mapping of str to Shown
        Pictures by name.
    part_of : mapping of str to str
        Result of `split`.
    jobs : sequence of ImageJob
        Plans of the images.
    recipe : SetOptions
        Options with the fractions and the seed of the split.
    block_m : float
        Side of the blocks that were used, in metres.

    Returns
    -------
    str
        Two or three sentences; empty if no picture is left out.
    """
    left_out = sum(not part for part in part_of.values())
    if not left_out:
        return ""
    overlap = recipe.chip_overlap if recipe.chip is not None else 0
    cause = f"chips share {overlap} px or more with their neighbours" if overlap else "pictures overlap"
    said = (
        f"{left_out:,} of {len(part_of):,} pictures are left out of the split: {cause}, and those at the edges of blocks of "
        f"{block_m:,.4g} m show the same ground as pictures of another part."
    )
    ways = []
    kept = len(part_of) - left_out
    if overlap:
        apart = _without_overlap(jobs, recipe)
        parts = split(apart, recipe.split or (), block_m, recipe.seed)
        count = _kept(parts)
        if _is_complete(parts, recipe) and (count > kept or len(parts) - count < left_out):
            ways.append(f"with chip_overlap=0 there would be {len(parts):,} pictures, of which {count:,} would be kept")
    side, count = _better_blocks(shown, recipe, block_m, kept)
    if side:
        ways.append(f"with block_m={side:.4g}, {count:,} of the {len(part_of):,} would be kept")
    if ways:
        return f"{said} {'; '.join(ways).capitalize()}."
    return f"{said} No other overlap or side of blocks keeps more: there is too little ground for three parts."


def _better_blocks(shown: Mapping[str, Shown], recipe: SetOptions, block_m: float, kept: int) -> tuple[float, int]:
    """Return the smallest block side with which few pictures are left out, and the number of pictures that are kept.

    If there is none, return the side that keeps the most pictures; 0 if no side keeps more than now.
    """
    best = (0.0, kept)
    for times in _TIMES:
        # The side is rounded to two digits, because the advice shows only a few.
        side = float(f"{block_m * times:.2g}")
        parts = split(shown, recipe.split or (), side, recipe.seed)
        if not _is_complete(parts, recipe):
            continue
        count = _kept(parts)
        if count > best[1]:
            best = (side, count)
        if count >= (1 - _FEW) * len(parts):
            break
    return best


def _without_overlap(jobs: Sequence[ImageJob], recipe: SetOptions) -> dict[str, Shown]:
    """Return what the pictures would show if chips did not overlap; chips that would show no annotation are left out."""
    found = {}
    for job in jobs:
        height, width = job.geobox.shape
        frame = Rect(0, 0, int(width), int(height))
        asked = np.array([number not in job.wrong or job.wrong[number].startswith("cut") for number in range(len(job.labels))])
        outlines = job.outlines_px[asked] if len(asked) else job.outlines_px
        for rect in chip_rects((frame.height, frame.width), recipe.chip or 0, 0):
            shares = visible_shares(outlines, rect, frame)
            if recipe.keep_empty or (shares > max(recipe.min_visible - 1e-9, 0)).any():
                found[chip_name(job.name, rect, "")] = Shown(job.name, ground_of(job.geobox[rect.slices_in(frame)]))
    return found


def _kept(part_of: Mapping[str, str]) -> int:
    """Return the number of pictures that are in some part."""
    return sum(bool(part) for part in part_of.values())


def _is_complete(part_of: Mapping[str, str], recipe: SetOptions) -> bool:
    """Return whether every part with a fraction above 0 has pictures."""
    there = set(part_of.values())
    return all(name in there for name, share in zip(PARTS, recipe.split or (), strict=True) if share > 0)
