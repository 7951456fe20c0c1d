"""What every writer of COCO needs: polygons as rings without holes, and JSON that is there whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import shapely

from samgeo.errors import VectorError
from samgeo.geo.vector.outputs import check_output, placed

__all__ = ["HEAD", "to_rings", "without_holes", "write_json"]

HEAD: dict[str, Any] = {"info": {"description": "", "version": "1.0"}, "licenses": []}
"""The parts of a COCO file that say nothing of its objects. `COCO.loadRes` of pycocotools 2.0.9 and later needs ``info``."""


def to_rings(geometry: shapely.Geometry) -> list[list[float]]:
    """Return polygons as COCO's rings: x and y in turn, closed, without holes.

    Parameters
    ----------
    geometry : Polygon or MultiPolygon
        In pixels. What has holes is cut into parts that have none and together cover the same.
    """
    return [shapely.get_coordinates(part.exterior).ravel().tolist() for part in without_holes(geometry)]


def without_holes(geometry: shapely.Geometry) -> Iterator[shapely.Polygon]:
    """Cut polygons from top to bottom through their first hole until no part has one."""
    parts = [part for part in shapely.get_parts(geometry) if isinstance(part, shapely.Polygon)]
    while parts:
        part = parts.pop(0)
        if not part.interiors:
            yield part
            continue
        x0, y0, x1, y1 = part.bounds
        left, _, right, _ = part.interiors[0].bounds
        middle = (left + right) / 2
        for half in (shapely.box(x0, y0, middle, y1), shapely.box(middle, y0, x1, y1)):
            parts += [one for one in shapely.get_parts(shapely.intersection(part, half)) if isinstance(one, shapely.Polygon)]


def write_json(value: Any, path: str | os.PathLike[str], *, overwrite: bool = False, inputs: Iterable[object] = ()) -> None:
    """Write JSON whole or not at all.

    Parameters
    ----------
    value
        For JSON.
    path : path
        Ends in ``.json``.
    overwrite : bool, default False
        Whether an existing file may be replaced.
    inputs : iterable
        What the work read, which is never replaced.

    Raises
    ------
    VectorError
        If it cannot be written; an existing file is then as it was.
    """
    path = check_output(Path(path), overwrite, inputs=inputs)
    if path.suffix.lower() != ".json":
        raise VectorError(f"{path} cannot be written as COCO: its suffix is {path.suffix!r}; give a name that ends in .json.")
    with placed(path) as temporary:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(value, file, allow_nan=False)
            written = file.tell()
        if temporary.stat().st_size != written:
            raise VectorError(f"{path} has {temporary.stat().st_size} of {written} bytes after writing; check the free space.")
