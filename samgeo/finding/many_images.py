"""The objects of many images as one table of annotations, which a data set is made of."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samgeo.annotations import Annotations, Image
from samgeo.errors import RasterError, WindowError
from samgeo.finding.api import find
from samgeo.geo.coordinates.prompt_geometry import read_boxes
from samgeo.progress import progress_bar
from samgeo.segmentation.api import NothingFoundWarning
from samgeo.segmentation.masks.cleaning import MIN_HOLE, MIN_PART

if TYPE_CHECKING:
    import geopandas as gpd
    import torch
    from distributed import Client

    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.options import ReadingOptions
    from samgeo.segmentation.windows.proposals import PromptSource

__all__ = ["ManyImages"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ManyImages:
    """Options of finding in many images; see `samgeo.find`.

    Attributes
    ----------
    source : PromptSource
        Finds the objects.
    reading : ReadingOptions
        How the images are opened.
    min_score, zoom, model, device, dtype, min_part, min_hole, scheduler, workers
        As for `samgeo.find`.
    """

    source: PromptSource
    reading: ReadingOptions
    min_score: float | None = None
    zoom: float | None = None
    model: str | Path | Segmenter = "tiny"
    device: str | torch.device = "auto"
    dtype: str = "auto"
    min_part: float = MIN_PART
    min_hole: float = MIN_HOLE
    scheduler: str | Client | None = None
    workers: int | None = None

    def find(self, images: Mapping[str, Path], runs: Path, *, progress: bool) -> tuple[Annotations, dict[str, str]]:
        """Find the objects of all images. Images that are finished are not searched again.

        Parameters
        ----------
        images : mapping of str to Path
            Names and files.
        runs : Path
            Folder with a run for each image, by its name without the suffix.
        progress : bool
            Whether a progress bar is shown.

        Returns
        -------
        Annotations
            The boxes around the objects, with their scores, of all images that could be read.
        dict of str to str
            Images that could not be read, with the reasons.

        Raises
        ------
        SamgeoError
            If an option is invalid, or a run was begun with other inputs or options.
        """
        named: list[Image] = []
        failed: dict[str, str] = {}
        boxes, kinds, scores, numbers = [], [], [], []
        classes = tuple(self.source.classes)
        with progress_bar(len(images), "image", "finding", progress=progress) as bar:
            for name, path in images.items():
                try:
                    found, image_boxes, shape = self._find_in(path, runs / Path(name).with_suffix(""))
                except (RasterError, WindowError) as error:
                    failed[name] = str(error)
                    continue
                finally:
                    bar.update()
                boxes.append(image_boxes)
                kinds += [classes.index(one) for one in found["class"]]
                scores.append(found["score"].to_numpy(dtype=np.float64))
                numbers += [len(named)] * len(found)
                named.append(Image(name, *shape))
        count = len(numbers)
        table = Annotations(
            images=tuple(named),
            classes=classes,
            image=np.array(numbers, dtype=np.int64),
            label=np.array(kinds, dtype=np.int64),
            boxes_px=np.concatenate([np.empty((0, 4)), *boxes]),
            corners_px=np.full((count, 4, 2), np.nan),
            shapes=np.full(count, None, dtype=object),
            scores=np.concatenate([np.empty(0), *scores]),
            difficult=np.zeros(count, dtype=np.int64),
            crowd=np.zeros(count, dtype=np.bool_),
        )
        return table, failed

    def _find_in(self, path: Path, run: Path) -> tuple[gpd.GeoDataFrame, NDArray[np.float64], tuple[int, int]]:
        """Return the objects of one image, their boxes in pixels, and height and width of the image."""
        raster = self.reading.open(path, check=False)
        run.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            # Many images of a data set have no object of these classes.
            warnings.simplefilter("ignore", NothingFoundWarning)
            found = find(
                raster,
                finder=self.source,
                min_score=self.min_score,
                zoom=self.zoom,
                model=self.model,
                device=self.device,
                dtype=self.dtype,
                min_part=self.min_part,
                min_hole=self.min_hole,
                scheduler=self.scheduler,
                workers=self.workers,
                run_dir=run,
                progress=False,
            )
        height, width = (int(side) for side in raster.shape)
        if not len(found):
            return found, np.empty((0, 4)), (height, width)
        return found, read_boxes(found.geometry, geobox=raster.geobox)[0], (height, width)
