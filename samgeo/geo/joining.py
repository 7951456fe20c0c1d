"""Many GeoParquet files of one table into one vector file of any format, a few of them in memory at a time."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.errors import VectorError
from samgeo.geo.vectors import SUFFIXES, check_output, placed, provenance_note

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa

    from samgeo.geo.places import RemotePlace

__all__ = ["join_vectors", "read_parts"]

# Rows of a table in memory, and of a row group of the result.
GROUP_ROWS = 16_384


def join_vectors(
    parts: Sequence[Path],
    path: str | os.PathLike[str] | RemotePlace,
    *,
    overwrite: bool = False,
    provenance: dict[str, Any] | None = None,
    staging: Path | None = None,
    about_to_place: Callable[[Path], None] = lambda _: None,
) -> int:
    """Write the features of several files into one, in their order, whole or not at all.

    Parameters
    ----------
    parts : sequence of Path
        At least one, from `write_vectors` as ``.parquet``, all with the same columns and CRS.
    path, overwrite, provenance
        As in `write_vectors`.
    staging : Path, optional
        A folder on the same file system, where the file is until it is whole; beside its place by default.
    about_to_place : callable, optional
        Gets the whole file just before it is moved to its place.

    Returns
    -------
    int
        How many features there are.

    Raises
    ------
    VectorError
        If a part cannot be read or the file cannot be written; an existing file is then as it was, and no other is left.
    """
    path = check_output(path, overwrite)
    note = provenance_note(provenance)
    with placed(path, staging, about_to_place) as temporary:
        schema = _schema(parts)
        written_as = SUFFIXES[path.suffix.lower()]
        if written_as == "GeoParquet":
            return _join_parquet(parts, schema, temporary, note)
        if written_as == "GeoJSON":
            return _join_geojson(parts, temporary, note)
        return _join_gdal(parts, schema, temporary, note, driver=written_as, layer=path.stem)


def _schema(parts: Sequence[Path]) -> pa.Schema:
    """Return the schema of all: the first one's, with the types and the bounds of all geometries."""
    import pyarrow.parquet as pq

    schemas = [pq.read_schema(part) for part in parts]
    geos = [_geo(schema) for schema in schemas]
    first = geos[0]
    name = first["primary_column"]
    columns = [geo["columns"][name] for geo in geos]
    if any(
        not schema.equals(schemas[0]) or column.get("crs") != columns[0].get("crs")
        for schema, column in zip(schemas, columns, strict=True)
    ):
        raise VectorError("the parts have different columns or CRSs; they are not of one table.")
    merged = columns[0] | {"geometry_types": sorted({kind for column in columns for kind in column["geometry_types"]})}
    boxes = [column["bbox"] for column in columns if "bbox" in column]
    if boxes:
        west, south, east, north = zip(*boxes, strict=True)
        merged["bbox"] = [min(west), min(south), max(east), max(north)]
    geo = first | {"columns": first["columns"] | {name: merged}}
    return schemas[0].with_metadata({**schemas[0].metadata, b"geo": json.dumps(geo).encode()})


def _geo(schema: pa.Schema) -> dict[str, Any]:
    return dict(json.loads(schema.metadata[b"geo"]))


def _tables(parts: Sequence[Path]) -> Iterator[pa.Table]:
    """Give the rows of all parts in groups."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    waiting: list[pa.Table] = []
    rows = 0
    for part in parts:
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(batch_size=GROUP_ROWS):
                waiting.append(pa.Table.from_batches([batch]).replace_schema_metadata())
                rows += batch.num_rows
                if rows >= GROUP_ROWS:
                    yield pa.concat_tables(waiting)
                    waiting, rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting)


def _join_parquet(parts: Sequence[Path], schema: pa.Schema, path: Path, note: dict[str, str]) -> int:
    import pyarrow.parquet as pq

    noted = schema.with_metadata({**schema.metadata, **{name.encode(): text.encode() for name, text in note.items()}})
    count = 0
    with pq.ParquetWriter(path, noted, compression="zstd") as writer:
        for table in _tables(parts):
            writer.write_table(table.replace_schema_metadata(noted.metadata))
            count += table.num_rows
    return count


def _join_geojson(parts: Sequence[Path], path: Path, note: dict[str, str]) -> int:
    import geopandas as gpd

    from samgeo.geo.geojson import write_geojson_parts

    frames = (gpd.read_parquet(part) for part in parts)
    return write_geojson_parts(frames, path, {name: json.loads(text) for name, text in note.items()})


def _join_gdal(parts: Sequence[Path], schema: pa.Schema, path: Path, note: dict[str, str], *, driver: str, layer: str) -> int:
    import pyarrow as pa
    import pyogrio
    import pyproj

    geo = _geo(schema)
    name = geo["primary_column"]
    kinds = geo["columns"][name]["geometry_types"]
    crs = geo["columns"][name].get("crs")
    # The field's own metadata would make pyogrio look for the CRS there.
    plain = pa.schema([field.remove_metadata() for field in schema])
    batches = (batch for table in _tables(parts) for batch in table.cast(plain).to_batches())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
        pyogrio.write_arrow(
            pa.RecordBatchReader.from_batches(plain, batches),
            path,
            layer=layer,
            driver=driver,
            geometry_name=name,
            geometry_type=kinds[0] if len(kinds) == 1 else "Unknown",
            crs=None if crs is None else pyproj.CRS.from_json_dict(crs).to_wkt(),
            layer_metadata=note or None,
        )
    expected = _count(parts)
    count = int(pyogrio.read_info(path, force_feature_count=True)["features"])
    if count != expected:
        raise VectorError(f"{path} has {count} of {expected} features after writing; check the free space.")
    return count


def _count(parts: Sequence[Path]) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(part).num_rows for part in parts)


def read_parts(parts: Sequence[Path]) -> gpd.GeoDataFrame:
    """Read the features of several files as one table."""
    import geopandas as gpd
    import pandas as pd

    return gpd.GeoDataFrame(pd.concat([gpd.read_parquet(part) for part in parts], ignore_index=True))
