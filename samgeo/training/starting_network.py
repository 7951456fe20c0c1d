"""Networks that a training by a recipe starts from, and the files of trained networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from samgeo.errors import OptionError
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

__all__ = ["StartingNetwork", "output_suffix", "save_trained", "start_names", "starting_network"]


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
        model = load_tiny(None if start == "tiny" else start, device="cpu", dtype="float32") if _is_tiny(start) else None
        other = load_model(start, device="cpu", dtype="float32") if model is None else None
        if isinstance(other, Sam):
            return _sam(other, blocks)
        if not isinstance(model, Tiny):
            raise OptionError(
                f"{start} cannot be trained: it is neither SAM 1 nor of the architecture of the bundled model. Give one "
                f"of {', '.join(sorted(start_names()))}, or such a file."
            )
        network, origin = model.network, model.digest
    if blocks:
        attend, deepen = blocks.get("attend", network.config.attend), blocks.get("deepen", network.config.deepen)
        network = deepened(network, (attend[0], attend[1]), (deepen[0], deepen[1], deepen[2]), seed=seed)
    return StartingNetwork(network, origin, network.config.input_size)


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


def _is_tiny(start: str) -> bool:
    """Return whether a start is of the architecture of the bundled model; a file that does not exist counts as one."""
    path = Path(start)
    return start == "tiny" or (start not in start_names() and (not path.exists() or is_tiny(path)))


def _sam(model: Sam, blocks: Mapping[str, tuple[int, ...]]) -> StartingNetwork:
    if blocks:
        raise OptionError(f"the image encoder of {model.name} has a fixed number of blocks; leave [network] (--network) out.")
    return StartingNetwork(SamTrainable(model.network), model.digest, model.input_size)
