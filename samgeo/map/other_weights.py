"""Other weights in a session: weights of the same architecture from a file, such as those that were trained in the session."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from samgeo.errors import CheckpointError, OptionError
from samgeo.map.state.actions import UseModel
from samgeo.models.device import untyped_digest
from samgeo.models.registry import load_model
from samgeo.segmentation.predictor import Predictor
from samgeo.training.network_kinds import NetworkToTrain, kind_of

if TYPE_CHECKING:
    from samgeo.models.protocols import Segmenter

__all__ = ["place_of", "predictor_with", "trainable_model", "weights_of"]


def trainable_model(model: Segmenter) -> NetworkToTrain:
    """Return what training must know of the model of a session: one of the bundled architecture, of SAM 1 or of SAM 2.

    Raises
    ------
    OptionError
        If it has another architecture.
    """
    found = kind_of(model)
    if found is None:
        raise OptionError(
            f"the model of this session is {model.name}, which cannot be trained or exchanged in a session; open the map with "
            'model="tiny", or with a model of SAM 1 or SAM 2.'
        )
    return found


def place_of(model: Segmenter) -> tuple[torch.device, torch.dtype]:
    """Return the device of a model that can be trained, and its type of numbers. All such models have both."""
    return getattr(model, "device", torch.device("cpu")), getattr(model, "dtype", torch.float32)


def weights_of(path: str | os.PathLike[str], start: Predictor) -> UseModel:
    """Return the action that uses the weights of a file in a session that was opened with another predictor.

    Raises
    ------
    OptionError
        If the model of the predictor cannot be exchanged.
    CheckpointError
        If the file cannot be read, or its windows have another size.
    """
    place = Path(path).absolute()
    model = _load(place, start.model)
    return UseModel(model.name, untyped_digest(model.digest), str(place))


def predictor_with(start: Predictor, weights: UseModel) -> Predictor:
    """Return a predictor with the raster, the windows and the options of another one, and with other weights.

    Embeddings are not stored, because a store belongs to the weights that made it.

    Raises
    ------
    CheckpointError
        If the file of the weights cannot be read, or differs from the one that the session used.
    """
    model = _load(Path(weights.path), start.model)
    # Another machine may compute in another type, so only the digests of the files are compared.
    if untyped_digest(model.digest) != untyped_digest(weights.digest):
        raise CheckpointError(
            f"{weights.path} has changed since the session used it (its digest is {model.digest[:16]}, and was "
            f"{weights.digest[:16]}); put the file back, or undo until the model of the start answers again."
        )
    is_fixed = isinstance(start.zoom, float) and start.zoom != 1
    return Predictor(
        start.raster,
        model=model,
        zoom=start.zoom,
        scales=start.scales,
        window=None if is_fixed else start.lattice.window,
        overlap=start.lattice.overlap,
        min_part=start.min_part,
        min_hole=start.min_hole,
        threads=start.threads,
    )


def _load(path: Path, like: Segmenter) -> Segmenter:
    """Load weights of the same kind of network, on the same device and with the same type of numbers, as those of a model."""
    network = trainable_model(like)
    device, dtype = place_of(like)
    model = load_model(path, device=device, dtype=str(dtype).removeprefix("torch."))
    if type(kind_of(model)) is not type(network):
        raise CheckpointError(
            f"{path} has weights of the model {model.name}, of another architecture than {like.name}; give weights of the same "
            "architecture, or open a new map with this file as its model."
        )
    if model.input_size != like.input_size:
        raise CheckpointError(
            f"{path} has windows of {model.input_size} pixels, and the model of this session has {like.input_size}; give "
            "weights of the same architecture."
        )
    return model
