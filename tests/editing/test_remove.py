"""Removal of objects: what is filled and from where, what is marked, and what stays as it is."""

import json
import warnings

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner
from shapely.geometry import Point, box

import samgeo
from samgeo.cli import main
from samgeo.editing import remove
from samgeo.errors import OptionError, RasterError, VectorError
from samgeo.geo.raster.bands import INVENTED_TAG
from samgeo.testing import TRANSFORMS, write_raster

TRANSFORM = Affine(*TRANSFORMS["north-up"])


def on_ground(*boxes_px):
    """Boxes in pixels as polygons in the CRS of the rasters."""
    placed = [shapely.transform(box(*one), lambda xy: np.stack(TRANSFORM @ tuple(xy.T), axis=1)) for one in boxes_px]
    return gpd.GeoDataFrame(geometry=placed, crs="EPSG:32633")


def smooth(shape, bands=3, dtype="uint8", scale=200):
    y, x = np.mgrid[: shape[0], : shape[1]]
    layers = [0.5 + 0.4 * np.sin(x / (20 + band)) * np.cos(y / 25) for band in range(bands)]
    return (np.stack(layers, axis=2) * scale).astype(dtype)


def read(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            return file.read(), file.profile, file.tags()


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("dtype", "scale", "bands"),
    [("uint8", 200, 3), ("uint16", 40_000, 4), ("int16", 3000, 1), ("int8", 100, 2), ("float32", 1, 2), ("float64", 1e6, 6)],
)
def test_all_types_and_bands(tmp_path, dtype, scale, bands):
    image = smooth((70, 90), bands, dtype, scale)
    spoilt = image.copy()
    spoilt[30:36, 40:50] = 0
    path = write_raster(tmp_path / "a.tif", spoilt, descriptions=[f"b{number}" for number in range(bands)])
    removal = remove(path, on_ground((40, 30, 50, 36)), "out.tif", grow_px=0)
    assert (removal.pixels, removal.from_neighbours, removal.from_dates, removal.objects) == (60, 60, 0, 1)
    values, profile, tags = read("out.tif")
    assert profile["dtype"] == dtype
    assert profile["crs"] == rasterio.CRS.from_epsg(32633)
    assert profile["transform"] == TRANSFORM
    marked = values[-1] != 0
    truth = np.zeros((70, 90), dtype=bool)
    truth[30:36, 40:50] = True
    assert np.array_equal(marked, truth)
    assert np.array_equal(values[:-1][:, ~truth], np.moveaxis(spoilt, 2, 0)[:, ~truth])
    error = np.abs(values[:-1].astype(float) - np.moveaxis(image, 2, 0))[:, truth].max()
    assert error < 0.03 * scale
    note = json.loads(tags[INVENTED_TAG])
    assert note["pixels"] == 60
    assert note["steps"][0]["objects"] == removal.digest
    with rasterio.open("out.tif") as file:
        assert file.descriptions == (*(f"b{number}" for number in range(bands)), "invented")


@pytest.mark.parametrize("place", ["none", "rotated", "south-up"])
def test_any_georeference(tmp_path, place):
    image = smooth((64, 64))
    transform = TRANSFORMS[place]
    path = write_raster(tmp_path / "a.tif", image, transform=transform)
    car_px = box(20, 20, 30, 26)
    car = shapely.transform(car_px, lambda xy: np.stack(Affine(*transform) @ tuple(xy.T), axis=1))
    objects = car if place == "none" else gpd.GeoSeries([car], crs="EPSG:32633").to_crs("EPSG:4326")
    remove(path, objects, "out.tif", grow_px=0)
    values, profile, _ = read("out.tif")
    assert (profile["crs"] is None) == (place == "none")
    assert profile["transform"] == Affine(*transform)
    truth = np.zeros((64, 64), dtype=bool)
    truth[20:26, 20:30] = True
    assert np.array_equal(values[3] != 0, truth)


