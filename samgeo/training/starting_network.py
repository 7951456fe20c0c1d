"""Networks that a training by a recipe starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from samgeo.arguments import check_types
from samgeo.models.protocols import Segmenter
from samgeo.models.registry import load_model
from samgeo.models.tiny import load_tiny, new_tiny
from samgeo.models.tiny.checkpoint import is_tiny
from samgeo.training.network_kinds import NetworkToTrain, TrainableNetwork, start_names, to_train

__all__ = ["StartingNetwork", "output_suffix", "starting_network", "trainable_network"]


@dataclass(frozen=True, slots=True, eq=False)
class StartingNetwork:
    """A network to train.

    Attributes
    ----------
    trained : NetworkToTrain
        The network with the weights that training starts from.
    origin : str
        Digest of these weights; "none" for random weights.
    """

    trained: NetworkToTrain
    origin: str


def starting_network(start: str, blocks: Mapping[str, tuple[int, ...]], seed: int) -> StartingNetwork:
    """Load the weights that training starts from.

    Parameters
    ----------
    start : str
        "tiny", "none", the name of a model of SAM 1 or SAM 2, or a file of the bundled model's architecture, of SAM 1 or of
        SAM 2.
    blocks : mapping of str to tuple of int
        ``attend`` and ``deepen`` of the image encoder of the bundled model's architecture. With none, the network stays as it
        is.
    seed : int
        Seed of new weights.

    Raises
    ------
    OptionError
        If the weights are those of another architecture, or an image encoder of a fixed number of blocks is to have more.
    CheckpointError, ModelError
        If the weights cannot be read or downloaded.
    """
    if start == "none":
        return StartingNetwork(to_train(new_tiny(seed=seed)).with_blocks(blocks, seed), "none")
    model = _load_tiny(start) if _is_tiny(start) else load_model(start, device="cpu", dtype="float32")
    return StartingNetwork(to_train(model).with_blocks(blocks, seed), model.digest)


@check_types
def trainable_network(model: Segmenter) -> TrainableNetwork:
    """Return the network of a model, for `samgeo.training.apply_preset` and `samgeo.training.train`.

    Training changes the model, because its network is returned and not a copy of it.

    Parameters
    ----------
    model : Segmenter
        A model of the architecture of the bundled model, of SAM 1 or of SAM 2, in float32.

    Returns
    -------
    TinyNetwork, SamTrainable or Sam2Trainable

    Raises
    ------
    OptionError
        If the model is of another architecture or type.

    Examples
    --------
    >>> import samgeo
    >>> from samgeo.training import trainable_network
    >>> type(trainable_network(samgeo.load_model("tiny", device="cpu"))).__name__
    'TinyNetwork'
    """
    return to_train(model).network


def output_suffix(output: str | Path) -> str:
    """Return the suffix that the file of a trained network must have: ``.pth`` if it has that, else ``.safetensors``."""
    return ".pth" if Path(output).suffix.lower() == ".pth" else ".safetensors"


def _load_tiny(start: str) -> Segmenter:
    model: Segmenter = load_tiny(None if start == "tiny" else start, device="cpu", dtype="float32")
    return model


def _is_tiny(start: str) -> bool:
    """Return whether a start is of the architecture of the bundled model; a file that does not exist counts as one."""
    path = Path(start)
    return start == "tiny" or (start not in start_names() and (not path.exists() or is_tiny(path)))
