"""The public function that fine-tunes a model on the outlines of one place, and keeps the result only if it is better."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.geo.raster.raster import Raster
from samgeo.models.device import check_threads, resolve_device
from samgeo.models.protocols import Segmenter
from samgeo.models.registry import load_model
from samgeo.storage.atomic import check_new, write_whole
from samgeo.training.applied_preset import AppliedPreset, apply_preset
from samgeo.training.assessment.click_evaluation import score_objects
from samgeo.training.assessment.plots import read_log
from samgeo.training.finetuning.gate import Decision, Gain, decide, table
from samgeo.training.finetuning.outlines import MIN_AREA_PX, Outlines, read_outlines
from samgeo.training.finetuning.page import Compared, html_page
from samgeo.training.finetuning.shift import Shift, find_shift
from samgeo.training.finetuning.split import (
    LAYER,
    Split,
    crop_side,
    held_out_pictures,
    split_by_blocks,
    training_pictures,
    training_source,
)
from samgeo.training.loop import TrainOptions, train_locked
from samgeo.training.network_kinds import NetworkToTrain, to_train
from samgeo.training.presets import training_preset
from samgeo.training.recipe_run import IDENTITY, identify, log_line, sources_digest
from samgeo.training.run_folder import LOG, locked

if TYPE_CHECKING:
    from samgeo.types import BandsLike, CRSLike, FeaturesLike, RasterLike, StretchLike

__all__ = ["Finetuned", "finetune"]

# Number of objects that are prompted in a crop.
PROMPTS = 12
# Number of crops whose embeddings are kept if the image encoder of SAM does not change.
CACHED_CROPS = 48
WARM_UP, AVERAGE, LOG_STEPS = 10, 0.99, 5
SAVE_S = 30.0
MAX_STEPS = 10**6
RESULT = "trained.safetensors"


@dataclass(frozen=True, slots=True)
class Finetuned:
    """Result of `finetune`.

    Attributes
    ----------
    output : Path
        The file with the weights: the trained ones if they were accepted, and otherwise those of the start.
    accepted : bool
        Whether the trained weights were accepted.
    reason : str
        Why they were accepted or refused.
    gains : dict of str to Gain
        Mean IoU and Dice coefficient of the held-out objects before and after training, with the interval of the difference,
        for "click", "three_clicks" and "box". Empty if the outlines are shifted, because nothing is trained then.
    shift_px : (int, int) or None
        How far the outlines seem to be shifted to the right and down against the image, in pixels. None if no shift was found.
    trained_on, held_out : int
        Numbers of the outlines.
    steps : int
        Number of steps that were taken in all.
    digest : str
        SHA-256 of the file with the weights.
    folder, page : Path
        The run folder, and the report.
    """

    output: Path
    accepted: bool
    reason: str
    gains: Mapping[str, Gain]
    shift_px: tuple[int, int] | None
    trained_on: int
    held_out: int
    steps: int
    digest: str
    folder: Path
    page: Path


@check_types
def finetune(
    image: RasterLike,
    outlines: FeaturesLike,
    output: str | Path,
    *,
    model: str | Path = "tiny",
    input_size: int | None = None,
    preset: str = "decoder",
    minutes: float | None = 5.0,
    steps: int | None = None,
    rate: float | None = None,
    train_iou: bool = False,
    holdout: float = 0.3,
    soup: float = 1.0,
    check_shift: bool = True,
    crs: CRSLike = None,
    bands: BandsLike = None,
    stretch: StretchLike = None,
    nodata: float | str | None = None,
    alpha: int | str | None = None,
    invented: str | None = None,
    folder: str | Path | None = None,
    page: str | Path | None = None,
    device: str | torch.device = "auto",
    threads: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    report: Callable[[str], None] | None = None,
) -> Finetuned:
    """Train a model further on outlines of one place, and keep the result only if it is better on outlines that were held out.

    Pixels without an outline are not learned as background, so that the outlines need not be complete. But those that are given
    must be right.

    **Held out.** The image is divided into square blocks. Whole blocks are held out, in random order, until they have the share
    ``holdout`` of the outlines, and at least 10. Their pixels and outlines are not used in training.

    **Accepted.** The model is prompted for every held-out object with one click, three clicks and its box, all derived from the
    outline, before and after training. For each kind of prompt, the gain is the mean difference of IoU over the objects. Its
    bounds come from a paired bootstrap over the objects (Efron and Tibshirani 1993) with 4000 resamples: the quantiles
    0.05 / 3 and 1 - 0.05 / 3 of the resampled means, where 3 is the number of kinds of prompts. A kind is better if its lower
    bound is above 0, and worse if its gain is below -0.01 or its upper bound is below 0. The trained weights are accepted if at
    least one kind is better and none is worse. Otherwise the output has the weights of the start.

    **Shifted outlines.** Held-out outlines with the same error as the others cannot reveal it. So it is checked first whether
    the outlines follow edges of the image clearly better when all of them are moved in the same way, by 4 to 32 pixels. If so,
    nothing is trained, and the result is refused. Other errors that all outlines have in common are not noticed.

    A call with the same arguments continues a training that was stopped.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        See `samgeo.Raster.open`. It need not be georeferenced.
    outlines : path, GeoDataFrame, GeoSeries, geometries, or ndarray of int, shape (H, W)
        Polygons of at least 20 objects: in any CRS if the image has one, and in pixels of the image if it has none. An array is
        a label image with the number of the object of each pixel, where 0 is no object. Objects with fewer than 30 pixels, and
        those outside the image, are left out.
    output : str or Path
        The weights to write: a ``.safetensors`` that `samgeo.load_model` reads. Those of the bundled architecture are written
        in half precision, those of SAM in float32 with the official names.
    model : str or Path, default "tiny"
        The weights to start from: "tiny" for the bundled ones, another name of `samgeo.list_models`, a file, or
        ``hf://owner/name``. It must be a model of the bundled architecture, of SAM 1 (also MedSAM, which is a SAM 1 ViT-B), or
        of SAM 2.
    input_size : int, optional
        Side of the window in pixels, for SAM 2 only; see `samgeo.load_model`. The output has this side too.
    preset : str, default "decoder"
        What is trained: a key of `samgeo.training.TRAINING_PRESETS` that is for the architecture of the model.
    minutes : float, optional
        Length of the training, 5 by default. With None, training ends after ``steps``, and the result is repeatable.
    steps : int, optional
        Number of steps. With ``minutes``, it is the largest number.
    rate : float, optional
        Learning rate; that of the preset by default.
    train_iou : bool, default False
        Whether the parts that predict the IoU are trained too. A few outlines make them worse.
    holdout : float, default 0.3
        Share of the outlines that is held out, from 0.1 to 0.5.
    soup : float, default 1.0
        Share of the trained weights in the result, above 0; the rest are weights of the start. The share is given and not
        chosen by any data, so that the comparison on the held-out outlines stays unbiased. If you try several shares and keep
        the one with the best report, you choose it on the held-out outlines, and the gain in that report is too high.
    check_shift : bool, default True
        Whether to refuse outlines that are shifted. Set it to False for outlines that differ from the edges of the image on
        purpose, such as footprints at the foot of leaning buildings.
    crs : anything that pyproj takes, optional
        CRS of geometries that have none; that of the image by default.
    bands, stretch, nodata, alpha, invented : optional
        See `samgeo.Raster.open`.
    folder : str or Path, optional
        The run folder, with the state and the log; the name of the output with ``.run`` by default.
    page : str or Path, optional
        The report, an ``.html``; ``report.html`` in the run folder by default, which each call replaces.
    device : str, default "auto"
        "cpu", "cuda", "mps", or the first of CUDA, MPS and CPU that this machine has.
    threads : int, optional
        Number of threads that torch uses on a CPU; torch's own number by default.
    seed : int, default 0
        Seed of the blocks, the crops, the prompts and the bootstrap.
    overwrite : bool, default False
        Whether the output and the page may be replaced.
    report : callable, optional
        Called with lines of text on the progress.

    Returns
    -------
    Finetuned

    Raises
    ------
    OptionError
        If an option is invalid, there are too few outlines, an output exists, or the run was started with other arguments.
    VectorError
        If the outlines cannot be read, do not lie on the image, or are no polygons.
    SamgeoError
        If the image or the model cannot be read, or the run cannot be continued.

    Examples
    --------
    >>> import samgeo
    >>> from samgeo.synthetic import town
    >>> scene = town((256, 256), seed=3, resolution_m=0.5)
    >>> done = samgeo.finetune(scene.image, scene.labels, "town.safetensors", steps=1, minutes=None, device="cpu")
    >>> done.accepted, done.held_out >= 10
    (False, True)
    >>> start = samgeo.load_model("tiny")
    >>> samgeo.load_model("town.safetensors").digest == start.digest  # nothing became better
    True
    """
    say = report or (lambda _: None)
    if not 0.1 <= holdout <= 0.5 or not 0 < soup <= 1:
        raise OptionError(f"holdout is {holdout} and soup {soup}; give a holdout from 0.1 to 0.5, and a soup above 0 up to 1.")
    if minutes is None and steps is None:
        raise OptionError("minutes and steps are both None, so that training would not end; give one of them.")
    if seed < 0:
        raise OptionError(f"seed is {seed}; give 0 or more.")
    check_threads(threads)
    path = check_new(output, ".safetensors", overwrite=overwrite, inputs=[image, outlines, model])
    home = path.with_suffix(".run") if folder is None else Path(folder)
    shown = home / "report.html" if page is None else check_new(page, ".html", overwrite=overwrite, inputs=[image, outlines])
    training_preset(preset)
    where = resolve_device(device)
    # The weights of a model may have to be downloaded, so the outlines are read first.
    raster = Raster.open(image, bands=bands, stretch=stretch, nodata=nodata, alpha=alpha, invented=invented)
    found = read_outlines(outlines, raster, crs)
    if left_out := found.left_out():
        say(f"of {found.given} outlines, {left_out} and are left out")
    start = load_model(model, device=where, dtype="float32", input_size=input_size)
    loaded = to_train(start)
    # The network of the start itself stays as it is, for the comparison.
    applied = apply_preset(loaded.copied().network, preset, train_iou=train_iou, seed=seed)
    crops = ((crop_side(loaded, max(raster.shape)), PROMPTS, 1.0),)
    options = applied.train_options(MAX_STEPS if steps is None else steps, crops=crops, seed=seed)
    options = dataclasses.replace(
        options,
        minutes=minutes,
        rate=options.rate if rate is None else rate,
        warm_up=WARM_UP,
        average=AVERAGE,
        log_steps=LOG_STEPS,
        save_s=SAVE_S,
        cached_crops=min(applied.cached_crops, CACHED_CROPS),
    )
    split = split_by_blocks(found, holdout, start.input_size, seed)
    say(f"{len(split.trained)} outlines to train on, {len(split.held_out)} held out in {len(split.blocks)} blocks")
    call = _Call(raster, found, split, start, loaded, applied, options, path, home, shown, where, threads, soup, overwrite, say)
    with locked(home):
        shift = find_shift(raster, found, seed) if check_shift else None
        return call.refuse_shifted(shift) if shift is not None else call.train()


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """The checked arguments of a fine-tuning, and what was read."""

    raster: Raster
    outlines: Outlines
    split: Split
    start: Segmenter
    loaded: NetworkToTrain
    applied: AppliedPreset
    options: TrainOptions
    output: Path
    home: Path
    page: Path
    device: torch.device
    threads: int | None
    soup: float
    overwrite: bool
    say: Callable[[str], None]

    def refuse_shifted(self, shift: Shift) -> Finetuned:
        """Write the weights of the start, and a report that says how the outlines are shifted."""
        off = -shift.x, -shift.y
        reason = (
            f"the outlines seem to be shifted against the image by {off[0]} pixels to the right and {off[1]} down, because "
            "they follow its edges clearly better without this shift; nothing was trained. Move the outlines, or set "
            "check_shift to False (--no-check-shift) if they differ from the edges on purpose"
        )
        return self._finish(Decision(False, reason, {}), self.loaded, self._weights(), 0, shift_px=off, compared=None)

    def train(self) -> Finetuned:
        """Train, compare, decide, and write the weights and the report."""
        window = self.start.input_size
        held_out = list(held_out_pictures(self.raster, self.outlines, self.split, window))
        before = score_objects(self.start, held_out, layer=LAYER, min_area_px=MIN_AREA_PX)
        pictures = training_pictures(self.raster, self.outlines, self.split, window, self.options.seed)
        trained, first, result_path = to_train(self.applied.network), self._weights(), self.home / RESULT
        # New layers, which the start does not have, begin with the weights that the preset gave them.
        layers = trained.network.state_dict()
        new = {name: layers[name].cpu().clone() for name in self.applied.trained if name not in first}
        sources = [training_source(pictures, self.options.crops[0][0])]
        identity = {"start": self.start.digest, "pictures": sources_digest(sources)}
        computed = identify(self.home / IDENTITY, identity, self.threads, str(self.device), self.say)
        result = train_locked(
            self.applied.network,
            sources,
            self.home,
            self.options,
            window_px=window,
            device=self.device,
            threads=computed,
            report=lambda line: self.say(log_line(line, self.options)),
        )
        merged, begun = self.applied.merge(result.weights), {**new, **first}
        mixed = {name: _mixed(begun[name], part, self.soup) for name, part in merged.items()}
        # The file is compared, because weights may be rounded in it.
        trained.save(mixed, result_path, overwrite=True)
        model = load_model(result_path, device=self.device, dtype="float32")
        after = score_objects(model, held_out, layer=LAYER, min_area_px=MIN_AREA_PX)
        decision = decide(before, after, self.options.seed)
        self.say(table(decision.gains))
        compared = Compared(self.start, model, held_out, before, after)
        kept, weights = (trained, mixed) if decision.accepted else (self.loaded, first)
        return self._finish(decision, kept, weights, result.steps, shift_px=None, compared=compared)

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: tensor.detach().cpu() for name, tensor in self.loaded.network.state_dict().items()}

    def _finish(
        self,
        decision: Decision,
        kept: NetworkToTrain,
        weights: Mapping[str, torch.Tensor],
        steps: int,
        *,
        shift_px: tuple[int, int] | None,
        compared: Compared | None,
    ) -> Finetuned:
        verdict = f"{'Accepted' if decision.accepted else 'Refused'}: {decision.reason}."
        if not decision.accepted:
            verdict += f" {self.output.name} has the weights of the start."
        content = html_page(
            f"Fine-tuning of {self.start.name} on {self.raster.name}",
            verdict,
            accepted=decision.accepted,
            facts=self._facts(steps),
            gains=decision.gains,
            log=read_log(self.home / LOG) if compared is not None else [],
            compared=compared,
        )
        digest = kept.save(weights, self.output, overwrite=self.overwrite)
        write_whole(self.page, content.encode())
        self.say(verdict)
        return Finetuned(
            self.output,
            decision.accepted,
            decision.reason,
            decision.gains,
            shift_px,
            len(self.split.trained),
            len(self.split.held_out),
            steps,
            digest,
            self.home,
            self.page,
        )

    def _facts(self, steps: int) -> dict[str, str]:
        """Return the rows of the report's table of options and counts."""
        return {
            "outlines given": f"{self.outlines.given}" + (f", of which {text}" if (text := self.outlines.left_out()) else ""),
            "outlines to train on": f"{len(self.split.trained)}",
            "outlines held out": f"{len(self.split.held_out)} in {len(self.split.blocks)} blocks of {self.split.side} pixels",
            "preset": f"{self.applied.preset.name}: {self.applied.preset.summary}",
            "crops": f"{self.options.crops[0][0]} pixels wide"
            + (f"; {self.options.cached_crops} are drawn and encoded once" if self.options.cached_crops else ""),
            "learning rate": f"{self.options.rate:g}",
            "steps": f"{steps}",
            "share of the trained weights": f"{self.soup:g}",
            "seed": f"{self.options.seed}",
            "weights of the start": f"{self.start.name}, {self.start.digest[:16]}",
        }


def _mixed(begun: torch.Tensor, trained: torch.Tensor, share: float) -> torch.Tensor:
    """Return the mean of weights before and after training, with a share of the trained ones; the same bytes if they are."""
    return begun if torch.equal(begun, trained) else begun.lerp(trained, share)
