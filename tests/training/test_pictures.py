import json

import geopandas as gpd
import numpy as np
import pytest
import shapely
from learn_scenes import squares
from PIL import Image

from samgeo.errors import OptionError, RasterError, VectorError
from samgeo.synthetic import town
from samgeo.training.data.pictures import Picture, from_classes, from_coco, from_scene, from_vectors, load_picture, save_picture


def coco(folder, segmentation, **more):
    Image.fromarray(np.full((40, 60, 3), 9, np.uint8)).save(folder / "a.png")
    record = {"id": 1, "image_id": 7, "category_id": 1, "segmentation": segmentation, **more}
    document = {"images": [{"id": 7, "file_name": "a.png"}], "annotations": [record], "categories": []}
    (folder / "coco.json").write_text(json.dumps(document))
    return from_coco(folder / "coco.json", folder)


def test_a_coco_polygon_covers_the_pixels_in_it(tmp_path):
    (picture,) = coco(tmp_path, [[10, 5, 30, 5, 30, 25, 10, 25]])
    expected = np.zeros((40, 60), np.uint16)
    expected[5:25, 10:30] = 1
    # Pillow fills polygons with their outline: half a pixel more at the right and below.
    assert (picture.layers["building"] != expected).sum() <= 41
    assert (picture.layers["building"] >= expected).all()


def test_crowds_are_left_out_and_run_lengths_are_refused(tmp_path):
    (picture,) = coco(tmp_path, [[10, 5, 30, 5, 30, 25]], iscrowd=1)
    assert not picture.layers["building"].any()
    with pytest.raises(VectorError, match="run-length"):
        coco(tmp_path, {"size": [40, 60], "counts": "abc"})


def test_vectors_are_burnt_where_they_are(tmp_path):
    scene = town((96, 128), 8)
    path = scene.save(tmp_path / "town.tif")
    picture = from_vectors(path, {"building": scene.footprints.to_crs(4326)}, min_area_px=1)
    assert np.array_equal(picture.image, scene.image)
    assert ((picture.layers["building"] > 0) == (scene.labels > 0)).mean() > 0.999
    exact = from_vectors(path, {"building": scene.footprints}, min_area_px=1)
    assert np.array_equal(exact.layers["building"], scene.labels)


def test_vectors_need_a_place(tmp_path):
    frame = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs=4326)
    with pytest.raises(RasterError, match="no CRS"):
        from_vectors(np.zeros((8, 8, 3), np.uint8), {"building": frame})


def test_the_parts_of_a_class_are_objects():
    classes = np.zeros((40, 60), np.uint8)
    classes[2:12, 2:12] = 1
    classes[20:30, 2:12] = 1
    classes[2:12, 30:58] = 2
    classes[35:37, 50:52] = 2
    picture = from_classes("a", np.full((40, 60, 3), 5, np.uint8), classes, {"building": [1], "region": [0, 2]}, min_area_px=50)
    assert picture.layers["building"].max() == 2
    # The ground is more than half of the image, and one part of class 2 is small.
    assert np.array_equal(picture.layers["region"] > 0, (classes == 2) & (np.arange(40) < 20)[:, None])


def test_a_scene_brings_its_buildings_and_its_regions():
    scene = town((96, 128), 8)
    picture = from_scene(scene)
    assert ((picture.layers["building"] > 0) <= (scene.labels > 0)).all()
    assert not ((picture.layers["region"] > 0) & (scene.labels > 0)).any()


def test_small_objects_are_left_out_and_the_others_numbered_without_gaps(tmp_path):
    picture = squares("a")
    assert np.unique(picture.layers["building"]).tolist() == list(range(10))


def test_packing_is_a_round_trip(tmp_path):
    picture = squares("a")
    save_picture(picture, tmp_path / "a.npz")
    again = load_picture(tmp_path / "a.npz")
    assert again.name == "a"
    assert np.array_equal(again.image, picture.image)
    assert np.array_equal(again.layers["building"], picture.layers["building"])
    (tmp_path / "b.npz").write_bytes(b"not a zip")
    with pytest.raises(RasterError, match="pack it again"):
        load_picture(tmp_path / "b.npz")


def test_tiles_cover_a_picture_once():
    picture = squares("a")
    tiles = list(picture.tiles(64))
    assert sorted(tile.shape for tile in tiles) == [(32, 32), (32, 64), (64, 32), (64, 64)]
    assert sum(int((tile.layers["building"] > 0).sum()) for tile in tiles) == (picture.layers["building"] > 0).sum()


def test_an_image_and_a_layer_that_do_not_fit_are_refused():
    with pytest.raises(OptionError, match="layer 'building'"):
        Picture("a", np.zeros((8, 8, 3), np.uint8), {"building": np.zeros((8, 9), np.uint16)})
