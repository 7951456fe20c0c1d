"""From images and boxes to a segmentation data set."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from samgeo.annotations.formats.voc import VocPixels
from samgeo.annotations.images import ImageFiles
from samgeo.annotations.parsing.faults import OnError
from samgeo.annotations.table import Annotations
from samgeo.arguments import check_types
from samgeo.errors import OptionError, RasterError
from samgeo.samrs.drawing import MOST_CLASSES, class_colors, first_value
from samgeo.samrs.finishing import Finishing
from samgeo.samrs.folder import Folder
from samgeo.samrs.planning import ImageJob, check_names, digest_of, file_digest, make_job, read_tolerant, with_classes
from samgeo.samrs.recipe import SetOptions
from samgeo.samrs.split import Shown, advise, default_block_m, ground_of
from samgeo.samrs.split import split as divide
from samgeo.samrs.work import Shared, make_image
from samgeo.segmentation.masks.cleaning import MIN_HOLE, MIN_PART
from samgeo.types import BandsLike, StretchLike

if TYPE_CHECKING:
    import torch
    from distributed import Client

    from samgeo.models.protocols import Segmenter

__all__ = ["MadeSet", "SplitWarning", "make_samrs"]

# Losing more of the pictures than this is worth a warning.
_MUCH = 0.1


@dataclass(frozen=True, slots=True)
class MadeSet:
    """A data set that was made.

    Attributes
    ----------
    path : Path
        Its folder.
    pictures, instances : int
        Images or chips, and masks in them.
    rejected : int
        Annotations, or their parts in a picture, without a mask: the lines of ``rejected.csv``.
    failed : dict of str to str
        Images that could not be used, and why: the lines of ``failed.csv``. The same call tries them again.
    statistics : dict
        The content of ``statistics.json``.
    remade : dict of str to str
        Images that an earlier call had finished and that were made again, because a file of theirs was missing or damaged, and
        which. Damaged files that were not empty are kept in ``.samgeo/replaced``.
    pictures_left_out : int
        Pictures that are in no part of the split, because they show ground of a part that comes later.
    advice : str
        Why these were left out, and with which overlap or blocks they would not be; empty where none was left out.
    left_out : tuple of str
        Faulty records of the annotations that were left out, with the reasons: lines of ``reading.csv``.
    """

    path: Path
    pictures: int
    instances: int
    rejected: int
    failed: dict[str, str]
    statistics: dict[str, Any]
    remade: dict[str, str]
    pictures_left_out: int
    advice: str
    left_out: tuple[str, ...] = ()


class SplitWarning(UserWarning):
    """More than a tenth of the pictures are in no part of a split; the message says why, and what would keep them."""


@check_types
def make_samrs(
    images: str | os.PathLike[str],
    annotations: str | os.PathLike[str] | Annotations,
    output: str | os.PathLike[str],
    *,
    model: str | Path | Segmenter = "tiny",
    prompt: Literal["hbox", "rhbox", "rbox"] = "hbox",
    format: str | None = None,  # noqa: A002 - the field's name for it
    class_column: str | None = None,
    class_name: str | None = None,
    pixels: VocPixels = "inclusive",
    on_error: OnError = "raise",
    classes: Sequence[str] | None = None,
    min_box_iou: float = 0.5,
    on_top: Literal["annotation", "smallest"] = "annotation",
    chip: int | None = None,
    chip_overlap: int = 0,
    min_visible: float = 0.7,
    keep_empty: bool = False,
    annotations_complete: bool = False,
    copy_images: bool = False,
    polygons: bool = False,
    exports: Sequence[str] = (),
    split: Sequence[float] | None = None,
    block_m: float | None = None,
    seed: int = 0,
    license: str = "",  # noqa: A002 - the word of the field
    device: str | torch.device = "auto",
    dtype: str = "auto",
    bands: BandsLike = None,
    stretch: StretchLike = None,
    nodata: float | str | None = None,
    alpha: int | str | None = None,
    window: int | None = None,
    overlap: int | None = None,
    min_part: float = MIN_PART,
    min_hole: float = MIN_HOLE,
    scheduler: str | Client | None = None,
    workers: int | None = None,
    verify: bool = False,
    progress: bool = True,
) -> MadeSet:
    """Make a segmentation data set of boxes: a mask for every box, as SAMRS was made (Wang et al. 2023).

    A run that was stopped goes on when the same call is made again: images that are done are not looked at again. Other
    options, another model, other annotations or images are refused, with the difference. Files have their final names only
    when they are whole: what was written is read back and compared. Images of which a file is missing or damaged since are made
    again.

    Parameters
    ----------
    images : path
        A folder, which is searched with its folders, or a file. Of any size, with or without georeference.
    annotations : path or Annotations
        In any format of `read_annotations`.
    output : path
        The folder of the data set: new, empty, or begun by the same call.
    model : str, path or Segmenter, default "tiny"
        A name of `samgeo.list_models`, a checkpoint file, or a model.
    prompt : {"hbox", "rhbox", "rbox"}, default "hbox"
        What is asked: the horizontal box; the horizontal hull of the corners where a box is oriented; or that hull and in it
        the oriented box (around a polygon or mask, the one of least area) as a soft mask. SAMRS asks R-Box as a mask alone, of
        logits 1000 and -1000; here they are such as models give, and the hull goes along, as not every model answers without.
    format, class_column, class_name, pixels
        See `read_annotations`.
    on_error : {"raise", "skip"}, default "raise"
        Whether faulty records of the annotations are refused, all together, or left out and listed in ``reading.csv``.
    classes : sequence of str, optional
        Those to take, in the order of their values in the pictures; annotations of others are left. All by default, in the
        order of the file, or of the alphabet where there is none. At most 255.
    min_box_iou : float, default 0.5
        Masks are kept out, and listed, where the box around the mask has a smaller IoU with the box that was asked. SAMRS keeps
        all: 0.
    on_top : {"annotation", "smallest"}, default "annotation"
        Which of two masks has a pixel of both in the pictures of classes: that of the later annotation, as in SAMRS; or the one
        with fewer pixels.
    chip : int, optional
        Side in pixels of chips that images are cut into, with all bands, type, nodata and georeference; not cut by default.
    chip_overlap : int, default 0
        Pixels that neighbouring chips share, at least.
    min_visible : float, default 0.7
        A chip has an annotation of which it shows at least this share of the area that the image shows (of the oriented box
        where there is one). The pixels of others stay unlabelled in it.
    keep_empty : bool, default False
        Whether pictures without masks are kept where they have data.
    annotations_complete : bool, default False
        Whether every object of the classes is annotated, so that what no annotation shows is background. Pictures of classes
        then have 0 for background and the classes from 1 on, instead of 255 and the classes from 0 on. Pixels without data stay
        255, and so does the ground of annotations that have no mask in a picture: those that were rejected, and those of which
        a chip shows too little. With ``keep_empty`` the set also has pictures of background alone.
    copy_images : bool, default False
        Whether images that are not cut are copied into the data set.
    polygons : bool, default False
        Whether the whole objects are written to ``polygons.parquet``, each once, in the images' CRS; EPSG:4326 if they have
        several, pixels of their images if they have none.
    exports : sequence of str
        Formats besides COCO: ``"dota"``, ``"voc"``, ``"yolo-boxes"``, ``"yolo-obb"``, ``"yolo-segments"``, and ``"torchgeo"``,
        GeoTIFFs of the classes in ``masks``, which go with the images.
    split : (float, float, float), optional
        Shares of train, val and test. No two parts show the same ground.
    block_m : float, optional
        Side in metres of the blocks of ground that are divided. By default four times the longest side of a picture, or three,
        two or one where there would be fewer than twelve blocks.
    seed : int, default 0
        Of the split.
    license : str
        For the data card.
    device, dtype, bands, stretch, nodata, alpha, window, overlap, min_part, min_hole
        See `samgeo.Predictor`.
    scheduler, workers
        Where Dask works, an image a task; see `samgeo.segment`.
    verify : bool, default False
        Whether to compare the digest of every file of the images that are done, in place of their sizes and times of
        modification alone. It reads the whole set.
    progress : bool, default True
        Whether to show a progress bar on standard error.

    Returns
    -------
    MadeSet

    Raises
    ------
    SamgeoError
        Before work starts, if an input or an option cannot work, or ``output`` was begun in another way. Images that cannot be
        used do not end the work.

    Warns
    -----
    SplitWarning
        If more than a tenth of the pictures are in no part of the split.
    """
    from tqdm import tqdm

    from samgeo.models.registry import load_model
    from samgeo.segmentation.execution.tasks import check_scheduler, run_ordered
    from samgeo.segmentation.windows.worker import ModelReference

    recipe = SetOptions(
        prompt, on_top, min_box_iou, chip, chip_overlap, min_visible, keep_empty, annotations_complete, copy_images,
        polygons, tuple(exports),
        None if split is None else (split[0], split[1], split[2]) if len(split) == 3 else tuple(split),  # type: ignore[arg-type]
        block_m, seed, bands, stretch, nodata, alpha, window, overlap, min_part, min_hole,
    )  # fmt: skip
    if workers is not None and workers < 1:
        raise OptionError(f"workers is {workers}; give 1 or more.")
    check_scheduler(scheduler)
    files, folder = ImageFiles.of(images), Folder(Path(output))
    folder.check(Path(images))
    check_names(list(files.paths))
    reading = {
        "format": format, "class_column": class_column, "class_name": class_name, "pixels": pixels, "on_error": on_error,
    }  # fmt: skip
    table, failed = read_tolerant(files, images, annotations, reading)
    table = with_classes(table, classes)
    most = MOST_CLASSES - first_value(annotations_complete)
    if len(table.classes) > most:
        raise OptionError(f"there are {len(table.classes)} classes, and pictures hold {most}; choose some with classes.")
    jobs = _jobs(files, table, recipe, failed)
    _look_at_first(jobs, recipe)
    segmenter = load_model(model, device=device, dtype=dtype)
    about = {"name": segmenter.name, "digest": segmenter.digest}
    colors = tuple(class_colors(len(table.classes)))
    shared = Shared(folder, recipe, table.classes, colors)
    is_here = scheduler in (None, "threads", "synchronous")
    is_named = isinstance(model, str | Path)
    given = ModelReference(str(model), str(device), dtype) if is_named and not is_here else segmenter
    with folder.opened(_manifest(recipe, about, table, files, jobs)):
        kept = {job.name: folder.read_part(job.name, verify=verify) for job in jobs}
        remade = {name: why for name, (_, why) in kept.items() if why}
        todo = [job for job in jobs if kept[job.name][0] is None]
        with tqdm(total=len(jobs), initial=len(jobs) - len(todo), unit="image", disable=not progress) as bar:
            done = run_ordered(
                make_image,
                (shared, given),
                todo,
                scheduler=scheduler,
                workers=workers,
                done=lambda _: bar.update(1),
                lost=lambda _, reason: f"it could not be computed: {reason}",
                describe=lambda job: f"the image {job.name}",
            )
            failed |= {job.name: reason for job, reason in zip(todo, done, strict=True) if reason}
        parts = []
        for job in jobs:
            part, why = kept[job.name]
            if part is None and job.name not in failed:
                part, why = folder.read_part(job.name)
                if part is None:
                    failed[job.name] = why or "nothing was kept of it; run this again"
            if part is not None:
                parts.append(part)
        part_of, advice = (None, "") if recipe.split is None else _divide(jobs, parts, recipe)
        finishing = Finishing(folder, recipe, table, parts, part_of, failed, about, colors, license)
        counted = finishing.write()
    rejected = sum(len(part.rejected) for part in parts)
    left_out = 0 if part_of is None else sum(not part for part in part_of.values())
    if part_of is not None and left_out > _MUCH * len(part_of):
        warnings.warn(advice, SplitWarning, stacklevel=2)
    pictures, instances = counted["pictures"], counted["instances"]
    return MadeSet(folder.path, pictures, instances, rejected, dict(failed), counted, remade, left_out, advice, table.left_out)


def _look_at_first(jobs: Sequence[ImageJob], recipe: SetOptions) -> None:
    """Warn where the picture of the first image is perhaps not the one that is meant; others will be like it."""
    from samgeo.geo.raster.raster import Raster

    # An image that cannot be read is listed with the others when the work comes to it.
    with suppress(RasterError):
        for job in jobs[:1]:
            Raster.open(job.path, bands=recipe.bands, stretch=recipe.stretch, nodata=recipe.nodata, alpha=recipe.alpha)


def _jobs(files: ImageFiles, table: Annotations, recipe: SetOptions, failed: dict[str, str]) -> list[ImageJob]:
    """Plan all images that can be used, in the order of their files."""
    rows_of = {image.name: np.flatnonzero(table.image == number) for number, image in enumerate(table.images)}
    jobs = []
    for name, path in files.paths.items():
        rows = rows_of.get(name, np.empty(0, dtype=np.int64))
        if name in failed or (len(rows) == 0 and not recipe.keep_empty):
            continue
        try:
            jobs.append(make_job(name, path, table, rows, recipe))
        except RasterError as error:
            failed[name] = str(error)
    places = {chip.geobox.crs is None: job.name for job in jobs for chip in job.chips}
    if recipe.polygons and len(places) > 1:
        raise OptionError(
            f"{places[True]} has no CRS and {places[False]} has one: one layer cannot hold both; leave polygons away."
        )
    return jobs


def _manifest(
    recipe: SetOptions, model: Mapping[str, str], table: Annotations, files: ImageFiles, jobs: Sequence[ImageJob]
) -> dict[str, Any]:
    from samgeo import __version__

    digests = {job.name: job.digest for job in jobs}
    return {
        "samgeo": __version__,
        "model": dict(model),
        "annotations": digest_of(table),
        "options": recipe.to_json(),
        "images": {name: digests.get(name) or file_digest(path) for name, path in files.paths.items()},
    }


def _divide(jobs: Sequence[ImageJob], parts: Sequence[Any], recipe: SetOptions) -> tuple[dict[str, str], str]:
    """Divide the pictures that there are by what they show; say what would keep those that are left out."""
    made = {picture.name for part in parts for picture in part.pictures}
    shown = {chip.name: Shown(job.name, ground_of(chip.geobox)) for job in jobs for chip in job.chips if chip.name in made}
    side = recipe.block_m or default_block_m(list(shown.values()))
    part_of = divide(shown, recipe.split or (), side, recipe.seed)
    return part_of, advise(shown, part_of, jobs, recipe, side)
