"""Embeddings of crops that are encoded once."""

import numpy as np
import pytest
import torch

from samgeo.errors import OptionError
from samgeo.training import apply_preset
from samgeo.training.data.crop_cache import CropCache
from samgeo.training.data.examples import asked_anew, draw


@pytest.fixture
def network(small_network):
    apply_preset(small_network, "decoder")
    return small_network


def encodings(network, monkeypatch):
    encode, calls = network.encode, []
    monkeypatch.setattr(network, "encode", lambda images: calls.append(1) or encode(images))
    return calls


def test_a_crop_is_encoded_once_and_rounded_alike(network, tmp_path, monkeypatch):
    calls = encodings(network, monkeypatch)
    image = torch.full((1, 64, 64, 3), 90.0)
    cache = CropCache(network, tmp_path / "crops")
    first = cache.encode(network, image, autocast=False)
    again = CropCache(network, tmp_path / "crops").encode(network, image, autocast=False)
    assert len(calls) == 1
    for name in ("stride16", "similar4"):
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert torch.equal(getattr(first, name), getattr(first, name).half().float())
    cache.encode(network, image + 1, autocast=False)
    assert len(calls) == 2
    cache.remove()
    assert not (tmp_path / "crops").exists()


def test_other_weights_do_not_share_embeddings(network, tmp_path, monkeypatch):
    calls = encodings(network, monkeypatch)
    image = torch.full((1, 64, 64, 3), 90.0)
    CropCache(network, tmp_path).encode(network, image, autocast=False)
    with torch.no_grad():
        network.encoder.lateral16.bias.add_(1)
    CropCache(network, tmp_path).encode(network, image, autocast=False)
    assert len(calls) == 2


def test_the_cache_is_bounded(network, tmp_path, monkeypatch):
    calls = encodings(network, monkeypatch)
    cache = CropCache(network, tmp_path / "crops", max_bytes=10)
    images = torch.full((1, 64, 64, 3), 90.0)
    one, other = (cache.encode(network, images, autocast=False) for _ in range(2))
    assert len(calls) == 2
    assert torch.equal(one.stride4, other.stride4)
    assert not (tmp_path / "crops").exists() or not list((tmp_path / "crops").iterdir())


def test_an_encoder_that_is_trained_is_refused(small_network, tmp_path):
    apply_preset(small_network, "bitfit")
    with pytest.raises(OptionError, match="an image encoder that is not trained"):
        CropCache(small_network, tmp_path)
    with pytest.raises(OptionError, match="no encoded_type"):
        CropCache(torch.nn.Linear(2, 2), tmp_path)


def test_a_crop_is_asked_anew(source):
    example = draw([source], 64, 4, np.random.default_rng(0))
    other = asked_anew(example, np.random.default_rng(1))
    assert other.image is example.image
    assert not np.array_equal(other.clicks, example.clicks)
    assert all(mask[int(y), int(x)] for mask, (x, y) in zip(other.masks, other.clicks, strict=True))
