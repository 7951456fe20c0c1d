"""Pieces of several scales: which are one object, and what stands for it."""

import numpy as np
import pytest
from cut_pieces import cut_at

from samgeo.geo.grid import Lattice, Rect
from samgeo.geo.levels import Levels
from samgeo.segmentation.masks.mask import Mask, union
from samgeo.segmentation.masks.piece import Piece
from samgeo.segmentation.merge.merger import merge

# Fine windows 0-100, 80-180, 160-260, ...; those of scale 2 are 0-200, 160-360.
LEVELS = Levels.of(Lattice((100, 360), window=100, overlap=20), (1, 2))
COARSE, FINE = 0, 1


def block(*sides: int) -> Mask:
    rect = Rect(*sides)
    return Mask.from_array(np.ones(rect.shape, dtype=bool), rect.x0, rect.y0)


def piece(row: int, column: int, mask: Mask, *, cut: bool, iou: float = 0.9) -> Piece:
    return Piece(mask, iou, 0.95, (row, column), 0, cut_at(mask, LEVELS, (row, column), cut=cut))


def merged(*pieces: Piece) -> list:
    rows = [
        {column: [one for one in pieces if one.window == (row, column)] for column in range(columns)}
        for row, columns in enumerate(LEVELS.columns)
    ]
    return [segment for closed in merge(rows, LEVELS) for segment in closed]


def test_the_windows_of_these_tests() -> None:
    assert LEVELS.columns == (2, 5)
    assert LEVELS.rect(COARSE, 1) == Rect(160, 0, 360, 200)
    assert LEVELS.rect(FINE, 1) == Rect(80, 0, 180, 100)


def test_a_fine_complete_piece_stands_for_a_coarse_one_however_good_that_is() -> None:
    fine, coarse = block(10, 10, 70, 70), block(8, 8, 72, 72)
    (segment,) = merged(piece(FINE, 0, fine, cut=False, iou=0.6), piece(COARSE, 0, coarse, cut=False, iou=0.99))
    assert segment.mask == fine
    assert segment.predicted_iou == 0.6


def test_fine_pieces_draw_what_a_coarse_one_holds_together() -> None:
    """Between the fine pieces is a window that saw nothing: there the coarse mask is drawn."""
    left, right = block(11, 20, 100, 80), block(160, 20, 259, 80)
    (segment,) = merged(
        piece(COARSE, 0, block(8, 18, 200, 82), cut=True),
        piece(COARSE, 1, block(160, 18, 258, 82), cut=True),
        piece(FINE, 0, left, cut=True),
        piece(FINE, 2, right, cut=True),
    )
    assert segment.mask == union([left, block(100, 18, 160, 82), right])
    assert segment.complete


def test_a_complete_coarse_piece_says_what_belongs_together_and_the_scores() -> None:
    coarse = piece(COARSE, 0, block(10, 18, 188, 82), cut=False, iou=0.8)
    left = piece(FINE, 0, block(11, 20, 100, 80), cut=True, iou=0.99)
    (segment,) = merged(coarse, left)
    assert segment.mask == union([left.mask, block(100, 18, 188, 82)])
    assert (segment.predicted_iou, segment.complete) == (0.8, True)
    apart = piece(FINE, 1, block(80, 20, 100, 30), cut=True)
    assert len(merged(coarse, left, apart)) == 2


def test_a_fine_piece_that_leaves_out_a_thick_part_is_not_believed_there() -> None:
    coarse = piece(COARSE, 0, block(10, 18, 188, 82), cut=False)
    notched = block(12, 20, 100, 80) - block(40, 50, 60, 80) - block(70, 20, 77, 40)
    (segment,) = merged(coarse, piece(FINE, 0, notched, cut=True))
    # A notch of 20 pixels comes back, to the edge that the coarse mask has there; one of 7 pixels stays, as do the edges.
    assert segment.mask == union([notched, block(40, 50, 60, 82), block(100, 18, 188, 82)])


