"""Presets of training: which parameters are trained, at which rate, with which losses and prompts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.training.losses import LossWeights
from samgeo.training.step import Course

__all__ = ["SAM", "TINY", "TRAINING_PRESETS", "TrainingPreset", "training_preset"]

# Kinds of networks that presets are for.
TINY, SAM = "tiny", "sam"


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
        architecture of the bundled model, "sam" for SAM 1. Networks of other kinds cannot be trained with this preset.
    low_rank : mapping of str to tuple of str
        Beginnings of the names of the layers to which changes of low rank are added, by the kind of the network.
    only_biases_and_norms : bool, default False
        Whether only biases and the layers of normalisation are trained.
    adapter : str, optional
        Kind of the adapters that are added to the image encoder of SAM 1: "patches" or "bottlenecks". They stay in the trained
        model. By default there are none.
    trains_iou : bool, default False
        Whether the heads that predict the IoU are trained too, unless the caller decides about it. A few outlines make them
        worse, so that most presets leave them as they are.
    cached_crops : int, default 0
        Number of crops whose embeddings are kept, for SAM 1; see `TrainOptions`.
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


TRAINING_PRESETS: Mapping[str, TrainingPreset] = {
    preset.name: preset
    for preset in (
        TrainingPreset(
            "decoder",
            "Everything after the image encoder of the bundled model, or the mask decoder of SAM 1.",
            rate=1.5e-4,
            trained={TINY: ("prompts.", "decoder.", "upscaler."), SAM: ("mask_decoder.",)},
            cached_crops=400,
        ),
        TrainingPreset(
            "lora",
            "Changes of low rank: of the linear layers after the image encoder of the bundled model, or of the queries and "
            "values in the image encoder of SAM 1 and of the linear layers of its mask decoder.",
            rate=1e-3,
            trained={TINY: (), SAM: ()},
            low_rank={TINY: ("decoder.", "upscaler."), SAM: ("image_encoder.", "mask_decoder.")},
        ),
        TrainingPreset(
            "bitfit",
            "All biases and layers of normalisation.",
            rate=1e-3,
            trained={TINY: ("",), SAM: ("",)},
            only_biases_and_norms=True,
        ),
        TrainingPreset(
            "all",
            "All parameters.",
            rate=1e-4,
            trained={TINY: ("",), SAM: ("",)},
            trains_iou=True,
        ),
        TrainingPreset(
            "medsam",
            "The image encoder and the mask decoder, by boxes alone, which are grown outward by 0 to 20 pixels.",
            rate=1e-4,
            trained={TINY: ("encoder.", "decoder.", "upscaler."), SAM: ("image_encoder.", "mask_decoder.")},
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
