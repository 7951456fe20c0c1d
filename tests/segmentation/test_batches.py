"""Batches on a GPU: larger where there is memory, and the result does not depend on them. The GPU is one that only says so."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import samgeo
from samgeo.models.embedding_packing import pack
from samgeo.models.registry import default_gates
from samgeo.segmentation.api import HolesWarning
from samgeo.segmentation.windows.automatic import automatic_masks, embed_window, embed_windows
from samgeo.segmentation.windows.worker import WINDOWS_AT_ONCE
from samgeo.synthetic import town
from samgeo.testing import encode_ids, scattered
from samgeo.testing.oracle import Oracle

CUDA = torch.device("cuda")
OPTIONS = {"points_per_side": 16, "overlap": 64, "progress": False}


class OnGpu:
    """A model that works as ever, says that it is on a GPU, and keeps what it was asked for together."""

    device = CUDA

    def __init__(self, model: Any) -> None:
        self._model = model
        self.windows: list[int] = []
        self.prompts: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def embed(self, images, sizes=None):
        self.windows.append(len(images))
        return self._model.embed(images, sizes)

    def decode_gated(self, embedding, *, points, **given):
        self.prompts.append(len(points))
        return self._model.decode_gated(embedding, points=points, **given)

    def decode(self, embedding, **given):
        return self._model.decode(embedding, **given)

    def pack(self, embedding):
        return self._model.pack(embedding)

    def unpack(self, arrays):
        return self._model.unpack(arrays)


class Rasping(Oracle):
    """An oracle whose embeddings can be kept, and that has no memory for windows that show some id."""

    def __init__(self, input_size: int = 128, bad: int = -1) -> None:
        super().__init__(input_size)
        self.bad = bad

    def embed(self, images, sizes=None):
        ids = super().embed(images, sizes)
        if (ids == self.bad).any():
            raise RuntimeError("out of memory")
        return ids

    def pack(self, embedding):
        return {"ids": embedding}

    def unpack(self, arrays):
        return np.array(arrays["ids"])


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch):
    """Return a function that says how many bytes of the GPU are free."""

    def free(count: float) -> None:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(count), int(count)))

    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 0)
    free(8e9)
    return free


@pytest.fixture(scope="module")
def clicked():
    """The bundled model, a window's embedding, points in it, and what it finds there."""
    model = samgeo.load_model("tiny", device="cpu")
    embedding = embed_window(model, town((512, 512), seed=1).image, (512, 512))
    points = np.random.default_rng(0).uniform(0, 512, (200, 2))
    gates = replace(default_gates(model), screen_points=False)  # so that the sizes of the batches are known
    given = {"points": points, "gates": gates, "window": 512, "size": (512, 512)}
    return model, embedding, given, automatic_masks(model, embedding, **given)


@pytest.mark.parametrize(("free", "batches"), [(1e6, [64, 64, 64, 8]), (1.5e8, [128, 72]), (4e8, [200]), (8e10, [200])])
def test_a_gpu_decodes_as_many_points_as_fit_and_the_masks_stay_the_same_to_the_bit(memory, clicked, free, batches) -> None:
    model, embedding, given, expected = clicked
    on_gpu = OnGpu(model)
    memory(free)
    found = automatic_masks(on_gpu, embedding, **given)
    assert on_gpu.prompts == batches
    assert len(found) > 20
    assert [(one.predicted_iou, one.stability_score, one.prompt) for one in found] == [
        (one.predicted_iou, one.stability_score, one.prompt) for one in expected
    ]
    assert all(np.array_equal(one.mask.runs, other.mask.runs) for one, other in zip(found, expected, strict=True))


def test_a_cpu_decodes_as_ever(memory) -> None:
    model = OnGpu(Oracle(128))
    model.device = torch.device("cpu")
    points = np.random.default_rng(0).uniform(0, 128, (100, 2))
    embedding = embed_window(model, np.zeros((128, 128, 3), np.uint8), (128, 128))
    automatic_masks(model, embedding, points, gates=default_gates(model), window=128, size=(128, 128))
    assert model.prompts == [64, 36]


