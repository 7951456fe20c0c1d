"""When memory runs out, less is done at once, and the answers stay the same."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from sam_oracle import official_state, random_sam

from samgeo.errors import ModelError
from samgeo.models.batching import fitting, in_parts
from samgeo.models.embedding_packing import rounded
from samgeo.models.registry import load_model
from samgeo.models.sam1.checkpoint import build_network, load_checkpoint
from samgeo.models.sam1.model import Sam

CPU = torch.device("cpu")
CLOSE = {"rtol": 0, "atol": 1e-4}
# Where each model computes: what encodes, and what decodes in one step or two.
STEPS = {"sam": ("image_encoder.forward", "mask_decoder.attend", "mask_decoder.paint"), "tiny": ("encode", "decode", "draw")}


def limited(fits, error):
    """Return work that runs out of memory on more than so many things, and the sizes that it was asked for."""
    tried = []

    def work(part):
        tried.append(part.stop - part.start)
        if tried[-1] > fits:
            raise error
        return list(range(part.start, part.stop))

    return work, tried


def test_a_part_that_does_not_fit_is_halved_until_it_does_and_stays_small():
    work, tried = limited(3, torch.OutOfMemoryError("CUDA out of memory."))
    assert [one for part in in_parts(work, 11, 8) for one in part] == list(range(11))
    assert tried == [8, 4, 2, 2, 2, 2, 2, 1]


def test_the_cpus_own_allocator_is_understood():
    def work(part):
        return torch.empty((part.stop - part.start) << (0 if part.stop - part.start == 1 else 60), dtype=torch.uint8)

    assert [len(part) for part in in_parts(work, 3, 2)] == [1, 1, 1]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_a_single_thing_that_does_not_fit_is_an_error(error):
    work, tried = limited(0, error)
    with pytest.raises(type(error)):
        in_parts(work, 5, 4)
    assert tried == [4, 2, 1]


def test_another_error_is_not_tried_again():
    work, tried = limited(0, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        in_parts(work, 5, 4)
    assert tried == [4]


def test_as_many_at_once_as_the_memory_has_room_for(monkeypatch):
    assert fitting(CPU, 100, budget=1000) == 10
    assert fitting(CPU, 100, budget=1) == 1
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (5000, 9000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 2000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 1000)
    assert fitting(torch.device("cuda"), 100, budget=1) == 16  # a power of two, of 30


@pytest.fixture(scope="module", params=STEPS)
def model(request, tmp_path_factory):
    if request.param == "tiny":
        return load_model("tiny", device="cpu", dtype="float32")
    path = tmp_path_factory.mktemp("sam") / "random.pth"
    torch.save(official_state(random_sam()), path)
    return Sam(build_network(load_checkpoint(path)), name="sam", digest="random")


@pytest.fixture
def scarce(model, monkeypatch):
    """Return a function that lets the steps of a model work on so many at once, and tells the sizes that were tried."""

    def limit(fits, *steps):
        tried = []
        for step in steps:
            *outer, name = step.split(".")
            part = model.network.get_submodule(".".join(outer))
            monkeypatch.setattr(part, name, only(getattr(part, name), fits, tried))
        return tried

    def only(function, fits, tried):
        def call(*args, **kwargs):
            made = function(*args, **kwargs)
            tried.append(rows(made))
            if tried[-1] > fits:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return made

        return call

    return limit


def rows(made):
    if isinstance(made, torch.Tensor):
        return len(made)
    if isinstance(made, tuple):
        return rows(made[-1])
    return len(made) if hasattr(made, "__len__") else len(made.predicted_iou)


def windows(model, count):
    side = model.input_size
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def clicks(model, count):
    points = np.random.default_rng(1).uniform(0, model.input_size, (count, 1, 2)).astype(np.float32)
    return {"points": points, "labels": np.ones((count, 1), dtype=np.int64)}


def test_windows_are_encoded_in_smaller_batches(model, scarce):
    images, sizes = windows(model, 3), np.array([[32, 32], [20, 32], [32, 9]])
    expected = model.pack(model.embed(images, sizes)[2])
    tried = scarce(1, STEPS[model.name][0])
    embedding = model.embed(images, sizes)
    assert tried == [3, 1, 1, 1]
    assert len(embedding) == 3
    found = model.pack(embedding[2])
    for name, array in expected.items():
        np.testing.assert_allclose(found[name].astype(float), array.astype(float), rtol=0, atol=2e-2)


@pytest.mark.parametrize("fits", [1, 3])
def test_prompts_are_decoded_in_smaller_batches(model, scarce, fits):
    embedding, given = model.embed(windows(model, 1))[0], clicks(model, 7)
    expected = model.decode(embedding, **given)
    scores = expected[1].flatten().sort().values
    gap = int(scores.diff().argmax())
    gate = float(scores[gap : gap + 2].mean())  # clear of rounding
    gated = model.decode_gated(embedding, **given, min_iou=gate)
    tried = scarce(fits, *STEPS[model.name][1:])
    torch.testing.assert_close(model.decode(embedding, **given), expected, **CLOSE)
    again = model.decode_gated(embedding, **given, min_iou=gate)
    assert max(tried) > fits
    for array, other in zip(gated, again, strict=True):
        np.testing.assert_allclose(np.asarray(array), np.asarray(other), **CLOSE)


def test_no_room_for_one_says_what_to_do(model, scarce):
    embedding, given = model.embed(windows(model, 1))[0], clicks(model, 2)
    scarce(0, *STEPS[model.name])
    for work in (
        lambda: model.embed(windows(model, 1)),
        lambda: model.decode(embedding, **given),
        lambda: model.decode_gated(embedding, **given, min_iou=-1.0),
    ):
        with pytest.raises(ModelError, match=rf"{model.name} has no memory left on cpu.*fewer prompts in one call"):
            work()


def test_rounding_on_the_device_is_packing_and_unpacking(model):
    embedding = model.embed(windows(model, 1))[0]
    expected = model.pack(model.unpack(model.pack(embedding)))
    for name, array in model.pack(rounded(model, embedding)).items():
        assert np.array_equal(array, expected[name])
    assert torch.equal(next(iter(tensors(rounded(model, embedding)))), next(iter(tensors(model.unpack(expected)))))


def tensors(embedding):
    return [getattr(embedding, field.name) for field in fields(embedding)]
