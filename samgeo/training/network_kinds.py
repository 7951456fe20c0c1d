"""The kinds of networks that can be trained, what training must know of each of them, and the weights that it starts from."""

from __future__ import annotations

import copy
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self, TypeAlias

import torch
from torch import Tensor, nn

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.models.protocols import Segmenter
from samgeo.models.registry import list_models, load_model
from samgeo.models.sam1.checkpoint import write_checkpoint
from samgeo.models.sam1.model import Sam
from samgeo.models.sam1.trainable import SamTrainable, add_adapters
from samgeo.models.sam2 import Sam2
from samgeo.models.sam2.checkpoint import write_sam2
from samgeo.models.sam2.trainable import Sam2Trainable
from samgeo.models.tiny import Tiny, deepened, load_tiny, new_tiny, save_tiny
from samgeo.models.tiny.checkpoint import is_tiny
from samgeo.models.tiny.network import TinyNetwork
from samgeo.models.weights_files import file_digest
from samgeo.storage.atomic import check_new
from samgeo.training.presets import SAM, SAM2, TINY

__all__ = [
    "NetworkToTrain",
    "StartingNetwork",
    "TrainableNetwork",
    "kind_of",
    "output_suffix",
    "start_names",
    "starting_network",
    "to_train",
    "trainable_network",
]

TrainableNetwork: TypeAlias = TinyNetwork | SamTrainable | Sam2Trainable


@dataclass(frozen=True, slots=True, eq=False)
class NetworkToTrain(ABC):
    """A network that can be trained, and what training must know of it.

    A class for each kind of networks derives from it; `to_train` chooses the class.

    Attributes
    ----------
    network : TrainableNetwork
        The network.
    kind : str
        Kind of the network, as the keys of ``TrainingPreset.trained``.
    iou_heads : tuple of str
        Beginnings of the names of the parameters of the heads that predict the IoU.
    unused : tuple of str
        Beginnings of the names of parameters on which no answer depends. They are not trained.
    whole_windows : bool
        Whether a crop costs as much as a whole window, whatever its side. Crops are then as large as the window by default, and
        their embeddings are kept if the image encoder does not change.
    max_cached_crops : int
        Number of embeddings that `CropCache` has room for.
    """

    network: TrainableNetwork

    kind: ClassVar[str]
    iou_heads: ClassVar[tuple[str, ...]]
    unused: ClassVar[tuple[str, ...]] = ()
    whole_windows: ClassVar[bool] = True
    max_cached_crops: ClassVar[int] = 0

    @classmethod
    @abstractmethod
    def of(cls, given: object) -> Self | None:
        """Return a model's network, or a network itself, if it is of this kind; otherwise None."""

    @property
    @abstractmethod
    def window_px(self) -> int:
        """Side of the network's window in pixels."""

    @abstractmethod
    def save(self, weights: Mapping[str, Tensor], path: Path, *, overwrite: bool = False) -> str:
        """Write weights to a file that `samgeo.load_model` reads, and return its SHA-256.

        The file has the sizes of the network, also those of adapters, but not its present weights.

        Raises
        ------
        OptionError
            If the file cannot be written.
        """

    def suffix(self, output: Path) -> str:  # noqa: ARG002 - for kinds that have several
        """Return the suffix that the file of an output must have."""
        return ".safetensors"

    def copied(self) -> Self:
        """Return the same with a copy of the network, on the CPU, where new layers get the same weights on every machine."""
        return dataclasses.replace(self, network=copy.deepcopy(self.network).cpu())

    def add_adapters(self, kind: str, seed: int) -> None:  # noqa: ARG002 - for kinds that can
        """Add adapters to the image encoder; see `samgeo.models.sam1.trainable.add_adapters`."""
        raise OptionError(f"a {type(self.network).__name__} has no adapters of the kind {kind!r}; choose another preset.")

    def with_blocks(self, blocks: Mapping[str, tuple[int, ...]], seed: int) -> NetworkToTrain:  # noqa: ARG002 - for kinds that can
        """Return the same with more blocks in the image encoder: ``attend`` and ``deepen`` of the bundled architecture.

        Raises
        ------
        OptionError
            If the number of blocks is fixed.
        """
        if blocks:
            raise OptionError(
                "the image encoder of this model has a fixed number of blocks; leave [network] (--network) out, or start from "
                "a model of the bundled architecture."
            )
        return self


@dataclass(frozen=True, slots=True, eq=False)
class TinyToTrain(NetworkToTrain):
    """A network of the architecture of the bundled model. Its weights are written in half precision."""

    network: TinyNetwork

    kind: ClassVar[str] = TINY
    iou_heads: ClassVar[tuple[str, ...]] = ("decoder.iou.", "decoder.quality.")
    whole_windows: ClassVar[bool] = False

    @classmethod
    def of(cls, given: object) -> Self | None:
        """Return the network of a model of this kind; see `NetworkToTrain`."""
        network = given.network if isinstance(given, Tiny) else given
        return cls(network) if isinstance(network, TinyNetwork) else None

    @property
    def window_px(self) -> int:
        """Side of the network's window in pixels."""
        return self.network.config.input_size

    def save(self, weights: Mapping[str, Tensor], path: Path, *, overwrite: bool = False) -> str:
        """Write weights to a file; see `NetworkToTrain`."""
        return save_tiny(weights, self.network.config, path, overwrite=overwrite)

    def with_blocks(self, blocks: Mapping[str, tuple[int, ...]], seed: int) -> NetworkToTrain:
        """Return the same with more blocks in the image encoder; see `NetworkToTrain`."""
        if not blocks:
            return self
        config = self.network.config
        attend, deepen = blocks.get("attend", config.attend), blocks.get("deepen", config.deepen)
        return TinyToTrain(deepened(self.network, (attend[0], attend[1]), (deepen[0], deepen[1], deepen[2]), seed=seed))


