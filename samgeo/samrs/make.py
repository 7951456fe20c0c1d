"""The public function that makes a segmentation data set from images and box annotations."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from samgeo import __version__
from samgeo.annotations.formats.voc import VocPixels
from samgeo.annotations.images import ImageFiles
from samgeo.annotations.parsing.faults import OnError
from samgeo.annotations.table import Annotations
from samgeo.arguments import check_types
from samgeo.errors import OptionError, RasterError, SamgeoWarning, warn
from samgeo.finding.api import open_finder
from samgeo.finding.many_images import ManyImages
from samgeo.finding.text.loading import is_text_model
from samgeo.progress import progress_bar
from samgeo.samrs.drawing import MOST_CLASSES, class_colors, first_value
from samgeo.samrs.finishing import Finishing
from samgeo.samrs.folder import Folder
from samgeo.samrs.planning import (
    ImageJob,
    check_names,
    digest_of,
    file_digest,
    make_job,
    read_tolerant,
    with_classes,
)
from samgeo.samrs.recipe import SetOptions, check_no_reading
from samgeo.samrs.split import Shown, advise, default_block_m, ground_of
from samgeo.samrs.split import split as divide
from samgeo.samrs.work import Shared, make_image
from samgeo.segmentation.execution.tasks import run_ordered
from samgeo.segmentation.masks.cleaning import MIN_HOLE, MIN_PART
from samgeo.segmentation.options import ExecutionOptions, ModelOptions
from samgeo.types import BandsLike, StretchLike

if TYPE_CHECKING:
    import torch
    from distributed import Client

    from samgeo.finding import Detector, PromptSource
    from samgeo.models.protocols import Segmenter

__all__ = ["MadeSet", "SplitWarning", "make_samrs"]

# If the split leaves out a larger fraction of the pictures than this, a warning is issued.
_MUCH = 0.1


@dataclass(frozen=True, slots=True)
class MadeSet:
    """Result of `make_samrs`.

    Attributes
    ----------
    path : Path
        Folder of the data set.
    pictures, instances : int
        Number of pictures (images or chips), and of masks in them.
    rejected : int
        Number of annotations without a mask, in a picture or in the whole set: the lines of ``rejected.csv``.
    failed : dict of str to str
        Images that could not be used, with the reasons: the lines of ``failed.csv``. The same call tries them again.
    statistics : dict
        The content of ``statistics.json``.
    remade : dict of str to str
        Images that an earlier call had finished and that were made again because one of their files was missing or damaged,
        with the name of that file. Damaged files that were not empty are kept in ``.samgeo/replaced``.
    pictures_left_out : int
        Number of pictures that are in no part of the split, because they show the same ground as pictures of a later part.
    advice : str
        Why these pictures were left out, and which overlap or block size would keep them; empty if none was left out.
    left_out : tuple of str
        Faulty annotation records that were left out, with the reasons: lines of ``reading.csv``.
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


class SplitWarning(SamgeoWarning):
    """More than a tenth of the pictures are in no part of a split.

    The message gives the reason, and options that would keep the pictures.
    """


