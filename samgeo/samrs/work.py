"""The processing of one image: masks are computed, files are written and checked, and a record marks the image as finished."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from samgeo.annotations.images import without_suffix
from samgeo.errors import OptionError, RasterError, SamgeoError
from samgeo.geo.vector.reading import write_vectors
from samgeo.samrs.box_masks import BoxMask, ask_boxes, background_of
from samgeo.samrs.chips import chip_bytes
from samgeo.samrs.drawing import (
    BACKGROUND,
    UNLABELLED,
    color_picture,
    draw,
    first_value,
    gray_picture,
    mask_tif,
    png,
    value_colors,
)
from samgeo.samrs.folder import ImagePart, Instance, PictureRecord, Rejected
from samgeo.samrs.planning import Chip, ImageJob
from samgeo.samrs.recipe import SetOptions
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.rle import Rle
from samgeo.segmentation.predictor import Predictor
from samgeo.segmentation.tables import answers_to_frame
from samgeo.segmentation.windows.failures import FAULTS, describe_fault
from samgeo.segmentation.windows.worker import ModelReference, load_referenced
from samgeo.storage.integrity import FileRecord, SourceError, copy_checked, record_file, sync_file, write_checked

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.samrs.folder import Folder

__all__ = ["Shared", "make_image"]

# Endings of companion files, which hold the georeference or the mask of an image.
_BESIDE = (".aux.xml", ".msk")
_BESIDE_STEM = (".tfw", ".jgw", ".pgw", ".wld", ".prj")


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """Data that the processing of every image needs.

    Attributes
    ----------
    folder : Folder
        Folder of the data set.
    recipe : SetOptions
        Options of the data set.
    classes : tuple of str
        Names of the classes.
    colors : tuple of (int, int, int)
        Colour of each class.
    """

    folder: Folder
    recipe: SetOptions
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]


def make_image(shared: Shared, model: Segmenter | ModelReference, job: ImageJob) -> str:
    """Make all files of one image.

    Parameters
    ----------
    shared : Shared
        Folder, options and classes of the data set.
    model : Segmenter or ModelReference
        The model, or a reference with which a worker process loads it.
    job : ImageJob
        The image with its annotations.

    Returns
    -------
    str
        Reason why the image could not be used, in which case no files of it are written; empty if it is finished.
    """
    recipe = shared.recipe
    segmenter = load_referenced(model)
    try:
        # There may be thousands of images in several processes, so that only `make_samrs` checks the first image.
        raster = recipe.reading.open(job.path, check=False)
        predictor = Predictor(raster, model=segmenter, **recipe.windows.arguments(), **recipe.cleaning.arguments())
        answers = ask_boxes(predictor, job, recipe.min_box_iou)
        with _Staging(shared.folder) as staging:
            part = _Making(staging, shared, predictor, job, answers).everything()
            shared.folder.write_part(replace(part, files=staging.publish()))
    except RasterError as error:
        return str(error)
    except SourceError as error:
        return str(error)
    except OSError as error:
        raise OptionError(f"{shared.folder.path} cannot be written ({error}); free disk space, and run it again.") from None
    except SamgeoError:
        raise
    except FAULTS as error:
        return f"the model failed: {describe_fault(error)}"
    return ""


class _Staging:
    """A temporary folder for an image's files, until all of them are complete."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._names: list[str] = []

    def __enter__(self) -> _Staging:
        self._place = tempfile.TemporaryDirectory(dir=self._folder.temporary)
        return self

    def __exit__(self, *_: object) -> None:
        self._place.cleanup()

    def write(self, name: str, content: bytes) -> None:
        """Write a file that gets this name in the data set when it is published."""
        write_checked(self.path(name), content)

    def path(self, name: str) -> Path:
        """Return the temporary path of a file that gets this name in the data set when it is published."""
        path = Path(self._place.name) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._names.append(name)
        return path

    def publish(self) -> tuple[FileRecord, ...]:
        """Sync all files to the disk, move them to their names in the data set, and return their records."""
        records = []
        for name in self._names:
            staged = Path(self._place.name) / name
            sync_file(staged)
            records.append(record_file(staged, name))
        for name in self._names:
            target = self._folder.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (Path(self._place.name) / name).replace(target)
        return tuple(records)


