"""One layer of a file with several is named after a colon, wherever a vector file is given."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from click.testing import CliRunner

import samgeo
from samgeo.annotations import read_annotations
from samgeo.buildings import regularize, simplify
from samgeo.cli import main
from samgeo.errors import OptionError, SamgeoError, VectorError
from samgeo.evaluation import evaluate
from samgeo.geo.vector.reading import read_vectors, split_layer
from samgeo.map.session import Session
from samgeo.testing import Oracle, encode_ids
from samgeo.testing.rasters import write_raster

UTM = "EPSG:32633"
ROOF = shapely.box(500_010, 5_399_970, 500_030, 5_399_990)


@pytest.fixture
def city(tmp_path: Path) -> Path:
    path = tmp_path / "city.gpkg"
    whole = shapely.box(500_000, 5_399_936, 500_064, 5_400_000)
    gpd.GeoDataFrame({"class": ["a"]}, geometry=[whole], crs=UTM).to_file(path, layer="districts")
    gpd.GeoDataFrame({"class": ["b"]}, geometry=[ROOF], crs=UTM).to_file(path, layer="roofs: flat")
    gpd.GeoDataFrame({"class": ["c"]}, geometry=[ROOF.centroid], crs=UTM).to_file(path, layer="points")
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    ids = np.zeros((128, 128), dtype=np.int32)
    ids[20:60, 20:60] = 1
    return write_raster(tmp_path / "image.tif", encode_ids(ids), crs=UTM, transform=Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000))


@pytest.mark.parametrize(
    ("source", "path", "layer"),
    [
        ("missing.gpkg:roofs", "missing.gpkg", "roofs"),
        ("missing.gpkg", "missing.gpkg", None),
        (r"C:\data\city.gpkg", r"C:\data\city.gpkg", None),
        (r"C:\data\city.gpkg:roofs", r"C:\data\city.gpkg", "roofs"),
        ("C:/data/city.gpkg", "C:/data/city.gpkg", None),
        ("https://example.com/city.gpkg", "https://example.com/city.gpkg", None),
        ("https://example.com:8080/city.gpkg", "https://example.com:8080/city.gpkg", None),
        ("https://example.com:8080/city.gpkg:roofs", "https://example.com:8080/city.gpkg", "roofs"),
        ("s3://bucket/city.gpkg:roofs", "s3://bucket/city.gpkg", "roofs"),
        ("s3://bucket/a:b/city.gpkg", "s3://bucket/a:b/city.gpkg", None),
        ("/vsizip/city.zip/city.gpkg:roofs", "/vsizip/city.zip/city.gpkg", "roofs"),
        ("/vsicurl/https://example.com/city.gpkg", "/vsicurl/https://example.com/city.gpkg", None),
        ("a:b", "a:b", None),
        ("city.gpkg:", "city.gpkg:", None),
    ],
)
def test_paths_are_split_from_layers(source: str, path: str, layer: str | None, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert split_layer(source) == (path, layer)


def test_the_longest_name_that_exists_is_the_file(city: Path, monkeypatch) -> None:
    monkeypatch.chdir(city.parent)
    assert split_layer("city.gpkg:roofs: flat") == ("city.gpkg", "roofs: flat")
    for name in ("12:30.gpkg", "city.gpkg:districts.gpkg"):
        Path(name).write_bytes(city.read_bytes())
        assert split_layer(name) == (name, None)
        assert len(read_vectors(f"{name}:roofs: flat")) == 1
    Path("plain").touch()
    assert split_layer("plain:points") == ("plain", "points")
    assert read_vectors("12:30.gpkg:points").geom_type.tolist() == ["Point"]


def test_a_refusal_lists_the_layers_and_says_how(city: Path) -> None:
    with pytest.raises(
        VectorError, match=r"layers \(districts, roofs: flat, points\); choose one, after a colon: .*city\.gpkg:districts"
    ):
        read_vectors(city)
    with pytest.raises(VectorError, match="has no layer 'roads'; choose one of districts, roofs: flat, points"):
        read_vectors(f"{city}:roads")
    with pytest.raises(VectorError, match="has no layer 'roads'"):
        read_vectors(city, layer="roads")
    with pytest.raises(VectorError, match="after a colon"):
        read_vectors(f"{city}|layername=points")
    assert read_vectors(city, layer="points").geom_type.tolist() == ["Point"]


def test_a_table_of_styles_is_no_second_layer(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    path = tmp_path / "styled.gpkg"
    gpd.GeoDataFrame(geometry=[ROOF], crs=UTM).to_file(path, layer="roofs")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE layer_styles (id INTEGER PRIMARY KEY, f_table_name TEXT)")
        connection.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier) VALUES ('layer_styles', 'attributes', 'styles')"
        )
        connection.commit()
    assert len(read_vectors(path)) == 1


def test_files_of_one_layer_take_its_name_or_none(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"n": [1]}, geometry=[ROOF], crs=UTM)
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(VectorError, match="GeoParquet, which has no layers"):
        read_vectors(f"{tmp_path / 'a.parquet'}:a")
    for name in ("b.fgb", "c.geojson"):
        frame.to_file(tmp_path / name)
        assert len(read_vectors(f"{tmp_path / name}:{name[0]}")) == 1
        with pytest.raises(VectorError, match="has no layer"):
            read_vectors(f"{tmp_path / name}:other")


def test_every_input_in_python_takes_a_layer(city: Path, image: Path, tmp_path: Path) -> None:
    districts, roofs, points = (f"{city}:{name}" for name in ("districts", "roofs: flat", "points"))
    model = Oracle(128)
    predictor = samgeo.Predictor(image, model=model)
    assert len(samgeo.segment(image, aoi=districts, model=model, progress=False)) == 1
    for prompts in ({"points": points}, {"boxes": roofs}, {"polygons": roofs}):
        assert predictor.predict(**prompts).reason.isna().all()
    assert len(predictor.snap(roofs)) == 1
    assert evaluate(roofs, roofs, aoi=districts).overall.matched == 1
    assert len(regularize(roofs)) == len(simplify(roofs)) == 1
    samgeo.show(image, roofs, tmp_path / "picture.png")
    session = Session(predictor, classes=("a", "b"))
    assert len(session.propose(roofs).state.proposals) == 1
    assert read_annotations(roofs, images=image).class_names.tolist() == ["b"]
    with pytest.raises(SamgeoError, match="has no layer"):
        read_annotations(f"{city}:roads", images=image)


def test_a_layer_of_annotations_without_layers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "coco.json").write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(OptionError, match="'roofs' has no meaning for coco"):
        read_annotations(f"{tmp_path / 'coco.json'}:roofs")


def test_every_command_takes_a_layer(city: Path, image: Path, monkeypatch) -> None:
    monkeypatch.chdir(image.parent)
    for command in (
        "segment image.tif out.gpkg --window 128 --points-per-side 2 --aoi city.gpkg:districts",
        "predict image.tif out.parquet --boxes city.gpkg:roofs",
        "predict image.tif out.fgb --points city.gpkg:points",
        "evaluate city.gpkg:roofs city.gpkg:roofs --aoi city.gpkg:districts",
        "regularize city.gpkg:roofs out.geojson",
        "show image.tif city.gpkg:roofs -o out.png",
    ):
        arguments = [one.replace(":roofs", ":roofs: flat") for one in command.split()]
        ran = CliRunner().invoke(main, arguments)
        assert ran.exit_code == 0, ran.output
        refused = CliRunner().invoke(main, [*(one.split(":")[0] for one in arguments), "--overwrite"])
        assert refused.exit_code == 1, command
        assert "city.gpkg has several layers (districts" in refused.stderr
