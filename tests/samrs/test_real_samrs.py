"""Boxes of real data sets give masks that fit the objects."""

import json
import os
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image as Picture
from pycocotools import mask as coco_mask
from rasterio.shutil import copy

from samgeo.annotations import read_annotations
from samgeo.samrs import make_samrs

DATA = Path(os.environ.get("SAMGEO_DATA", ""))
pytestmark = [
    pytest.mark.skipif(not os.environ.get("SAMGEO_DATA"), reason="SAMGEO_DATA is not set"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # pycocotools warns.
]


def records(folder):
    return json.loads((folder / "out" / "instances" / "all.json").read_text())["annotations"]


def test_footprints_from_their_boxes(tmp_path):
    folder = DATA / "oam-banepa-buildings"
    copy(f"vrt://{folder / 'banepa.tif'}?srcwin=768,1280,512,512", str(tmp_path / "part.tif"), driver="GTiff")
    made = make_samrs(
        tmp_path / "part.tif",
        folder / "footprints.geojson",
        tmp_path / "out",
        class_name="building",
        chip=256,
        polygons=True,
        progress=False,
    )
    table = read_annotations(tmp_path / "out" / "instances" / "all.json")
    truth = read_annotations(folder / "footprints.geojson", images=tmp_path / "part.tif", class_name="building")
    assert made.pictures == 4
    assert made.instances > 20
    assert made.rejected < 20
    runs = [one["segmentation"] for one in records(tmp_path)]
    assert [shape.area for shape in table.shapes] == coco_mask.area(runs).tolist()
    assert coco_mask.area(runs).sum() == sum(one["size_px"] for one in made.statistics["classes"])
    objects = gpd.read_parquet(tmp_path / "out" / "polygons.parquet")
    with rasterio.open(tmp_path / "part.tif") as file:
        to_pixels = (~file.transform).to_shapely()
        assert objects.crs == file.crs
    found = objects.geometry.affine_transform(to_pixels).to_numpy()
    # Only footprints completely in the part are compared, because the boxes of others do not show the whole object.
    wanted = shapely.make_valid(truth.shapes[objects.annotation])
    inside = shapely.within(wanted, shapely.box(0, 0, 512, 512))
    assert inside.sum() > 15
    found, wanted = found[inside], wanted[inside]
    shared = shapely.area(shapely.intersection(shapely.make_valid(found), wanted))
    iou = shared / (shapely.area(found) + shapely.area(wanted) - shared)
    assert iou.mean() > 0.75


def test_crowns_from_their_boxes(tmp_path):
    folder = DATA / "neon-tree-crowns"
    made = make_samrs(folder, folder, tmp_path / "out", format="voc", copy_images=True, progress=False)
    assert (made.pictures, made.instances + made.rejected, made.failed) == (3, 107, {})
    assert made.instances > 100
    truth = read_annotations(folder, format="voc", images=folder)
    table = read_annotations(tmp_path / "out" / "instances" / "all.json", images=tmp_path / "out" / "images")
    assert table.classes == truth.classes == ("Alive", "Dead", "Tree")
    np.testing.assert_allclose(table.boxes_px, truth.boxes_px[[one["annotation"] for one in records(tmp_path)]])
    # A crown fills about the same fraction of its box as an ellipse, pi / 4, or slightly less.
    shares = np.array([shape.area for shape in table.shapes]) / (table.boxes_px[:, 2:] - table.boxes_px[:, :2]).prod(axis=1)
    assert 0.5 < np.median(shares) < 0.9
    for image in table.images:
        picture = np.array(Picture.open(tmp_path / "out" / "gray" / f"{Path(image.name).stem}.png"))
        assert picture.shape == image.shape == (400, 400)
        assert set(np.unique(picture)) <= {0, 1, 2, 255}