def test_nodata_and_masks_are_kept_and_have_no_influence(tmp_path):
    image = smooth((80, 80), 2, "uint16", 4000)
    image[:, :20] = 0
    image[5, 60] = 0
    path = write_raster(tmp_path / "a.tif", image, nodata=0)
    remove(path, on_ground((10, 30, 30, 40), (58, 3, 63, 8)), "out.tif", grow_px=0)
    values, profile, _ = read("out.tif")
    assert profile["nodata"] == 0
    assert (values[:2, :, :20] == 0).all()
    assert (values[:2, 5, 60] == 0).all()
    assert (values[2, :, :20] == 0).all()
    assert values[2, 5, 60] == 0
    filled = values[:2, 30:40, 20:30].astype(float)
    assert np.abs(filled - np.moveaxis(smooth((80, 80), 2, "float64", 4000), 2, 0)[:, 30:40, 20:30]).max() < 300

    mask = np.ones((80, 80), dtype=bool)
    mask[:, 50:] = False
    path = write_raster(tmp_path / "m.tif", smooth((80, 80)), mask=mask)
    remove(path, on_ground((40, 40, 60, 50)), "masked.tif", grow_px=0)
    with rasterio.open("masked.tif") as file:
        assert np.array_equal(file.dataset_mask() > 0, mask)
        assert np.array_equal(file.read(4) != 0, np.pad(np.ones((10, 10), bool), ((40, 30), (40, 30))))


def test_no_invented_pixel_has_the_nodata_value(tmp_path):
    image = np.full((40, 40, 1), 101, dtype="uint8")
    image[:, 20:] = 99
    path = write_raster(tmp_path / "a.tif", image, nodata=100)
    remove(path, on_ground((10, 10, 30, 30)), "out.tif", grow_px=0)
    values, _, _ = read("out.tif")
    assert not (values[0] == 100).any()
    path = write_raster(tmp_path / "b.tif", np.full((40, 40, 1), 7, dtype="uint8"), nodata=255)
    remove(path, on_ground((10, 10, 30, 30)), "b_out.tif", grow_px=0)
    assert set(np.unique(read("b_out.tif")[0][1])) == {0, 254}


def test_transparency_is_kept_and_near_infrared_is_filled(tmp_path):
    image = smooth((100, 100), 4)
    image[..., 3] = 255
    image[:30, :, 3] = 0
    path = write_raster(tmp_path / "a.tif", image, colors=["red", "green", "blue", "alpha"])
    remove(path, on_ground((40, 20, 50, 40)), "out.tif", grow_px=0)
    with rasterio.open("out.tif") as file:
        assert [color.name for color in file.colorinterp] == ["red", "green", "blue", "alpha", "undefined"]
        values = file.read()
    assert np.array_equal(values[3], image[..., 3])
    assert np.array_equal(values[4] != 0, np.pad(np.ones((10, 10), bool), ((30, 60), (40, 50))))
    nir = smooth((100, 100), 4)
    nir[40:50, 40:50] = 1
    path = write_raster(tmp_path / "nir.tif", nir)  # rasterio tags the fourth band as alpha
    with pytest.warns(samgeo.errors.RasterWarning, match="near infrared"):
        remove(path, on_ground((40, 40, 50, 50)), "nir_out.tif", grow_px=0)
    assert read("nir_out.tif")[0][3, 40:50, 40:50].min() > 40


