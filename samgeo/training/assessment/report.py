"""Evaluation of a model on the held-out pictures of a recipe, compared with baselines, as a Markdown report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.models.registry import load_model
from samgeo.storage.atomic import check_new, write_whole
from samgeo.training.assessment.click_evaluation import evaluate, evaluate_boxes
from samgeo.training.assessment.plots import check_plot, plot_reliability
from samgeo.training.assessment.scores import BoxScores, Scores, markdown, number
from samgeo.training.data import overhead_recipe as overhead
from samgeo.training.data.pictures import Picture
from samgeo.training.data.pseudo_labels import felzenszwalb
from samgeo.training.recipe import Recipe, load_recipe, needed

if TYPE_CHECKING:
    import torch

__all__ = ["Report", "judge"]

TILE_PX = 512
PROMPTS = (
    "All prompts come from the truth alone: one click in the deepest pixel of an object, two more in the deepest errors, the "
    "exact box. Baselines on the same prompts: the box itself, and the region of even colour under the click (Felzenszwalb), "
    "at the best of three scales."
)
Boxed = tuple[NDArray[np.uint8], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Report:
    """Results of the evaluation of a model.

    Attributes
    ----------
    model, digest : str
        Name of the model, and digest of its weights.
    tile_px : int
        Side of the tiles in pixels, before they were scaled to the model's input.
    scores : mapping of str to Scores
        Scores for each set and layer.
    boxes : mapping of str to BoxScores
        Scores for the sets that have true boxes but no true masks.
    """

    model: str
    digest: str
    tile_px: int
    scores: Mapping[str, Scores]
    boxes: Mapping[str, BoxScores]

    def markdown(self) -> str:
        """Write the report as Markdown."""
        said = f"Weights {self.digest[:16]}, tiles of {self.tile_px} px. {PROMPTS}"
        lines = [f"# {self.model}", "", said]
        if self.scores:
            lines += ["", markdown(self.scores)]
        if self.boxes:
            lines += ["", "| mean IoU of boxes, one click | objects | own pick | best of three | region |", "|---" * 5 + "|"]
            for name, crowns in self.boxes.items():
                told = " | ".join(number(value) for value in (crowns.click, crowns.click_best, crowns.region))
                lines.append(f"| {name} | {crowns.objects} | {told} |")
        if self.scores:
            lines += ["", "| predicted against true IoU | mean difference over ten bins | largest |", "|---|---|---|"]
            for name, one in self.scores.items():
                lines.append(f"| {name} | {one.reliability.error:.3f} | {one.reliability.largest_gap:.3f} |")
        return "\n".join(lines) + "\n"


@check_types
def judge(
    model: str | Path = "tiny",
    recipe: str | Path = "overhead",
    *,
    data: str | Path | None = None,
    output: str | Path | None = None,
    calibration: str | Path | None = None,
    tile_px: int = TILE_PX,
    max_objects: int | None = None,
    regions: bool = True,
    device: str | torch.device = "auto",
    overwrite: bool = False,
    report: Callable[[str], None] | None = None,
) -> Report:
    """Evaluate a model on the ``[[validation]]`` pictures of a recipe.

    Parameters
    ----------
    model : str or Path, default "tiny"
        As `samgeo.load_model` takes it.
    recipe : str or Path, default "overhead"
        A TOML file, or the recipe of the bundled model, whose validation is Banepa's last chips, Dubai's tile 7, Rio with
        footprints, and NEON's crowns.
    data : str or Path, optional
        The folder with the open data sets, for a recipe that uses them.
    output : str or Path, optional
        A ``.md`` file for the report.
    calibration : str or Path, optional
        A PNG file for a plot of predicted against true IoU.
    tile_px : int, default 512
        Side of the tiles, which are scaled to the model's input. Use the same value for all models that are compared.
    max_objects : int, optional
        Largest number of objects of each tile.
    regions : bool, default True
        Whether to score regions of even colour as a baseline. This needs scikit-image.
    device : str, default "auto"
    overwrite : bool, default False
        Whether existing files may be replaced.
    report : callable, optional
        Called with a line of text after each set.

    Returns
    -------
    Report

    Raises
    ------
    OptionError
        If an argument, the recipe or an output cannot be used, or a library is missing.
    SamgeoError
        If the model, images or labels cannot be read.
    """
    say = report or (lambda _: None)
    if tile_px < 32 or (max_objects is not None and max_objects < 1):
        raise OptionError(f"tile_px is {tile_px} and max_objects is {max_objects}; give at least 32 px and at least 1 object.")
    plan = load_recipe(recipe)
    if not plan.validation:
        raise OptionError(f"{plan.path} has no [[validation]]; add one with images and labels that training does not use.")
    page = None if output is None else check_new(output, ".md", overwrite=overwrite)
    if calibration is not None:
        check_plot(calibration, overwrite=overwrite)
    if regions:
        felzenszwalb()
    home = None if data is None else Path(data)
    if any(planned.labels is None for planned in plan.validation):
        needed(plan.path, home)
    judged = load_model(model, device=device)
    scores: dict[str, Scores] = {}
    for name, layer, pictures in _sets(plan, home):
        scores[name] = evaluate(
            judged, pictures, layer=layer, tile_px=tile_px, max_objects=max_objects, regions=regions
        )  # fmt: skip
        say(f"{name}: {scores[name].objects:,} objects, own pick {scores[name].click:.3f}, box {scores[name].box:.3f}")
    boxes = {name: evaluate_boxes(judged, given, tile_px=tile_px, regions=regions) for name, given in _boxes(plan, home)}
    result = Report(judged.name, judged.digest, tile_px, scores, boxes)
    if page is not None:
        write_whole(page, result.markdown().encode())
    if calibration is not None:
        plot_reliability({name: one.reliability for name, one in scores.items()}, calibration, overwrite=overwrite)
    return result


def _sets(recipe: Recipe, data: Path | None) -> Iterator[tuple[str, str, list[Picture]]]:
    """Read the validation pictures; yield name, layer and pictures of each set."""
    for planned in recipe.validation:
        found = overhead.validation(needed(recipe.path, data)) if planned.labels is None else {planned.name: planned.read()}
        for name, pictures in found.items():
            layers = sorted({layer for picture in pictures for layer in picture.layers})
            for layer in layers:
                yield f"{name}, {layer}", layer, pictures


def _boxes(recipe: Recipe, data: Path | None) -> Iterator[tuple[str, Iterator[Boxed]]]:
    if any(planned.labels is None for planned in recipe.validation):
        yield "NEON, crowns", ((image, boxes) for _, image, boxes in overhead.crowns(needed(recipe.path, data)))
