"""Conversion of tensor names from the published layouts of SAM 1 checkpoints to the official layout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from samgeo.errors import CheckpointError

__all__ = ["PROMPT_AND_DECODER_RULES", "Rules", "by_rules", "hints_from_config", "official_names", "renamed", "without_prefix"]

# Prefixes that wrappers (DataParallel, Lightning, training scripts) add to every name.
PREFIXES = ("module.", "model.", "sam.")

# Rules from the names of Hugging Face to the official names. All rules are applied to each name, in order.
Rules = tuple[tuple[re.Pattern[str], str], ...]

PROMPT_AND_DECODER_RULES: Rules = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^prompt_encoder\.mask_embed\.conv1\.", "prompt_encoder.mask_downscaling.0."),
        (r"^prompt_encoder\.mask_embed\.layer_norm1\.", "prompt_encoder.mask_downscaling.1."),
        (r"^prompt_encoder\.mask_embed\.conv2\.", "prompt_encoder.mask_downscaling.3."),
        (r"^prompt_encoder\.mask_embed\.layer_norm2\.", "prompt_encoder.mask_downscaling.4."),
        (r"^prompt_encoder\.mask_embed\.conv3\.", "prompt_encoder.mask_downscaling.6."),
        (
            r"^(shared_image_embedding|prompt_encoder\.shared_embedding)\.positional_embedding$",
            "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        ),
        (r"^(mask_decoder\.transformer\.layers\.\d+)\.layer_norm", r"\1.norm"),
        (r"^mask_decoder\.transformer\.layer_norm_final_attn\.", "mask_decoder.transformer.norm_final_attn."),
        (r"^mask_decoder\.upscale_conv1\.", "mask_decoder.output_upscaling.0."),
        (r"^mask_decoder\.upscale_layer_norm\.", "mask_decoder.output_upscaling.1."),
        (r"^mask_decoder\.upscale_conv2\.", "mask_decoder.output_upscaling.3."),
    )
)

RULES: Rules = (
    *(
        (re.compile(pattern), replacement)
        for pattern, replacement in (
            (r"^vision_encoder\.", "image_encoder."),
            (r"^image_encoder\.patch_embed\.projection\.", "image_encoder.patch_embed.proj."),
            (r"^image_encoder\.layers\.", "image_encoder.blocks."),
            (r"^(image_encoder\.blocks\.\d+)\.layer_norm", r"\1.norm"),
            (r"^image_encoder\.neck\.conv1\.", "image_encoder.neck.0."),
            (r"^image_encoder\.neck\.layer_norm1\.", "image_encoder.neck.1."),
            (r"^image_encoder\.neck\.conv2\.", "image_encoder.neck.2."),
            (r"^image_encoder\.neck\.layer_norm2\.", "image_encoder.neck.3."),
            (r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
        )
    ),
    *PROMPT_AND_DECODER_RULES,
)

# The heads of Hugging Face's decoder: proj_in, the layers between, proj_out.
HEAD = re.compile(
    r"^(mask_decoder\.(?:iou_prediction_head|pred_obj_score_head|output_hypernetworks_mlps\.\d+))\.(proj_in|layers\.(\d+)|proj_out)\.(.+)$"
)


def official_names(names: Iterable[str]) -> dict[str, str]:
    """Return the official name for each name of a checkpoint.

    Official names stay unchanged, and so do names that no layout has.

    Parameters
    ----------
    names : iterable of str
        In the official layout or that of Hugging Face, with or without the prefix of a wrapper before all of them.

    Returns
    -------
    dict of str to str
        In the given order. Two names may have the same official name: the layout of Hugging Face holds the random frequencies
        twice.
    """
    given = list(names)
    bare = without_prefix(given)
    if not any(name.startswith("vision_encoder.") for name in bare):
        return dict(zip(given, bare, strict=True))
    return dict(zip(given, renamed(bare, RULES), strict=True))


def renamed(names: list[str], rules: Rules) -> list[str]:
    """Rename the tensors of a Hugging Face checkpoint: the layers of the heads by their number, and all others by rules."""
    last = _last_layers(names)
    return [_official(name, last, rules) for name in names]


def hints_from_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return those sizes from the ``config.json`` of a Hugging Face model that cannot be derived from its tensors.

    Parameters
    ----------
    config : mapping
        The parsed file.

    Returns
    -------
    dict
        Hints for ``Architecture.from_shapes``.

    Raises
    ------
    CheckpointError
        If it is the configuration of another kind of model.
    """
    kind = config.get("model_type")
    if kind != "sam":
        raise CheckpointError(
            f"config.json beside the weights describes a model of type {kind!r}; samgeo reads type 'sam' (SAM 1)."
        )
    keys = {
        "decoder_heads": ("mask_decoder_config", "num_attention_heads"),
        "heads": ("vision_config", "num_attention_heads"),
        "window": ("vision_config", "window_size"),
        "global_blocks": ("vision_config", "global_attn_indexes"),
    }
    sections = {hint: config.get(section) or {} for hint, (section, _) in keys.items()}
    return {hint: sections[hint][key] for hint, (_, key) in keys.items() if key in sections[hint]}


def without_prefix(names: list[str]) -> list[str]:
    """Remove the prefixes that wrappers added to all names."""
    stripped = True
    while stripped and names:
        stripped = False
        for prefix in PREFIXES:
            if all(name.startswith(prefix) for name in names):
                names = [name.removeprefix(prefix) for name in names]
                stripped = True
    return names


def _last_layers(names: list[str]) -> dict[str, int]:
    """Return the index of each head's last layer, which Hugging Face calls ``proj_out``."""
    matches = [match for match in map(HEAD.match, names) if match]
    between: dict[str, set[str]] = {match[1]: set() for match in matches}
    for match in matches:
        if match[3] is not None:
            between[match[1]].add(match[3])
    return {head: len(layers) + 1 for head, layers in between.items()}


def _official(name: str, last: Mapping[str, int], rules: Rules) -> str:
    head = HEAD.match(name)
    if head:
        index = {"proj_in": 0, "proj_out": last[head[1]]}.get(head[2])
        return f"{head[1]}.layers.{int(head[3]) + 1 if index is None else index}.{head[4]}"
    return by_rules(name, rules)


def by_rules(name: str, rules: Rules) -> str:
    """Apply all rules to a name, in order."""
    for pattern, replacement in rules:
        name = pattern.sub(replacement, name)
    return name
