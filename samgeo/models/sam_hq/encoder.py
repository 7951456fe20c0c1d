"""SAM 1's image encoder, which also returns the early features that SAM-HQ uses."""

from __future__ import annotations

from torch import Tensor

from samgeo.models.sam1.encoder import ImageEncoder

__all__ = ["EarlyImageEncoder"]


class EarlyImageEncoder(ImageEncoder):
    """SAM 1's image encoder with at least one block that attends to the whole image."""

    def with_early(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images, and return early features too.

        Parameters
        ----------
        images : tensor, shape (B, 3, S, S)
            Normalised; the padding is zero.

        Returns
        -------
        embeddings : tensor, shape (B, C, g, g)
        early : tensor, shape (B, width of the encoder, g, g)
            The output of the first block that attends to the whole image.
        """
        x, early = images, []
        for block, output in zip(self.blocks, self.outputs(images), strict=True):
            x = output
            if not block.window:
                early.append(x)
        return self.neck(x.permute(0, 3, 1, 2)), early[0].permute(0, 3, 1, 2)
