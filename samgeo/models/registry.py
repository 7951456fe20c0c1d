"""Registry of models: their names, the sources of their weights, their properties, and their defaults for automatic masks."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.arguments import check_types
from samgeo.errors import ModelError
from samgeo.models.download import fetch, fetch_from_hub, find
from samgeo.models.protocols import Segmenter
from samgeo.storage.atomic import check_name

if TYPE_CHECKING:
    import torch

__all__ = ["DEFAULT_MODEL", "MASK_NMS", "Gates", "ModelInfo", "default_gates", "list_models", "load_model", "model_path"]

_log = logging.getLogger(__name__)

DEFAULT_MODEL = "tiny"
MASK_NMS = 0.8
BUNDLED = Path(__file__).parent / "weights"
HUB = "hf://"


@dataclass(frozen=True, slots=True)
class Gates:
    """Thresholds and options of automatic masks; the defaults are those of SAM's automatic mask generator.

    Attributes
    ----------
    points_per_side : int
        Number of points along a side of a window.
    pred_iou : float
        A mask is kept if its predicted IoU is above this value.
    stability : float
        A mask is kept if the IoU between the masks at ``+stability_offset`` and ``-stability_offset`` reaches this value.
    stability_offset : float
        Offset in logits.
    box_nms : float
        IoU of boxes above which the mask with the lower score is dropped.
    min_region_px : int
        Holes smaller than this number of pixels are filled, and smaller islands are dropped; 0 keeps all.
    mask_nms : float or None
        IoU of masks above which the mask with the lower score is dropped, after the boxes. None keeps both, as SAM's own
        procedure does. The option ``mask_nms`` of `samgeo.segment` replaces it.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from samgeo.models import Gates
    >>> replace(Gates(), points_per_side=16).pred_iou
    0.88
    """

    points_per_side: int = 32
    pred_iou: float = 0.88
    stability: float = 0.95
    stability_offset: float = 1.0
    box_nms: float = 0.7
    min_region_px: int = 0
    mask_nms: float | None = MASK_NMS


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Properties of a model that samgeo knows by name.

    Attributes
    ----------
    name, architecture, license : str
        The licence is an SPDX identifier, of the weights.
    parameters, size_bytes : int
        Number of parameters, and size of the file.
    file : str
        Name of the file.
    input_size : int
        Side of the square input in pixels.
    sha256 : str
        Digest of the file; empty for a file that is part of the package.
    urls : tuple of str
        Addresses of the file; none for a file that is part of the package.
    hf_repo : str
        Repository on the Hugging Face hub with the same weights, for ``load_model("hf://...")``; empty if there is none.
    gates : Gates
        Defaults for automatic masks.

    Examples
    --------
    >>> import samgeo
    >>> tiny = samgeo.list_models()[0]
    >>> tiny.bundled, tiny.input_size, tiny.gates.points_per_side
    (True, 512, 24)
    """

    name: str
    architecture: str
    parameters: int
    size_bytes: int
    license: str
    file: str
    input_size: int
    sha256: str = ""
    urls: tuple[str, ...] = ()
    hf_repo: str = ""
    gates: Gates = field(default_factory=Gates)

    @property
    def bundled(self) -> bool:
        """Whether the weights are part of the package."""
        return not self.urls

    def local_path(self) -> Path | None:
        """Return the path of the weights on this machine, or None if they are not here."""
        if self.bundled:
            path = BUNDLED / self.file
            return path if path.is_file() else None
        return find(self.file)

    def describe(self) -> str:
        """Return one line of text: name, architecture, sizes, licence, and where the weights are on this machine."""
        here = "bundled" if self.bundled else self.local_path() or "not downloaded"
        size = f"{self.parameters / 1e6:.1f} M parameters, {self.size_bytes / 1e6:.0f} MB"
        return f"{self.name}: {self.architecture}, {self.input_size} px, {size}, {self.license}, {here}"


def _sam(*, letter: str, parameters: int, size_bytes: int, file: str, sha256: str, hf_repo: str) -> ModelInfo:
    return ModelInfo(
        name=f"sam-vit-{letter}",
        architecture=f"SAM 1, ViT-{letter.upper()}",
        parameters=parameters,
        size_bytes=size_bytes,
        license="Apache-2.0",
        file=file,
        input_size=1024,
        sha256=sha256,
        urls=(f"https://dl.fbaipublicfiles.com/segment_anything/{file}",),
        hf_repo=hf_repo,
    )


# The hexadecimal part of the official file names is the beginning of an MD5 digest, so it differs from the sha256 here.
_MODELS = (
    ModelInfo(
        name="tiny",
        architecture="samgeo tiny, MobileNetV2",
        parameters=4_331_885,
        size_bytes=8_701_402,
        license="Apache-2.0",
        file="tiny.safetensors",
        input_size=512,
        gates=Gates(points_per_side=24, pred_iou=0.55, stability=0.5, min_region_px=64),
    ),
    _sam(
        letter="b",
        parameters=93_735_472,
        size_bytes=375_042_383,
        file="sam_vit_b_01ec64.pth",
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        hf_repo="facebook/sam-vit-base",
    ),
    _sam(
        letter="l",
        parameters=312_342_832,
        size_bytes=1_249_524_607,
        file="sam_vit_l_0b3195.pth",
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        hf_repo="facebook/sam-vit-large",
    ),
    _sam(
        letter="h",
        parameters=641_090_608,
        size_bytes=2_564_550_879,
        file="sam_vit_h_4b8939.pth",
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        hf_repo="facebook/sam-vit-huge",
    ),
)


