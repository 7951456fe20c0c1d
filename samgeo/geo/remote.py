"""Rasters at an address: what is said of it, and how patient GDAL is with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

__all__ = ["is_remote", "patient", "without_secrets"]

# A request that fails in a way that may pass (429, 5xx, a connection that breaks) is made again, each time after about twice as
# long; one that stalls has failed.
PATIENCE = {
    "GDAL_HTTP_MAX_RETRY": "5",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "100",
}
"""Options of GDAL to their values; a variable of the same name in the environment says otherwise."""


def is_remote(path: str) -> bool:
    """Whether GDAL reads a path over the network."""
    return "://" in path or path.startswith("/vsi")


@contextmanager
def patient(path: str) -> Iterator[None]:
    """Have GDAL ask again where a server fails, while what is at a path is opened or read."""
    if not is_remote(path):
        yield
        return
    import rasterio

    with rasterio.Env(**{name: value for name, value in PATIENCE.items() if name not in os.environ}):
        yield


def without_secrets(address: str) -> str:
    """Return a web address without its user and its query, which may hold a key; anything else as it is."""
    parts = urlsplit(address) if address.startswith(("http://", "https://")) else None
    return address if parts is None else f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
