"""Any raster as 8-bit windows: the right place, the right bands, one stretch, and what is valid."""

import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import dask.array as da
import numpy as np
import odc.geo.xr  # noqa: F401
import pytest
import rasterio
import xarray as xr
from hypothesis import HealthCheck, given, settings
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

import samgeo.geo.raster.raster as raster_module
from samgeo.errors import OptionError, RasterError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.raster import Raster
from samgeo.testing import windows
from samgeo.testing.rasters import TRANSFORMS, coordinate_pixels, pixel_coordinates, transform, write_raster

ALL = Rect(0, 0, 8, 8)


def grey(path: Path, values: np.ndarray, **options) -> Raster:
    """A raster of the file, which is opened without a stretch by pretending that black and white are 0 and 255."""
    opening = {name: options.pop(name) for name in ("bands", "stretch") if name in options}
    return Raster.open(write_raster(path, values, **options), **opening)


def places_are_right(raster: Raster, rect: Rect) -> bool:
    pixels, valid = raster.read(rect)
    rows, columns = np.mgrid[rect.y0 : rect.y1, rect.x0 : rect.x1]
    height, width = raster.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    x, y = pixel_coordinates(pixels)
    return (
        pixels.shape == (*rect.shape, 3)
        and np.array_equal(valid, inside)
        and np.array_equal(x[inside], columns[inside])
        and np.array_equal(y[inside], rows[inside])
        and not pixels[~inside].any()
    )


# Places


rect_of_70_by_90 = windows((70, 90), margin=30, min_side=0)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rect=rect_of_70_by_90)
@pytest.mark.parametrize("kind", ["file", "numpy", "xarray", "dask"])
def test_any_rectangle_has_the_pixels_of_its_place(kind: str, tmp_path_factory, rect: Rect) -> None:
    values = coordinate_pixels((70, 90))
    if kind == "file":
        path = tmp_path_factory.getbasetemp() / "places.tif"
        source = path if path.exists() else write_raster(path, values)
    elif kind == "numpy":
        source = values
    else:
        data = da.from_array(values, chunks=(33, 20, 2)) if kind == "dask" else values
        source = xr.DataArray(data, dims=("y", "x", "band"))
    assert places_are_right(Raster.open(source), rect)


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_the_affine_is_the_files_whatever_it_is(name: str, tmp_path: Path) -> None:
    raster = Raster.open(write_raster(tmp_path / "a.tif", coordinate_pixels((40, 30)), transform=TRANSFORMS[name]))
    assert raster.geobox.affine == transform(name)
    assert raster.geobox.crs == (None if name == "none" else "EPSG:32633")
    assert raster.shape == (40, 30)
    assert places_are_right(raster, Rect(-3, -3, 33, 43))


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:3031", "EPSG:32759", "EPSG:2263", None])
def test_the_crs_is_the_files(crs: str | None, tmp_path: Path) -> None:
    raster = Raster.open(write_raster(tmp_path / "a.tif", coordinate_pixels((8, 8)), crs=crs))
    assert raster.geobox.crs == crs
    assert raster.provenance()["crs"] == crs


def test_a_picture_without_georeference_has_pixels_as_coordinates(tmp_path: Path) -> None:
    options = {"driver": "PNG", "crs": None, "transform": TRANSFORMS["none"]}
    write_raster(tmp_path / "a.png", coordinate_pixels((20, 30)), **options)
    raster = Raster.open(tmp_path / "a.png")
    assert raster.geobox == GeoBox((20, 30), transform("none"), None)
    assert places_are_right(raster, Rect(0, 0, 30, 20))


@pytest.mark.filterwarnings("ignore:Use `@`:PendingDeprecationWarning")  # odc-geo's own, in wrap_xr
def test_xarray_keeps_its_geobox_and_its_lack_of_one() -> None:
    values = coordinate_pixels((20, 30))
    for name in ("north-up", "south-up", "non-square", "rotated"):
        box = GeoBox((20, 30), transform(name), "EPSG:32633")
        wrapped = wrap_xr(values, box, axis=0)
        assert Raster.open(wrapped).geobox == box
        assert places_are_right(Raster.open(wrapped.transpose(..., *wrapped.dims[:2])), Rect(-1, -1, 31, 21))
    bare = xr.DataArray(values[..., 0], dims=("y", "x"))
    assert Raster.open(bare).geobox == GeoBox((20, 30), transform("none"), None)
    placed = bare.assign_coords(y=100.0 - np.arange(20), x=7.0 + np.arange(30))
    assert Raster.open(placed).geobox.crs is None
    assert tuple(Raster.open(placed).geobox.affine[:6]) == (1, 0, 6.5, 0, -1, 100.5)


