import numpy as np
import pytest
import torch

import samgeo
from samgeo.errors import CheckpointError, OptionError
from samgeo.models.tiny import load_tiny, new_tiny, save_tiny
from samgeo.models.tiny.network import TinyConfig


def test_what_is_written_is_read_again(small_network, tmp_path):
    path = tmp_path / "out.safetensors"
    digest = save_tiny(small_network.state_dict(), small_network.config, path)
    model = load_tiny(path, device="cpu")
    assert model.digest == digest
    assert model.network.config == small_network.config
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, small_network.state_dict()[name].half().float())


def test_load_model_takes_it_as_any_other(small_network, tmp_path):
    path = tmp_path / "out.safetensors"
    save_tiny(small_network.state_dict(), small_network.config, path)
    model = samgeo.load_model(path, device="cpu")
    embedding = model.embed(np.zeros((1, 64, 64, 3), np.uint8))[0]
    logits, predicted = model.decode(embedding, boxes=np.array([[8, 8, 30, 30]], np.float32), multimask=False)
    assert logits.shape == (1, 1, 16, 16)
    assert predicted.isfinite().all()


def test_the_same_weights_make_the_same_file(small_network, tmp_path):
    paths = [tmp_path / f"{number}.safetensors" for number in range(6)]
    assert len({save_tiny(small_network.state_dict(), small_network.config, path) for path in paths}) == 1


def test_a_file_that_is_there_is_kept_unless_asked(small_network, tmp_path):
    path = tmp_path / "out.safetensors"
    path.write_text("mine")
    with pytest.raises(OptionError, match="exists"):
        save_tiny(small_network.state_dict(), small_network.config, path)
    assert path.read_text() == "mine"
    save_tiny(small_network.state_dict(), small_network.config, path, overwrite=True)
    assert load_tiny(path, device="cpu").network.config == small_network.config


def test_weights_that_cannot_be_written_leave_nothing(small_network, tmp_path):
    weights = small_network.state_dict()
    with pytest.raises(CheckpointError, match="do not fit"):
        save_tiny(weights, TinyConfig(), tmp_path / "out.safetensors")
    name = next(iter(weights))
    with pytest.raises(CheckpointError, match="half precision"):
        save_tiny(weights | {name: weights[name] + 1e6}, small_network.config, tmp_path / "out.safetensors")
    with pytest.raises(OptionError, match="does not end"):
        save_tiny(weights, small_network.config, tmp_path / "out.pth")
    assert list(tmp_path.iterdir()) == []


def test_new_networks_follow_from_their_seed(small_network):
    state = torch.random.get_rng_state()
    first, again, other = (new_tiny(small_network.config, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["prompts.frequencies"], other["prompts.frequencies"])
    assert first["prompts.frequencies"].abs().sum() > 0
