"""Boxes of one image from annotation files: COCO and its result lists, YOLO, Roboflow and others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samgeo.annotations import Annotations, read_annotations
from samgeo.annotations.format_detection import find_annotations
from samgeo.errors import OptionError, VectorError
from samgeo.geo.vector.reading import split_layer

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster

__all__ = ["annotations_path", "read_boxes_of"]

SUFFIXES = frozenset({".json", ".txt", ".xml", ".csv"})
# Annotations of one image each, in a folder, have its name and one of these suffixes.
OF_ONE_IMAGE = (".txt", ".xml", ".json")


def annotations_path(features: object) -> Path | None:
    """Return the path of annotations; None for features that a vector file, a table or an array has."""
    if not isinstance(features, str | os.PathLike):
        return None
    name, layer = split_layer(features)
    path = Path(name)
    if layer is not None or path.suffix.lower() == ".gdb" or not path.exists():
        return None
    if path.is_dir():
        return path
    is_known = path.suffix.lower() in SUFFIXES and find_annotations(path, None)[0] != "vectors"
    return path if is_known else None


def read_boxes_of(path: Path, raster: Raster) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Read the boxes of a raster from annotations.

    Parameters
    ----------
    path : Path
        A file, or a folder.
    raster : Raster
        The image. It is found by its name, or it is the only one of the annotations.

    Returns
    -------
    boxes_px : ndarray, shape (P, 4)
        x0, y0, x1, y1 in raster pixels.
    scores : ndarray, shape (P,)
        1 for a box without a score.
    names : list of str
        Class of each box.

    Raises
    ------
    AnnotationError
        If the annotations cannot be read.
    OptionError
        If the raster is not among their images, or is not the one that was annotated.
    """
    height, width = (int(side) for side in raster.shape)
    stem = Path(raster.name).stem
    if path.is_dir():
        own = [one for suffix in OF_ONE_IMAGE for one in sorted(path.rglob(f"*{suffix}")) if one.stem == stem]
        path = own[0] if len(own) == 1 else path
    name = Path(raster.name).name or "image"
    if path.is_file() and find_annotations(path, None)[0].startswith("yolo"):
        name = path.with_suffix("").name  # YOLO labels have the name of their image, which is this one.
    table = _of_image(read_annotations(path, images={name: (height, width)}), name, path)
    shape = table.images[0].shape
    if shape is not None and shape != (height, width):
        raise OptionError(
            f"{path} has boxes of an image of {shape[1]} x {shape[0]} pixels, and {raster.name} has {width} x {height}; give "
            "the image in which the boxes were found."
        )
    scores = np.where(np.isnan(table.scores), 1.0, table.scores)
    return table.boxes_px, scores, [str(one) for one in table.class_names]


def _of_image(table: Annotations, name: str, path: Path) -> Annotations:
    """Return the rows of an image, or of the only image."""
    named = [one.name for one in table.images if Path(one.name).name == name or Path(one.name).stem == Path(name).stem]
    if len(named) == 1 or len(table.images) == 1:
        return table.of_image(named[0] if named else table.images[0].name)
    if not table.images:
        raise VectorError(f"{path} has no boxes; check the path.")
    raise OptionError(
        f"{path} has {len(table.images)} images, and {len(named) or 'none'} of them has the name {name}; give the boxes of one "
        "image, or an image with the name that it has there."
    )
