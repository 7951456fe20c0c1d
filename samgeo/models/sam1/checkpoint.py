"""Reading of SAM 1 checkpoint files to verified weights, without running code from the files, and writing of such files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from samgeo.errors import CheckpointError, OptionError
from samgeo.models.sam1.architecture import Architecture
from samgeo.models.sam1.checkpoint_layouts import hints_from_config, official_names
from samgeo.models.sam1.model import Sam, SamNetwork
from samgeo.models.sam1.trainable import SamTrainable
from samgeo.models.weights_files import (
    check_weights,
    checked_digest,
    config_beside,
    json_object,
    read_tensors,
    weights_file,
)
from samgeo.storage.staging import staged_file

__all__ = ["ARCHITECTURE_KEY", "Checkpoint", "build_network", "load_checkpoint", "save_checkpoint", "write_checkpoint"]

# Metadata key of the architecture in files that samgeo writes.
ARCHITECTURE_KEY = "samgeo.architecture"
TORCH_SUFFIX = ".pth"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Weights that fit an architecture.

    Attributes
    ----------
    weights : dict of str to tensor
        float32 on the CPU, by official name: exactly the tensors of the architecture.
    architecture : Architecture
        Derived from the weights.
    digest : str
        sha256 of the file, in hexadecimal.
    path : Path
        The file.
    """

    weights: dict[str, Tensor]
    architecture: Architecture
    digest: str
    path: Path


def load_checkpoint(path: str | Path, *, sha256: str | None = None) -> Checkpoint:
    """Read a checkpoint of SAM 1.

    The official layout, the layout of Hugging Face's ``SamModel`` and the layout of ``save_checkpoint`` are read, from
    safetensors files and torch files; the content of a file decides which it is. Torch files are read with ``weights_only``, so
    that no code in them is run.

    Parameters
    ----------
    path : str or Path
        A file, or a folder that has ``model.safetensors`` or ``pytorch_model.bin``. A ``config.json`` in the same folder gives
        the sizes that cannot be derived from the tensors.
    sha256 : str, optional
        Expected digest of the file, or the beginning of it.

    Returns
    -------
    Checkpoint

    Raises
    ------
    CheckpointError
        If there is no such file, or it is corrupt, unsafe, incomplete, not finite or not a SAM 1.
    """
    file = weights_file(Path(path))
    digest = checked_digest(file, sha256)
    try:
        tensors, metadata = read_tensors(file)
        recorded = json_object(metadata.get(ARCHITECTURE_KEY, "{}"), "the architecture")
        names = official_names(tensors)
        weights = {names[name]: tensor for name, tensor in tensors.items()}
        shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        architecture = Architecture.from_shapes(shapes, recorded or _hints_beside(file))
        # The sizes may be wrong and huge. On the meta device a network of any size takes no memory.
        with torch.device("meta"):
            expected = SamNetwork(architecture).state_dict()
        check_weights(weights, expected, "SAM 1")
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from None
    return Checkpoint({name: tensor.float() for name, tensor in weights.items()}, architecture, digest, file)


def build_network(checkpoint: Checkpoint) -> SamNetwork:
    """Return a network with the weights of a checkpoint. The network uses the tensors of the checkpoint without a copy."""
    with torch.device("meta"):
        network = SamNetwork(checkpoint.architecture)
    network.load_state_dict(checkpoint.weights, assign=True)
    return network


def save_checkpoint(network: SamNetwork | SamTrainable | Sam, path: str | Path) -> None:
    """Write the weights of a network with the official names.

    Parameters
    ----------
    network : SamNetwork, SamTrainable or Sam
        The network.
    path : str or Path
        The file. An existing file is replaced when everything is written. A name that ends in ``.pth`` makes a torch file as
        the published ones, which the package ``segment_anything`` reads too if the model has no adapters. All other names make
        a safetensors file with the architecture in its metadata.

    Raises
    ------
    OptionError
        If the file cannot be written. An existing file is then unchanged, and no partial file is left.
    """
    network = network.network if isinstance(network, Sam) else network
    write_checkpoint(network.state_dict(), network.architecture, path)


def write_checkpoint(weights: Mapping[str, Tensor], architecture: Architecture, path: str | Path) -> None:
    """Write the weights of a network with the official names.

    Parameters
    ----------
    weights : mapping of str to tensor
        The ``state_dict()`` of a network of this architecture.
    architecture : Architecture
        The sizes.
    path : str or Path
        See `save_checkpoint`.

    Raises
    ------
    OptionError
        If the file cannot be written. An existing file is then unchanged, and no partial file is left.
    """
    parts = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    path = Path(path)
    try:
        with staged_file(path) as temporary:
            if path.suffix.lower() == TORCH_SUFFIX:
                _check_derivable(architecture, parts)
                with temporary.open("wb") as file:
                    torch.save(parts, file)
            else:
                save_file(parts, temporary, metadata={ARCHITECTURE_KEY: architecture.to_json()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise OptionError(f"{path} cannot be written ({error}); make space, or choose another folder.") from None


def _check_derivable(architecture: Architecture, weights: dict[str, Tensor]) -> None:
    """Raise an `OptionError` if the sizes cannot be derived from the tensors, because a torch file has no header for them."""
    if Architecture.from_shapes({name: tuple(tensor.shape) for name, tensor in weights.items()}) != architecture:
        raise OptionError(
            f"the sizes of this model cannot be derived from its tensors, and a {TORCH_SUFFIX} has no header for them; give a "
            "name that ends in .safetensors."
        )


def _hints_beside(file: Path) -> dict[str, object]:
    config = config_beside(file)
    return hints_from_config(config) if "model_type" in config else {}
