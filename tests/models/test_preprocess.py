"""An image reaches the model as SAM's published preprocessing would bring it there."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from samgeo.errors import OptionError
from samgeo.models.preprocessing import PIXEL_MEAN, PIXEL_STD, fit_square, fitted_size, normalise

# Thinner images have, once scaled, so few rows that transformers takes them for channels.
shapes = st.tuples(st.integers(8, 90), st.integers(8, 90))


def noise(shape):
    return np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 3), dtype=np.uint8)


@settings(deadline=None, max_examples=60)
@given(shapes)
def test_the_whole_equals_what_transformers_does(shape):
    image = noise(shape)
    square, size = fit_square(image, 64)
    processor = SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    truth = processor(images=image, return_tensors="pt")
    assert size == tuple(truth["reshaped_input_sizes"][0].tolist())
    ours = normalise(torch.from_numpy(square)[None], torch.tensor([size]))
    torch.testing.assert_close(ours, truth["pixel_values"], rtol=0, atol=2e-6)


@settings(deadline=None, max_examples=60)
@given(shapes, st.integers(16, 80))
def test_the_square_holds_pillows_pixels_and_zeros(shape, side):
    image = noise(shape)
    square, (height, width) = fit_square(image, side)
    assert square.shape == (side, side, 3)
    assert max(height, width) == side
    scaled = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(square[:height, :width], np.asarray(scaled))
    assert not square[height:].any()
    assert not square[:, width:].any()


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1024, 1024), (1024, 1024)), ((500, 1000), (512, 1024)), ((1800, 1200), (1024, 683)), ((3, 2048), (2, 1024))],
)
def test_sizes_are_rounded_half_up(shape, size):
    assert fitted_size(shape, 1024) == size


def test_an_image_of_the_right_size_is_untouched():
    image = noise((64, 64))
    square, size = fit_square(image, 64)
    np.testing.assert_array_equal(square, image)
    assert size == (64, 64)


def test_zeros_are_put_in_the_padding_after_normalising():
    images = torch.full((1, 8, 8, 3), 200, dtype=torch.uint8)
    normal = normalise(images, torch.tensor([[5, 3]]))
    inside = (200 - torch.tensor(PIXEL_MEAN)) / torch.tensor(PIXEL_STD)
    assert torch.equal(normal[0, :, :5, :3], inside[:, None, None].expand(3, 5, 3))
    assert not normal[0, :, 5:].any()
    assert not normal[0, :, :, 3:].any()


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.uint16), np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_rgb_image_is_refused(image):
    with pytest.raises(OptionError, match=r"uint8 of shape \(H, W, 3\)"):
        fit_square(image, 16)


def test_an_image_too_thin_to_have_a_row_is_refused():
    with pytest.raises(OptionError, match="too thin"):
        fit_square(noise((1, 4000)), 64)