# Bands


LAYERS = np.arange(5, dtype=np.uint8) * 10 + np.zeros((8, 8, 1), dtype=np.uint8)


@pytest.mark.parametrize(
    ("count", "colors", "descriptions", "expected"),
    [
        (1, None, None, (1, 1, 1)),
        (2, ["gray", "alpha"], None, (1, 1, 1)),
        (2, ["gray", "undefined"], None, (1, 1, 1)),
        (3, ["red", "green", "blue"], None, (1, 2, 3)),
        (3, ["blue", "green", "red"], None, (3, 2, 1)),
        (4, ["alpha", "undefined", "undefined", "undefined"], None, (2, 3, 4)),
        (5, ["gray"] + ["undefined"] * 4, ["coastal", "Blue", "green ", "RED", "nir"], (4, 3, 2)),
        (5, ["red", "green", "blue", "undefined", "alpha"], ["blue", "green", "red", "x", "y"], (1, 2, 3)),
        (5, ["gray"] + ["undefined"] * 4, None, (1, 2, 3)),
    ],
)
def test_default_bands(count, colors, descriptions, expected, tmp_path: Path) -> None:
    values = LAYERS[..., :count].copy()
    values[..., [c == "alpha" for c in colors or ["gray"] * count]] = 255
    raster = Raster.open(
        write_raster(tmp_path / "a.tif", values, colors=colors, descriptions=descriptions, photometric="MINISBLACK")
    )
    assert raster.bands == expected
    assert raster.read(ALL)[0][0, 0].tolist() == [values[0, 0, band - 1] for band in expected]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([5, 1, 2], (5, 1, 2)),
        ([4], (4, 4, 4)),
        (2, (2, 2, 2)),
        ("nir", (5, 5, 5)),
        (["NIR", "red", 3], (5, 4, 3)),
        (np.array([3, 2, 1]), (3, 2, 1)),
    ],
)
def test_bands_by_number_and_name(wanted, expected, tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", LAYERS, descriptions=["coastal", "blue", "green", "red", "nir"])
    assert Raster.open(path, bands=wanted).bands == expected


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ([0, 1, 2], "no band 0; it has 5"),
        ([1, 2, 6], "no band 6; it has 5"),
        ([1, 2], r"2 bands of .*a\.tif were given; give 3"),
        ([], r"0 bands of .*a\.tif were given; give 3"),
        (["swir"], "no band called 'swir': its bands are 1 a, 2 a"),
        (["a"], "2 bands called 'a'"),
        ([True], "True is not a band"),
        ([1.5], "1.5 is not a band"),
    ],
)
def test_bands_that_are_not_there_are_refused(wanted, words, tmp_path: Path) -> None:
    path = write_raster(
        tmp_path / "a.tif", LAYERS, descriptions=["a", "a", "c", "d", ""], colors=["gray", *["undefined"] * 3, "alpha"]
    )
    with pytest.raises(RasterError, match=words):
        Raster.open(path, bands=wanted)


def test_bands_of_an_xarray_have_the_names_of_its_coordinate_or_its_long_name() -> None:
    data = xr.DataArray(np.moveaxis(LAYERS[..., :4], 2, 0), dims=("band", "y", "x"))
    assert Raster.open(data.assign_coords(band=["nir", "blue", "green", "red"])).bands == (4, 3, 2)
    assert Raster.open(data.assign_attrs(long_name=("red", "x", "blue", "green"))).bands == (1, 4, 3)
    assert Raster.open(data.assign_coords(band=[4, 3, 2, 1])).bands == (1, 2, 3)


