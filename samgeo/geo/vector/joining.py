"""Joining of many GeoParquet files of one table into one vector file of any format, with few of them in memory at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from samgeo.arguments import check_types
from samgeo.errors import VectorError
from samgeo.geo.vector.axes import is_y_up, mirrored
from samgeo.geo.vector.formats import SUFFIXES, file_errors
from samgeo.geo.vector.geojson import write_geojson_parts
from samgeo.geo.vector.outputs import atomic_output, check_output
from samgeo.geo.vector.verification import check_geojson
from samgeo.geo.vector.writing import (
    GROUP_ROWS,
    Chunk,
    Description,
    declared_type,
    output_layer,
    provenance_note,
    stored_layer,
    with_type,
    write_chunks,
)

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from samgeo.storage.locations import RemotePlace

__all__ = ["join_vectors", "read_parts", "write_part"]


@dataclass(frozen=True, slots=True)
class _Table:
    """Properties that all parts have in common.

    Attributes
    ----------
    schema : pyarrow.Schema
        Schema of the columns other than the geometry and its covering.
    geometry : str
        Name of the geometry column.
    types : frozenset of str
        The geometry types in all parts.
    crs : dict or None
        PROJJSON.
    bounds : tuple of float or None
        Bounds of all geometries; None where there is none.
    has_gaps : bool
        Whether a geometry is missing.
    """

    schema: pa.Schema
    geometry: str
    types: frozenset[str]
    crs: dict[str, Any] | None
    bounds: tuple[float, float, float, float] | None
    has_gaps: bool


def write_part(frame: gpd.GeoDataFrame, path: Path) -> None:
    """Write features unchanged as a part for `join_vectors`; an existing part, or a link in its place, is replaced.

    Raises
    ------
    VectorError
        If the part cannot be written. No partial file is left.
    """
    import pyarrow.parquet as pq

    empty = frame.geometry.is_empty.to_numpy()
    if empty.any():
        # Parquet counts missing values in its statistics, which `join_vectors` reads; it does not count empty geometries.
        frame = frame.set_geometry(frame.geometry.where(~empty, None))
    if not len(frame):
        # Without a value, a column of texts would have no type, which not every format can hold.
        texts = [name for name, kind in frame.dtypes.items() if pd.api.types.is_object_dtype(kind)]
        frame = frame.astype(dict.fromkeys(texts, "string"))
    with atomic_output(path, follow_links=False) as temporary:
        frame.to_parquet(temporary, index=False, compression="zstd")
        found = pq.read_metadata(temporary).num_rows
        if found != len(frame):
            raise VectorError(f"{path} has {found} of {len(frame)} features after writing; check the free space.")


@check_types
def join_vectors(
    parts: Sequence[Path],
    path: str | os.PathLike[str] | RemotePlace,
    *,
    overwrite: bool = False,
    provenance: dict[str, Any] | None = None,
    layer: str | None = None,
    staging: Path | None = None,
    about_to_place: Callable[[Path], None] = lambda _: None,
) -> int:
    """Write the features of several files into one file, in their order, whole or not at all.

    Parameters
    ----------
    parts : sequence of Path
        At least one file from `write_part`, or from `write_vectors` with the suffix ``.parquet``; all with the same columns and
        CRS.
    path, overwrite, provenance, layer
        As in `write_vectors`.
    staging : Path, optional
        A folder on the same file system, in which the file is written until it is whole. By default the folder of the output.
    about_to_place : callable, optional
        Called with the complete file just before it is moved to its final name.

    Returns
    -------
    int
        Number of features.

    Raises
    ------
    VectorError
        If a part is missing or cannot be read, or the file cannot be written. An existing file is then unchanged, and no other
        file is left.

    Examples
    --------
    >>> from pathlib import Path
    >>> import geopandas as gpd
    >>> from samgeo.geo.vector import join_vectors, read_vectors, write_vectors
    >>> from shapely.geometry import box
    >>> parts = []
    >>> for x in (0, 10):
    ...     parts.append(Path(f"part{x}.parquet"))
    ...     write_vectors(gpd.GeoDataFrame({"x": [x]}, geometry=[box(x, 0, x + 5, 5)], crs="EPSG:32633"), parts[-1])
    >>> join_vectors(parts, "whole.gpkg")
    2
    >>> read_vectors("whole.gpkg").x.tolist()
    [0, 10]
    """
    place = check_output(path, overwrite, layer=layer)
    note = provenance_note(provenance)
    turned = is_y_up(provenance)
    with _part_errors(f"a part of {path}"):
        table = _described(parts)
    with atomic_output(place, staging, about_to_place, output_layer(place, layer)) as temporary:
        kind = declared_type(
            {one.removesuffix(" Z") for one in table.types}, has_z=any(one.endswith(" Z") for one in table.types)
        )
        written_as = SUFFIXES[place.suffix.lower()]
        if written_as == "GeoJSON":
            frames = (with_type(mirrored(one) if turned else one, kind) for one in map(_read_part, parts))
            count = write_geojson_parts(frames, temporary, {name: json.loads(text) for name, text in note.items()})
            check_geojson(temporary)
            return count
        about = Description(
            written_as=written_as,
            layer=stored_layer(place, layer),
            kind=kind,
            crs=_crs(table.crs),
            geometry=table.geometry,
            bounds=_turned(table.bounds) if turned and table.bounds is not None else table.bounds,
            has_gaps=table.has_gaps,
            note=note,
        )
        return write_chunks(table.schema, _chunks(parts, table, turned=turned), temporary, about)


def _described(parts: Sequence[Path]) -> _Table:
    """Return the common properties of the parts, and the types and bounds of all geometries."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = pq.read_schema(_existing(parts[0]))
    geo = json.loads(first.metadata[b"geo"])
    name = str(geo["primary_column"])
    crs = geo["columns"][name].get("crs")
    covering: set[str] = set()
    types: set[str] = set()
    found: list[list[float]] = []
    has_gaps = False
    # One part at a time, because the metadata of many thousands of parts would fill the memory.
    for part in parts:
        file = pq.read_metadata(_existing(part))
        schema = file.schema.to_arrow_schema()
        column = json.loads(schema.metadata[b"geo"])["columns"].get(name)
        if column is None or not schema.equals(first) or column.get("crs") != crs:
            raise VectorError(
                "the parts have different columns or CRSs, so that they cannot be one table; give parts of one table."
            )
        covering |= {paths[0] for paths in column.get("covering", {}).get("bbox", {}).values()}
        types |= set(column["geometry_types"])
        if "bbox" in column:
            found.append(column["bbox"])
        has_gaps = has_gaps or _has_gaps(file, name)
    kept = [field for field in first if field.name not in {name, *covering}]
    boxes = np.array(found, dtype=np.float64)
    bounds = None if not len(boxes) else (*boxes[:, :2].min(axis=0).tolist(), *boxes[:, -2:].max(axis=0).tolist())
    return _Table(schema=pa.schema(kept), geometry=name, types=frozenset(types), crs=crs, bounds=bounds, has_gaps=has_gaps)


