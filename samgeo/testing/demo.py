"""The demonstration: the buildings of a generated town, and everything in it, compared with the true buildings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from samgeo.arguments import check_types
from samgeo.buildings.workflow import footprints
from samgeo.errors import OptionError
from samgeo.evaluation import match
from samgeo.plot.display import show
from samgeo.segmentation.api import segment
from samgeo.synthetic import town

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

    from samgeo.evaluation import Matches
    from samgeo.synthetic import Scene

__all__ = ["Demo", "DemoStep", "run_demo"]


@dataclass(frozen=True, slots=True)
class DemoStep:
    """Result of one step of the demonstration.

    Attributes
    ----------
    objects, picture : Path
        Files of the objects, and of a picture that shows them in the town.
    matches : Matches
        Comparison of the objects with the true buildings at an IoU of 0.5.
    seconds : float
        Duration of the step.
    """

    objects: Path
    picture: Path
    matches: Matches
    seconds: float


@dataclass(frozen=True, slots=True)
class Demo:
    """Result of the demonstration.

    Attributes
    ----------
    image : Path
        File of the town.
    footprints : DemoStep
        The buildings, as `samgeo.footprints` finds them.
    everything : DemoStep
        Objects of every kind, as `samgeo.segment` finds them.
    """

    image: Path
    footprints: DemoStep
    everything: DemoStep

    def summary(self) -> str:
        """Return a text for the user: the counts, the durations, and the paths of the files."""
        return (
            f"samgeo footprints: {_counts(self.footprints, 'footprints')}\n"
            f"samgeo segment: {_counts(self.everything, 'objects of every kind')}\n"
            f"image       {self.image}\n"
            f"footprints  {self.footprints.objects}, {self.footprints.picture}\n"
            f"everything  {self.everything.objects}, {self.everything.picture}"
        )


@check_types
def run_demo(folder: Path, *, size: int = 1024, seed: int = 1, progress: bool = True) -> Demo:
    """Generate a town, find its buildings and then everything in it, and compare both results with the truth.

    Parameters
    ----------
    folder : Path
        Folder for ``town.tif``, ``footprints.parquet``, ``footprints.png``, ``objects.parquet`` and ``objects.png``. Files of
        an earlier demonstration are replaced.
    size : int, default 1024
        Side of the town in pixels, at least 128.
    seed : int, default 1
        Seed of the town.
    progress : bool, default True
        Whether to show progress bars on standard error.

    Returns
    -------
    Demo
        The files, and the comparisons with the truth.

    Raises
    ------
    OptionError
        If the folder cannot be made or the town would be too small.

    Examples
    --------
    >>> from pathlib import Path
    >>> from samgeo.testing import run_demo
    >>> demo = run_demo(Path("demo"), size=256, progress=False)
    >>> sorted(path.name for path in Path("demo").iterdir())
    ['footprints.parquet', 'footprints.png', 'objects.parquet', 'objects.png', 'town.tif']
    """
    if size < 128:
        raise OptionError(f"size is {size} pixels; give at least 128.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{folder} cannot be created ({error.strerror}); give a folder that you can write to.") from None
    image = folder / "town.tif"
    scene = town((size, size), seed=seed)
    scene.save(image)
    found = _step(scene, image, folder / "footprints.parquet", partial(footprints, progress=progress))
    everything = _step(scene, image, folder / "objects.parquet", partial(segment, progress=progress))
    return Demo(image, found, everything)


def _step(scene: Scene, image: Path, objects: Path, function: Callable[..., GeoDataFrame]) -> DemoStep:
    """Call a function with the image and the file of its objects, draw a picture, and compare the objects with the truth."""
    start = time.perf_counter()
    result = function(image, objects, overwrite=True)
    seconds = time.perf_counter() - start
    picture = objects.with_suffix(".png")
    show(image, objects, picture, overwrite=True)
    return DemoStep(objects, picture, match(result, scene.footprints), seconds)


def _counts(step: DemoStep, noun: str) -> str:
    """Return the counts and the duration of a step in one line; ``noun`` says what the objects are."""
    matches = step.matches
    return (
        f"{matches.found} {noun} in {step.seconds:.0f} s; {matches.matched} of {matches.truth} buildings found "
        f"(recall {matches.recall:.0%}, precision {matches.precision:.0%} at IoU 0.5, mean IoU {matches.mean_iou:.2f})"
    )
