"""Outputs of features: checks before any work, and moving of a complete file to its final name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, overload

from samgeo.errors import OptionError, VectorError
from samgeo.geo.vector.formats import SUFFIXES, file_errors
from samgeo.geo.vector.geojson import crs_name
from samgeo.geo.vector.geopackage_layers import Kept, check_layer, copy_for_layer, is_sqlite, layers_of, put_back, take_place
from samgeo.storage.atomic import inputs_among, refuse_unwritable
from samgeo.storage.integrity import sync_file
from samgeo.storage.locations import Place, RemotePlace, as_place, fetched, is_there
from samgeo.storage.staging import link_target, staging_folder

if TYPE_CHECKING:
    from samgeo.types import CRSLike

__all__ = ["atomic_output", "check_asked", "check_output", "layer_name"]


@overload
def check_output(
    path: Path, overwrite: bool = False, *, crs: CRSLike = None, layer: str | None = None, inputs: Iterable[object] = ()
) -> Path: ...


@overload
def check_output(
    path: str | os.PathLike[str] | RemotePlace,
    overwrite: bool = False,
    *,
    crs: CRSLike = None,
    layer: str | None = None,
    inputs: Iterable[object] = (),
) -> Place: ...


def check_output(
    path: str | os.PathLike[str] | RemotePlace,
    overwrite: bool = False,
    *,
    crs: CRSLike = None,
    layer: str | None = None,
    inputs: Iterable[object] = (),
) -> Place:
    """Check, before any work, that features can be written to a path.

    Parameters
    ----------
    path : path or address
        See `samgeo.geo.vector.reading.write_vectors`.
    overwrite : bool, default False
        Whether an existing file, or the layer of that name in an existing GeoPackage, may be replaced.
    crs : anything that pyproj takes, optional
        The CRS that the features will have, if known. GeoJSON cannot hold every CRS.
    layer : str, optional
        Name of the layer in a GeoPackage.
    inputs : iterable
        Inputs of the work: paths, addresses, open rasters, or sequences of these. Other values are ignored.

    Returns
    -------
    Path or RemotePlace
        The checked location.

    Raises
    ------
    VectorError
        If the suffix is unknown, the name is too long, the folder is missing or not writable, the file or its layer exists, the
        output is one of the inputs, or the format cannot hold the CRS or the name of the layer.
    StorageError
        If the address is not of object storage, or the bucket is missing or not writable.
    """
    path = as_place(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        reason = (
            " (a shapefile shortens names to 10 characters and is not a single file: write .gpkg)" if suffix == ".shp" else ""
        )
        if suffix in (".tif", ".tiff"):
            reason = " (samgeo rasterize makes a raster of labels of a vector file)"
        raise VectorError(f"{path} cannot be written: the suffix {suffix!r} is not one of {known}{reason}.")
    if layer is not None and SUFFIXES[suffix] != "GPKG":
        raise VectorError(f"{path} cannot have named layers; omit layer, or write a GeoPackage (.gpkg).")
    if isinstance(path, Path):
        refuse_unwritable(path, VectorError)
    _refuse_inputs(path, layer, inputs)
    if is_there(path):
        _check_existing(path, overwrite, layer)
    if isinstance(path, RemotePlace):
        path.check_writable()
    if SUFFIXES[suffix] == "GeoJSON":
        crs_name(crs)
    return path


def check_asked(
    output: str | os.PathLike[str] | RemotePlace | None,
    *,
    overwrite: bool,
    layer: str | None,
    inputs: Iterable[object],
) -> None:
    """Check the output of a function, before the function opens its inputs.

    Raises
    ------
    OptionError
        If a layer is named and there is no output.
    VectorError, StorageError
        As `check_output`.
    """
    if output is not None:
        check_output(output, overwrite, layer=layer, inputs=inputs)
    elif layer is not None:
        raise OptionError("layer is the name of a layer in the output, but there is no output; give output, or omit layer.")


def layer_name(path: Place, layer: str | None) -> str:
    """Return the name of an output's layer: the given name, or the name of the file without its suffix."""
    return layer if layer is not None else path.stem


