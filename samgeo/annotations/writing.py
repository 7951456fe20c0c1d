"""Writing of the table `Annotations` in the writable formats.

A file or folder appears under its name when all of it is written. The caller gets the list of what the format cannot hold.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samgeo.annotations.format_limits import losses
from samgeo.annotations.formats import coco, dota, voc, yolo
from samgeo.annotations.formats import vector_files as vectors
from samgeo.annotations.formats.yolo import yaml_of
from samgeo.annotations.images import ImageFiles, without_suffix
from samgeo.annotations.table import Annotations
from samgeo.arguments import check_types
from samgeo.errors import AnnotationError, OptionError, VectorError
from samgeo.geo.vector.reading import check_output, write_vectors
from samgeo.segmentation.masks.rle import write_json
from samgeo.storage.staging import staged_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from samgeo.annotations.table import Image

__all__ = ["WRITABLE", "write_annotations"]

WRITABLE = ("coco", "dota", "vectors", "voc", *yolo.KINDS)
"""Names of the formats that `write_annotations` writes."""


@check_types
def write_annotations(
    annotations: Annotations,
    path: str | os.PathLike[str],
    *,
    format: str,  # noqa: A002 - the field's name for it
    images: str | os.PathLike[str] | Mapping[str, tuple[int, int]] | None = None,
    compressed: bool = True,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write a table of annotations in one of the formats.

    Parameters
    ----------
    annotations : Annotations
        The table.
    path : path
        For ``"coco"``, a ``.json`` file; for ``"vectors"``, a file with a suffix that `write_vectors` supports. For the other
        formats, a folder that does not exist or is empty. In it, ``"dota"`` and ``"voc"`` write one file for each image; YOLO
        writes ``data.yaml`` and a folder ``labels``, and expects the images in a folder ``images`` beside it. If the names of
        all images begin with ``train/``, ``val/`` or ``test/``, ``data.yaml`` names these parts; otherwise it names the same
        images for training and validation.
    format : str
        ``"coco"``, ``"dota"``, ``"voc"``, ``"yolo-boxes"``, ``"yolo-obb"``, ``"yolo-segments"`` or ``"vectors"``.
    images : path or mapping, optional
        For ``"vectors"`` only: georeferenced images. The features then have the CRS of the images; by default they are in
        pixels, y down, without a CRS.
    compressed : bool, default True
        For ``"coco"`` only: whether the run lengths of masks are written in compressed form or as lists of numbers.
    overwrite : bool, default False
        Whether to replace an existing file. A folder is never replaced.

    Returns
    -------
    tuple of str
        One sentence for each kind of information that the format cannot hold, and that is therefore missing when the result is
        read; empty if nothing is lost.

    Raises
    ------
    AnnotationError
        If the annotations cannot be written. No file is then left behind, and an existing file is unchanged.
    OptionError
        If an option has no valid value, or is given for a format that does not use it.

    Examples
    --------
    >>> import json
    >>> from pathlib import Path
    >>> from samgeo.annotations import read_annotations, write_annotations
    >>> image = {"id": 1, "file_name": "a.png", "width": 100, "height": 80}
    >>> box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 30]}
    >>> coco = {"images": [image], "categories": [{"id": 1, "name": "ship"}], "annotations": [box]}
    >>> _ = Path("ships.json").write_text(json.dumps(coco))
    >>> table = read_annotations("ships.json")
    >>> _ = write_annotations(table, "dota", format="dota")
    >>> Path("dota/a.txt").read_text().split()[-2]
    'ship'
    """
    if not isinstance(annotations, Annotations):
        raise OptionError(
            f"annotations is a {type(annotations).__name__}; give the table that samgeo.read_annotations returns."
        )
    path = Path(path)
    if format not in WRITABLE:
        raise OptionError(f"format is {format!r}; give one of {', '.join(WRITABLE)}.")
    if images is not None and format != "vectors":
        raise OptionError(f"images has no meaning for {format}; omit it.")
    if not compressed and format != "coco":
        raise OptionError(f"compressed has no meaning for {format}; omit it.")
    lost = losses(annotations, format)
    if format in {"coco", "vectors"}:
        _check_path(path, overwrite)
        if format == "coco":
            _write_file(partial(write_json, coco.to_coco(annotations, compressed=compressed)), path, overwrite)
        else:
            _write_file(partial(write_vectors, vectors.to_frame(annotations, ImageFiles.of(images))), path, overwrite)
        return lost
    if overwrite:
        raise OptionError(
            f"{format} is written to a folder, and a folder is never replaced; "
            "remove the folder or give another path, and omit overwrite."
        )
    if format.startswith("yolo"):
        unknown = next((image.name for image in annotations.images if image.shape is None), None)
        if unknown is not None:
            raise AnnotationError(
                f"the size of {unknown} is not known, but coordinates of YOLO are fractions of it; "
                "give images=... when reading the annotations."
            )
    files = _folder_files(annotations, format)
    _write_folder(path, files)
    return lost


def _check_path(path: Path, overwrite: bool) -> None:
    try:
        check_output(path, overwrite)
    except VectorError as error:
        raise AnnotationError(str(error)) from None


def _write_file(write: Callable[..., None], path: Path, overwrite: bool) -> None:
    try:
        write(path, overwrite=overwrite)
    except VectorError as error:
        raise AnnotationError(str(error)) from None


def _folder_files(annotations: Annotations, kind: str) -> dict[str, str]:
    """Return the texts of the files of a folder by their names relative to the folder."""
    prefix, suffix = ("labels/", ".txt") if kind.startswith("yolo") else ("", ".xml" if kind == "voc" else ".txt")
    files: dict[str, str] = {}
    image_of_file: dict[str, str] = {}
    for image, rows in _by_image(annotations):
        name = prefix + without_suffix(image.name) + suffix
        # Some file systems do not distinguish names that differ only in case.
        if name.lower() in image_of_file:
            raise AnnotationError(
                f"{image_of_file[name.lower()]} and {image.name} would both be written to {name}; rename one of them."
            )
        image_of_file[name.lower()] = image.name
        if kind == "voc":
            files[name] = voc.text_of(image, rows)
        elif kind == "dota":
            files[name] = dota.text_of(rows)
        else:
            files[name] = yolo.text_of(rows, kind)
    return files | ({"data.yaml": yaml_of(annotations.classes, [image.name for image in annotations.images])} if prefix else {})


def _by_image(annotations: Annotations) -> Iterator[tuple[Image, Annotations]]:
    """Give each image with the table of its rows."""
    order = np.argsort(annotations.image, kind="stable")
    bounds = np.searchsorted(annotations.image[order], np.arange(len(annotations.images) + 1))
    for number, image in enumerate(annotations.images):
        rows = order[bounds[number] : bounds[number + 1]]
        part = annotations.take(rows)
        yield image, replace(part, images=(image,), image=np.zeros(len(rows), dtype=np.int64))


def _write_folder(path: Path, files: dict[str, str]) -> None:
    """Write files into a temporary folder beside the target, and rename it to the target when it is complete."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise AnnotationError(f"{path} exists and is not an empty folder; give another path, or remove it.")
    if not path.parent.is_dir():
        raise AnnotationError(f"{path} cannot be written: the folder {path.parent} does not exist; create it first.")
    try:
        with staged_folder(path) as temporary:
            for name, text in files.items():
                target = temporary / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise AnnotationError(
            f"{path} cannot be written ({error}); check the free space and the names of the images."
        ) from None
