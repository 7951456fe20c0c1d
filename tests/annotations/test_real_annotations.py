"""The annotations of real data sets come in whole, where their objects are."""

import os
from pathlib import Path

import numpy as np
import pytest
import shapely

from samgeo.annotations import Image, read_annotations, write_annotations
from samgeo.segmentation.masks.rle import Rle

DATA = Path(os.environ.get("SAMGEO_DATA", ""))
pytestmark = pytest.mark.skipif(not os.environ.get("SAMGEO_DATA"), reason="SAMGEO_DATA is not set")


def test_crowns_of_trees_from_voc():
    folder = DATA / "neon-tree-crowns"
    table = read_annotations(folder, format="voc", images=folder)
    assert table.images == (Image("OSBS_029.tif", 400, 400), Image("SJER_052.tif", 400, 400), Image("SOAP_061.png", 400, 400))
    assert np.bincount(table.image).tolist() == [61, 9, 37]
    assert table.classes == ("Alive", "Dead", "Tree")
    # Numbers from 1 to 400 are edges from 0 to 400: both ends are met.
    assert table.boxes_px.min() == 0
    assert table.boxes_px.max() == 400


@pytest.mark.parametrize(
    ("folder", "count", "images"), [("oam-dhaka-buildings", 795, 8), ("oam-philippines-nepal-buildings", 210, 4)]
)
def test_buildings_from_coco(folder, count, images, tmp_path):
    table = read_annotations(DATA / folder, format="coco", images=DATA / folder / "images")
    assert (len(table), len(table.images), table.classes) == (count, images, ("building",))
    assert set(table.kinds) == {"polygon"}
    around = np.array([shape.bounds for shape in table.shapes])
    np.testing.assert_allclose(table.boxes_px, around, atol=0.02)
    assert write_annotations(table, tmp_path / "a.json", format="coco") == ()
    assert read_annotations(tmp_path / "a.json") == table
    write_annotations(table, tmp_path / "yolo", format="yolo-segments")
    back = read_annotations(tmp_path / "yolo", images=DATA / folder / "images")
    assert back.images == table.images
    assert len(back) == count
    # COCO's polygons stay within their images, so that nothing is cut: the same outlines, whatever the order of images.
    areas = [sorted(shapely.area(np.array(list(one.shapes)))) for one in (back, table)]
    np.testing.assert_allclose(*areas, rtol=1e-6)


def test_footprints_on_their_georeferenced_image(tmp_path):
    folder = DATA / "oam-banepa-buildings"
    table = read_annotations(folder / "footprints.geojson", images=folder / "banepa.tif", class_name="building")
    assert table.images == (Image("banepa.tif", 4096, 2048),)
    height, width = table.images[0].shape
    frame = shapely.box(0, 0, width, height)
    assert len(table) == 971
    assert all(shapely.intersects(shape, frame) for shape in table.shapes)
    write_annotations(table, tmp_path / "a.parquet", format="vectors", images=folder / "banepa.tif")
    back = read_annotations(tmp_path / "a.parquet", images=folder / "banepa.tif")
    assert len(back) == len(table)
    np.testing.assert_allclose(back.boxes_px, table.boxes_px, atol=1 / 256)
    assert not any(isinstance(shape, Rle) for shape in back.shapes)
