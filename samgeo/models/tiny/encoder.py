"""The image encoder of the bundled network: a MobileNetV2 trunk and a feature pyramid at strides 16, 8 and 4."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from torch import Tensor, nn
from torch.nn import functional

from samgeo.models.compiled import encoder_blocks
from samgeo.models.tiny.layers import AttentionBlock, ConvolutionBlock, DepthwiseResidual

__all__ = ["Features", "ImageEncoder"]

# Expansion, channels, repeats and first stride of each group of blocks: table 2 of arXiv:1801.04381.
_GROUPS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
# The last layer at each of the strides 4, 8, 16 and 32, and its channels.
_TAPS = {3: 24, 6: 32, 13: 96, 17: 320}


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Embeddings of ``B`` windows of side ``S``; ``features[i]`` is the embedding of one window.

    Attributes
    ----------
    stride16, stride8, stride4 : tensor, shape (B, S / stride, S / stride, C)
        The feature pyramid.
    similar16, similar8, similar4 : tensor, shape (B, S / stride, S / stride, C)
        Unit vectors. The dot product of two of them measures how similar two pixels are.
    """

    stride16: Tensor
    stride8: Tensor
    stride4: Tensor
    similar16: Tensor
    similar8: Tensor
    similar4: Tensor

    def __len__(self) -> int:
        return int(self.stride16.shape[0])

    def __getitem__(self, index: int) -> Features:
        if not -len(self) <= index < len(self):
            raise IndexError(f"window {index} of an embedding of {len(self)}")
        index %= len(self)
        return Features(*(getattr(self, field.name)[index : index + 1] for field in fields(self)))

    def __iter__(self) -> Iterator[Features]:
        return (self[index] for index in range(len(self)))


class _SameConv(nn.Conv2d):
    """A 3 x 3 convolution of stride 2 that pads only on the right and below, as in the first training of the trunk.

    The kernel gets a row and a column of zeros before the first, with which the padding on all sides that a convolution offers
    gives the same sums: a padded copy of the pixels takes several times as long as the convolution.
    """

    def forward(self, pixels: Tensor) -> Tensor:
        weight = functional.pad(self.weight, (1, 0, 1, 0))
        return functional.conv2d(pixels, weight, self.bias, stride=2, padding=1, groups=self.groups)


