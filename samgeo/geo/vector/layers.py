"""Which layer of a vector file is meant: ``file.gpkg:layer``, wherever a vector file can be given."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from samgeo.errors import VectorError

__all__ = ["choose_layer", "split_layer"]

# Of an address nothing can be looked up before it is opened: what stands before the colon must end as a file of layers does.
_REMOTE_FILE = re.compile(
    r"\.(fgb|gdb|geojson|geoparquet|gml|gpkg|json|kml|kmz|mdb|parquet|shp|sqlite|db|tab|vrt|xlsx|zip)$", re.I
)


def split_layer(source: str | os.PathLike[str]) -> tuple[str, str | None]:
    """Split a path or an address from the layer that is chosen in it.

    Parameters
    ----------
    source : path or address
        ``city.gpkg:districts`` is the layer ``districts`` of ``city.gpkg``. A file whose own name has a colon is itself: the
        longest name that exists is the file. Drive letters, ports and schemes of addresses are no layers.

    Returns
    -------
    path : str
    layer : str or None
        None where none is chosen.

    Examples
    --------
    >>> split_layer("https://example.com:8080/city.gpkg:districts")
    ('https://example.com:8080/city.gpkg', 'districts')
    >>> split_layer("s3://bucket/city.gpkg")
    ('s3://bucket/city.gpkg', None)
    """
    name = os.fspath(source)
    is_remote = "://" in name or name.startswith("/vsi")
    if not is_remote and Path(name).exists():
        return name, None
    position = len(name)
    while (position := name.rfind(":", 0, position)) > 0:
        head, layer = name[:position], name[position + 1 :]
        if not layer:
            continue
        if _REMOTE_FILE.search(head) if is_remote else Path(head).exists():
            return head, layer
    if not is_remote and (found := re.match(r"(.+\.[A-Za-z]\w*):([^/\\]+)$", name)) is not None:
        # So that a missing file is named by its own name.
        return found[1], found[2]
    return name, None


def choose_layer(name: str, layers: list[str], wanted: str | None) -> str | None:
    """Return the layer to read.

    Parameters
    ----------
    name : str
        The file, for messages.
    layers : list of str
        Those that it has.
    wanted : str, optional
        The layer that was chosen.

    Raises
    ------
    VectorError
        If there are several and none was chosen, or there is no such layer.
    """
    if wanted is None:
        if len(layers) > 1:
            raise VectorError(f"{name} has several layers; choose one of {_listed(layers)}, after a colon: {name}:{layers[0]}.")
        return layers[0] if layers else None
    if wanted not in layers:
        raise VectorError(f"{name} has no layer {wanted!r}; it has {_listed(layers)}.")
    return wanted


def _listed(layers: list[Any], most: int = 30) -> str:
    more = f" and {len(layers) - most} more" if len(layers) > most else ""
    return ", ".join(map(str, layers[:most])) + more if layers else "none"
