"""Invented pixels are no data by default, and reach neither areas, nor features, nor training, nor statistics."""

import contextlib
import importlib
import inspect
import pkgutil

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from shapely.geometry import box

import samgeo
from samgeo import Raster
from samgeo.buildings import filter_by_height
from samgeo.cli import main
from samgeo.editing import remove
from samgeo.errors import OptionError, RasterError
from samgeo.finding import peaks_of
from samgeo.geo.raster.bands import INVENTED_TAG
from samgeo.geo.raster.identity import identify
from samgeo.objects import describe
from samgeo.testing import TRANSFORMS, Oracle, encode_ids, write_raster
from samgeo.training.data.labels import ClassMaps, Images
from samgeo.training.data.pictures import from_coco, from_vectors

TRANSFORM = Affine(*TRANSFORMS["north-up"])
HIDDEN = np.zeros((96, 96), dtype=bool)
HIDDEN[40:70, 30:80] = True


def on_ground(*boxes_px):
    corners = [(TRANSFORM @ (x0, y0), TRANSFORM @ (x1, y1)) for x0, y0, x1, y1 in boxes_px]
    return gpd.GeoDataFrame(geometry=[box(*start, *end) for start, end in corners], crs="EPSG:32633")


def marked(path, values, hidden=HIDDEN, **options):
    """A raster with the band that `remove` writes."""
    mark = np.where(hidden, 255, 0).astype(values.dtype)
    names = [""] * np.atleast_3d(values).shape[2]
    return write_raster(path, np.dstack([values, mark]), descriptions=[*names, "invented"], ALPHA="NO", **options)


def ids():
    labels = np.zeros((96, 96), dtype=np.int32)
    labels[10:30, 10:30] = 1
    labels[45:65, 40:70] = 2  # invented
    return labels


@pytest.fixture
def two(tmp_path):
    """Two files that differ only in their invented pixels."""
    image = np.random.default_rng(0).integers(20, 230, (96, 96, 3), dtype=np.uint8)
    files = []
    for number, value in enumerate((7, 250)):
        image[HIDDEN] = value
        files.append(marked(tmp_path / f"{number}.tif", image))
    return files


def test_pixels_are_left_out_unless_they_are_asked_for(two):
    for given in (None, "nodata"):
        pixels, valid = Raster.open(two[1], invented=given, check=False).view()
        assert np.array_equal(valid, ~HIDDEN)
        assert not pixels[HIDDEN].any()
    raster = Raster.open(two[1], invented="data", check=False)
    pixels, valid = raster.view()
    assert valid.all()
    assert (pixels[HIDDEN] == 250).all()
    assert raster.bands == (1, 2, 3)
    assert raster.provenance()["invented"] == "data"
    assert "invented" not in Raster.open(two[1], check=False).provenance()
    # An open raster keeps its choice until another is given.
    assert Raster.open(raster, bands=[1], check=False).view()[1].all()
    assert np.array_equal(Raster.open(raster, invented="nodata", check=False).view()[1], ~HIDDEN)


def test_coarse_pixels_and_overviews_leave_them_out(tmp_path):
    image = np.full((512, 512, 3), 90, dtype=np.uint8)
    hidden = np.zeros((512, 512), dtype=bool)
    hidden[128:256, 128:256] = True
    image[hidden] = 250
    path = marked(tmp_path / "a.tif", image, hidden, overviews=[2, 4], overview_method="average")
    pixels, valid = Raster.open(path, check=False).read_coarse(samgeo.geo.grid.Rect(0, 0, 512, 512), 4)
    assert not valid[32:64, 32:64].any()
    assert valid.sum() == 128 * 128 - 32 * 32
    assert (pixels[valid] == 90).all()
    pixels, valid = Raster.open(path, check=False).view(128)
    assert (pixels[valid] == 90).all()
    assert not valid[33:63, 33:63].any()


