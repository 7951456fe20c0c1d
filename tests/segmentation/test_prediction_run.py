"""Many prompts into a file: the same table as in memory, in the order of the prompts, and a stopped run is continued."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

import samgeo
from samgeo.errors import OptionError, RunError, StoppedError
from samgeo.geo.vector.columns import RenamedColumnsWarning
from samgeo.geo.vector.reading import read_vectors
from samgeo.segmentation import prediction, prediction_run
from samgeo.segmentation.prompts import assignment
from samgeo.testing import encode_ids, scattered
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import write_raster

SIDE = 300
OPTIONS = {"window": 96, "overlap": 32}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of eight prompts."""
    for module in (assignment, prediction, prediction_run):
        monkeypatch.setattr(module, "GROUP", 8)
    # The 44 prompts are divided twice before they are sorted.
    monkeypatch.setattr(prediction_run, "MOST_SORTED", 8)
    monkeypatch.setattr(prediction_run, "FAN_OUT", 2)


LABELS = scattered(25, (SIDE, SIDE), seed=2, min_size=14, max_size=30)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raster(tmp_path_factory.mktemp("image") / "ids.tif", encode_ids(LABELS))


@pytest.fixture(scope="module")
def clicks(image: Path) -> gpd.GeoDataFrame:
    """Points in random order, some on objects and one outside, with columns of several types."""
    rng = np.random.default_rng(5)
    with_raster = samgeo.Raster.open(image).geobox
    rows, columns = rng.permutation(np.argwhere(LABELS))[:20].T
    x, y = np.concatenate([[columns, rows], rng.integers(0, SIDE, (2, 23))], axis=1)[:, rng.permutation(43)] + 0.5
    x, y = with_raster.affine * (x, y)
    points = [*shapely.points(x, y), shapely.points(0, 0)]
    attributes = {
        "name": [f"name {n}" if n > 30 else None for n in range(44)],
        "floors": np.arange(44),
        "reason": ["given"] * 44,
        "height": np.where(np.arange(44) % 3, 2.5, np.nan),
    }
    return gpd.GeoDataFrame(attributes, geometry=points, crs=with_raster.crs.proj)


def run(image: Path, clicks: gpd.GeoDataFrame, output: Path | None = None, **options) -> gpd.GeoDataFrame:
    with pytest.warns(RenamedColumnsWarning, match="reason is now reason_given"):
        return samgeo.predict(image, output, points=clicks, model=Oracle(96), **(OPTIONS | options))


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".geojson", ".fgb"])
def test_the_file_has_the_table_that_is_made_in_memory(image, clicks, tmp_path, suffix, request) -> None:
    run(image, clicks, tmp_path / f"whole{suffix}")
    whole = read_vectors(tmp_path / f"whole{suffix}")
    in_memory = run(image, clicks)
    request.getfixturevalue("few")
    found = run(image, clicks, tmp_path / f"groups{suffix}")
    again = read_vectors(tmp_path / f"groups{suffix}")
    assert found.reason.isna().sum() > 5
    assert found.to_wkb().equals(in_memory.to_wkb().astype(found.to_wkb().dtypes))
    assert found.attrs == in_memory.attrs
    assert again.to_wkt().astype(str).equals(whole.to_wkt().astype(str))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"groups{suffix}", f"whole{suffix}"]


def test_a_stopped_run_goes_on_where_it_was_and_comes_to_the_same_bytes(image, clicks, tmp_path, few, monkeypatch) -> None:
    run(image, clicks, tmp_path / "whole.parquet")
    asked: list[int] = []
    answer = samgeo.Predictor.answer
    monkeypatch.setattr(
        samgeo.Predictor, "answer", lambda self, some, **how: asked.append(len(some)) or answer(self, some, **how)
    )
    output, options = tmp_path / "stopped.parquet", {"points": clicks, "model": Oracle(96), **OPTIONS}
    with pytest.raises(StoppedError, match="finished prompts are kept"):
        samgeo.segmentation.predict_to_file(image, output, stop=lambda: len(asked) == 2, **options)
    assert not output.exists()
    assert asked == [8, 8]
    (tmp_path / "stopped.parquet.run" / "rows" / "000000.parquet").write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"options.refine was 0 and is now 1"):
        samgeo.predict(image, output, refine=1, **options)
    with pytest.raises(RunError, match=r"options.prompts was"):
        samgeo.predict(image, output, **options | {"points": clicks[::-1]})
    with pytest.warns(RenamedColumnsWarning):
        done = samgeo.segmentation.predict_to_file(image, output, **options)
    assert asked == [8, 8, 8, 8, 8, 8, 4]
    assert output.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert done.prompts == 44
    assert done.objects == gpd.read_parquet(output).reason.isna().sum()
    assert not output.with_name("stopped.parquet.run").exists()


def test_an_output_that_was_written_before_a_kill_is_written_again(image, clicks, tmp_path, few, monkeypatch) -> None:
    output = tmp_path / "out.gpkg"
    with monkeypatch.context() as killed:
        killed.setattr(prediction_run.AnswersFolder, "remove", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(image, clicks, output)
    assert output.exists()
    run(image, clicks, output)
    with pytest.raises(Exception, match="exists"):
        samgeo.predict(image, output, points=clicks, model=Oracle(96), **OPTIONS)


def test_a_folder_of_something_else_is_left_alone(image, clicks, tmp_path, few) -> None:
    (tmp_path / "out.gpkg.run").mkdir()
    (tmp_path / "out.gpkg.run" / "notes.txt").write_text("mine")
    with pytest.raises(OptionError, match="is not the folder of answers to prompts"):
        samgeo.predict(image, tmp_path / "out.gpkg", points=clicks, model=Oracle(96), **OPTIONS)
    assert (tmp_path / "out.gpkg.run" / "notes.txt").read_text() == "mine"
