"""Metadata of a store of embeddings: which raster, model and lattice it belongs to, and which scales it has.

The group of a store has the arrays of scale 1. Each coarser scale is a group in it, ``scale-2`` for example, with arrays of the
same kind and a description of its own.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samgeo.errors import OptionError
from samgeo.geo.grid import Lattice
from samgeo.models.protocols import embedding_digest
from samgeo.storage.atomic import write_whole

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter

__all__ = [
    "BLOCK",
    "DIGEST",
    "DIGEST_BYTES",
    "METADATA",
    "array_names",
    "attributes",
    "check_array_names",
    "consolidate",
    "create",
    "describe_part",
    "describe_run",
    "differences",
    "part_name",
    "stored_scales",
]

FORMAT = 2
ATTRIBUTE = "samgeo"
DIGEST = "digest"
DIGEST_BYTES = 16

# Number of windows along a side of a shard. Files then have about 10 MB, and there is one file for 16 windows.
BLOCK = 4

METADATA = "zarr.json"
CONSOLIDATED = "consolidated_metadata"

# Files in the folder of an array: its metadata, its shards, locks, and unfinished files of zarr.
_OURS = re.compile(r"zarr\.json|c(/[0-9]+)*|\.locks(/[0-9a-z-]+\.lock)?|(c/([0-9]+/)*)?[0-9a-z]+\.[0-9a-f]{32}\.partial")
_TOP = re.compile(r"zarr\.json|zarr\.[0-9a-f]{32}\.partial")

_PART = re.compile(r"scale-([1-9][0-9]{0,3})")


def describe_run(raster: Raster, model: Segmenter, lattice: Lattice) -> dict[str, Any]:
    """Return the description of a store for JSON: the raster's grid, bands and stretch, the model, and the window lattice."""
    made = raster.provenance()
    return {
        "format": FORMAT,
        "grid": {name: made[name] for name in ("shape", "crs", "transform")},
        # "invented" is there only where invented pixels are used.
        "pixels": {name: made[name] for name in ("bands", "stretch", "nodata", "alpha", "invented") if name in made},
        "model": {"name": model.name, "digest": embedding_digest(model), "input_size": model.input_size},
        "lattice": {"window": lattice.window, "overlap": lattice.overlap},
        "raster": raster.name,
    }


def describe_part(whole: dict[str, Any], lattice: Lattice, scale: int) -> dict[str, Any]:
    """Return the description of the part of a store for a coarser scale, given that of the store."""
    return whole | {"lattice": {"window": lattice.window, "overlap": lattice.overlap, "scale": scale}}


def part_name(scale: int) -> str:
    """Return the name of the group of a coarser scale."""
    return f"scale-{scale}"


def stored_scales(path: Path) -> list[int]:
    """Return the coarser scales that a store has, in ascending order."""
    matches = (_PART.fullmatch(folder.name) for folder in path.glob("scale-*/"))
    return sorted(int(match[1]) for match in matches if match is not None)


def check_array_names(names: Iterable[str]) -> None:
    """Raise an `OptionError` if an array of an embedding has a name that the store uses itself."""
    for name in names:
        if name == DIGEST or _PART.fullmatch(name):
            raise OptionError(
                f"the model's method pack returned an array {name!r}, which is a name of the store itself; rename the array."
            )


