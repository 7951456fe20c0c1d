"""A raster of labels as output of `segment` and `predict`: numbers follow the rows of the table."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.features import rasterize as draw

import samgeo
from samgeo.errors import OptionError, StoppedError, VectorError
from samgeo.segmentation.api import NothingFoundWarning, segment_to_file
from samgeo.segmentation.prediction import predict
from samgeo.segmentation.run.holes import holes_path
from samgeo.testing import encode_ids, scattered
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import write_raster

OPTIONS = {"window": 128, "overlap": 64, "points_per_side": 16, "progress": False, "scheduler": "synchronous"}


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return scattered(12, (200, 210), seed=4, min_size=20, max_size=60)


@pytest.fixture
def image(labels: np.ndarray, tmp_path: Path) -> Path:
    return write_raster(tmp_path / "image.tif", encode_ids(labels))


def read(path: Path) -> tuple[np.ndarray, dict[str, str]]:
    with rasterio.open(path) as file:
        return file.read(1), file.tags()


def test_a_run_writes_the_same_labels_whether_it_was_stopped_or_not(image: Path, tmp_path: Path, labels: np.ndarray) -> None:
    table = samgeo.segment(image, tmp_path / "labels.tif", model=Oracle(128), **OPTIONS)
    drawn, tags = read(tmp_path / "labels.tif")
    outlines = zip(table.geometry, range(1, len(table) + 1), strict=True)
    with rasterio.open(image) as file:
        assert np.array_equal(drawn, draw(outlines, out_shape=file.shape, transform=file.transform, dtype="uint32"))
    assert np.array_equal(drawn > 0, labels > 0)
    assert len(np.unique(np.stack([drawn[labels > 0], labels[labels > 0]]), axis=1).T) == len(np.unique(labels)) - 1
    assert json.loads(tags["samgeo"])["options"]["mask_nms"] == 0.8
    stopped, calls = tmp_path / "again.tif", iter(range(4))
    with pytest.raises(StoppedError):
        segment_to_file(image, stopped, model=Oracle(128), stop=lambda: next(calls, None) is None, **OPTIONS)
    assert not stopped.exists()
    assert segment_to_file(image, stopped, model=Oracle(128), **OPTIONS).continued == 4
    assert stopped.read_bytes() == (tmp_path / "labels.tif").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"image.tif", "labels.tif", "again.tif"}


def test_nothing_found_is_a_raster_of_zeros(tmp_path: Path) -> None:
    image = write_raster(tmp_path / "image.tif", np.zeros((100, 90, 3), np.uint8))
    with pytest.warns(NothingFoundWarning, match="nothing was found"):
        assert len(samgeo.segment(image, tmp_path / "labels.tif", model=Oracle(128), progress=False)) == 0
    assert not read(tmp_path / "labels.tif")[0].any()


def test_the_input_is_not_replaced_by_labels(image: Path) -> None:
    before = image.read_bytes()
    with pytest.raises(VectorError, match="also an input"):
        samgeo.segment(image, image, model=Oracle(128), overwrite=True, **OPTIONS)
    with pytest.raises(VectorError, match="also an input"):
        predict(image, image, boxes=[[0, 0, 9, 9]], crs="pixels", model=Oracle(128), overwrite=True)
    assert image.read_bytes() == before
    assert holes_path(image).name == "image.holes.gpkg"


def test_prompts_become_numbers_or_classes(image: Path, tmp_path: Path, labels: np.ndarray) -> None:
    with rasterio.open(image) as file:
        crs, transform = file.crs, file.transform
    places = [np.argwhere(labels == number)[0] + 0.5 for number in np.unique(labels)[1:4]]
    points = [shapely.Point(transform * (x, y)) for y, x in [places[0], (-50, -50), *places[1:]]]
    prompts = gpd.GeoDataFrame({"kind": ["tree", "tree", "roof", "tree"]}, geometry=points, crs=crs)
    table = predict(image, tmp_path / "numbers.tif", points=prompts, model=Oracle(128))
    assert table.reason.notna().tolist() == [False, True, False, False]
    assert np.unique(read(tmp_path / "numbers.tif")[0]).tolist() == [0, 1, 3, 4]
    predict(image, tmp_path / "classes.tif", points=prompts, class_column="kind", model=Oracle(128))
    classes, tags = read(tmp_path / "classes.tif")
    assert classes.dtype == np.uint8
    assert np.array_equal(classes, np.array([0, 2, 2, 1, 2])[read(tmp_path / "numbers.tif")[0]])
    assert json.loads(tags["samgeo_classes"]) == {"1": "roof", "2": "tree"}
    for output, column, message in (("no.tif", "none", "no column 'none'"), ("no.gpkg", "kind", r"ends in \.tif")):
        with pytest.raises(OptionError, match=message):
            predict(image, tmp_path / output, points=prompts, class_column=column, model=Oracle(128))
        assert not (tmp_path / output).exists()
