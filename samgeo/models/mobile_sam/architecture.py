"""Sizes of MobileSAM, and how they are derived from the shapes of a checkpoint's tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from samgeo.errors import CheckpointError
from samgeo.models.sam1.architecture import decoder_sizes
from samgeo.models.weights_files import TensorShapes

__all__ = ["MOBILE_SAM", "MobileArchitecture", "TinyVitSizes"]

# The first convolutions have a stride of 4 pixels, and a convolution with a stride of 2 follows each of the first two stages. A
# cell of the embedding has a side of 16 pixels, as in SAM 1. The tensors do not contain the strides.
STEM_STRIDE = 4
STAGES_THAT_HALVE = 2
PATCH = STEM_STRIDE << STAGES_THAT_HALVE


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

    def numbers_a_window(self, side: int) -> int:
        """Return the number of activations of a window of ``side`` pixels in the first stage, where there are most."""
        # A layer has an input and an output, and its implementation may reorder both.
        return (self.widths[0] + 4 * self.hidden[0]) * (side // STEM_STRIDE) ** 2

    @classmethod
    def from_shapes(cls, tensors: TensorShapes) -> TinyVitSizes:
        """Derive the sizes from the shapes of tensors that have the official names.

        Heads and windows follow from the tables of attention biases, which have a row for each head, and a column for each pair
        of distances within a window.

        Raises
        ------
        CheckpointError
            If a tensor that determines a size is missing or has an impossible shape.
        """
        stages = 1 + tensors.count("image_encoder.layers.{}.downsample.conv1.c.weight")
        if stages <= STAGES_THAT_HALVE:
            raise CheckpointError(
                f"the image encoder has {stages} stages; more than {STAGES_THAT_HALVE} are expected for an embedding whose "
                f"cells have a side of {PATCH} pixels."
            )
        first, later = "image_encoder.layers.0.blocks.", [f"image_encoder.layers.{i}.blocks." for i in range(1, stages)]
        tables = [tensors.of(stage + "0.attn.attention_biases", 2) for stage in later]
        found = cls(
            stem=tensors.of("image_encoder.patch_embed.seq.0.c.weight", 4)[0],
            widths=(
                tensors.of("image_encoder.patch_embed.seq.2.c.weight", 4)[0],
                *(tensors.of(stage + "0.attn.norm.weight", 1)[0] for stage in later),
            ),
            depths=(
                tensors.count(first + "{}.conv1.c.weight"),
                *(tensors.count(stage + "{}.attn.norm.weight") for stage in later),
            ),
            hidden=(
                tensors.of(first + "0.conv1.c.weight", 4)[0],
                *(tensors.of(stage + "0.mlp.fc1.weight", 2)[0] for stage in later),
            ),
            heads=(0, *(heads for heads, _ in tables)),
            windows=(0, *(math.isqrt(distances) for _, distances in tables)),
        )
        if 0 in (found.stem, *found.widths, *found.hidden):
            raise CheckpointError(
                f"a layer of the image encoder has no channels: this is not a complete {tensors.kind} checkpoint."
            )
        for stage, ((heads, distances), width) in enumerate(zip(tables, found.widths[1:], strict=True), start=1):
            if not heads or width % heads or not distances or math.isqrt(distances) ** 2 != distances:
                raise CheckpointError(
                    f"attention biases of shape {(heads, distances)} do not fit stage {stage} of the image encoder, which has "
                    f"{width} channels: the number of heads must divide the channels, and the second size must be a square."
                )
        return found


@dataclass(frozen=True, slots=True)
class MobileArchitecture:
    """The sizes of a MobileSAM; those of the prompt encoder and the mask decoder are as in SAM 1, see `Architecture`.

    Attributes
    ----------
    encoder : TinyVitSizes
        The sizes of the image encoder.
    grid : int
        Side of the embedding in cells of 16 pixels. The tensors do not contain it, because no weight of TinyViT depends on the
        size of the image; the published model was trained with 64.
    """

    encoder: TinyVitSizes
    grid: int = 64
    prompt_width: int = 256
    mask_channels: int = 16
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_mlp_width: int = 2048
    decoder_inner_width: int = 128
    mask_tokens: int = 4
    iou_depth: int = 3
    iou_width: int = 256

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels."""
        return self.grid * PATCH

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, tuple[int, ...]], kind: str = "MobileSAM") -> MobileArchitecture:
        """Derive the sizes from the shapes of tensors that have the official names.

        Parameters
        ----------
        shapes : mapping of str to tuple of int
            Names as in the official checkpoints.
        kind : str, default "MobileSAM"
            Kind of the model, for messages.

        Raises
        ------
        CheckpointError
            If a tensor that determines a size is missing or has an impossible shape.
        """
        tensors = TensorShapes(shapes, kind)
        return cls(TinyVitSizes.from_shapes(tensors), **decoder_sizes(tensors, {}))


MOBILE_SAM = MobileArchitecture(
    TinyVitSizes(
        stem=32,
        widths=(64, 128, 160, 320),
        depths=(2, 2, 6, 2),
        hidden=(256, 512, 640, 1280),
        heads=(0, 4, 5, 10),
        windows=(0, 7, 14, 7),
    )
)
