"""Runs whose least score is chosen at the end: the same objects in memory, in every format, and after a stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray

import samgeo
from samgeo.errors import SamgeoError
from samgeo.finding import boxes_from
from samgeo.finding.api import SourceOptions
from samgeo.geo.vector.reading import read_provenance, read_vectors
from samgeo.segmentation.api import NothingFoundWarning
from samgeo.segmentation.run import execution
from samgeo.segmentation.run.folder import RunFolder
from samgeo.segmentation.run.score_cut import ScoreCut, kept_parts, stored_scores
from samgeo.testing import Oracle, encode_ids, write_raster

SIDE, STEP, COUNT = 20, 40, 3
# Of nine objects, those that reach the median.
KEPT = 5


def best_half(scores: NDArray[np.float64]) -> ScoreCut:
    score = float(np.median(scores)) if len(scores) else 0.0
    return ScoreCut(score, int((scores >= score).sum()), {"min_score": score})


def nothing(scores: NDArray[np.float64]) -> ScoreCut:
    return ScoreCut(1.0, 0, {"min_score": 1.0, "candidates": len(scores)})


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a raster of squares, in three rows of windows."""
    labels = np.zeros((COUNT * STEP,) * 2, dtype=np.int32)
    for number in range(COUNT**2):
        y, x = (STEP * place + 10 for place in divmod(number, COUNT))
        labels[y : y + SIDE, x : x + SIDE] = number + 1
    return write_raster(tmp_path_factory.mktemp("squares") / "squares.tif", encode_ids(labels))


@pytest.fixture
def find(image: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that finds the squares with scores in mixed order, and keeps those that its first argument chooses."""
    corners = np.array([(STEP * x + 10, STEP * y + 10) for y in range(COUNT) for x in range(COUNT)])
    scores = np.linspace(0.2, 0.95, COUNT**2)[np.random.default_rng(1).permutation(COUNT**2)]
    squares = [shapely.box(x, y, x + SIDE, y + SIDE) for x, y in corners]
    source = boxes_from(gpd.GeoDataFrame({"score": scores}, geometry=squares), image, crs="pixels")
    prepare = SourceOptions.prepare

    def found(choose, output: Path | None = None, **options):
        with monkeypatch.context() as patch:
            patch.setattr(SourceOptions, "prepare", lambda *given: replace(prepare(*given), choose_cut=choose))
            return samgeo.find(image, output=output, finder=source, model=Oracle(64), progress=False, **options)

    return found


def same(first: gpd.GeoDataFrame, second: gpd.GeoDataFrame) -> None:
    assert first["score"].tolist() == second["score"].tolist()
    assert first.geometry.area.tolist() == second.geometry.area.tolist()
    assert first.bounds.to_numpy().tolist() == second.bounds.to_numpy().tolist()


def test_memory_and_run_keep_what_a_filter_keeps(find, tmp_path: Path) -> None:
    everything = find(None)
    assert len(everything) == COUNT**2
    score = everything["score"].median()
    wanted = everything[everything["score"] >= score].reset_index(drop=True)
    assert len(wanted) == KEPT
    in_memory = find(best_half)
    same(in_memory, wanted)
    assert in_memory.attrs["samgeo"]["threshold"] == {"min_score": score}
    assert in_memory.index.tolist() == list(range(len(wanted)))
    same(find(best_half, tmp_path / "found.gpkg"), wanted)
    same(read_vectors(tmp_path / "found.gpkg"), wanted)
    assert read_provenance(tmp_path / "found.gpkg")["threshold"] == {"min_score": score}
    find(best_half, tmp_path / "found.tif")
    with rasterio.open(tmp_path / "found.tif") as dataset:
        assert np.unique(dataset.read(1)).tolist() == list(range(len(wanted) + 1))
    assert not list(tmp_path.glob("*.run"))


def test_a_kept_run_has_all_candidates_and_writes_again_with_another_cut(find, tmp_path: Path) -> None:
    output, run_dir = tmp_path / "found.gpkg", tmp_path / "run"
    find(best_half, output, run_dir=run_dir)
    folder = RunFolder(run_dir)
    rows = folder.row_paths(folder.read_frontier().counts)
    assert len(rows) > 1
    assert len(stored_scores(rows)) == COUNT**2
    assert not (run_dir / "kept").exists()
    assert len(read_vectors(output)) == KEPT
    written = output.stat().st_mtime_ns
    find(best_half, output, run_dir=run_dir)
    assert output.stat().st_mtime_ns == written
    same(find(None, output, run_dir=run_dir), read_vectors(output))
    assert len(read_vectors(output)) == COUNT**2


def test_a_run_that_is_stopped_goes_on(find, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, output = find(best_half), tmp_path / "found.gpkg"
    write_row, join = RunFolder.write_row, execution.kept_parts

    def stop(self, row, *given) -> None:
        write_row(self, row, *given)
        raise KeyboardInterrupt

    def stop_while_writing(run: Path, rows, cut) -> None:
        join(run, rows, cut)
        raise KeyboardInterrupt

    for place, name, stopping in ((RunFolder, "write_row", stop), (execution, "kept_parts", stop_while_writing)):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, stopping)
            with pytest.raises(KeyboardInterrupt):
                find(best_half, output)
        assert not output.exists()
    # Files that a stop left behind are no part of the next result.
    assert (tmp_path / "found.gpkg.run" / "kept").is_dir()
    (tmp_path / "found.gpkg.run" / "kept" / "000099.parquet").write_bytes(b"old")
    same(find(best_half, output), wanted)
    same(read_vectors(output), wanted)
    assert not (tmp_path / "found.gpkg.run").exists()


def test_a_cut_that_keeps_nothing_writes_an_empty_file(find, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with pytest.warns(NothingFoundWarning):
        found = find(nothing, tmp_path / "found.gpkg", run_dir=run_dir)
    assert {"class", "score", "complete", "geometry"} <= set(found.columns)
    assert len(found) == len(read_vectors(tmp_path / "found.gpkg")) == 0
    # The candidates are still there.
    assert len(find(None, tmp_path / "found.gpkg", run_dir=run_dir)) == COUNT**2
    with pytest.warns(NothingFoundWarning):
        assert len(find(nothing)) == 0


def test_kept_objects_are_written_a_row_at_a_time(find, tmp_path: Path) -> None:
    find(None, run_dir=tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    rows = folder.row_paths(folder.read_frontier().counts)
    cut = best_half(stored_scores(rows))
    written = kept_parts(folder.path, rows, cut)
    assert {path.parent.name for path in written} == {"kept"}
    assert sum(len(gpd.read_parquet(path)) for path in written) == cut.kept
    rows[0].write_bytes(b"damaged")
    with pytest.raises(SamgeoError, match=f"{rows[0].name} cannot be read"):
        kept_parts(folder.path, rows, cut)
    with pytest.raises(SamgeoError, match=f"{rows[0].name} cannot be read"):
        stored_scores(rows)


def test_a_link_named_kept_is_refused(find, tmp_path: Path) -> None:
    run_dir, outside = tmp_path / "run", tmp_path / "mine"
    outside.mkdir()
    (outside / "000000.parquet").write_bytes(b"mine")
    find(best_half, run_dir=run_dir)
    (run_dir / "kept").symlink_to(outside)
    with pytest.raises(SamgeoError, match="kept is a link"):
        find(best_half, tmp_path / "found.gpkg", run_dir=run_dir)
    assert (outside / "000000.parquet").read_bytes() == b"mine"
