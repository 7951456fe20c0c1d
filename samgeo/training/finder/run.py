"""The run of a finder's training: bank, head, scorer and threshold, each of which continues where it was stopped."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from samgeo.errors import CheckpointError, ModelError
from samgeo.finding.finder import USED_MEASURES, FinderInfo, pyramid_of
from samgeo.finding.head import STRIDE, FinderHead, HeadConfig
from samgeo.finding.scoring import Scorer
from samgeo.models.device import computing_in
from samgeo.training.data.examples import Source
from samgeo.training.finder.bank import make_bank
from samgeo.training.finder.head_fit import finished_head, fit_head
from samgeo.training.finder.options import FinderTraining
from samgeo.training.finder.scorer_fit import answer_crops, best_threshold, f1_of_sources, fit_scorer
from samgeo.training.run_folder import FileState

if TYPE_CHECKING:
    from samgeo.models.protocols import Segmenter

__all__ = ["FinderParts", "head_config", "train_finder"]

BANK, SCORER = "bank", "scorer.pt"


@dataclass(frozen=True, slots=True)
class FinderParts:
    """The parts of a trained finder, as `samgeo.finding.finder.save_finder` takes them."""

    head: FinderHead
    scorer: Scorer
    info: FinderInfo


def head_config(model: Segmenter, options: FinderTraining) -> HeadConfig:
    """Return the sizes of a head on the feature maps of a model.

    Raises
    ------
    ModelError
        If the model gives no feature maps, or maps whose cells do not fit those of a head.
    """
    side = model.input_size
    maps = pyramid_of(model, model.embed(np.zeros((1, side, side, 3), np.uint8))[0])
    for one in maps:
        stride, rest = divmod(side, one.shape[1])
        if side % STRIDE or rest or one.shape[1] != one.shape[2] or (stride % STRIDE and STRIDE % stride):
            raise ModelError(
                f"the model {model.name} has a feature map of {one.shape[1]} x {one.shape[2]} cells for {side} pixels; a "
                f"finder needs strides that divide {STRIDE} or are multiples of it."
            )
    strides, channels = tuple(side // one.shape[1] for one in maps), tuple(one.shape[-1] for one in maps)
    return HeadConfig(strides, channels, len(options.classes), options.width, options.depth)


def train_finder(
    model: Segmenter,
    sources: Sequence[Source],
    options: FinderTraining,
    folder: Path,
    *,
    threads: int | None = None,
    report: Callable[[str], None] | None = None,
) -> FinderParts:
    """Train a finder, or go on where an earlier call with the same arguments was stopped; the result is the same.

    Parameters
    ----------
    model : Segmenter
        A model that gives feature maps, in float32. It is not changed.
    sources : sequence of Source
        The pictures, with complete labels.
    options : FinderTraining
        What to train.
    folder : Path
        The run folder, whose lock the caller holds. The bank of encoded crops, some gigabytes, is removed from it at the end.
    threads : int, optional
        Number of threads that torch uses on a CPU; None for torch's own choice.
    report : callable, optional
        Called with lines of text that tell the progress.

    Returns
    -------
    FinderParts

    Raises
    ------
    ModelError
        If the model gives no feature maps, or maps of other sizes than a head takes.
    CheckpointError
        If a state in the folder is damaged.
    OptionError
        If no crop can be drawn, nothing is proposed, or the disk is full.
    """
    with computing_in(threads):
        config = head_config(model, options)
        head = finished_head(config, options, folder)
        if head is None:
            count, seed = options.crops, options.seed
            bank = make_bank(model, sources, options.classes, count, folder / BANK, seed=seed, report=report)
            head = fit_head(bank, config, options, folder, report=report)
        scorer, threshold = _scored(model, head, sources, options, folder, report=report)
        shutil.rmtree(folder / BANK, ignore_errors=True)
    info = FinderInfo(
        options.classes,
        model.digest.split("-")[0],
        options.zooms,
        threshold if options.min_score is None else options.min_score,
        options.license,
        options.about,
    )
    return FinderParts(head, scorer, info)


def _scored(
    model: Segmenter,
    head: FinderHead,
    sources: Sequence[Source],
    options: FinderTraining,
    folder: Path,
    *,
    report: Callable[[str], None] | None,
) -> tuple[Scorer, float]:
    """Return the scorer and the best threshold, from the run folder if they are there."""
    store = FileState(folder / SCORER)
    scorer = Scorer(USED_MEASURES)
    if (state := store.read()) is not None:
        try:
            scorer.load_state_dict(state["scorer"])
            return scorer.eval(), float(state["threshold"])
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"{store.path} is the state of another scorer ({str(error).splitlines()[0]}); remove it, or give another "
                "folder."
            ) from None
    answered = answer_crops(model, head, sources, options, report=report)
    scorer = fit_scorer(answered, seed=options.seed)
    with torch.inference_mode():
        scores = scorer(torch.from_numpy(answered.measures)).sigmoid().numpy()
    threshold = best_threshold(scores, answered)
    if report is not None:
        each = f1_of_sources(scores, answered, threshold)
        report(
            f"best threshold {threshold:.2f}: F1 in training pictures "
            + ", ".join(f"{sources[number].name} {value:.2f}" for number, value in sorted(each.items()))
        )
    store.write({"scorer": scorer.state_dict(), "threshold": threshold})
    return scorer, threshold