def create(
    path: Path, description: dict[str, Any], lattice: Lattice, *, replace: bool = False, store: Path | None = None
) -> None:
    """Make an empty store in a temporary folder, and move it to its path in one step.

    If another process makes the same store at this time, the first one is kept. The temporary folder is beside ``store``, which
    is the path itself, or for the part of a coarser scale the store.
    """
    import zarr

    if not path.parent.is_dir():
        raise OptionError(f"the store {path} cannot be created: the folder {path.parent} does not exist; create it first.")
    token = uuid.uuid4().hex
    whole = path if store is None else store
    fresh, old = whole.with_name(f".{whole.name}-{token}"), whole.with_name(f".{whole.name}-{token}-old")
    if replace and (strange := _strange(path)) is not None:
        raise OptionError(
            f"the store {path} is not replaced, because {strange.relative_to(path)} in it is not a file of a store; move this "
            "file, or choose another folder."
        )
    try:
        group = zarr.open_group(fresh, mode="w", zarr_format=3, attributes={ATTRIBUTE: description})
        group.create_array(
            DIGEST,
            shape=(lattice.rows, lattice.columns, 2 * DIGEST_BYTES),
            dtype=np.uint8,
            chunks=(BLOCK, BLOCK, 2 * DIGEST_BYTES),
            fill_value=0,
            dimension_names=["row", "column", "byte"],
        )
        consolidate(fresh)
        if replace:
            with suppress(FileNotFoundError):  # Another process is replacing the store too.
                path.rename(old)
        # A folder can replace only an empty folder. If another process was quicker, its store is kept.
        fresh.rename(path)
    except OSError as error:
        if not (path / METADATA).is_file():
            raise OptionError(f"the store {path} cannot be created ({error}); choose a folder that you can write to.") from None
    finally:
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _strange(path: Path) -> Path | None:
    """Return a file in the folder of a store that no store makes; None if there is none."""
    for inner in sorted(path.iterdir()):
        if _TOP.fullmatch(inner.name) and inner.is_file():
            continue
        if inner.is_symlink() or not inner.is_dir():
            return inner
        if _PART.fullmatch(inner.name):
            if (found := _strange(inner)) is not None:
                return found
            continue
        for below in sorted(inner.rglob("*")):
            if below.is_symlink() or not _OURS.fullmatch(below.relative_to(inner).as_posix()):
                return below
    return None


def array_names(path: Path) -> list[str]:
    """Return the names of all arrays of a scale in a store, including the digests; ``path`` is the group of the scale."""
    names = (file.parent.name for file in path.glob(f"*/{METADATA}"))
    # Names that start with a dot are folders of unfinished files.
    return sorted(name for name in names if not name.startswith(".") and not _PART.fullmatch(name))


def consolidate(path: Path) -> None:
    """Copy the metadata of all arrays into those of the group, so that a store at an address can be opened without listing it.

    The group of scale 1 also gets those of the coarser scales.

    The format is that of zarr-python's consolidated metadata in Zarr format 3. The file is replaced in one step, and only if
    something is missing. Damaged metadata are not changed; reading the store reports them.

    Raises
    ------
    OSError, OptionError
        If the file cannot be written.
    """
    try:
        group = _read(path)
        members = {name: _read(path / name) for name in array_names(path)}
        for scale in stored_scales(path):
            part = path / part_name(scale)
            members[part.name] = _read(part) | {CONSOLIDATED: _inline({})}
            members |= {f"{part.name}/{name}": _read(part / name) for name in array_names(part)}
        whole = _inline(members)
        if group.get(CONSOLIDATED) == whole:
            return
        content = json.dumps(group | {CONSOLIDATED: whole}, indent=2).encode()
    except (ValueError, AttributeError, TypeError, RecursionError):
        return
    write_whole(path / METADATA, content)


def _inline(members: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "inline", "must_understand": False, "metadata": members}


def _read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / METADATA).read_bytes()))


def attributes(path: Path) -> dict[str, Any]:
    """Read the description of a store."""
    try:
        metadata = json.loads((path / METADATA).read_text(encoding="utf-8"))
        found = metadata["attributes"][ATTRIBUTE]
        if found["format"] != FORMAT:
            raise OptionError(
                f"the store {path} has format {found['format']}, but this version of samgeo reads format {FORMAT}; encode "
                "again into another folder."
            )
        numbers = found["lattice"]["window"], found["lattice"]["overlap"]
        is_whole = all(isinstance(found[part], dict) for part in ("grid", "pixels", "model"))
    except (OSError, ValueError, LookupError, RecursionError, TypeError) as error:
        raise OptionError(f"{path} is not a store of embeddings ({error!r}); give a folder made by `samgeo encode`.") from None
    if not is_whole or not all(type(number) is int for number in numbers):
        raise OptionError(
            f"the store {path} is damaged: it does not name its raster or model; encode again into another folder."
        )
    return dict(found)


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return one line of text for each difference between two descriptions. The path of the raster is not compared."""
    whats = {"grid": "grid", "pixels": "raster's reading", "model": "model", "lattice": "window lattice"}
    return [
        f"its {what} has {name} {found.get(part, {}).get(name)!r}, and now it is {value!r}"
        for part, what in whats.items()
        for name, value in wanted[part].items()
        if found.get(part, {}).get(name) != value
    ]