def test_windows_keep_their_places_and_the_others_are_blank() -> None:
    seen = []

    class Watched(Oracle):
        def embed(self, images, sizes=None):
            seen.append((images.copy(), sizes.copy()))
            return super().embed(images, sizes)

    model = Watched(64)
    labels = scattered(6, (128, 64), seed=1, min_size=10, max_size=24)
    images = [np.ascontiguousarray(encode_ids(part)) for part in (labels[:64], labels[64:])]
    found = embed_windows(model, {3: (images[0], (64, 50)), 1: (images[1], (40, 64))}, 4)
    (stack, sizes), = seen  # fmt: skip
    assert stack.shape == (4, 64, 64, 3)
    assert sizes.tolist() == [[64, 64], [40, 64], [64, 64], [64, 50]]
    assert np.array_equal(stack[[3, 1]], images)
    assert not stack[[0, 2]].any()
    for place, (image, size) in {3: (images[0], (64, 50)), 1: (images[1], (40, 64))}.items():
        assert np.array_equal(found[place], Oracle(64).embed(image[None], np.array([size]))[0])


def test_the_bundled_models_embeddings_do_not_depend_on_their_company() -> None:
    model = samgeo.load_model("tiny", device="cpu")
    rng = np.random.default_rng(0)
    mine, other = (rng.integers(0, 256, (512, 512, 3), dtype=np.uint8) for _ in range(2))
    alone = pack(model, embed_windows(model, {1: (mine, (512, 512))}, 2)[1])
    among = pack(model, embed_windows(model, {0: (other, (300, 512)), 1: (mine, (512, 512))}, 2)[1])
    assert all(np.array_equal(alone[name], among[name]) for name in alone)


def canonical(found) -> bytes:
    return found.to_wkb().to_csv().encode()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_raster_comes_out_the_same_from_windows_in_batches(memory, tmp_path: Path, workers: int) -> None:
    labels = scattered(40, (330, 700), seed=3, min_size=16, max_size=60)
    labels[140:330, 200:460] = 0
    image = encode_ids(labels)
    expected = samgeo.segment(image, model=Oracle(128), **OPTIONS)
    model = OnGpu(Oracle(128))
    rows, columns = 5, 10
    found = samgeo.segment(image, model=model, workers=workers, **OPTIONS)
    assert canonical(found) == canonical(expected)
    assert model.windows == [WINDOWS_AT_ONCE] * rows * -(-columns // WINDOWS_AT_ONCE)
    again = samgeo.segment(image, tmp_path / "objects.parquet", model=model, workers=workers, **OPTIONS)
    assert canonical(again) == canonical(expected)


def test_windows_without_data_are_no_work_in_a_batch_either(memory) -> None:
    labels = np.zeros((128, 128 + 64 * 11), dtype=np.int32)
    labels[50:90, 60:100] = 1
    valid = np.zeros(labels.shape, dtype=bool)
    valid[:, :300] = True
    raster = samgeo.Raster.open(np.where(valid[..., None], encode_ids(labels), 255), nodata=255)
    model = OnGpu(Oracle(128))
    assert len(samgeo.segment(raster, model=model, **OPTIONS)) == 1
    assert model.windows == [WINDOWS_AT_ONCE] * 2  # of three batches, the last is empty


def test_a_window_that_fails_takes_no_neighbour_with_it(memory, tmp_path: Path) -> None:
    labels = scattered(30, (130, 700), seed=5, min_size=16, max_size=40)
    image = encode_ids(labels)
    bad = int(labels[:, 300:340].max())
    with pytest.warns(HolesWarning):
        expected = samgeo.segment(image, tmp_path / "one.parquet", model=Rasping(128, bad), **OPTIONS)
    with pytest.warns(HolesWarning):
        found = samgeo.segment(image, tmp_path / "batch.parquet", model=OnGpu(Rasping(128, bad)), **OPTIONS)
    assert found.attrs["samgeo"]["failed_windows"] == expected.attrs["samgeo"]["failed_windows"]
    assert canonical(found) == canonical(expected)


def test_a_store_is_filled_and_read_in_batches(memory, tmp_path: Path) -> None:
    image = encode_ids(scattered(30, (200, 700), seed=5, min_size=16, max_size=40))
    expected = samgeo.segment(image, model=Rasping(128), **OPTIONS)
    model = OnGpu(Rasping(128))
    options = {**OPTIONS, "model": model, "cache": tmp_path / "ids.zarr"}
    assert canonical(samgeo.segment(image, **options)) == canonical(expected)
    encoded = len(model.windows)
    assert encoded > 0
    assert canonical(samgeo.segment(image, **options)) == canonical(expected)
    assert len(model.windows) == encoded