def test_the_band_is_not_an_image(two, tmp_path):
    with pytest.raises(RasterError, match="marks invented pixels"):
        Raster.open(two[0], bands=[4])
    assert Raster.open(two[0], bands=["invented"], invented="data", check=False).bands == (4, 4, 4)
    grey = marked(tmp_path / "grey.tif", np.full((96, 96, 1), 50, dtype=np.uint8))
    assert Raster.open(grey, check=False).bands == (1, 1, 1)


def test_a_mosaic_shows_what_lies_below(tmp_path, two):
    below = write_raster(
        tmp_path / "below.tif",
        np.dstack([np.full((96, 96, 3), 111, np.uint8), np.zeros((96, 96), np.uint8)]),
        descriptions=["", "", "", "invented"],
        ALPHA="NO",
    )
    pixels, valid = Raster.open([two[0], below], check=False).view()
    assert valid.all()
    assert (pixels[HIDDEN] == 111).all()
    assert (Raster.open([two[0], below], invented="data", check=False).view()[0][HIDDEN] == 7).all()


def test_a_file_that_lost_its_marks_is_refused(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.full((64, 64, 3), 90, np.uint8))
    remove(path, on_ground((10, 10, 20, 20)), tmp_path / "b.tif", grow_px=0)
    with rasterio.open(tmp_path / "b.tif") as file:
        values, tags = file.read([1, 2, 3]), file.tags()
    lost = write_raster(tmp_path / "lost.tif", np.moveaxis(values, 0, 2))
    with rasterio.open(lost, "r+") as file:
        file.update_tags(**{INVENTED_TAG: tags[INVENTED_TAG]})
    with pytest.raises(RasterError, match="100 of its pixels are invented"):
        Raster.open(lost)
    assert Raster.open(lost, invented="data", check=False).view()[1].all()
    with pytest.raises(OptionError, match='give "nodata"'):
        Raster.open(lost, invented="yes")


def test_the_marks_survive_copies_of_gdal(tmp_path, two):
    rasterio.shutil.copy(two[0], tmp_path / "copy.tif", driver="COG")
    with rasterio.open(two[0]) as file, rasterio.vrt.WarpedVRT(file, crs="EPSG:4326") as warped:
        rasterio.shutil.copy(warped, tmp_path / "warped.tif", driver="GTiff")
    for name in ("copy.tif", "warped.tif"):
        valid = Raster.open(tmp_path / name, check=False).view()[1]
        assert (~valid).sum() > 0
    assert np.array_equal(Raster.open(tmp_path / "copy.tif", check=False).view()[1], ~HIDDEN)


def test_statistics_of_the_stretch(tmp_path):
    image = np.random.default_rng(0).integers(1000, 2000, (96, 96, 3)).astype(np.uint16)
    stretch = Raster.open(np.where(HIDDEN[..., np.newaxis], 0, image), nodata=0, check=False).stretch
    for value in (5, 60_000):
        image[HIDDEN] = value
        path = marked(tmp_path / "a.tif", image)
        assert Raster.open(path, check=False).stretch == stretch
    assert Raster.open(path, invented="data", check=False).stretch[0][1] == 60_000
    # A digest of the content does not change with them either.
    assert identify(Raster.open(path, check=False))["content"]


def test_segmentation(tmp_path):
    path = marked(tmp_path / "a.tif", encode_ids(ids()))
    options = {"model": Oracle(96), "progress": False}
    found = samgeo.segment(path, **options)
    assert found.geometry.area.tolist() == [100.0]  # 20 x 20 pixels of 0.5 m
    assert len(samgeo.segment(path, invented="data", **options)) == 2
    points = [[500_027.5, 5_399_972.5]]
    asked = {"points": points, "crs": "EPSG:32633", "model": Oracle(96)}
    assert samgeo.predict(path, **asked).reason.tolist() == ["on nodata"]
    assert samgeo.predict(path, **asked, invented="data").area_m2.round().tolist() == [150]


