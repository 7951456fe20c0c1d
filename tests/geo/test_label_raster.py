"""Labels as a raster: the pixels of an object have its number, whatever the size of tiles and parts."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from click.testing import CliRunner
from rasterio.features import rasterize as draw

import samgeo
from samgeo.cli import main
from samgeo.errors import OptionError, SamgeoError, VectorError
from samgeo.geo import label_drawing
from samgeo.geo.grid import Rect
from samgeo.geo.vector import joining
from samgeo.geo.vector.reading import write_vectors
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.vectorize import georeference, polygons

AFFINE = Affine(0.3, 0, 500_000, 0, -0.3, 5_400_000)
SHAPE = (150, 210)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.tif"
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": SHAPE[0], "width": SHAPE[1]}
    with rasterio.open(path, "w", crs="EPSG:32633", transform=AFFINE, **profile) as file:
        file.write(np.full((1, *SHAPE), 9, np.uint8))
    return path


def random_masks(seed: int, count: int = 25) -> list[Mask]:
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(count):
        height, width = rng.integers(1, 60, 2)
        y, x = rng.integers(0, SHAPE[0] - height), rng.integers(0, SHAPE[1] - width)
        masks.append(Mask.from_array(rng.random((height, width)) < 0.7, int(x), int(y)))
    return [mask for mask in masks if not mask.is_empty]


def layer(masks: list[Mask], **columns) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(columns, geometry=georeference(polygons(masks), AFFINE), crs="EPSG:32633")


def expected(masks: list[Mask]) -> np.ndarray:
    """The smallest on top, of equals the first: drawn from the largest and last on."""
    labels = np.zeros(SHAPE, dtype=np.uint32)
    frame = Rect(0, 0, SHAPE[1], SHAPE[0])
    for index in sorted(range(len(masks)), key=lambda index: (-masks[index].area, -index)):
        labels[masks[index].to_array(frame)] = index + 1
    return labels


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        assert file.crs == rasterio.CRS.from_epsg(32633)
        assert (file.transform, file.nodata, file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT")) == (AFFINE, 0, "COG")
        return file.read(1)


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg"])
@pytest.mark.parametrize("seed", [0, 1])
def test_pixels_of_masks_have_their_numbers_in_tiny_tiles_and_parts(
    image: Path, tmp_path: Path, monkeypatch, seed: int, suffix: str
) -> None:
    monkeypatch.setattr(label_drawing, "TILE", 128)
    monkeypatch.setattr(label_drawing, "CHUNK", 17)
    monkeypatch.setattr(joining, "GROUP_ROWS", 3)
    masks = random_masks(seed)
    write_vectors(layer(masks), tmp_path / f"objects{suffix}", provenance={"model": "m"})
    assert samgeo.rasterize(tmp_path / f"objects{suffix}", image, tmp_path / "labels.tif") == len(masks)
    labels = read(tmp_path / "labels.tif")
    assert labels.dtype == np.uint32
    assert np.array_equal(labels, expected(masks))
    with rasterio.open(tmp_path / "labels.tif") as file:
        assert json.loads(file.tags()["samgeo"]) == {"model": "m"}
    assert {path.name for path in tmp_path.iterdir()} == {"image.tif", f"objects{suffix}", "labels.tif"}


def test_objects_that_do_not_overlap_are_drawn_as_rasterio_draws_them(image: Path, tmp_path: Path) -> None:
    lines = [(0, 0, 33.3, 20.2), (40, 3, 90.7, 140.4), (100.3, 10.2, 209, 60)]
    outlines = [shapely.Polygon([AFFINE * p for p in shapely.box(*b).exterior.coords]) for b in lines]
    frame = gpd.GeoDataFrame(geometry=[outlines[0], None, *outlines[1:]], crs="EPSG:32633")
    samgeo.rasterize(frame, image, tmp_path / "labels.tif")
    drawn = draw([(one, number) for one, number in zip(outlines, (1, 3, 4), strict=True)], out_shape=SHAPE, transform=AFFINE)
    assert np.array_equal(read(tmp_path / "labels.tif"), drawn)
    samgeo.rasterize(frame.to_crs(4326), image, tmp_path / "degrees.tif")
    assert (read(tmp_path / "degrees.tif") != drawn).mean() < 0.001


def test_classes_are_drawn_by_name_or_number(image: Path, tmp_path: Path) -> None:
    masks = random_masks(3)
    names = [("roof", "field", "tree")[index % 3] for index in range(len(masks))]
    numbers = [{"field": 1, "roof": 2, "tree": 3}[name] for name in names]
    frame = layer(masks, kind=names, number=numbers)
    write_vectors(frame, tmp_path / "objects.parquet")
    of_id = np.array([0, *numbers], dtype=np.uint8)
    for number, (source, column) in enumerate([(frame, "kind"), (frame, "number"), (tmp_path / "objects.parquet", "kind")]):
        output = tmp_path / f"{number}.tif"
        samgeo.rasterize(source, image, output, class_column=column)
        labels = read(output)
        assert labels.dtype == np.uint8
        assert np.array_equal(labels, of_id[expected(masks)])
    with rasterio.open(output) as file:
        assert json.loads(file.tags()["samgeo_classes"]) == {"1": "field", "2": "roof", "3": "tree"}


def test_without_a_crs_the_grid_is_that_of_the_pixels(tmp_path: Path) -> None:
    array = np.zeros((20, 30), np.uint8)
    frame = gpd.GeoDataFrame(geometry=[shapely.box(3, 4, 10, 8)])
    samgeo.rasterize(frame, array, tmp_path / "labels.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(tmp_path / "labels.tif") as file:
            labels = file.read(1)
    assert labels[4:8, 3:10].all()
    assert labels.sum() == 28


@pytest.mark.parametrize(
    ("column", "message"),
    [("no", "no column 'no'"), ("part", "has no class for some features"), ("float", "whole numbers"), ("big", "1 to 255")],
)
def test_classes_that_cannot_be_drawn_are_refused(image: Path, tmp_path: Path, column: str, message: str) -> None:
    frame = layer(random_masks(0, 3)[:2], part=["a", None], float=[1.5, 2.0], big=[1, 256])
    write_vectors(frame, tmp_path / "objects.parquet")
    for source in (frame, tmp_path / "objects.parquet"):
        with pytest.raises(OptionError, match=message):
            samgeo.rasterize(source, image, tmp_path / "labels.tif", class_column=column)
    assert not (tmp_path / "labels.tif").exists()


def test_an_output_that_would_lose_something_is_refused(image: Path, tmp_path: Path) -> None:
    frame = layer(random_masks(0, 3))
    (tmp_path / "there.tif").write_bytes(b"mine")
    cases = [
        (frame, image, "labels.png", "is not one of .tif, .tiff"),
        (frame, image, "there.tif", "exists and is not a label raster"),
        (frame, image, "no/labels.tif", "does not exist"),
        (frame, image, "image.tif", "exists and is not a label raster"),
        (frame.set_crs(None, allow_override=True), image, "labels.tif", "none"),
        (frame, np.zeros((9, 9), np.uint8), "labels.tif", "none"),
    ]
    for result, grid, name, message in cases:
        with pytest.raises(VectorError, match=message):
            samgeo.rasterize(result, grid, tmp_path / name, overwrite=name in ("image.tif", "there.tif"))
    assert (tmp_path / "there.tif").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.tif", "there.tif"]


def test_other_commands_name_what_makes_labels(tmp_path: Path) -> None:
    with pytest.raises(SamgeoError, match="samgeo rasterize"):
        write_vectors(layer(random_masks(0, 3)), tmp_path / "labels.tif")
    with pytest.raises(SamgeoError, match=r"\.parquet.*\.tif"):
        samgeo.segment(np.zeros((64, 64, 3), np.uint8), tmp_path / "labels.png")


def test_the_command_draws_and_says_how_many(image: Path, tmp_path: Path) -> None:
    masks = random_masks(5)
    write_vectors(layer(masks), tmp_path / "objects.gpkg")
    given = ["rasterize", str(tmp_path / "objects.gpkg"), str(image), str(tmp_path / "labels.tif")]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.output
    assert f"{len(masks)} objects" in done.output
    assert np.array_equal(read(tmp_path / "labels.tif"), expected(masks))
    assert "allow overwrite" in CliRunner().invoke(main, given).output
    assert CliRunner().invoke(main, [*given, "--overwrite"]).exit_code == 0
    over_itself = [*given[:2], given[3], given[3], "--overwrite"]
    assert "is also an input" in CliRunner().invoke(main, over_itself).output
    assert np.array_equal(read(tmp_path / "labels.tif"), expected(masks))
