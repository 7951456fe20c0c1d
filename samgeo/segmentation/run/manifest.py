"""The manifest of a run: the input, options, model and versions on which the result depends.

A run is continued only if its manifest equals that of the current call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from samgeo.geo.raster.sources.remote import without_secrets

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.types import Json

__all__ = ["FORMAT", "KIND", "SPOILED", "changed_files", "describe", "differences", "tell_differences"]

FORMAT = 2
KIND = "samgeo segment"

# Information about a run that is not compared: the path of the raster may change as long as the raster is the same.
ABOUT = "about"
MOST_SHOWN = 8

# Key of the manifest that names a file that changed during the run. Finished windows may then come from two rasters.
SPOILED = "spoiled"

# The manifest lists the versions of at most so many files, to name those that have changed. A digest covers all files.
MOST_VERSIONS = 1000


def describe(raster: Raster, model: Segmenter, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of a run as a dict that can be written as JSON.

    Parameters
    ----------
    raster : Raster
        The raster.
    model : Segmenter
        The model.
    options : mapping
        All options on which the result depends.

    Returns
    -------
    dict
        ``input``: the grid, the bands, the stretch, and the result of `samgeo.geo.raster.identity.identify`; ``model``, with
        device and precision if the model has them; ``options``; ``versions``; and ``about``, which is not compared.
    """
    from samgeo.geo.raster.identity import file_versions, identify

    made = raster.provenance()
    files = made.pop("files", None)
    versions = {without_secrets(one.path): list(one.stamp) for one in file_versions(raster)[:MOST_VERSIONS]}
    manifest = {
        "kind": KIND,
        "format": FORMAT,
        "input": {name: value for name, value in made.items() if name != "path"} | identify(raster),
        "model": {
            "name": model.name,
            "digest": model.digest,
            "input_size": model.input_size,
            "device": _text(model, "device"),
            "dtype": _text(model, "dtype"),
        },
        "options": dict(options),
        "versions": _versions(),
        ABOUT: {"raster": made["path"], **({} if files is None else {"files": files}), "versions": versions},
    }
    # Converted to JSON and back, because manifests are compared with those read from a file, where tuples are lists.
    compared: dict[str, Any] = json.loads(json.dumps(manifest, allow_nan=False))
    return compared


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return one line of text for each difference between two manifests.

    Parameters
    ----------
    before, now : mapping
        Manifests. Nested mappings are compared value by value.
    """
    old, new = _flat(before), _flat(now)
    return [
        f"{key} was {_short(old.get(key))} and is now {_short(new.get(key))}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not key.startswith(f"{ABOUT}.")
    ]


def changed_files(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the files of a raster that have changed, are new or are missing; only the first ones if there are many."""
    old, new = (manifest.get(ABOUT, {}).get("versions", {}) for manifest in (before, now))
    if not isinstance(old, dict) or not old.keys() & new.keys():
        # No file is in both manifests: the raster was moved, or is another one.
        return []
    changed = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
    return changed[:MOST_SHOWN] + ([f"{len(changed) - MOST_SHOWN} more"] if len(changed) > MOST_SHOWN else [])


def tell_differences(lines: list[str]) -> str:
    """Join the lines of `differences` to one text; only the first ones if there are many."""
    more = f"; and {len(lines) - MOST_SHOWN} more" if len(lines) > MOST_SHOWN else ""
    return "; ".join(lines[:MOST_SHOWN]) + more


def _text(model: Segmenter, name: str) -> str | None:
    value = getattr(model, name, None)
    return None if value is None else str(value)


def _versions() -> dict[str, str]:
    import numpy as np
    import rasterio
    import torch

    from samgeo import __version__

    return {"samgeo": __version__, "torch": torch.__version__, "numpy": np.__version__, "gdal": rasterio.__gdal_version__}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _short(value: Json) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"
