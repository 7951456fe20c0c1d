"""Why a split leaves pictures out, and with which overlap of chips or side of blocks it would not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from samgeo.geo.grid import Rect
from samgeo.samrs.chips import chip_name, chip_rects, visible_shares
from samgeo.samrs.planning import ImageJob
from samgeo.samrs.recipe import SetOptions
from samgeo.samrs.split import PARTS, Shown, ground_of, split

__all__ = ["advise"]

# Sides of blocks that are tried, in sides of the blocks that were used.
_TIMES = (1.5, 2, 3, 4, 6, 8, 12, 16)
# A side that leaves out no more than this share is good enough; larger blocks only make the parts less alike.
_FEW = 0.1


def advise(
    shown: Mapping[str, Shown], part_of: Mapping[str, str], jobs: Sequence[ImageJob], recipe: SetOptions, block_m: float
) -> str:
    """Say how many pictures a split leaves out, why, and what would keep them.

    Parameters
    ----------
    shown : mapping of str to Shown
        Pictures by name.
    part_of : mapping of str to str
        From `split`.
    jobs : sequence of ImageJob
        The images.
    recipe : SetOptions
        With the shares and the seed of the split.
    block_m : float
        Side of the blocks that were used, in metres.

    Returns
    -------
    str
        Two or three sentences; empty where no picture is left out.
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
    """Return the smallest side with which few pictures are left out, else that which keeps most; 0 where none keeps more."""
    best = (0.0, kept)
    for times in _TIMES:
        # Two digits, as the side is said with few.
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
    """Return what pictures would show if chips did not overlap; those that show no annotation are none."""
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
    return sum(bool(part) for part in part_of.values())


def _is_complete(part_of: Mapping[str, str], recipe: SetOptions) -> bool:
    """Whether every part that is to have a share has pictures."""
    there = set(part_of.values())
    return all(name in there for name, share in zip(PARTS, recipe.split or (), strict=True) if share > 0)
