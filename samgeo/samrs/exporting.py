"""Exports of a data set, in the folder ``exports``, in formats other than COCO."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samgeo.annotations.table import Annotations, Image
from samgeo.annotations.writing import write_annotations
from samgeo.samrs.folder import Folder, PictureRecord
from samgeo.segmentation.masks.rle import Rle

__all__ = ["to_table", "write_exports"]


def write_exports(
    folder: Folder, formats: Sequence[str], table: Annotations, by_part: Mapping[str, Sequence[PictureRecord]]
) -> dict[str, list[str]]:
    """Write the exports, and return what each format cannot hold.

    Existing exports are replaced; see `Folder.replacing`. For YOLO, one data set with all parts is written; its ``data.yaml``
    names the parts, and it contains the pictures if the set has them. For other formats, one data set is written for each part.

    Parameters
    ----------
    folder : Folder
        Folder of the data set, which the caller has opened.
    formats : sequence of str
        Names of the formats; see `make_samrs`. ``"torchgeo"`` is skipped here, because it is written with the pictures.
    table : Annotations
        The annotations that were read.
    by_part : mapping of str to sequence of PictureRecord
        Pictures of each part of the split; without a split, one part with an empty name.
    """
    lost: dict[str, list[str]] = {}
    for name in sorted(set(formats) - {"torchgeo"}):
        with folder.replacing(f"exports/{name}") as out:
            if name.startswith("yolo"):
                lost[name] = _write_yolo(folder.path, out, name, table, by_part)
            else:
                lost[name] = _write_parts(out, name, table, by_part)
    return lost


def _write_parts(out: Path, kind: str, table: Annotations, by_part: Mapping[str, Sequence[PictureRecord]]) -> list[str]:
    """Write a data set for each part of the split."""
    sentences: list[str] = []
    for part, pictures in by_part.items():
        said = write_annotations(to_table(table, pictures), out / part, format=kind)
        sentences += [f"{part}: {one}" if part else one for one in said]
    return sentences


def _write_yolo(
    folder: Path, out: Path, kind: str, table: Annotations, by_part: Mapping[str, Sequence[PictureRecord]]
) -> list[str]:
    """Write the data set for YOLO, with links to the pictures."""
    pictures = [picture for some in by_part.values() for picture in some]
    places = [f"{part}/{one.name}" if part else one.name for part, some in by_part.items() for one in some]
    instances = to_table(table, pictures)
    named = tuple(replace(image, name=place) for image, place in zip(instances.images, places, strict=True))
    said = write_annotations(replace(instances, images=named), out, format=kind)
    for picture, place in zip(pictures, places, strict=True):
        source = folder / "images" / picture.name
        if source.is_file():
            _link(source, out / "images" / place)
    return list(said)


def _link(source: Path, target: Path) -> None:
    """Make a hard link to a file, or copy it if the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def to_table(table: Annotations, pictures: Sequence[PictureRecord]) -> Annotations:
    """Return the instances of pictures as annotations, with the annotated boxes, in pixels of their picture.

    Horizontal boxes are cut to the picture; oriented boxes are not.
    """
    rows = np.array([one.annotation for picture in pictures for one in picture.instances], dtype=np.int64)
    image = np.repeat(np.arange(len(pictures)), [len(picture.instances) for picture in pictures])
    corner = np.array([(picture.x0, picture.y0) for picture in pictures], dtype=np.float64).reshape(-1, 2)[image]
    size = np.array([(picture.width, picture.height) for picture in pictures], dtype=np.float64).reshape(-1, 2)[image]
    masks: NDArray[np.object_] = np.full(len(rows), None, dtype=object)
    masks[:] = [
        Rle.from_coco({"size": [picture.height, picture.width], "counts": one.counts})
        for picture in pictures
        for one in picture.instances
    ]
    boxes = table.boxes_px[rows] - np.tile(corner, 2)
    return replace(
        table.take(rows),
        images=tuple(Image(one.name, one.height, one.width) for one in pictures),
        image=image.astype(np.int64),
        boxes_px=np.clip(boxes, 0, np.tile(size, 2)),
        corners_px=table.corners_px[rows] - corner[:, None],
        shapes=masks,
    )
