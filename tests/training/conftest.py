"""A promptable network of a few thousand parameters and something to train it on."""

from __future__ import annotations

import pytest
import torch
from learn_scenes import squares

from samgeo.models.tiny.network import TinyConfig, TinyNetwork
from samgeo.training.data.examples import Layer, Source


@pytest.fixture(autouse=True)
def _one_thread():
    # Operations on so little are not worth a second thread, which waits by spinning.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small_network():
    torch.manual_seed(0)
    config = TinyConfig(
        channels=(16, 8, 8), similarity=(4, 4, 4), maps=(4, 8), heads=2, depth=1, hidden=16, quality=8, input_size=64
    )
    network = TinyNetwork(config)
    network.prompts.frequencies.normal_()
    return network


@pytest.fixture
def source():
    return Source("squares", [squares("a"), squares("b", seed=1)], 1.0, {"building": Layer(1.0)}, (0.7, 1.3))
