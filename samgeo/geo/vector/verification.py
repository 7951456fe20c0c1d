"""Checks of vector files that have just been written, before they get their final names.

GDAL may lose the error of a last write when it closes a file, for example when the disk is full or a limit is reached. The
file is then shorter than it should be, or lacks its spatial index.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pyogrio

from samgeo.errors import VectorError

__all__ = ["check_flatgeobuf", "check_geojson", "check_parquet"]

_MAGIC_BYTES = 8
_NODE_SIZE = 16
_NODE = struct.Struct("<4dQ")


def check_flatgeobuf(path: Path, count: int, *, indexed: bool) -> None:
    """Check that a FlatGeobuf file has all its features, to the last byte of the last feature.

    Parameters
    ----------
    path : Path
        A file that GDAL wrote. It consists of a magic number, the size of the header, the header, a packed R-tree with 16
        children a node if there is an index, and the features, each after its size (flatgeobuf.org/#specification).
    count : int
        Number of features.
    indexed : bool
        Whether the file must have a spatial index.

    Raises
    ------
    VectorError
        If the file is not whole.
    """
    size = path.stat().st_size
    found = int(pyogrio.read_info(path, force_feature_count=True)["features"])
    if found != count:
        raise VectorError(f"{path} has {found} of {count} features after writing; check the free space.")
    if count == 0:
        return
    with path.open("rb") as file:
        file.seek(_MAGIC_BYTES)
        start = _MAGIC_BYTES + 4 + _uint32(file.read(4))
        if indexed:
            nodes = _index_nodes(count)
            file.seek(start + (nodes - count) * _NODE.size)
            leaves = np.frombuffer(file.read(count * _NODE.size), dtype=[("box", "<f8", 4), ("offset", "<u8")])
            if len(leaves) != count:
                raise VectorError(f"{path} has no spatial index after writing; check the free space.")
            start += nodes * _NODE.size
            last = start + int(leaves["offset"].max())
        else:
            last = start
            for _ in range(count - 1):
                file.seek(last)
                last += 4 + _uint32(file.read(4))
        file.seek(last)
        end = last + 4 + _uint32(file.read(4))
    if end != size:
        raise VectorError(f"{path} has {size:,} of {end:,} bytes after writing; check the free space.")


def _index_nodes(count: int) -> int:
    """Return the number of nodes of a packed R-tree over ``count`` features."""
    total = level = count
    while level > 1:
        level = -(-level // _NODE_SIZE)
        total += level
    # A tree over one feature has a root above its leaf.
    return max(total, 2) if count == 1 else total


def _uint32(content: bytes) -> int:
    return int.from_bytes(content, "little") if len(content) == 4 else 0


def check_parquet(path: Path, count: int) -> None:
    """Check that a GeoParquet file has its footer and all rows, and that its last row group can be read.

    Raises
    ------
    VectorError
        If the file is not whole.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        if file.metadata.num_rows != count:
            raise VectorError(f"{path} has {file.metadata.num_rows} of {count} features after writing; check the free space.")
        if file.num_row_groups:
            file.read_row_group(file.num_row_groups - 1)


def check_geojson(path: Path) -> None:
    """Check that the last bytes of a GeoJSON file are those that the writer writes last.

    Raises
    ------
    VectorError
        If they are not.
    """
    end = b"]}\n"
    with path.open("rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - len(end), 0))
        if file.read() != end:
            raise VectorError(f"{path} has another end than what was written; check the free space.")
