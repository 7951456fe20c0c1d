"""Conversion of embeddings to plain arrays in half precision, which can be stored, and back."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from _typeshed import DataclassInstance

    from samgeo.models.protocols import Segmenter
    from samgeo.types import Embedding

__all__ = ["Rounding", "Storable", "from_halves", "nbytes", "pack", "rounded", "to_halves", "unpack"]

Halved = TypeVar("Halved", bound="DataclassInstance")


@runtime_checkable
class Storable(Protocol):
    """A ``Segmenter`` whose embeddings can be stored."""

    def pack(self, embedding: Embedding) -> dict[str, NDArray[Any]]:
        """Convert one window's embedding to arrays with the same names and shapes for every window; floats become float16."""

    def unpack(self, arrays: Mapping[str, NDArray[Any]]) -> Embedding:
        """Convert arrays from `pack` to an embedding; packing it again gives the same arrays."""


@runtime_checkable
class Rounding(Protocol):
    """A ``Storable`` that can round an embedding on the device where it is."""

    def rounded(self, embedding: Embedding) -> Embedding:
        """Return the embedding that ``unpack(pack(embedding))`` returns."""


def pack(model: Segmenter, embedding: Embedding) -> dict[str, NDArray[Any]]:
    """Convert the embedding of one window to arrays that can be stored.

    Parameters
    ----------
    model : Segmenter
        The model that made the embedding.
    embedding
        Embedding of one window.

    Returns
    -------
    dict of str to ndarray
        C-contiguous arrays; floats are float16.

    Raises
    ------
    ModelError
        If the embeddings of the model cannot be stored.
    """
    name = model.name
    if not isinstance(model, Storable):
        raise ModelError(
            f"embeddings of {name!r} cannot be stored: {type(model).__name__} has no methods pack and unpack (see "
            "samgeo.models.embedding_packing.Storable); add them, or work without a store."
        )
    arrays = {name: np.ascontiguousarray(array) for name, array in model.pack(embedding).items()}
    wide = [name for name, array in arrays.items() if array.dtype.kind == "f" and array.dtype != np.float16]
    if wide:
        raise ModelError(f"pack of {name!r} returned {', '.join(wide)} as {arrays[wide[0]].dtype}; return floats as float16.")
    return arrays


def unpack(model: Segmenter, arrays: Mapping[str, NDArray[Any]]) -> Embedding:
    """Convert arrays from `pack` to an embedding of the model, in the type in which the model computes."""
    return cast("Storable", model).unpack(arrays)


def rounded(model: Segmenter, embedding: Embedding) -> Embedding:
    """Round an embedding to the precision in which it would be stored.

    Every embedding is rounded before it is decoded, whether it is stored or not, so that a stored and a new embedding give the
    same masks to the bit. Embeddings of models that cannot store them are not changed.
    """
    if isinstance(model, Rounding):
        return model.rounded(embedding)
    return unpack(model, pack(model, embedding)) if isinstance(model, Storable) else embedding


def nbytes(embedding: Embedding) -> int:
    """Return the memory that an embedding takes, in bytes; arrays in dataclasses, mappings and sequences are counted too."""
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


def to_halves(embedding: DataclassInstance) -> dict[str, NDArray[np.float16]]:
    """Convert the embedding of one window, a dataclass of tensors of shape (1, ...), to arrays of shape (...) by field name."""
    import torch

    return {
        field.name: getattr(embedding, field.name)[0].detach().to("cpu", torch.float16).contiguous().numpy()
        for field in fields(embedding)
    }


def from_halves(kind: type[Halved], arrays: Mapping[str, NDArray[Any]], *, device: torch.device, dtype: torch.dtype) -> Halved:
    """Convert arrays from `to_halves` to an embedding on a device.

    Raises
    ------
    ModelError
        If they belong to another kind of embedding.
    """
    import torch

    names = [field.name for field in fields(kind)]
    if set(names) != set(arrays):
        raise ModelError(f"the arrays are {', '.join(sorted(arrays))}, but this model has {', '.join(names)}; encode again.")
    # The arrays are copied, because a tensor shares the memory of its array, and arrays from a store may be read-only.
    return kind(**{name: torch.from_numpy(np.array(arrays[name]))[None].to(device, dtype) for name in names})
