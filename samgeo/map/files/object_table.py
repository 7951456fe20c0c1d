"""Convert rows of a GeoPackage layer to accepted objects, and accepted objects to rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from samgeo.errors import VectorError
from samgeo.map.files.export import REQUIRED, area_name, from_frame
from samgeo.map.files.geopackage_rows import Layers, Row, RowTable, Value, decode, encode
from samgeo.map.state.reducer import Annotation

if TYPE_CHECKING:
    import pyproj
    from odc.geo.geobox import GeoBox

__all__ = ["MEMBER", "ObjectTable", "Stored", "member_of", "number_of"]

MEMBER = "annotation"
"""Member of the provenance in a saved file which records the session that saved it, and after how many actions."""

_TYPES = {
    "predicted_iou": "REAL",
    "stability_score": "REAL",
    "complete": "BOOLEAN",
    "prompt": "TEXT",
    "edited": "BOOLEAN",
    "model": "TEXT",
    "accepted_at": "TEXT",
}


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of the file and its object in the session.

    Attributes
    ----------
    raw : tuple
        The primary key, the values of `ObjectTable.names`, and the geometry as it is stored in the file.
    one : Annotation
    """

    raw: Row
    one: Annotation

    @property
    def fid(self) -> int:
        """The primary key."""
        return _integer(self.raw[0])


@dataclass(frozen=True, slots=True)
class ObjectTable:
    """The layer of accepted objects in an open GeoPackage.

    Attributes
    ----------
    file : Layers
    table : RowTable
    geobox : GeoBox
        The grid of the raster.
    measure : callable
        Returns the areas of geometries in the raster's CRS.
    crs : pyproj.CRS or None
        The CRS of the layer.
    is_moved : bool
        Whether the CRS of the layer differs from the raster's.
    """

    file: Layers
    table: RowTable
    geobox: GeoBox
    measure: Callable[[Sequence[shapely.Geometry]], list[float]]
    crs: pyproj.CRS | None
    is_moved: bool

    @classmethod
    def find(cls, file: Layers, geobox: GeoBox, measure: Callable[[Sequence[shapely.Geometry]], list[float]]) -> ObjectTable:
        """Find the layer that a session wrote, else the layer named like the file, else the only possible layer.

        Raises
        ------
        VectorError
            If there is no such layer or several are possible, or if only one of the layer and the raster has a CRS.
        """
        table = _find(file)
        crs, wanted = file.crs(table), None if geobox.crs is None else geobox.crs.proj
        if (crs is None) != (wanted is None):
            problem = f"has no CRS, but the raster is in {wanted.name}" if wanted else "has a CRS, but the raster has none"
            raise VectorError(
                f"the layer {table.name} of {file.path} {problem}, so that its objects cannot be placed on the raster; assign "
                "the raster's CRS to the layer, or choose another name."
            )
        is_moved = crs is not None and wanted is not None and not crs.equals(wanted, ignore_axis_order=True)
        return cls(file, table, geobox, measure, crs, is_moved)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that the session writes, without the geometry."""
        scores = ("predicted_iou", "stability_score")
        return ("id", "class", *scores, self._area, "complete", "prompt", "edited", "model", "accepted_at")

    def note(self) -> dict[str, Any] | None:
        """Return the note of the session that saved the layer; None if there is none."""
        return member_of(self.file.note(self.table))

    def rows(self) -> list[Row]:
        """Return the rows, see `Stored.raw`."""
        return self.file.rows(self.table, (self.table.fid, *self.names, self.table.geometry))

    def row(self, fid: int) -> Row:
        """Return the row with a primary key, see `Stored.raw`."""
        (found,) = self.file.rows(self.table, (self.table.fid, *self.names, self.table.geometry), fid)
        return found

    def with_columns(self) -> ObjectTable:
        """Add the columns of the session that are missing, and return the table with them."""
        missing = [name for name in self.names if self.table.column(name) is None]
        for name in missing:
            self.file.add_column(self.table, name, _TYPES.get(name, "REAL"))
        return self.find(self.file, self.geobox, self.measure) if missing else self

    def stale(self, stored: Mapping[int, Stored]) -> frozenset[int]:
        """Return the ids of objects whose row has an outdated id or area."""
        place = 1 + self.names.index(self._area)
        return frozenset(number for number, one in stored.items() if one.raw[1] != number or one.raw[place] != one.one.area)

    def frame(self, rows: Sequence[Row]) -> gpd.GeoDataFrame:
        """Return rows as a table in the raster's CRS."""
        columns = {
            name: pd.Series([row[1 + number] for row in rows], dtype="object" if name == "class" or not rows else None)
            for number, name in enumerate(self.names)
            if self.table.column(name) is not None
        }
        geometry = gpd.GeoSeries([_single(decode(row[-1])) for row in rows], dtype="geometry")
        frame = gpd.GeoDataFrame(columns, geometry=geometry, crs=self.crs)
        return frame.to_crs(self._crs) if self.is_moved else frame

    def objects(self, rows: Mapping[int, Row]) -> dict[int, Annotation]:
        """Return the objects of rows by id. Rows that cannot be objects are left out."""
        if not rows:
            return {}
        frame = self.frame([(row[0], number, *row[2:]) for number, row in rows.items()])
        areal = frame.geom_type.isin(["Polygon", "MultiPolygon"]) & ~frame.geometry.is_empty & frame.geometry.is_valid
        placed = np.isfinite(frame.bounds.to_numpy()).all(axis=1)
        frame = frame[areal & placed & frame["class"].notna()]
        return {one.id: one for one in from_frame(frame, str(self.file.path), self.measure, 1)}

    def insert(self, one: Annotation, before: Mapping[str, Value]) -> tuple[shapely.Geometry, int]:
        """Write a new row; return its geometry in the layer's CRS, and its primary key.

        Parameters
        ----------
        one : Annotation
        before : mapping of str to value
            The row of the object before it was deleted. Values that other programs wrote there are written again.
        """
        table = self.table
        geometry = self._placed(one.geometry)
        values = {table.column(name) or name: value for name, value in self._record(one).items()}
        values[table.geometry] = encode(_typed(table, geometry), table.srs_id)
        kept = {name: value for name, value in before.items() if table.column(name) == name and name not in values}
        if table.fid in kept and self.file.row(table, _integer(kept[table.fid])):
            del kept[table.fid]
        return geometry, self.file.insert(table, {**kept, **values})

    def update(self, stored: Stored, now: Annotation) -> list[shapely.Geometry]:
        """Write the changed values of a row; return its geometry in a list, empty if the geometry did not change."""
        table = self.table
        record, before = self._record(now), self._record(stored.one)
        # A missing id and an outdated area in the file are corrected too.
        raw = dict(zip(self.names, stored.raw[1:-1], strict=True))
        before |= {name: raw[name] for name in ("id", self._area)}
        values: dict[str, Value] = {
            table.column(name) or name: value for name, value in record.items() if value != before[name]
        }
        drawn = []
        if now.geometry != stored.one.geometry:
            drawn.append(self._placed(now.geometry))
            values[table.geometry] = encode(_typed(table, drawn[0]), table.srs_id)
        if values:
            self.file.update(table, stored.fid, values)
        return drawn

    def _record(self, one: Annotation) -> dict[str, Value]:
        return {
            "id": one.id,
            "class": one.class_name,
            "predicted_iou": one.predicted_iou,
            "stability_score": one.stability_score,
            self._area: one.area,
            "complete": int(one.complete),
            "prompt": one.prompt,
            "edited": int(one.edited),
            "model": one.model,
            "accepted_at": one.accepted_at,
        }

    @property
    def _area(self) -> str:
        return area_name(self.geobox)

    @property
    def _crs(self) -> pyproj.CRS | None:
        return None if self.geobox.crs is None else self.geobox.crs.proj

    def _placed(self, geometry: shapely.Geometry) -> shapely.Geometry:
        """Convert a geometry to the CRS of the file."""
        if not self.is_moved:
            return geometry
        placed: shapely.Geometry = gpd.GeoSeries([geometry], crs=self._crs).to_crs(self.crs).iloc[0]
        return placed


