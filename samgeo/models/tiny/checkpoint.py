"""Reading and writing of the weights files of the bundled network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from samgeo.arguments import check_types
from samgeo.errors import CheckpointError, OptionError
from samgeo.models.device import computing_in, resolve_device, resolve_dtype
from samgeo.models.tiny.model import Tiny
from samgeo.models.tiny.network import TinyConfig, TinyNetwork
from samgeo.models.tiny.point_screen import bundled_screen
from samgeo.models.weights_files import sorted_header
from samgeo.storage.atomic import check_new, write_whole

__all__ = ["deepened", "is_tiny", "load_tiny", "new_tiny", "save_tiny"]

ARCHITECTURE = "samgeo-tiny"


@check_types
def load_tiny(
    path: str | Path | None = None,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
) -> Tiny:
    """Load the bundled model, or other weights of its architecture.

    Parameters
    ----------
    path : str or Path, optional
        A safetensors file whose header says ``architecture: samgeo-tiny`` and gives the sizes; the packaged one by default.
    device : str or torch.device, default "auto"
        "cpu", "cuda", "mps", or the first of CUDA, MPS and CPU that this machine has.
    dtype : str or torch.dtype, default "auto"
        "float32", "bfloat16", or "auto": bfloat16 on CUDA devices and processors that have instructions for it, float32
        elsewhere. The image encoder always computes in float32.

    Returns
    -------
    Tiny

    Raises
    ------
    CheckpointError
        If the file is missing or corrupt, or does not hold such a network.
    OptionError, ModelError
        If the device or the type is unknown or not available.

    Examples
    --------
    >>> from samgeo.models.tiny import load_tiny
    >>> model = load_tiny(device="cpu")
    >>> model.name, model.input_size
    ('tiny', 512)
    """
    on = resolve_device(device)
    precision = resolve_dtype(dtype, on)
    if path is None:
        with as_file(files("samgeo.models") / "weights" / "tiny.safetensors") as packaged:
            return _load(packaged, on, precision)
    return _load(Path(path), on, precision)


@check_types
def new_tiny(config: TinyConfig | None = None, *, seed: int = 0) -> TinyNetwork:
    """Make a network with random weights, for training.

    Parameters
    ----------
    config : TinyConfig, optional
        The sizes; those of the packaged weights by default.
    seed : int, default 0
        The same seed makes the same weights.

    Returns
    -------
    TinyNetwork

    Examples
    --------
    >>> from samgeo.models.tiny import new_tiny
    >>> one, other = new_tiny(seed=1), new_tiny(seed=1)
    >>> all(bool((a == b).all()) for a, b in zip(one.parameters(), other.parameters()))
    True
    """
    sizes = load_tiny(device="cpu").network.config if config is None else config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TinyNetwork(sizes)
        network.prompts.frequencies.normal_()
    return network


@check_types
def deepened(network: TinyNetwork, attend: tuple[int, int], deepen: tuple[int, int, int], *, seed: int = 0) -> TinyNetwork:
    """Return a copy of a network with more blocks in its image encoder.

    The new blocks do not change any answer until they are trained.

    Parameters
    ----------
    network : TinyNetwork
        The network. It is not changed.
    attend, deepen : tuple of int
        Numbers of blocks of the new network, in all; see `TinyConfig`.
    seed : int, default 0
        Seed of the random weights of the new blocks.

    Returns
    -------
    TinyNetwork

    Raises
    ------
    OptionError
        If the network already has more blocks.

    Examples
    --------
    >>> from samgeo.models.tiny import deepened, new_tiny
    >>> network = new_tiny()
    >>> larger = deepened(network, attend=(2, 2), deepen=(2, 2, 2))
    >>> sum(p.numel() for p in larger.parameters()) > sum(p.numel() for p in network.parameters())
    True
    """
    before = network.config
    pairs = zip((*before.attend, *before.deepen), (*attend, *deepen), strict=True)
    if any(now > wanted for now, wanted in pairs):
        raise OptionError(
            f"the network has blocks attend={list(before.attend)}, deepen={list(before.deepen)}; give at least as many, "
            f"not {list(attend)} and {list(deepen)}."
        )
    deeper = new_tiny(replace(before, attend=attend, deepen=deepen), seed=seed)
    added = attend[1] - before.attend[1]
    moved = {_moved(name, before.attend[1], added): tensor for name, tensor in network.state_dict().items()}
    deeper.load_state_dict(deeper.state_dict() | moved)
    return deeper


def _moved(name: str, attention: int, added: int) -> str:
    """Return the new name of a parameter after attention blocks were added at stride 16, before the convolution blocks."""
    beginning = "encoder.refine16.deeper."
    if not name.startswith(beginning):
        return name
    number, rest = name.removeprefix(beginning).split(".", 1)
    return f"{beginning}{int(number) + added * (int(number) >= attention)}.{rest}"


@check_types
def save_tiny(weights: Mapping[str, torch.Tensor], config: TinyConfig, path: str | Path, *, overwrite: bool = False) -> str:
    """Write weights in half precision to a file that `load_tiny` and ``samgeo.load_model`` read.

    If this fails, no partial file is left.

    Parameters
    ----------
    weights : mapping of str to tensor
        A `TinyNetwork`'s ``state_dict()``, or what `samgeo.training.loop.train` returns.
    config : TinyConfig
        The network's sizes.
    path : str or Path
        Ends in ``.safetensors``.
    overwrite : bool, default False
        Whether an existing file may be replaced.

    Returns
    -------
    str
        The SHA-256 of the file. The same weights always give the same file.

    Raises
    ------
    CheckpointError
        If the weights do not fit the sizes, or are not finite in half precision.
    OptionError
        If the file cannot be written.

    Examples
    --------
    >>> import samgeo
    >>> from samgeo.models.tiny import new_tiny, save_tiny
    >>> network = new_tiny()
    >>> digest = save_tiny(network.state_dict(), network.config, "mine.safetensors")
    >>> samgeo.load_model("mine.safetensors", dtype="float32").digest == digest
    True
    """
    path = check_new(path, ".safetensors", overwrite=overwrite)
    expected = {name: tensor.shape for name, tensor in TinyNetwork(config).state_dict().items()}
    if expected != {name: tensor.shape for name, tensor in weights.items()}:
        raise CheckpointError(
            f"these weights do not fit a network with {config}; give the sizes of the network of these weights."
        )
    halves = {name: weights[name].detach().cpu().half().contiguous() for name in sorted(weights)}
    if wrong := sorted(name for name, tensor in halves.items() if not tensor.isfinite().all()):
        raise CheckpointError(
            f"{wrong[0]} has numbers that are too large for half precision; use an earlier state of the training."
        )
    content = sorted_header(save(halves, {"architecture": ARCHITECTURE, "config": json.dumps(asdict(config))}))
    write_whole(path, content)
    return hashlib.sha256(content).hexdigest()


def is_tiny(path: Path) -> bool:
    """Return whether the header of a file names the architecture of the bundled model; False if the file is damaged."""
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
    except SafetensorError:
        return False
    return header.get("architecture") == ARCHITECTURE


# Hundreds of small tensors are converted and checked: starting the threads of torch for each takes longer than the work.
@computing_in(1)
def _load(path: Path, device: torch.device, dtype: torch.dtype) -> Tiny:
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; give the path of a safetensors file, or None for the bundled model.")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is not a safetensors file, or is damaged ({error}); download or export it again."
        ) from None
    network = TinyNetwork(_config(path, header))
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    found = {name: tensor.shape for name, tensor in state.items()}
    if expected != found:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise CheckpointError(
            f"{path}: {len(wrong)} tensors do not fit the sizes in its header, {wrong[0]} first: "
            f"{_shape(found, wrong[0])} in the file, {_shape(expected, wrong[0])} expected. Export it again."
        )
    if not_finite := sorted(name for name, tensor in state.items() if not tensor.isfinite().all()):
        raise CheckpointError(f"{path}: {not_finite[0]} contains numbers that are not finite; use an earlier export.")
    network.load_state_dict(state)
    return Tiny(network, digest=digest, device=device, dtype=dtype, screen=bundled_screen(digest))


def _config(path: Path, header: dict[str, str]) -> TinyConfig:
    if header.get("architecture") != ARCHITECTURE:
        raise CheckpointError(
            f"{path} does not have the architecture {ARCHITECTURE} (its header has {header.get('architecture')!r}); "
            "load it with samgeo.load_model, which recognizes the architecture."
        )
    names = sorted(field.name for field in fields(TinyConfig))
    try:
        given: dict[str, Any] = json.loads(header["config"])
        sizes = {name: tuple(map(int, value)) if isinstance(value, list) else int(value) for name, value in given.items()}
        # This raises for values that are not numbers and for unknown names. Wrong sizes are found when tensors are compared.
        return TinyConfig(**sizes)  # type: ignore[arg-type]
    except (AttributeError, KeyError, TypeError, ValueError, OptionError) as error:
        raise CheckpointError(
            f"{path}: the config in its header cannot be read ({error!r}); it must be JSON with {', '.join(names)}. Export it "
            "again."
        ) from None


def _shape(shapes: dict[str, torch.Size], name: str) -> str:
    return str(tuple(shapes[name])) if name in shapes else "nothing"
