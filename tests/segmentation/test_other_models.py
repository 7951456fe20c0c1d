"""Models that others made: whatever they raise ends one window alone, and they may return arrays of NumPy."""

from __future__ import annotations

import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
from numpy.typing import NDArray

import samgeo
from samgeo.errors import ModelError, WindowError
from samgeo.segmentation.api import HolesWarning
from samgeo.testing import encode_ids
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import write_raster

OPTIONS = {"window": 128, "overlap": 32, "points_per_side": 8, "progress": False, "workers": 2}


def row_of_squares() -> NDArray[np.int32]:
    ids = np.zeros((128, 640), np.int32)
    for number in range(6):
        ids[20:60, 20 + 100 * number : 60 + 100 * number] = number + 1
    return ids


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "squares.tif", encode_ids(row_of_squares()))


class Moody(Oracle):
    """It raises an error of a kind where it sees the third object."""

    def __init__(self, kind: type[Exception]) -> None:
        super().__init__(128)
        self.kind = kind

    def embed(self, images, sizes=None):
        ids = super().embed(images, sizes)
        if (ids == 3).any():
            raise self.kind("cannot reshape array of size 0")
        return ids


KINDS = [
    *(
        RuntimeError,
        MemoryError,
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        AssertionError,
        NotImplementedError,
    ),
    *(ZeroDivisionError, OverflowError, RecursionError, StopIteration, np.linalg.LinAlgError, shapely.errors.GEOSException),
]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_model_raises_in_a_window_is_a_hole(kind: type[Exception], raster: Path, tmp_path: Path) -> None:
    with pytest.warns(HolesWarning, match="cannot reshape array of size 0"):
        objects = samgeo.segment(raster, tmp_path / "objects.gpkg", model=Moody(kind), **OPTIONS)
    assert len(objects) == 4
    failed = objects.attrs["samgeo"]["failed_windows"]
    assert len(failed) == 2
    assert len(gpd.read_file(tmp_path / "objects.holes.gpkg")) == 2
    # The run goes on with a model that does not raise.
    mended = samgeo.segment(raster, tmp_path / "objects.gpkg", model=Oracle(128), retry_failed=True, **OPTIONS)
    assert len(mended) == 6
    assert mended.complete.all()


def test_the_reason_has_the_kind_and_the_line_of_an_error_that_is_not_samgeos(raster: Path, tmp_path: Path) -> None:
    with pytest.warns(HolesWarning, match=r"ValueError: cannot reshape array of size 0 \(in test_other_models.py, line \d+\)"):
        samgeo.segment(raster, tmp_path / "objects.gpkg", model=Moody(ValueError), **OPTIONS)
    with pytest.raises(
        WindowError, match=r"cannot be encoded \(ValueError: cannot reshape .*\); the windows that were encoded before are kept"
    ):
        samgeo.encode(raster, tmp_path / "squares.zarr", model=Moody(ValueError), window=128, overlap=32, progress=False)


class AsArrays(Oracle):
    """It returns arrays of NumPy, of a type."""

    def __init__(self, kind: type) -> None:
        super().__init__(128)
        self.kind = kind

    def decode(self, embedding, **prompts):
        logits, predicted = super().decode(embedding, **prompts)
        logits = logits.numpy()
        return (logits > 0 if self.kind is bool else logits.astype(self.kind)), predicted.numpy().astype(np.float64)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, np.int32, bool])
def test_arrays_of_numpy_are_as_good_as_tensors(kind: type, raster: Path) -> None:
    expected = samgeo.segment(raster, model=Oracle(128), **OPTIONS)
    found = samgeo.segment(raster, model=AsArrays(kind), **OPTIONS)
    assert found.geometry.geom_equals(expected.geometry).all()
    point = [(40, 40)]
    for refine in (0, 1):
        one, other = (
            samgeo.Predictor(raster, model=model, window=128, overlap=32).predict(points=point, crs="pixels", refine=refine)
            for model in (AsArrays(kind), Oracle(128))
        )
        assert one.geometry.geom_equals(other.geometry).all()
        assert one.area_m2.tolist() == other.area_m2.tolist()


class Misshapen(Oracle):
    def __init__(self, answer) -> None:
        super().__init__(128)
        self.answer = answer

    def decode(self, embedding, **prompts):
        return self.answer


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "returned NoneType, which is not two tensors or arrays"),
        ((torch.zeros(1, 1, 4, 4),), "returned tuple, which is not two tensors or arrays"),
        (("a", "b"), "which is not two tensors or arrays"),
        ((np.zeros((1, 4, 4)), np.zeros(1)), r"logits of shape \(1, 4, 4\) and predicted IoU of shape \(1,\) for 1 prompts"),
        ((np.zeros((2, 3, 4, 4)), np.zeros((2, 3))), r"logits of shape \(2, 3, 4, 4\) .* for 1 prompts"),
        ((np.zeros((1, 3, 4, 4)), np.zeros((1, 1))), r"predicted IoU of shape \(1, 1\)"),
    ],
)
def test_an_answer_of_another_form_is_told(answer, told: str, raster: Path) -> None:
    predictor = samgeo.Predictor(raster, model=Misshapen(answer), window=128, overlap=32)
    with pytest.raises(ModelError, match=told):
        predictor.predict(points=[(40, 40)], crs="pixels")


def test_no_warning_where_nothing_fails(raster: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(samgeo.segment(raster, model=AsArrays(np.float32), **OPTIONS)) == 6


def test_a_fault_of_a_window_is_logged_each_time(raster: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.warns(HolesWarning):
        samgeo.segment(raster, tmp_path / "objects.gpkg", model=Moody(ValueError), **OPTIONS)
    told = [one.getMessage() for one in caplog.records if one.name == "samgeo.segmentation.windows.worker"]
    assert len(told) == 4  # two windows, twice
    assert all("ValueError: cannot reshape array of size 0" in one for one in told)