@check_types
def make_samrs(
    images: str | os.PathLike[str],
    annotations: str | os.PathLike[str] | Annotations | None,
    output: str | os.PathLike[str],
    *,
    finder: str | Path | PromptSource | Detector | None = None,
    min_score: float | None = None,
    zoom: float | None = None,
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
    invented: str | None = None,
    window: int | None = None,
    overlap: int | None = None,
    min_part: float = MIN_PART,
    min_hole: float = MIN_HOLE,
    scheduler: str | Client | None = None,
    workers: int | None = None,
    verify: bool = False,
    progress: bool = True,
) -> MadeSet:
    """Make a segmentation data set from boxes: a mask for every box, as SAMRS was made (Wang et al. 2023).

    If a run was stopped, the same call continues it; finished images are not processed again. A call with other options,
    another model, other annotations or other images is refused, and the error names the difference. A file gets its final name
    only when it is complete: it is read back and compared first. Finished images are made again if one of their files is
    missing or damaged.

    Parameters
    ----------
    images : path
        A file, or a folder that is searched with its subfolders. Images may have any size, with or without a georeference.
    annotations : path, Annotations or None
        Annotations in any format of `read_annotations`; None to find the objects with a ``finder``.
    output : path
        Folder of the data set: a new folder, an empty one, or one that an earlier run of the same call has begun.
    finder : str, path, Detector or PromptSource, optional
        What finds the boxes if nobody has annotated them, as in `samgeo.find`: a finder's file, an object detector, or the
        class of a bundled finder, such as "building". For a text finder, such as "grounding-dino-tiny", ``classes`` are the
        phrases. The boxes around the objects that it finds are used like annotations; the data card says so.
    min_score, zoom : float, optional
        See `samgeo.find`. They need a ``finder``.
    model : str, path or Segmenter, default "tiny"
        A name from `samgeo.list_models`, a checkpoint file, or a model.
    prompt : {"hbox", "rhbox", "rbox"}, default "hbox"
        Prompt for each box. "hbox" is the horizontal box. "rhbox" is the horizontal bounding box of the corners of an oriented
        box. "rbox" is that bounding box together with the oriented box as a soft mask; for a polygon or a mask, the oriented
        box with the smallest area is used. The R-Box prompt of SAMRS is a mask alone with logits of 1000 and -1000. Here the
        logits have the range that models produce, and the bounding box is added, because some models do not work without one.
    format, class_column, class_name, pixels
        See `read_annotations`.
    on_error : {"raise", "skip"}, default "raise"
        "raise" raises one error that lists all faulty annotation records; "skip" leaves them out and lists them in
        ``reading.csv``.
    classes : sequence of str, optional
        Classes to use, in the order of their values in the label images; annotations of other classes are left out. The
        default is all classes in the order of the file, or in alphabetical order if the file has none. At most 255.
    min_box_iou : float, default 0.5
        Smallest IoU of the bounding box of a mask with the box of the prompt. Other masks are left out and listed. SAMRS keeps
        all masks, which is 0.
    on_top : {"annotation", "smallest"}, default "annotation"
        Which mask a pixel in several masks belongs to in the label images: the mask of the later annotation, as in SAMRS, or
        the mask with fewer pixels.
    chip : int, optional
        Side in pixels of the chips into which images are cut. Chips keep all bands, the data type, nodata and the
        georeference. By default images are not cut.
    chip_overlap : int, default 0
        Smallest number of pixels that neighbouring chips share.
    min_visible : float, default 0.7
        Smallest fraction of an annotation that a chip must show to include it, of the area that the image shows (the area of
        the oriented box, if there is one). The pixels of other annotations stay unlabelled in the chip.
    keep_empty : bool, default False
        Whether pictures without masks are kept if they have data.
    annotations_complete : bool, default False
        Whether every object of the classes is annotated, so that pixels without an annotation are background. Label images
        then have 0 for background and class values from 1, instead of 255 for unlabelled and class values from 0. These pixels
        stay 255: pixels without data, and the area of annotations that have no mask in a picture because it was rejected or
        because a chip shows too little of them. With ``keep_empty`` the set also has pictures that show only background.
    copy_images : bool, default False
        Whether images that are not cut are copied into the data set.
    polygons : bool, default False
        Whether the whole objects are written to ``polygons.parquet``, each once, in the CRS of the images. If the images have
        several CRSs it is EPSG:4326; if they have none, coordinates are pixels of the images.
    exports : sequence of str
        Formats in addition to COCO: ``"dota"``, ``"voc"``, ``"yolo-boxes"``, ``"yolo-obb"``, ``"yolo-segments"``, and
        ``"torchgeo"``, which writes the label images as GeoTIFFs into ``masks``, for use with the images.
    split : (float, float, float), optional
        Fractions of train, val and test. Two parts never show the same ground.
    block_m : float, optional
        Side in metres of the blocks of ground that are assigned to the parts. The default is four times the longest side of a
        picture, or three times, twice or once, if there would be fewer than twelve blocks.
    seed : int, default 0
        Seed of the split.
    license : str
        Licence for the data card.
    device, dtype, bands, stretch, nodata, alpha, invented, window, overlap, min_part, min_hole
        See `samgeo.segment`.
    scheduler, workers, progress
        See `samgeo.segment`. Each image is a task.
    verify : bool, default False
        Whether to compare the digests of all files of finished images, and not only their sizes and modification times. This
        reads the whole data set.

    Returns
    -------
    MadeSet
        The folder, and counts of its content.

    Raises
    ------
    SamgeoError
        Before the work starts, if an input or an option is invalid, or if ``output`` was begun with other inputs or options.
        Images that cannot be used do not stop the work.

    Warns
    -----
    SplitWarning
        If more than a tenth of the pictures are in no part of the split.

    Examples
    --------
    >>> from pathlib import Path
    >>> import geopandas as gpd
    >>> import numpy as np
    >>> from shapely.geometry import box
    >>> from samgeo.samrs import make_samrs
    >>> from samgeo.testing import Oracle, encode_ids, write_raster
    >>> labels = np.zeros((128, 128), dtype=np.int32)
    >>> labels[20:60, 30:80] = 1
    >>> Path("images").mkdir()
    >>> image = write_raster(Path("images/a.tif"), encode_ids(labels))  # pixels of 0.5 m from (500000, 5400000)
    >>> house = box(500_015, 5_399_970, 500_040, 5_399_990)
    >>> gpd.GeoDataFrame({"class": ["house"]}, geometry=[house], crs="EPSG:32633").to_parquet("boxes.parquet")
    >>> made = make_samrs("images", "boxes.parquet", "dataset", model=Oracle(128), class_column="class", progress=False)
    >>> made.pictures, made.instances, made.statistics["classes"][0]["pixels"]
    (1, 1, 2000)
    """
    arguments = locals()
    recipe, execution, choice = SetOptions.of(arguments), ExecutionOptions.of(arguments), ModelOptions.of(arguments)
    execution.check()
    files, folder = ImageFiles.of(images), Folder(Path(output))
    folder.check(Path(images))
    check_names(list(files.paths))
    reading = {
        "format": format, "class_column": class_column, "class_name": class_name, "pixels": pixels, "on_error": on_error,
    }  # fmt: skip
    _check_source(annotations, finder)
    if annotations is None:
        table, failed, recipe = _found(files, folder, recipe, arguments, reading)
    elif min_score is not None or zoom is not None:
        raise OptionError("min_score and zoom belong to a finder; give a finder, or leave them out.")
    else:
        table, failed = read_tolerant(files, images, annotations, reading)
    table = with_classes(table, classes)
    most = MOST_CLASSES - first_value(annotations_complete)
    if len(table.classes) > most:
        raise OptionError(
            f"there are {len(table.classes)} classes, but label images hold at most {most}; choose some with classes."
        )
    jobs = _jobs(files, table, recipe, failed)
    _look_at_first(jobs, recipe)
    segmenter = choice.load()
    about = {"name": segmenter.name, "digest": segmenter.digest}
    colors = tuple(class_colors(len(table.classes)))
    shared = Shared(folder, recipe, table.classes, colors)
    given = segmenter if execution.is_here else choice.reference(segmenter)
    with folder.opened(_manifest(recipe, about, table, files, jobs)):
        kept = {job.name: folder.read_part(job.name, verify=verify) for job in jobs}
        remade = {name: why for name, (_, why) in kept.items() if why}
        todo = [job for job in jobs if kept[job.name][0] is None]
        with progress_bar(len(jobs), "image", "making", progress=progress, initial=len(jobs) - len(todo)) as bar:
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
        warn(advice, SplitWarning)
    pictures, instances = counted["pictures"], counted["instances"]
    return MadeSet(folder.path, pictures, instances, rejected, dict(failed), counted, remade, left_out, advice, table.left_out)


