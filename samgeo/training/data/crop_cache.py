"""Embeddings of crops on disk, for training in which the image encoder does not change."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import fields
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from samgeo.errors import OptionError
from samgeo.storage.atomic import write_whole

if TYPE_CHECKING:
    from samgeo.types import Embedding

__all__ = ["CropCache", "trains_encoder"]

_log = logging.getLogger(__name__)

# No further embeddings are stored when the files of a run have this size. The embedding of a crop of 1024 pixels by SAM takes
# 2.1 MB.
MAX_BYTES = 2_000_000_000


def trains_encoder(network: nn.Module) -> bool:
    """Return whether a parameter is trained on which the embeddings of a network depend."""
    parts = _encoder_parts(network)
    return any(part.requires_grad and name.startswith(parts) for name, part in network.named_parameters())


def _encoder_parts(network: nn.Module) -> tuple[str, ...]:
    parts: tuple[str, ...] = getattr(network, "encoder_parts", ())
    return parts


class CropCache:
    """Embeddings of crops, each of which is encoded once and stored in half precision.

    All embeddings are rounded to half precision, also those that are not stored, so that training does not depend on what is
    stored. The name of a file is a digest of the crop and of the weights of the image encoder.

    Parameters
    ----------
    network : torch.nn.Module that is a `samgeo.models.protocols.Trainable`
        Its ``encoded_type`` is the dataclass of tensors that ``encode`` returns. Its ``encoder_parts`` are the beginnings of
        the names of the parameters on which they depend; these do not change while the cache is used.
    folder : Path
        The folder of the files, which is made when the first is written.
    max_bytes : int, default 2,000,000,000
        Size of all files above which no further embedding is stored.

    Raises
    ------
    OptionError
        If a parameter is trained on which the embeddings depend, or the embeddings of the network cannot be stored.
    """

    def __init__(self, network: nn.Module, folder: Path, *, max_bytes: int = MAX_BYTES) -> None:
        kind: type | None = getattr(network, "encoded_type", None)
        if kind is None:
            raise OptionError(
                f"embeddings of {type(network).__name__} cannot be stored, as it has no encoded_type; set cached_crops to 0."
            )
        if trains_encoder(network):
            raise OptionError(
                "cached_crops needs an image encoder that is not trained, because stored embeddings would be out of date; set "
                "cached_crops to 0, or choose rates or a preset that leave the encoder as it is."
            )
        self._kind = kind
        self._folder = folder
        self._max_bytes = max_bytes
        self._bytes = sum(path.stat().st_size for path in folder.glob("*.safetensors")) if folder.is_dir() else 0
        parts = _encoder_parts(network)
        self._weights = _digest({name: part for name, part in network.state_dict().items() if name.startswith(parts)})

    @torch.no_grad()
    def encode(self, network: Embedding, images: Tensor, *, autocast: bool) -> Embedding:
        """Return the embeddings of crops, which are read from a file if there is one.

        Parameters
        ----------
        network : Trainable
            The network.
        images : tensor of float32, shape (1, S, S, 3)
            From 0 to 255.
        autocast : bool
            Whether to encode in bfloat16.

        Returns
        -------
        embedding
            As ``network.encode`` returns it, rounded to half precision, in float32 and without gradients.
        """
        path = self._folder / f"{_digest({self._weights + str(autocast): images})}.safetensors"
        halves = _read(path)
        if halves is None:
            with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast):
                encoded = network.encode(images)
            halves = {
                one.name: getattr(encoded, one.name).detach().to("cpu", torch.float16).contiguous()
                for one in fields(self._kind)
            }
            self._write(path, halves)
        return self._kind(**{name: half.to(images.device, torch.float32) for name, half in halves.items()})

    def remove(self) -> None:
        """Remove all files."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._bytes = 0

    def _write(self, path: Path, halves: Mapping[str, Tensor]) -> None:
        content = save(dict(halves))
        if self._bytes + len(content) > self._max_bytes:
            _log.info("Embeddings in %s have %d bytes; no more are stored.", self._folder, self._bytes)
            return
        try:
            self._folder.mkdir(exist_ok=True)
            write_whole(path, content)
        except OSError as error:
            _log.warning("The embedding %s cannot be stored (%s); it is computed again when it is needed.", path, error)
            return
        self._bytes += len(content)


def _read(path: Path) -> dict[str, Tensor] | None:
    """Return the tensors of a file; None if there is no file or it is damaged."""
    if not path.is_file():
        return None
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError, ValueError) as error:
        _log.warning("%s cannot be read (%s); the crop is encoded again.", path, error)
        return None


def _digest(tensors: Mapping[str, Tensor]) -> str:
    total = blake2b(digest_size=16)
    for name, tensor in tensors.items():
        content = tensor.detach().cpu().contiguous()
        total.update(f"{name} {content.dtype} {tuple(content.shape)}\n".encode())
        total.update(content.numpy().tobytes())
    return total.hexdigest()
