"""Streaming writer of GeoParquet 1.1, with the bounds of each feature in a column and row groups of bounded size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from samgeo import __version__

if TYPE_CHECKING:
    import pyarrow as pa

    from samgeo.geo.vector.writing import Chunk, Description

__all__ = ["write_geoparquet"]

_SIDES = ("xmin", "ymin", "xmax", "ymax")


def write_geoparquet(schema: pa.Schema, chunks: Iterator[Chunk], path: Path, about: Description) -> None:
    """Write features that come in groups; each group becomes a row group.

    Parameters
    ----------
    schema : pyarrow.Schema
        Schema of the columns other than the geometry.
    chunks : iterator of Chunk
        The groups.
    path : Path
        A new file.
    about : Description
        Properties of the file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    box = pa.struct([(side, pa.float64()) for side in _SIDES])
    cover = next(name for name in ("bbox", *(f"bbox_{n}" for n in range(len(schema) + 1))) if name not in schema.names)
    metadata = {**(schema.metadata or {}), b"geo": json.dumps(_metadata(about, cover)).encode()}
    metadata |= {name.encode(): text.encode() for name, text in about.note.items()}
    fields = [*schema, pa.field(about.geometry, pa.binary()), pa.field(cover, box)]
    whole = pa.schema(fields, metadata=metadata)
    with pq.ParquetWriter(path, whole, compression="zstd") as writer:
        for attributes, geometries in chunks:
            bounds = shapely.bounds(geometries)
            missing = np.isnan(bounds).any(axis=1)
            sides = [pa.array(bounds[:, number]) for number in range(4)]
            boxes = pa.StructArray.from_arrays(sides, fields=list(box), mask=pa.array(missing))
            columns = [attributes.column(name).combine_chunks() for name in schema.names]
            wkb = pa.array(shapely.to_wkb(geometries, include_srid=False), type=pa.binary())
            writer.write_table(pa.Table.from_arrays([*columns, wkb, boxes], schema=whole), row_group_size=max(len(wkb), 1))


def _metadata(about: Description, cover: str) -> dict[str, Any]:
    """Return the "geo" metadata of a file (geoparquet.org/releases/v1.1.0)."""
    column: dict[str, Any] = {
        "encoding": "WKB",
        "crs": None if about.crs is None else _plain_crs(about.crs.to_json_dict()),
        "geometry_types": [] if about.kind == "Unknown" else [about.kind],
        "covering": {"bbox": {side: [cover, side] for side in _SIDES}},
    }
    if about.bounds is not None:
        column["bbox"] = list(about.bounds)
    return {
        "primary_column": about.geometry,
        "columns": {about.geometry: column},
        "version": "1.1.0",
        "creator": {"library": "samgeo", "version": __version__},
    }


def _plain_crs(crs: dict[str, Any]) -> dict[str, Any]:
    """Return PROJJSON that older readers accept: PROJ before 9.1 refuses the ids of members of datum ensembles."""
    for key, value in crs.items():
        if isinstance(value, dict):
            if key == "datum_ensemble":
                for member in value.get("members", ()):
                    member.pop("id", None)
            else:
                _plain_crs(value)
    return crs
