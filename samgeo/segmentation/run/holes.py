"""The layer of holes: polygons of the windows that could not be segmented, written beside the objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import shapely

from samgeo.errors import StorageError, VectorError
from samgeo.geo.label_outputs import is_label_raster
from samgeo.geo.vector.axes import describe_axes
from samgeo.geo.vector.reading import read_provenance, write_vectors
from samgeo.segmentation.masks.vectorize import georeference
from samgeo.segmentation.windows.failures import Failure
from samgeo.storage.locations import Place, fetched, is_there

if TYPE_CHECKING:
    from samgeo.segmentation.run.job import Job

__all__ = ["holes_path", "remove_old_holes", "write_holes"]

HOLES = "holes_of"


def holes_path(output: Place, layer: str | None = None) -> Place:
    """Return the path of the holes of an output: ``city.holes.gpkg`` for ``city.gpkg`` and for ``city.tif``.

    If the output is a named layer, its name is inserted: ``city.roofs.holes.gpkg``.
    """
    of_layer = "" if layer is None else "." + "".join(sign if sign not in '/\\:*?"<>|' else "_" for sign in layer)
    suffix = ".gpkg" if is_label_raster(output) else output.suffix
    return output.with_name(f"{output.stem}{of_layer}.holes{suffix}")


def write_holes(job: Job, failures: Sequence[Failure], output: Place, *, layer: str | None, overwrite: bool) -> Place:
    """Write failed windows as polygons. Each polygon is the core of a window, which no other window of its scale covers.

    Parameters
    ----------
    job : Job
        The opened inputs and options.
    failures : sequence of Failure
        The windows that failed.
    output : Path or RemotePlace
        Path of the objects.
    layer : str or None
        Layer of the output, if it is named.
    overwrite : bool
        Whether a file that is not a layer of holes may be replaced.

    Returns
    -------
    Path or RemotePlace
        Path of the holes. The columns are ``scale``, ``row`` and ``column`` of the window, its bounds in raster pixels
        ``x0_px``, ``y0_px``, ``x1_px`` and ``y1_px``, and ``reason``.

    Raises
    ------
    VectorError
        If the file cannot be written.
    """
    levels, geobox = job.levels, job.raster.geobox
    cores = [levels.core(*failure.window) for failure in failures]
    rects = [levels.rect(*failure.window) for failure in failures]
    located = [levels.locate(failure.window[0]) for failure in failures]
    boxes = np.array([shapely.box(core.x0, core.y0, core.x1, core.y1) for core in cores], dtype=np.object_)
    columns = {
        "scale": [scale for scale, _, _ in located],
        "row": [row for _, _, row in located],
        "column": [failure.window[1] for failure in failures],
        **{f"{name}_px": [getattr(rect, name) for rect in rects] for name in ("x0", "y0", "x1", "y1")},
        "reason": [failure.reason for failure in failures],
    }
    crs = None if geobox.crs is None else geobox.crs.proj
    frame = gpd.GeoDataFrame(columns, geometry=georeference(boxes, geobox.affine), crs=crs)
    path = holes_path(output, layer)
    provenance = {HOLES: output.name, **describe_axes(geobox, y_up=job.y_up)}
    write_vectors(frame, path, overwrite=overwrite or _is_ours(path), provenance=provenance)
    return path


def remove_old_holes(output: Place, layer: str | None = None) -> None:
    """Remove the holes that an earlier run wrote beside the same output."""
    path = holes_path(output, layer)
    if _is_ours(path):
        path.unlink()


def _is_ours(path: Place) -> bool:
    if not is_there(path):
        return False
    try:
        with fetched(path) as file:
            return HOLES in (read_provenance(file) or {})
    except (StorageError, VectorError):
        return False
