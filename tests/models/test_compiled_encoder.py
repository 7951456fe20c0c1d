"""The compiled blocks of the image encoder against the operations of torch that they stand for."""

from dataclasses import fields

import pytest
import torch
from compiled_parity import by_torch, needs_library, same
from torch.nn import functional

from samgeo.models.compiled import encoder_blocks
from samgeo.models.tiny import load_tiny
from samgeo.models.tiny.encoder import ImageEncoder, _InvertedResidual, _SameConv
from samgeo.models.tiny.layers import ConvolutionBlock, DepthwiseResidual

pytestmark = pytest.mark.usefixtures("one_thread_without_gradients")

# Inputs, outputs, stride and expansion of blocks of MobileNetV2: without and with a residual, and with half a panel of outputs.
INVERTED = [(32, 16, 1, 1), (16, 24, 2, 6), (24, 24, 1, 6), (24, 32, 2, 6), (64, 96, 1, 6), (96, 160, 2, 6), (160, 160, 1, 6)]
REFINING = [(DepthwiseResidual, channels) for channels in (128, 64, 32)] + [
    (ConvolutionBlock, channels) for channels in (128, 64, 32)
]


def with_random_weights(module, random):
    """The module with random parameters, which keep the size of the numbers, and none of which is zero."""
    for name, parameter in module.named_parameters():
        inputs = parameter[0].numel() if parameter.ndim > 1 else 2
        parameter.copy_(random(*parameter.shape) / inputs**0.5 + (name == "norm.weight"))
    return module


def by_functions(monkeypatch, name, work):
    """What a function returns that must call the function of encoder_blocks with this name."""
    calls, function = [], getattr(encoder_blocks, name)
    with monkeypatch.context() as patched:
        patched.setattr(encoder_blocks, name, lambda *given, **options: calls.append(name) or function(*given, **options))
        result = work()
    assert calls
    return result


def has_the_same_bits_in_any_company(work, pixels):
    """Whether the result for an image depends neither on the batch nor on the number of threads, which may share an image."""
    whole = work(pixels)
    alone = [work(image[None]) for image in pixels]
    results = [torch.cat(alone)]
    for threads in (2, 5):
        torch.set_num_threads(threads)
        results += [work(pixels), torch.cat([work(image[None]) for image in pixels])]
    torch.set_num_threads(1)
    return all(torch.equal(result, whole) for result in results)


@needs_library
@pytest.mark.parametrize(("height", "width"), [(16, 16), (13, 11), (33, 66), (8, 130)])
@pytest.mark.parametrize("sizes", INVERTED)
def test_inverted_residual_blocks_are_those_of_torch(sizes, height, width, random, monkeypatch):
    block = with_random_weights(_InvertedResidual(*sizes), random)
    pixels = 3 * random(3, height, width, sizes[0])  # many hidden channels are cut off at 6
    result = by_functions(monkeypatch, "invert", lambda: block(pixels))
    assert same(result, by_torch(monkeypatch, lambda: block(pixels)))
    assert has_the_same_bits_in_any_company(block, pixels)


@needs_library
@pytest.mark.parametrize(("height", "width"), [(32, 32), (13, 8), (1, 4), (5, 100)])
@pytest.mark.parametrize(("kind", "channels"), REFINING)
def test_refining_blocks_are_those_of_torch(kind, channels, height, width, random, monkeypatch):
    block = with_random_weights(kind(channels), random)
    pixels = random(3, height, width, channels)
    result = by_functions(monkeypatch, "refine", lambda: block(pixels))
    expected = by_torch(monkeypatch, lambda: block(pixels))
    assert same(result - pixels, expected - pixels)
    assert has_the_same_bits_in_any_company(block, pixels)


@needs_library
@pytest.mark.parametrize(("height", "width"), [(64, 64), (11, 9), (8, 70)])
def test_the_first_convolution_is_that_of_torch(height, width, random):
    layer = with_random_weights(_SameConv(3, 32, 3, 2), random)
    images = 3 * random(3, height, width, 3)
    expected = functional.relu6(layer(images.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
    assert encoder_blocks.fits_stem(images, layer)
    assert same(encoder_blocks.stem(images, layer), expected)
    assert has_the_same_bits_in_any_company(lambda some: encoder_blocks.stem(some, layer), images)


@needs_library
def test_the_features_are_those_of_torch(random, monkeypatch):
    encoder = load_tiny(device="cpu", dtype=torch.float32).network.encoder
    images = functional.interpolate(128 + 60 * random(2, 3, 24, 24), size=(512, 512), mode="bicubic").clamp(0, 255)
    images = images.permute(0, 2, 3, 1).contiguous()
    features = encoder(images)
    expected = by_torch(monkeypatch, lambda: encoder(images))
    for field in fields(features):
        one, other = getattr(features, field.name), getattr(expected, field.name)
        assert (one - other).abs().max() < (1e-4 if field.name.startswith("stride") else 2e-5)


@needs_library
def test_what_the_functions_are_not_compiled_for_is_left_to_torch(random, monkeypatch):
    inverted, refining, layer = _InvertedResidual(16, 24, 2, 6), ConvolutionBlock(32), _SameConv(3, 32, 3, 2)
    narrow = _InvertedResidual(16, 20, 1, 6)
    others = [ConvolutionBlock(48), ConvolutionBlock(32, kernel=7), ConvolutionBlock(32, times=2)]

    def fits_inverted(pixels, block=inverted):
        return encoder_blocks.fits_inverted(pixels, block.expand, block.depthwise, block.project)

    def fits_refining(pixels, block=refining):
        return encoder_blocks.fits_refining(pixels, block.depthwise, block.norm, block.widen, block.narrow)

    def fits_stem(images):
        return encoder_blocks.fits_stem(images, layer)

    for fits, pixels in (
        (fits_inverted, random(1, 8, 8, 16)),
        (fits_refining, random(1, 8, 8, 32)),
        (fits_stem, random(1, 8, 8, 3)),
    ):
        assert fits(pixels)
        assert not fits(pixels.double())
        assert not fits(pixels.transpose(1, 2))
        assert not fits(pixels[:, :, :6].contiguous())
        with torch.inference_mode(mode=False):
            assert not fits(pixels)  # a gradient may be wanted
        assert not by_torch(monkeypatch, lambda fits=fits, pixels=pixels: fits(pixels))
    assert not fits_inverted(random(1, 8, 8, 16), narrow)
    assert narrow(random(1, 8, 8, 16)).shape == (1, 8, 8, 20)
    for block in others:
        pixels = random(1, 8, 8, block.narrow.out_features)
        assert not fits_refining(pixels, block)
        assert block(pixels).shape == pixels.shape
    with torch.inference_mode(mode=False):
        pixels = torch.ones(1, 8, 8, 16, requires_grad=True)
        _InvertedResidual(16, 24, 2, 6)(pixels).sum().backward()
        assert pixels.grad is not None


@needs_library
def test_an_encoder_of_other_sizes_is_computed_by_torch_where_the_functions_do_not_fit(random):
    encoder = ImageEncoder((48, 32, 16), (8, 8, 8), attend=(1, 1), deepen=(1, 1, 1), heads=4)
    assert encoder(128 + random(1, 64, 64, 3)).stride4.shape == (1, 16, 16, 16)
