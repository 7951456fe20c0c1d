"""Commands that are given many files, a list of them, or STAC Items."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine
from click.testing import CliRunner, Result
from PIL import Image

from samgeo.cli import main
from samgeo.synthetic import town
from samgeo.testing.rasters import transform, write_raster


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A town as one file, as two, as a list of these, and as Items: of colours, and of bands."""
    made = tmp_path_factory.mktemp("inputs")
    values = np.asarray(town((256, 256), seed=4).image)
    write_raster(made / "one.tif", values)
    for name, start in (("west", 0), ("east", 128)):
        piece = values[:, start : start + 128]
        write_raster(made / f"{name}.tif", piece, transform=transform() * Affine.translation(start, 0))
    for number, name in enumerate(["red", "green", "blue"]):
        write_raster(made / f"{name}.tif", values[..., number])
    (made / "tiles.txt").write_text("west.tif\neast.tif\n")
    assets = {name: {"href": f"{name}.tif", "type": "image/tiff", "roles": ["data"]} for name in ("red", "green", "blue")}
    item = {"type": "Feature", "stac_version": "1.0.0", "id": "town", "assets": assets}
    (made / "item.json").write_text(json.dumps(item))
    return made


@pytest.fixture(scope="module")
def expected(folder: Path) -> gpd.GeoDataFrame:
    assert run("segment", folder / "one.tif", folder / "one.parquet", "--points-per-side", 6).exit_code == 0
    return gpd.read_parquet(folder / "one.parquet")


@pytest.mark.parametrize(
    "arguments",
    [("west.tif", "east.tif"), ("tiles.txt",), ("item.json", "--assets", "red, green,blue")],
    ids=["files", "list", "item"],
)
def test_the_result_is_that_of_one_file(
    folder: Path, tmp_path: Path, expected: gpd.GeoDataFrame, arguments: tuple[str, ...]
) -> None:
    images, options = [folder / name for name in arguments if "." in name], [one for one in arguments if "." not in one]
    done = run("segment", *images, tmp_path / "out.parquet", "--points-per-side", 6, *options)
    assert done.exit_code == 0, done.output
    found = gpd.read_parquet(tmp_path / "out.parquet")
    assert len(found) > 3
    assert found.to_wkb().to_csv() == expected.to_wkb().to_csv()
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_all_commands_take_them(folder: Path, tmp_path: Path, expected: gpd.GeoDataFrame) -> None:
    expected.to_file(tmp_path / "boxes.gpkg")
    tiles = folder / "west.tif", folder / "east.tif"
    assert run("encode", *tiles, tmp_path / "a.zarr", "--quiet").exit_code == 0
    done = run("predict", *tiles, tmp_path / "out.gpkg", "--boxes", tmp_path / "boxes.gpkg", "--cache", tmp_path / "a.zarr")
    assert done.exit_code == 0, done.output
    assert len(gpd.read_file(tmp_path / "out.gpkg")) == len(expected)
    for name, options in (("tiles.txt", ()), ("item.json", ("--assets", "red,green,blue")), ("one.tif", ())):
        assert run("show", folder / name, "-o", tmp_path / f"{name}.png", *options).exit_code == 0
    pictures = [np.asarray(Image.open(path)) for path in sorted(tmp_path.glob("*.png"))]
    assert len(pictures) == 3
    assert np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[0], pictures[2])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("item.json", "out.parquet"), "has several rasters; choose with assets from red, green, blue"),
        (("item.json", "out.parquet", "--assets", "nir"), "has no asset 'nir'; choose from red, green, blue"),
        (("one.tif", "out.parquet", "--assets", "red"), "assets choose files of a STAC Item"),
        (("west.tif", "red.tif", "out.parquet"), "has 3 bands and"),
        (("west.tif", "absent.tif", "out.parquet"), "absent.tif does not exist"),
        (("west.tif", "east.tif"), "east.tif exists and is not a label raster of samgeo"),
    ],
)
def test_what_cannot_be_one_raster_is_told_and_nothing_is_written(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    before = sorted(folder.iterdir())
    done = run("segment", *(folder / one if "." in one else one for one in arguments))
    assert done.exit_code == 1
    assert words in done.stderr
    assert sorted(folder.iterdir()) == before
