"""From the parts of all images to the files of the set: COCO, other formats, lists, statistics and the card."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samgeo.dataset.annotations.coco import to_coco
from samgeo.dataset.annotations.table import Annotations, Image
from samgeo.dataset.annotations.writing import write_annotations
from samgeo.dataset.samrs.card import card
from samgeo.dataset.samrs.chart import chart
from samgeo.dataset.samrs.drawing import png
from samgeo.dataset.samrs.folder import Folder
from samgeo.dataset.samrs.parts import Part, Picture
from samgeo.dataset.samrs.recipe import Recipe
from samgeo.dataset.samrs.split import PARTS
from samgeo.dataset.samrs.statistics import statistics
from samgeo.errors import OptionError
from samgeo.geo.files import write_whole
from samgeo.segment.coco import write_json
from samgeo.segment.rle import Rle

__all__ = ["Finishing", "to_table"]


@dataclass(frozen=True, slots=True, eq=False)
class Finishing:
    """All that the last files are made of.

    Attributes
    ----------
    folder : Folder
    recipe : Recipe
    table : Annotations
        As read.
    parts : sequence of Part
        Of the images that are done, in their order.
    part_of : mapping of str to str, optional
        Part of the split by picture.
    failed : mapping of str to str
        Images that could not be used, and why.
    model : mapping
        ``name`` and ``digest``.
    colors : sequence of (int, int, int)
    licence : str
    """

    folder: Folder
    recipe: Recipe
    table: Annotations
    parts: Sequence[Part]
    part_of: Mapping[str, str] | None
    failed: Mapping[str, str]
    model: Mapping[str, str]
    colors: Sequence[tuple[int, int, int]]
    licence: str

    def write(self) -> dict[str, Any]:
        """Write everything, each file whole, over what an earlier run left; return the statistics."""
        path = self.folder.path
        pictures = [picture for part in self.parts for picture in part.pictures]
        by_part = {"all": pictures}
        if self.part_of is not None:
            by_part |= {name: [one for one in pictures if self.part_of[one.name] == name] for name in PARTS}
            for name in PARTS:
                write_whole(path / f"{name}.txt", "".join(f"{one.name}\n" for one in by_part[name]).encode())
        (path / "instances").mkdir(exist_ok=True)
        for name, some in by_part.items():
            write_json(to_json(self.table, some), path / "instances" / f"{name}.json", overwrite=True)
        lost = self._write_exports({"": pictures} if self.part_of is None else {name: by_part[name] for name in PARTS})
        if self.recipe.polygons:
            self._write_polygons()
        self._write_lists()
        counted = statistics(self.parts, self.table.classes, self.colors, self.part_of, len(self.failed))
        write_whole(path / "statistics.json", json.dumps(counted, indent=1).encode())
        write_whole(path / "statistics.png", png(chart(counted)))
        text = card(self.recipe, self.model, counted, self.licence, lost)
        write_whole(path / "README.md", text.encode())
        return counted

    def _write_exports(self, by_part: Mapping[str, Sequence[Picture]]) -> dict[str, list[str]]:
        lost: dict[str, list[str]] = {}
        root = self.folder.path / "exports"
        for name in sorted(set(self.recipe.exports) - {"torchgeo"}):
            root.mkdir(exist_ok=True)
            shutil.rmtree(root / name, ignore_errors=True)
            sentences: list[str] = []
            for part, pictures in by_part.items():
                if part:
                    (root / name).mkdir(exist_ok=True)
                said = write_annotations(to_table(self.table, pictures), root / name / part, format=name)
                sentences += [f"{part}: {one}" if part else one for one in said]
            lost[name] = sentences
        return lost

    def _write_polygons(self) -> None:
        import geopandas as gpd
        import pandas as pd

        from samgeo.geo.vectors import read_vectors, write_vectors

        names = [self.folder.polygons_name(part.image) for part in self.parts]
        missing = next((name for name in names if not (self.folder.path / name).is_file()), None)
        if missing is not None:
            gone = self.folder.path / missing
            raise OptionError(
                f"{gone} is missing: was it removed? Remove {gone.with_suffix('.json')} too, and make the same call again: the "
                "image is then made anew."
            )
        frames = [read_vectors(self.folder.path / name) for name in names]
        crss = {None if one.crs is None else one.crs.to_string() for one in frames}
        if len(crss) > 1:
            frames = [one.to_crs("EPSG:4326") for one in frames]
        # Frames without rows would settle the types of columns.
        filled = [one for one in frames if len(one)] or frames[:1]
        if filled:
            joined = gpd.GeoDataFrame(pd.concat(filled, ignore_index=True), crs=filled[0].crs)
            about = {"model": dict(self.model), "options": self.recipe.to_json()}
            write_vectors(joined, self.folder.path / "polygons.parquet", overwrite=True, provenance=about)

    def _write_lists(self) -> None:
        table = self.table
        rows: list[list[Any]] = [["annotation", "image", "picture", "class", "x0", "y0", "x1", "y1", "box_iou", "reason"]]
        for part in self.parts:
            for one in part.rejected:
                name = table.classes[table.label[one.annotation]]
                iou = "" if one.box_iou is None else f"{one.box_iou:.4f}"
                box = table.boxes_px[one.annotation].tolist()
                rows.append([one.annotation, part.image, one.picture, name, *box, iou, one.reason])
        write_whole(self.folder.path / "rejected.csv", _csv(rows))
        write_whole(self.folder.path / "failed.csv", _csv([["image", "reason"], *map(list, self.failed.items())]))


def to_table(table: Annotations, pictures: Sequence[Picture]) -> Annotations:
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


def to_json(table: Annotations, pictures: Sequence[Picture]) -> dict[str, Any]:
    """Return the instances of pictures as COCO, with what the model thinks of each and the row of its annotation."""
    coco = to_coco(to_table(table, pictures))
    instances = (one for picture in pictures for one in picture.instances)
    for record, one in zip(coco["annotations"], instances, strict=True):
        record |= {"predicted_iou": one.predicted_iou, "box_iou": one.box_iou, "annotation": one.annotation}
    return coco


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue().encode()
