"""Models by name, file or repository: what is known of them, where their weights are, and loading of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.arguments import check_types
from samgeo.errors import CheckpointError, ModelError, OptionError
from samgeo.models.catalog import MODELS
from samgeo.models.download import check_md5, fetch, is_offline, notify
from samgeo.models.hf.hub import HUB, fetch_config, fetch_weights, find_on_hub, license_on_hub, page_of
from samgeo.models.info import MASK_NMS, PROMPTS, TEXT, Gates, ModelInfo
from samgeo.models.protocols import Segmenter
from samgeo.storage.atomic import check_name

if TYPE_CHECKING:
    import torch

    from samgeo.models.recognition import Recognized

__all__ = [
    "DEFAULT_MODEL",
    "MASK_NMS",
    "Gates",
    "ModelInfo",
    "default_gates",
    "hub_weights",
    "list_models",
    "load_model",
    "model_info",
    "model_path",
]

_log = logging.getLogger(__name__)

DEFAULT_MODEL = "tiny"
_MODELS = MODELS


@check_types
def list_models(*, kind: str | None = None) -> tuple[ModelInfo, ...]:
    """Return the models that samgeo knows by name; the default model is the first.

    Parameters
    ----------
    kind : str, optional
        "prompts" for the models that `load_model` loads, which answer points, boxes and masks; "text" for those that find boxes
        for words. By default all are listed.

    Raises
    ------
    OptionError
        If there is no such kind.

    Examples
    --------
    >>> import samgeo
    >>> [info.name for info in samgeo.list_models()][:4]
    ['tiny', 'sam-vit-b', 'sam-vit-l', 'sam-vit-h']
    >>> [info.name for info in samgeo.list_models(kind="text")]
    ['grounding-dino-tiny', 'grounding-dino-base', 'owlv2-base']
    """
    if kind not in (None, PROMPTS, TEXT):
        raise OptionError(f"kind is {kind!r}; give {PROMPTS!r} or {TEXT!r}, or None for all models.")
    return tuple(info for info in _MODELS if kind in (None, info.kind))


@check_types
def model_info(name: str) -> ModelInfo:
    """Return what is recorded of a model: its licence, citation, sizes, costs, digests and defaults.

    Parameters
    ----------
    name : str
        A name from ``list_models()``.

    Raises
    ------
    ModelError
        If the name is unknown.

    Examples
    --------
    >>> from samgeo.models import model_info
    >>> sam3 = model_info("sam3")
    >>> sam3.license, sam3.gated, sam3.input_size
    ('SAM License', True, 1008)
    """
    for info in _MODELS:
        if info.name == name:
            return info
    raise _unknown(name)


@check_types
def model_path(name: str, *, download: bool = True) -> Path:
    """Return the path of a model's weights; download them if they are not on this machine.

    The licence of the weights is logged before a download. The weights of a gated model are downloaded only for users to whom
    the publisher has given access.

    Parameters
    ----------
    name : str
        A name from ``list_models()``.
    download : bool, default True
        Whether missing weights are downloaded.

    Returns
    -------
    Path
        The file of the weights. Of a model that only the Hugging Face hub has, the other files are in the same folder.

    Raises
    ------
    ModelError
        If the name is unknown, or the weights are missing and cannot be downloaded.

    Examples
    --------
    >>> from samgeo.models import model_path
    >>> model_path("tiny").name
    'tiny.safetensors'
    """
    info = model_info(name)
    path = info.local_path()
    if path is not None:
        return path
    if info.bundled:
        raise ModelError(f"the weights of {name!r} are missing from the package; install samgeo again.")
    if not download:
        raise ModelError(f"the weights of {name!r} are not on this machine; 'samgeo models fetch {name}' downloads them.")
    if not is_offline():
        notify(_notice(info))
    if info.from_hub:
        return fetch_weights(info.hf_repo, beside=info.kind == TEXT)
    return fetch(info.urls, info.file, sha256=info.sha256, md5=info.md5, size_bytes=info.size_bytes)


@check_types
def load_model(
    name_or_path: str | Path | Segmenter = DEFAULT_MODEL,
    *,
    device: str | torch.device = "auto",
    dtype: str = "auto",
    input_size: int | None = None,
) -> Segmenter:
    """Load a promptable model.

    Parameters
    ----------
    name_or_path : str, Path or Segmenter, default "tiny"
        - A name from ``list_models(kind="prompts")``; the weights are downloaded on first use.
        - A weights file of SAM 1, SAM 2, MobileSAM, SAM-HQ or of the architecture of the bundled model, or a folder that holds
          one. The names of the tensors tell which it is.
        - A folder of SAM 3 in the layout of transformers.
        - ``hf://owner/name`` for a repository on the Hugging Face hub. Its ``config.json`` tells which model it is.
        - A model, which is returned unchanged.
    device : str, default "auto"
        "cpu", "cuda", "cuda:1", "mps", or "auto": the first of CUDA, MPS and CPU that this machine has.
    dtype : str, default "auto"
        "float32", "bfloat16", or "auto": bfloat16 on CUDA devices and processors that have instructions for it, float32
        elsewhere.
    input_size : int, optional
        Side of the square input in pixels, for models of SAM 2, which take other sides than their own 1024. Smaller windows are
        cheaper; objects must fit them. By default the side is the model's own.

    Returns
    -------
    Segmenter
        The model.

    Raises
    ------
    ModelError
        If the name is unknown, the weights cannot be downloaded, or this machine does not have the device.
    CheckpointError
        If the file is corrupt, unsafe or of a kind of model that samgeo cannot read. The message names the kind.
    OptionError
        If ``input_size`` is given for a model whose side is fixed.

    Examples
    --------
    >>> import samgeo
    >>> model = samgeo.load_model("tiny", device="cpu")
    >>> model.name, model.input_size
    ('tiny', 512)
    """
    if not isinstance(name_or_path, str | Path):
        return _checked_model(name_or_path, input_size)
    from samgeo.models.device import resolve_device, resolve_dtype

    where = resolve_device(device)
    kind = resolve_dtype(dtype, where)
    given = str(name_or_path)
    _log.info("Loading the model %s on %s in %s.", given, where, kind)
    if given in {info.name for info in _MODELS}:
        info = model_info(given)
        _check_kind(info)
        _check_input_size(info.family, given, input_size)
        path = model_path(given)
        if info.md5 and not info.sha256:
            check_md5(path, info.md5)
        return _load(info.family, path, name=given, device=where, dtype=kind, sha256=info.sha256, input_size=input_size)
    from samgeo.models.recognition import recognize_config, recognize_file

    if given.startswith(HUB):
        repository = given.removeprefix(HUB)
        found = recognize_config(fetch_config(repository))
        if not found.family:
            raise CheckpointError(f"{given}: {found.refusal()}")
        _check_input_size(found.family, given, input_size)
        path = hub_weights(repository)
        return _load(found.family, path, name=given, device=where, dtype=kind, input_size=input_size)
    path = Path(name_or_path).expanduser()
    check_name(path, ModelError, "give a name of samgeo.list_models, or a checkpoint file")
    if not path.exists():
        raise _unknown(given)
    from samgeo.models.tiny.checkpoint import is_tiny

    family = "tiny" if is_tiny(path) else _told(recognize_file(path), path)
    _check_input_size(family, given, input_size)
    return _load(family, path, name=path.stem, device=where, dtype=kind, input_size=input_size)


def default_gates(model: Segmenter) -> Gates:
    """Return the gates for a model's automatic masks: the model's own ``gates``, else those of its name, else those of SAM."""
    own: Any = getattr(model, "gates", None)
    if isinstance(own, Gates):
        return own
    return next((info.gates for info in _MODELS if info.name == model.name), Gates())


def _load(
    family: str,
    path: Path,
    *,
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    sha256: str = "",
    input_size: int | None = None,
) -> Segmenter:
    options: dict[str, Any] = {"name": name, "device": device, "dtype": dtype, "sha256": sha256 or None}
    if input_size is not None:
        options["input_size"] = input_size
    return LOADERS[family](path, **options)


def _load_tiny(path: Path, *, device: torch.device, dtype: torch.dtype, **_: object) -> Segmenter:
    from samgeo.models.tiny import load_tiny

    tiny: Segmenter = load_tiny(path, device=device, dtype=dtype)
    return tiny


def _load_sam(path: Path, *, name: str, device: torch.device, dtype: torch.dtype, sha256: str | None) -> Segmenter:
    from samgeo.models.sam1.checkpoint import build_network, load_checkpoint
    from samgeo.models.sam1.model import Sam

    checkpoint = load_checkpoint(path, sha256=sha256)
    return Sam(build_network(checkpoint), name=name, digest=checkpoint.digest, device=device, dtype=dtype)


def _load_sam2(path: Path, **options: Any) -> Segmenter:  # noqa: ANN401 - passed on
    from samgeo.models.sam2 import load_sam2

    model: Segmenter = load_sam2(path, **options)
    return model


def _load_mobile_sam(path: Path, **options: Any) -> Segmenter:  # noqa: ANN401 - passed on
    from samgeo.models.mobile_sam import load_mobile_sam

    model: Segmenter = load_mobile_sam(path, **options)
    return model


def _load_sam_hq(path: Path, **options: Any) -> Segmenter:  # noqa: ANN401 - passed on
    from samgeo.models.sam_hq import load_sam_hq

    model: Segmenter = load_sam_hq(path, **options)
    return model


def _load_sam3(path: Path, **options: Any) -> Segmenter:  # noqa: ANN401 - passed on
    from samgeo.models.hf.sam3_tracker import load_sam3_tracker

    model: Segmenter = load_sam3_tracker(path, **options)
    return model


# The function that loads each family, which is imported when the first of its models is loaded.
LOADERS: dict[str, Callable[..., Segmenter]] = {
    "tiny": _load_tiny,
    "sam": _load_sam,
    "sam2": _load_sam2,
    "mobile-sam": _load_mobile_sam,
    "sam-hq": _load_sam_hq,
    "sam3": _load_sam3,
}
# Families whose models take windows of other sides than their own.
OTHER_SIDES = ("sam2",)


def _checked_model(model: object, input_size: int | None) -> Segmenter:
    if not isinstance(model, Segmenter):
        raise ModelError(
            f"{type(model).__name__} is not a model: it needs name, digest, input_size, embed and decode, "
            "as samgeo.models.protocols.Segmenter says."
        )
    if input_size is not None:
        raise OptionError(
            f"input_size is {input_size}, but {model.name} is already loaded; give input_size with its name or file."
        )
    return model


def _check_kind(info: ModelInfo) -> None:
    if info.kind != PROMPTS:
        raise ModelError(
            f"{info.name!r} finds boxes for words and does not answer points, so that load_model cannot load it. Give it to "
            f"samgeo.find as finder; samgeo.list_models(kind={PROMPTS!r}) lists the models that load_model loads."
        )


def _check_input_size(family: str, name: str, input_size: int | None) -> None:
    if input_size is not None and family not in OTHER_SIDES:
        raise OptionError(
            f"input_size is {input_size}, but the side of the input of {name} is fixed; leave input_size out, or give a model "
            "of SAM 2, which takes other sides."
        )


def _told(found: Recognized, path: Path) -> str:
    _log.info("%s is %s.", path, found.title)
    return found.family


def hub_weights(repository: str) -> Path:
    """Return the weights of a repository; log its licence if they are downloaded now."""
    if find_on_hub(repository, "model.safetensors") is None and not is_offline():
        known = next((info for info in _MODELS if info.hf_repo == repository), None)
        if known is not None:
            notify(_notice(known, page_of(repository)))
        else:
            licence, gated = license_on_hub(repository)
            stated = f"has the licence {licence!r}" if licence else "states its licence on its page"
            access = "; it is gated: its publisher decides who may download it" if gated else ""
            notify(f"{HUB}{repository} {stated} ({page_of(repository)}){access}.")
    return fetch_weights(repository)


def _notice(info: ModelInfo, source: str = "") -> str:
    """Return what a user should know before the weights are downloaded, from their own source unless another is given."""
    source = source or (page_of(info.hf_repo) if info.from_hub else info.urls[0])
    text = f"{info.name}: the weights ({info.size_text()}) have the licence {info.license} and come from {source}."
    if info.gated:
        text += (
            " They are gated: the publisher decides who may download them, and samgeo does not accept the licence for you. "
            "Read it before you use them."
        )
    if not info.verifiable:
        text += " No digest of the file is recorded, so that it cannot be verified."
    return text


def _unknown(name: str) -> ModelError:
    names = [info.name for info in _MODELS]
    close = get_close_matches(name.lower().replace("_", "-"), names, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known models: {', '.join(names)}; or give the path of a checkpoint."
    return ModelError(f"there is no model and no file {name!r}. {hint}")
