"""Windows, cores and points: everything of the raster once, and nothing that depends on the window."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samgeo.errors import OptionError
from samgeo.geo.grid import Lattice, Rect


@st.composite
def lattices(draw) -> Lattice:
    window = draw(st.integers(2, 90))
    overlap = 2 * draw(st.integers(0, window // 4))
    sides = st.integers(1, 6 * window)
    shape = draw(st.tuples(sides, sides))
    return Lattice(shape, window, overlap)


rects = st.builds(Rect, *[st.integers(-50, 50)] * 4)


@settings(deadline=None)
@given(lattices())
def test_cores_tile_the_raster_and_lie_in_their_windows(lattice: Lattice) -> None:
    covered = np.zeros(lattice.shape, dtype=int)
    frame = Rect(0, 0, lattice.shape[1], lattice.shape[0])
    for index in lattice:
        core = lattice.core(*index)
        assert core in lattice.rect(*index)
        assert core in frame
        assert not core.is_empty
        covered[core.slices_in(frame)] += 1
    assert (covered == 1).all()
    assert len(lattice) == len(list(lattice)) == lattice.rows * lattice.columns


@settings(deadline=None)
@given(lattices())
def test_inner_core_edges_have_half_the_overlap_of_context(lattice: Lattice) -> None:
    for row, column in lattice:
        window, core = lattice.rect(row, column), lattice.core(row, column)
        if column > 0:
            assert core.x0 - window.x0 == lattice.overlap // 2
        if column < lattice.columns - 1:
            assert window.x1 - core.x1 == lattice.overlap // 2
        if row > 0:
            assert core.y0 - window.y0 == lattice.overlap // 2
        if row < lattice.rows - 1:
            assert window.y1 - core.y1 == lattice.overlap // 2


@settings(deadline=None)
@given(lattices())
def test_every_pixel_is_seen_and_only_direct_neighbours_meet(lattice: Lattice) -> None:
    last = lattice.rect(lattice.rows - 1, lattice.columns - 1)
    assert last.x1 >= lattice.shape[1]
    assert last.y1 >= lattice.shape[0]
    assert (lattice.rect(0, 0) & lattice.rect(0, 2)).is_empty
    assert (lattice.rect(0, 0) & lattice.rect(2, 0)).is_empty


@settings(deadline=None, max_examples=60)
@given(lattices(), st.integers(1, 20))
def test_each_point_of_the_raster_is_decoded_once_in_the_core_it_lies_in(lattice: Lattice, per_side: int) -> None:
    height, width = lattice.shape
    points = {index: lattice.points(*index, per_side) for index in lattice}
    for index, inside in points.items():
        core = lattice.core(*index)
        assert ((inside > (core.x0, core.y0)) & (inside < (core.x1, core.y1))).all()
    found = np.concatenate(list(points.values()))
    spacing = lattice.window / per_side
    axes = []
    for length in (width, height):
        centres = np.floor((np.arange(int(length / spacing) + 2) + 0.5) * spacing)
        axes.append(centres[centres < length] + 0.5)
    expected = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    order = np.lexsort(found.T)
    assert np.array_equal(found[order], expected[np.lexsort(expected.T)])


@pytest.mark.parametrize(("window", "per_side"), [(1024, 32), (512, 16), (1000, 32), (448, 30)])
def test_a_raster_of_one_window_has_the_points_of_sam(window: int, per_side: int) -> None:
    lattice = Lattice((window, window), window, 0)
    axis = np.floor((np.arange(per_side) + 0.5) * window / per_side) + 0.5
    expected = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    assert np.array_equal(lattice.points(0, 0, per_side), expected)


def test_points_do_not_depend_on_overlap_or_the_extent_of_the_raster() -> None:
    def points(shape: tuple[int, int], overlap: int) -> set[tuple[float, float]]:
        lattice = Lattice(shape, 256, overlap)
        return {tuple(point) for index in lattice for point in lattice.points(*index, 16).tolist()}

    assert points((900, 700), 0) == points((900, 700), 64) == points((900, 700), 128)
    assert points((450, 350), 64) == {(x, y) for x, y in points((900, 700), 128) if x < 350 and y < 450}


@pytest.mark.parametrize(
    ("shape", "window", "overlap", "words"),
    [
        ((100, 100), 1, 0, "window is 1"),
        ((100, 100), 64, 31, "give an even number from 0 to 32"),
        ((100, 100), 64, 34, "give an even number from 0 to 32"),
        ((100, 100), 64, -2, "give an even number from 0 to 32"),
        ((0, 100), 64, 0, "no pixels; give a raster"),
    ],
)
def test_impossible_sizes_are_refused(shape, window, overlap, words) -> None:
    with pytest.raises(OptionError, match=words):
        Lattice(shape, window, overlap)


@settings(deadline=None)
@given(rects, rects)
def test_rects_meet_as_sets_of_pixels_do(one: Rect, other: Rect) -> None:
    def pixels(rect: Rect) -> np.ndarray:
        canvas = np.zeros((100, 100), dtype=bool)
        if not rect.is_empty:
            canvas[rect.slices_in(Rect(-50, -50, 50, 50))] = True
        return canvas

    assert np.array_equal(pixels(one & other), pixels(one) & pixels(other))
    assert pixels(one).sum() == one.width * one.height
    assert one.shape == (one.height, one.width)