def list_models() -> tuple[ModelInfo, ...]:
    """Return the models that samgeo knows by name; the default model is the first.

    Examples
    --------
    >>> import samgeo
    >>> [info.name for info in samgeo.list_models()]
    ['tiny', 'sam-vit-b', 'sam-vit-l', 'sam-vit-h']
    """
    return _MODELS


@check_types
def model_path(name: str, *, download: bool = True) -> Path:
    """Return the path of a model's weights; download them if they are not on this machine.

    Parameters
    ----------
    name : str
        A name from ``list_models()``.
    download : bool, default True
        Whether missing weights are downloaded.

    Returns
    -------
    Path
        The file of the weights.

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
    info = _info(name)
    path = info.local_path()
    if path is not None:
        return path
    if info.bundled:
        raise ModelError(f"the weights of {name!r} are missing at {BUNDLED / info.file}; install samgeo again.")
    if not download:
        raise ModelError(f"the weights of {name!r} are not on this machine; 'samgeo models fetch {name}' downloads them.")
    return fetch(info.urls, info.file, sha256=info.sha256, size_bytes=info.size_bytes)


@check_types
def load_model(
    name_or_path: str | Path | Segmenter = DEFAULT_MODEL, *, device: str | torch.device = "auto", dtype: str = "auto"
) -> Segmenter:
    """Load a promptable model.

    Parameters
    ----------
    name_or_path : str, Path or Segmenter, default "tiny"
        - A name from ``list_models()``; the weights are downloaded on first use.
        - A checkpoint of SAM 1 of any size in the official layout, the layout of Hugging Face or the layout of samgeo, or a
          folder that holds one.
        - A weights file of the architecture of the bundled model.
        - ``hf://owner/name`` for a repository on the Hugging Face hub.
        - A model, which is returned unchanged.
    device : str, default "auto"
        "cpu", "cuda", "cuda:1", "mps", or "auto": the first of CUDA, MPS and CPU that this machine has.
    dtype : str, default "auto"
        "float32", "bfloat16", or "auto": bfloat16 on CUDA devices that compute in it, float32 elsewhere.

    Returns
    -------
    Segmenter
        The model.

    Raises
    ------
    ModelError
        If the name is unknown, the weights cannot be downloaded, or this machine does not have the device.
    CheckpointError
        If the file is corrupt, unsafe or of another kind of model.

    Examples
    --------
    >>> import samgeo
    >>> model = samgeo.load_model("tiny", device="cpu")
    >>> model.name, model.input_size
    ('tiny', 512)
    """
    if not isinstance(name_or_path, str | Path):
        if isinstance(name_or_path, Segmenter):
            return name_or_path
        raise ModelError(
            f"{type(name_or_path).__name__} is not a model: it needs name, digest, input_size, embed and decode, "
            "as samgeo.models.protocols.Segmenter says."
        )
    from samgeo.models.device import resolve_device, resolve_dtype

    where = resolve_device(device)
    kind = resolve_dtype(dtype, where)
    given = str(name_or_path)
    _log.info("Loading the model %s on %s in %s.", given, where, kind)
    if given in {info.name for info in _MODELS}:
        info = _info(given)
        path = model_path(given)
        if info.name == "tiny":
            from samgeo.models.tiny import load_tiny

            tiny: Segmenter = load_tiny(path, device=where, dtype=kind)
            return tiny
        return _load_sam(path, name=info.name, sha256=info.sha256, device=where, dtype=kind)
    if given.startswith(HUB):
        return _load_sam(fetch_from_hub(given.removeprefix(HUB)), name=given, device=where, dtype=kind)
    path = Path(name_or_path).expanduser()
    check_name(path, ModelError, "give a name of samgeo.list_models, or a checkpoint file")
    if not path.exists():
        raise _unknown(given)
    from samgeo.models.tiny.checkpoint import is_tiny, load_tiny

    if is_tiny(path):
        trained: Segmenter = load_tiny(path, device=where, dtype=kind)
        return trained
    return _load_sam(path, name=path.stem, device=where, dtype=kind)


def default_gates(model: Segmenter) -> Gates:
    """Return the gates for a model's automatic masks: the model's own ``gates``, else those of its name, else those of SAM."""
    own: Any = getattr(model, "gates", None)
    if isinstance(own, Gates):
        return own
    return next((info.gates for info in _MODELS if info.name == model.name), Gates())


def _load_sam(path: Path, *, name: str, device: torch.device, dtype: torch.dtype, sha256: str | None = None) -> Segmenter:
    from samgeo.models.sam1.checkpoint import build_network, load_checkpoint
    from samgeo.models.sam1.model import Sam

    checkpoint = load_checkpoint(path, sha256=sha256)
    return Sam(build_network(checkpoint), name=name, digest=checkpoint.digest, device=device, dtype=dtype)


def _info(name: str) -> ModelInfo:
    for info in _MODELS:
        if info.name == name:
            return info
    raise _unknown(name)


def _unknown(name: str) -> ModelError:
    names = [info.name for info in _MODELS]
    close = get_close_matches(name.lower().replace("_", "-"), names, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known models: {', '.join(names)}; or give the path of a checkpoint."
    return ModelError(f"there is no model and no file {name!r}. {hint}")
