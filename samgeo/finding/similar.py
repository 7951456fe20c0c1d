"""`similar`: more objects like given outlines near them, with the embeddings that a predictor has."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import shapely

from samgeo.arguments import check_types
from samgeo.errors import OptionError, StoppedError
from samgeo.finding.by_example.example_finder import DEFAULT_SCORE, describing
from samgeo.finding.by_example.example_windows import Outlines, owners, read_outlines, zoom_for
from samgeo.finding.by_example.examples import DEFAULT_CLASS, describe_examples, learn_examples
from samgeo.geo.coordinates.indexed_area import IndexedArea
from samgeo.geo.coordinates.prompt_geometry import read_boxes
from samgeo.geo.levels import Levels
from samgeo.models.device import computing_in
from samgeo.models.registry import default_gates
from samgeo.segmentation.masks.cleaning import without_specks
from samgeo.segmentation.masks.nms import settle
from samgeo.segmentation.masks.piece import MERGE_IOU, Piece, Segment
from samgeo.segmentation.masks.vectorize import georeference
from samgeo.segmentation.merge.merger import merge
from samgeo.segmentation.predictor import Predictor
from samgeo.segmentation.request import FOUND_NMS
from samgeo.segmentation.tables import to_frame, without
from samgeo.segmentation.windows.worker import Plan, found_by_source, to_pieces
from samgeo.segmentation.windows.zoom import check_zoom
from samgeo.types import BoxesLike, CRSLike, FeaturesLike

if TYPE_CHECKING:
    import geopandas as gpd

    from samgeo.geo.grid import Lattice
    from samgeo.segmentation.windows.embedding import EncodedWindows

__all__ = ["similar"]

Index = tuple[int, int]


@check_types
def similar(
    predictor: Predictor,
    examples: FeaturesLike,
    what: str = DEFAULT_CLASS,
    *,
    bounds: BoxesLike = None,
    crs: CRSLike = None,
    zoom: float | None = None,
    min_score: float | None = None,
    progress: Callable[[int, int], bool] | None = None,
) -> gpd.GeoDataFrame:
    """Find more objects like given outlines, near them or in a part of the raster.

    This is the search of `samgeo.find` with ``examples``, in this process and with the embeddings that a predictor has in
    memory or in its store, so that it is quick where the predictor was used before. Windows of another zoom, which small or
    very large examples need, are encoded and kept in the memory of the predictor.

    Parameters
    ----------
    predictor : Predictor
        The raster, the model and the embeddings. It is a parameter, and this function no method of it, because the search is
        built on segmentation, which does not know it.
    examples : path, GeoDataFrame, GeoSeries or sequence of geometries
        Outlines of one or more objects, as in `samgeo.find`. Geometries without a table are in the CRS of the raster.
    what : str, default "object"
        Name of the class.
    bounds : sequence of 4 numbers, optional
        x0, y0, x1, y1 of the part of the raster in which objects are searched. By default these are the windows in which the
        accepted examples lie, and their neighbours.
    crs : anything that pyproj takes, or "pixels", optional
        CRS of the bounds. That of the raster by default.
    zoom : float, optional
        Number of pixels of the model's input for each pixel of the raster. By default it follows from the size of the examples.
        Windows of the predictor are used if their zoom differs by less than a factor of 1.4.
    min_score : float, optional
        Objects with a lower score are left out, from 0 to 1; 0.2 by default.
    progress : callable, optional
        Called with the number of windows that are done and the number of all windows. It returns False to stop.

    Returns
    -------
    GeoDataFrame
        One row for each new object, with the columns of `samgeo.find`. Objects whose IoU with an example, accepted or rejected,
        is 0.5 or more are left out. An object that is larger than the overlap of windows may come in parts, because cut objects
        are not continued in other windows.

    Raises
    ------
    OptionError
        If an option is invalid, the bounds lie outside the raster, or nothing can be learned from the examples.
    VectorError
        If the examples cannot be read.
    ModelError
        If the model gives no feature vectors.
    RasterError
        If a window cannot be read, or the raster has changed since it was opened.
    StoppedError
        If ``progress`` returned False.

    Examples
    --------
    >>> import samgeo
    >>> from samgeo.finding import similar
    >>> from samgeo.synthetic import town
    >>> scene = town((256, 256), seed=1)
    >>> predictor = samgeo.Predictor(scene.save("town.tif"))
    >>> found = similar(predictor, scene.footprints.geometry[:3], "roof")
    >>> found["class"].unique().tolist()
    ['roof']
    """
    if zoom is not None:
        check_zoom(zoom)
    if min_score is not None and not 0 <= min_score <= 1:
        raise OptionError(f"min_score is {min_score}; give a number from 0 to 1.")
    predictor.check_same()
    raster, model = predictor.raster, predictor.model
    describing(model)
    outlines = read_outlines(examples, raster)
    windows = predictor.windows_at(zoom_for(outlines.size, model.input_size) if zoom is None else zoom)
    area = None if bounds is None else _area(bounds, crs, predictor)
    wanted = _near(outlines, windows.lattice) if area is None else _touching(area, windows.lattice)
    least = DEFAULT_SCORE if min_score is None else min_score
    with computing_in(predictor.threads):
        if progress is not None and not progress(0, len(wanted)):
            raise _stopped(0, len(wanted))
        finder = learn_examples(raster, model, windows.lattice, outlines, what=what, encoded=windows.get)
        gates = replace(default_gates(model), mask_nms=FOUND_NMS)
        within = None if area is None else IndexedArea(area)
        plan = Plan(Levels.of(windows.lattice), gates, within, source=finder, min_score=least)
        pieces = _searched(windows, plan, wanted, progress)
    found = _merged(predictor, windows.lattice, pieces)
    settled, _ = settle(found, (), FOUND_NMS)
    frame = to_frame(settled, raster.geobox, classes=finder.classes, min_score=least)
    known = georeference(np.concatenate([outlines.accepted, outlines.rejected]), raster.geobox.affine)
    result = without(frame, known.tolist())
    predictor.check_same()
    made = predictor.provenance()
    result.attrs["samgeo"] = made | {
        "options": made["options"]
        | {
            "window": windows.lattice.window,
            "overlap": windows.lattice.overlap,
            "examples": describe_examples(outlines, finder),
            "bounds_px": None if area is None else list(area.bounds),
            "zoom": windows.zoom,
            "min_score": least,
        }
    }
    return result


def _searched(
    windows: EncodedWindows,
    plan: Plan,
    wanted: Sequence[Index],
    progress: Callable[[int, int], bool] | None,
) -> dict[int, dict[int, list[Piece]]]:
    """Search windows, and return the pieces by row and column."""
    rows: dict[int, dict[int, list[Piece]]] = defaultdict(dict)
    for done, index in enumerate(wanted, start=1):
        window = windows.get(index)
        if window.embedding is not None:
            found = found_by_source(windows.model, plan, index, window)
            rows[index[0]][index[1]] = [one for one in to_pieces(found, window, plan.levels, index) if one is not None]
        if progress is not None and not progress(done, len(wanted)):
            raise _stopped(done, len(wanted))
    return rows


def _merged(predictor: Predictor, lattice: Lattice, rows: dict[int, dict[int, list[Piece]]]) -> list[Segment]:
    """Merge the pieces of windows to objects without specks."""
    closed = merge((rows.get(row, {}) for row in range(lattice.rows)), Levels.of(lattice), min_iou=MERGE_IOU)
    whole = [one for segments in closed for one in segments]
    return without_specks(whole, predictor.min_part, predictor.min_hole, lattice.window / predictor.model.input_size)


def _area(bounds: BoxesLike, crs: CRSLike, predictor: Predictor) -> shapely.Polygon:
    """Return the part of the raster in bounds, in raster pixels."""
    boxes, _ = read_boxes([bounds], geobox=predictor.raster.geobox, crs=crs)
    height, width = predictor.raster.shape
    sides = np.concatenate([np.maximum(boxes[0, :2], 0), np.minimum(boxes[0, 2:], (width, height))])
    if not (sides[:2] < sides[2:]).all():
        raise OptionError(f"the bounds {bounds} lie outside of {predictor.raster.name}; check the coordinates and their CRS.")
    area: shapely.Polygon = shapely.box(*sides.tolist())
    return area


def _near(outlines: Outlines, lattice: Lattice) -> list[Index]:
    """Return the windows of the accepted examples and their neighbours."""
    around = {
        (row + down, column + right)
        for row, column in owners(outlines.accepted, lattice)
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    }
    return sorted(one for one in around if 0 <= one[0] < lattice.rows and 0 <= one[1] < lattice.columns)


def _touching(area: shapely.Polygon, lattice: Lattice) -> list[Index]:
    """Return the windows whose core has a pixel in bounds."""
    x0, y0, x1, y1 = area.bounds
    first = lattice.owner(math.floor(x0), math.floor(y0))
    last = lattice.owner(math.ceil(x1) - 1, math.ceil(y1) - 1)
    return [(row, column) for row in range(first[0], last[0] + 1) for column in range(first[1], last[1] + 1)]


def _stopped(done: int, total: int) -> StoppedError:
    return StoppedError(f"the search was stopped after {done} of {total} windows; nothing was added.")
