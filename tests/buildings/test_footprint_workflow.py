"""Footprints without examples: a finder finds the buildings, and the filters and regularization follow."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from shapely.affinity import affine_transform

import samgeo
from samgeo.buildings import regularize
from samgeo.errors import OptionError
from samgeo.evaluation import match
from samgeo.finding import GivenBoxes, boxes_from, load_finder
from samgeo.geo.vector.reading import read_provenance
from samgeo.objects import filter_by_shape
from samgeo.synthetic import town
from samgeo.testing import Oracle, encode_ids, write_raster


def test_most_buildings_of_a_town_are_found_without_examples(tmp_path: Path) -> None:
    scene = town((256, 256), seed=2)
    image, output = scene.save(tmp_path / "town.tif"), tmp_path / "footprints.gpkg"
    found = samgeo.footprints(image, output, min_area_m2=10)
    matches = match(found, scene.footprints)
    assert matches.recall > 0.5
    assert matches.precision > 0.6
    assert found["regularized"].any()
    assert found["score"].between(load_finder().info.min_score, 1).all()
    made = read_provenance(output)
    assert "select" not in made
    assert made["options"]["finder"]["name"] == "finder of building"
    assert made["filter_by_shape"]["limits"] == {"min_area_m2": 10}


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a raster with squares of 12, 20 and 28 pixels, which the oracle model draws exactly."""
    labels = np.zeros((128, 192), dtype=np.int32)
    for number, side in enumerate((12, 20, 28), start=1):
        labels[40 : 40 + side, number * 48 : number * 48 + side] = number
    return write_raster(tmp_path_factory.mktemp("squares") / "squares.tif", encode_ids(labels))


def boxes(image: Path) -> GivenBoxes:
    """Return the boxes of the squares as a detector gives them, with scores."""
    with rasterio.open(image) as dataset:
        affine, crs = dataset.transform, dataset.crs
    sides = enumerate((12, 20, 28), start=1)
    shapes = [affine_transform(shapely.box(n * 48, 40, n * 48 + side, 40 + side), affine.to_shapely()) for n, side in sides]
    detected = gpd.GeoDataFrame({"score": [0.3, 0.6, 0.9], "class": "roof"}, geometry=shapes, crs=crs)
    return boxes_from(detected, image)


def test_footprints_are_find_then_filters_then_regularization(squares: Path) -> None:
    options = {"finder": boxes(squares), "model": Oracle(64)}
    found = samgeo.find(squares, progress=False, **options)
    assert len(found) == 3
    made = samgeo.footprints(squares, min_area_m2=90, **options)
    wanted = regularize(filter_by_shape(found, min_area_m2=90))
    assert len(made) == 2
    assert made.geometry.to_wkb().tolist() == wanted.geometry.to_wkb().tolist()
    assert made["class"].eq("roof").all()
    plain = samgeo.footprints(squares, regular=False, **options)
    assert plain.geometry.to_wkb().tolist() == found.geometry.to_wkb().tolist()


def test_min_score_is_that_of_the_finder_unless_it_is_given(squares: Path) -> None:
    options = {"finder": boxes(squares), "model": Oracle(64)}
    assert len(samgeo.footprints(squares, **options)) == 3
    assert len(samgeo.footprints(squares, min_score=0.7, **options)) == 2
    for wrong in (-0.1, 1.1):
        with pytest.raises(OptionError, match="min_score"):
            samgeo.footprints(squares, min_score=wrong, **options)


def test_each_option_belongs_to_a_finder_or_to_examples() -> None:
    square = [shapely.box(0, 0, 1, 1)]
    for own in ({"finder": "own.safetensors"}, {"resolution": 0.3}, {"zoom": 2.0}):
        with pytest.raises(OptionError, match=f"{next(iter(own))} is an option of finding"):
            samgeo.footprints("missing.tif", examples=square, **own)
    for own in ({"window": 256}, {"overlap": 32}):
        with pytest.raises(OptionError, match=f"{next(iter(own))} needs examples"):
            samgeo.footprints("missing.tif", **own)
    with pytest.raises(OptionError, match="candidates need examples"):
        samgeo.footprints("missing.tif", candidates="missing.gpkg")
