"""Checks of outputs that may be label raster files: suffixes, options, and that no file of the user is replaced."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import rasterio

from samgeo.errors import OptionError, VectorError
from samgeo.geo.vector.reading import SUFFIXES, check_output
from samgeo.storage.atomic import refuse_inputs, refuse_unwritable
from samgeo.storage.locations import Place, RemotePlace, as_place, is_there
from samgeo.types import CRSLike

__all__ = ["LABELS", "LABEL_SUFFIXES", "check_labels_options", "check_result", "is_label_raster"]

LABEL_SUFFIXES = (".tif", ".tiff")
LABELS = "samgeo_labels"
"""Tag of the files."""


def check_result(
    path: str | os.PathLike[str] | RemotePlace,
    *,
    overwrite: bool = False,
    crs: CRSLike = None,
    suffixes: Sequence[str] = (*SUFFIXES, *LABEL_SUFFIXES),
    layer: str | None = None,
    inputs: Iterable[object] = (),
) -> Place:
    """Check, before any work, that objects can be written to a path, as features or as labels.

    Parameters
    ----------
    path : path or address
        The output.
    overwrite, crs
        See `samgeo.geo.vector.reading.check_output`.
    suffixes : sequence of str
        Suffixes that the output may have.
    layer, inputs
        See `samgeo.geo.vector.outputs.check_output`.

    Returns
    -------
    Path or RemotePlace
        The checked location.

    Raises
    ------
    VectorError, StorageError
        If the output cannot be written. The message says what to do.
    """
    path = as_place(path)
    if path.suffix.lower() not in suffixes:
        raise VectorError(
            f"{path} cannot be written: the suffix {path.suffix!r} is not one of {', '.join(suffixes)}"
            + ("; .tif and .tiff are rasters of labels." if len(suffixes) > len(LABEL_SUFFIXES) else ".")
        )
    if not is_label_raster(path):
        return check_output(path, overwrite, crs=crs, layer=layer, inputs=inputs)
    if isinstance(path, Path):
        refuse_unwritable(path, VectorError)
        refuse_inputs(path, inputs, VectorError)
        # A user who forgets the output on the command line gives the last image in its place, which must not be replaced.
        if path.exists() and not _is_ours(path):
            raise VectorError(f"{path} exists and is not a label raster of samgeo, so it is not replaced; choose another name.")
    if not overwrite and (path.exists() if isinstance(path, Path) else is_there(path)):
        raise VectorError(f"{path} exists; choose another name, or allow overwrite.")
    if isinstance(path, RemotePlace):
        path.check_writable()
    return path


def check_labels_options(*, layer: str | None, y_up: bool) -> None:
    """Refuse options of vector files where the output is a label raster.

    Raises
    ------
    OptionError
        If ``layer`` or ``y_up`` is given.
    """
    if layer is not None:
        raise OptionError("layer is the name of a layer in a GeoPackage, but the output is a raster of labels; omit layer.")
    if y_up:
        raise OptionError(
            "y_up applies to vector files, but the output is a raster of labels on the grid of the image; omit y_up."
        )


def _is_ours(path: Path) -> bool:
    """Return whether a file is a label raster that samgeo wrote."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            with rasterio.open(path, driver="GTiff") as file:
                return LABELS in file.tags()
        except rasterio.errors.RasterioError:
            return False


def is_label_raster(path: Place) -> bool:
    """Return whether the suffix of a location is one of a label raster."""
    return path.suffix.lower() in LABEL_SUFFIXES
