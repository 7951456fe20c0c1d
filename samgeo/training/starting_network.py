"""Networks that a training by a recipe starts from, and the files of trained networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.models.protocols import Segmenter
from samgeo.models.registry import list_models, load_model
from samgeo.models.sam1.checkpoint import save_checkpoint
from samgeo.models.sam1.model import Sam
from samgeo.models.sam1.trainable import SamTrainable
from samgeo.models.tiny import deepened, load_tiny, new_tiny, save_tiny
from samgeo.models.tiny.checkpoint import is_tiny
from samgeo.models.tiny.model import Tiny
from samgeo.models.tiny.network import TinyNetwork
from samgeo.models.weights_files import file_digest
from samgeo.storage.atomic import check_new

__all__ = ["StartingNetwork", "output_suffix", "save_trained", "start_names", "starting_network", "trainable_network"]


@dataclass(frozen=True, slots=True, eq=False)
class StartingNetwork:
    """A network to train.

    Attributes
    ----------
    network : TinyNetwork or SamTrainable
        The network with the weights that training starts from.
    origin : str
        Digest of these weights; "none" for random weights.
    window_px : int
        Side of the network's window in pixels.
    """

    network: TinyNetwork | SamTrainable
    origin: str
    window_px: int

    @property
    def is_tiny(self) -> bool:
        """Whether the network has the architecture of the bundled model."""
        return isinstance(self.network, TinyNetwork)


def start_names() -> set[str]:
    """Return the names that can stand in place of a file of weights to start from."""
    return {"tiny", "none", *(info.name for info in list_models(kind="prompts") if info.family == "sam")}


def starting_network(start: str, blocks: Mapping[str, tuple[int, ...]], seed: int) -> StartingNetwork:
    """Load the weights that training starts from.

    Parameters
    ----------
    start : str
        "tiny", "none", the name of a model of SAM 1, or a file of the bundled model's architecture or of SAM 1.
    blocks : mapping of str to tuple of int
        ``attend`` and ``deepen`` of the image encoder of the bundled model's architecture. With none, the network stays as it
        is.
    seed : int
        Seed of new weights.

    Raises
    ------
    OptionError
        If the weights are those of another architecture, or the image encoder of SAM 1 is to have more blocks.
    CheckpointError, ModelError
        If the weights cannot be read or downloaded.
    """
    if start == "none":
        network, origin = new_tiny(seed=seed), "none"
    else:
        model = _load_tiny(start) if _is_tiny(start) else load_model(start, device="cpu", dtype="float32")
        found = trainable_network(model)
        if isinstance(found, SamTrainable):
            if blocks:
                raise OptionError(
                    f"the image encoder of {model.name} has a fixed number of blocks; leave [network] (--network) out."
                )
            return StartingNetwork(found, model.digest, model.input_size)
        network, origin = found, model.digest
    if blocks:
        attend, deepen = blocks.get("attend", network.config.attend), blocks.get("deepen", network.config.deepen)
        network = deepened(network, (attend[0], attend[1]), (deepen[0], deepen[1], deepen[2]), seed=seed)
    return StartingNetwork(network, origin, network.config.input_size)


@check_types
def trainable_network(model: Segmenter) -> TinyNetwork | SamTrainable:
    """Return the network of a model, for `samgeo.training.apply_preset` and `samgeo.training.train`.

    Training changes the model, because its network is returned and not a copy of it.

    Parameters
    ----------
    model : Segmenter
        A model of the architecture of the bundled model, or of SAM 1, in float32.

    Returns
    -------
    TinyNetwork or SamTrainable

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
    if not isinstance(model, Sam | Tiny):
        raise OptionError(
            f"{model.name} cannot be trained: it is neither SAM 1 nor of the architecture of the bundled model. Give one of "
            f"{', '.join(sorted(start_names()))}, or such a file."
        )
    if model.dtype != torch.float32:
        raise OptionError(
            f"{model.name} was loaded in {model.dtype}, and training needs float32; load it with dtype='float32'."
        )
    return model.network if isinstance(model, Tiny) else SamTrainable(model.network)


def output_suffix(output: str | Path) -> str:
    """Return the suffix that the file of a trained network must have: ``.pth`` if it has that, else ``.safetensors``."""
    return ".pth" if Path(output).suffix.lower() == ".pth" else ".safetensors"


def save_trained(network: TinyNetwork | SamTrainable, weights: Mapping[str, Tensor], path: Path, *, overwrite: bool) -> str:
    """Write trained weights, and return the SHA-256 of the file.

    Weights of the bundled model's architecture are written in half precision, those of SAM 1 in float32 with the official
    names.

    Raises
    ------
    OptionError
        If the file cannot be written.
    """
    if isinstance(network, TinyNetwork):
        return save_tiny(weights, network.config, path, overwrite=overwrite)
    check_new(path, output_suffix(path), overwrite=overwrite)
    network.load_state_dict(dict(weights))
    save_checkpoint(network, path)
    return file_digest(path)


def _load_tiny(start: str) -> Segmenter:
    model: Segmenter = load_tiny(None if start == "tiny" else start, device="cpu", dtype="float32")
    return model


def _is_tiny(start: str) -> bool:
    """Return whether a start is of the architecture of the bundled model; a file that does not exist counts as one."""
    path = Path(start)
    return start == "tiny" or (start not in start_names() and (not path.exists() or is_tiny(path)))
