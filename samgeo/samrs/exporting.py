"""The instances of a set in other formats than COCO, in ``exports``."""

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
from samgeo.samrs.folder import PictureRecord
from samgeo.segmentation.masks.rle import Rle

__all__ = ["to_table", "write_exports"]


def write_exports(
    folder: Path, formats: Sequence[str], table: Annotations, by_part: Mapping[str, Sequence[PictureRecord]]
) -> dict[str, list[str]]:
    """Write the exports anew; return what each cannot hold.

    Of YOLO, one data set with all parts is written, whose ``data.yaml`` names them, with the pictures where the set has them.
    Of the other formats, a data set for each part.

    Parameters
    ----------
    folder : Path
        Of the set.
    formats : sequence of str
        See `make_samrs`; ``"torchgeo"`` is written with the pictures.
    table : Annotations
        As read.
    by_part : mapping of str to sequence of PictureRecord
        Parts of the split; one without a name where there is none.
    """
    lost: dict[str, list[str]] = {}
    root = folder / "exports"
    for name in sorted(set(formats) - {"torchgeo"}):
        root.mkdir(exist_ok=True)
        shutil.rmtree(root / name, ignore_errors=True)
        if name.startswith("yolo"):
            lost[name] = _write_yolo(folder, root / name, name, table, by_part)
            continue
        sentences: list[str] = []
        for part, pictures in by_part.items():
            if part:
                (root / name).mkdir(exist_ok=True)
            said = write_annotations(to_table(table, pictures), root / name / part, format=name)
            sentences += [f"{part}: {one}" if part else one for one in said]
        lost[name] = sentences
    return lost


def _write_yolo(
    folder: Path, out: Path, kind: str, table: Annotations, by_part: Mapping[str, Sequence[PictureRecord]]
) -> list[str]:
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
    """Give a file a second name, or copy it where the file system has no second names."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def to_table(table: Annotations, pictures: Sequence[PictureRecord]) -> Annotations:
    """Return the instances of pictures as annotations, with the boxes that were annotated, in pixels of their picture.

    Horizontal boxes are cut to the picture; oriented ones are whole.
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
