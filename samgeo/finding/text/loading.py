"""Text models by name, from the Hugging Face hub, or from a folder: which kind a model is, its weights, and its digest."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.errors import CheckpointError, ModelError, OptionError, SamgeoError, warn
from samgeo.finding.text.grounding_dino import GroundingDino
from samgeo.finding.text.owlv2 import Owlv2
from samgeo.finding.text.sam3 import Sam3
from samgeo.models.catalog import MODELS
from samgeo.models.device import resolve_device
from samgeo.models.download import find, is_offline
from samgeo.models.hf.hub import HUB, page_of
from samgeo.models.hf.pretrained import quiet_transformers
from samgeo.models.info import TEXT

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

    from samgeo.finding.text.text_model import TextModel

__all__ = ["KNOWN", "is_text_model", "load_text_model", "local_folder"]

_log = logging.getLogger(__name__)

# The text models that samgeo knows by name. SAM 3 is asked for words as well as with clicks.
KNOWN = {info.name: info for info in MODELS if info.kind == TEXT or info.name == "sam3"}


@dataclass(frozen=True, slots=True)
class _Kind:
    """How models of a kind are loaded: their wrapper, their class in transformers, and the first version that has it."""

    wrapper: type[TextModel]
    network: str
    since: str


KINDS = {
    "grounding-dino": _Kind(GroundingDino, "GroundingDinoForObjectDetection", "4.45"),
    "mm-grounding-dino": _Kind(GroundingDino, "MMGroundingDinoForObjectDetection", "4.56"),
    "owlv2": _Kind(Owlv2, "Owlv2ForObjectDetection", "4.45"),
    "sam3": _Kind(Sam3, "Sam3Model", "5.0"),
    "sam3_video": _Kind(Sam3, "Sam3Model", "5.0"),
}
CONFIG, WHOLE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
SHARDS = "model-*-of-*.safetensors"
# Files of which one set is enough for a tokenizer. transformers makes a tokenizer without words if all are missing.
TOKENIZERS = (("tokenizer.json",), ("vocab.txt",), ("vocab.json", "merges.txt"))
SETTINGS = (
    *(CONFIG, "preprocessor_config.json", "processor_config.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", *(name for files in TOKENIZERS for name in files)),
)


def is_text_model(source: str | Path) -> bool:
    """Return whether a finder is a text model: a known name, a repository on the hub, or a folder."""
    return str(source) in KNOWN or str(source).startswith(HUB) or local_folder(source) is not None


def local_folder(source: str | Path) -> Path | None:
    """Return the folder that a text names on this machine, or None if there is none."""
    # Other than the methods of Path, these functions raise no error for a text that is too long or names an unknown user.
    path = os.path.expanduser(source)  # noqa: PTH111
    return Path(path) if os.path.isdir(path) else None  # noqa: PTH112


def load_text_model(
    source: str | Path, phrases: tuple[str, ...], *, min_score: float | None = None, device: str | torch.device = "auto"
) -> TextModel:
    """Load a text model for phrases.

    Parameters
    ----------
    source : str or Path
        A name of `KNOWN`, whose files are in a folder of this name in ``SAMGEO_MODELS``, or in the cache of the hub, or are
        downloaded; ``hf://owner/name`` for a repository on the Hugging Face hub; or a folder with such files.
    phrases : tuple of str
        What is looked for.
    min_score : float, optional
        Objects with a lower score are left out. The default is that of the model.
    device : str or torch.device, default "auto"
        See `samgeo.load_model`.

    Raises
    ------
    ModelError
        If the name is unknown, the model cannot be downloaded, or transformers is missing or too old.
    CheckpointError
        If the folder has no text model, or its files are damaged or could execute code.
    OptionError
        If the phrases do not fit the model.
    """
    where = resolve_device(device)
    folder = _folder(source)
    name = str(source) if str(source) in KNOWN or str(source).startswith(HUB) else folder.name
    kind = _kind(folder, name)
    network_class, auto_config, auto_tokenizer = _classes(kind, name)
    weights = _weights(folder, name)
    _log.info("Loading the text model %s from %s on %s.", name, folder, where)
    try:
        with quiet_transformers():
            config = auto_config.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            tokenizer = auto_tokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            kind.wrapper.tokens(phrases, tokenizer, config, name)
            network = _network(network_class, folder, config, name)
    except SamgeoError:
        raise
    except Exception as error:  # noqa: BLE001 - the readers of tokenizers raise Exception itself
        raise CheckpointError(
            f"the text model {name} cannot be read from {folder} ({_told(error)}); get its files again."
        ) from None
    preprocessing = kind.wrapper.preprocessing_of(folder, config)
    digest = _digest(folder, weights)
    return kind.wrapper(
        network,
        tokenizer,
        phrases,
        name=name,
        digest=digest,
        preprocessing=preprocessing,
        min_score=min_score,
        device=where,
    )


def _folder(source: str | Path) -> Path:
    """Return the folder of a model; download it from the hub if it is not there."""
    name = str(source)
    if name in KNOWN:
        # A folder of this name in SAMGEO_MODELS, or beside other downloads, is taken before the hub is asked.
        there = find(f"{name}/{CONFIG}")
        return _from_hub(KNOWN[name].hf_repo, name) if there is None else there.parent
    if name.startswith(HUB):
        return _from_hub(name.removeprefix(HUB), name)
    folder = local_folder(source)
    if folder is None:
        raise ModelError(
            f"there is no text finder {name!r}; give one of {', '.join(KNOWN)}, hf://owner/name of the Hugging Face hub, or "
            "the folder of a model."
        )
    return folder


def _kind(folder: Path, name: str) -> _Kind:
    """Return the kind of the model in a folder, as its ``config.json`` says."""
    path = folder / CONFIG
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder} is not the folder of a text model, because it has no {CONFIG}; give a folder in the layout of "
            "transformers."
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); get the file again.") from None
    model_type = told.get("model_type") if isinstance(told, dict) else None
    if model_type not in KINDS:
        raise CheckpointError(
            f"{name} is not a text model that samgeo reads: its {CONFIG} says model_type {model_type!r}, and the types are "
            f"{', '.join(KINDS)}."
        )
    return KINDS[model_type]


def _classes(kind: _Kind, name: str) -> tuple[Any, Any, Any]:
    """Return the classes of the network, the configuration and the tokenizer in transformers."""
    try:
        import transformers
    except ImportError:
        raise ModelError(f"the text finder {name} needs transformers; install it with: pip install 'samgeo[hf]'") from None
    network = getattr(transformers, kind.network, None)
    if network is None:
        raise ModelError(
            f"the text finder {name} needs transformers {kind.since} or newer, and {transformers.__version__} is installed; "
            f"install it with: pip install 'transformers>={kind.since}'"
        )
    return network, transformers.AutoConfig, transformers.AutoTokenizer


def _network(network_class: Any, folder: Path, config: PretrainedConfig, name: str) -> PreTrainedModel:  # noqa: ANN401
    """Return the network of a folder with all its weights, which are read from safetensors alone."""
    network, told = network_class.from_pretrained(
        folder, config=config, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    for what in ("missing_keys", "mismatched_keys"):
        wrong = sorted(map(str, told[what]))
        if wrong:
            raise CheckpointError(
                f"the weights in {folder} do not fit {name}: {len(wrong)} tensors are missing or have another shape, such as "
                f"{wrong[0]}; get the files again."
            )
    loaded: PreTrainedModel = network
    return loaded


def _weights(folder: Path, name: str) -> list[Path]:
    """Return the files of the weights in a folder that also has a tokenizer."""
    files = _weight_files(folder)
    if files and not _has_tokenizer(folder):
        raise CheckpointError(f"the tokenizer of {name} is missing in {folder}: it has no tokenizer.json; get its files again.")
    if files:
        return files
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
        raise CheckpointError(
            f"the weights of {name} in {folder} are not in safetensors, and other files could execute code; convert them, or "
            "give a folder with model.safetensors."
        )
    raise CheckpointError(f"the weights of {name} are missing in {folder}: there is no {WHOLE}; get its files again.")


def _weight_files(folder: Path) -> list[Path]:
    """Return the files of the weights in a folder; none if one of them is missing."""
    if (folder / WHOLE).is_file():
        return [folder / WHOLE]
    try:
        told = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        names = sorted({str(name) for name in told["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    files = [folder / Path(name).name for name in names]
    return files if all(file.is_file() for file in files) else []


def _digest(folder: Path, weights: list[Path]) -> str:
    """Return a digest of the weights and of the files that say how texts and images are prepared."""
    total = hashlib.sha256()
    for path in [*weights, *(folder / name for name in SETTINGS)]:
        if path.is_file():
            with path.open("rb") as file:
                total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def _from_hub(repository: str, name: str) -> Path:
    """Return the folder of a repository on the hub; download what is missing, but the weights only of a text model."""
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = [*SETTINGS, WHOLE, INDEX, SHARDS]
    try:
        folder = Path(snapshot_download(repository, allow_patterns=patterns, local_files_only=True))
    except HFValidationError:
        raise OptionError(f"{name} is not a repository of the Hugging Face hub; give hf://owner/name.") from None
    except (LocalEntryNotFoundError, OSError):
        folder = None
    if folder is not None and _is_whole(folder):
        return folder
    page = page_of(repository)
    if is_offline():
        raise ModelError(
            f"{name} is not on this machine, and SAMGEO_OFFLINE or HF_HUB_OFFLINE forbids downloads. Unset this variable, or "
            f"download {page} with another program and give the path of its folder."
        )
    warn(f"{name} is downloaded from {page}. {_conditions(name)}")
    try:
        _kind(Path(hf_hub_download(repository, CONFIG)).parent, name)
        return Path(snapshot_download(repository, allow_patterns=patterns))
    except GatedRepoError:
        raise ModelError(
            f"{name} is not open to everyone: its publisher grants access at {page}. {_conditions(name)} With access, log in "
            "with: hf auth login"
        ) from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"{name} cannot be downloaded from {page} ({_told(error)}). Check the name and the connection, or download the "
            "repository with another program and give the path of its folder."
        ) from None


def _told(error: Exception) -> str:
    """Return the first line of an error of another library."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _is_whole(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and bool(_weight_files(folder)) and _has_tokenizer(folder)


def _has_tokenizer(folder: Path) -> bool:
    return any(all((folder / name).is_file() for name in files) for files in TOKENIZERS)


def _conditions(name: str) -> str:
    """Return what is known of the licence of a model, in a sentence or two."""
    known = KNOWN.get(name) or next((one for one in KNOWN.values() if name == f"{HUB}{one.hf_repo}"), None)
    if known is None:
        return "samgeo does not know its licence; read it on that page."
    if not known.gated:
        return f"Its licence is {known.license}."
    return (
        f"Its licence is the {known.license}, which is not an open-source licence and excludes some uses, such as military "
        "ones; read it on that page. Access is granted by the publisher, and requests may be rejected."
    )
