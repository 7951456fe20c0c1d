"""The ground of windows that could not be segmented, as a layer beside the objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samgeo.errors import VectorError
from samgeo.segment.run.parts import Failure

if TYPE_CHECKING:
    from samgeo.segment.run.job import Job

__all__ = ["holes_path", "remove_old_holes", "write_holes"]

HOLES = "holes_of"


def holes_path(output: Path) -> Path:
    """Return where the holes of an output are written: ``city.holes.gpkg`` for ``city.gpkg``."""
    return output.with_name(f"{output.stem}.holes{output.suffix}")


def write_holes(job: Job, failures: Sequence[Failure], output: Path, *, overwrite: bool) -> Path:
    """Write windows that failed as polygons: the core of each, which no other window answers for.

    Parameters
    ----------
    job : Job
    failures : sequence of Failure
    output : Path
        Of the objects.
    overwrite : bool
        Whether a file that holds no holes may be replaced.

    Returns
    -------
    Path
        Of the holes: columns ``row`` and ``column`` of the window, ``x0_px``, ``y0_px``, ``x1_px`` and ``y1_px``, the
        window's bounds in the raster, and ``reason``.

    Raises
    ------
    VectorError
        If it cannot be written.
    """
    import geopandas as gpd
    import shapely

    from samgeo.geo.vectors import write_vectors
    from samgeo.segment.vectorize import georeference

    lattice, geobox = job.lattice, job.raster.geobox
    cores = [lattice.core(*failure.window) for failure in failures]
    rects = [lattice.rect(*failure.window) for failure in failures]
    boxes = np.array([shapely.box(core.x0, core.y0, core.x1, core.y1) for core in cores], dtype=np.object_)
    columns = {
        "row": [failure.window[0] for failure in failures],
        "column": [failure.window[1] for failure in failures],
        **{f"{name}_px": [getattr(rect, name) for rect in rects] for name in ("x0", "y0", "x1", "y1")},
        "reason": [failure.reason for failure in failures],
    }
    crs = None if geobox.crs is None else geobox.crs.proj
    frame = gpd.GeoDataFrame(columns, geometry=georeference(boxes, geobox.affine), crs=crs)
    path = holes_path(output)
    write_vectors(frame, path, overwrite=overwrite or _is_ours(path), provenance={HOLES: output.name})
    return path


def remove_old_holes(output: Path) -> None:
    """Take away the holes that an earlier run wrote beside the same output."""
    path = holes_path(output)
    if _is_ours(path):
        path.unlink(missing_ok=True)


def _is_ours(path: Path) -> bool:
    from samgeo.geo.vectors import read_provenance

    if not path.is_file():
        return False
    try:
        return HOLES in (read_provenance(path) or {})
    except VectorError:
        return False
