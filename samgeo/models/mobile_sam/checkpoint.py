"""Reading of MobileSAM checkpoint files; batch normalisations become part of the convolutions before them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from pathlib import Path

import torch
from torch import Tensor, nn

from samgeo.arguments import check_types
from samgeo.errors import CheckpointError
from samgeo.models.device import resolve_device, resolve_dtype
from samgeo.models.mobile_sam.architecture import MobileArchitecture
from samgeo.models.mobile_sam.model import MobileSam, MobileSamNetwork
from samgeo.models.sam1.checkpoint_layouts import official_names
from samgeo.models.weights_files import check_weights, checked_digest, read_tensors, weights_file

__all__ = ["folded", "is_mobile_sam", "load_mobile_sam", "official_state", "without_unused"]

# The normalisations of TinyViT are torch's own, with the default eps of 1e-5.
EPS = 1e-5
# The published file also contains the classifier of TinyViT's first training, and counters of batches. Files of others may
# contain the number of the bias for each pair of cells, which follows from the size of the window, or the biases in that order.
UNUSED = re.compile(r"^image_encoder\.(head\.|norm_head\.)|\.bn\.num_batches_tracked$|\.attn\.(attention_bias_idxs|ab)$")


@check_types
def load_mobile_sam(
    path: str | Path,
    *,
    name: str | None = None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    sha256: str | None = None,
) -> MobileSam:
    """Load MobileSAM (arXiv:2306.14289), whose image encoder is small enough for a CPU.

    The prompt encoder and the mask decoder are those of SAM 1, so that it takes the same prompts and returns the same kinds of
    masks. The input has a side of 1024 pixels.

    Parameters
    ----------
    path : str or Path
        A checkpoint with the official names of tensors, such as ``mobile_sam.pt``: a torch file, of which nothing is run, or a
        safetensors file. The widths, depths, heads and windows of the image encoder are derived from the tensors.
    name : str, optional
        Name of the model, for provenance; by default that of the file without its suffix, or of the folder.
    device : str or torch.device, default "auto"
        "cpu", "cuda", "mps", or the first of CUDA, MPS and CPU that this machine has.
    dtype : str or torch.dtype, default "auto"
        "float32", "bfloat16", or "auto": bfloat16 on CUDA devices and processors that have instructions for it, float32
        elsewhere.
    sha256 : str, optional
        Expected digest of the file, or the beginning of it.

    Returns
    -------
    MobileSam
        A `Segmenter`.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is corrupt, unsafe, incomplete, not finite or not a MobileSAM.
    OptionError, ModelError
        If the device or the type is unknown or not available.

    Examples
    --------
    >>> from samgeo.models.mobile_sam import load_mobile_sam
    >>> load_mobile_sam("absent.pt", device="cpu")
    Traceback (most recent call last):
    samgeo.errors.CheckpointError: there is no file absent.pt; give the path of a checkpoint...
    """
    on = resolve_device(device)
    precision = resolve_dtype(dtype, on)
    file = weights_file(Path(path))
    digest = checked_digest(file, sha256)
    try:
        tensors, _ = read_tensors(file)
        network = _network({new: tensors[old] for old, new in official_names(tensors).items()})
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from None
    return MobileSam(network, name=Path(path).stem if name is None else name, digest=digest, device=on, dtype=precision)


def is_mobile_sam(names: Set[str]) -> bool:
    """Return whether tensors with these names are those of a MobileSAM.

    Parameters
    ----------
    names : set of str
        Names of the tensors of a checkpoint, with or without a prefix that all of them share.

    Returns
    -------
    bool
        False for the `tiny` variant of SAM-HQ, which has the same image encoder.

    Examples
    --------
    >>> from samgeo.models.mobile_sam import is_mobile_sam
    >>> is_mobile_sam({"image_encoder.patch_embed.seq.0.c.weight", "mask_decoder.iou_token.weight"})
    True
    >>> is_mobile_sam({"image_encoder.patch_embed.proj.weight", "mask_decoder.iou_token.weight"})
    False
    """
    official = set(official_names(names).values())
    return "image_encoder.patch_embed.seq.0.c.weight" in official and "mask_decoder.hf_token.weight" not in official


def _network(tensors: Mapping[str, Tensor]) -> MobileSamNetwork:
    weights = without_unused(tensors)
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    # The sizes may be wrong and huge. On the meta device a network of any size takes no memory.
    with torch.device("meta"):
        network = MobileSamNetwork(MobileArchitecture.from_shapes(shapes))
    check_weights(weights, official_state(network), "MobileSAM")
    network.load_state_dict(folded(weights), assign=True)
    return network


def without_unused(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of an official checkpoint but those that the network does not use in segmentation."""
    return {name: tensor for name, tensor in tensors.items() if not UNUSED.search(name)}


def official_state(network: nn.Module) -> dict[str, Tensor]:
    """Return tensors with the names and shapes of the weights from which `folded` makes those of a network with a TinyViT."""
    state: dict[str, Tensor] = dict(network.state_dict())
    for name, layer in network.named_modules():
        if name.startswith("image_encoder.") and isinstance(layer, nn.Conv2d) and layer.bias is not None:
            state[f"{name}.c.weight"] = state.pop(f"{name}.weight")
            channels = state.pop(f"{name}.bias")
            state |= {f"{name}.bn.{of}": channels for of in ("weight", "bias", "running_mean", "running_var")}
    return state


def folded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Multiply each batch normalisation into the convolution before it.

    Parameters
    ----------
    weights : mapping of str to tensor
        By official name: ``X.c.weight`` and ``X.bn.weight``, ``bias``, ``running_mean``, ``running_var`` for a convolution.

    Returns
    -------
    dict of str to tensor
        float32, with ``X.weight`` and ``X.bias`` for each convolution, and the other tensors under their own names.

    Raises
    ------
    CheckpointError
        If a variance is negative.
    """
    found = {name: tensor.float() for name, tensor in weights.items() if ".bn." not in name and not name.endswith(".c.weight")}
    for name in [name.removesuffix(".c.weight") for name in weights if name.endswith(".c.weight")]:
        kernel = weights[f"{name}.c.weight"].double()
        factor, offset, mean, variance = (
            weights[f"{name}.bn.{of}"].double() for of in ("weight", "bias", "running_mean", "running_var")
        )
        if (variance < 0).any():
            raise CheckpointError(f"tensor {name}.bn.running_var has negative values: the file is damaged.")
        factor = factor / (variance + EPS).sqrt()
        found[f"{name}.weight"] = (kernel * factor.view(-1, 1, 1, 1)).float()
        found[f"{name}.bias"] = (offset - mean * factor).float()
    return found
