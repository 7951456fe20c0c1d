"""Provenance: what made a result, as values for JSON that are stored in the result's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["Identified", "made_with", "printable", "versions"]

# Longest name that is shown, in characters.
MOST_SIGNS = 1000


class Identified(Protocol):
    """A model that says which it is."""

    @property
    def name(self) -> str:
        """Name of the model."""

    @property
    def digest(self) -> str:
        """Digest of its weights."""


def made_with(model: Identified, raster: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the provenance that all results have: the version of samgeo, the model and the raster.

    Parameters
    ----------
    model : Identified
        The model.
    raster : mapping
        Description of the raster, from `samgeo.Raster.provenance`.
    """
    from samgeo import __version__

    return {"samgeo": __version__, "model": {"name": model.name, "digest": model.digest}, "raster": dict(raster)}


def versions() -> dict[str, str]:
    """Return the versions of samgeo and of the libraries on which the numbers of a result depend."""
    import numpy as np
    import rasterio
    import torch

    from samgeo import __version__

    return {"samgeo": __version__, "torch": torch.__version__, "numpy": np.__version__, "gdal": rasterio.__gdal_version__}


def printable(name: object) -> str:
    """Return a name that was read from a file as text without control characters, cut off after `MOST_SIGNS` characters."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in str(name)[:MOST_SIGNS])