@dataclass(frozen=True, slots=True, eq=False)
class _Making:
    """One image with its masks, and the temporary folder for its files."""

    staging: _Staging
    shared: Shared
    predictor: Predictor
    job: ImageJob
    answers: dict[int, BoxMask]

    @property
    def raster(self) -> Raster:
        return self.predictor.raster

    def everything(self) -> ImagePart:
        """Write all files and return the record of the image."""
        job = self.job
        rejected = [Rejected(int(job.annotations[number]), "", reason, None) for number, reason in job.wrong.items()]
        for number, answer in self.answers.items():
            if answer.reason:
                iou = None if np.isnan(answer.box_iou) else answer.box_iou
                rejected.append(Rejected(int(job.annotations[number]), "", answer.reason, iou))
        made = [self._picture(chip, rejected) for chip in job.chips]
        pictures = tuple(one for one in made if one is not None)
        if self.shared.recipe.copy_images and pictures:
            for name, path in _with_companions(job):
                copy_checked(path, self.staging.path(f"images/{name}"))
        if self.shared.recipe.polygons:
            self._polygons()
        rejected.sort(key=lambda one: (one.annotation, one.picture))
        return ImagePart(job.name, job.digest, pictures, tuple(rejected))

    def _picture(self, chip: Chip, rejected: list[Rejected]) -> PictureRecord | None:
        """Write the files of one chip and return its record.

        No files are written, and None is returned, if the chip shows no mask, unless it has data and ``keep_empty`` is true.
        """
        rect, recipe = chip.rect, self.shared.recipe
        masks, instances = self._instances(chip, rejected)
        needs_data = recipe.annotations_complete or (recipe.keep_empty and not masks)
        valid = self.raster.read(rect)[1] if needs_data else None
        if not masks and not (recipe.keep_empty and valid is not None and valid.any()):
            return None
        background = None
        if recipe.annotations_complete and valid is not None:
            shown = {one.annotation for one in instances}
            others = [number for number in range(len(self.job.annotations)) if self.job.annotations[number] not in shown]
            background = background_of(valid, rect, self.job, others, self.answers)
        values = draw(masks, [one.label for one in instances], rect.shape, recipe.on_top, background)
        stem, write = without_suffix(chip.name), self.staging.write
        colors = value_colors(self.shared.colors, recipe.annotations_complete)
        write(f"gray/{stem}.png", png(gray_picture(values, colors)))
        write(f"color/{stem}.png", png(color_picture(values, colors)))
        if "torchgeo" in recipe.exports:
            write(f"masks/{stem}.tif", mask_tif(values, chip.geobox, colors))
        if self.job.is_cut:
            write(f"images/{chip.name}", chip_bytes(self.raster, self.job.path, rect, Path(chip.name).suffix))
        first = first_value(recipe.annotations_complete)
        counted = np.bincount(values.ravel(), minlength=UNLABELLED + 1)[:UNLABELLED]
        pixels = tuple((int(label), int(counted[label + first])) for label in np.flatnonzero(counted[first:]))
        empty = int(counted[BACKGROUND]) if recipe.annotations_complete else 0
        return PictureRecord(chip.name, rect.x0, rect.y0, *rect.shape, pixels, empty, tuple(instances))

    def _instances(self, chip: Chip, rejected: list[Rejected]) -> tuple[list[Mask], list[Instance]]:
        """Return the parts of the masks that a chip shows, in pixels of the chip."""
        rect, job = chip.rect, self.job
        masks, instances = [], []
        for number in chip.rows.tolist():
            answer = self.answers[number]
            if answer.segment is None or answer.reason:
                continue
            annotation, label = int(job.annotations[number]), int(job.labels[number])
            # Cutting at the edge of a chip may leave specks, which the object itself does not have.
            (shown,) = self.predictor.clean([replace(answer.segment, mask=answer.segment.mask.clip(rect))])
            mask = shown.mask.shift(-rect.x0, -rect.y0)
            if mask.is_empty:
                rejected.append(Rejected(annotation, chip.name, "the chip shows nothing of its mask", answer.box_iou))
                continue
            counts: str = Rle.from_mask(mask, rect.shape).to_coco()["counts"]
            predicted = float(answer.segment.predicted_iou)
            instances.append(Instance(annotation, label, counts, mask.area, predicted, answer.box_iou))
            masks.append(mask)
        return masks, instances

    def _polygons(self) -> None:
        """Write the whole objects of the image as polygons in its CRS, each once."""
        job, answers = self.job, self.answers
        kept = [number for number, answer in answers.items() if answer.segment is not None and not answer.reason]
        segments: list[Any] = [answers[number].segment for number in kept]
        columns = {
            "image": np.full(len(kept), job.name, dtype=object),
            "annotation": job.annotations[kept],
            "class": np.array([self.shared.classes[job.labels[number]] for number in kept], dtype=object),
            "box_iou": np.array([answers[number].box_iou for number in kept], dtype=np.float64),
        }
        frame = answers_to_frame(segments, pd.DataFrame(columns), self.raster.geobox).drop(columns="reason")
        write_vectors(frame, self.staging.path(self.shared.folder.polygons_name(job.name)))


def _with_companions(job: ImageJob) -> Sequence[tuple[str, Path]]:
    """Return the names and paths of an image and of its companion files."""
    beside = [(job.name + end, job.path.with_name(job.path.name + end)) for end in _BESIDE]
    beside += [(without_suffix(job.name) + end, job.path.with_suffix(end)) for end in _BESIDE_STEM]
    return [(job.name, job.path), *((name, path) for name, path in beside if path.is_file())]
