"""Sizes of MobileSAM, and how they are derived from the shapes of a checkpoint's tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from samgeo.errors import CheckpointError
from samgeo.models.sam1.architecture import Architecture, decoder_sizes
from samgeo.models.weights_files import TensorShapes

__all__ = ["GRID", "MOBILE_SAM", "PATCH", "TinyVitSizes", "decoder_architecture"]

Shapes = Mapping[str, tuple[int, ...]]

# Side in pixels of a cell of the embedding, as of SAM 1. The first convolutions have a stride of 4, and the first two stages
# one of 2 each; the tensors do not contain the strides.
PATCH = 16
STAGES_THAT_HALVE = 2

# Side of the embedding in cells. The tensors do not contain it either: nothing in TinyViT depends on the size of the image.
GRID = 64


@dataclass(frozen=True, slots=True)
class TinyVitSizes:
    """The sizes of a TinyViT (arXiv:2207.10666), with one number for each stage in a tuple.

    Attributes
    ----------
    stem : int
        Channels after the first convolution.
    widths, depths : tuple of int
        Channels and number of blocks.
    hidden : tuple of int
        Channels inside a block: of the expansion of a convolution block, and of the MLP of an attention block.
    heads, windows : tuple of int
        Number of attention heads, and side of a window in cells; 0 for the first stage, which consists of convolutions.
    """

    stem: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    hidden: tuple[int, ...]
    heads: tuple[int, ...]
    windows: tuple[int, ...]

    @property
    def strides(self) -> tuple[int, ...]:
        """Stride of the convolution after each stage but the last."""
        return tuple(2 if stage < STAGES_THAT_HALVE else 1 for stage in range(len(self.widths) - 1))

    @classmethod
    def from_shapes(cls, shapes: Shapes) -> TinyVitSizes:
        """Derive the sizes from the shapes of tensors that have the official names.

        Heads and windows follow from the tables of attention biases, which have a row for each head, and a column for each pair
        of distances within a window.

        Raises
        ------
        CheckpointError
            If a tensor that determines a size is missing or has an impossible shape.
        """
        given = TensorShapes(shapes, "MobileSAM")
        later = 1 + given.count("image_encoder.layers.{}.downsample.conv1.c.weight")
        first, stages = "image_encoder.layers.0.blocks.", [f"image_encoder.layers.{i}.blocks." for i in range(1, later)]
        if len(stages) < STAGES_THAT_HALVE:
            raise CheckpointError(
                f"the image encoder has {1 + len(stages)} stages; more than {STAGES_THAT_HALVE} are expected for an embedding "
                f"at a stride of {PATCH} pixels."
            )
        tables = [given.of(stage + "0.attn.attention_biases", 2) for stage in stages]
        widths = (
            given.of("image_encoder.patch_embed.seq.2.c.weight", 4)[0],
            *(given.of(stage + "0.attn.norm.weight", 1)[0] for stage in stages),
        )
        for stage, ((heads, distances), width) in enumerate(zip(tables, widths[1:], strict=True), start=1):
            if not heads or width % heads or not distances or math.isqrt(distances) ** 2 != distances:
                raise CheckpointError(
                    f"attention biases of shape {(heads, distances)} do not fit stage {stage} of the image encoder, which has "
                    f"{width} channels: the number of heads must divide the channels, and the second size must be a square."
                )
        found = cls(
            stem=given.of("image_encoder.patch_embed.seq.0.c.weight", 4)[0],
            widths=widths,
            depths=(
                given.count(first + "{}.conv1.c.weight"),
                *(given.count(stage + "{}.attn.norm.weight") for stage in stages),
            ),
            hidden=(
                given.of(first + "0.conv1.c.weight", 4)[0],
                *(given.of(stage + "0.mlp.fc1.weight", 2)[0] for stage in stages),
            ),
            heads=(0, *(heads for heads, _ in tables)),
            windows=(0, *(math.isqrt(distances) for _, distances in tables)),
        )
        if 0 in (found.stem, *found.widths, *found.hidden):
            raise CheckpointError("a layer of the image encoder has no channels: this is not a complete MobileSAM checkpoint.")
        return found


def decoder_architecture(shapes: Shapes, sizes: TinyVitSizes, grid: int = GRID) -> Architecture:
    """Derive the sizes of the prompt encoder and the mask decoder, which are those of SAM 1, from the shapes of their tensors.

    The sizes of the image encoder in the result are those of the last stage of a TinyViT. The tensors do not contain the number
    of heads of the decoder; it is 8.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Names as in the official checkpoints.
    sizes : TinyVitSizes
        The sizes of the image encoder.
    grid : int, default 64
        Side of the embedding in cells.

    Raises
    ------
    CheckpointError
        If a tensor that determines a size is missing or has an impossible shape.
    """
    return Architecture(
        width=sizes.widths[-1],
        depth=sum(sizes.depths),
        heads=sizes.heads[-1],
        mlp_width=sizes.hidden[-1],
        global_blocks=(),
        window=sizes.windows[-1],
        patch=PATCH,
        grid=grid,
        relative_positions=False,
        **decoder_sizes(TensorShapes(shapes, "MobileSAM"), {}),
    )


MOBILE_SAM = TinyVitSizes(
    stem=32,
    widths=(64, 128, 160, 320),
    depths=(2, 2, 6, 2),
    hidden=(256, 512, 640, 1280),
    heads=(0, 4, 5, 10),
    windows=(0, 7, 14, 7),
)