def _found(
    files: ImageFiles, folder: Folder, recipe: SetOptions, arguments: Mapping[str, Any], reading: Mapping[str, Any]
) -> tuple[Annotations, dict[str, str], SetOptions]:
    """Find the objects of all images; return their boxes, the images that cannot be used, and the recipe with the finder."""
    check_no_reading(reading, "a finder")
    # The phrases of a text model are the classes of the data set.
    phrases = (
        arguments["classes"] if isinstance(arguments["finder"], str | Path) and is_text_model(arguments["finder"]) else None
    )
    source = open_finder(arguments["finder"], phrases, arguments["min_score"], device=arguments["device"])
    if unknown := [name for name in arguments["classes"] or () if name not in source.classes]:
        raise OptionError(f"{unknown[0]!r} is no class of the finder; there are: {', '.join(source.classes)}.")
    names = ("min_score", "zoom", "model", "device", "dtype", "min_part", "min_hole", "scheduler", "workers")
    given = {name: arguments[name] for name in names}
    many = ManyImages(source=source, reading=recipe.reading, **given)
    table, failed = many.find(files.paths, folder.found, progress=arguments["progress"])
    found_by = {"name": source.name, "digest": source.digest} | {name: given[name] for name in ("min_score", "zoom")}
    return table, failed, replace(recipe, found_by=found_by)


