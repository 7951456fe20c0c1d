"""Sizes of a SAM 2 model, and how they are derived from a checkpoint's tensors and its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from samgeo.errors import CheckpointError, OptionError
from samgeo.models.sam1.architecture import decoder_sizes, divisor
from samgeo.models.weights_files import TensorShapes
from samgeo.types import Json

__all__ = [
    "BASE_PLUS",
    "CELL",
    "INPUT_STEP",
    "LARGE",
    "PUBLISHED_INPUT",
    "SMALL",
    "TINY",
    "Architecture",
    "Trunk",
    "check_input_size",
    "recorded_side",
]

STAGES = 4
# Side in pixels of a patch, and of a cell of the image embedding, which is at the third stage.
PATCH = 4
CELL = 16
# The side of the input must be a multiple of this number of pixels.
INPUT_STEP = 128
# The side with which the published models were trained.
PUBLISHED_INPUT = 1024


@dataclass(frozen=True, slots=True)
class Trunk:
    """What no tensor of the trunk shows: how its attention is divided.

    Attributes
    ----------
    heads : tuple of int
        Attention heads in each stage.
    windows : tuple of int
        Side of the windows in each stage, in cells of the stage.
    global_blocks : tuple of int
        Indices of the blocks that attend to the whole grid.
    """

    heads: tuple[int, ...]
    windows: tuple[int, ...]
    global_blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Architecture:
    """The sizes of a SAM 2 model.

    Attributes
    ----------
    widths : tuple of int
        Channels in each of the four stages of the trunk.
    blocks : tuple of int
        Number of blocks in each stage.
    trunk : Trunk
        How the attention of the trunk is divided.
    mlp_ratio : int
        Hidden units of the MLP of a block for each channel.
    position_grid : (int, int)
        Height and width of the table of positions, which is resized to the grid of patches.
    input_size : int
        Side of the square input in pixels, a multiple of 128.
    prompt_width, mask_channels, decoder_depth, decoder_heads, decoder_mlp_width, decoder_inner_width, mask_tokens, iou_depth, \
