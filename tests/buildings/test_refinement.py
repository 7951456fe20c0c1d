"""Outlines move to edges of colour where the image is certain, and nothing else changes."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from click.testing import CliRunner
from scipy import ndimage

import samgeo
from samgeo.cli import main
from samgeo.errors import OptionError, VectorError
from samgeo.geo.vector.reading import read_provenance, read_vectors
from samgeo.segmentation.masks.edges import EdgeOptions, changed_pixels, guided_share, keep_parts
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.vectorize import georeference, polygons
from samgeo.synthetic import Scene, town
from samgeo.testing import write_raster

TRANSFORM = Affine(0.5, 0, 311000, 0, -0.5, 6244000)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return town((240, 240), seed=201)


def square(colour: int = 200) -> np.ndarray:
    image = np.full((60, 60, 3), 90, dtype=np.uint8)
    image[20:40, 20:42] = colour
    return image


def blocky(mask: np.ndarray) -> np.ndarray:
    """A mask as an image with pixels of four times the size shows it."""
    cells = mask.reshape(mask.shape[0] // 4, 4, mask.shape[1] // 4, 4).mean((1, 3)) >= 0.5
    return np.repeat(np.repeat(cells, 4, 0), 4, 1)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def table(masks: list[np.ndarray]) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(
        {"name": [f"no. {n}" for n in range(len(masks))]}, geometry=polygons([Mask.from_array(m) for m in masks])
    )


def test_outlines_move_to_the_edge_of_colours_and_keep_their_columns() -> None:
    rough = gpd.GeoDataFrame({"name": ["shed"], "area_px": [440.0]}, geometry=[shapely.box(19, 20, 41, 40)])
    rough.attrs["samgeo"] = {"model": "known"}
    result = samgeo.refine(rough, square())
    assert result.geometry[0].equals(shapely.box(20, 20, 42, 40))
    assert (result.name[0], result.area_px[0], bool(result.refined[0])) == ("shed", 440.0, True)
    assert result.attrs["samgeo"]["model"] == "known"
    assert result.attrs["samgeo"]["refine"]["refined"] == 1
    assert rough.geometry[0].equals(shapely.box(19, 20, 41, 40))


def test_outlines_in_blocks_gain_and_exact_ones_lose_nearly_nothing(scene: Scene) -> None:
    truth = [
        m
        for n in scene.footprints.id
        if (m := scene.labels == n).sum() >= 100 and not (m[[0, -1]].any() or m[:, [0, -1]].any())
    ]
    rough = [blocky(mask) for mask in truth]
    for given, low, high in ((rough, 0.03, 0.2), (truth, -0.005, 0.0)):
        result = samgeo.refine(table(given), scene.image)
        assert result.name.tolist() == [f"no. {n}" for n in range(len(given))]
        assert set(result.geom_type) == {"Polygon"} or given is rough
        drawn = [drawn_in(one, scene.labels.shape) for one in result.geometry]
        gain = np.mean([iou(new, mask) - iou(old, mask) for new, old, mask in zip(drawn, given, truth, strict=True)])
        assert low < gain <= high
        for new, old in zip(drawn, given, strict=True):
            assert new.any()
            assert ndimage.label(new)[1] <= ndimage.label(old)[1]
        # No pixel belongs to two objects, unless both had it before.
        assert (np.sum(drawn, axis=0) <= np.maximum(np.sum(given, axis=0), 1)).all()


def drawn_in(outline: shapely.Geometry, shape: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    return np.asarray(shapely.contains_xy(outline, x, y))


def test_an_image_of_one_colour_changes_nothing_and_geometries_stay_as_given() -> None:
    odd = shapely.Polygon([(10.3, 10.1), (30.7, 12.2), (28.1, 33.9)])
    result = samgeo.refine(gpd.GeoSeries([odd, None, shapely.Polygon()]), np.full((60, 60, 3), 90, np.uint8))
    assert result.geometry[0].equals_exact(odd, 0)
    assert result.geometry[1] is None
    assert not result.refined.any()


def test_objects_outside_and_beside_missing_data_stay() -> None:
    image = np.zeros((60, 60, 3), dtype=np.uint8)
    image[:, :30] = square()[:, :30]
    rough = gpd.GeoSeries([shapely.box(19, 20, 29, 40), shapely.box(100, 100, 120, 120), shapely.box(-5, 19, 3, 41)])
    assert not samgeo.refine(rough, image, nodata=0, radius_px=12).refined.any()
    assert samgeo.refine(rough, image, radius_px=12).refined.tolist() == [True, False, False]


def test_shared_walls_stay_and_earlier_rows_take_free_pixels_first() -> None:
    image = square()
    image[20:40, 31:42] = 20
    left, right = shapely.box(20, 20, 30, 40), shapely.box(30, 20, 42, 40)
    result = samgeo.refine(gpd.GeoSeries([left, right]), image)
    assert not result.refined.any()  # the wall between them is at 31 in the image, but moving it would open a gap or an overlap
    alone = samgeo.refine(gpd.GeoSeries([left]), image)
    assert alone.geometry[0].bounds[2] == 31


def test_large_objects_are_the_same_in_tiles_and_at_once(monkeypatch: pytest.MonkeyPatch, scene: Scene) -> None:
    inner = blocky(ndimage.binary_dilation(scene.labels > 0, iterations=6))
    largest = ndimage.label(inner)[0]
    one = table([largest == np.bincount(largest.ravel())[1:].argmax() + 1])
    whole = samgeo.refine(one, scene.image)
    monkeypatch.setattr("samgeo.buildings.refinement._TILE", 40)
    tiled = samgeo.refine(one, scene.image)
    assert whole.refined[0]
    assert tiled.geometry[0].equals(whole.geometry[0])


def test_objects_in_another_crs_return_in_it_and_are_written(tmp_path: Path) -> None:
    image = write_raster(tmp_path / "image.tif", square(), crs="EPSG:32734", transform=TRANSFORM)
    rough = gpd.GeoDataFrame(
        {"name": ["shed"]}, geometry=georeference(np.array([shapely.box(19, 20, 41, 41)]), TRANSFORM), crs="EPSG:32734"
    )
    result = samgeo.refine(rough.to_crs("EPSG:4326"), image, tmp_path / "refined.parquet")
    assert result.crs.to_epsg() == 4326
    back = result.to_crs("EPSG:32734").geometry[0]
    expected = georeference(np.array([shapely.box(20, 20, 42, 40)]), TRANSFORM)[0]
    assert back.symmetric_difference(expected).area < 1e-3
    written = read_vectors(tmp_path / "refined.parquet")
    assert written.refined.tolist() == [True]
    assert read_provenance(tmp_path / "refined.parquet")["refine"]["band_px"] == 3
    with pytest.raises(VectorError, match="exists"):
        samgeo.refine(rough, image, tmp_path / "refined.parquet")


def test_the_command_writes_what_the_function_returns(tmp_path: Path) -> None:
    image = write_raster(tmp_path / "image.tif", square(), crs="EPSG:32734", transform=TRANSFORM)
    outlines = georeference(np.array([shapely.box(19, 20, 41, 41), shapely.box(1, 1, 9, 9)]), TRANSFORM)
    rough = tmp_path / "rough.gpkg"
    gpd.GeoDataFrame({"name": ["shed", "none"]}, geometry=outlines, crs="EPSG:32734").to_file(rough)
    done = CliRunner().invoke(main, ["refine", str(rough), str(image), str(tmp_path / "o.gpkg"), "--band", "2"])
    assert done.exit_code == 0, done.output
    assert "1 outline of 2 objects changed" in done.stderr
    written = read_vectors(tmp_path / "o.gpkg")
    assert written.refined.tolist() == [True, False]
    assert written.geometry.geom_equals(samgeo.refine(rough, image, band_px=2).geometry).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"band_px": 0}, "band_px is 0; give a number of pixels from 1 to 16"),
        ({"radius_px": 100}, "radius_px is 100"),
        ({"certainty": 0.7}, "certainty is 0.7"),
        ({"certainty": float("nan")}, "certainty is nan"),
        ({"layer": "roofs"}, "layer"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        samgeo.refine(gpd.GeoSeries([shapely.box(0, 0, 5, 5)]), square(), **options)


def test_the_filter_fits_a_linear_image_exactly() -> None:
    mask = np.zeros((30, 30), dtype=bool)
    mask[:, 15:] = True
    image = np.where(mask[..., None], 250, 10).astype(np.uint8).repeat(3, axis=2)
    share, by_shape = guided_share(image, mask, 4)
    assert by_shape[:, 15] == pytest.approx(5 / 9, abs=0.03)
    assert share == pytest.approx(mask.astype(float), abs=0.01)
    assert not changed_pixels(image, np.ones_like(mask), mask, EdgeOptions()).any()


def test_parts_and_holes_are_not_made() -> None:
    before = np.zeros((12, 12), dtype=bool)
    before[2:10, 2:10] = True
    before[5, 5] = False
    cut = before.copy()
    cut[:, 8] = False
    cut[3, 3] = False
    after = keep_parts(before, cut)
    assert ndimage.label(after)[1] == 1
    assert not after[:, 8:].any()
    assert after[3, 3]
    assert not after[5, 5]
    assert np.array_equal(keep_parts(before, np.zeros_like(before)), before)
