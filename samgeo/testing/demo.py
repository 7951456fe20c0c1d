"""The demonstration: segmentation of a generated town, compared with the true buildings."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.evaluation import match
from samgeo.plot.display import show
from samgeo.segmentation.api import segment
from samgeo.synthetic import town

if TYPE_CHECKING:
    from samgeo.evaluation import Matches

__all__ = ["Demo", "run_demo"]


@dataclass(frozen=True, slots=True)
class Demo:
    """Result of the demonstration.

    Attributes
    ----------
    image, objects, picture : Path
        Files of the town, of the objects found in it, and of a picture that shows both.
    matches : Matches
        Comparison of the objects with the true buildings at an IoU of 0.5.
    seconds : float
        Duration of the segmentation.
    """

    image: Path
    objects: Path
    picture: Path
    matches: Matches
    seconds: float

    def summary(self) -> str:
        """Return a text for the user: the counts, the duration, and the paths of the files."""
        matches = self.matches
        return (
            f"{matches.found} objects in {self.seconds:.0f} s; {matches.matched} of {matches.truth} buildings found "
            f"(recall {matches.recall:.0%} at IoU 0.5, mean IoU {matches.mean_iou:.2f})\n"
            f"image    {self.image}\nobjects  {self.objects}\npicture  {self.picture}"
        )


@check_types
def run_demo(folder: Path, *, size: int = 1024, seed: int = 1) -> Demo:
    """Generate a town, segment it with the bundled model, and compare the result with the truth.

    Parameters
    ----------
    folder : Path
        Folder for ``town.tif``, ``objects.parquet`` and ``objects.png``. Files of an earlier demonstration are replaced.
    size : int, default 1024
        Side of the town in pixels, at least 128.
    seed : int, default 1
        Seed of the town.

    Returns
    -------
    Demo
        The files, and the comparison with the truth.

    Raises
    ------
    OptionError
        If the folder cannot be made or the town would be too small.

    Examples
    --------
    >>> from pathlib import Path
    >>> from samgeo.testing import run_demo
    >>> demo = run_demo(Path("demo"), size=128)
    >>> sorted(path.name for path in Path("demo").iterdir())
    ['objects.parquet', 'objects.png', 'town.tif']
    """
    if size < 128:
        raise OptionError(f"size is {size} pixels; give at least 128.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{folder} cannot be created ({error.strerror}); give a folder that you can write to.") from None
    image, objects, picture = folder / "town.tif", folder / "objects.parquet", folder / "objects.png"
    scene = town((size, size), seed=seed)
    scene.save(image)
    start = time.perf_counter()
    result = segment(image, objects, overwrite=True)
    seconds = time.perf_counter() - start
    show(image, objects, picture, overwrite=True)
    return Demo(image, objects, picture, match(result, scene.footprints), seconds)
