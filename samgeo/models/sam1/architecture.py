"""Sizes of a SAM 1 model, and how they are derived from the shapes of a checkpoint's tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from samgeo.errors import CheckpointError
from samgeo.models.sam1.adapters import BOTTLENECKS, PATCHES
from samgeo.models.weights_files import TensorShapes

__all__ = ["VIT_B", "VIT_H", "VIT_L", "Architecture", "DecoderSizes", "decoder_sizes", "divisor"]

# A tensor of each kind of adapters, whose rows are the channels inside an adapter.
ADAPTER_TENSORS = {
    PATCHES: "image_encoder.adapter.embedding.weight",
    BOTTLENECKS: "image_encoder.blocks.0.attn_adapter.down.weight",
}


class DecoderSizes(Protocol):
    """The sizes on which the prompt encoder and the mask decoder depend; `Architecture` describes them."""

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels."""

    @property
    def grid(self) -> int:
        """Side of the image embedding in cells."""

    @property
    def prompt_width(self) -> int:
        """Channels of the embedding, the prompts and the decoder."""

    @property
    def mask_channels(self) -> int:
        """Channels between the convolutions of the mask prompt."""

    @property
    def decoder_depth(self) -> int:
        """Layers of the two-way transformer."""

    @property
    def decoder_heads(self) -> int:
        """Attention heads of the two-way transformer."""

    @property
    def decoder_mlp_width(self) -> int:
        """Hidden units of the MLP in a layer of the two-way transformer."""

    @property
    def decoder_inner_width(self) -> int:
        """Width of the attention between tokens and image."""

    @property
    def mask_tokens(self) -> int:
        """Number of mask tokens."""

    @property
    def iou_depth(self) -> int:
        """Layers of the IoU head."""

    @property
    def iou_width(self) -> int:
        """Hidden units of the IoU head."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """The sizes of a SAM 1 model.

    Attributes
    ----------
    width, depth, heads, mlp_width : int
        Sizes of the vision transformer in the image encoder.
    global_blocks : tuple of int
        Indices of the blocks that attend to the whole grid; the others attend within windows.
    window : int
        Side of a window in patches; 0 when every block is global.
    patch, grid : int
        Side of a patch in pixels, and of the grid in patches.
    relative_positions, qkv_bias : bool
        Whether attention has decomposed relative positions, and whether its projections have a bias.
    prompt_width : int
        Channels of the embedding, the prompts and the decoder.
    mask_channels : int
        Channels between the convolutions of the mask prompt.
    decoder_depth, decoder_heads, decoder_mlp_width, decoder_inner_width : int
        Sizes of the two-way transformer. The inner width is that of the attention between tokens and image.
    mask_tokens : int
        Number of mask tokens: one for the single mask and one for each candidate of an ambiguous prompt.
    iou_depth, iou_width : int
        Layers and hidden units of the IoU head.
    adapter : str, default ""
        Kind of the adapters in the image encoder, which training with a preset adds: "patches" or "bottlenecks"; see
        `samgeo.models.sam1.adapters`. Published models have none.
    adapter_width : int, default 0
        Channels inside an adapter; 0 without adapters.
    """

    width: int
    depth: int
    heads: int
    mlp_width: int
    global_blocks: tuple[int, ...]
    window: int = 14
    patch: int = 16
    grid: int = 64
    relative_positions: bool = True
    qkv_bias: bool = True
    prompt_width: int = 256
    mask_channels: int = 16
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_mlp_width: int = 2048
    decoder_inner_width: int = 128
    mask_tokens: int = 4
    iou_depth: int = 3
    iou_width: int = 256
    adapter: str = ""
    adapter_width: int = 0

    @property
    def input_size(self) -> int:
        """Side of the square input in pixels."""
        return self.grid * self.patch

    def to_json(self) -> str:
        """Return the sizes as a JSON object, which can be used as the hints of ``from_shapes``."""
        return json.dumps(asdict(self))

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, tuple[int, ...]], hints: Mapping[str, Any] | None = None) -> Architecture:
        """Derive the sizes from the shapes of tensors that have the official names.

        The number of heads follows from the width of the relative positions, and the global blocks from their length. Sizes
        that cannot be derived are taken from ``hints``: the heads of the decoder (8 by default), and, for a model without
        relative positions, ``heads``, ``window`` and ``global_blocks``.

        Parameters
        ----------
        shapes : mapping of str to tuple of int
            Names as in the official checkpoints.
        hints : mapping, optional
            Sizes by the name of the attribute.

        Raises
        ------
        CheckpointError
            If a tensor that determines a size is missing or has an impossible shape.
        """
        hints = hints or {}
        tensors = TensorShapes(shapes, "SAM 1")
        depth = tensors.count("image_encoder.blocks.{}.norm1.weight")
        width, _, patch, _ = tensors.of("image_encoder.patch_embed.proj.weight", 4)
        _, grid, _, _ = tensors.of("image_encoder.pos_embed", 4)
        return cls(
            width=width,
            depth=depth,
            mlp_width=tensors.of("image_encoder.blocks.0.mlp.lin1.weight", 2)[0],
            patch=patch,
            grid=grid,
            **_attention(tensors, width, depth, grid, hints),
            qkv_bias="image_encoder.blocks.0.attn.qkv.bias" in shapes,
            **_adapter(tensors),
            **decoder_sizes(tensors, hints),
        )


def _adapter(tensors: TensorShapes) -> dict[str, Any]:
    for kind, name in ADAPTER_TENSORS.items():
        if name in tensors:
            return {"adapter": kind, "adapter_width": tensors.of(name, 2)[0]}
    return {}


def decoder_sizes(tensors: TensorShapes, hints: Mapping[str, Any]) -> dict[str, int]:
    """Derive the sizes of the prompt encoder and the mask decoder from tensors that have the official names of SAM 1.

    Parameters
    ----------
    tensors : TensorShapes
        Shapes of the tensors.
    hints : mapping
        ``decoder_heads``, which cannot be derived; 8 if it is absent.

    Returns
    -------
    dict of str to int
        By the name of the attribute of `DecoderSizes`, without ``input_size`` and ``grid``.

    Raises
    ------
    CheckpointError
        If a tensor that determines a size is missing or has an impossible shape.
    """
    layer = "mask_decoder.transformer.layers.0."
    inner, prompt_width = tensors.of(layer + "cross_attn_token_to_image.q_proj.weight", 2)
    heads = _whole(hints, "decoder_heads") if "decoder_heads" in hints else 8
    return {
        "prompt_width": prompt_width,
        "mask_channels": tensors.of("prompt_encoder.mask_downscaling.3.weight", 4)[0],
        "decoder_depth": tensors.count("mask_decoder.transformer.layers.{}.norm1.weight"),
        "decoder_heads": divisor(heads, inner, "the decoder"),
        "decoder_mlp_width": tensors.of(layer + "mlp.lin1.weight", 2)[0],
        "decoder_inner_width": inner,
        "mask_tokens": tensors.of("mask_decoder.mask_tokens.weight", 2)[0],
        "iou_depth": tensors.count("mask_decoder.iou_prediction_head.layers.{}.weight"),
        "iou_width": tensors.of("mask_decoder.iou_prediction_head.layers.0.weight", 2)[0],
    }


def _attention(tensors: TensorShapes, width: int, depth: int, grid: int, hints: Mapping[str, Any]) -> dict[str, Any]:
    name = "image_encoder.blocks.{}.attn.rel_pos_h"
    if name.format(0) not in tensors:
        missing = [key for key in ("heads", "window", "global_blocks") if key not in hints]
        if missing:
            raise CheckpointError(
                f"the image encoder has no relative positions, so its tensors do not define {', '.join(missing)}; "
                "keep the config.json that was published with the weights beside them."
            )
        return {
            "heads": divisor(_whole(hints, "heads"), width, "the image encoder"),
            "window": _whole(hints, "window"),
            "global_blocks": tuple(i for i in range(depth) if i in hints["global_blocks"]),
            "relative_positions": False,
        }
    tables = [tensors.of(name.format(i), 2) for i in range(depth)]
    head_width = tables[0][1]
    if head_width == 0 or width % head_width:
        raise CheckpointError(f"relative positions of width {head_width} do not divide an image encoder of width {width}.")
    spans = [(length + 1) // 2 for length, _ in tables]
    windows = {span for span in spans if span != grid}
    if len(windows) > 1:
        raise CheckpointError(
            f"the image encoder attends within windows of {sorted(windows)} patches on a grid of {grid}; one size is expected. "
            "A model that was adapted to another image size must have its relative positions resized too."
        )
    return {
        "heads": width // head_width,
        "window": windows.pop() if windows else 0,
        "global_blocks": tuple(i for i, span in enumerate(spans) if span == grid),
        "relative_positions": True,
    }


def _whole(hints: Mapping[str, Any], name: str) -> int:
    value = hints[name]
    if not isinstance(value, int) or value < 0:
        raise CheckpointError(f"{name} is {value!r} in the configuration of the weights; a number is expected.")
    return value


def divisor(heads: int, width: int, where: str) -> int:
    """Return a number of attention heads, after a check that it divides a width; ``where`` names the part in messages."""
    if heads < 1 or width % heads:
        raise CheckpointError(f"{heads} attention heads do not divide {where}'s width of {width}.")
    return heads


VIT_B = Architecture(width=768, depth=12, heads=12, mlp_width=3072, global_blocks=(2, 5, 8, 11))
VIT_L = Architecture(width=1024, depth=24, heads=16, mlp_width=4096, global_blocks=(5, 11, 17, 23))
VIT_H = Architecture(width=1280, depth=32, heads=16, mlp_width=5120, global_blocks=(7, 15, 23, 31))
