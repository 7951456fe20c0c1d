"""The commands that prompt and encode, as a person runs them."""

from pathlib import Path

import geopandas as gpd
import pytest
import rasterio
import shapely
from click.testing import CliRunner, Result

import samgeo
from samgeo.cli import main
from samgeo.geo.vector.reading import read_provenance, read_vectors
from samgeo.synthetic import town


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return town((256, 320), seed=4).save(tmp_path_factory.mktemp("scene") / "town.tif")


@pytest.fixture(scope="module")
def buildings() -> gpd.GeoDataFrame:
    return town((256, 320), seed=4).footprints.head(5)[["id", "geometry"]]


def test_encode_then_predict_every_kind_from_the_store(image: Path, buildings, tmp_path: Path) -> None:
    store = tmp_path / "town.zarr"
    encoded = run("encode", image, store, "--quiet")
    assert encoded.exit_code == 0, encoded.output
    again = run("encode", image, store)
    assert "0 windows of 1 encoded" in again.stderr
    assert "1 were there" in again.stderr
    points = buildings.set_geometry(buildings.representative_point())
    for kind, prompts in {"points": points, "boxes": buildings, "polygons": buildings}.items():
        path, output = tmp_path / f"{kind}.geojson", tmp_path / f"{kind}.parquet"
        prompts.to_crs(4326).to_file(path)
        result = run("predict", image, output, f"--{kind}", path, "--cache", store)
        assert result.exit_code == 0, result.output
        assert f"for 5 prompts in {output}" in result.stderr
        found = gpd.read_parquet(output)
        with rasterio.open(image) as dataset:
            assert found.crs == dataset.crs
        assert found.id.tolist() == buildings.id.tolist()
        expected = samgeo.Predictor(image).predict(**{kind: prompts})
        assert found.geometry.geom_equals(expected.geometry).all()
        assert read_provenance(output)["model"]["name"] == "tiny"


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".fgb", ".geojson"])
def test_rows_without_an_object_are_written_in_every_format(image: Path, buildings, tmp_path: Path, suffix: str) -> None:
    far = gpd.GeoDataFrame({"id": [99]}, geometry=[shapely.Point(0, 0)], crs=4326)
    path, output = tmp_path / "points.gpkg", tmp_path / f"objects{suffix}"
    far.to_file(path)
    result = run("predict", image, output, "--points", path)
    assert result.exit_code == 0, result.output
    assert "0 objects for 1 prompt" in result.stderr
    (row,) = read_vectors(output).itertuples()
    assert row.reason == "outside the raster"
    assert row.geometry is None or row.geometry.is_empty


def test_what_cannot_work_is_one_message_and_no_output(image: Path, tmp_path: Path) -> None:
    output = tmp_path / "objects.parquet"
    nothing = run("predict", image, output)
    assert nothing.exit_code == 1
    assert "there is no prompt" in nothing.stderr
    assert run("predict", image, output, "--boxes", tmp_path / "none.gpkg").exit_code == 1
    assert run("encode", image, tmp_path / "no" / "where.zarr", "--quiet").exit_code == 1
    assert list(tmp_path.iterdir()) == []