# Stretch


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int8", "uint32", "int32", "float32", "float64"])
@pytest.mark.parametrize("kind", ["file", "numpy", "dask"])
def test_other_types_go_by_the_percentiles_of_valid_pixels(dtype: str, kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(-100 if np.dtype(dtype).kind != "u" else 0, 100, (60, 50, 3)).astype(dtype)
    nodata = 99
    if kind == "file":
        raster = Raster.open(write_raster(tmp_path / "a.tif", values, nodata=nodata))
    else:
        lazy = xr.DataArray(da.from_array(values, chunks=20), dims=("y", "x", "band"))
        raster = Raster.open(values if kind == "numpy" else lazy, nodata=nodata)
    pixels, valid = raster.read(Rect(0, 0, 50, 60))
    for band in range(3):
        layer = values[..., band].astype(float)
        low, high = np.percentile(layer[layer != nodata], (2, 98))
        assert raster.stretch[band] == pytest.approx((low, high))
        expected = np.clip((layer - low) * 255 / (high - low), 0, 255)
        assert np.abs(pixels[..., band] - expected)[valid].max() <= 0.51
    assert np.array_equal(valid, (values != nodata).any(axis=2))


def test_the_stretch_is_one_for_the_whole_raster_whatever_the_window(tmp_path: Path) -> None:
    values = np.add.outer(np.arange(300), np.arange(200)).astype(np.uint16) * 50
    raster = Raster.open(write_raster(tmp_path / "a.tif", values))
    whole, _ = raster.read(Rect(0, 0, 200, 300))
    part, _ = raster.read(Rect(50, 150, 90, 220))
    assert np.array_equal(part, whole[150:220, 50:90])


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_a_constant_band_is_black_and_its_outliers_are_not_lost(dtype: str) -> None:
    constant = Raster.open(np.full((8, 8), 7, dtype=dtype))
    assert constant.stretch == ((7, 7),) * 3
    assert not constant.read(ALL)[0].any()
    values = np.full((60, 60), 7, dtype=dtype)
    values[3, 4] = 9
    assert Raster.open(values).stretch == ((7, 9),) * 3
    assert Raster.open(values).read(Rect(4, 3, 5, 4))[0].tolist() == [[[255, 255, 255]]]


def test_bytes_stay_as_they_are_unless_a_stretch_is_given() -> None:
    values = np.array([[10, 20, 30, 250]], dtype=np.uint8)
    assert Raster.open(values).stretch is None
    assert Raster.open(values).read(Rect(0, 0, 4, 1))[0][0, :, 0].tolist() == [10, 20, 30, 250]
    assert Raster.open(values, stretch=(10, 30)).read(Rect(0, 0, 4, 1))[0][0, :, 0].tolist() == [0, 128, 255, 255]


def test_explicit_stretch_for_each_band() -> None:
    values = np.full((1, 1, 3), 100, dtype=np.uint16)
    raster = Raster.open(values, stretch=[(0, 100), (100, 200), (50, 150)])
    assert raster.stretch == ((0, 100), (100, 200), (50, 150))
    assert raster.read(Rect(0, 0, 1, 1))[0].tolist() == [[[255, 0, 128]]]


@pytest.mark.parametrize("stretch", [(5, 5), (9, 1), 3, "auto", [(0, 1), (0, 1)], (0, float("nan")), (0, float("inf"))])
def test_malformed_stretch_is_refused(stretch) -> None:
    with pytest.raises(OptionError, match="low < high"):
        Raster.open(np.zeros((2, 2), np.uint8), stretch=stretch)


@pytest.mark.parametrize("overviews", [(), (2, 4, 8)])
def test_the_stretch_of_a_large_raster_reads_a_sample(overviews, tmp_path: Path, monkeypatch) -> None:
    rng = np.random.default_rng(2)
    path = write_raster(
        tmp_path / "a.tif", rng.integers(0, 1000, (1000, 800)).astype(np.uint16), overviews=overviews, tiled=True
    )
    everything = Raster.open(path).stretch
    read = []
    from samgeo.geo.raster.sources.file_source import FileSource

    original = FileSource.read

    def spy(self, numbers, rect, out_shape=None):
        values, mask = original(self, numbers, rect, out_shape)
        read.append(values.size)
        return values, mask

    monkeypatch.setattr(FileSource, "read", spy)
    for name, value in {"SAMPLE_SIDE": 125, "SAMPLE_LIMIT": 125 * 100, "SAMPLE_WINDOWS": 5, "SAMPLE_WINDOW": 25}.items():
        monkeypatch.setattr(raster_module, name, value)
    sample = Raster.open(path).stretch
    assert sum(read) <= 5 * 5 * 25 * 25
    assert len(read) == (1 if overviews else 25)
    assert np.allclose(sample, everything, atol=15)


# Valid pixels


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint8", 0), ("uint8", 255), ("int16", -9999), ("uint16", 65535), ("float32", -9999), ("float32", float("nan")),
     ("float32", -3.4028234663852886e38), ("float64", -1.7976931348623157e308), ("int8", -128)],
)  # fmt: skip
def test_a_pixel_is_invalid_where_no_band_has_a_value(dtype: str, nodata: float, tmp_path: Path) -> None:
    values = np.full((8, 8, 3), 100, dtype=dtype)
    values[..., 1] += np.arange(8, dtype=dtype)
    values[0, 0] = nodata
    values[0, 1, 0] = nodata
    raster = Raster.open(write_raster(tmp_path / "a.tif", values, nodata=nodata))
    pixels, valid = raster.read(ALL)
    expected = np.ones((8, 8), dtype=bool)
    expected[0, 0] = False
    assert np.array_equal(valid, expected)
    assert not pixels[0, 0].any()


