"""Rasters that change while they are worked on, or between a stop and going on: nothing is ever made of two versions."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import samgeo
from samgeo.errors import RasterError, RunError, SamgeoError
from samgeo.segmentation.api import segment_to_file
from samgeo.segmentation.encoding import encode
from samgeo.segmentation.prediction import predict
from samgeo.testing import encode_ids
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import write_raster

SIDE = 64
OPTIONS = {"overlap": 16, "points_per_side": 8, "progress": False, "scheduler": "synchronous"}


def ids(left: int) -> np.ndarray:
    labels = np.zeros((320, 64), dtype=np.int32)
    for number in range(6):
        labels[8 + 50 * number : 38 + 50 * number, left : left + 24] = number + 1
    return labels


def first(path: Path) -> Path:
    return write_raster(path, encode_ids(ids(32)))


def second(path: Path) -> None:
    """Put a raster in the place of the first one: of the same size, with its objects elsewhere."""
    other = write_raster(path.with_name("other.tif"), encode_ids(ids(4)))
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=(1, 1))


class Meddling(Oracle):
    """An oracle that calls a function before it sees its third window."""

    def __init__(self, meddle: Callable[[], object], at: int = 3) -> None:
        super().__init__(SIDE)
        self.meddle, self.at, self.seen = meddle, at, 0

    def embed(self, images, sizes=None):
        self.seen += 1
        if self.seen == self.at:
            self.meddle()
        return super().embed(images, sizes)


def file(folder: Path) -> tuple[object, Path]:
    return first(folder / "a.tif"), folder / "a.tif"


def mosaic(folder: Path) -> tuple[object, Path]:
    import rasterio.shutil

    rasterio.shutil.copy(first(folder / "a.tif"), folder / "m.vrt", driver="VRT")
    return folder / "m.vrt", folder / "a.tif"


def several(folder: Path) -> tuple[object, Path]:
    below = (0.5, 0, 500_000, 0, -0.5, 5_400_000 - 160)
    write_raster(folder / "b.tif", encode_ids(ids(32)), transform=below)
    return [first(folder / "a.tif"), folder / "b.tif"], folder / "a.tif"


KINDS = [file, mosaic, several]
by_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@by_kind
def test_a_run_whose_raster_changes_ends_and_says_which_file(kind, tmp_path: Path) -> None:
    source, path = kind(tmp_path)
    output = tmp_path / "out.gpkg"
    shutil.copy2(path, tmp_path / "kept.tif")
    with pytest.raises(RunError, match=r"a\.tif has changed since .*remove that folder"):
        segment_to_file(source, output, model=Meddling(lambda: second(path)), **OPTIONS)
    assert not output.exists()
    # Parts may be of both: not even the first raster, put back to the second, goes on with them.
    shutil.copy2(tmp_path / "kept.tif", path)
    with pytest.raises(RunError, match=r"a\.tif has changed while the run .* worked"):
        segment_to_file(source, output, model=Oracle(SIDE), **OPTIONS)
    assert not output.exists()
    shutil.rmtree(tmp_path / "out.gpkg.run")
    assert segment_to_file(source, output, model=Oracle(SIDE), **OPTIONS).objects >= 6


@by_kind
def test_a_raster_that_changes_before_its_output_is_placed_is_seen(kind, tmp_path: Path, monkeypatch) -> None:
    """After the last window, while the output is written."""
    from samgeo.geo.vector import joining

    source, path = kind(tmp_path)
    original = joining.join_vectors

    def late(*args, **options):
        second(path)
        return original(*args, **options)

    monkeypatch.setattr(joining, "join_vectors", late)
    with pytest.raises(RunError, match=r"a\.tif has changed"):
        segment_to_file(source, tmp_path / "out.parquet", model=Oracle(SIDE), **OPTIONS)
    assert not (tmp_path / "out.parquet").exists()


@by_kind
def test_a_raster_that_changes_between_a_stop_and_going_on_is_refused_with_its_name(kind, tmp_path: Path) -> None:
    source, path = kind(tmp_path)
    output, stop = tmp_path / "out.parquet", []
    model = Meddling(lambda: stop.append(1))
    with pytest.raises(SamgeoError, match="asked to stop"):
        segment_to_file(source, output, model=model, stop=lambda: bool(stop), **OPTIONS)
    second(path)
    with pytest.raises(RunError, match=r"These files have changed since: .*a\.tif"):
        segment_to_file(source, output, model=Oracle(SIDE), **OPTIONS)
    assert not output.exists()


def test_a_file_that_is_away_for_a_while_loses_no_work(tmp_path: Path) -> None:
    source, path = mosaic(tmp_path)
    output, away = tmp_path / "out.parquet", tmp_path / "away"
    with pytest.raises(RunError, match=r"a\.tif is gone.*Finished windows are kept"):
        segment_to_file(source, output, model=Meddling(lambda: path.rename(away), at=4), **OPTIONS)
    away.rename(path)
    summary = segment_to_file(source, output, model=Oracle(SIDE), **OPTIONS)
    assert summary.objects == 6
    assert not summary.failures


@by_kind
def test_a_result_in_memory_is_of_one_raster(kind, tmp_path: Path) -> None:
    source, path = kind(tmp_path)
    with pytest.raises(RunError, match=r"a\.tif has changed since"):
        samgeo.segment(source, model=Meddling(lambda: second(path)), **OPTIONS)


@by_kind
def test_embeddings_are_of_one_raster(kind, tmp_path: Path) -> None:
    from samgeo import load_model

    source, path = kind(tmp_path)
    model = load_model("tiny", device="cpu")
    seen = []
    original = type(model).embed

    class Changing(type(model)):
        def embed(self, *args, **options):
            if not seen:
                second(path)
            seen.append(1)
            return original(self, *args, **options)

    model.__class__ = Changing
    with pytest.raises(RasterError, match=r"a\.tif has changed while"):
        encode(source, tmp_path / "store.zarr", model=model, scheduler="synchronous", progress=False, window=256, overlap=0)


@by_kind
def test_a_predictor_answers_of_one_raster(kind, tmp_path: Path) -> None:
    source, path = kind(tmp_path)
    predictor = samgeo.Predictor(source, model=Oracle(SIDE), overlap=16)
    assert len(predictor.predict(points=[[40, 20]], crs="pixels")) == 1
    second(path)
    for ask in (predictor.predict, predictor.candidates, predictor.predict_masks):
        with pytest.raises(RasterError, match=r"a\.tif has changed since .* open it again"):
            ask(points=[[40, 120]], crs="pixels")


@by_kind
def test_answers_to_prompts_are_not_written_where_the_raster_changes(kind, tmp_path: Path) -> None:
    source, path = kind(tmp_path)
    model = Meddling(lambda: second(path), at=1)
    with pytest.raises(RasterError, match=r"a\.tif has changed since"):
        predict(source, tmp_path / "out.gpkg", points=[[40, 20], [40, 120]], crs="pixels", model=model, overlap=16)
    assert not (tmp_path / "out.gpkg").exists()
