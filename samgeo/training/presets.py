"""Presets of training: which parameters are trained, at which rate, with which losses and prompts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.models.sam1.adapters import BOTTLENECKS, PATCHES
from samgeo.training.losses import LossWeights
from samgeo.training.step import Course
from samgeo.training.toml_tables import fill

if TYPE_CHECKING:
    from samgeo.types import Json

__all__ = ["SAM", "SAM2", "TINY", "TRAINING_PRESETS", "PresetOptions", "TrainingPreset", "training_preset", "with_preset"]

# Kinds of networks that presets are for.
TINY, SAM, SAM2 = "tiny", "sam", "sam2"
# The mask decoder of SAM 2 without the convolutions of the finer features, which are a part of an embedding.
SAM2_DECODER = (
    *("mask_decoder.transformer.", "mask_decoder.iou_token.", "mask_decoder.mask_tokens.", "mask_decoder.obj_score_token."),
    *("mask_decoder.output_upscaling.", "mask_decoder.output_hypernetworks_mlps.", "mask_decoder.iou_prediction_head."),
)


@dataclass(frozen=True, slots=True)
class TrainingPreset:
    """What is trained, at which rate, with which losses and prompts.

    Attributes
    ----------
    name : str
        Name of the preset.
    summary : str
        What is trained, in one sentence.
    rate : float
        Learning rate after the warm-up.
    trained : mapping of str to tuple of str
        Beginnings of the names of the parameters that are trained, by the kind of the network: "tiny" for networks of the
        architecture of the bundled model, "sam" for SAM 1, "sam2" for SAM 2. Networks of other kinds cannot be trained with
        this preset.
    low_rank : mapping of str to tuple of str
        Beginnings of the names of the layers to which changes of low rank are added, by the kind of the network. In the image
        encoders of SAM 1 and SAM 2 they are the queries and the values of the attention.
    only_biases_and_norms : bool, default False
        Whether only biases and the layers of normalisation are trained.
    adapter : str, optional
        Kind of the adapters that are added to the image encoder of SAM 1 and trained: "patches" or "bottlenecks". They stay in
        the trained model. By default there are none.
    trains_iou : bool, default False
        Whether the heads that predict the IoU are trained too, unless the caller decides about it. A few outlines make them
        worse, so that most presets leave them as they are.
    cached_crops : int, default 0
        Largest number of crops whose embeddings are kept, for SAM 1 and SAM 2; see `TrainOptions`.
    warm_up : int, default 50
        Number of steps in which the learning rate rises.
    losses : LossWeights
        Weights of the parts of the loss.
    course : Course
        Which prompts are asked.
    """

    name: str
    summary: str
    rate: float
    trained: Mapping[str, tuple[str, ...]]
    low_rank: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    only_biases_and_norms: bool = False
    adapter: str | None = None
    trains_iou: bool = False
    cached_crops: int = 0
    warm_up: int = 50
    losses: LossWeights = field(default_factory=LossWeights)
    course: Course = field(default_factory=Course)

    def defaults(self) -> dict[str, object]:
        """Return the values of `TrainOptions` that the preset decides, as a table of a recipe has them."""
        return {
            "rate": self.rate,
            "warm_up": self.warm_up,
            "losses": dataclasses.asdict(self.losses),
            "course": {**dataclasses.asdict(self.course), "more_clicks": list(self.course.more_clicks)},
        }


@dataclass(frozen=True, slots=True)
class PresetOptions:
    """The keys of ``[train]`` in a recipe that choose a preset; see `samgeo.training.apply_preset`.

    Attributes
    ----------
    preset : str
        Name of the preset.
    rank : int, optional
        Rank of low-rank changes.
    targets : tuple of str, optional
        Parts of the network whose layers get low-rank changes.
    train_iou : bool, optional
        Whether the heads that predict the IoU are trained too.
    """

    preset: str
    rank: int | None = None
    targets: tuple[str, ...] | None = None
    train_iou: bool | None = None


TRAINING_PRESETS: Mapping[str, TrainingPreset] = {
    preset.name: preset
    for preset in (
        TrainingPreset(
            "decoder",
            "Everything after the image encoder of the bundled model, or the mask decoder of SAM 1 or SAM 2.",
            rate=1.5e-4,
            trained={TINY: ("prompts.", "decoder.", "upscaler."), SAM: ("mask_decoder.",), SAM2: SAM2_DECODER},
            cached_crops=400,
        ),
        TrainingPreset(
            "lora",
            "Changes of low rank: of the linear layers after the image encoder of the bundled model, or of the queries and "
            "values in the image encoder of SAM 1 or SAM 2 and of the linear layers of its mask decoder.",
            rate=1e-3,
            trained={TINY: (), SAM: (), SAM2: ()},
            low_rank={
                TINY: ("decoder.", "upscaler."),
                SAM: ("image_encoder.", "mask_decoder."),
                SAM2: ("image_encoder.", "mask_decoder."),
            },
        ),
        TrainingPreset(
            "bitfit",
            "All biases and layers of normalisation.",
            rate=1e-3,
            trained={TINY: ("",), SAM: ("",), SAM2: ("",)},
            only_biases_and_norms=True,
        ),
        TrainingPreset(
            "adapter",
            "Perceptrons of patches and high frequencies, which add to each block (SAM-Adapter), and the mask decoder.",
            rate=2e-4,
            trained={SAM: ("mask_decoder.",)},
            adapter=PATCHES,
        ),
        TrainingPreset(
            "medical-adapter",
            "Bottlenecks after the attention and beside the MLP of each block (Medical SAM Adapter), and the mask decoder.",
            rate=2e-4,
            trained={SAM: ("mask_decoder.",)},
            adapter=BOTTLENECKS,
        ),
        TrainingPreset(
            "all",
            "All parameters.",
            rate=1e-4,
            trained={TINY: ("",), SAM: ("",), SAM2: ("",)},
            trains_iou=True,
        ),
        TrainingPreset(
            "medsam",
            "The image encoder and the mask decoder, by boxes alone, which are grown outward by 0 to 20 pixels.",
            rate=1e-4,
            trained={
                TINY: ("encoder.", "decoder.", "upscaler."),
                SAM: ("image_encoder.", "mask_decoder."),
                SAM2: ("image_encoder.", "mask_decoder."),
            },
            trains_iou=True,
            losses=LossWeights(focal=0.0, dice=1.0, entropy=1.0, iou=1.0, regret=0.0, coverage=0.0),
            course=Course(boxes=1.0, box_and_click=0.0, correction=0.0, grow_px=20.0),
        ),
    )
}


@check_types
def training_preset(name: str) -> TrainingPreset:
    """Return a preset of training by its name.

    Parameters
    ----------
    name : str
        A key of ``TRAINING_PRESETS``.

    Returns
    -------
    TrainingPreset

    Raises
    ------
    OptionError
        If there is no such preset.

    Examples
    --------
    >>> from samgeo.training import training_preset
    >>> training_preset("bitfit").rate
    0.001
    """
    if name not in TRAINING_PRESETS:
        raise OptionError(f"there is no preset {name!r}; give one of {', '.join(TRAINING_PRESETS)}.")
    return TRAINING_PRESETS[name]


def with_preset(values: Mapping[str, Json], where: str) -> tuple[PresetOptions | None, dict[str, Json]]:
    """Divide the table ``[train]`` of a recipe into the options of its preset and the values of `TrainOptions`.

    Parameters
    ----------
    values : mapping
        The table.
    where : str
        Name of the table, for messages.

    Returns
    -------
    chosen : PresetOptions or None
        None if the table names no preset.
    rest : dict
        The other values, and those that the preset decides and the table does not have.

    Raises
    ------
    OptionError
        If the preset is unknown, a key is of another type, or a key does not go with the others.
    """
    own = {field.name for field in dataclasses.fields(PresetOptions)}
    rest = {key: value for key, value in values.items() if key not in own}
    given = {key: value for key, value in values.items() if key in own}
    if not given:
        return None, rest
    if "preset" not in given:
        raise OptionError(f"{where} has {', '.join(given)} but no preset; add preset = ..., or remove it.")
    chosen = fill(PresetOptions, given, where)
    if "rates" in rest:
        raise OptionError(f"{where} has rates and a preset, which decides what is trained; remove one of them.")
    defaults = training_preset(chosen.preset).defaults()
    for part in ("losses", "course"):
        if isinstance(inner := rest.get(part), Mapping):
            rest[part] = {**cast("dict[str, Json]", defaults[part]), **inner}
    return chosen, {**defaults, **rest}
