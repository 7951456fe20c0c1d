"""A picture shows what is there: tinted inside polygons, untouched outside, in any CRS, bit depth and orientation."""

import os
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from PIL import Image
from shapely.affinity import affine_transform

import samgeo
from samgeo.errors import OptionError, SamgeoError, VectorError
from samgeo.geo.raster.raster import Raster
from samgeo.plot.colors import CHECKER_GREYS, UNKNOWN, checkerboard, colors_of, palette
from samgeo.testing.rasters import TRANSFORMS, write_raster

GREY = 120
PLOT = shapely.box(10, 20, 40, 50)
HOLE = shapely.box(20, 30, 30, 40)
UTM = "EPSG:32633"


def grey(height=80, width=100):
    return np.full((height, width, 3), GREY, np.uint8)


def to_crs(geometry_px, name="north-up"):
    return affine_transform(geometry_px, Affine(*TRANSFORMS[name]).to_shapely())


def changed(picture):
    return (np.asarray(picture) != GREY).any(axis=2)


def pixels_of(geometry_px, shape=(80, 100)):
    """The pixels whose centres lie in a geometry."""
    y, x = np.indices(shape) + 0.5
    return shapely.contains_xy(geometry_px, x, y)


@pytest.mark.parametrize("name", sorted(TRANSFORMS.keys() - {"none"}))
def test_a_polygon_tints_its_own_pixels_and_no_other_in_any_orientation(tmp_path, name):
    path = write_raster(tmp_path / "image.tif", grey(), transform=TRANSFORMS[name])
    result = gpd.GeoDataFrame(geometry=[to_crs(PLOT, name)], crs=UTM)
    picture = samgeo.show(path, result, outline=False)
    assert picture.mode == "RGB"
    assert picture.size == (100, 80)
    np.testing.assert_array_equal(changed(picture), pixels_of(PLOT))
    assert len(np.unique(np.asarray(picture)[pixels_of(PLOT)], axis=0)) == 1


def test_holes_stay_untouched_and_an_island_in_a_hole_does_not():
    island = shapely.box(23, 33, 27, 37)
    lake = shapely.MultiPolygon([island, PLOT - HOLE])
    picture = samgeo.show(grey(), gpd.GeoDataFrame(geometry=[lake]), outline=False)
    np.testing.assert_array_equal(changed(picture), pixels_of(lake))


def test_a_small_polygon_is_drawn_over_a_large_one_whatever_their_order():
    small, large = shapely.box(20, 30, 30, 40), PLOT
    colors = {}
    for order in ([small, large], [large, small]):
        frame = gpd.GeoDataFrame({"kind": ["small" if one is small else "large" for one in order]}, geometry=order)
        picture = samgeo.show(grey(), frame, outline=False, column="kind")
        colors[order[0] is small] = picture.getpixel((25, 35)), picture.getpixel((15, 25))
    assert colors[True] == colors[False]
    assert colors[True][0] != colors[True][1]


def test_a_slanted_edge_is_antialiased():
    triangle = shapely.Polygon([(10, 10), (70, 10), (10, 50)])
    picture = np.asarray(samgeo.show(grey(), gpd.GeoDataFrame(geometry=[triangle]), outline=False)).astype(int)
    tint = np.abs(picture - GREY).sum(axis=2) / np.abs(picture[12, 12] - GREY).sum()
    y, x = np.indices(tint.shape)
    squares = shapely.box(x, y, x + 1, y + 1)
    np.testing.assert_allclose(tint, shapely.area(shapely.intersection(squares, triangle)), atol=0.02)
    assert ((tint > 0.2) & (tint < 0.8)).any()


def test_an_outline_runs_along_the_edge_alone():
    picture = samgeo.show(grey(), gpd.GeoDataFrame(geometry=[PLOT - HOLE]), fill=False)
    near = pixels_of((PLOT - HOLE).boundary.buffer(1.01))
    drawn = changed(picture)
    assert not (drawn & ~near).any()
    assert drawn[20, 15:35].all()
    assert drawn[30, 21:29].all()


def test_the_picture_alone_is_the_raster():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(samgeo.show(pixels)), pixels)


def test_a_polygon_stays_in_its_place_when_the_raster_is_drawn_smaller():
    square = shapely.box(200, 100, 400, 300)
    picture = samgeo.show(grey(400, 800), gpd.GeoDataFrame(geometry=[square]), max_side=200, outline=False)
    assert picture.size == (200, 100)
    np.testing.assert_array_equal(changed(picture), pixels_of(shapely.box(50, 25, 100, 75), (100, 200)))


def test_polygons_outside_and_partly_outside_are_cut_at_the_edge():
    frame = gpd.GeoDataFrame(geometry=[shapely.box(-1e6, -1e6, 5, 5), shapely.box(500, 500, 600, 600), None, shapely.Point()])
    picture = samgeo.show(grey(), frame, outline=False)
    np.testing.assert_array_equal(changed(picture), pixels_of(shapely.box(0, 0, 5, 5)))


def test_a_result_in_another_crs_lands_in_the_same_place(tmp_path):
    path = write_raster(tmp_path / "image.tif", grey())
    frame = gpd.GeoDataFrame(geometry=[to_crs(PLOT)], crs=UTM)
    frame.to_crs("EPSG:4326").to_file(tmp_path / "plot.geojson")
    picture = samgeo.show(path, tmp_path / "plot.geojson", outline=False)
    np.testing.assert_array_equal(changed(picture), pixels_of(PLOT))


