"""The shift between two dates, and rasters of other grids."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import rasterio
import rasterio.warp
from scipy import ndimage

from samgeo import Raster
from samgeo.errors import RasterError, RasterWarning
from samgeo.geo.grid import Rect
from samgeo.geo.raster.sources.warped import WarpedSource
from samgeo.synthetic import TwoDates, two_dates
from samgeo.time_series.alignment import align
from samgeo.time_series.shift import estimate_shift


@pytest.fixture(scope="module")
def town() -> TwoDates:
    return two_dates((256, 256), seed=3, light="other", season=0.8, haze=0.2, absent_cars=0.3)


def opened(image: np.ndarray) -> Raster:
    return Raster.open(image, check=False)


def moved(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """An image whose content is moved to the right and down, with the edge repeated."""
    shifted = ndimage.shift(image.astype(np.float64), (y, x, 0), order=3, mode="nearest")
    return np.clip(np.round(shifted), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (1.5, -1.5), (-0.6, 3.0), (-14.0, 21.5)])
def test_the_shift_is_measured_in_another_light_and_season(town: TwoDates, x: float, y: float) -> None:
    shift = estimate_shift(opened(town.before.image), opened(moved(town.after.image, x, y)))
    assert shift is not None
    assert (shift.x_px, shift.y_px) == pytest.approx((x, y), abs=0.15)


def test_a_small_shift_is_corrected_and_a_large_one_refused(town: TwoDates) -> None:
    before = opened(town.before.image)
    aligned = align(before, opened(moved(town.after.image, 1.5, -1.5)))
    assert aligned.is_corrected
    frame = Rect(8, 8, 248, 248)
    pixels, valid = aligned.raster.read(frame)
    assert valid.all()
    difference = np.abs(pixels.astype(float) - town.after.image[8:-8, 8:-8]).mean()
    assert difference < 0.4 * np.abs(moved(town.after.image, 1.5, -1.5).astype(float) - town.after.image)[8:-8, 8:-8].mean()
    with pytest.raises(RasterError, match=r"30\.\d pixels to the right.*more than 5.*max_shift_px"):
        align(before, opened(moved(town.after.image, 30.2, 0.0)))
    assert align(before, opened(moved(town.after.image, 30.2, 0.0)), max_shift_px=40.0).is_corrected


def test_a_shift_that_cannot_be_measured_is_told(town: TwoDates) -> None:
    flat = np.full((256, 256, 3), 90, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    for second in (flat, noise):
        with pytest.warns(RasterWarning, match="cannot be measured"):
            aligned = align(opened(town.before.image), opened(second))
        assert aligned.shift is None
        assert not aligned.is_corrected


def test_a_raster_of_another_crs_and_resolution_lies_on_the_first(town: TwoDates, tmp_path) -> None:
    scene = town.before
    first = Raster.open(scene.save(tmp_path / "first.tif"), check=False)
    for resolution in (0.14, 0.45):
        bounds = rasterio.transform.array_bounds(256, 256, scene.geobox.affine)
        affine, width, height = rasterio.warp.calculate_default_transform(
            str(scene.geobox.crs), "EPSG:3857", 256, 256, *bounds, resolution=resolution
        )
        values = np.zeros((3, height, width), np.uint8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rasterio.warp.reproject(
                np.moveaxis(scene.image, -1, 0), values, src_transform=scene.geobox.affine, src_crs=str(scene.geobox.crs),
                dst_transform=affine, dst_crs="EPSG:3857", resampling=rasterio.warp.Resampling.cubic,
            )  # fmt: skip
        path = tmp_path / f"second{resolution}.tif"
        profile = {"driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "uint8", "nodata": 0}
        with rasterio.open(path, "w", crs="EPSG:3857", transform=affine, **profile) as file:
            file.write(values)
        aligned = align(first, Raster.open(path, check=False))
        assert aligned.shift is not None
        assert aligned.shift.length_px < 0.15
        pixels, valid = aligned.raster.read(Rect(0, 0, 256, 256))
        assert valid.mean() > 0.97
        usual = np.abs(np.diff(scene.image.astype(float), axis=1)).mean()
        assert np.abs(pixels.astype(float) - scene.image)[valid].mean() < 0.6 * usual


def test_a_pixel_does_not_depend_on_the_rectangle_that_is_read(town: TwoDates, tmp_path) -> None:
    raster = Raster.open(town.before.save(tmp_path / "image.tif"), check=False)
    grid = raster.geobox.zoom_out(1.7).rotate(11)
    warped = Raster(WarpedSource(raster, grid, (0.3, -0.4)), (1, 2, 3), (None,) * 3, None)
    height, width = warped.shape
    whole, valid = warped.read(Rect(0, 0, width, height))
    assert 0.5 < valid.mean() < 1
    for rect in (Rect(0, 0, 40, 30), Rect(33, 17, 100, 90), Rect(width - 50, height - 20, width + 10, height + 5)):
        pixels, known = warped.read(rect)
        inside = rect & Rect(0, 0, width, height)
        assert (pixels[inside.slices_in(rect)] == whole[inside.y0 : inside.y1, inside.x0 : inside.x1]).all()
        assert (known[inside.slices_in(rect)] == valid[inside.y0 : inside.y1, inside.x0 : inside.x1]).all()


def test_whole_pixels_are_moved_exactly_and_nodata_is_not_mixed_in(town: TwoDates, tmp_path) -> None:
    raster = Raster.open(town.before.save(tmp_path / "image.tif"), check=False)
    same = Raster(WarpedSource(raster, raster.geobox, (3.0, -2.0)), (1, 2, 3), (None,) * 3, None)
    pixels, valid = same.read(Rect(0, 0, 256, 256))
    assert (pixels[2:, :-3] == town.before.image[:-2, 3:]).all()
    assert valid.sum() == 253 * 254
    image = np.full((40, 40, 3), 200, np.uint8)
    image[:, 20:] = 0
    half = Raster.open(image, nodata=0, check=False)
    moved_half = Raster(WarpedSource(half, half.geobox, (0.4, 0.0)), (1, 2, 3), (None,) * 3, None)
    pixels, valid = moved_half.read(Rect(0, 0, 40, 40))
    assert set(np.unique(pixels[valid])) == {200}
    assert valid.sum() == 40 * 20
