"""Training of a session's model on the objects that the analyst accepted, and the choice of the file for the new weights."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import shapely
from shapely.affinity import affine_transform

from samgeo.errors import OptionError, StoppedError
from samgeo.geo.coordinates.prompt_geometry import PIXELS
from samgeo.map.other_weights import place_of, trainable_model
from samgeo.storage.atomic import check_new
from samgeo.storage.staging import place_new
from samgeo.training.finetuning.split import MIN_HELD_OUT, MIN_TRAINED

if TYPE_CHECKING:
    from samgeo.map.state.reducer import Annotation
    from samgeo.segmentation.predictor import Predictor
    from samgeo.training.finetuning.api import Finetuned

__all__ = ["Course", "Training", "free_path", "progress_of", "verdict"]

NEEDED = MIN_TRAINED + MIN_HELD_OUT
SUFFIX = ".safetensors"
START = f"start{SUFFIX}"

_STEP = re.compile(r"(?P<step>step [\d,]+) of (?P<end>[^:]+):(?:.*\bminutes (?P<minutes>[\d.]+))?")


@dataclass(frozen=True, slots=True)
class Course:
    """How a session trains; see `samgeo.finetune`."""

    preset: str = "decoder"
    minutes: float | None = 5.0
    steps: int | None = None
    rate: float | None = None
    check_shift: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """A training that can start: its objects, and the file for the new weights.

    Attributes
    ----------
    predictor : Predictor
        The raster, and the weights of the start.
    outlines : tuple of shapely geometries
        The accepted objects in raster pixels.
    output : Path
        The file for the new weights, which does not exist yet.
    course : Course
    """

    predictor: Predictor
    outlines: tuple[shapely.Geometry, ...]
    output: Path
    course: Course

    @classmethod
    def of(cls, predictor: Predictor, objects: Sequence[Annotation], output: Path | None, course: Course) -> Training:
        """Check everything that can be checked before the work starts.

        Raises
        ------
        OptionError
            If the model cannot be trained, there are too few objects, or the output cannot be written or exists.
        """
        trainable_model(predictor.model)
        if len(objects) < NEEDED:
            raise OptionError(
                f"training needs {NEEDED} accepted objects, {MIN_TRAINED} to train on and {MIN_HELD_OUT} to compare on, and "
                f"there {'is' if len(objects) == 1 else 'are'} {len(objects)}; accept {NEEDED - len(objects)} more."
            )
        if output is None:
            raise OptionError("there is no place for the new weights, because the session has no autosave; give an output.")
        path = check_new(output, SUFFIX, inputs=(predictor.raster,))
        inverse = ~predictor.raster.geobox.affine
        matrix = [inverse.a, inverse.b, inverse.d, inverse.e, inverse.c, inverse.f]
        outlines = tuple(affine_transform(one.geometry, matrix) for one in objects)
        return cls(predictor, outlines, path, course)

    def run(self, progress: Callable[[str], bool]) -> Finetuned:
        """Train, and write the new weights if they were accepted.

        Parameters
        ----------
        progress : callable
            Called with lines of text. It returns False to stop.

        Returns
        -------
        Finetuned
            If the weights were refused, its ``output`` is in the run folder and has the weights of the start.

        Raises
        ------
        StoppedError
            If ``progress`` returned False. Nothing is left of the training.
        SamgeoError
            As `samgeo.finetune`.
        """
        from samgeo.training.finetuning.api import finetune  # it takes a second, which a map without training saves

        def say(line: str) -> None:
            if not progress(line):
                raise StoppedError("training was stopped before it was done; the model is the same as before.")

        course, kind = self.course, trainable_model(self.predictor.model)
        folder = self.output.with_suffix(".run")
        is_new = not folder.exists()
        folder.mkdir(exist_ok=True)
        start = folder / START
        try:
            say("reading the accepted objects")
            weights = {name: tensor.detach().cpu().float() for name, tensor in kind.network.state_dict().items()}
            kind.save(weights, start, overwrite=True)
            done = finetune(
                self.predictor.raster,
                list(self.outlines),
                folder / self.output.name,
                model=start,
                preset=course.preset,
                minutes=course.minutes,
                steps=course.steps,
                rate=course.rate,
                check_shift=course.check_shift,
                crs=PIXELS,
                folder=folder,
                device=place_of(self.predictor.model)[0],
                threads=self.predictor.threads,
                seed=course.seed,
                overwrite=True,
                report=say,
            )
        except BaseException:
            if is_new:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        start.unlink(missing_ok=True)
        if not done.accepted:
            return done
        try:
            place_new(done.output, self.output)
        except OSError as error:
            raise OptionError(
                f"the new weights are in {done.output}, and cannot be moved to {self.output} ({error}); move them by hand."
            ) from None
        done.output.unlink(missing_ok=True)
        return replace(done, output=self.output)


def free_path(output: str | os.PathLike[str] | None, beside: Path | None) -> Path | None:
    """Return the file for new weights: the given one, or a new name beside a file, or None if there is neither.

    The new name is that of the file with ``-trained-N``. ``N`` is the first number that no weights and no run folder have.
    """
    if output is not None:
        return Path(output)
    if beside is None:
        return None
    names = (beside.with_name(f"{beside.stem}-trained-{number}{SUFFIX}") for number in count(1))
    return next(path for path in names if not path.exists() and not path.with_suffix(".run").exists())


def progress_of(line: str) -> str:
    """Return a line of `samgeo.finetune` on its progress without the losses, for a status line."""
    found = _STEP.match(line)
    if found is None:
        return line.splitlines()[0]
    minutes = found["minutes"]
    return (
        f"{found['step']} of {found['end']}" if minutes is None else f"{found['step']}, {float(minutes):.1f} of {found['end']}"
    )


def verdict(done: Finetuned) -> str:
    """Return one sentence on whether the new weights are used, and why."""
    if done.accepted:
        return f"training accepted: {done.reason}; the next prompts are answered by {done.output.name}"
    return f"training refused, so that the model stays as it is: {done.reason}"