@pytest.mark.parametrize(("raster_crs", "result_crs"), [(UTM, None), (None, UTM)])
def test_one_crs_of_two_is_refused_and_named(tmp_path, raster_crs, result_crs):
    path = write_raster(tmp_path / "image.tif", grey(), crs=raster_crs)
    with pytest.raises(VectorError, match=r"has a CRS \(EPSG:32633\) and .* has none"):
        samgeo.show(path, gpd.GeoDataFrame(geometry=[PLOT], crs=result_crs))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_any_bit_depth_is_drawn_from_black_to_white(tmp_path, dtype):
    ramp = np.tile(np.linspace(0, 250, 100), (80, 1)).astype(dtype)
    path = write_raster(tmp_path / "image.tif", ramp)
    drawn = np.asarray(samgeo.show(path))[..., 0].astype(int)
    assert (np.diff(drawn, axis=1) >= 0).all()
    assert drawn.max() - drawn.min() >= 250


def test_no_data_is_a_checkerboard(tmp_path):
    values = np.full((80, 100), 7.5, np.float32)
    values[:40] = np.nan
    drawn = np.asarray(samgeo.show(write_raster(tmp_path / "image.tif", values, nodata=np.nan)))
    np.testing.assert_array_equal(drawn[:40], checkerboard(80, 100)[:40])
    assert set(np.unique(drawn[:40])) == set(CHECKER_GREYS)
    assert len(np.unique(drawn[40:])) == 1


def test_a_number_is_coloured_from_dark_to_yellow_and_a_missing_one_grey():
    frame = gpd.GeoDataFrame({"score": [0.1, 0.9, np.nan, 0.5]}, geometry=[PLOT] * 4)
    low, high, missing, middle = colors_of(frame, "score")
    assert low == (68, 1, 84)
    assert high == (253, 231, 37)
    assert middle == (33, 145, 140)
    assert missing == UNKNOWN


def test_equal_values_have_equal_colours_in_any_order():
    names = ["road", "house", None, "road"]
    frame = gpd.GeoDataFrame({"kind": names}, geometry=[PLOT] * 4)
    colors = colors_of(frame, "kind")
    assert colors[0] == colors[3] != colors[1]
    assert colors[2] == UNKNOWN
    assert colors_of(frame[::-1], "kind") == colors[::-1]


def test_colours_that_follow_each_other_are_far_apart():
    colors = np.array(palette(1000))
    assert np.abs(np.diff(colors, axis=0)).sum(axis=1).min() > 150


def test_a_picture_is_written_whole_and_alone(tmp_path):
    output = tmp_path / "out" / "view.png"
    output.parent.mkdir()
    picture = samgeo.show(grey(), gpd.GeoDataFrame(geometry=[PLOT]), output)
    with Image.open(output) as written:
        np.testing.assert_array_equal(np.asarray(written), np.asarray(picture))
    assert list(output.parent.iterdir()) == [output]
    with pytest.raises(OptionError, match="exists"):
        samgeo.show(grey(), None, output)
    samgeo.show(grey(), None, output, overwrite=True)
    with Image.open(output) as written:
        assert not changed(written).any()


def test_a_failed_write_leaves_the_old_picture(tmp_path, monkeypatch):
    output = tmp_path / "view.png"
    output.write_bytes(b"old")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(SamgeoError, match="No space left"):
        samgeo.show(grey(), None, output, overwrite=True)
    assert output.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": "view.jpg"}, r"does not end in \.png"),
        ({"output": "missing/view.png"}, "does not exist"),
        ({"max_side": 0}, "at least 1"),
        ({"column": "height"}, "no column 'height'.*kind"),
        ({"column": "geometry"}, "no column 'geometry'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_drawn(tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delattr(Raster, "view")
    frame = gpd.GeoDataFrame({"kind": ["house"]}, geometry=[PLOT])
    with pytest.raises(SamgeoError, match=message):
        samgeo.show(grey(), frame, **change)


def test_only_polygons_can_be_drawn():
    with pytest.raises(VectorError, match="LinearRing, Point;"):
        samgeo.show(grey(), gpd.GeoDataFrame(geometry=[PLOT, shapely.Point(1, 1), PLOT.exterior]))


def test_coordinates_that_the_raster_crs_cannot_hold_are_refused(tmp_path):
    path = write_raster(tmp_path / "image.tif", grey(), crs="EPSG:3857")
    beyond = gpd.GeoDataFrame(geometry=[shapely.box(0, 80, 10, 95)], crs="EPSG:4326")
    with pytest.raises(VectorError, match="cannot be transformed to the CRS"):
        samgeo.show(path, beyond)


def test_real_footprints_tint_what_they_cover_of_a_real_mosaic():
    if not os.environ.get("SAMGEO_DATA"):
        pytest.skip("SAMGEO_DATA is not set: no real imagery")
    folder = Path(os.environ["SAMGEO_DATA"]) / "oam-banepa-buildings"
    raster = Raster.open(folder / "banepa.tif")
    footprints = gpd.read_file(folder / "footprints.geojson")
    plain, drawn = (np.asarray(samgeo.show(raster, result, max_side=800, outline=False)) for result in (None, footprints))
    scale = Affine.scale(plain.shape[1] / raster.shape[1], plain.shape[0] / raster.shape[0])
    in_view = affine_transform(footprints.union_all(), (scale @ ~raster.geobox.affine).to_shapely())
    tinted = (plain != drawn).any(axis=2)
    assert tinted[pixels_of(in_view, tinted.shape)].mean() > 0.999
    assert not tinted[~pixels_of(in_view.buffer(1), tinted.shape)].any()
