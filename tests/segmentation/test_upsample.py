"""Masks and stability equal those of interpolating whole frames, as segment_anything does."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.segmentation.masks import upsample
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.upsample import Upsampled, masks_from_logits


def chain(logits: torch.Tensor, input_size: int, window: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """``Sam.postprocess_masks`` on whole frames."""
    frames = F.interpolate(logits[None].float(), (input_size, input_size), mode="bilinear", align_corners=False)
    if window == input_size:
        return frames[0, :, : size[0], : size[1]].numpy()
    real = [max(int(length * input_size / window + 0.5), 1) for length in size]
    frames = frames[..., : real[0], : real[1]]
    return F.interpolate(frames, size, mode="bilinear", align_corners=False)[0].numpy()


def assert_equal_to_chain(
    logits: torch.Tensor,
    *,
    input_size: int,
    window: int,
    size: tuple[int, int],
    offset: float = 1.0,
    threshold: float = 0.0,
    min_stability: float = 0.0,
    rounding: float = 0.0,
) -> Upsampled:
    """Compare with the chain; a pixel whose logit is within ``rounding`` of a threshold may be on either side."""
    found = masks_from_logits(
        logits,
        input_size=input_size,
        window=window,
        size=size,
        offset=offset,
        threshold=threshold,
        min_stability=min_stability,
    )
    results = dict(zip(found.index.tolist(), zip(found.masks, found.stability, strict=True), strict=True))
    assert list(results) == sorted(results)
    for index, frame in enumerate(chain(logits, input_size, window, size)):
        strict, loose = np.count_nonzero(frame > threshold + offset), np.count_nonzero(frame > threshold - offset)
        if not (frame > threshold).any() or strict / loose < min_stability:
            assert index not in results
            continue
        mask, score = results[index]
        array = mask.to_array(Rect(0, 0, size[1], size[0]))
        assert mask == Mask.from_array(array)
        different = array != (frame > threshold)
        assert (np.abs(frame - threshold)[different] <= rounding).all()
        near = np.count_nonzero(np.abs(np.abs(frame - threshold) - offset) <= rounding)
        assert abs(score - strict / loose) <= (near / loose if rounding else 0)
    return found


def smooth(seed: int, count: int, shape: tuple[int, int]) -> torch.Tensor:
    """Noise of several scales, steepness and bias: outlines inside, across and along the frame."""
    random = np.random.default_rng(seed)
    logits = []
    for _ in range(count):
        noise = ndimage.gaussian_filter(random.normal(size=shape), random.choice([0, 1, 3, 8]))
        logits.append(noise / (noise.std() + 1e-6) * random.choice([1, 4, 20]) + random.choice([-4, -1, 0, 1, 4]))
    return torch.tensor(np.array(logits), dtype=torch.float32)


@pytest.mark.parametrize("part", [1.0, 0.71, 0.02])
@pytest.mark.parametrize(
    ("cells", "input_size", "window"),
    [
        (256, 1024, 1024),
        (64, 256, 256),
        (64, 256, 512),
        (64, 256, 331),
        (64, 256, 100),
        (64, 256, 40),
        (60, 256, 256),
        (60, 250, 777),
        (96, 96, 96),
        (96, 96, 150),
        (96, 96, 61),
        (1, 16, 16),
        (1, 16, 31),
    ],
)
def test_masks_and_stability_equal_the_whole_frame_chain(cells: int, input_size: int, window: int, part: float) -> None:
    size = max(int(window * part), 1), max(int(window * part**0.5), 1)
    logits = smooth(cells + window, 8 if window < 1000 else 4, (cells, cells))
    rounding = 4 * float(np.spacing(logits.abs().max().numpy()))
    for options in ({}, {"min_stability": 0.6}, {"offset": 0.0, "threshold": 0.8}):
        assert_equal_to_chain(logits, input_size=input_size, window=window, size=size, rounding=rounding, **options)


def test_logits_need_not_be_square() -> None:
    assert_equal_to_chain(smooth(0, 6, (32, 64)), input_size=128, window=200, size=(160, 200))


# Whole numbers put samples and pixels exactly on the thresholds, and where all weights are eighths, nothing is rounded.
@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from([1, 2, 3, 5]).flatmap(lambda cells: arrays(np.int8, (2, cells, cells), elements=st.integers(-2, 2))),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([0.5, 1, 1, 2]),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_logits_on_a_threshold_fall_on_the_same_side(
    values: NDArray[np.int8], factor: int, scale: float, part: tuple[float, float]
) -> None:
    input_size = values.shape[1] * factor
    window = max(int(input_size * scale), 1)
    size = max(round(part[0] * window), 1), max(round(part[1] * window), 1)
    logits = torch.tensor(values, dtype=torch.float32)
    rounding = 0.0 if window == input_size else 1e-6
    assert_equal_to_chain(logits, input_size=input_size, window=window, size=size, rounding=rounding)


def test_empty_masks_are_left_out_and_the_others_keep_their_index() -> None:
    logits = torch.full((5, 16, 16), -10.0)
    logits[1, 4, 5] = 100.0
    logits[3] = 10.0
    logits[4] = -0.5  # Above the looser threshold, with no foreground.
    found = assert_equal_to_chain(logits, input_size=64, window=64, size=(64, 64))
    assert found.index.tolist() == [1, 3]
    assert found.masks[0].rect in Rect(16, 12, 28, 24)  # The cell and its two neighbours.
    assert found.masks[1].area == 64 * 64
    assert found.stability[1] == 1.0


def test_nothing_in_nothing_out() -> None:
    for logits in (torch.empty((0, 16, 16)), torch.full((3, 16, 16), -3.0)):
        found = masks_from_logits(logits, input_size=64, window=64, size=(64, 64))
        assert (len(found.index), found.masks, len(found.stability)) == (0, (), 0)


@pytest.mark.parametrize("window", [64, 90, 50])
@pytest.mark.parametrize("cell", [(0, 0), (0, 15), (15, 0), (15, 15), (7, 9)])
def test_a_single_cell_anywhere_becomes_its_own_mask(cell: tuple[int, int], window: int) -> None:
    logits = torch.full((1, 16, 16), -4.0)
    logits[0, cell[0], cell[1]] = 40.0
    found = assert_equal_to_chain(logits, input_size=64, window=window, size=(window, window))
    assert len(found.masks) == 1


def test_foreground_in_the_padding_alone_is_no_mask() -> None:
    logits = torch.full((1, 16, 16), -4.0)
    logits[0, :, 12:] = 4.0
    assert masks_from_logits(logits, input_size=64, window=64, size=(64, 40)).masks == ()
    assert len(masks_from_logits(logits, input_size=64, window=64, size=(64, 60)).masks) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_type_is_taken_at_its_value(dtype: torch.dtype) -> None:
    logits = smooth(3, 4, (32, 32)).to(dtype)
    expected = masks_from_logits(logits.float(), input_size=128, window=128, size=(128, 100))
    found = masks_from_logits(logits.requires_grad_(), input_size=128, window=128, size=(128, 100))
    assert found.masks == expected.masks
    assert found.stability.tolist() == expected.stability.tolist()


def test_infinite_logits_are_very_far_from_the_threshold() -> None:
    logits = torch.full((1, 8, 8), -torch.inf)
    logits[0, 2:5, 2:5] = torch.inf
    finite = torch.where(logits > 0, 1e6, -1e6)
    options = {"input_size": 32, "window": 48, "size": (48, 48)}
    assert masks_from_logits(logits, **options).masks == masks_from_logits(finite, **options).masks


def test_masks_do_not_depend_on_how_many_are_made_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = smooth(4, 12, (48, 48))
    whole = masks_from_logits(logits, input_size=192, window=192, size=(192, 150))
    monkeypatch.setattr(upsample, "_CELLS_AT_ONCE", 1)
    single = masks_from_logits(logits, input_size=192, window=192, size=(192, 150))
    assert single.masks == whole.masks
    assert single.index.tolist() == whole.index.tolist()
    assert single.stability.tolist() == whole.stability.tolist()


def test_no_frame_is_made_of_a_large_window() -> None:
    y, x = np.mgrid[:256, :256]
    logits = torch.tensor((40 - np.hypot(x - 128, y - 128))[None], dtype=torch.float32)
    side = 32_768
    tracemalloc.start()
    found = masks_from_logits(logits, input_size=1024, window=side, size=(side, side))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.masks[0].area == pytest.approx(np.pi * (40 * side / 256) ** 2, rel=1e-2)
    assert peak < side * side / 4  # A frame of float32 takes sixteen times as much.


def test_sizes_that_do_not_fit_are_refused() -> None:
    logits = torch.zeros((2, 16, 16))
    with pytest.raises(OptionError, match=r"give \(K, h, w\) with h and w from 1 to the input size 8"):
        masks_from_logits(logits, input_size=8, window=8, size=(8, 8))
    with pytest.raises(OptionError, match=r"give \(K, h, w\)"):
        masks_from_logits(logits[0], input_size=64, window=64, size=(64, 64))
    with pytest.raises(OptionError, match="a height and a width from 1 to 64"):
        masks_from_logits(logits, input_size=64, window=64, size=(0, 64))
    with pytest.raises(OptionError, match="from 1 to 64"):
        masks_from_logits(logits, input_size=64, window=64, size=(64, 65))
    with pytest.raises(OptionError, match="offset is -1"):
        masks_from_logits(logits, input_size=64, window=64, size=(64, 64), offset=-1)
