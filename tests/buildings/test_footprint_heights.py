"""Objects that do not rise above the ground are dropped, for any grids of the surface and the terrain model."""

import os
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

from samgeo.buildings import filter_by_height
from samgeo.errors import OptionError, RasterError, VectorError

X0, Y1 = 300_000, 3_000_000


def write(path, heights, step=1.0, crs="EPSG:32645", x0=X0, y1=Y1, nodata=-9999):
    profile = {"driver": "GTiff", "height": heights.shape[0], "width": heights.shape[1], "count": 1, "dtype": "float32"}
    with rasterio.open(path, "w", **profile, crs=crs, transform=from_origin(x0, y1, step, step), nodata=nodata) as dataset:
        dataset.write(heights.astype(np.float32), 1)
    return path


def boxes(*places, crs="EPSG:32645"):
    """Return boxes from x0, y0, x1, y1 in metres to the right and downwards from the top left corner."""
    shapes = [shapely.box(X0 + x0, Y1 - y1, X0 + x1, Y1 - y0) for x0, y0, x1, y1 in places]
    return gpd.GeoDataFrame({"name": [f"b{n}" for n in range(len(shapes))]}, geometry=shapes, crs=crs)


@pytest.fixture
def models(tmp_path):
    """Write a slope with two blocks that are 6 m and 1 m high, and a larger terrain model with another resolution."""
    rows, columns = np.mgrid[0:60, 0:80]
    surface = 100 + (columns + 0.5) * 0.5
    surface[10:20, 10:20] += 6
    surface[10:20, 40:50] += 1
    terrain = 100 + (np.mgrid[-10:30, -10:50][1] * 2 + 1) * 0.5
    dsm = write(tmp_path / "dsm.tif", surface)
    return dsm, write(tmp_path / "dtm.tif", terrain, step=2.0, x0=X0 - 20, y1=Y1 + 20), rows.shape


OBJECTS = [(10, 10, 20, 20), (40, 10, 50, 20), (30, 40, 35, 45)]


def test_heights_are_above_the_terrain_in_any_crs(models):
    dsm, dtm, _ = models
    for crs in ("EPSG:32645", "EPSG:4326", "EPSG:3857"):
        kept = filter_by_height(boxes(*OBJECTS).to_crs(crs), dsm, dtm)
        assert list(kept.name) == ["b0"]
        assert kept.height_m.iloc[0] == pytest.approx(6, abs=1e-3)
        assert kept.crs == crs
        note = kept.attrs["samgeo"]["filter_by_height"]
        assert (note["kept"], note["too_low"], note["unknown"]) == (1, 2, 0)
    everything = filter_by_height(boxes(*OBJECTS), dsm, dtm, min_height_m=-1)
    np.testing.assert_allclose(everything.height_m, [6, 1, 0], atol=1e-3)
    assert list(filter_by_height(boxes(*OBJECTS), dsm, dtm, min_height_m=0.5, max_height_m=5).name) == ["b1"]


def test_a_terrain_in_another_crs_is_brought_to_the_surface(models, tmp_path):
    dsm, dtm, _ = models
    from rasterio.warp import Resampling, calculate_default_transform, reproject

    with rasterio.open(dtm) as source:
        transform, width, height = calculate_default_transform(
            source.crs, "EPSG:4326", source.width, source.height, *source.bounds
        )
        warped = np.full((height, width), -9999, dtype=np.float32)
        reproject(
            rasterio.band(source, 1),
            warped,
            dst_transform=transform,
            dst_crs="EPSG:4326",
            dst_nodata=-9999,
            resampling=Resampling.bilinear,
        )
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": "float32", "nodata": -9999}
    with rasterio.open(tmp_path / "geographic.tif", "w", **profile, crs="EPSG:4326", transform=transform) as dataset:
        dataset.write(warped, 1)
    heights = filter_by_height(boxes(*OBJECTS), dsm, tmp_path / "geographic.tif", min_height_m=-1).height_m
    np.testing.assert_allclose(heights, [6, 1, 0], atol=0.1)


