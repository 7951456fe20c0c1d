"""Areas of interest as people draw them: repaired or refused with a message, never misread."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from click.testing import CliRunner
from odc.geo.geobox import GeoBox

import samgeo
from samgeo.annotations import read_annotations
from samgeo.cli import main
from samgeo.errors import OptionError, SamgeoError, VectorError
from samgeo.evaluation import evaluate
from samgeo.geo.coordinates.area_of_interest import FEW, read_area, to_pixels
from samgeo.geo.coordinates.overlay import repaired_polygons
from samgeo.geo.coordinates.prompt_geometry import read_boxes, read_points, read_polygons
from samgeo.geo.vector.reading import write_vectors
from samgeo.objects import describe
from samgeo.testing import Oracle, encode_ids
from samgeo.testing.rasters import TRANSFORMS, transform, write_raster

UTM = "EPSG:32633"
NORTH_UP = transform("north-up")
BOW = [(10, 10), (90, 90), (90, 10), (10, 90)]


def grid(crs: str | None = UTM) -> GeoBox:
    return GeoBox((100, 100), NORTH_UP, crs)


def there(*px: tuple[float, float]) -> list[tuple[float, float]]:
    """Return pixels in the coordinates of the raster."""
    return [NORTH_UP * one for one in px]


def layer(*geometries: object, crs: str | None = UTM) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(geometry=list(geometries), crs=crs)


def square(low: float, high: float) -> shapely.Polygon:
    return shapely.Polygon(there((low, low), (high, low), (high, high), (low, high)))


def with_corner(geometry: shapely.Geometry, x: float) -> shapely.Geometry:
    xy = shapely.get_coordinates(geometry)
    xy[1, 0] = x
    return shapely.set_coordinates(shapely.from_wkb(shapely.to_wkb(geometry)), xy)


GOOD = {
    "crossing itself": (shapely.Polygon(there(*BOW)), 3200),
    "with heights": (shapely.force_3d(square(10, 50), 12.5), 1600),
    "a line beside it": (shapely.GeometryCollection([square(10, 50), shapely.LineString(there((0, 0), (9, 9)))]), 1600),
    "overlapping parts": (shapely.MultiPolygon([square(10, 50), square(30, 70)]), 2800),
    "a corner twice": (shapely.Polygon(there((10, 10), (50, 10), (50, 10), (50, 50), (10, 50))), 1600),
}


@pytest.mark.parametrize("name", GOOD)
def test_areas_are_repaired_as_prompts_are(name: str) -> None:
    geometry, area = GOOD[name]
    for given in (geometry, layer(geometry), layer(None, geometry, shapely.Polygon()), layer(geometry).to_crs("EPSG:4326")):
        read = to_pixels(given, grid())
        assert read.area == pytest.approx(area, rel=1e-5)
        assert shapely.is_valid(read)
    if geometry.geom_type != "GeometryCollection":
        assert read_polygons(layer(geometry), geobox=grid())[0][0].area == area
        assert repaired_polygons([geometry], "it")[0].area == pytest.approx(area / 4)


BAD = {
    "a point": (shapely.Point(there((5, 5))[0]), "feature 0 .* is a Point; give polygons"),
    "a line": (shapely.LineString(there((5, 5), (9, 9))), "feature 0 .* is a LineString; give polygons"),
    "nothing": (shapely.Polygon(), "no polygon with an area"),
    "a collection of lines": (
        shapely.GeometryCollection([shapely.LineString(there((5, 5), (9, 9)))]),
        "no polygon with an area",
    ),
    "no area": (shapely.Polygon(there((5, 5), (9, 9), (5, 5), (9, 9))), "no polygon with an area"),
    "not a number": (with_corner(square(10, 50), np.nan), "not a finite number"),
    "infinite": (with_corner(square(10, 50), np.inf), "not a finite number"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_area_is_refused(name: str) -> None:
    geometry, message = BAD[name]
    objects = layer(square(10, 50))
    for call in (
        lambda: to_pixels(geometry, grid()),
        lambda: to_pixels(layer(geometry), grid()),
        lambda: evaluate(objects, objects, aoi=layer(geometry)),
    ):
        with pytest.raises(OptionError, match=message):
            call()


def test_a_layer_without_features_is_no_area() -> None:
    with pytest.raises(OptionError, match="no polygon with an area"):
        to_pixels(layer(), grid())


@pytest.mark.parametrize("read", [read_points, read_boxes, read_polygons])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_prompts_with_coordinates_that_are_no_numbers_are_refused(read, value: float) -> None:
    geometry = with_corner(square(0, 1) if read is read_polygons else shapely.MultiPoint([(1, 2), (1, 3)]), value)
    with pytest.raises(VectorError, match=r"feature 0 of the .* not a finite number"):
        read(layer(geometry), geobox=grid())


@pytest.mark.parametrize("missing", [np.nan, None, pd.NA, pd.NaT])
def test_points_without_a_value_of_prompt_are_refused(missing: object) -> None:
    points = layer(*shapely.points(there((1, 1), (2, 2), (3, 3)))).assign(prompt=["a", missing, "b"])
    with pytest.raises(VectorError, match="1 of 3 points have no value in the column prompt, the first is feature 1"):
        read_points(points, geobox=grid())


def scene(folder: Path, crs: str | None) -> Path:
    ids = np.zeros((128, 128), dtype=np.int32)
    ids[20:60, 20:60] = 1
    return write_raster(folder / f"{crs is not None}.tif", encode_ids(ids), crs=crs, transform=TRANSFORMS["north-up"])


def placements(image: Path, features: gpd.GeoDataFrame, folder: Path) -> dict[str, object]:
    """Return every way in which a layer of polygons meets a raster."""
    file = folder / "layer.gpkg"
    write_vectors(features.assign(**{"class": "roof"}), file)
    points = features.set_geometry(features.geometry.representative_point())
    predictor = samgeo.Predictor(image, model=Oracle(128))
    return {
        "aoi": lambda: samgeo.segment(image, aoi=features, model=Oracle(128), progress=False),
        "aoi file": lambda: samgeo.segment(image, aoi=file, model=Oracle(128), progress=False),
        "points": lambda: predictor.predict(points=points),
        "boxes": lambda: predictor.predict(boxes=features),
        "polygons": lambda: predictor.predict(polygons=features),
        "snap": lambda: predictor.snap(features),
        "show": lambda: samgeo.show(image, features),
        "describe": lambda: describe(image, features, model=Oracle(128)),
        "footprints, candidates": lambda: samgeo.footprints(image, examples="class", candidates=file, model=Oracle(128)),
        "footprints, examples": lambda: samgeo.footprints(image, examples=file, model=Oracle(128)),
    }


@pytest.mark.parametrize("has_crs", [True, False], ids=["on a raster without a CRS", "without a CRS on a raster with one"])
def test_a_crs_on_one_side_only_is_refused_everywhere(tmp_path: Path, has_crs: bool) -> None:
    image = scene(tmp_path, None if has_crs else UTM)
    features = layer(shapely.box(10, 20, 60, 70), crs="EPSG:4326" if has_crs else None)
    for name, call in placements(image, features, tmp_path).items():
        with pytest.raises(SamgeoError, match="CRS") as refusal:
            call()
        assert " has none" in str(refusal.value), name
    other = features.set_crs(None, allow_override=True) if has_crs else features.set_crs(UTM)
    with pytest.raises(SamgeoError, match="only one of the area of interest and the layers"):
        evaluate(features, features, aoi=other)
    if has_crs:
        with pytest.raises(SamgeoError, match="no CRS"):
            read_annotations(tmp_path / "layer.gpkg", images=image)


def test_an_autosaved_file_with_a_crs_does_not_open_on_a_raster_without(tmp_path: Path) -> None:
    from samgeo.map.session import Session

    file = tmp_path / "saved.gpkg"
    layer(shapely.box(10, 20, 60, 70)).assign(id=1, **{"class": "object"}).to_file(file)
    with pytest.raises(VectorError, match="has a CRS, but the raster has none"):
        Session(samgeo.Predictor(scene(tmp_path, None), model=Oracle(128)), autosave=file)


def test_pixels_and_the_rasters_own_coordinates_do_without_a_crs(tmp_path: Path) -> None:
    image = scene(tmp_path, None)
    own = layer(square(10, 70), crs=None)
    assert len(samgeo.segment(image, aoi=own, model=Oracle(128), progress=False)) == 1
    assert samgeo.Predictor(image, model=Oracle(128)).predict(boxes=own).reason.isna().all()
    assert samgeo.Predictor(image, model=Oracle(128)).predict(boxes=[[20, 20, 60, 60]], crs="pixels").reason.isna().all()


def test_the_command_says_it_in_one_line(tmp_path: Path) -> None:
    image = scene(tmp_path, None)
    layer(shapely.box(10, 20, 60, 70), crs="EPSG:4326").to_file(tmp_path / "aoi.gpkg")
    arguments = ["segment", image, tmp_path / "out.gpkg", "--aoi", tmp_path / "aoi.gpkg"]
    ran = CliRunner().invoke(main, [str(one) for one in arguments])
    assert ran.exit_code == 1
    assert ran.stderr.startswith("Error: the area of interest has a CRS")
    assert ran.stderr.count("\n") == 1
    assert not (tmp_path / "out.gpkg").exists()


def test_many_polygons_are_united_as_few_are() -> None:
    x, y = (axis.ravel() * 10.0 for axis in np.meshgrid(np.arange(40), np.arange(40)))
    apart, joined = shapely.box(x, y, x + 8, y + 8), shapely.box(x[::7] + 5, y[::7], x[::7] + 13, y[::7] + 8)
    many = np.concatenate([apart, joined])
    assert len(many) > FEW
    united = read_area(gpd.GeoSeries(many, crs=32633)).geometry
    assert shapely.is_valid(united)
    assert shapely.normalize(united) == shapely.normalize(shapely.union_all(many))
