"""SAM 2's image encoder: the trunk, and the neck that gives its maps one width."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from samgeo.models.sam2.architecture import PATCH, Architecture
from samgeo.models.sam2.trunk import Hiera

__all__ = ["ImageEncoder"]


class ImageEncoder(nn.Module):
    """Encoder from normalised images to three maps.

    Parameters
    ----------
    architecture : Architecture
        The sizes.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.grid = architecture.input_size // PATCH
        self.trunk = Hiera(architecture)
        self.neck = Neck(architecture)

    def positions(self) -> Tensor:
        """Return the positions of the patches of the input, ``(1, S / 4, S / 4, C)``."""
        return self.trunk.positions(self.grid)

    def forward(self, images: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode images.

        Parameters
        ----------
        images : tensor, shape (B, 3, S, S)
            Normalised; the padding is zero.
        positions : tensor, shape (1, S / 4, S / 4, C)
            From ``positions``.

        Returns
        -------
        tuple of tensor, shapes (B, C, S / 16, S / 16), (B, C, S / 8, S / 8) and (B, C, S / 4, S / 4)
        """
        maps: tuple[Tensor, Tensor, Tensor] = self.neck(self.trunk(images, positions))
        return maps


class Neck(nn.Module):
    """A feature pyramid in which only the map at a stride of 16 pixels receives the coarser map, which is then dropped."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.convs = nn.ModuleList(nn.Conv2d(width, a.prompt_width, 1) for width in reversed(a.widths))

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return maps of one width at strides of 16, 8 and 4 pixels for the maps of the trunk."""
        coarsest, features, halves, quarters = (
            conv(one.permute(0, 3, 1, 2)) for conv, one in zip(self.convs, reversed(maps), strict=True)
        )
        return features + functional.interpolate(coarsest, scale_factor=2.0, mode="nearest"), halves, quarters
