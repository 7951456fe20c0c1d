"""Adapters of SAM's image encoder: small layers that are trained while the encoder stays as it is.

Their last layers are initialised with zeros, so that they change nothing until they are trained.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from samgeo.errors import OptionError

__all__ = ["ADAPTER_KINDS", "BOTTLENECKS", "PATCHES", "Bottleneck", "PatchAdapter", "adapter_width"]

PATCHES, BOTTLENECKS = "patches", "bottlenecks"
ADAPTER_KINDS = (PATCHES, BOTTLENECKS)

# Share of the spectrum of an image, in its middle, that counts as low frequencies (SAM-Adapter, arXiv:2304.09148).
LOW_FREQUENCIES = 0.25
# Channels of the encoder for each channel of an adapter, by its kind.
REDUCTION = {PATCHES: 32, BOTTLENECKS: 4}


def adapter_width(kind: str, width: int) -> int:
    """Return the number of channels inside the adapters of a kind, for an image encoder of a width.

    Raises
    ------
    OptionError
        If there is no such kind of adapters.
    """
    if kind not in ADAPTER_KINDS:
        raise OptionError(f"there are no adapters {kind!r}; give one of {', '.join(ADAPTER_KINDS)}.")
    return max(width // REDUCTION[kind], 1)


class Bottleneck(nn.Module):
    """Two linear layers through a few channels (Medical SAM Adapter, arXiv:2304.12620).

    Parameters
    ----------
    width, hidden : int
        Channels of the input, and channels between the layers.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, hidden)
        self.up = nn.Linear(hidden, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        y: Tensor = self.up(functional.gelu(self.down(x)))
        return y


class PatchAdapter(nn.Module):
    """Features of the patches and of the high frequencies of an image, for each block (SAM-Adapter, arXiv:2304.09148).

    A perceptron of each block computes what is added to the input of the block. Its last layer is the same for all blocks.

    Parameters
    ----------
    width, hidden : int
        Channels of the image encoder, and channels of the adapter.
    patch : int
        Side of a patch in pixels.
    depth : int
        Number of blocks.
    """

    def __init__(self, width: int, hidden: int, patch: int, depth: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(width, hidden)
        self.frequencies = nn.Conv2d(3, hidden, patch, stride=patch)
        self.blocks = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(depth))
        self.shared = nn.Linear(hidden, width)
        nn.init.zeros_(self.shared.weight)
        nn.init.zeros_(self.shared.bias)

    def features(self, images: Tensor, patches: Tensor) -> Tensor:
        """Return what the perceptrons of all blocks get.

        Parameters
        ----------
        images : tensor, shape (B, 3, S, S)
            Normalised images.
        patches : tensor, shape (B, g, g, C)
            The embedded patches, without positions.

        Returns
        -------
        tensor, shape (B, g, g, hidden)
        """
        fine: Tensor = self.frequencies(high_frequencies(images).to(patches.dtype))
        embedded: Tensor = self.embedding(patches)
        return embedded + fine.permute(0, 2, 3, 1)

    def forward(self, features: Tensor, block: int) -> Tensor:
        """Return what is added to the input of a block, shape (B, g, g, C)."""
        y: Tensor = self.shared(functional.gelu(self.blocks[block](features)))
        return y


def high_frequencies(images: Tensor) -> Tensor:
    """Return images ``(B, 3, S, S)`` without their low frequencies, as absolute values in float32."""
    height, width = images.shape[-2:]
    half = int((height * width * LOW_FREQUENCIES) ** 0.5 // 2)
    spectrum = torch.fft.fftshift(torch.fft.fft2(images.float(), norm="forward"), dim=(-2, -1))
    kept = torch.ones(height, width, device=images.device)
    kept[height // 2 - half : height // 2 + half, width // 2 - half : width // 2 + half] = 0
    restored: Tensor = torch.fft.ifft2(torch.fft.ifftshift(spectrum * kept, dim=(-2, -1)), norm="forward").real.abs()
    return restored
