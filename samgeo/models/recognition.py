"""Recognition of the kind of a model by the names of its tensors, or by the ``config.json`` of transformers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from samgeo.errors import CheckpointError
from samgeo.models.sam1.checkpoint_layouts import without_prefix
from samgeo.models.weights_files import config_beside, read_tensors, weights_file
from samgeo.types import Json

__all__ = ["Recognized", "recognize_config", "recognize_file", "recognize_names"]

Names = frozenset[str]

# Number of blocks of Hiera, by which the sizes of SAM 2 differ.
HIERA_BLOCKS = {12: "tiny", 16: "small", 24: "base-plus", 48: "large"}
HIERA_BLOCK = re.compile(r"^(?:image_encoder\.trunk|vision_encoder\.backbone)\.blocks\.(\d+)\.")

FOLDER_OF_SAM3 = (
    "samgeo reads SAM 3 in the layout of transformers: give a folder with config.json and model.safetensors, or the name 'sam3'"
)
MODELS_LISTED = 'Give it to samgeo.find as finder; samgeo.list_models(kind="prompts") lists the models that load_model loads'


@dataclass(frozen=True, slots=True)
class Recognized:
    """The kind of a model.

    Attributes
    ----------
    title : str
        What it is, with an article, for messages: "a SAM 2.1 tiny checkpoint".
    family : str
        Family of the architecture, as in ``ModelInfo.family``; empty if samgeo cannot read it.
    advice : str
        What to give instead, as a sentence without a full stop; may be empty.
    for_words : bool
        Whether it finds boxes for words, and does not answer points.
    """

    title: str
    family: str = ""
    advice: str = ""
    for_words: bool = False

    def refusal(self) -> str:
        """Return the message for a kind that ``load_model`` cannot load."""
        if self.for_words:
            return (
                f"this is {self.title}, which finds boxes for words and does not answer points. {self.advice or MODELS_LISTED}."
            )
        return f"this is {self.title}, which samgeo cannot read. {self.advice or READABLE}."


READABLE = (
    "samgeo reads SAM 1, SAM 2 and 2.1, MobileSAM, SAM-HQ, SAM 3 in the layout of transformers, and its own models; "
    "samgeo.list_models() lists the published ones"
)


def recognize_file(path: Path) -> Recognized:
    """Tell the kind of a weights file, or of the weights in a folder, by the names of the tensors.

    Only names are read from a safetensors file. Where the names are not known, the ``config.json`` beside the file decides.

    Parameters
    ----------
    path : Path
        A file, or a folder as transformers writes it.

    Raises
    ------
    CheckpointError
        If the file is damaged, unsafe, or of a kind that samgeo cannot read. The message names the kind.
    """
    file = weights_file(path)
    try:
        names = _tensor_names(file)
        found = recognize_names(names)
        if found is None:
            config = config_beside(file)
            found = recognize_config(config) if "model_type" in config else Recognized(_unknown(names))
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from None
    if not found.family:
        raise CheckpointError(f"{file}: {found.refusal()}")
    return found


def recognize_names(names: Iterable[str]) -> Recognized | None:
    """Tell the kind of a model by the names of its tensors; None if they are not known.

    Examples
    --------
    >>> from samgeo.models.recognition import recognize_names
    >>> recognize_names(["mask_decoder.hf_token.weight", "image_encoder.blocks.0.norm1.weight"]).family
    'sam-hq'
    """
    bare = frozenset(without_prefix(list(names)))
    return next((tell(bare) for is_kind, tell in KINDS if is_kind(bare)), None)


def recognize_config(config: Mapping[str, Json]) -> Recognized:
    """Tell the kind of a model by the ``config.json`` of transformers.

    Examples
    --------
    >>> from samgeo.models.recognition import recognize_config
    >>> recognize_config({"model_type": "sam2_video"}).family
    'sam2'
    """
    kind = config.get("model_type")
    if kind is None:
        return Recognized(
            "a repository whose config.json has no model_type", advice="Give the repository of a model of transformers"
        )
    return CONFIGS.get(str(kind)) or Recognized(f"a model of type {str(kind)[:60]!r}")


def _tensor_names(file: Path) -> Names:
    from safetensors import SafetensorError, safe_open

    with file.open("rb") as stream:
        is_safetensors = stream.read(9)[8:] == b"{"
    if not is_safetensors:
        return frozenset(read_tensors(file)[0])
    try:
        with safe_open(file, framework="pt") as opened:
            return frozenset(opened.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"the safetensors file is truncated or corrupt ({error}); download it again.") from None


def _begins(*beginnings: str) -> Callable[[Names], bool]:
    return lambda names: any(name.startswith(beginnings) for name in names)


def _is_sam31(names: Names) -> bool:
    return any(name.startswith(("detector.", "tracker.")) and "interactive_" in name for name in names)


def _is(found: Recognized) -> Callable[[Names], Recognized]:
    return lambda _: found


def _sam2(names: Names) -> Recognized:
    blocks = {int(match[1]) for match in map(HIERA_BLOCK.match, names) if match}
    size = HIERA_BLOCKS.get(len(blocks), "")
    newer = {"no_obj_embed_spatial", "occlusion_spatial_embedding_parameter"} & names
    return Recognized(f"a SAM {'2.1' if newer else '2'} {size} checkpoint".replace("  ", " "), "sam2")


def _sam_hq(names: Names) -> Recognized:
    light = _begins("image_encoder.patch_embed.seq.")(names)
    return Recognized(f"a SAM-HQ {'tiny ' if light else ''}checkpoint", "sam-hq")


def _unknown(names: Names) -> str:
    some = ", ".join(sorted(names)[:3])
    return f"a file of {len(names)} tensors of an unknown kind ({some}, ...)" if names else "a file without tensors"


SAM1 = Recognized("a SAM 1 checkpoint", "sam")
SAM3 = Recognized("a SAM 3 checkpoint", "sam3")
EDGE_TAM = Recognized("an EdgeTAM checkpoint")
SAM3_WORDS = Recognized(
    "the detector of SAM 3 alone", advice="Give hf://facebook/sam3 for points, which has both parts", for_words=True
)
GROUNDING_DINO = Recognized("a Grounding DINO model", for_words=True)
OWL = Recognized("an OWL model", for_words=True)

# What tells a kind by the names of the tensors. The first that fits is taken: models that were made from others have all the
# names of those, and more.
KINDS: tuple[tuple[Callable[[Names], bool], Callable[[Names], Recognized]], ...] = (
    (_begins("mask_decoder.custom_robust_token"), _is(Recognized("a RobustSAM checkpoint"))),
    (_is_sam31, _is(Recognized("a SAM 3.1 checkpoint"))),
    (_begins("tracker_model.", "tracker_neck."), _is(SAM3)),
    (_begins("detector.", "tracker."), _is(Recognized("a SAM 3 checkpoint in Meta's own layout", advice=FOLDER_OF_SAM3))),
    (_begins("detr_encoder.", "detector_model."), _is(SAM3_WORDS)),
    (_begins("image_encoder.trunk.body.", "vision_encoder.backbone.timm_model.", "spatial_perceiver."), _is(EDGE_TAM)),
    (_begins("sam_mask_decoder.hf_token"), _is(Recognized("an HQ-SAM 2 checkpoint"))),
    (_begins("vision_encoder.neck.fpn_layers."), _is(SAM3)),
    (_begins("image_encoder.trunk.", "vision_encoder.backbone."), _sam2),
    (_begins("mask_decoder.hf_token.", "mask_decoder.hq_token."), _sam_hq),
    (_begins("image_encoder.patch_embed.seq."), _is(Recognized("a MobileSAM checkpoint", "mobile-sam"))),
    (_begins("prompt_encoder.bbox_top_left_embeddings."), _is(Recognized("an EfficientSAM checkpoint"))),
    (_begins("image_encoder.backbone."), _is(Recognized("an EfficientViT-SAM checkpoint"))),
    (_begins("owlv2.", "owlvit."), _is(OWL)),
    (_begins("model.text_backbone.", "text_backbone."), _is(GROUNDING_DINO)),
    (_begins("image_encoder.blocks.", "vision_encoder.layers."), _is(SAM1)),
)

CONFIGS = {
    "sam": SAM1,
    "sam2": Recognized("a SAM 2 model", "sam2"),
    "sam2_video": Recognized("a SAM 2 model", "sam2"),
    "sam_hq": Recognized("a SAM-HQ model", "sam-hq"),
    "sam3_tracker": SAM3,
    "sam3_tracker_video": SAM3,
    "sam3_video": SAM3,
    "sam3": SAM3_WORDS,
    "sam3_lite_text": SAM3_WORDS,
    "edgetam": EDGE_TAM,
    "edgetam_video": EDGE_TAM,
    "grounding-dino": GROUNDING_DINO,
    "mm-grounding-dino": GROUNDING_DINO,
    "owlv2": OWL,
    "owlvit": OWL,
}
