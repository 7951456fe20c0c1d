"""The vector formats that samgeo writes, and errors of the libraries that read and write them as one kind of error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
"""What can be written: suffix to format."""

PROVENANCE = "samgeo"
"""Name of the entry in a file's metadata that says what made the features."""


@contextmanager
def file_errors(what: str, remedy: str) -> Iterator[None]:
    """Turn what libraries raise for a file into a `VectorError`.

    Parameters
    ----------
    what : str
        What failed, such as "a.gpkg cannot be read".
    remedy : str
        What the user can do.
    """
    import pyarrow as pa
    import shapely

    try:
        yield
    except (OSError, RuntimeError, ValueError, TypeError, pa.ArrowException) as error:
        raise VectorError(f"{what} ({error}); {remedy}.") from None
    # What a reader makes of a broken file fails anywhere between it and the table.
    except (ArithmeticError, AttributeError, LookupError, MemoryError, shapely.errors.ShapelyError) as error:
        raise VectorError(f"{what} ({error!r}); {remedy}.") from None
