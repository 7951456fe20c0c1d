"""The last step of a data set, which uses the records of all images.

It writes annotation files, exports, lists, statistics and the data card.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import pandas as pd

from samgeo.annotations.formats.coco import to_coco
from samgeo.annotations.table import Annotations
from samgeo.errors import OptionError
from samgeo.geo.coordinates.reprojection import reproject_frame
from samgeo.geo.vector.reading import read_vectors, write_vectors
from samgeo.samrs.card import card, chart, statistics
from samgeo.samrs.drawing import png
from samgeo.samrs.exporting import to_table, write_exports
from samgeo.samrs.folder import Folder, ImagePart, PictureRecord
from samgeo.samrs.recipe import SetOptions
from samgeo.samrs.split import PARTS
from samgeo.segmentation.masks.rle import write_json
from samgeo.storage.atomic import write_whole

__all__ = ["Finishing"]


@dataclass(frozen=True, slots=True, eq=False)
class Finishing:
    """Inputs of the last step.

    Attributes
    ----------
    folder : Folder
        Folder of the data set.
    recipe : SetOptions
        Options of the data set.
    table : Annotations
        The annotations that were read.
    parts : sequence of ImagePart
        Records of the finished images, in their order.
    part_of : mapping of str to str, optional
        Part of the split for each picture.
    failed : mapping of str to str
        Images that could not be used, with the reasons.
    model : mapping
        ``name`` and ``digest`` of the model.
    colors : sequence of (int, int, int)
        Colour of each class.
    license : str
        Licence for the data card.
    """

    folder: Folder
    recipe: SetOptions
    table: Annotations
    parts: Sequence[ImagePart]
    part_of: Mapping[str, str] | None
    failed: Mapping[str, str]
    model: Mapping[str, str]
    colors: Sequence[tuple[int, int, int]]
    license: str

    def write(self) -> dict[str, Any]:
        """Write all files of the last step, replacing those of an earlier run, and return the statistics."""
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
        lost = write_exports(
            self.folder,
            self.recipe.exports,
            self.table,
            {"": pictures} if self.part_of is None else {name: by_part[name] for name in PARTS},
        )
        if self.recipe.polygons:
            self._write_polygons()
        self._write_lists()
        complete = self.recipe.annotations_complete
        counted = statistics(
            self.parts, self.table.classes, self.colors, self.part_of, len(self.failed), annotations_complete=complete
        )
        write_whole(path / "statistics.json", json.dumps(counted, indent=1).encode())
        write_whole(path / "statistics.png", png(chart(counted)))
        text = card(self.recipe, self.model, counted, self.license, lost)
        write_whole(path / "README.md", text.encode())
        return counted

    def _write_polygons(self) -> None:
        """Write the polygons of all images to ``polygons.parquet``."""
        names = [self.folder.polygons_name(part.image) for part in self.parts]
        missing = next((name for name in names if not (self.folder.path / name).is_file()), None)
        if missing is not None:
            gone = self.folder.path / missing
            raise OptionError(
                f"{gone} is missing; perhaps it was removed. Remove {gone.with_suffix('.json')} too, and make the same call "
                "again: the image is then processed again."
            )
        frames = [read_vectors(self.folder.path / name) for name in names]
        crss = {None if one.crs is None else one.crs.to_string() for one in frames}
        if len(crss) > 1:
            frames = [reproject_frame(one, "EPSG:4326", name=name) for one, name in zip(frames, names, strict=True)]
        # Tables without rows are left out, because they would change the column types of the concatenated table.
        filled = [one for one in frames if len(one)] or frames[:1]
        if filled:
            joined = gpd.GeoDataFrame(pd.concat(filled, ignore_index=True), crs=filled[0].crs)
            about = {"model": dict(self.model), "options": self.recipe.to_json()}
            write_vectors(joined, self.folder.path / "polygons.parquet", overwrite=True, provenance=about)

    def _write_lists(self) -> None:
        """Write the lists of rejected annotations, failed images, and faulty or changed records."""
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
        notes = [["left out", one] for one in table.left_out] + [["changed", one] for one in table.changed]
        write_whole(self.folder.path / "reading.csv", _csv([["what", "record"], *notes]))


def to_json(table: Annotations, pictures: Sequence[PictureRecord]) -> dict[str, Any]:
    """Return the instances of pictures as COCO, with ``predicted_iou``, ``box_iou`` and the row of the annotation for each."""
    coco = to_coco(to_table(table, pictures))
    instances = (one for picture in pictures for one in picture.instances)
    for record, one in zip(coco["annotations"], instances, strict=True):
        record |= {"predicted_iou": one.predicted_iou, "box_iou": one.box_iou, "annotation": one.annotation}
    return coco


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    """Return rows as the bytes of a CSV file."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue().encode()
