"""Vector formats that samgeo writes, and conversion of library errors to `VectorError`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import shapely

from samgeo.errors import VectorError

__all__ = ["PROVENANCE", "SUFFIXES", "file_errors"]

SUFFIXES = {
    ".parquet": "GeoParquet",
    ".geoparquet": "GeoParquet",
    ".gpkg": "GPKG",
    ".fgb": "FlatGeobuf",
    ".geojson": "GeoJSON",
    ".json": "GeoJSON",
}
"""Suffixes of the files that can be written, and their formats."""

PROVENANCE = "samgeo"
"""Name of the entry in a file's metadata that records how the features were made."""


@contextmanager
def file_errors(what: str, remedy: str) -> Iterator[None]:
    """Convert the exceptions that libraries raise for a file to a `VectorError`.

    Parameters
    ----------
    what : str
        What failed, such as "a.gpkg cannot be read".
    remedy : str
        What the user can do.
    """
    import pyarrow as pa

    try:
        yield
    except (OSError, RuntimeError, ValueError, TypeError, pa.ArrowException) as error:
        raise VectorError(f"{what} ({error}); {remedy}.") from None
    # Reading a broken file may fail with any of these, anywhere between the file and the table.
    except (ArithmeticError, AttributeError, LookupError, MemoryError, shapely.errors.ShapelyError) as error:
        raise VectorError(f"{what} ({error!r}); {remedy}.") from None
