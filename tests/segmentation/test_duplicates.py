"""Objects settled row by row are those of greedy suppression among all objects of the raster."""

from __future__ import annotations

import numpy as np
import pytest

from samgeo.geo.grid import Lattice, Rect
from samgeo.geo.levels import Levels
from samgeo.segmentation.masks.mask import Mask, iou
from samgeo.segmentation.masks.nms import settle
from samgeo.segmentation.masks.piece import Piece, Segment, place
from samgeo.segmentation.merge.merger import Merger
from samgeo.segmentation.run.parts import Frontier, MergedRow
from samgeo.segmentation.windows.cut_edges import cut_pixels

LATTICE = Lattice((220, 100), window=60, overlap=20)


def block(x0: int, y0: int, x1: int, y1: int) -> Mask:
    return Mask.from_array(np.ones((y1 - y0, x1 - x0), dtype=bool), x0, y0)


def near_identical_rows(seed: int, levels: Levels) -> list[dict[int, list[Piece]]]:
    """Rectangles, most in several copies that differ by a few pixels, as windows see them; some are as long as the raster."""
    rng = np.random.default_rng(seed)
    height, width = levels.shape
    drawn = []
    for _ in range(14):
        x, y = rng.integers(0, (width - 20, height - 20))
        sides = rng.integers(8, 30, 2) if rng.random() < 0.8 else (12, height)
        for _ in range(rng.integers(1, 4)):
            jitter = rng.integers(-2, 3, 4)
            drawn.append(block(*(np.array([x, y, x + sides[0], y + sides[1]]) + jitter + 2).tolist()))
    known = np.ones((62, 62), dtype=bool)
    rows = []
    for row in range(levels.rows):
        columns: dict[int, list[Piece]] = {}
        for column in range(levels.columns[row]):
            rect = levels.rect(row, column)
            frame = rect & Rect(0, 0, width, height)
            known[:] = True
            known[0], known[-1] = rect.y0 > 0, rect.y1 < height
            known[:, 0], known[:, -1] = rect.x0 > 0, rect.x1 < width
            columns[column] = []
            for mask in drawn:
                seen = mask.clip(frame)
                if seen.is_empty:
                    continue
                cut = cut_pixels([seen.shift(-rect.x0, -rect.y0)], known)[0].shift(rect.x0, rect.y0)
                score = float(rng.integers(60, 100)) / 100
                columns[column].append(Piece(seen, score, 0.9, (row, column), len(columns[column]), cut))
        rows.append(columns)
    return rows


def greedy(objects: list[Segment], threshold: float) -> list[Segment]:
    kept: list[Segment] = []
    for one in sorted(objects, key=lambda one: (not one.complete, -one.predicted_iou, place(one))):
        if all(iou(one.mask, other.mask) <= threshold for other in kept):
            kept.append(one)
    return sorted(kept, key=place)


# Merging joins pieces of a lower IoU, as by default, or of a higher one: then it leaves many near-identical objects.
@pytest.mark.parametrize("merge_iou", [0.5, 0.97])
@pytest.mark.parametrize("threshold", [0.5, 0.8])
@pytest.mark.parametrize("seed", range(6))
def test_what_is_settled_in_the_stream_is_greedy_suppression_of_all(seed: int, threshold: float, merge_iou: float) -> None:
    levels = Levels.of(LATTICE)
    rows = near_identical_rows(seed, levels)
    merger, waiting, settled, merged, steps = Merger(levels, min_iou=merge_iou), [], [], [], []
    for pieces in rows:
        closed = merger.add(pieces)
        merged += closed
        open_pieces, least_areas = merger.open_pieces_at(one.mask.rect for one in [*waiting, *closed])
        kept, waiting = settle([*waiting, *closed], open_pieces, threshold, least_areas=least_areas)
        settled += kept
        # A run that is stopped here goes on from the files of the rows.
        row = MergedRow(len(kept), merger.step(), tuple(waiting))
        assert MergedRow.from_bytes(row.to_bytes()) == row
        steps.append(row)
        behind = Frontier.of(steps)
        merger = Merger(levels, min_iou=merge_iou, row=behind.row, open_objects=behind.open_objects, numbered=behind.numbered)
        waiting = list(behind.waiting)
    assert not waiting
    assert sorted(settled, key=place) == greedy(merged, threshold)
    assert merge_iou == 0.5 or len(settled) < len(merged)


def test_an_object_waits_for_an_open_one_that_may_be_nearly_equal_and_for_no_other() -> None:
    house = Segment(block(10, 10, 30, 30), 0.9, 0.9, True)
    nearly, part, road = block(10, 9, 30, 31), block(10, 10, 12, 30), block(0, 0, 200, 200)
    for mask, waits in ((nearly, True), (part, False), (road, False), (block(60, 60, 80, 80), False)):
        kept, waiting = settle([house], [Piece(mask, 0.9, 0.9, (0, 0), 0, mask)], 0.8)
        assert (kept, waiting) == (([], [house]) if waits else ([house], []))
    # What is nearly equal to one that waits does so too: which of the two stays depends on it.
    twin = Segment(block(10, 10, 30, 31), 0.8, 0.9, True)
    assert settle([house, twin], [Piece(nearly, 0.9, 0.9, (0, 0), 0, nearly)], 0.8) == ([], [house, twin])


def test_a_complete_object_goes_before_a_cut_one_and_none_keeps_both() -> None:
    cut, whole = Segment(block(0, 0, 20, 20), 0.99, 0.9, False), Segment(block(0, 0, 20, 21), 0.7, 0.9, True)
    assert settle([cut, whole], [], 0.8) == ([whole], [])
    assert settle([cut, whole], [], None) == ([whole, cut], [])


def test_objects_in_a_river_do_not_wait_until_it_ends() -> None:
    """Boats that the pieces of a river cover could be equal to a piece, but not to the river, which is too large."""
    levels = Levels.of(Lattice((60 + 40 * 40, 60), window=60, overlap=20))
    merger, waiting, most = Merger(levels), [], 0
    settled: list[Segment] = []
    for row in range(levels.rows):
        rect = levels.rect(row, 0)
        water, boat = block(10, rect.y0, 50, rect.y1), block(11, rect.y0 + 21, 49, rect.y0 + 39)
        ends = [water.clip(Rect(10, y, 50, y + 4)).runs for y in (rect.y0, rect.y1 - 4)]
        pieces = [
            Piece(water, 0.9, 0.9, (row, 0), 0, Mask(np.concatenate(ends))),
            Piece(boat, 0.9, 0.9, (row, 0), 1, block(0, 0, 1, 1).clip(Rect(5, 5, 6, 6))),
        ]
        closed = merger.add({0: pieces})
        undecided = [*waiting, *closed]
        open_pieces, least_areas = merger.open_pieces_at(one.mask.rect for one in undecided)
        kept, waiting = settle(undecided, open_pieces, 0.5, least_areas=least_areas)
        most, settled = max(most, len(waiting)), [*settled, *kept]
    assert 0 < most < 4
    assert len(settled) == levels.rows + 1
