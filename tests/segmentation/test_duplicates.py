"""Objects settled row by row are those of greedy suppression among all objects of the raster."""

from __future__ import annotations

import numpy as np
import pytest

from samgeo.geo.grid import Lattice, Rect
from samgeo.geo.levels import Levels
from samgeo.segmentation.masks import nms
from samgeo.segmentation.masks.mask import Mask, iou
from samgeo.segmentation.masks.nms import settle
from samgeo.segmentation.masks.piece import Piece, Segment, place
from samgeo.segmentation.merge.merger import Merger
from samgeo.segmentation.merge.waiting import Waiting
from samgeo.segmentation.run.parts import Frontier, MergedRow
from samgeo.segmentation.windows.cut_edges import cut_pixels

LATTICE = Lattice((220, 100), window=60, overlap=20)
NO_RUNS = np.empty((0, 3), dtype=np.int32)


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
                scale = levels.locate(row)[0]
                cut = cut_pixels([seen.shift(-rect.x0, -rect.y0)], known, scale=scale)[0].shift(rect.x0, rect.y0)
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
    settled, merged = settled_in_stream(near_identical_rows(seed, levels), levels, threshold, merge_iou, stop_every=1)
    assert sorted(settled, key=place) == greedy(merged, threshold)
    assert merge_iou == 0.5 or len(settled) < len(merged)


def settled_in_stream(
    rows: list[dict[int, list[Piece]]], levels: Levels, threshold: float, merge_iou: float, stop_every: int
) -> tuple[list[Segment], list[Segment]]:
    """What is settled row by row, and what merging gave; a run that is stopped goes on from the files of the rows."""
    merger, waiting = Merger(levels, min_iou=merge_iou), Waiting(levels, threshold)
    settled, merged, steps, undecided = [], [], [], []
    for number, pieces in enumerate(rows, start=1):
        closed = merger.add(pieces)
        merged += closed
        kept, waits = waiting.settle(closed, merger)
        # The same, if everything that is undecided is looked at again.
        undecided += closed
        open_pieces, least_areas = merger.open_pieces_at(one.mask.rect for one in undecided)
        expected, undecided = settle(undecided, open_pieces, threshold, least_areas=least_areas)
        assert sorted(kept, key=place) == sorted(expected, key=place)
        settled += kept
        row = MergedRow(len(kept), merger.step(), waits)
        assert MergedRow.from_bytes(row.to_bytes()) == row
        steps.append(row)
        behind = Frontier.of(steps)
        assert sorted(behind.waiting.values(), key=place) == sorted(undecided, key=place)
        if number % stop_every == 0:
            merger = Merger(
                levels, min_iou=merge_iou, row=behind.row, open_objects=behind.open_objects, numbered=behind.numbered
            )
            waiting = Waiting(levels, threshold, behind.waiting, behind.waited)
    assert not undecided
    return settled, merged


@pytest.mark.parametrize("stop_every", [1, 1000])
@pytest.mark.parametrize("scales", [(1,), (1, 2)])
@pytest.mark.parametrize("seed", range(2))
def test_objects_that_wait_are_decided_in_the_same_row_as_if_all_were_looked_at_again(
    seed: int, scales: tuple[int, ...], stop_every: int
) -> None:
    levels = Levels.of(Lattice((340, 100), window=60, overlap=20), scales)
    rows = near_identical_rows(seed, levels)
    settled, merged = settled_in_stream(rows, levels, 0.8, 0.97, stop_every)
    assert 0 < len(settled) < len(merged)


def barges(rows: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """A river with a barge in each row of windows, at two scales: how much is written, and how many objects are compared."""
    levels = Levels.of(Lattice((20 + 80 * rows, 100), window=100, overlap=20), (1, 2))
    merger, waiting = Merger(levels), Waiting(levels, 0.5)
    written, compared, settled = 0, [0], 0
    monkeypatch.setattr(
        nms, "nearly_equal", lambda masks, iou, real=nms.nearly_equal: (compared.append(len(masks)), real(masks, iou))[1]
    )
    for row in range(levels.rows):
        rect = levels.rect(row, 0) & Rect(0, 0, 100, levels.shape[0])
        water = block(40, rect.y0, 70, rect.y1)
        ends = [water.clip(Rect(0, y, 100, y + 4)).runs for y in (rect.y0, rect.y1 - 4) if 0 < y < levels.shape[0] - 4]
        pieces = [Piece(water, 0.9, 0.9, (row, 0), 0, Mask(np.concatenate(ends)))]
        if levels.level(row) == 0:
            pieces.append(Piece(block(41, rect.y0 + 21, 69, rect.y0 + 66), 0.8, 0.9, (row, 0), 1, Mask(NO_RUNS)))
        kept, waits = waiting.settle(merger.add({0: pieces}), merger)
        settled += len(kept)
        written += len(MergedRow(len(kept), merger.step(), waits).to_bytes())
    assert settled == rows + 1
    return written, sum(compared[:-1])


def test_the_work_and_the_files_for_objects_that_wait_for_a_river_grow_with_its_height(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its coarse pieces tell nothing of how large it is at least, so that barges wait until it ends."""
    short, tall = barges(10, monkeypatch), barges(40, monkeypatch)
    assert all(3.3 * few < many < 4.7 * few for few, many in zip(short, tall, strict=True))


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
    merger, waiting, most, now = Merger(levels), Waiting(levels, 0.5), 0, 0
    settled: list[Segment] = []
    for row in range(levels.rows):
        rect = levels.rect(row, 0)
        water, boat = block(10, rect.y0, 50, rect.y1), block(11, rect.y0 + 21, 49, rect.y0 + 39)
        ends = [water.clip(Rect(10, y, 50, y + 4)).runs for y in (rect.y0, rect.y1 - 4)]
        pieces = [
            Piece(water, 0.9, 0.9, (row, 0), 0, Mask(np.concatenate(ends))),
            Piece(boat, 0.9, 0.9, (row, 0), 1, block(0, 0, 1, 1).clip(Rect(5, 5, 6, 6))),
        ]
        kept, waits = waiting.settle(merger.add({0: pieces}), merger)
        now += len(waits.added) - len(waits.gone)
        most, settled = max(most, now), [*settled, *kept]
    assert 0 < most < 4
    assert len(settled) == levels.rows + 1
