"""On a GPU: crops drawn there hold their objects, the loss is the processor's, and a few steps take it down.

SAMGEO_GPU_TESTS_ON=cpu lets a processor stand in for the GPU, to try the tests themselves.
"""

import os

import numpy as np
import pytest
import torch

from samgeo.training.data.device_crops import DevicePictures, draw_crops
from samgeo.training.loop import TrainOptions, train
from samgeo.training.losses import LossWeights
from samgeo.training.step import Course, Crops, crops_loss

DEVICE = torch.device(os.environ.get("SAMGEO_GPU_TESTS_ON", "cuda"))
HERE = torch.cuda.is_available() if DEVICE.type == "cuda" else True
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not HERE, reason="needs a CUDA device")]


def loss(network, crops, *, autocast=False):
    rng = np.random.default_rng(0)
    return crops_loss(network, crops, window_px=64, rng=rng, weights=LossWeights(), course=Course(), autocast=autocast)[0]


def test_crops_of_the_device_have_the_loss_that_the_processor_computes(small_network, source):
    drawn = draw_crops(DevicePictures.of([source], DEVICE), 4, 64, 5, torch.Generator(DEVICE).manual_seed(0))
    x, y = drawn.clicks.long().unbind(1)
    assert drawn.masks[torch.arange(20, device=DEVICE), y, x].all()
    home = Crops(*(getattr(drawn, name).cpu() for name in ("images", "masks", "clicks", "boxes", "trust")))
    truth = loss(small_network, home).item()
    small_network.to(DEVICE)
    assert loss(small_network, drawn).item() == pytest.approx(truth, rel=0.02)
    assert loss(small_network, drawn, autocast=True).item() == pytest.approx(truth, rel=0.1)


def test_a_few_steps_take_the_loss_down(small_network, source, tmp_path):
    options = TrainOptions(
        steps=16, images=2, crops=((64, 4, 1.0),), rate=3e-3, warm_up=3, log_steps=4, draw_on_device=True, tf32=True,
        autocast=DEVICE.type == "cuda",
    )  # fmt: skip
    lines = []
    train(small_network, [source], tmp_path, options, window_px=64, device=DEVICE, report=lines.append)
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]