def test_nodata_of_an_unused_band_does_not_matter(tmp_path: Path) -> None:
    values = np.full((8, 8, 4), 50, dtype=np.uint8)
    values[..., 3] = 0
    values[2, 2, :3] = 0
    colors = ["red", "green", "blue", "undefined"]
    _, valid = Raster.open(write_raster(tmp_path / "a.tif", values, nodata=0, colors=colors)).read(ALL)
    assert np.argwhere(~valid).tolist() == [[2, 2]]


def test_nan_and_infinity_are_no_values_without_a_tag_too(tmp_path: Path) -> None:
    values = np.arange(64, dtype=np.float32).reshape(8, 8)
    values[1, 2], values[3, 4], values[5, 6] = np.nan, np.inf, -np.inf
    raster = Raster.open(write_raster(tmp_path / "a.tif", values))
    pixels, valid = raster.read(ALL)
    assert np.argwhere(~valid).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert np.isfinite(raster.stretch).all()
    assert pixels[7, 7, 0] == 255


def test_a_nodata_value_that_the_type_cannot_hold_hides_nothing() -> None:
    values = np.full((2, 2), 5, dtype=np.uint8)
    for nodata in (-9999, 5.5, float("nan"), 261):
        assert Raster.open(values, nodata=nodata).read(Rect(0, 0, 2, 2))[1].all()


def test_nodata_can_be_given_and_taken_away(tmp_path: Path) -> None:
    values = np.arange(64, dtype=np.uint8).reshape(8, 8)
    path = write_raster(tmp_path / "a.tif", values, nodata=9)
    assert np.argwhere(~Raster.open(path).read(ALL)[1]).tolist() == [[1, 1]]
    assert np.argwhere(~Raster.open(path, nodata=10).read(ALL)[1]).tolist() == [[1, 2]]
    assert Raster.open(path, nodata="none").read(ALL)[1].all()
    with pytest.raises(OptionError, match="nodata is 'zero'"):
        Raster.open(path, nodata="zero")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_alpha_hides_pixels_and_is_not_a_band(dtype: str, tmp_path: Path) -> None:
    values = np.full((8, 8, 4), 90, dtype=dtype)
    values[..., 3] = 255
    values[2, 3, 3], values[2, 4, 3] = 0, 1
    path = write_raster(tmp_path / "a.tif", values, colors=["red", "green", "blue", "alpha"], nodata=None)
    raster = Raster.open(path)
    pixels, valid = raster.read(ALL)
    assert raster.bands == (1, 2, 3)
    assert np.argwhere(~valid).tolist() == [[2, 3]]
    assert not pixels[2, 3].any()


