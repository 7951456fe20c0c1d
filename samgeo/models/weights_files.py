"""Reading of weights files to tensors without running code from the files, and checks of the tensors."""

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
from torch import Tensor

from samgeo.errors import CheckpointError

__all__ = [
    "TensorShapes",
    "check_weights",
    "checked_digest",
    "config_beside",
    "file_digest",
    "json_object",
    "read_tensors",
    "sorted_header",
    "weights_file",
]

# Keys under which training scripts store the weights in a larger dictionary.
WRAPPERS = ("model", "state_dict", "model_state", "model_state_dict")
# Names of the weights file in a folder, in the order in which transformers looks for them.
WEIGHTS_IN_FOLDER = ("model.safetensors", "pytorch_model.bin")


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checked_digest(file: Path, sha256: str | None) -> str:
    """Return the sha256 of a file, in hexadecimal.

    Parameters
    ----------
    file : Path
        The file.
    sha256 : str or None
        Expected digest, or the beginning of it; None if every digest is accepted.

    Raises
    ------
    CheckpointError
        If the file has another digest.
    """
    digest = file_digest(file)
    if sha256 is not None and not digest.startswith(sha256.lower()):
        raise CheckpointError(
            f"{file} has sha256 {digest[:12]}..., not {sha256[:12]}...: it is damaged or another file. Delete it and download "
            "it again."
        )
    return digest


def weights_file(path: Path) -> Path:
    """Return the file of the weights: ``path`` itself, or the file of the weights in the folder ``path``.

    Raises
    ------
    CheckpointError
        If there is no such file.
    """
    if path.is_dir():
        found = [path / name for name in WEIGHTS_IN_FOLDER if (path / name).is_file()]
        if not found:
            raise CheckpointError(f"folder {path} contains none of {', '.join(WEIGHTS_IN_FOLDER)}; give the path of the file.")
        return found[0]
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}; give the path of a checkpoint, or a name from samgeo.list_models().")
    return path


def config_beside(file: Path) -> dict[str, Any]:
    """Return the content of the ``config.json`` in the folder of a file; it is empty if there is none.

    Raises
    ------
    CheckpointError
        If ``config.json`` is not a JSON object.
    """
    config = file.with_name("config.json")
    return json_object(config.read_text(encoding="utf-8", errors="replace"), "config.json") if config.is_file() else {}


def json_object(text: str, what: str) -> dict[str, Any]:
    """Parse a JSON object; ``what`` names it in messages.

    Raises
    ------
    CheckpointError
        If the text is not JSON, or not an object.
    """
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{what} that came with the weights is not JSON ({error}); download it again.") from None
    if not isinstance(parsed, dict):
        raise CheckpointError(f"{what} that came with the weights is not a JSON object; download it again.")
    return parsed


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file, or a torch file that contains only tensors; the content of a file decides which it is.

    Torch files are read with ``weights_only``, so that no code in them is run.

    Parameters
    ----------
    file : Path
        The file.

    Returns
    -------
    tensors : dict of str to tensor
        On the CPU, by the names in the file.
    metadata : dict of str to str
        The metadata of a safetensors file; empty for a torch file.

    Raises
    ------
    CheckpointError
        If the file is corrupt, unsafe, or not a weights file.
    """
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


def check_weights(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], kind: str) -> None:
    """Check that weights are exactly those of a network, and that their values are finite.

    Parameters
    ----------
    weights : mapping of str to tensor
        The weights.
    expected : mapping of str to tensor
        The ``state_dict`` of the network. Its device may be "meta", because only the shapes are used.
    kind : str
        Kind of the model, for messages.

    Raises
    ------
    CheckpointError
        If a tensor is missing, does not belong to the network, or has another shape, an integer type or infinite values.
    """
    missing = [name for name in expected if name not in weights]
    if missing:
        raise CheckpointError(
            f"{len(missing)} tensors are missing, such as {_some(missing)}: this is not a complete {kind} checkpoint."
        )
    unexpected = [name for name in weights if name not in expected]
    if unexpected:
        raise CheckpointError(
            f"{len(unexpected)} tensors do not belong to {kind}, such as {_some(unexpected)}: this is another kind of model. "
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


@dataclass(frozen=True, slots=True)
class TensorShapes:
    """Shapes of the tensors of a checkpoint, from which the sizes of a network are derived.

    Attributes
    ----------
    shapes : mapping of str to tuple of int
        By name.
    kind : str
        Kind of the model, for messages.
    """

    shapes: Mapping[str, tuple[int, ...]]
    kind: str

    def __contains__(self, name: str) -> bool:
        return name in self.shapes

    def of(self, name: str, dimensions: int) -> tuple[int, ...]:
        """Return the shape of a tensor.

        Raises
        ------
        CheckpointError
            If the tensor is missing, or has another number of dimensions.
        """
        if name not in self.shapes:
            raise CheckpointError(f"tensor {name} is missing: this is not a complete {self.kind} checkpoint.")
        shape = tuple(self.shapes[name])
        if len(shape) != dimensions:
            raise CheckpointError(f"tensor {name} has shape {shape}, not {dimensions} dimensions.")
        return shape

    def count(self, pattern: str) -> int:
        """Return for how many numbers from 0 on, without a gap, there is a tensor of the name ``pattern.format(number)``.

        Raises
        ------
        CheckpointError
            If there is none for 0.
        """
        count = 0
        while pattern.format(count) in self.shapes:
            count += 1
        if not count:
            raise CheckpointError(f"tensor {pattern.format(0)} is missing: this is not a complete {self.kind} checkpoint.")
        return count


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = dict(opened.metadata() or {})
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"the safetensors file is truncated or corrupt ({error}); download it again.") from None
    return tensors, metadata


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


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def sorted_header(content: bytes) -> bytes:
    """Sort the header of a safetensors file. Its order is otherwise random, and would change the digest of equal weights."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]