def _look_at_first(jobs: Sequence[ImageJob], recipe: SetOptions) -> None:
    """Open the first image with checks, so that a warning is issued if its pixels may be interpreted in a wrong way.

    The other images are assumed to be similar.
    """
    # An image that cannot be read is listed in the results later.
    with suppress(RasterError):
        for job in jobs[:1]:
            recipe.reading.open(job.path)


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
            f"{places[True]} has no CRS and {places[False]} has one, so that one layer cannot hold both; omit polygons."
        )
    return jobs


def _manifest(
    recipe: SetOptions, model: Mapping[str, str], table: Annotations, files: ImageFiles, jobs: Sequence[ImageJob]
) -> dict[str, Any]:
    """Return everything that the result depends on, for the manifest of the data set."""
    digests = {job.name: job.digest for job in jobs}
    return {
        "samgeo": __version__,
        "model": dict(model),
        "annotations": digest_of(table),
        "options": recipe.to_json(),
        "images": {name: digests.get(name) or file_digest(path) for name, path in files.paths.items()},
    }


def _divide(jobs: Sequence[ImageJob], parts: Sequence[Any], recipe: SetOptions) -> tuple[dict[str, str], str]:
    """Split the pictures by the ground that they show; also return advice about the pictures that are left out."""
    made = {picture.name for part in parts for picture in part.pictures}
    shown = {chip.name: Shown(job.name, ground_of(chip.geobox)) for job in jobs for chip in job.chips if chip.name in made}
    side = recipe.block_m or default_block_m(list(shown.values()))
    part_of = divide(shown, recipe.split or (), side, recipe.seed)
    return part_of, advise(shown, part_of, jobs, recipe, side)


def _check_source(annotations: object, finder: object) -> None:
    """Check that the boxes come from annotations or from a finder."""
    if not isinstance(annotations, str | os.PathLike | Annotations | None):
        raise OptionError(
            f"annotations is a {type(annotations).__name__}; give the path of a file or folder, such as a vector file that "
            "samgeo.geo.vector.write_vectors wrote, the table that samgeo.read_annotations returns, or None for a finder."
        )
    if (annotations is None) == (finder is None):
        raise OptionError("give annotations, or None for annotations and a finder, which finds the boxes.")
