"""Several pixels as one: their mean, exactly where they lie."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import samgeo.geo.raster.coarse
from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.raster import Raster
from samgeo.testing.rasters import write_raster


def expected(pixels: np.ndarray, valid: np.ndarray, rect: Rect, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Square by square, as the words say it."""
    height, width = (length // factor for length in rect.shape)
    means, enough = np.zeros((height, width, 3), dtype=np.uint8), np.zeros((height, width), dtype=bool)
    for row, column in np.ndindex(height, width):
        y, x = rect.y0 + row * factor, rect.x0 + column * factor
        here = slice(max(y, 0), max(y + factor, 0)), slice(max(x, 0), max(x + factor, 0))
        inside = valid[here]
        if inside.sum() and 2 * inside.sum() >= inside.size:
            enough[row, column] = True
            total = pixels[here][inside].astype(int).sum(axis=0)
            means[row, column] = (total + inside.sum() // 2) // inside.sum()
    return means, enough


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 100),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    factor=st.integers(1, 5),
    start=st.tuples(st.integers(-3, 8), st.integers(-3, 8)),
    size=st.tuples(st.integers(0, 8), st.integers(0, 8)),
    at_once=st.sampled_from([1, 100, 1 << 22]),
)
def test_a_coarse_pixel_is_the_mean_of_what_is_valid_in_its_square(seed, shape, factor, start, size, at_once) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype(np.uint8)
    pixels[np.random.default_rng(seed + 1).random(shape) < 0.4] = 9
    rect = Rect(*(factor * side for side in (start[0], start[1], start[0] + size[0], start[1] + size[1])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samgeo.geo.raster.coarse, "PIXELS_AT_ONCE", at_once)
        means, valid = Raster.open(pixels, nodata=9).read_coarse(rect, factor)
    wanted, enough = expected(pixels, (pixels != 9).any(axis=2), rect, factor)
    assert np.array_equal(valid, enough)
    assert np.array_equal(means, wanted)


@pytest.mark.parametrize("overviews", [(), (2,), (4,), (2, 4)])
@pytest.mark.parametrize("shape", [(1000, 1200), (1001, 1199), (1003, 1203)])
def test_what_overviews_show_lies_where_it_is(tmp_path: Path, overviews: tuple[int, ...], shape: tuple[int, int]) -> None:
    y, x = np.indices(shape)
    ramp = np.stack([x % 256, y % 256, x // 256 * 16 + y // 256], axis=2).astype(np.uint8)
    raster = Raster.open(write_raster(tmp_path / "image.tif", ramp, overviews=overviews))
    means, valid = raster.read_coarse(Rect(640, 516, 640 + 200, 516 + 200), 4)
    assert valid.all()
    for axis, low in ((0, 640), (1, 516)):
        along = np.arange(low + 1.5, low + 200, 4) % 256
        found = means[:, :, 0] if axis == 0 else means[:, :, 1].T
        steady = (along > 8) & (along < 248)
        assert np.abs(found[:, steady].astype(float) - along[steady]).max() <= 0.5


def test_the_end_of_a_raster_that_squares_do_not_divide_is_there(tmp_path: Path) -> None:
    pixels = np.full((1001, 1001, 3), 200, np.uint8)
    for overviews in ((), (2, 4)):
        raster = Raster.open(write_raster(tmp_path / f"{len(overviews)}.tif", pixels, overviews=overviews))
        means, valid = raster.read_coarse(Rect(900, 900, 1100, 1100), 4)
        assert valid[:26, :26].all()
        assert valid.sum() == 26 * 26
        assert set(np.unique(means[valid])) == {200}


@pytest.mark.parametrize("rect", [Rect(1, 0, 9, 8), Rect(0, 2, 8, 8), Rect(0, 0, 7, 8)])
def test_what_does_not_consist_of_squares_is_refused(rect: Rect) -> None:
    with pytest.raises(OptionError, match="squares of 4 x 4"):
        Raster.open(np.zeros((20, 20, 3), np.uint8)).read_coarse(rect, 4)
