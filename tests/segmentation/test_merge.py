"""Pieces that windows saw become whole objects."""

import numpy as np
import pytest
from cut_pieces import cut_at

from samgeo.geo.grid import Lattice, Rect
from samgeo.geo.levels import Levels
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.piece import Piece
from samgeo.segmentation.merge.merger import Merger, merge
from samgeo.segmentation.prompts.assignment import join
from samgeo.segmentation.run.parts import MergedRow

LATTICE = Lattice((100, 180), window=100, overlap=20)


def block(rect: Rect) -> Mask:
    return Mask.from_array(np.ones(rect.shape, dtype=bool), rect.x0, rect.y0)


def piece(rect: Rect, column: int, *, cut: bool, iou: float = 0.9, rank: int = 0) -> Piece:
    return Piece(block(rect), iou, 0.95, (0, column), rank, cut_at(block(rect), Levels.of(LATTICE), (0, column), cut=cut))


def merged(*pieces: Piece) -> list:
    row = {column: [one for one in pieces if one.window[1] == column] for column in (0, 1)}
    return [segment for closed in merge([row], Levels.of(LATTICE)) for segment in closed]


def test_the_lattice_of_these_tests_has_two_windows_that_share_columns_80_to_100() -> None:
    assert LATTICE.rect(0, 0) & LATTICE.rect(0, 1) == Rect(80, 0, 100, 100)
    assert (LATTICE.rows, LATTICE.columns) == (1, 2)


def test_two_views_of_a_complete_object_are_one_and_the_better_stands() -> None:
    seen = piece(Rect(82, 10, 98, 40), 0, cut=False, iou=0.8), piece(Rect(82, 10, 97, 40), 1, cut=False, iou=0.9)
    (segment,) = merged(*seen)
    assert segment.mask == seen[1].mask
    assert segment.predicted_iou == 0.9


def test_a_complete_view_stands_for_a_cut_one_of_higher_score() -> None:
    cut, whole = piece(Rect(85, 10, 100, 40), 0, cut=True, iou=0.99), piece(Rect(85, 10, 120, 40), 1, cut=False, iou=0.6)
    (segment,) = merged(cut, whole)
    assert segment.mask == whole.mask


def test_cut_views_alone_are_united_and_their_scores_weighted_by_area() -> None:
    left, right = piece(Rect(0, 10, 100, 20), 0, cut=True, iou=0.6), piece(Rect(80, 10, 180, 20), 1, cut=True, iou=0.8)
    (segment,) = merged(left, right)
    assert segment.mask == block(Rect(0, 10, 180, 20))
    assert segment.predicted_iou == pytest.approx(0.7)


def test_an_outline_along_a_windows_edge_is_said() -> None:
    (lonely,) = merged(piece(Rect(60, 10, 100, 40), 0, cut=True))
    assert not lonely.complete
    (continued,) = merged(piece(Rect(0, 10, 100, 20), 0, cut=True), piece(Rect(80, 10, 180, 20), 1, cut=True))
    assert continued.complete


def test_neighbours_that_touch_in_the_shared_strip_stay_two() -> None:
    one, other = piece(Rect(81, 10, 99, 30), 0, cut=False), piece(Rect(81, 30, 99, 50), 1, cut=False)
    assert [segment.mask for segment in merged(one, other)] == [one.mask, other.mask]


def test_a_part_complete_in_the_strip_is_not_the_whole_that_reaches_out_of_it() -> None:
    """Both look alike inside the strip, but a complete mask is known everywhere: there is nothing of it to the left."""
    whole, part = piece(Rect(20, 10, 96, 40), 0, cut=False), piece(Rect(84, 10, 96, 40), 1, cut=False)
    assert len(merged(whole, part)) == 2


def test_a_tie_goes_to_the_earlier_window() -> None:
    one, other = piece(Rect(82, 10, 98, 40), 0, cut=False), piece(Rect(82, 10, 98, 39), 1, cut=False)
    (segment,) = merged(other, one)
    assert segment.mask == one.mask


def test_a_component_is_given_out_once_no_later_row_can_touch_it() -> None:
    lattice = Lattice((260, 100), window=100, overlap=20)

    def tall(rect: Rect, row: int, *, cut: bool) -> Piece:
        return Piece(block(rect), 0.9, 0.95, (row, 0), 0, cut_at(block(rect), Levels.of(lattice), (row, 0), cut=cut))

    rows = [
        {0: [tall(Rect(0, 0, 10, 50), 0, cut=False), tall(Rect(50, 70, 60, 100), 0, cut=True)]},
        {0: [tall(Rect(50, 80, 60, 180), 1, cut=True)]},
        {0: [tall(Rect(50, 160, 60, 250), 2, cut=True)]},
    ]
    closed = list(merge(rows, Levels.of(lattice)))
    assert [[segment.mask for segment in some] for some in closed] == [
        [block(Rect(0, 0, 10, 50))],
        [],
        [block(Rect(50, 70, 60, 250))],
    ]


def test_no_pieces_give_no_objects() -> None:
    assert [len(closed) for closed in merge([{0: [], 1: []}], Levels.of(LATTICE))] == [0]


def river(rows: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int, int]:
    """Merge an object as tall as the raster: the bytes that are kept, and how many masks are clipped before and at its end."""
    levels = Levels.of(Lattice((80 * rows + 20, 100), window=100, overlap=20))
    merger, kept, clips = Merger(levels), 0, [0]
    clip = Mask.clip

    def counted(mask: Mask, rect: Rect) -> Mask:
        clips[0] += 1
        return clip(mask, rect)

    monkeypatch.setattr(Mask, "clip", counted)
    closed = []
    for row in range(rows):
        before = clips[0]
        rect = levels.rect(row, 0)
        mask = block(Rect(40, rect.y0, 60, rect.y1))
        ends = [clip(mask, Rect(40, y, 60, y + 4)).runs for y in (rect.y0, rect.y1 - 4) if 0 < y < levels.shape[0] - 4]
        closed = merger.add({0: [Piece(mask, 0.9, 0.95, (row, 0), 0, Mask(np.concatenate(ends)))]})
        kept += len(MergedRow(len(closed), merger.step()).to_bytes())
    assert [(one.mask.area, one.complete) for one in closed] == [(20 * levels.shape[0], True)]
    return kept, before, clips[0] - before


def test_the_work_and_the_files_of_an_object_as_tall_as_the_raster_grow_with_its_height(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short, tall = river(20, monkeypatch), river(80, monkeypatch)
    assert all(3.5 * few < many < 4.5 * few for few, many in zip(short, tall, strict=True))


def test_answers_to_a_prompt_are_joined_without_the_rows_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lattice = Lattice((100_000, 180), window=100, overlap=20)
    levels, added = Levels.of(lattice), []
    monkeypatch.setattr(Merger, "add", lambda merger, pieces, add=Merger.add: added.append(pieces) or add(merger, pieces))
    pieces = []
    for row in (1000, 1001):
        rect = levels.rect(row, 0)
        mask = block(Rect(40, 80_050, 60, 80_150)).clip(rect)
        pieces.append(Piece(mask, 0.9, 0.95, (row, 0), 0, cut_at(mask, levels, (row, 0), cut=True)))
    whole = join(pieces, lattice, (40.0, 80_050.0, 60.0, 80_150.0))
    assert whole.mask == block(Rect(40, 80_050, 60, 80_150))
    assert len(added) == 2