def member_of(note: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the note of a session in the provenance of a file; None if there is none."""
    found = None if note is None else note.get(MEMBER)
    return found if isinstance(found, dict) and {"session", "actions", "next_id", "run"} <= found.keys() else None


def number_of(row: Row) -> int | None:
    """Return the id in a row; None if the row has no id."""
    value = row[1]
    return int(value) if isinstance(value, int | float) else None


def _find(file: Layers) -> RowTable:
    tables = file.tables()
    ours = [one for one in tables if all(one.column(name) for name in REQUIRED)]
    noted = [one for one in ours if member_of(file.note(one)) is not None]
    named = [one for one in ours if one.name.lower() == file.path.stem.lower()]
    for some in (noted, named, ours):
        if len(some) == 1:
            return some[0]
    if not ours:
        missing = [name for name in REQUIRED if not any(one.column(name) for one in tables)]
        lacks = " and ".join(missing) if tables and missing else "such layer"
        raise VectorError(
            f"{file.path} is not a file of annotations, because it has no {lacks}; choose another name to keep it."
        )
    names = ", ".join(one.name for one in ours)
    raise VectorError(f"{file.path} has several layers of annotations, {names}; rename one to {file.path.stem}.")


def _integer(value: Value) -> int:
    if not isinstance(value, int):
        raise VectorError(f"the primary key of a row is {value!r}, which is not a number; write the layer again.")
    return value


def _typed(table: RowTable, geometry: shapely.Geometry) -> shapely.Geometry:
    if isinstance(geometry, shapely.Polygon) and table.kind == "MULTIPOLYGON":
        return shapely.MultiPolygon([geometry])
    return geometry


def _single(geometry: shapely.Geometry | None) -> shapely.Geometry | None:
    """Return the polygon of a multipolygon with one part, because layers of multipolygons store polygons in this way."""
    if isinstance(geometry, shapely.MultiPolygon) and shapely.get_num_geometries(geometry) == 1:
        part: shapely.Geometry = shapely.get_geometry(geometry, 0)
        return part
    return geometry
