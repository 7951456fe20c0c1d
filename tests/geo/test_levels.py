"""Windows of several scales: one order, in which nothing comes too late."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samgeo.errors import OptionError
from samgeo.geo.grid import Lattice, Rect
from samgeo.geo.levels import Levels


@st.composite
def many_levels(draw) -> Levels:
    window = draw(st.integers(4, 40))
    overlap = 2 * draw(st.integers(0, window // 4))
    sides = st.integers(1, 12 * window)
    scales = draw(st.lists(st.integers(2, 9), unique=True, max_size=3))
    return Levels.of(Lattice(draw(st.tuples(sides, sides)), window, overlap), (1, *sorted(scales)))


def share_pixels(one: Rect, other: Rect) -> bool:
    return not (one & other).is_empty


@settings(deadline=None)
@given(many_levels())
def test_no_window_that_is_to_come_reaches_above_the_next_row(levels: Levels) -> None:
    tops = [levels.rect(row, 0).y0 for row in range(levels.rows)]
    assert tops == sorted(tops)
    assert [levels.next_top(row) for row in range(levels.rows)] == [*tops[1:], None]


@settings(deadline=None)
@given(many_levels())
def test_every_window_of_every_scale_comes_once(levels: Levels) -> None:
    windows = list(levels)
    assert len(windows) == len(levels) == sum(levels.columns) == len(set(windows))
    for lattice, scale in zip(levels.lattices, levels.scales, strict=True):
        mine = [(own, column) for row, column in windows for at, one, own in [levels.locate(row)] if at == scale]
        assert sorted(mine) == list(lattice)
        assert lattice.window == levels.lattices[0].window * scale


@settings(deadline=None)
@given(many_levels(), st.data())
def test_neighbours_of_other_scales_are_those_that_share_pixels(levels: Levels, data: st.DataObject) -> None:
    row, column = data.draw(st.sampled_from(list(levels)))
    rect = levels.rect(row, column)
    others = [window for window in levels if levels.level(window[0]) != levels.level(row)]
    expected = {window for window in others if share_pixels(levels.rect(*window), rect)}
    assert set(levels.across(row, column)) == expected
    above = levels.row_above(row)
    own = levels.locate(row)[2]
    assert above is None if own == 0 else levels.locate(above) == (*levels.locate(row)[:2], own - 1)


@settings(deadline=None)
@given(many_levels(), st.integers(0, 500))
def test_rows_at_a_line_are_those_whose_windows_hold_it(levels: Levels, y: int) -> None:
    assert levels.rows_at(y) == {row for row in range(levels.rows) if levels.rect(row, 0).y0 <= y < levels.rect(row, 0).y1}


def test_one_scale_is_its_lattice() -> None:
    lattice = Lattice((300, 500), 100, 20)
    levels = Levels.of(lattice)
    assert list(levels) == list(lattice)
    assert [levels.rect(*window) for window in levels] == [lattice.rect(*window) for window in lattice]
    assert all(np.array_equal(levels.points(*window, 8), lattice.points(*window, 8)) for window in lattice)


def test_scales_behind_one_that_holds_all_of_the_raster_are_left_away() -> None:
    lattice = Lattice((300, 500), 100, 20)
    assert Levels.of(lattice, (1, 2, 5, 8)).scales == (1, 2, 5)
    assert Levels.of(Lattice((90, 90), 100, 20), (1, 2)).scales == (1,)


def test_more_rows_than_any_raster_has_are_refused() -> None:
    with pytest.raises(OptionError, match="give a larger window"):
        Levels.of(Lattice((10**15, 10), 2, 0))
