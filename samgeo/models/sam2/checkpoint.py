"""Reading of SAM 2 checkpoint files to models, without running code from the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from samgeo.arguments import check_types
from samgeo.errors import CheckpointError
from samgeo.models.device import resolve_device, resolve_dtype
from samgeo.models.sam2.architecture import Architecture, check_input_size
from samgeo.models.sam2.checkpoint_layouts import image_tensors
from samgeo.models.sam2.model import Sam2, Sam2Network
from samgeo.models.weights_files import check_weights, checked_digest, config_beside, read_tensors, weights_file

__all__ = ["load_sam2"]

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
    input_size: int = 1024,
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
        "float32", "bfloat16", or "auto": bfloat16 on CUDA devices that compute in it, float32 elsewhere.
    sha256 : str, optional
        Expected digest of the file, or the beginning of it.
    input_size : int, default 1024
        Side of the square input in pixels, a multiple of 128. The published models were trained with 1024.

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
    check_input_size(input_size)
    where = resolve_device(device)
    kind = resolve_dtype(dtype, where)
    file = weights_file(Path(path))
    digest = checked_digest(file, sha256)
    try:
        tensors, _ = read_tensors(file)
        weights = image_tensors(tensors)
        shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        architecture = Architecture.from_shapes(shapes, _config(file)).with_input_size(input_size)
        # The sizes may be wrong and huge. On the meta device a network of any size takes no memory.
        with torch.device("meta"):
            network = Sam2Network(architecture)
        check_weights(weights, network.state_dict(), "SAM 2")
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from None
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, assign=True)
    return Sam2(network, name=name, digest=digest, device=where, dtype=kind)


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
