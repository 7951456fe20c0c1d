"""Embeddings as plain arrays in half precision, and back: what is kept between runs."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

__all__ = ["Rounding", "Storable", "from_halves", "nbytes", "pack", "rounded", "to_halves", "unpack"]

Embedding = TypeVar("Embedding")


@runtime_checkable
class Storable(Protocol):
    """What a ``Segmenter`` has besides, if its embeddings can be kept."""

    def pack(self, embedding: Any) -> dict[str, NDArray[Any]]:
        """Turn one window's embedding into arrays, floats as float16, that have the same names and shapes for every window."""

    def unpack(self, arrays: Mapping[str, NDArray[Any]]) -> Any:
        """Turn arrays from `pack` into an embedding; packed again, it gives the same arrays."""


@runtime_checkable
class Rounding(Protocol):
    """What a ``Storable`` has besides, if it can round an embedding on the device where it is."""

    def rounded(self, embedding: Any) -> Any:
        """Do what ``unpack`` of ``pack`` does."""


def pack(model: Any, embedding: Any) -> dict[str, NDArray[Any]]:
    """Turn one window's embedding into arrays to keep.

    Parameters
    ----------
    model : Segmenter
        That made it.
    embedding
        One window's.

    Returns
    -------
    dict of str to ndarray
        C-contiguous; floats are float16.

    Raises
    ------
    ModelError
        If the model's embeddings cannot be kept.
    """
    name = model.name
    if not isinstance(model, Storable):
        raise ModelError(
            f"embeddings of {name!r} cannot be kept: {type(model).__name__} has no pack and unpack, as "
            "samgeo.models.embedding_packing.Storable says; add them, or work without a store."
        )
    arrays = {name: np.ascontiguousarray(array) for name, array in model.pack(embedding).items()}
    wide = [name for name, array in arrays.items() if array.dtype.kind == "f" and array.dtype != np.float16]
    if wide:
        raise ModelError(f"pack of {name!r} gave {', '.join(wide)} in {arrays[wide[0]].dtype}; give floats as float16.")
    return arrays


def unpack(model: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Turn arrays that `pack` gave into an embedding of the model, in the type that it computes in."""
    return model.unpack(arrays)


def rounded(model: Any, embedding: Any) -> Any:
    """Round an embedding to the precision in which it would be kept.

    Everything that decodes goes through this, whether anything is kept or not, so that what was kept and what is fresh give the
    same masks to the bit. Embeddings of models that cannot keep them stay as they are.
    """
    if isinstance(model, Rounding):
        return model.rounded(embedding)
    return unpack(model, pack(model, embedding)) if isinstance(model, Storable) else embedding


def nbytes(embedding: Any) -> int:
    """Return how much memory an embedding takes: its arrays and tensors, found in dataclasses, mappings and sequences too."""
    size = getattr(embedding, "nbytes", None)
    if isinstance(size, int):
        return size
    if is_dataclass(embedding):
        return sum(nbytes(getattr(embedding, field.name)) for field in fields(embedding))
    if isinstance(embedding, dict):
        return sum(nbytes(value) for value in embedding.values())
    if isinstance(embedding, list | tuple):
        return sum(nbytes(value) for value in embedding)
    return 0


def to_halves(embedding: Any) -> dict[str, NDArray[np.float16]]:
    """Turn one window's embedding, a dataclass of tensors of shape (1, ...), into arrays of shape (...) by field."""
    import torch

    return {
        field.name: getattr(embedding, field.name)[0].detach().to("cpu", torch.float16).contiguous().numpy()
        for field in fields(embedding)
    }


def from_halves(
    kind: type[Embedding], arrays: Mapping[str, NDArray[Any]], *, device: torch.device, dtype: torch.dtype
) -> Embedding:
    """Turn arrays from `to_halves` into an embedding on a device.

    Raises
    ------
    ModelError
        If they belong to another kind of embedding.
    """
    import torch

    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if set(names) != set(arrays):
        raise ModelError(f"the arrays are {', '.join(sorted(arrays))}, those of this model {', '.join(names)}; encode again.")
    # Copied, because tensors share memory with arrays and arrays from a store may not be written to.
    return kind(**{name: torch.from_numpy(np.array(arrays[name]))[None].to(device, dtype) for name in names})
