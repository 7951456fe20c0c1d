"""Reading of SAM 1 checkpoint files to verified weights, without running code from the files, and writing of such files."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from samgeo.errors import CheckpointError, OptionError
from samgeo.models.sam1.architecture import Architecture
from samgeo.models.sam1.checkpoint_layouts import hints_from_config, official_names
from samgeo.models.sam1.model import Sam, SamNetwork
from samgeo.storage.staging import staged_file

__all__ = ["Checkpoint", "build_network", "file_digest", "load_checkpoint", "save_checkpoint"]

# Keys under which training scripts store the weights in a larger dictionary.
WRAPPERS = ("model", "state_dict", "model_state", "model_state_dict")
# Names of the weights file in a folder, in the order in which transformers looks for them.
WEIGHTS_IN_FOLDER = ("model.safetensors", "pytorch_model.bin")
# Metadata key of the architecture in files that samgeo writes.
ARCHITECTURE_KEY = "samgeo.architecture"


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


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    file = _weights_file(Path(path))
    digest = file_digest(file)
    if sha256 is not None and not digest.startswith(sha256.lower()):
        raise CheckpointError(
            f"{file} has sha256 {digest[:12]}..., not {sha256[:12]}...: it is damaged or another file. Delete it and download "
            "it again."
        )
    try:
        tensors, recorded = _read(file)
        names = official_names(tensors)
        weights = {names[name]: tensor for name, tensor in tensors.items()}
        shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        architecture = Architecture.from_shapes(shapes, recorded or _hints_beside(file))
        _verify(weights, architecture)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from None
    return Checkpoint({name: tensor.float() for name, tensor in weights.items()}, architecture, digest, file)


def build_network(checkpoint: Checkpoint) -> SamNetwork:
    """Return a network with the weights of a checkpoint. The network uses the tensors of the checkpoint without a copy."""
    with torch.device("meta"):
        network = SamNetwork(checkpoint.architecture)
    network.load_state_dict(checkpoint.weights, assign=True)
    return network


def save_checkpoint(network: SamNetwork | Sam, path: str | Path) -> None:
    """Write the weights of a network as safetensors, with official names and with the architecture in the metadata.

    Parameters
    ----------
    network : SamNetwork or Sam
        The network.
    path : str or Path
        The file. An existing file is replaced when everything is written.

    Raises
    ------
    OptionError
        If the file cannot be written. An existing file is then unchanged, and no partial file is left.
    """
    network = network.network if isinstance(network, Sam) else network
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    path = Path(path)
    try:
        with staged_file(path) as temporary:
            save_file(weights, temporary, metadata={ARCHITECTURE_KEY: network.architecture.to_json()})
    except (OSError, SafetensorError) as error:
        raise OptionError(f"{path} cannot be written ({error}); make space, or choose another folder.") from None


def _weights_file(path: Path) -> Path:
    if path.is_dir():
        found = [path / name for name in WEIGHTS_IN_FOLDER if (path / name).is_file()]
        if not found:
            raise CheckpointError(f"folder {path} contains none of {', '.join(WEIGHTS_IN_FOLDER)}; give the path of the file.")
        return found[0]
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}; give the path of a checkpoint, or a name from samgeo.list_models().")
    return path


def _hints_beside(file: Path) -> dict[str, Any]:
    config = file.with_name("config.json")
    parsed = _json_object(config.read_text(encoding="utf-8", errors="replace"), "config.json") if config.is_file() else {}
    return hints_from_config(parsed) if "model_type" in parsed else {}


def _json_object(text: str, what: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{what} that came with the weights is not JSON ({error}); download it again.") from None
    if not isinstance(parsed, dict):
        raise CheckpointError(f"{what} that came with the weights is not a JSON object; download it again.")
    return parsed


def _read(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a file by the names in the file, and the architecture in its metadata, which may be empty."""
    with file.open("rb") as stream:
        head = stream.read(256)
    if head[8:9] == b"{":
        return _read_safetensors(file)
    if head[:2] in (b"PK", b"\x80\x02"):
        return _read_torch(file, mmap=head[:2] == b"PK"), {}
    text = head.lstrip()
    if text[:1] == b"<":
        raise CheckpointError(
            "this is a web page, not a checkpoint, probably a page with an error or a login. Download the file again."
        )
    if text.startswith(b"version https://git-lfs"):
        raise CheckpointError("this is a Git LFS pointer, not the file it points to; run 'git lfs pull'.")
    raise CheckpointError(
        "this is neither a safetensors file nor a checkpoint of torch; download it again, or convert it to safetensors."
    )


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"the safetensors file is truncated or corrupt ({error}); download it again.") from None
    return tensors, _json_object(metadata.get(ARCHITECTURE_KEY, "{}"), "the architecture")


def _read_torch(file: Path, *, mmap: bool) -> dict[str, Tensor]:
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            "it was refused, because it contains Python objects that could run code when they are read, or is corrupt. "
            f"Save only the model's state_dict(), or convert it to safetensors. ({_first_line(error)})"
        ) from None
    except (
        RuntimeError,
        OSError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        struct.error,
    ) as error:
        raise CheckpointError(f"the file is truncated or corrupt; download it again. ({_first_line(error)})") from None
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"it contains a {type(content).__name__} instead of named tensors; save the model's state_dict()."
        )
    others = [str(name) for name, value in content.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if others:
        raise CheckpointError(f"it contains values that are not tensors: {_some(others)}. Save only the model's state_dict().")
    return dict(content)


def _verify(weights: Mapping[str, Tensor], architecture: Architecture) -> None:
    # The sizes may be wrong and huge. On the meta device a network of any size takes no memory.
    with torch.device("meta"):
        expected = SamNetwork(architecture).state_dict()
    missing = [name for name in expected if name not in weights]
    if missing:
        raise CheckpointError(
            f"{len(missing)} tensors are missing, such as {_some(missing)}: this is not a complete SAM 1 checkpoint."
        )
    unexpected = [name for name in weights if name not in expected]
    if unexpected:
        raise CheckpointError(
            f"{len(unexpected)} tensors do not belong to SAM 1, such as {_some(unexpected)}: this is another kind of model. "
            "samgeo.list_models() lists the models that samgeo reads."
        )
    for name, tensor in expected.items():
        if weights[name].shape != tensor.shape:
            raise CheckpointError(f"tensor {name} has shape {tuple(weights[name].shape)}, not {tuple(tensor.shape)}.")
        if not weights[name].is_floating_point():
            raise CheckpointError(f"tensor {name} has the type {weights[name].dtype}; a floating-point type is expected.")
        if not weights[name].float().isfinite().all():
            raise CheckpointError(
                f"tensor {name} holds values that are not finite: the training diverged or the file is damaged."
            )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