iou_width : int
        As in `samgeo.models.sam1.architecture.Architecture`.
    """

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    trunk: Trunk
    mlp_ratio: int = 4
    position_grid: tuple[int, int] = (7, 7)
    input_size: int = PUBLISHED_INPUT
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
    def grid(self) -> int:
        """Side of the image embedding in cells."""
        return self.input_size // CELL

    def with_input_size(self, side: int) -> Architecture:
        """Return the same sizes for another side of the input, in pixels.

        Raises
        ------
        OptionError
            If the side is not a positive multiple of 128, or the windows of the first stage do not divide its grid.
        """
        check_input_size(side)
        if side // PATCH % self.trunk.windows[0]:
            raise OptionError(
                f"input_size is {side}, but the positions of this model repeat every {self.trunk.windows[0] * PATCH} pixels; "
                "give a multiple of both this number and 128."
            )
        return replace(self, input_size=side)

    def to_config(self) -> dict[str, Json]:
        """Return what the tensors do not show, as ``config.json`` writes it: the attention, and the side of the input."""
        return {
            "model_type": "sam2",
            "vision_config": {
                "backbone_config": {
                    "embed_dim_per_stage": list(self.widths),
                    "blocks_per_stage": list(self.blocks),
                    "num_attention_heads_per_stage": list(self.trunk.heads),
                    "window_size_per_stage": list(self.trunk.windows),
                    "global_attention_blocks": list(self.trunk.global_blocks),
                }
            },
            "prompt_encoder_config": {"image_size": self.input_size},
            "mask_decoder_config": {"num_attention_heads": self.decoder_heads},
        }

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any] | None = None) -> Architecture:
        """Derive the sizes from the shapes of tensors that have the names of ``Sam2Network``.

        The heads, windows and global blocks of the trunk are not in the tensors. They are taken from the configuration, if it
        describes a trunk of the same widths and blocks, and otherwise from the published models.

        Parameters
        ----------
        shapes : mapping of str to tuple of int
            Shapes by name.
        config : mapping, optional
            The ``config.json`` of a Hugging Face model of type ``sam2`` or ``sam2_video``.

        Raises
        ------
        CheckpointError
            If a tensor that determines a size is missing or has an impossible shape, or nothing describes the trunk.
        """
        tensors = TensorShapes(shapes, "SAM 2")
        name = "image_encoder.trunk.blocks.{}."
        depth = tensors.count(name + "norm1.weight")
        starts = [0, *(i for i in range(depth) if (name + "proj.weight").format(i) in tensors), depth]
        blocks = tuple(after - start for start, after in pairwise(starts))
        if len(blocks) != STAGES or 0 in blocks:
            raise CheckpointError(f"the trunk has {len(blocks)} stages of {blocks} blocks; a SAM 2 has {STAGES} stages.")
        widths = tuple(tensors.of((name + "attn.proj.weight").format(start), 2)[0] for start in starts[:-1])
        window = tensors.of("image_encoder.trunk.pos_embed_window", 4)[2]
        hidden, width = tensors.of(name.format(0) + "mlp.lin1.weight", 2)
        sizes = decoder_sizes(tensors, {} if config is None else _decoder_hints(config))
        if sizes["mask_tokens"] < 2:
            raise CheckpointError(f"the mask decoder has {sizes['mask_tokens']} mask tokens; a SAM 2 has at least 2.")
        if width < 1 or hidden % width:
            raise CheckpointError(f"the MLP of the first block has {hidden} hidden units, not a multiple of {width} channels.")
        trunk = _trunk(widths, blocks, config)
        _check_trunk(trunk, widths, window)
        _, _, *position_grid = tensors.of("image_encoder.trunk.pos_embed", 4)
        return cls(
            widths=widths,
            blocks=blocks,
            trunk=trunk,
            mlp_ratio=hidden // width,
            position_grid=(position_grid[0], position_grid[1]),
            **sizes,
        )


def check_input_size(side: int) -> None:
    """Check the side of the input, in pixels.

    Raises
    ------
    OptionError
        If it is not a positive multiple of 128.
    """
    if isinstance(side, bool) or not isinstance(side, int) or side < INPUT_STEP or side % INPUT_STEP:
        raise OptionError(f"input_size is {side!r}; give a multiple of {INPUT_STEP} pixels, such as 512 or 1024.")


def recorded_side(recorded: Mapping[str, Any]) -> int:
    """Return the side of the input in a configuration of ``Architecture.to_config``; 1024 if there is none.

    Raises
    ------
    CheckpointError
        If it is no side.
    """
    side = _entry(recorded, "prompt_encoder_config", "image_size")
    try:
        check_input_size(found := PUBLISHED_INPUT if side is None else side)
    except OptionError as error:
        raise CheckpointError(f"the architecture in the header of the file cannot be used: {error}") from None
    return found


TINY = Architecture(
    widths=(96, 192, 384, 768), blocks=(1, 2, 7, 2), trunk=Trunk((1, 2, 4, 8), (8, 4, 14, 7), global_blocks=(5, 7, 9))
)
SMALL = Architecture(
    widths=(96, 192, 384, 768), blocks=(1, 2, 11, 2), trunk=Trunk((1, 2, 4, 8), (8, 4, 14, 7), global_blocks=(7, 10, 13))
)
BASE_PLUS = Architecture(
    widths=(112, 224, 448, 896),
    blocks=(2, 3, 16, 3),
    trunk=Trunk((2, 4, 8, 16), (8, 4, 14, 7), global_blocks=(12, 16, 20)),
    position_grid=(14, 14),
)
LARGE = Architecture(
    widths=(144, 288, 576, 1152), blocks=(2, 6, 36, 4), trunk=Trunk((2, 4, 8, 16), (8, 4, 16, 8), global_blocks=(23, 33, 43))
)
PUBLISHED = {(known.widths[0], known.blocks): known.trunk for known in (TINY, SMALL, BASE_PLUS, LARGE)}

# What samgeo computes, as config.json writes it. A model that differs from it in any of these is another network.
FIXED = {
    ("vision_config", "backbone_config", "num_query_pool_stages"): 3,
    ("vision_config", "backbone_config", "query_stride"): [2, 2],
    ("vision_config", "backbone_config", "patch_stride"): [PATCH, PATCH],
    ("vision_config", "backbone_config", "patch_padding"): [3, 3],
    ("vision_config", "fpn_top_down_levels"): [2, 3],
    ("vision_config", "num_feature_levels"): 3,
    ("mask_decoder_config", "dynamic_multimask_via_stability"): True,
    ("mask_decoder_config", "dynamic_multimask_stability_delta"): 0.05,
    ("mask_decoder_config", "dynamic_multimask_stability_thresh"): 0.98,
}


def _entry(config: Mapping[str, Any], *keys: str) -> Any:  # noqa: ANN401 - JSON
    """Return an entry of nested sections, or None; a config.json leaves out what equals the defaults of transformers."""
    found: Any = config
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _decoder_hints(config: Mapping[str, Any]) -> dict[str, Any]:
    for keys, value in FIXED.items():
        given = _entry(config, *keys)
        if given is not None and given != value:
            raise CheckpointError(
                f"{'.'.join(keys)} is {given!r} in config.json beside the weights; samgeo computes SAM 2 only with {value!r}."
            )
    heads = _entry(config, "mask_decoder_config", "num_attention_heads")
    return {} if heads is None else {"decoder_heads": heads}


def _trunk(widths: tuple[int, ...], blocks: tuple[int, ...], config: Mapping[str, Any] | None) -> Trunk:
    def numbers(key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        given = _entry(config or {}, "vision_config", "backbone_config", key)
        if given is None:
            return default
        if not isinstance(given, list) or not all(isinstance(one, int) and one >= 0 for one in given):
            raise CheckpointError(f"{key} is {given!r} in the config.json beside the weights; a list of numbers is expected.")
        return tuple(given)

    # The defaults of transformers are the sizes of the tiny model.
    described = numbers("embed_dim_per_stage", TINY.widths), numbers("blocks_per_stage", TINY.blocks)
    if config is not None and described == (widths, blocks):
        return Trunk(
            numbers("num_attention_heads_per_stage", TINY.trunk.heads),
            numbers("window_size_per_stage", TINY.trunk.windows),
            numbers("global_attention_blocks", TINY.trunk.global_blocks),
        )
    if (widths[0], blocks) in PUBLISHED:
        return PUBLISHED[widths[0], blocks]
    beside = (
        "there is no config.json beside the file"
        if config is None
        else f"the config.json beside the file describes {described[0]} channels and {described[1]} blocks"
    )
    raise CheckpointError(
        f"the image encoder has stages of {widths} channels and {blocks} blocks, which is no published SAM 2, and {beside}. "
        "The tensors do not contain the attention heads and windows; put the config.json of the model beside the file."
    )


def _check_trunk(trunk: Trunk, widths: tuple[int, ...], window: int) -> None:
    if len(trunk.heads) != STAGES or len(trunk.windows) != STAGES:
        raise CheckpointError(f"the configuration has heads {trunk.heads} and windows {trunk.windows}, not one for each stage.")
    for heads, width in zip(trunk.heads, widths, strict=True):
        divisor(heads, width, "the image encoder")
    if trunk.windows[0] != window:
        raise CheckpointError(
            f"the windows of the first stage are {trunk.windows[0]}, but its positions repeat every {window}."
        )
    if any(side < 1 for side in trunk.windows) or any(side % 2 for side in trunk.windows[:-1]):
        raise CheckpointError(f"windows of {trunk.windows} cells cannot be halved at the end of each stage but the last.")