class _InvertedResidual(nn.Module):
    """The block of MobileNetV2 with folded batch normalisation over ``(B, H, W, C)``: widen, filter each channel, narrow."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = nn.Conv2d(inputs, hidden, 1) if expansion > 1 else None
        self.depthwise = (
            _SameConv(hidden, hidden, 3, 2, groups=hidden)
            if stride == 2
            else nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        )
        self.project = nn.Conv2d(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, pixels: Tensor) -> Tensor:
        layers = (self.expand, self.depthwise, self.project)
        if encoder_blocks.fits_inverted(pixels, *layers):
            return encoder_blocks.invert(pixels, *layers, residual=self.residual)
        wide = pixels if self.expand is None else functional.relu6(_mixed(self.expand, pixels), inplace=True)
        filtered = functional.relu6(_filtered(self.depthwise, wide), inplace=True)
        narrow = _mixed(self.project, filtered)
        return pixels + narrow if self.residual else narrow


def _mixed(convolution: nn.Conv2d, pixels: Tensor) -> Tensor:
    """Apply a 1 x 1 convolution to ``(B, H, W, C)`` as a matrix product, for which torch has faster code with one thread."""
    return functional.linear(pixels, convolution.weight.flatten(1), convolution.bias)


def _filtered(convolution: nn.Conv2d, pixels: Tensor) -> Tensor:
    """Apply a convolution to ``(B, H, W, C)``; the permutations make a channels-last tensor without a copy."""
    filtered: Tensor = convolution(pixels.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return filtered


class _Trunk(nn.Module):
    """MobileNetV2 1.0 without its classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _SameConv(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        channels = 32
        for expansion, outputs, repeats, stride in _GROUPS:
            for repeat in range(repeats):
                blocks.append(_InvertedResidual(channels, outputs, stride if repeat == 0 else 1, expansion))
                channels = outputs
        self.blocks = nn.ModuleList(blocks)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the layers ``(B, H, W, C)`` at strides 4, 8, 16 and 32 of images ``(B, S, S, 3)``."""
        if encoder_blocks.fits_stem(images, self.stem):
            pixels = encoder_blocks.stem(images, self.stem)
        else:
            pixels = functional.relu6(_filtered(self.stem, images), inplace=True)
        taps = []
        for layer, block in enumerate(self.blocks, start=1):
            pixels = block(pixels)
            if layer in _TAPS:
                taps.append(pixels)
        return taps


class ImageEncoder(nn.Module):
    """Encoder from images to `Features`.

    Parameters
    ----------
    channels : (int, int, int)
        Channels of the pyramid at strides 16, 8 and 4.
    similarity : (int, int, int)
        Channels of the unit vectors at strides 16, 8 and 4.
    attend : (int, int)
        Number of attention blocks at strides 32 and 16.
    deepen : (int, int, int)
        Number of convolution blocks at strides 16, 8 and 4, in addition to the layer that each level always has.
    heads : int
        Heads of the attention.
    """

    def __init__(
        self,
        channels: tuple[int, int, int],
        similarity: tuple[int, int, int],
        *,
        attend: tuple[int, int],
        deepen: tuple[int, int, int],
        heads: int,
    ) -> None:
        super().__init__()
        c4, c8, c16, c32 = _TAPS.values()
        d16, d8, d4 = channels
        self.trunk = _Trunk()
        self.lateral32, self.lateral16 = nn.Linear(c32, d16), nn.Linear(c16, d16)
        self.lateral8, self.lateral4 = nn.Linear(c8, d8), nn.Linear(c4, d4)
        self.down8, self.down4 = nn.Linear(d16, d8), nn.Linear(d8, d4)
        self.context = nn.Sequential(*(AttentionBlock(c32, heads) for _ in range(attend[0])))
        deeper16, deeper8, deeper4 = (
            [ConvolutionBlock(width) for _ in range(blocks)] for width, blocks in zip(channels, deepen, strict=True)
        )
        self.refine16 = _refining(d16, 2, [*(AttentionBlock(d16, heads) for _ in range(attend[1])), *deeper16])
        self.refine8, self.refine4 = _refining(d8, 1, deeper8), _refining(d4, 1, deeper4)
        self.similar = nn.ModuleList(nn.Linear(width, unit) for width, unit in zip(channels, similarity, strict=True))

    def forward(self, images: Tensor) -> Features:
        """Encode images ``(B, S, S, 3)`` of 0 to 255, padded with zeros; ``S`` must be a multiple of 32."""
        f4, f8, f16, f32 = self.trunk(images / 127.5 - 1)
        at16 = self.refine16(self.lateral16(f16) + _double(self.lateral32(self.context(f32))))
        at8 = self.refine8(self.lateral8(f8) + _double(self.down8(at16)))
        at4 = self.refine4(self.lateral4(f4) + _double(self.down4(at8)))
        pyramid = [at16, at8, at4]
        # The vectors are normalised in float32, as in training, whatever the type of the rest of the network.
        unit = [functional.normalize(layer(f).float(), dim=-1) for layer, f in zip(self.similar, pyramid, strict=True)]
        return Features(*(layer.contiguous() for layer in pyramid), *unit)


def _refining(channels: int, layers: int, deeper: Iterable[nn.Module]) -> nn.Sequential:
    """Return the layers that refine a level of the pyramid.

    The names of the layers that every network has do not depend on how many layers are added.
    """
    residual = {str(number): DepthwiseResidual(channels) for number in range(layers)}
    added = {"deeper": nn.Sequential(*deeper)}
    return nn.Sequential(OrderedDict[str, nn.Module]({**residual, **added, str(layers): nn.LayerNorm(channels)}))


def _double(pixels: Tensor) -> Tensor:
    upsampled = functional.interpolate(pixels.permute(0, 3, 1, 2), scale_factor=2.0, mode="bilinear", align_corners=False)
    return upsampled.permute(0, 2, 3, 1)