def test_the_result_does_not_depend_on_the_parts(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    image = np.clip(smooth((280, 400), 1) + rng.integers(-40, 40, (280, 400, 1)), 0, 255).astype("uint8")
    path = write_raster(tmp_path / "a.tif", image, transform=TRANSFORMS["none"])
    objects = [Point(130, 125).buffer(45), box(240, 20, 262, 150), box(254, 250, 262, 262), box(390, 240, 500, 700)]
    remove(path, objects, "whole.tif")
    monkeypatch.setattr("samgeo.editing.removal.LONGEST_PART", 128)
    remove(path, objects, "parts.tif")
    whole, parts = read("whole.tif")[0], read("parts.tif")[0]
    assert np.array_equal(whole, parts)
    assert whole[1].any()


def test_a_group_that_is_coarser_than_the_parts_does_not_depend_on_them(tmp_path, monkeypatch):
    monkeypatch.setattr("samgeo.editing.filling.COARSE_SIDE", 24)
    rng = np.random.default_rng(0)
    image = np.clip(smooth((280, 400), 1) + rng.integers(-40, 40, (280, 400, 1)), 0, 255).astype("uint8")
    path = write_raster(tmp_path / "a.tif", image, transform=TRANSFORMS["none"])
    remove(path, Point(150, 120).buffer(110), "whole.tif")
    monkeypatch.setattr("samgeo.editing.removal.LONGEST_PART", 128)
    monkeypatch.setattr("samgeo.editing.filling.VALUES_AT_ONCE", 1 << 14)
    remove(path, Point(150, 120).buffer(110), "parts.tif")
    whole, parts = read("whole.tif")[0].astype(int), read("parts.tif")[0].astype(int)
    # Rims that a part cuts differ by less than the rounding of a value.
    assert np.abs(whole - parts).max() <= 1
    assert (whole != parts).mean() < 1e-3


def test_the_median_of_other_dates(tmp_path):
    truth = smooth((60, 80))
    cloudy = truth.copy()
    cloudy[10:40, 20:60] = 255
    image = write_raster(tmp_path / "a.tif", cloudy)
    offsets = (-6, 0, 9)  # in any order of the values
    dates = [
        write_raster(tmp_path / f"{number}.tif", (truth.astype(int) + offset).astype("uint8"))
        for number, offset in enumerate(offsets)
    ]
    removal = remove(image, on_ground((20, 10, 60, 40)), "out.tif", dates=dates, grow_px=0)
    assert (removal.from_dates, removal.from_neighbours) == (30 * 40, 0)
    assert np.array_equal(read("out.tif")[0][:3], np.moveaxis(truth, 2, 0))


def test_dates_are_used_only_where_they_have_measured_values(tmp_path):
    image = np.full((60, 60, 1), 50, dtype="uint8")
    path = write_raster(tmp_path / "a.tif", image)
    holed = np.full((60, 60, 1), 90, dtype="uint8")
    holed[20:25, 20:40] = 0
    date = write_raster(tmp_path / "d.tif", holed, nodata=0)
    invented = write_raster(tmp_path / "i.tif", np.full((60, 60, 1), 200, dtype="uint8"))
    remove(invented, on_ground((0, 0, 60, 59)), "all.tif", grow_px=0)
    removal = remove(path, on_ground((20, 20, 40, 40)), "out.tif", dates=[date, "all.tif"], grow_px=0)
    assert (removal.from_dates, removal.from_neighbours) == (15 * 20, 5 * 20)
    values = read("out.tif")[0][0]
    assert (values[25:40, 20:40] == 90).all()
    assert values[20:25, 20:40].max() <= 90
    assert json.loads(read("out.tif")[2][INVENTED_TAG])["steps"][0]["median_of_dates"] == 300


@pytest.mark.parametrize("kind", ["shifted", "finer", "other CRS", "array"])
def test_a_date_on_another_grid_is_interpolated(tmp_path, kind):
    scale = 8.0  # metres of a wave in each direction, in the CRS of the image

    def scene(x, y):
        return (120 + 80 * np.sin(x / scale) * np.cos(y / scale)).astype("float32")

    def at(transform, shape, crs="EPSG:32633"):
        rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
        x, y = transform @ (columns, rows)
        if crs != "EPSG:32633":
            x, y = rasterio.warp.transform(crs, "EPSG:32633", x.ravel(), y.ravel())
            x, y = np.reshape(x, shape), np.reshape(y, shape)
        return scene(x, y)[..., np.newaxis]

    image = at(TRANSFORM, (60, 60))
    spoilt = image.copy()
    spoilt[20:40, 20:40] = 0
    path = write_raster(tmp_path / "a.tif", spoilt)
    if kind == "shifted":
        transform = TRANSFORM @ Affine.translation(3, -4)  # by whole pixels, so that values are equal
        date = write_raster(tmp_path / "d.tif", at(transform, (60, 60)), transform=transform)
    elif kind == "finer":
        transform = TRANSFORM @ Affine.scale(0.37, 0.41)
        date = write_raster(tmp_path / "d.tif", at(transform, (150, 170)), transform=transform)
    elif kind == "other CRS":
        crs = "EPSG:32632"
        (x,), (y,) = rasterio.warp.transform("EPSG:32633", crs, [500_000], [5_400_000])
        transform = Affine(0.4, 0, x - 10, 0, -0.4, y + 10)
        date = write_raster(tmp_path / "d.tif", at(transform, (160, 160), crs), transform=transform, crs=crs)
    else:
        xarray = pytest.importorskip("xarray")
        rows = 5_400_000 - 0.25 - 0.5 * np.arange(60)
        columns = 500_000 + 0.25 + 0.5 * np.arange(60)
        date = xarray.DataArray(image[..., 0], coords={"y": rows, "x": columns}, dims=("y", "x")).odc.assign_crs("EPSG:32633")
    removal = remove(path, on_ground((20, 20, 40, 40)), "out.tif", dates=[date], grow_px=0)
    assert removal.from_dates == 400
    error = np.abs(read("out.tif")[0][0] - image[..., 0])
    assert error.max() < (1e-6 if kind in ("shifted", "array") else 0.3)


def test_a_second_removal_keeps_the_marks_of_the_first(tmp_path):
    path = write_raster(tmp_path / "a.tif", smooth((80, 80)))
    remove(path, on_ground((10, 10, 20, 20)), "one.tif", grow_px=0)
    removal = remove("one.tif", on_ground((15, 10, 30, 20)), "two.tif", grow_px=0)
    values, profile, tags = read("two.tif")
    assert profile["count"] == 4
    assert (removal.pixels, removal.all_invented) == (100, 200)
    assert np.array_equal(values[3] != 0, np.pad(np.ones((10, 20), bool), ((10, 60), (10, 50))))
    assert [step["biharmonic"] for step in json.loads(tags[INVENTED_TAG])["steps"]] == [100, 100]
    assert json.loads(tags[INVENTED_TAG])["pixels"] == 200
    # Pixels that were invented before stay as they were.
    assert np.array_equal(values[:3, 10:20, 10:20], read("one.tif")[0][:3, 10:20, 10:20])


def test_a_mosaic_and_an_array(tmp_path):
    image = smooth((64, 128))
    left = write_raster(tmp_path / "l.tif", image[:, :64])
    right = write_raster(tmp_path / "r.tif", image[:, 64:], transform=TRANSFORM @ Affine.translation(64, 0))
    objects = on_ground((60, 20, 70, 30))
    remove([left, right], objects, "mosaic.tif", grow_px=0)
    whole = write_raster(tmp_path / "w.tif", image)
    remove(whole, objects, "whole.tif", grow_px=0)
    assert np.array_equal(read("mosaic.tif")[0], read("whole.tif")[0])
    remove(image, [box(60, 20, 70, 30)], "array.tif", grow_px=0)
    assert np.array_equal(read("array.tif")[0], read("whole.tif")[0])


def test_objects_are_clipped_and_grown(tmp_path):
    path = write_raster(tmp_path / "a.tif", smooth((64, 64)))
    outside = on_ground((-20, -20, 10, 10), (200, 200, 210, 210))
    removal = remove(path, outside, "out.tif", grow_px=3)
    assert removal.objects == 1
    marked = read("out.tif")[0][3] != 0
    assert marked[:12, :12].all()
    assert not marked[14:].any()
    assert removal.pixels == marked.sum()


def test_without_objects_nothing_is_invented(tmp_path):
    path = write_raster(tmp_path / "a.tif", smooth((64, 64)))
    removal = remove(path, gpd.GeoDataFrame(geometry=[], crs="EPSG:32633"), "out.tif")
    assert (removal.pixels, removal.objects) == (0, 0)
    values = read("out.tif")[0]
    assert np.array_equal(values[:3], np.moveaxis(smooth((64, 64)), 2, 0))
    assert not values[3].any()
    assert samgeo.Raster.open("out.tif", check=False).view()[1].all()


def test_tags_and_scales_are_kept(tmp_path):
    path = write_raster(tmp_path / "a.tif", smooth((64, 64), 2, "int16"))
    with rasterio.open(path, "r+") as file:
        file.update_tags(ACQUIRED="2026-01-01")
        file.scales, file.offsets, file.units = (0.1, 0.2), (5.0, 0.0), ("m", "")
    remove(path, on_ground((10, 10, 20, 20)), "out.tif")
    with rasterio.open("out.tif") as file:
        assert file.tags()["ACQUIRED"] == "2026-01-01"
        assert (file.scales, file.offsets) == ((0.1, 0.2, 1.0), (5.0, 0.0, 0.0))
        assert file.units[0] == "m"


def test_a_raster_whose_georeference_is_that_of_pixel_centres_stays_in_its_place(tmp_path):
    path = write_raster(tmp_path / "a.tif", smooth((64, 64)))
    with rasterio.open(path, "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
    remove(path, on_ground((10, 10, 20, 20)), "out.tif", grow_px=0)
    values, profile, tags = read("out.tif")
    assert tags["AREA_OR_POINT"] == "Point"
    assert profile["transform"] == read(path)[1]["transform"]
    assert values[3, 10:20, 10:20].all()


def test_an_open_raster_keeps_its_nodata(tmp_path):
    image = smooth((64, 64), 1)
    image[:, :15] = 3
    raster = samgeo.Raster.open(write_raster(tmp_path / "a.tif", image), nodata=3, check=False)
    removal = remove(raster, on_ground((10, 10, 20, 20)), "out.tif", grow_px=0)
    assert removal.pixels == 50
    assert read("out.tif")[1]["nodata"] == 3


def test_a_failure_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_raster(tmp_path / "a.tif", smooth((64, 64)))
    remove(path, on_ground((10, 10, 20, 20)), "out.tif")
    before, names = (tmp_path / "out.tif").read_bytes(), sorted(one.name for one in tmp_path.iterdir())

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rasterio.shutil.copy", full)
    with pytest.raises(OptionError, match=r"out\.tif cannot be written"):
        remove(path, on_ground((30, 30, 40, 40)), "out.tif", overwrite=True)
    assert (tmp_path / "out.tif").read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == names


def test_other_readers_see_the_filled_picture(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    image = smooth((64, 64))
    path = write_raster(tmp_path / "a.tif", image)
    remove(path, on_ground((10, 10, 20, 20)), "out.tif")
    with rasterio.open("out.tif") as file:
        assert (file.dataset_mask() == 255).all()
        pixels = file.read([1, 2, 3])
    with image_module.open("out.tif") as opened:
        assert np.array_equal(np.asarray(opened.convert("RGB")), np.moveaxis(pixels, 0, 2))


WRONG = {
    "grow": ({"grow_px": -1}, OptionError, "grow_px"),
    "outside": ({"objects": on_ground((500, 500, 510, 510))}, OptionError, "none of 1 objects touches"),
    "points": ({"objects": gpd.GeoSeries([Point(500_005, 5_399_990)], crs="EPSG:32633")}, VectorError, "give polygons"),
    "suffix": ({"output": "out.png"}, OptionError, "does not end in"),
    "input": ({"output": "a.tif"}, OptionError, "also an input"),
    "everything": ({"objects": on_ground((-1, -1, 70, 70))}, RasterError, "nothing to fill them from"),
    "no CRS": ({"objects": gpd.GeoSeries([box(1, 1, 5, 5)])}, VectorError, "has a CRS"),
    "text": ({"dates": "a.tif"}, OptionError, "give a list"),
    "absent": ({"dates": ["no.tif"]}, RasterError, "does not exist"),
    "bands": ({"dates": ["one.tif"]}, RasterError, "same bands"),
    "date": ({"dates": ["bare.tif"]}, OptionError, "has a CRS and"),
    "palette": ({"image": "palette.tif"}, RasterError, "colour table"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_done_is_refused_and_leaves_nothing(tmp_path, what):
    write_raster(tmp_path / "a.tif", smooth((64, 64)))
    write_raster(tmp_path / "one.tif", smooth((64, 64), 1))
    write_raster(tmp_path / "bare.tif", smooth((64, 64)), transform=TRANSFORMS["none"])
    write_raster(tmp_path / "palette.tif", np.zeros((64, 64), "uint8"), palette={0: (1, 2, 3, 255), 1: (9, 9, 9, 255)})
    before = sorted(path.name for path in tmp_path.iterdir())
    given, error, words = WRONG[what]
    arguments = {"image": "a.tif", "objects": on_ground((10, 10, 20, 20)), "output": "out.tif"} | given
    with pytest.raises(error, match=words):
        remove(**arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_only_own_files_are_replaced(tmp_path):
    path = write_raster(tmp_path / "a.tif", smooth((64, 64)))
    other = write_raster(tmp_path / "other.tif", smooth((64, 64)))
    with pytest.raises(OptionError, match="was not made by samgeo"):
        remove(path, on_ground((10, 10, 20, 20)), other, overwrite=True)
    remove(path, on_ground((10, 10, 20, 20)), "out.tif")
    with pytest.raises(OptionError, match="allow overwrite"):
        remove(path, on_ground((10, 10, 20, 20)), "out.tif")
    remove(path, on_ground((30, 30, 40, 40)), "out.tif", overwrite=True, grow_px=0)
    assert np.count_nonzero(read("out.tif")[0][3]) == 100


def test_the_command(tmp_path):
    path = write_raster(tmp_path / "a.tif", smooth((64, 64)))
    date = write_raster(tmp_path / "d.tif", smooth((64, 64)) + 1)
    on_ground((10, 10, 20, 20)).to_file(tmp_path / "cars.gpkg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = CliRunner().invoke(main, ["remove", str(path), "cars.gpkg", "out.tif", "--date", str(date), "--grow-px", "0"])
    assert done.exit_code == 0, done.output
    assert "1 object removed; 100 pixels invented in out.tif, 100 from other dates and 0 from neighbours" in done.output
    assert np.array_equal(read("out.tif")[0][:3, 10:20, 10:20], np.moveaxis(smooth((64, 64)) + 1, 2, 0)[:, 10:20, 10:20])