def test_a_raster_of_heights_alone_and_every_statistic(tmp_path):
    values = np.arange(100, dtype=float).reshape(10, 10)
    path = write(tmp_path / "hag.tif", values)
    one = boxes((2, 3, 5, 7))
    inside = values[3:7, 2:5]
    for name, wanted in (
        ("median", np.median(inside)),
        ("mean", inside.mean()),
        ("min", inside.min()),
        ("max", inside.max()),
        ("p90", np.percentile(inside, 90)),
    ):
        assert filter_by_height(one, path, statistic=name).height_m.iloc[0] == pytest.approx(wanted)


def test_pixel_centres_count_and_for_slivers_what_they_touch(tmp_path):
    values = np.zeros((10, 10))
    values[2, 2], values[2, 3] = 8, 4
    path = write(tmp_path / "hag.tif", values)
    objects = boxes((2.4, 2.4, 3.4, 2.6), (2.6, 2.6, 2.9, 2.9))
    assert list(filter_by_height(objects, path).height_m) == [8, 8]


def test_holes_in_the_data_and_what_lies_outside_do_not_count(tmp_path):
    values = np.full((10, 10), 5.0)
    values[0:5] = -9999
    values[9, 9] = np.nan
    path = write(tmp_path / "hag.tif", values)
    objects = boxes((0, 0, 4, 4), (0, 0, 4, 10), (8, 8, 14, 14), (50, 50, 60, 60)).assign(name=["hole", "half", "edge", "away"])
    kept = filter_by_height(objects, path)
    assert list(kept.name) == ["hole", "half", "edge", "away"]
    np.testing.assert_array_equal(kept.height_m, [np.nan, 5, 5, np.nan])
    dropped = filter_by_height(objects, path, unknown="drop")
    assert list(dropped.name) == ["half", "edge"]
    assert dropped.attrs["samgeo"]["filter_by_height"]["unknown"] == 2


def test_what_cannot_work_is_refused(models, tmp_path):
    dsm, dtm, _ = models
    objects = boxes(*OBJECTS)
    for wrong in (
        {"statistic": "mode"},
        {"unknown": "guess"},
        {"min_height_m": 5, "max_height_m": 2},
        {"min_height_m": np.nan},
    ):
        with pytest.raises(OptionError):
            filter_by_height(objects, dsm, dtm, **wrong)
    with pytest.raises(VectorError, match="no CRS"):
        filter_by_height(objects.set_crs(None, allow_override=True), dsm)
    with pytest.raises(RasterError, match=r"nothing\.tif"):
        filter_by_height(objects, tmp_path / "nothing.tif")
    with pytest.raises(OptionError, match="same place"):
        filter_by_height(boxes((5000, 5000, 5010, 5010)), dsm, dtm)
    assert len(filter_by_height(objects.iloc[:0], dsm)) == 0


@pytest.fixture(scope="module")
def alexandria():
    folder = Path(os.environ.get("SAMGEO_DATA", "")) / "dc-dsm-dtm"
    if not folder.is_dir():
        pytest.skip("needs dc-dsm-dtm: SAMGEO_DATA is not set to its folder")
    return folder


def test_real_buildings_stand_and_the_ground_beside_them_does_not(alexandria):
    buildings = gpd.read_file(alexandria / "buildings.geojson")
    heights = filter_by_height(buildings, alexandria / "dsm.tif", alexandria / "dtm.tif", min_height_m=-100).height_m
    known = heights.notna()
    # These are the heights that the producer of the data gives for these buildings.
    assert np.nanmedian(np.abs(heights - buildings.HEIGHT.astype(float))[known]) < 1
    assert (heights[known] > 2).mean() > 0.9
    metres = buildings.to_crs(26918)
    ground = metres.buffer(12).difference(metres.buffer(6)).difference(metres.buffer(6).union_all())
    beside = filter_by_height(
        metres.set_geometry(ground), alexandria / "dsm.tif", alexandria / "dtm.tif", min_height_m=-100
    ).height_m
    assert (beside < 2).mean() > 0.5
    assert heights.median() > beside.median() + 3