@dataclass(frozen=True, slots=True, eq=False)
class SamToTrain(NetworkToTrain):
    """A network of SAM 1. Its weights are written in float32 with the official names, as safetensors or as a torch file."""

    network: SamTrainable

    kind: ClassVar[str] = SAM
    iou_heads: ClassVar[tuple[str, ...]] = ("mask_decoder.iou_prediction_head.",)
    max_cached_crops: ClassVar[int] = 900

    @classmethod
    def of(cls, given: object) -> Self | None:
        """Return the network of a model of this kind; see `NetworkToTrain`."""
        network = SamTrainable(given.network) if isinstance(given, Sam) else given
        return cls(network) if isinstance(network, SamTrainable) else None

    @property
    def window_px(self) -> int:
        """Side of the network's window in pixels."""
        return self.network.architecture.input_size

    def save(self, weights: Mapping[str, Tensor], path: Path, *, overwrite: bool = False) -> str:
        """Write weights to a file; see `NetworkToTrain`."""
        check_new(path, self.suffix(path), overwrite=overwrite)
        write_checkpoint(weights, self.network.architecture, path)
        return file_digest(path)

    def suffix(self, output: Path) -> str:
        """Return ``.pth`` if the output ends in it, and otherwise ``.safetensors``."""
        return ".pth" if output.suffix.lower() == ".pth" else ".safetensors"

    def add_adapters(self, kind: str, seed: int) -> None:
        """Add adapters to the image encoder; see `samgeo.models.sam1.trainable.add_adapters`."""
        add_adapters(self.network, kind, seed=seed)


@dataclass(frozen=True, slots=True, eq=False)
class Sam2ToTrain(NetworkToTrain):
    """A network of SAM 2 for images. Its weights are written in float32 with the official names, without the memory."""

    network: Sam2Trainable

    kind: ClassVar[str] = SAM2
    iou_heads: ClassVar[tuple[str, ...]] = ("mask_decoder.iou_prediction_head.",)
    unused: ClassVar[tuple[str, ...]] = ("mask_decoder.pred_obj_score_head.",)
    max_cached_crops: ClassVar[int] = 200

    @classmethod
    def of(cls, given: object) -> Self | None:
        """Return the network of a model of this kind; see `NetworkToTrain`."""
        network = Sam2Trainable(given.network) if isinstance(given, Sam2) else given
        return cls(network) if isinstance(network, Sam2Trainable) else None

    @property
    def window_px(self) -> int:
        """Side of the network's window in pixels."""
        return self.network.architecture.input_size

    def save(self, weights: Mapping[str, Tensor], path: Path, *, overwrite: bool = False) -> str:
        """Write weights to a file; see `NetworkToTrain`."""
        check_new(path, ".safetensors", overwrite=overwrite)
        write_sam2(weights, self.network.architecture, path)
        return file_digest(path)


KINDS: tuple[type[NetworkToTrain], ...] = (TinyToTrain, SamToTrain, Sam2ToTrain)
# Families in the table of models whose networks can be trained.
FAMILIES = ("tiny", "sam", "sam2")


def start_names() -> set[str]:
    """Return the names that can stand in place of a file of weights to start from."""
    return {"none", *(info.name for info in list_models(kind="prompts") if info.family in FAMILIES)}


def kind_of(given: object) -> NetworkToTrain | None:
    """Return what training must know of a model or of a network in any type of numbers; None if it cannot be trained."""
    return next((one for kind in KINDS if (one := kind.of(given)) is not None), None)


def to_train(given: object) -> NetworkToTrain:
    """Return what training must know of a model or of a network; the network is that of the model, and no copy of it.

    Parameters
    ----------
    given : Segmenter or torch.nn.Module
        A model of the architecture of the bundled model, of SAM 1 or of SAM 2, in float32; or the network of one.

    Raises
    ------
    OptionError
        If it is of another architecture or type.
    """
    found = kind_of(given)
    if found is None:
        if isinstance(given, nn.Module):
            raise OptionError(
                f"presets are not for {type(given).__name__}; give a network of trainable_network, which takes a model."
            )
        raise OptionError(
            f"{getattr(given, 'name', type(given).__name__)} cannot be trained: it is neither SAM 1, SAM 2 nor of the "
            f"architecture of the bundled model. Give one of {', '.join(sorted(start_names() - {'none'}))}, or such a file."
        )
    dtype = getattr(given, "dtype", torch.float32)
    if dtype != torch.float32:
        raise OptionError(
            f"{getattr(given, 'name', '')} was loaded in {dtype}, and training needs float32; load it with dtype='float32'."
        )
    return found


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