def test_features(two):
    objects = on_ground((5, 5, 25, 25), (20, 35, 60, 75))
    one, other = (describe(path, objects, model="tiny") for path in two)
    assert one.equals(other)
    shown = describe(two[1], objects, model="tiny", invented="data")
    assert not np.allclose(shown.iloc[1, :20], other.iloc[1, :20])


def test_training_data(two, tmp_path):
    objects = on_ground((5, 5, 25, 25), (35, 45, 70, 65))
    pictures = [from_vectors(path, {"roof": objects}) for path in two]
    coco = '{"images": [{"id": 1, "file_name": "1.tif"}], "annotations": [{"image_id": 1, "segmentation": '
    coco += "[[40, 45, 70, 45, 70, 65, 40, 65], [10, 10, 30, 10, 30, 30, 10, 30]]}]}"
    (tmp_path / "coco.json").write_text(coco)
    pictures += from_coco(tmp_path / "coco.json", tmp_path)
    for picture in pictures:
        assert not picture.image[HIDDEN].any()
        assert np.array_equal(picture.image, pictures[0].image)
        (layer,) = picture.layers.values()
        assert layer[15, 15]
        assert not layer[HIDDEN].any()
    assert np.array_equal(np.unique(pictures[0].layers["roof"]), [0, 1])
    write_raster(tmp_path / "1.png", np.where(ids() > 0, 3, 0).astype(np.uint8), driver="PNG", transform=TRANSFORMS["none"])
    maps = ClassMaps(Images((two[1],)), str(tmp_path / "{stem}.png"), {"roof": [3]}, 10)
    (picture,) = maps.pictures()
    assert not picture.layers["roof"][HIDDEN].any()
    assert picture.layers["roof"][10:30, 10:30].all()
    (picture,) = ClassMaps(Images((two[1],), invented="data"), str(tmp_path / "{stem}.png"), {"roof": [3]}, 10).pictures()
    assert picture.layers["roof"][45:65, 40:70].all()


def parameters_of_public_functions():
    for package in pkgutil.iter_modules(samgeo.__path__, "samgeo."):
        if package.ispkg and package.name != "samgeo.cli":
            module = importlib.import_module(package.name)
            for name in getattr(module, "__all__", ()):
                if callable(one := getattr(module, name)):
                    with contextlib.suppress(ValueError):
                        yield f"{package.name}.{name}", set(inspect.signature(one).parameters)


def test_every_function_and_command_that_opens_an_image_has_the_option():
    known = dict(parameters_of_public_functions())
    opening = {name for name, parameters in known.items() if {"nodata", "alpha"} <= parameters}
    # These carry the marks of their input, and have no use for the option.
    carrying = {"samgeo.editing.remove", "samgeo.editing.compress"}
    assert len(opening) > 8
    assert {name for name in opening if "invented" not in known[name]} == carrying
    commands = {name: {one.name for one in command.params} for name, command in main.commands.items()}
    opening = {name for name, options in commands.items() if {"nodata", "alpha"} <= options}
    assert {"segment", "find", "show", "evaluate", "finetune", "footprints", "encode", "predict"} <= opening
    assert {name for name in opening if "invented" not in commands[name]} == {"remove", "compress"}


def test_heights_and_their_peaks(tmp_path):
    heights = np.zeros((96, 96, 1), dtype=np.float32)
    heights[10:30, 10:30] = 6
    heights[HIDDEN] = 9
    heights[15, 15], heights[50, 50] = 8, 12
    path = marked(tmp_path / "dsm.tif", heights)
    objects = on_ground((10, 10, 30, 30), (10, 50, 60, 60), (45, 45, 60, 60))
    found = filter_by_height(objects, path, min_height_m=0)
    # The second object lies partly, the third wholly on invented heights.
    assert found["height_m"].fillna(-1).tolist() == [6, 0, -1]
    image = write_raster(tmp_path / "image.tif", np.zeros((96, 96, 3), np.uint8))
    assert peaks_of(path, image, min_value=7).boxes_px.tolist() == [[15.5, 15.5, 15.5, 15.5]]