def test_of_several_pieces_of_a_window_the_one_that_agrees_most_draws() -> None:
    coarse = piece(COARSE, 0, block(10, 18, 188, 82), cut=False)
    right, more = block(12, 20, 100, 80), block(12, 5, 100, 95)
    seen = [piece(FINE, 0, more, cut=True, iou=0.99), Piece(right, 0.6, 0.9, (FINE, 0), 1, cut_at(right, LEVELS, (FINE, 0)))]
    (segment,) = merged(coarse, *seen)
    assert segment.mask == union([right, block(100, 18, 188, 82)])


def test_a_fine_piece_of_something_else_draws_nothing() -> None:
    coarse, other = block(10, 10, 190, 90), block(20, 20, 45, 45)
    assert {segment.mask for segment in merged(piece(COARSE, 0, coarse, cut=False), piece(FINE, 0, other, cut=False))} == {
        coarse,
        other,
    }


def test_what_a_chain_leads_to_is_not_the_same_object() -> None:
    """Where window 0 of scale 2 meets window 2 of scale 1, the cut piece and the barn look alike; the field does not."""
    field = piece(COARSE, 1, block(165, 10, 350, 90), cut=False)
    strip = piece(COARSE, 0, block(165, 10, 200, 90), cut=True)
    barn = piece(FINE, 2, block(165, 10, 205, 90), cut=False)
    assert {segment.mask for segment in merged(field, strip, barn)} == {field.mask, barn.mask}


def test_two_fields_that_a_coarse_mask_holds_together_stay_two() -> None:
    left, right = block(5, 10, 95, 90), block(95, 10, 165, 90)
    both = piece(COARSE, 0, union([left, right]), cut=False)
    seen = [piece(FINE, 0, left, cut=False), piece(FINE, 1, right, cut=False)]
    assert {segment.mask for segment in merged(both, *seen)} == {left, right}


def test_what_a_coarse_piece_explains_by_less_than_half_stays_an_object_of_its_own() -> None:
    """A river through all windows, and a lake in it that a coarse window sees whole."""
    lake = block(205, 10, 345, 95)
    river = [piece(FINE, column, block(80 * column, 40, 80 * column + 100, 60), cut=True) for column in (0, 1)]
    basin = [
        piece(FINE, column, block(*sides), cut=True) for column, sides in ((3, (240, 10, 340, 95)), (4, (320, 10, 345, 95)))
    ]
    found = merged(piece(COARSE, 1, lake, cut=False), *river, *basin)
    assert {segment.mask for segment in found} == {lake, block(0, 40, 180, 60)}


def test_two_cut_pieces_are_not_compared_where_their_windows_hardly_meet() -> None:
    levels = Levels.of(Lattice((100, 330), window=100, overlap=40), (1, 2))
    # The window of scale 2 ends at 200, the fine one begins at 180: less than the overlap of 40.
    assert levels.rect(0, 0) & levels.rect(1, 3) == Rect(180, 0, 200, 100)
    coarse = Piece(block(100, 10, 200, 30), 0.9, 0.9, (0, 0), 0, cut_at(block(100, 10, 200, 30), levels, (0, 0)))
    fine = Piece(block(180, 10, 280, 30), 0.9, 0.9, (1, 3), 0, cut_at(block(180, 10, 280, 30), levels, (1, 3)))
    empty = {column: [] for column in range(levels.columns[1])}
    assert len([one for closed in merge([{0: [coarse], 1: []}, empty | {3: [fine]}], levels) for one in closed]) == 2


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_object_that_no_window_saw_whole_says_so(order: tuple[int, int]) -> None:
    pieces = [piece(COARSE, 0, block(100, 10, 200, 60), cut=True), piece(FINE, 1, block(100, 10, 180, 60), cut=True)]
    (segment,) = merged(*(pieces[index] for index in order))
    assert not segment.complete
