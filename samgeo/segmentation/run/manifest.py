"""What a run was begun with: the input, the options, the model and the versions, each of which changes the result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from samgeo.geo.raster.sources.remote import without_secrets

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter

__all__ = ["FORMAT", "KIND", "SPOILED", "changed_files", "describe", "differences", "tell_differences"]

FORMAT = 2
KIND = "samgeo segment"

# What is told of a run, and may differ when it is continued: where the raster lies, as long as it is the same.
ABOUT = "about"
MOST_SHOWN = 8

# Says that a file changed while the run worked, and which: what is done may be of two rasters.
SPOILED = "spoiled"

# The versions of so many files are kept, to say which one has changed; a digest is kept of all.
MOST_VERSIONS = 1000


def describe(raster: Raster, model: Segmenter, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of a run, for JSON.

    Parameters
    ----------
    raster : Raster
    model : Segmenter
    options : mapping
        All that the result depends on.

    Returns
    -------
    dict
        ``input``: the grid, the bands and the stretch, and what `samgeo.geo.raster.identity.identify` says; ``model``, with the
        device and the precision where it has them; ``options``; ``versions``; and ``about``, which is not compared.
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
    # What is compared is what a file holds: tuples are lists there.
    compared: dict[str, Any] = json.loads(json.dumps(manifest, allow_nan=False))
    return compared


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say in what two manifests differ, one line each.

    Parameters
    ----------
    before, now : mapping
        For JSON; mappings in mappings are compared value by value.
    """
    old, new = _flat(before), _flat(now)
    return [
        f"{key} was {_short(old.get(key))} and is now {_short(new.get(key))}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not key.startswith(f"{ABOUT}.")
    ]


def changed_files(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return which files that a raster is read from are of other versions, came, or are gone; the first ones of many."""
    old, new = (manifest.get(ABOUT, {}).get("versions", {}) for manifest in (before, now))
    if not isinstance(old, dict) or not old.keys() & new.keys():
        # It was moved, or is another raster altogether.
        return []
    changed = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
    return changed[:MOST_SHOWN] + ([f"{len(changed) - MOST_SHOWN} more"] if len(changed) > MOST_SHOWN else [])


def tell_differences(lines: list[str]) -> str:
    """Join lines of `differences`, the first ones if there are many."""
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


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"
