"""Files of repositories on the Hugging Face hub, with one clear message for each reason why they cannot be had.

Access to gated repositories is a matter between the user and the publisher: ``huggingface_hub`` sends the user's own login, and
samgeo neither accepts terms for the user nor takes the files from elsewhere.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from samgeo.errors import ModelError
from samgeo.models.download import is_offline
from samgeo.types import Json

__all__ = ["HUB", "fetch_config", "fetch_weights", "find_on_hub", "license_on_hub", "page_of"]

_log = logging.getLogger(__name__)

HUB = "hf://"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
# Files of the image processor and the tokenizer, which some models need. A repository has some of them.
BESIDE = (
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
TIMEOUT_S = 10

# Why a file cannot be had, and what to do.
LOG_IN = "log in with 'hf auth login' or set HF_TOKEN"
BY_HAND = "Or download the repository with another program, and give the path of its folder."
NO_NAME = "this is not the name of a repository. Give hf://owner/name."
GATED = (
    "the repository is gated, and this machine's login has no access ({status}). The publisher decides who may download it: "
    f"read the licence and ask for access at {{page}}, then {LOG_IN}. samgeo neither accepts the licence for you nor takes the "
    "files from elsewhere."
)
NO_REPOSITORY = (
    f"the hub has no such public repository ({{status}}). Check the name at {{page}}; for a private repository, {LOG_IN}."
)
OFFLINE = (
    "{file} is not in the cache of huggingface_hub, and SAMGEO_OFFLINE or HF_HUB_OFFLINE forbids downloads. Unset this "
    f"variable. {BY_HAND}"
)
NO_ANSWER = f"{{file}} is not in the cache of huggingface_hub, and the hub does not answer. Check the connection. {BY_HAND}"
NO_FILE = (
    "the repository has no file {file}. samgeo reads repositories in the layout of transformers, with "
    f"{CONFIG} and {WEIGHTS}. Download the file of the weights by hand, and give its path."
)
DENIED = f"the hub refuses access ({{status}}). If your account has access, {LOG_IN}; {{page}} shows whether it has."
OTHER = "{first}. Check the name and the connection. " + BY_HAND


def page_of(repository: str) -> str:
    """Return the address of a repository's page, which states the licence and lets users ask for access."""
    return f"https://huggingface.co/{repository}"


def find_on_hub(repository: str, file: str) -> Path | None:
    """Return the path of a file in the cache of ``huggingface_hub``, or None if it is not there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file)
    return Path(found) if isinstance(found, str) else None


def fetch_config(repository: str) -> Json:
    """Return the parsed ``config.json`` of a repository; download it if it is not in the cache.

    Raises
    ------
    ModelError
        If the repository or the file cannot be had, or the file is not a JSON object.
    """
    path = _fetch(repository, CONFIG)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{CONFIG} of {HUB}{repository} is not JSON ({error}). Delete {path}, so that it is downloaded again, or give "
            "another repository."
        ) from None
    if not isinstance(config, dict):
        raise ModelError(f"{CONFIG} of {HUB}{repository} is not a JSON object; give the repository of a model of transformers.")
    return config


def fetch_weights(repository: str, *, beside: bool = False) -> Path:
    """Return ``model.safetensors`` of a repository, with its ``config.json`` in the same folder; download what is missing.

    Parameters
    ----------
    repository : str
        ``owner/name``.
    beside : bool, default False
        Whether to download the files of the image processor and the tokenizer, too.

    Raises
    ------
    ModelError
        If the repository or one of the two files cannot be had. The message says why, and what to do.
    """
    _fetch(repository, CONFIG)
    weights = _fetch(repository, WEIGHTS)
    for file in BESIDE if beside else ():
        _fetch_if_there(repository, file)
    return weights


def license_on_hub(repository: str) -> tuple[str, bool]:
    """Return the licence that the hub states for a repository, and whether the repository is gated.

    The licence is empty if the hub states none, or cannot be asked.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    if is_offline():
        return "", False
    try:
        found = HfApi().model_info(repository, timeout=TIMEOUT_S)
    except (HFValidationError, HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        _log.debug("The hub does not tell the licence of %s: %s", repository, error)
        return "", False
    card = found.card_data
    return str((card.get("license") if card is not None else None) or ""), bool(found.gated)


def _fetch(repository: str, file: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(hf_hub_download(repository, file, local_files_only=is_offline()))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise ModelError(f"{HUB}{repository} cannot be loaded: {_reason(error, repository, file)}") from None


def _fetch_if_there(repository: str, file: str) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    try:
        hf_hub_download(repository, file, local_files_only=is_offline())
    except (EntryNotFoundError, HfHubHTTPError) as error:
        _log.debug("%s has no %s (%s).", repository, file, type(error).__name__)


def _reason(error: Exception, repository: str, file: str) -> str:
    """Return why a file cannot be had, and what to do."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, errors.HfHubHTTPError):
        error = error.__cause__  # The hub answered, and this is what it said.
    # The first kind that fits gives the reason: the later ones are more general.
    kinds: tuple[tuple[type[Exception], str], ...] = (
        (errors.HFValidationError, NO_NAME),
        (errors.GatedRepoError, GATED),
        (errors.RepositoryNotFoundError, NO_REPOSITORY),
        (errors.LocalEntryNotFoundError, OFFLINE if is_offline() else NO_ANSWER),
        (errors.EntryNotFoundError, NO_FILE),
    )
    status = _status(error)
    text = next((text for kind, text in kinds if isinstance(error, kind)), DENIED if status in ("401", "403") else OTHER)
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return text.format(status=status, page=page_of(repository), file=file, first=first)


def _status(error: Exception) -> str:
    """Return the HTTP status of an answer of the hub, or an empty text."""
    return str(getattr(getattr(error, "response", None), "status_code", ""))
