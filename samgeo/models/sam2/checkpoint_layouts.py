"""Conversion of the tensors of the published layouts of SAM 2 checkpoints to those of ``Sam2Network``, and of names back."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from torch import Tensor

from samgeo.errors import CheckpointError
from samgeo.models.sam1.checkpoint_layouts import PROMPT_AND_DECODER_RULES, Rules, by_rules, renamed, without_prefix

__all__ = ["image_tensors", "is_sam2", "official_name"]

# Beginnings of the names of the trunk's blocks, in the official layout and in that of Hugging Face. No other model has them.
TRUNK = ("image_encoder.trunk.blocks.", "vision_encoder.backbone.blocks.")

# Beginnings of the names of tensors that only the memory for videos uses, in the official layout and in that of Hugging Face.
MEMORY = (
    *("memory_", "maskmem_tpos_enc", "no_mem_pos_enc", "no_obj_", "mask_downsample", "obj_ptr_"),
    *("object_pointer_proj", "temporal_positional_encoding_projection_layer", "no_memory_positional_encoding"),
    *("no_object_pointer", "occlusion_spatial_embedding_parameter"),
)

OFFICIAL: Rules = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^sam_(prompt_encoder|mask_decoder)\.", r"\1."),
        (r"^(image_encoder\.neck\.convs\.\d+)\.conv\.", r"\1."),
        (r"^(image_encoder\.trunk\.blocks\.\d+|mask_decoder\.transformer\.layers\.\d+)\.mlp\.layers\.0\.", r"\1.mlp.lin1."),
        (r"^(image_encoder\.trunk\.blocks\.\d+|mask_decoder\.transformer\.layers\.\d+)\.mlp\.layers\.1\.", r"\1.mlp.lin2."),
    )
)

# The way back from the names of ``Sam2Network``, where they differ.
TO_OFFICIAL: Rules = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^(image_encoder\.neck\.convs\.\d+)\.", r"\1.conv."),
        (r"^(image_encoder\.trunk\.blocks\.\d+|mask_decoder\.transformer\.layers\.\d+)\.mlp\.lin1\.", r"\1.mlp.layers.0."),
        (r"^(image_encoder\.trunk\.blocks\.\d+|mask_decoder\.transformer\.layers\.\d+)\.mlp\.lin2\.", r"\1.mlp.layers.1."),
        (r"^(prompt_encoder|mask_decoder)\.", r"sam_\1."),
    )
)

HUGGING_FACE: Rules = (
    *(
        (re.compile(pattern), replacement)
        for pattern, replacement in (
            (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
            (r"^vision_encoder\.neck\.", "image_encoder.neck."),
            (r"^image_encoder\.trunk\.patch_embed\.projection\.", "image_encoder.trunk.patch_embed.proj."),
            (r"^(image_encoder\.trunk\.blocks\.\d+)\.layer_norm", r"\1.norm"),
            (r"^(image_encoder\.trunk\.blocks\.\d+|mask_decoder\.transformer\.layers\.\d+)\.mlp\.proj_in\.", r"\1.mlp.lin1."),
            (r"^(image_encoder\.trunk\.blocks\.\d+|mask_decoder\.transformer\.layers\.\d+)\.mlp\.proj_out\.", r"\1.mlp.lin2."),
            (r"^(mask_decoder\.transformer\..+)\.o_proj\.", r"\1.out_proj."),
            (r"^no_memory_embedding$", "no_mem_embed"),
        )
    ),
    *PROMPT_AND_DECODER_RULES,
)

# The four kinds of points, which are one tensor in the layout of Hugging Face.
POINTS = "prompt_encoder.point_embed.weight"


def is_sam2(names: Iterable[str]) -> bool:
    """Return whether a checkpoint is one of SAM 2 or SAM 2.1.

    Parameters
    ----------
    names : iterable of str
        The names of its tensors, in the official layout or that of Hugging Face, with or without the prefix of a wrapper.

    Examples
    --------
    >>> from samgeo.models.sam2 import is_sam2
    >>> is_sam2({"image_encoder.trunk.blocks.0.norm1.weight", "maskmem_tpos_enc"})
    True
    >>> is_sam2({"image_encoder.blocks.0.norm1.weight"})
    False
    """
    return any(name.startswith(TRUNK) for name in without_prefix(list(names)))


def official_name(name: str) -> str:
    """Return the name that a tensor of ``Sam2Network`` has in the official layout."""
    return by_rules(name, TO_OFFICIAL)


def image_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that segment an image, by the names of ``Sam2Network``; the memory for videos is dropped.

    Parameters
    ----------
    tensors : mapping of str to tensor
        In the official layout or that of Hugging Face, with or without the prefix of a wrapper before all names.

    Returns
    -------
    dict of str to tensor
        Tensors that no layout has keep their names.

    Raises
    ------
    CheckpointError
        If no tensor belongs to the image encoder of SAM 2.
    """
    if not is_sam2(tensors):
        raise CheckpointError(
            "it is not a SAM 2: it has no tensor whose name begins with image_encoder.trunk or vision_encoder.backbone."
        )
    bare = dict(zip(without_prefix(list(tensors)), tensors.values(), strict=True))
    kept = {name: tensor for name, tensor in bare.items() if not name.startswith(MEMORY)}
    names = _renamed(list(kept))
    found = dict(zip(names, kept.values(), strict=True))
    points = found.get(POINTS)
    if points is not None and points.ndim == 2:
        del found[POINTS]
        found |= {f"prompt_encoder.point_embeddings.{kind}.weight": points[kind : kind + 1] for kind in range(len(points))}
    return found


def _renamed(names: Collection[str]) -> list[str]:
    if any(name.startswith("vision_encoder.") for name in names):
        return renamed(list(names), HUGGING_FACE)
    return [by_rules(name, OFFICIAL) for name in names]
