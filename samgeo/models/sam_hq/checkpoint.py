"""Reading of SAM-HQ checkpoint files of the published layouts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from pathlib import Path

import torch
from torch import Tensor

from samgeo.arguments import check_types
from samgeo.errors import CheckpointError
from samgeo.models.device import resolve_device, resolve_dtype
from samgeo.models.mobile_sam.architecture import MobileArchitecture
from samgeo.models.mobile_sam.checkpoint import folded, official_state, without_unused
from samgeo.models.sam1.architecture import Architecture
from samgeo.models.sam1.checkpoint_layouts import hints_from_config, official_names
from samgeo.models.sam_hq.model import SamHq, SamHqNetwork
from samgeo.models.weights_files import check_weights, checked_digest, config_beside, read_tensors, weights_file

__all__ = ["is_sam_hq", "load_sam_hq"]

# Rules from the names of Hugging Face to the official names, for the tensors that SAM 1 does not have.
RULES = tuple(
    (re.compile(rf"^mask_decoder\.{pattern}\."), f"mask_decoder.{name}.")
    for pattern, name in (
        ("hq_token", "hf_token"),
        (r"hq_mask_mlp\.layers\.0", "hf_mlp.layers.1"),
        (r"hq_mask_mlp\.proj_in", "hf_mlp.layers.0"),
        (r"hq_mask_mlp\.proj_out", "hf_mlp.layers.2"),
        ("compress_vit_conv1", "compress_vit_feat.0"),
        ("compress_vit_norm", "compress_vit_feat.1"),
        ("compress_vit_conv2", "compress_vit_feat.3"),
        ("encoder_conv1", "embedding_encoder.0"),
        ("encoder_norm", "embedding_encoder.1"),
        ("encoder_conv2", "embedding_encoder.3"),
        ("mask_conv1", "embedding_maskfeature.0"),
        ("mask_norm", "embedding_maskfeature.1"),
        ("mask_conv2", "embedding_maskfeature.3"),
    )
)


@check_types
def load_sam_hq(
    path: str | Path,
    *,
    name: str | None = None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    sha256: str | None = None,
    hq_only: bool = False,
) -> SamHq:
    """Load SAM-HQ (arXiv:2306.01567), which draws the edges of masks with features of a higher resolution than SAM 1.

    Models with the image encoders of SAM 1 (B, L and H) and of MobileSAM (tiny) are read. The input of the published models has
    a side of 1024 pixels.

    A prompt has one mask of high quality. ``decode`` adds its logits to those of each of SAM's masks, so that it returns as
    many masks as SAM 1: three with ``multimask``, and one without. The predicted IoU is that of SAM's masks. The published code
    returns one mask in both cases: with ``multimask``, the one with the highest predicted IoU of the three.

    Parameters
    ----------
    path : str or Path
        A checkpoint with the official names of tensors, such as ``sam_hq_vit_b.pth``, or in the layout of Hugging Face's
        ``SamHQModel``: a torch file, of which nothing is run, a safetensors file, or a folder with ``model.safetensors``.
    name : str, optional
        Name of the model, for provenance; by default that of the file without its suffix, or of the folder.
    device : str or torch.device, default "auto"
        "cpu", "cuda", "mps", or the first of CUDA, MPS and CPU that this machine has.
    dtype : str or torch.dtype, default "auto"
        "float32", "bfloat16", or "auto": bfloat16 on CUDA devices and processors that have instructions for it, float32
        elsewhere.
    sha256 : str, optional
        Expected digest of the file, or the beginning of it.
    hq_only : bool, default False
        Whether ``decode`` returns the mask of high quality alone: one for each prompt, also with ``multimask``.

    Returns
    -------
    SamHq
        A `Segmenter`.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is corrupt, unsafe, incomplete, not finite or not a SAM-HQ.
    OptionError, ModelError
        If the device or the type is unknown or not available.

    Examples
    --------
    >>> from samgeo.models.sam_hq import load_sam_hq
    >>> load_sam_hq("absent.pth", device="cpu")
    Traceback (most recent call last):
    samgeo.errors.CheckpointError: there is no file absent.pth; give the path of a checkpoint...
    """
    on = resolve_device(device)
    precision = resolve_dtype(dtype, on)
    file = weights_file(Path(path))
    digest = checked_digest(file, sha256)
    try:
        tensors, _ = read_tensors(file)
        weights = {new: tensors[old] for old, new in _official(tensors).items()}
        network = _network(weights, config_beside(file), hq_only=hq_only)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from None
    return SamHq(network, name=Path(path).stem if name is None else name, digest=digest, device=on, dtype=precision)


def is_sam_hq(names: Set[str]) -> bool:
    """Return whether tensors with these names are those of a SAM-HQ.

    Parameters
    ----------
    names : set of str
        Names of the tensors of a checkpoint, with or without a prefix that all of them share.

    Returns
    -------
    bool
        False for HQ-SAM 2, which has the image encoder of SAM 2.

    Examples
    --------
    >>> from samgeo.models.sam_hq import is_sam_hq
    >>> is_sam_hq({"image_encoder.pos_embed", "mask_decoder.hf_token.weight"})
    True
    >>> is_sam_hq({"image_encoder.pos_embed", "mask_decoder.iou_token.weight"})
    False
    """
    return "mask_decoder.hf_token.weight" in set(_official(names).values())


def _official(names: Iterable[str]) -> dict[str, str]:
    found = official_names(names)
    for pattern, replacement in RULES:
        found = {name: pattern.sub(replacement, new) for name, new in found.items()}
    return found


def _network(tensors: Mapping[str, Tensor], config: Mapping[str, object], *, hq_only: bool) -> SamHqNetwork:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    mobile = "image_encoder.patch_embed.seq.0.c.weight" in shapes
    architecture: Architecture | MobileArchitecture
    if mobile:
        architecture = MobileArchitecture.from_shapes(shapes, "SAM-HQ")
    else:
        architecture = Architecture.from_shapes(shapes, _hints(config))
        if not architecture.global_blocks:
            raise CheckpointError(
                "no block of the image encoder attends to the whole image, but SAM-HQ needs the output of such a block: this "
                "is another kind of model."
            )
    # The sizes may be wrong and huge. On the meta device a network of any size takes no memory.
    with torch.device("meta"):
        network = SamHqNetwork(architecture, hq_only=hq_only)
    weights = without_unused(tensors) if mobile else dict(tensors)
    check_weights(weights, official_state(network) if mobile else network.state_dict(), "SAM-HQ")
    network.load_state_dict(folded(weights) if mobile else {name: one.float() for name, one in weights.items()}, assign=True)
    return network


def _hints(config: Mapping[str, object]) -> dict[str, object]:
    """Return the sizes that cannot be derived from the tensors, from the ``config.json`` of a Hugging Face model."""
    kind = config.get("model_type")
    if kind is None:
        return {}
    if kind != "sam_hq":
        raise CheckpointError(
            f"config.json beside the weights describes a model of type {kind!r}, but the tensors are those of type 'sam_hq'; "
            "put the weights into another folder, alone or with their own config.json."
        )
    return hints_from_config({**config, "model_type": "sam"})
