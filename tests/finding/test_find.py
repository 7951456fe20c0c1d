"""Finding by the bundled finder: columns, provenance, zoom, areas of interest, outputs, and runs that are continued."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely

import samgeo
from samgeo.errors import ModelError, OptionError, SamgeoError
from samgeo.evaluation import match
from samgeo.finding import Finder, load_finder
from samgeo.finding.api import FinderOptions
from samgeo.geo.vector.reading import read_provenance
from samgeo.models import load_model
from samgeo.segmentation.run.folder import RunFolder
from samgeo.synthetic import Scene, town
from samgeo.testing import Oracle, write_raster

# A town of pixels of 1 m is read at zoom 4, in windows of 128 pixels: there are two of them, which are quickly encoded.
SHAPE, RESOLUTION_M, ZOOM = (176, 112), 1.0, 4.0


@pytest.fixture(scope="module")
def scene() -> Scene:
    return town(SHAPE, seed=1, resolution_m=RESOLUTION_M)


@pytest.fixture(scope="module")
def image(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scene.save(tmp_path_factory.mktemp("town") / "town.tif")


@pytest.fixture(scope="module")
def output(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of the buildings that one worker finds."""
    path = tmp_path_factory.mktemp("found") / "buildings.gpkg"
    samgeo.find(image, "building", path, workers=1, progress=False)
    return path


@pytest.fixture(scope="module")
def found(output: Path) -> gpd.GeoDataFrame:
    return gpd.read_file(output)


def same(first: gpd.GeoDataFrame, second: gpd.GeoDataFrame) -> None:
    pd.testing.assert_frame_equal(pd.DataFrame(first.drop(columns="geometry")), pd.DataFrame(second.drop(columns="geometry")))
    assert first.geometry.to_wkb().tolist() == second.geometry.to_wkb().tolist()


def outlines(frame: gpd.GeoDataFrame) -> set[tuple[float, ...]]:
    """Return the bounds and the area of each object, whether its geometry is a polygon or a multipolygon of one part."""
    return {(*bounds, area) for bounds, area in zip(frame.bounds.to_numpy().round(3), frame.area.round(3), strict=True)}


def test_buildings_have_a_class_and_a_score(found: gpd.GeoDataFrame, scene: Scene) -> None:
    assert list(found.columns) == ["class", "score", "predicted_iou", "stability_score", "area_m2", "complete", "geometry"]
    assert found["class"].eq("building").all()
    assert found["score"].between(load_finder().info.min_score, 1).all()
    assert found.crs == scene.geobox.crs
    matches = match(found, scene.footprints)
    assert matches.precision > 0.4
    assert matches.matched > 5


def test_provenance_tells_the_finder_and_the_zoom(output: Path) -> None:
    options = read_provenance(output)["options"]
    finder = load_finder()
    assert options["finder"] == {"name": finder.name, "digest": finder.digest, "classes": ["building"]}
    assert options["zoom"] == ZOOM
    assert options["window"] == 512 / ZOOM
    assert options["resolution_m"] == pytest.approx(RESOLUTION_M, rel=1e-3)
    assert options["min_score"] == finder.info.min_score


