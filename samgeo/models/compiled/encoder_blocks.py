"""The compiled blocks of the image encoder: the first convolution, inverted residual blocks, and those that refine the pyramid.

``fits_stem``, ``fits_inverted`` and ``fits_refining`` tell whether the functions can take pixels; of torch: the ``forward`` of
the modules in `samgeo.models.tiny.encoder` and `samgeo.models.tiny.layers`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from samgeo.models.compiled.library import call, over_prompts, usable

__all__ = ["fits_inverted", "fits_refining", "fits_stem", "invert", "refine", "stem"]

# The sizes of the refining blocks for which encoder_blocks.cpp is compiled. All blocks of the bundled network are there: for
# windows of 512 pixels each takes less time than with torch. The first of MobileNetV2, whose hidden pixels exceed the cache,
# take a fifth to a half of it, and those at stride 32, which are little more than products with large weights, four fifths.
REFINED = (128, 64, 32)
TIMES, KERNEL = 4, 5

Layer = nn.Linear | nn.Conv2d


def fits_stem(images: Tensor, layer: nn.Conv2d) -> bool:
    """Return whether `stem` can take images."""
    return (
        layer.in_channels == 3
        and layer.out_channels % 16 == 0
        and min(images.shape[1:3]) >= 8
        and usable(images, *_parameters(layer))
    )


def stem(images: Tensor, layer: nn.Conv2d) -> Tensor:
    """Convolve images and cut the results off at 0 and 6.

    Parameters
    ----------
    images : tensor, shape (B, H, W, 3)
        The images.
    layer : torch.nn.Conv2d
        Kernel of 3 x 3 with a stride of 2, and zeros only past the right and the lower edge.

    Returns
    -------
    tensor, shape (B, H / 2, W / 2, C)
    """
    batch, height, width, _ = images.shape
    result = torch.empty(batch, height // 2, width // 2, layer.out_channels)

    def convolve(part: slice, first: int, end: int) -> None:
        sizes = (len(images[part]), height, width, layer.out_channels, first, end)
        call("stem", *sizes, images[part], *_parameters(layer), result[part])

    _over_rows(convolve, batch, height // 2)
    return result


def fits_inverted(pixels: Tensor, expand: nn.Conv2d | None, depthwise: nn.Conv2d, project: nn.Conv2d) -> bool:
    """Return whether `invert` can take pixels."""
    layers = (depthwise, project) if expand is None else (expand, depthwise, project)
    return (
        depthwise.in_channels % 16 == 0
        and project.out_channels % 8 == 0
        and min(pixels.shape[1:3]) >= 4 * depthwise.stride[0]
        and usable(pixels, *(parameter for layer in layers for parameter in _parameters(layer)))
    )


def invert(pixels: Tensor, expand: nn.Conv2d | None, depthwise: nn.Conv2d, project: nn.Conv2d, *, residual: bool) -> Tensor:
    """Widen pixels, filter each channel and narrow them, and cut the first two results off at 0 and 6.

    Parameters
    ----------
    pixels : tensor, shape (B, H, W, C)
        The pixels.
    expand, project : torch.nn.Conv2d
        Of 1 x 1. Without the first the pixels are wide.
    depthwise : torch.nn.Conv2d
        Kernel of 3 x 3. With a stride of 1 there are zeros past all edges, with a stride of 2 only past the right and the lower
        one.
    residual : bool
        Whether the pixels are added to the result.

    Returns
    -------
    tensor, shape (B, H / stride, W / stride, outputs)
    """
    batch, height, width, inputs = pixels.shape
    stride, hidden, outputs = int(depthwise.stride[0]), depthwise.in_channels, project.out_channels
    result = torch.empty(batch, height // stride, width // stride, outputs)
    parameters = [parameter for layer in (expand or project, depthwise, project) for parameter in _parameters(layer)]
    options = (inputs, hidden, outputs, stride, int(residual), int(expand is not None))

    def work(part: slice, first: int, end: int) -> None:
        call(
            "inverted_residual", len(pixels[part]), height, width, *options, first, end, pixels[part], *parameters, result[part]
        )

    _over_rows(work, batch, height // stride)
    return result


def fits_refining(pixels: Tensor, depthwise: nn.Conv2d, norm: nn.LayerNorm, widen: nn.Linear | None, narrow: nn.Linear) -> bool:
    """Return whether `refine` can take pixels."""
    layers = (depthwise, norm, narrow) if widen is None else (depthwise, norm, widen, narrow)
    return (
        pixels.shape[3] in REFINED
        and pixels.shape[2] % 4 == 0
        and depthwise.kernel_size[0] == KERNEL
        and (widen is None or widen.out_features == TIMES * pixels.shape[3])
        and usable(pixels, *(parameter for layer in layers for parameter in _parameters(layer)))
    )


def refine(pixels: Tensor, depthwise: nn.Conv2d, norm: nn.LayerNorm, widen: nn.Linear | None, narrow: nn.Linear) -> Tensor:
    """Return ``pixels + narrow(gelu(widen(norm(depthwise(pixels)))))``, or ``pixels + narrow(relu(norm(depthwise(pixels))))``.

    Parameters
    ----------
    pixels : tensor, shape (B, H, W, C)
        The pixels.
    depthwise, norm, widen, narrow : torch.nn.Module
        The layers; the second formula is that without ``widen``.

    Returns
    -------
    tensor, shape (B, H, W, C)
    """
    batch, height, width, channels = pixels.shape
    result = torch.empty_like(pixels)
    layers = [_parameters(layer) if layer is not None else None for layer in (depthwise, norm, widen, narrow)]
    addresses = torch.tensor([address for pair in layers for address in (map(Tensor.data_ptr, pair) if pair else (0, 0))])

    def work(part: slice, first: int, end: int) -> None:
        sizes = (len(pixels[part]), height, width, channels, first, end)
        call("refine_pixels", *sizes, pixels[part], float(norm.eps), addresses, result[part])

    _over_rows(work, batch, height)
    return result


def _parameters(layer: Layer | nn.LayerNorm) -> tuple[Tensor, Tensor]:
    return layer.weight, cast("Tensor", layer.bias)  # no layer of the encoder is without a bias


def _over_rows(work: Callable[[slice, int, int], None], images: int, rows: int) -> None:
    """Call ``work`` for parts of a batch, one for each thread that torch may use.

    Parameters
    ----------
    work : callable
        Takes a slice of the images, and the first and the end of the rows of their results.
    images, rows : int
        Number of images, and of rows of the result of each. Where there are fewer images than threads, threads share an image.
    """
    pieces = min(max(torch.get_num_threads() // max(images, 1), 1), rows)
    if pieces == 1:
        over_prompts(lambda part: work(part, 0, rows), images)
        return

    def some(part: slice) -> None:
        for image, piece in (divmod(number, pieces) for number in range(part.start, part.stop)):
            work(slice(image, image + 1), rows * piece // pieces, rows * (piece + 1) // pieces)

    over_prompts(some, images * pieces)