def test_alpha_hides_pixels_beside_a_nodata_tag(tmp_path: Path) -> None:
    values = np.full((8, 8, 4), 90, dtype=np.uint8)
    values[..., 3] = 255
    values[2, 3, 3] = 0
    values[4, 4, :3] = 7
    path = write_raster(tmp_path / "a.tif", values, colors=["red", "green", "blue", "alpha"], nodata=7)
    assert np.argwhere(~Raster.open(path).read(ALL)[1]).tolist() == [[2, 3], [4, 4]]


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("photometric", ["RGB", "YCBCR"])
def test_masks_hide_pixels_in_jpeg_too(photometric: str, inside: bool, tmp_path: Path) -> None:
    mask = np.ones((64, 64), dtype=bool)
    mask[:20, 30:] = False
    options = {"compress": "JPEG", "photometric": photometric, "tiled": True, "blockxsize": 32, "blockysize": 32}
    values = np.full((64, 64, 3), 120, dtype=np.uint8)
    raster = Raster.open(write_raster(tmp_path / "a.tif", values, mask=mask, mask_inside=inside, overviews=(2,), **options))
    assert (tmp_path / "a.tif.msk").exists() != inside
    pixels, valid = raster.read(Rect(-2, -2, 66, 66))
    assert np.array_equal(valid, np.pad(mask, 2))
    assert np.abs(pixels[valid].astype(int) - 120).max() <= 2
    assert not pixels[~valid].any()
    assert np.array_equal(raster.view(32)[1], mask[::2, ::2])


def test_a_colour_that_stands_for_no_data_hides_only_that_colour(tmp_path: Path) -> None:
    values = np.full((8, 8, 3), (10, 20, 30), dtype=np.uint8)
    values[1, 1] = 1, 2, 3
    values[2, 2] = 1, 2, 9
    path = write_raster(tmp_path / "a.tif", values)
    with rasterio.open(path, "r+") as file:
        file.update_tags(NODATA_VALUES="1 2 3")
    raster = Raster.open(path)
    assert raster.nodata == (1, 2, 3)
    assert np.argwhere(~raster.read(ALL)[1]).tolist() == [[1, 1]]


def test_masked_arrays_hide_pixels() -> None:
    values = np.ma.masked_array(np.full((8, 8, 3), 9, np.uint8), mask=False)
    values[1, 1] = np.ma.masked
    values[2, 2, 0] = np.ma.masked
    assert np.argwhere(~Raster.open(values).read(ALL)[1]).tolist() == [[1, 1]]


def test_xarray_nodata_is_that_of_its_attributes() -> None:
    data = xr.DataArray(np.arange(64, dtype=np.int16).reshape(8, 8), dims=("y", "x"), attrs={"_FillValue": 9})
    assert np.argwhere(~Raster.open(data).read(ALL)[1]).tolist() == [[1, 1]]


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    values = np.array([[0, 1], [2, 3]], dtype=np.uint8)
    palette = {0: (255, 0, 0), 1: (0, 255, 0), 2: (0, 0, 255), 3: (9, 8, 7)}
    raster = Raster.open(write_raster(tmp_path / "a.tif", values, palette=palette, nodata=2))
    pixels, valid = raster.read(Rect(0, 0, 2, 2))
    assert raster.stretch is None
    assert valid.tolist() == [[True, True], [False, True]]
    assert pixels.tolist() == [[[255, 0, 0], [0, 255, 0]], [[0, 0, 0], [9, 8, 7]]]


def test_no_valid_pixel_at_all_can_be_opened_and_read() -> None:
    raster = Raster.open(np.full((8, 8), -9999, dtype=np.int16), nodata=-9999)
    pixels, valid = raster.read(ALL)
    assert not valid.any()
    assert not pixels.any()


# Views


@pytest.mark.parametrize("overviews", [(), (2, 4)])
def test_a_view_is_the_whole_raster_smaller(overviews, tmp_path: Path) -> None:
    raster = Raster.open(write_raster(tmp_path / "a.tif", coordinate_pixels((80, 120)), overviews=overviews, tiled=True))
    pixels, valid = raster.view(60)
    x, y = pixel_coordinates(pixels)
    assert pixels.shape == (40, 60, 3)
    assert valid.all()
    assert np.abs(x - (np.arange(60) * 2 + 0.5)).max() <= 1
    assert np.abs(y - (np.arange(40) * 2 + 0.5)[:, None]).max() <= 1
    assert raster.view(500)[0].shape == (80, 120, 3)
    assert raster.view((10, 70))[0].shape == (10, 70, 3)


@pytest.mark.parametrize("size", [0, -4, (0, 5)])
def test_a_view_of_no_pixels_is_refused(size) -> None:
    with pytest.raises(OptionError, match="1 pixel or more"):
        Raster.open(np.zeros((4, 4), np.uint8)).view(size)


# One value for threads, processes and files that change


def read_places(raster: Raster, rect: Rect) -> bool:
    return places_are_right(raster, rect)