def _check_existing(path: Place, overwrite: bool, layer: str | None) -> None:
    """Check that an existing file may be replaced, or that the layer can be written into it."""
    if not overwrite and (layer is None or isinstance(path, RemotePlace)):
        raise VectorError(f"{path} exists; choose another name, or allow overwrite.")
    if SUFFIXES[path.suffix.lower()] != "GPKG" or not isinstance(path, Path):
        return
    if not is_sqlite(path):
        if not overwrite:
            raise VectorError(f"{path} exists and is not a GeoPackage; choose another name, or allow overwrite.")
        return
    name = check_layer(path, layer_name(path, layer))
    if not overwrite and name in layers_of(path):
        raise VectorError(f"{path} has a layer {name}; choose another name with layer=, or allow overwrite.")


def _refuse_inputs(path: Place, layer: str | None, inputs: Iterable[object]) -> None:
    """Refuse an output that is an input.

    Another layer of the same GeoPackage is allowed, unless a raster is read from the file.
    """
    same = [one for one in inputs_among(inputs) if one.is_in(path)]
    if same and isinstance(path, Path) and SUFFIXES[path.suffix.lower()] == "GPKG" and is_sqlite(path):
        contents, name = layers_of(path), layer_name(path, layer).lower()
        is_new = layer is not None and name not in {known.lower() for known in contents}
        if "tiles" not in contents.values():
            same = [one for one in same if not (is_new or (one.layer is not None and one.layer.lower() != name))]
    if same:
        raise VectorError(
            f"{path} is also an input ({same[0].path}), which would be lost; choose another name for the output"
            f"{', or for its layer (layer=)' if SUFFIXES[path.suffix.lower()] == 'GPKG' else ''}."
        )


@contextmanager
def atomic_output(
    path: Place,
    staging: Path | None = None,
    about_to_place: Callable[[Path], None] = lambda _: None,
    layer: str | None = None,
    *,
    follow_links: bool = True,
) -> Iterator[Path]:
    """Give the name of a temporary file, and move the file to its final name when the block ends without an error.

    Parameters
    ----------
    path : Path or RemotePlace
        The final name.
    staging : Path, optional
        A folder on the same file system for the temporary file. By default the folder of ``path``, or for an object the folder
        of temporary files of this machine.
    about_to_place : callable, optional
        Called with the complete file just before it is moved.
    layer : str, optional
        For an existing GeoPackage: the layer that is written or replaced. The temporary file then already holds the other
        layers.
    follow_links : bool, default True
        What to do where ``path`` is a link: replace the file behind the link, or the link itself.

    Raises
    ------
    VectorError
        If the file cannot be written or moved.
    StorageError
        If the object cannot be written.
    """
    place = link_target(path) if isinstance(path, Path) and follow_links else path
    with (
        file_errors(f"{path} cannot be written", "check the free space, and that the format can hold every column"),
        # With the folder, all files are removed that a driver leaves beside its file.
        staging_folder(staging or getattr(place, "parent", None)) as folder,
    ):
        temporary = folder / f"output{place.suffix.lower()}"
        kept = None if layer is None else _copy_existing(place, temporary, layer)
        yield temporary
        if kept is not None:
            put_back(temporary, kept)
        # The content must be on the disk before the final name points to it.
        sync_file(temporary)
        about_to_place(temporary)
        if isinstance(place, RemotePlace):
            place.put(temporary)
        elif kept is not None:
            take_place(temporary, place, kept)
        else:
            temporary.replace(place)


def _copy_existing(place: Place, temporary: Path, layer: str) -> Kept | None:
    """Copy the existing GeoPackage, if there is one."""
    if not is_there(place):
        return None
    with fetched(place) as file:
        return copy_for_layer(file, temporary, layer) if is_sqlite(file) else None
