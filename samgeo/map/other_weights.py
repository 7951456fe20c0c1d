"""Other weights in a session: weights of the same architecture from a file, such as those that were trained in the session."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from samgeo.errors import CheckpointError, OptionError
from samgeo.map.state.actions import UseModel
from samgeo.models.tiny import Tiny, load_tiny
from samgeo.segmentation.predictor import Predictor

if TYPE_CHECKING:
    from samgeo.models.protocols import Segmenter

__all__ = ["predictor_with", "trainable_model", "weights_of"]


def trainable_model(model: Segmenter) -> Tiny:
    """Return the model of a session, which must have the architecture of the bundled one.

    Raises
    ------
    OptionError
        If it has another architecture.
    """
    if not isinstance(model, Tiny):
        raise OptionError(
            f"the model of this session is {model.name}, which cannot be trained or exchanged in a session; open the map with "
            'model="tiny", or with a file of the same architecture.'
        )
    return model


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
    model = _load(place, trainable_model(start.model))
    return UseModel(model.name, model.digest, str(place))


def predictor_with(start: Predictor, weights: UseModel) -> Predictor:
    """Return a predictor with the raster, the windows and the options of another one, and with other weights.

    Embeddings are not stored, because a store belongs to the weights that made it.

    Raises
    ------
    CheckpointError
        If the file of the weights cannot be read, or differs from the one that the session used.
    """
    model = _load(Path(weights.path), trainable_model(start.model))
    if model.digest != weights.digest:
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


def _load(path: Path, like: Tiny) -> Tiny:
    model = load_tiny(path, device=like.device, dtype=like.dtype)
    if model.input_size != like.input_size:
        raise CheckpointError(
            f"{path} has windows of {model.input_size} pixels, and the model of this session has {like.input_size}; give "
            "weights of the same architecture."
        )
    return model