def _part_errors(part: Path | str) -> AbstractContextManager[None]:
    """Convert errors of reading a part, so that they do not look like errors of writing the output."""
    return file_errors(f"{part} cannot be read", "run the same call or command again, which writes the part again")


def _existing(part: Path) -> Path:
    if not part.is_file():
        raise VectorError(f"the part {part} is missing; run the same call or command again, which writes it again.")
    return part


def _has_gaps(file: pq.FileMetaData, name: str) -> bool:
    """Return whether a Parquet file may have a missing geometry."""
    if not file.num_rows:
        return False
    number = next(n for n in range(file.num_columns) if file.schema.column(n).path == name)
    found = [file.row_group(group).column(number).statistics for group in range(file.num_row_groups)]
    return any(one is None or not one.has_null_count or one.null_count for one in found)


def _crs(crs: dict[str, Any] | None) -> pyproj.CRS | None:
    return None if crs is None else pyproj.CRS.from_json_dict(crs)


def _turned(bounds: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = bounds
    return x0, -y1, x1, -y0


def _chunks(parts: Sequence[Path], table: _Table, *, turned: bool) -> Iterator[Chunk]:
    """Give the rows of all parts in groups."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def chunk(batches: list[pa.Table]) -> Chunk:
        rows = pa.concat_tables(batches)
        geometries = shapely.from_wkb(rows.column(table.geometry).to_numpy())
        if turned:
            geometries = shapely.transform(geometries, lambda xy: xy * np.array([1.0, -1.0]))
        return rows.select(table.schema.names), np.asarray(geometries, dtype=object)

    waiting: list[pa.Table] = []
    rows = 0
    for part in parts:
        with _part_errors(part), pq.ParquetFile(_existing(part)) as file:
            for batch in file.iter_batches(batch_size=GROUP_ROWS, columns=[*table.schema.names, table.geometry]):
                here = pa.Table.from_batches([batch]).replace_schema_metadata()
                while rows + here.num_rows >= GROUP_ROWS:
                    cut = GROUP_ROWS - rows
                    yield chunk([*waiting, here.slice(0, cut)])
                    here, waiting, rows = here.slice(cut), [], 0
                if here.num_rows:
                    waiting.append(here)
                    rows += here.num_rows
    if waiting:
        yield chunk(waiting)


def _read_part(part: Path) -> gpd.GeoDataFrame:
    with _part_errors(part):
        return gpd.read_parquet(_existing(part))


def read_parts(
    parts: Sequence[Path], keep: Callable[[gpd.GeoDataFrame], gpd.GeoDataFrame] = lambda frame: frame
) -> gpd.GeoDataFrame:
    """Read the features of several files as one table; ``keep`` returns those of a file that are taken."""
    frames = [keep(_read_part(part)) for part in parts]
    return gpd.GeoDataFrame(pd.concat([one for one in frames if len(one)] or frames[:1], ignore_index=True))
