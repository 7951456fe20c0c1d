"""Loading of SAM 2 with its memory from a folder or a repository of the Hugging Face hub."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from samgeo.errors import CheckpointError, ModelError
from samgeo.models.device import resolve_device, resolve_dtype
from samgeo.models.hf.hub import HUB, fetch_config
from samgeo.models.hf.pretrained import load_pretrained, require_class
from samgeo.models.hf.sam2_memory import Sam2Memory
from samgeo.models.registry import hub_weights, list_models
from samgeo.models.weights_files import checked_digest, config_beside
from samgeo.storage.atomic import check_name
from samgeo.types import Json

__all__ = ["MODEL_TYPE", "load_sam2_memory"]

_log = logging.getLogger(__name__)

# The type in config.json of a model that has the memory, and the beginnings of the names of its tensors.
MODEL_TYPE = "sam2_video"
MEMORY_TENSORS = ("memory_attention.", "memory_encoder.")
WHAT = "SAM 2 with memory"
# The first version of transformers that samgeo supports.
TRANSFORMERS = (5, 0)
CELL = 16

WHICH = (
    "The memory needs a SAM 2 or SAM 2.1 in the layout of transformers, with its weights for videos: give "
    "hf://facebook/sam2.1-hiera-tiny (or -small, -base-plus, -large), or the folder of such a repository, with config.json of "
    f"the model_type {MODEL_TYPE} and model.safetensors"
)


def load_sam2_memory(model: object, *, device: str | torch.device = "auto", dtype: str | torch.dtype = "auto") -> Sam2Memory:
    """Load SAM 2 with its memory.

    Parameters
    ----------
    model : str or Path
        A folder in the layout of transformers, ``hf://owner/name`` of the Hugging Face hub, or the name of a SAM 2 of
        `samgeo.list_models`, whose repository on the hub is taken.
    device, dtype
        See `samgeo.load_model`.

    Raises
    ------
    ModelError
        If this is no model that has a memory, the repository cannot be had, or transformers is missing or too old.
    CheckpointError
        If the folder is incomplete or damaged, or its sizes do not fit each other.
    OptionError
        If the device or the type is not known.
    """
    where = resolve_device(device)
    kind = resolve_dtype(dtype, where)
    if not isinstance(model, str | Path):
        name = getattr(model, "name", type(model).__name__)
        raise ModelError(f"the model {name} is loaded already and has no memory of earlier images. {WHICH}.")
    given = str(model)
    known = {info.name: info for info in list_models()}
    if given in known:
        if known[given].family != "sam2":
            raise ModelError(f"{given} has no memory of earlier images. {WHICH}.")
        given = f"{HUB}{known[given].hf_repo}"
    if given.startswith(HUB):
        repository = given.removeprefix(HUB)
        _check_type(fetch_config(repository), given)
        network_class = _network_class()
        file = hub_weights(repository)
    else:
        file = _local(Path(given).expanduser(), given)
        _check_type(config_beside(file), given)
        network_class = _network_class()
    _check_tensors(file, given)
    _log.info("Loading SAM 2 with its memory from %s on %s in %s.", file, where, kind)
    digest = checked_digest(file, None)
    network = load_pretrained(network_class, file, WHAT, f"{WHICH}.")
    _check_sizes(file, network.config)
    name = given if given.startswith(HUB) else file.parent.name
    return Sam2Memory(network, name=name, digest=digest, device=where, dtype=kind)


def _local(path: Path, given: str) -> Path:
    """Return the weights file of a folder."""
    check_name(path, ModelError, "give the folder of a SAM 2 in the layout of transformers")
    if not path.exists():
        raise ModelError(f"there is no model and no folder {given!r}. {WHICH}.")
    folder = path.parent if path.name == "model.safetensors" else path
    file = folder / "model.safetensors"
    if not file.is_file() or not (folder / "config.json").is_file():
        what = "a file" if path.is_file() else "a folder without config.json and model.safetensors"
        raise ModelError(f"{given} is {what}, from which the memory cannot be read. {WHICH}.")
    return file


def _network_class() -> Any:  # noqa: ANN401 - transformers' classes have no types
    return require_class("Sam2VideoModel", WHAT, TRANSFORMERS)


def _check_type(config: Json, given: str) -> None:
    told = config.get("model_type") if isinstance(config, dict) else None
    if told != MODEL_TYPE:
        raise ModelError(f"{given} is a model of the type {told!r}, which has no memory of earlier images. {WHICH}.")


def _check_tensors(file: Path, given: str) -> None:
    """Check that a file has the weights of the memory. Only the names of its tensors are read."""
    try:
        with safe_open(file, framework="pt") as opened:
            names = list(opened.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{file}: the safetensors file is truncated or corrupt ({error}); download it again.") from None
    lacking = [beginning for beginning in MEMORY_TENSORS if not any(name.startswith(beginning) for name in names)]
    if lacking:
        raise ModelError(f"{given} has no tensors {lacking[0]}*, so that it has the weights for images alone. {WHICH}.")


def _check_sizes(file: Path, config: Any) -> None:  # noqa: ANN401 - transformers' classes have no types
    """Check that the parts of the model are for one size of the input."""
    side, cells = config.image_size, list(config.memory_attention_rope_feat_sizes)
    grids = [list(one) for one in config.vision_config.backbone_feature_sizes]
    wanted = (
        [[side // stride] * 2 for stride in (4, 8, CELL)] if isinstance(side, int) and side > 0 and side % 32 == 0 else None
    )
    if wanted is None or config.prompt_encoder_config.image_size != side or cells != wanted[-1] or grids != wanted:
        raise CheckpointError(
            f"{file}: config.json gives the image size {side}, that of prompts {config.prompt_encoder_config.image_size}, "
            f"feature maps of {grids} and a memory of {cells} cells, which do not fit each other. Download the "
            "repository again."
        )
    if config.num_maskmem < 1:
        raise CheckpointError(f"{file}: config.json gives num_maskmem {config.num_maskmem}, so that the model has no memory.")