def test_threads_and_processes_read_the_same_raster(tmp_path: Path) -> None:
    path = write_raster(
        tmp_path / "a.tif", coordinate_pixels((600, 700)), tiled=True, blockxsize=64, blockysize=64, compress="deflate"
    )
    rects = [Rect(x, y, x + 100, y + 80) for x in range(-20, 700, 90) for y in range(-20, 600, 70)]
    for raster in (Raster.open(path), Raster.open(coordinate_pixels((600, 700)))):
        assert pickle.loads(pickle.dumps(raster)).geobox == raster.geobox  # noqa: S301
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(partial(read_places, raster), rects))
    # In a process of its own: a fork of this one, which has threads, may copy a lock that a thread holds.
    code = """
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
sys.path.insert(0, sys.argv[2])
from test_raster import Raster, Rect, coordinate_pixels, places_are_right

rects = [Rect(x, y, x + 100, y + 80) for x in range(-20, 700, 90) for y in range(-20, 600, 70)]
for raster in (Raster.open(sys.argv[1]), Raster.open(coordinate_pixels((600, 700)))):
    assert places_are_right(raster, rects[0])
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        assert all(pool.map(partial(places_are_right, raster), rects, chunksize=16))
"""
    command = [sys.executable, "-c", code, str(path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603 - our own script
    assert done.returncode == 0, done.stderr


def test_a_file_written_anew_is_opened_anew(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.full((8, 8), 1, np.uint8))
    old = Raster.open(path)
    assert old.read(ALL)[0].max() == 1
    write_raster(tmp_path / "b.tif", np.full((8, 8), 2, np.uint8))
    (tmp_path / "b.tif").replace(path)
    os.utime(path, ns=(1, 1))
    assert Raster.open(path).read(ALL)[0].max() == 2


def test_a_file_that_became_another_raster_is_refused(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.full((8, 8), 1, np.uint8))
    raster = Raster.open(path)
    write_raster(path, np.full((9, 8), 1, np.uint8))
    with pytest.raises(RasterError, match="has changed since it was opened"):
        raster.read(ALL)


def test_a_relative_path_is_found_from_another_folder(tmp_path: Path, monkeypatch) -> None:
    write_raster(tmp_path / "a.tif", coordinate_pixels((8, 8)))
    monkeypatch.chdir(tmp_path)
    raster = Raster.open("a.tif")
    monkeypatch.chdir("/")
    assert raster.name == "a.tif"
    assert places_are_right(raster, ALL)


def test_a_raster_is_itself_unless_something_is_asked(tmp_path: Path) -> None:
    raster = Raster.open(write_raster(tmp_path / "a.tif", LAYERS[..., :3].astype(np.uint16), nodata=3), bands=[3, 2, 1])
    assert Raster.open(raster) is raster
    assert Raster.open(raster, stretch=(0, 20)).stretch == ((0, 20),) * 3
    assert Raster.open(raster, stretch=(0, 20)).bands == (3, 2, 1)
    assert Raster.open(raster, bands=[2]).bands == (2, 2, 2)
    assert Raster.open(raster, nodata="none").nodata == (None,) * 3
    assert Raster.open(raster, stretch=(0, 20)).nodata == (3, 3, 3)


def test_provenance_is_json_and_says_how_to_read_the_same_pixels(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", LAYERS.astype(np.float32), nodata=float("nan"), transform=TRANSFORMS["rotated"])
    found = json.loads(json.dumps(Raster.open(path, bands=[3, 2, 1]).provenance(), allow_nan=False))
    assert found == {
        "path": str(path),
        "shape": [8, 8],
        "crs": "EPSG:32633",
        "transform": list(TRANSFORMS["rotated"]),
        "bands": [3, 2, 1],
        "stretch": [[20, 20], [10, 10], [0, 0]],
        "nodata": ["nan"] * 3,
        "alpha": [],
    }


def test_dask_reads_only_the_chunks_of_a_window() -> None:
    computed = []

    def block(block_info=None) -> np.ndarray:
        computed.append(block_info[None]["chunk-location"])
        return np.zeros(block_info[None]["chunk-shape"], dtype=np.uint8)

    data = da.map_blocks(block, chunks=((10,) * 100, (10,) * 100), dtype=np.uint8, meta=np.empty((0, 0), np.uint8))
    raster = Raster.open(xr.DataArray(data, dims=("y", "x")))
    assert computed == []
    raster.read(Rect(5, 25, 12, 28))
    assert sorted(computed) == [(2, 0), (2, 1)]


# What cannot be a raster


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is a folder, not a raster"),
        (lambda path: path.write_bytes(b""), "is an empty file"),
        (lambda path: path.write_text("not a picture"), "is not a raster that GDAL can read"),
        (lambda path: write_raster(path, np.zeros((8, 8), np.complex64)), "band 1 of .* holds complex numbers"),
        (lambda path: write_raster(path, np.zeros((8, 8), np.uint8), transform=(0, 0, 5, 0, 0, 5)), "pixels have no area"),
    ],
)
def test_files_that_are_no_rasters_are_refused(make, words, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    make(path)
    with pytest.raises(RasterError, match=words) as caught:
        Raster.open(path)
    assert str(path) in str(caught.value)


def test_a_truncated_file_names_the_window_that_cannot_be_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    path = write_raster(
        tmp_path / "a.tif", rng.integers(0, 255, (512, 512, 3), dtype=np.uint8), tiled=True, blockxsize=128, blockysize=128
    )
    size = path.stat().st_size
    with path.open("rb+") as file:
        file.truncate(size // 2)
    raster = Raster.open(path)
    assert raster.read(Rect(0, 0, 64, 64))[1].all()
    with pytest.raises(RasterError, match=r"pixels 400:480, 410:490 of .*a\.tif cannot be read"):
        raster.read(Rect(400, 410, 480, 490))
    assert raster.read(Rect(0, 0, 64, 64))[1].all()
    with path.open("rb+") as file:
        file.truncate(100)
    with pytest.raises(RasterError, match="may be incomplete"):
        Raster.open(path)


def test_a_container_of_rasters_names_them(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.gpkg", coordinate_pixels((300, 300)), driver="GPKG", raster_table="first")
    write_raster(path, coordinate_pixels((300, 300)), driver="GPKG", raster_table="second", append_subdataset=True)
    with pytest.raises(RasterError, match=r"open one of them: GPKG:.*:first, GPKG:.*:second"):
        Raster.open(path)
    assert Raster.open(f"GPKG:{path}:second").shape == (300, 300)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros((2, 2, 2, 2)), r"give \(height, width\)"),
        (np.zeros((3, 300, 300), np.uint8), "looks like .bands, height, width"),
        (np.zeros((0, 5)), "no values; give an array"),
        (np.zeros((5, 5), complex), "values of type complex128"),
        (np.full((5, 5), "a"), "values of type <U1"),
        (xr.DataArray(np.zeros((3, 2, 4, 5)), dims=("time", "band", "y", "x")), "choose one time"),
        (xr.DataArray(np.zeros((4, 5)), dims=("a", "b")), "name those of rows and columns y and x"),
        (xr.Dataset({"a": (("y", "x"), np.zeros((4, 5)))}), "one of its variables"),
        (17, "cannot be opened from a int"),
        (None, "cannot be opened from a NoneType"),
    ],
)
def test_other_things_are_refused(source, words) -> None:
    with pytest.raises(RasterError, match=words):
        Raster.open(source)


def test_an_error_of_a_lazy_array_names_the_window() -> None:
    def fail(block_info=None) -> np.ndarray:
        raise OSError("the store is gone")

    lazy = da.map_blocks(fail, chunks=((8,), (8,)), dtype=np.uint8, meta=np.empty((0, 0), np.uint8))
    with pytest.raises(RasterError, match=r"pixels 0:8, 0:8 of store cannot be read \(the store is gone\)"):
        Raster.open(xr.DataArray(lazy, dims=("y", "x"), name="store")).read(ALL)


def test_keys_in_an_address_do_not_reach_messages() -> None:
    with pytest.raises(RasterError) as caught:
        Raster.open("http://user:secret@127.0.0.1:9/a.tif?sig=hidden")
    assert str(caught.value).startswith("http://127.0.0.1:9/a.tif cannot be opened")


def test_the_module_is_light() -> None:
    heavy = ["torch", "distributed", "ipyleaflet", "matplotlib"]
    modules = "samgeo.geo.raster.raster, samgeo.geo.vector.reading, samgeo.geo.coordinates.area"
    code = f"import sys, {modules}; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert found.stdout == "[]\n"
