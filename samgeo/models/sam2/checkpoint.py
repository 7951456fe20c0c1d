"""Reading of SAM 2 checkpoint files to models, without running code from the files, and writing of such files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from samgeo.arguments import check_types
from samgeo.errors import CheckpointError, OptionError
from samgeo.models.device import resolve_device, resolve_dtype
from samgeo.models.sam1.checkpoint import ARCHITECTURE_KEY
from samgeo.models.sam2.architecture import Architecture, check_input_size, recorded_side
from samgeo.models.sam2.checkpoint_layouts import image_tensors, official_name
from samgeo.models.sam2.model import Sam2, Sam2Network
from samgeo.models.weights_files import (
    check_weights,
    checked_digest,
    config_beside,
    json_object,
    read_tensors,
    weights_file,
)
from samgeo.storage.staging import staged_file

__all__ = ["load_sam2", "write_sam2"]

# Types that config.json gives to SAM 2; the published files say that they are for videos, because they have the memory too.
MODEL_TYPES = ("sam2", "sam2_video")


@check_types
def load_sam2(
    path: str | Path,
    *,
    name: str,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    sha256: str | None = None,
    input_size: int | None = None,
) -> Sam2:
    """Load a SAM 2 or SAM 2.1 for images.

    The official layout and the layout of Hugging Face are read, from torch files and safetensors files; the content of a file
    decides which it is. Torch files are read with ``weights_only``, so that no code in them is run. The tensors of the memory
    for videos are not used.

    Parameters
    ----------
    path : str or Path
        A file, or a folder that has ``model.safetensors`` or ``pytorch_model.bin``. For a model that has other sizes than the
        published ones, a ``config.json`` in the same folder describes the attention of the image encoder.
    name : str
        Name of the model, for provenance.
    device : str or torch.device, default "auto"
        "cpu", "cuda", "mps", or the first of CUDA, MPS and CPU that this machine has.
    dtype : str or torch.dtype, default "auto"
        "float32", "bfloat16", or "auto": bfloat16 on CUDA devices and processors that have instructions for it, float32
        elsewhere.
    sha256 : str, optional
        Expected digest of the file, or the beginning of it.
    input_size : int, optional
        Side of the square input in pixels, a multiple of 128. By default it is 1024, with which the published models were
        trained; for a file of a model that samgeo trained, it is the side of the training.

    Returns
    -------
    Sam2
        The model, a ``Segmenter``.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is corrupt, unsafe, incomplete, not finite or not a SAM 2, or nothing describes the
        attention of its image encoder.
    OptionError
        If ``input_size`` is not a positive multiple of 128, or the device or the type is not known.
    ModelError
        If this machine does not have the device.

    Examples
    --------
    >>> from samgeo.models.sam2 import load_sam2
    >>> load_sam2("absent.pt", name="mine", device="cpu")
    Traceback (most recent call last):
    ...
    samgeo.errors.CheckpointError: there is no file absent.pt; give the path of a checkpoint, or a name from ...
    """
    if input_size is not None:
        check_input_size(input_size)
    where = resolve_device(device)
    kind = resolve_dtype(dtype, where)
    file = weights_file(Path(path))
    digest = checked_digest(file, sha256)
    try:
        tensors, metadata = read_tensors(file)
        recorded = json_object(metadata.get(ARCHITECTURE_KEY, "{}"), "the architecture")
        weights = image_tensors(tensors)
        shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        architecture = Architecture.from_shapes(shapes, recorded or _config(file))
        architecture = architecture.with_input_size(input_size or recorded_side(recorded))
        # The sizes may be wrong and huge. On the meta device a network of any size takes no memory.
        with torch.device("meta"):
            network = Sam2Network(architecture)
        check_weights(weights, network.state_dict(), "SAM 2")
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from None
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, assign=True)
    return Sam2(network, name=name, digest=digest, device=where, dtype=kind)


def write_sam2(weights: Mapping[str, Tensor], architecture: Architecture, path: str | Path) -> None:
    """Write the weights of a network to a safetensors file with the official names and the architecture in its metadata.

    Parameters
    ----------
    weights : mapping of str to tensor
        The ``state_dict()`` of a `Sam2Network` of this architecture.
    architecture : Architecture
        The sizes.
    path : str or Path
        The file. An existing file is replaced when everything is written.

    Raises
    ------
    OptionError
        If the file cannot be written. An existing file is then unchanged, and no partial file is left.
    """
    parts = {official_name(name): tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    path = Path(path)
    try:
        with staged_file(path) as temporary:
            save_file(parts, temporary, metadata={ARCHITECTURE_KEY: json.dumps(architecture.to_config())})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise OptionError(f"{path} cannot be written ({error}); make space, or choose another folder.") from None


def _config(file: Path) -> dict[str, Any] | None:
    """Return the ``config.json`` beside a file if it describes a model."""
    config = config_beside(file)
    if "model_type" not in config:
        return None
    if config["model_type"] not in MODEL_TYPES:
        raise CheckpointError(
            f"config.json beside the weights describes a model of type {config['model_type']!r}, not "
            f"{' or '.join(MODEL_TYPES)}; move the file of the weights to a folder of its own."
        )
    return config
