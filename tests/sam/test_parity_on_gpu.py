"""A GPU answers what the processor answers, in float32 and in bfloat16, in parts of any size, and when memory runs out.

SAMGEO_GPU_TESTS_ON=cpu lets a processor stand in for the GPU, to try the tests themselves.
"""

import os

import numpy as np
import pytest
import torch

from samgeo.sam import batching
from samgeo.sam.architecture import Architecture
from samgeo.sam.model import Sam, SamNetwork
from samgeo.sam.registry import load_model

DEVICE = torch.device(os.environ.get("SAMGEO_GPU_TESTS_ON", "cuda"))
HERE = torch.cuda.is_available() if DEVICE.type == "cuda" else True
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not HERE, reason="needs a CUDA device")]

SMALL = Architecture(
    width=64, depth=4, heads=4, mlp_width=128, global_blocks=(1, 3), window=3, grid=8, prompt_width=32, decoder_heads=4,
    decoder_mlp_width=64, decoder_inner_width=16, iou_width=32,
)  # fmt: skip


def painted(side):
    """Rectangles of even colour, which both halves of a model can tell apart."""
    rng = np.random.default_rng(0)
    image = np.full((side, side, 3), 60, dtype=np.uint8)
    for _ in range(20):
        top, left = rng.integers(0, side - 40, 2)
        image[top : top + rng.integers(20, 40), left : left + rng.integers(20, 40)] = rng.integers(80, 250, 3)
    return image


def points(side, count):
    rng = np.random.default_rng(1)
    return rng.uniform(4, side - 4, (count, 1, 2)).astype(np.float32), np.ones((count, 1), dtype=np.int64)


def answers(model, count=40):
    xy, labels = points(model.input_size, count)
    logits, predicted = model.decode(model.embed(painted(model.input_size)[None])[0], points=xy, labels=labels)
    return logits.float().cpu(), predicted.float().cpu()


def small_sam(device, dtype):
    torch.manual_seed(0)
    return Sam(SamNetwork(SMALL), name="small", digest="random", device=device, dtype=dtype)


def same_masks(found, truth):
    one, other = found.flatten(2) > 0, truth.flatten(2) > 0
    union = (one | other).sum(2)
    return (((one & other).sum(2) / union.clamp(min=1))[union > 30]).mean().item()


# TF32 in convolutions, which torch allows by default, and the rounding of bfloat16.
@pytest.mark.parametrize(("dtype", "least", "predicted_off"), [("float32", 0.99, 0.01), ("bfloat16", 0.95, 0.05)])
def test_the_bundled_model_draws_the_masks_of_the_processor(dtype, least, predicted_off):
    truth, scores = answers(load_model("tiny", device="cpu", dtype="float32"))
    found, found_scores = answers(load_model("tiny", device=DEVICE, dtype=dtype))
    assert same_masks(found, truth) > least
    assert (found_scores - scores).abs().mean() < predicted_off


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 0.01), (torch.bfloat16, 0.08)])
def test_sam_answers_what_the_processor_answers(dtype, most):
    truth, scores = answers(small_sam(torch.device("cpu"), torch.float32))
    found, found_scores = answers(small_sam(DEVICE, dtype))
    assert (found - truth).norm() / truth.norm() < most
    assert (found_scores - scores).abs().max() < 5 * most


@pytest.mark.parametrize("make", [lambda: load_model("tiny", device=DEVICE), lambda: small_sam(DEVICE, torch.float32)])
def test_a_point_is_answered_alike_alone_and_among_many(make):
    model = make()
    embedding = model.embed(painted(model.input_size)[None])[0]
    xy, labels = points(model.input_size, 150)
    many, scores = model.decode(embedding, points=xy, labels=labels)
    few, few_scores = model.decode(embedding, points=xy[140:], labels=labels[140:])
    assert same_masks(few.cpu(), many[140:].cpu()) > 0.999
    torch.testing.assert_close(few_scores, scores[140:], rtol=0, atol=1e-3)


@pytest.mark.skipif(DEVICE.type != "cuda", reason="a processor's memory does not run out on demand")
def test_parts_are_halved_when_the_memory_of_the_device_runs_out():
    sizes = []
    third = torch.cuda.mem_get_info()[0] // 3

    def work(part):
        count = part.stop - part.start
        held = torch.empty(count * third, dtype=torch.uint8, device=DEVICE)
        sizes.append(count)
        return held.numel() // third

    assert sum(batching.in_parts(work, 8, 8)) == 8
    assert max(sizes) <= 2
    torch.cuda.empty_cache()
