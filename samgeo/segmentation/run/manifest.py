"""The manifest of a run: the input, options, model and versions on which the result depends.

A run is continued only if its manifest equals that of the current call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from samgeo.geo.raster.identity import file_versions, identify
from samgeo.geo.raster.sources.remote import without_secrets
from samgeo.storage import run_folder as storage
from samgeo.storage.provenance import versions

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter

__all__ = ["FORMAT", "KIND", "SPOILED", "changed_files", "describe", "differences"]

FORMAT = 4
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
    made = raster.provenance()
    files = made.pop("files", None)
    of_files = {without_secrets(one.path): list(one.stamp) for one in file_versions(raster)[:MOST_VERSIONS]}
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
        "versions": versions(),
        ABOUT: {"raster": made["path"], **({} if files is None else {"files": files}), "versions": of_files},
    }
    return storage.plain_json(manifest)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return one line of text for each difference between two manifests that matters for the result."""
    return storage.differences(before, now, may_differ=lambda keys: keys[0] == ABOUT)


def changed_files(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the files of a raster that have changed, are new or are missing; only the first ones if there are many."""
    old, new = (manifest.get(ABOUT, {}).get("versions", {}) for manifest in (before, now))
    if not isinstance(old, dict) or not old.keys() & new.keys():
        # No file is in both manifests: the raster was moved, or is another one.
        return []
    changed = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
    return changed[:MOST_SHOWN] + ([f"{len(changed) - MOST_SHOWN} more"] if len(changed) > MOST_SHOWN else [])


def _text(model: Segmenter, name: str) -> str | None:
    value = getattr(model, name, None)
    return None if value is None else str(value)