def test_a_continued_run_of_two_workers_gives_the_same(
    image: Path, found: gpd.GeoDataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, stopped, windows = tmp_path / "buildings.gpkg", [], []
    propose, write = Finder.propose, RunFolder.write_part

    def counting(self, *arguments):
        windows.append(arguments[2].rect)
        return propose(self, *arguments)

    def stop(self, *arguments, **options):
        stopped.append(self)
        if len(stopped) > 1:
            raise KeyboardInterrupt
        write(self, *arguments, **options)

    monkeypatch.setattr(Finder, "propose", counting)
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_part", stop)
        with pytest.raises(KeyboardInterrupt):
            samgeo.find(image, "building", output, workers=1, progress=False)
    assert len(stopped) > 1
    assert not output.exists()
    with pytest.raises(SamgeoError, match="zoom"):
        samgeo.find(image, "building", output, zoom=2, progress=False)
    samgeo.find(image, "building", output, workers=2, progress=False)
    assert len(set(windows)) == 2
    assert windows.count(windows[0]) == 1
    same(gpd.read_file(output), found)


@pytest.mark.parametrize(("ground_m", "zoom"), [(0.1, 1.0), (0.19, 1.0), (0.3, 1.5), (0.5, 2.0), (1.0, 4.0), (3.0, 4.0)])
def test_the_zoom_follows_the_ground_resolution(ground_m: float, zoom: float, tmp_path: Path) -> None:
    plain = np.zeros((32, 48, 3), np.uint8)
    grid = rasterio.Affine(ground_m, 0, 500_000, 0, -ground_m, 5_000_000)
    raster = samgeo.Raster.open(write_raster(tmp_path / "grid.tif", plain, crs="EPSG:32633", transform=grid), check=False)
    finder = load_finder()
    assert FinderOptions(finder=finder).zooms(raster) == (zoom,)
    # What the user says goes before what the georeference says.
    assert FinderOptions(finder=finder, resolution=0.5).zooms(raster) == (2.0,)
    assert FinderOptions(finder=finder, resolution=0.5, zoom=1.5).zooms(raster) == (1.5,)
    # A degree of longitude at 45 degrees north is 79 km long: pixels are not square on the ground.
    degrees = rasterio.Affine(ground_m / 78_847, 0, 15, 0, -ground_m / 111_132, 45)
    raster = samgeo.Raster.open(write_raster(tmp_path / "geo.tif", plain, crs="EPSG:4326", transform=degrees), check=False)
    assert FinderOptions(finder=finder).ground(raster) == pytest.approx(ground_m, rel=1e-3)


def test_without_a_crs_large_objects_come_from_zoom_1_and_small_ones_from_zoom_2(scene: Scene, tmp_path: Path) -> None:
    pixels = scene.image[:64, :64]
    result = samgeo.find(pixels, output=tmp_path / "found.parquet", min_score=0.05, progress=False)
    assert read_provenance(tmp_path / "found.parquet")["options"]["zoom"] == [1, 2]
    assert not list(tmp_path.glob("*.run"))
    one, two = (samgeo.find(pixels, zoom=zoom, min_score=0.05, progress=False) for zoom in (1, 2))
    sources = {*one[one.area_px >= 576].geometry.to_wkb(), *two[two.area_px < 576].geometry.to_wkb()}
    assert len(result)
    assert set(result.geometry.to_wkb()) <= sources
    with pytest.raises(OptionError, match="two zooms"):
        samgeo.find(pixels, cache=tmp_path / "store", progress=False)


def test_an_area_of_interest_chooses_whole_objects_by_their_centre(image: Path, found: gpd.GeoDataFrame) -> None:
    west, south, east, north = found.total_bounds
    half = gpd.GeoSeries([shapely.box(west, south, (west + east) / 2, north)], crs=found.crs)
    inside = samgeo.find(image, aoi=half, progress=False)
    assert 0 < len(inside) < len(found)
    assert outlines(inside) <= outlines(found)
    assert inside.representative_point().within(half.iloc[0].buffer(10)).all()


def test_labels_have_the_pixels_of_the_objects(image: Path, found: gpd.GeoDataFrame, tmp_path: Path) -> None:
    path = tmp_path / "buildings.tif"
    samgeo.find(image, "building", path, progress=False)
    with rasterio.open(path) as dataset:
        labels = dataset.read(1)
    assert set(np.unique(labels)) == {0, *range(1, len(found) + 1)}
    assert (labels > 0).sum() == pytest.approx(found.union_all().area / RESOLUTION_M**2, rel=1e-3)


def test_the_finder_belongs_to_the_weights_of_its_model(image: Path) -> None:
    with pytest.raises(ModelError, match="pyramid"):
        samgeo.find(image, model=Oracle(64), progress=False)
    assert load_model("tiny").digest.startswith(load_finder().info.encoder)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"what": "castle"}, "castle.*building"),
        ({"zoom": 0.0}, "zoom is 0"),
        ({"zoom": 17.0}, "zoom is 17"),
        ({"min_score": 1.5}, "min_score is 1.5"),
        ({"resolution": 0.0}, "resolution is 0"),
        ({"resolution": "fine"}, "resolution is 'fine'"),
    ],
)
def test_options_are_checked_before_the_raster_is_opened(options: dict[str, object], told: str) -> None:
    with pytest.raises(SamgeoError, match=told):
        samgeo.find("missing.tif", **options)
