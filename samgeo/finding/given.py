"""Prompt sources of what others found: boxes of a detector or of a file, and peaks of another raster."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy import ndimage

from samgeo.arguments import check_types
from samgeo.errors import OptionError, RasterError
from samgeo.finding.annotated_boxes import annotations_path, read_boxes_of
from samgeo.geo.coordinates.prompt_geometry import read_boxes, read_points
from samgeo.geo.drivers import open_raster
from samgeo.geo.raster.bands import marker_of
from samgeo.geo.raster.raster import Raster
from samgeo.segmentation.windows.proposals import Proposals, WindowView
from samgeo.types import CRSLike, FeaturesLike, RasterLike

if TYPE_CHECKING:
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.asking import Answers
    from samgeo.types import Embedding

__all__ = ["GivenBoxes", "boxes_from", "peaks_of"]

# Side of the blocks in which another raster is searched for peaks, and their margin, in pixels.
BLOCK, MARGIN = 1024, 64
SCORE, CLASS = "score", "class"


class GivenBoxes:
    """A prompt source of boxes, or of points, that were found before; see `samgeo.finding.boxes_from`.

    Parameters
    ----------
    boxes_px : ndarray, shape (P, 4)
        x0, y0, x1, y1 in raster pixels. A box without width and height is a point.
    scores : ndarray, shape (P,)
        From 0 to 1.
    kinds : ndarray of int, shape (P,)
        Number of the class of each box.
    classes : sequence of str
        Names of the classes.
    name : str, default "given boxes"
        Name of the source, for provenance.
    """

    @check_types
    def __init__(
        self,
        boxes_px: NDArray[np.float64],
        scores: NDArray[np.float64],
        kinds: NDArray[np.int64],
        classes: tuple[str, ...],
        *,
        name: str = "given boxes",
    ) -> None:
        self.boxes_px, self.scores, self.kinds = boxes_px, scores, kinds
        self.classes, self.name = classes, name
        total = hashlib.sha256(json.dumps([name, list(classes)]).encode())
        for array in (boxes_px, scores, kinds):
            total.update(np.ascontiguousarray(array).tobytes())
        self.digest = total.hexdigest()[:16]
        centres = np.asarray(shapely.points((boxes_px[:, :2] + boxes_px[:, 2:]) / 2), dtype=np.object_)
        self._tree = shapely.STRtree(centres)

    def __len__(self) -> int:
        return len(self.boxes_px)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (self.boxes_px, self.scores, self.kinds, self.classes, self.name)

    def propose(self, _model: Segmenter, _embedding: Embedding, window: WindowView) -> tuple[Proposals, None]:
        """Propose the boxes whose centre is in the window's core; see `samgeo.finding.PromptSource`."""
        core = window.core
        rows = np.sort(self._tree.query(shapely.box(core.x0, core.y0, core.x1, core.y1)))
        rows = rows[np.argsort(-self.scores[rows], kind="stable")]
        given = self.boxes_px[rows]
        boxes = np.concatenate([window.to_input(given[:, :2]), window.to_input(given[:, 2:])], axis=1)
        points = (boxes[:, :2] + boxes[:, 2:]) / 2
        boxes[(given[:, 2:] <= given[:, :2]).any(1)] = np.nan
        return Proposals(boxes, points, self.scores[rows].astype(np.float32), self.kinds[rows]), None

    def score(
        self, _model: Segmenter, _embedding: Embedding, proposals: Proposals, answers: Answers, _evidence: object
    ) -> NDArray[np.float32]:
        """Return the geometric mean of the given score and of the predicted IoU of the mask."""
        predicted = answers.predicted_iou.cpu().numpy().clip(0, 1)
        scores: NDArray[np.float32] = np.sqrt(proposals.scores * predicted).astype(np.float32)
        return scores


def _rebuilt(
    boxes_px: NDArray[np.float64], scores: NDArray[np.float64], kinds: NDArray[np.int64], classes: tuple[str, ...], name: str
) -> GivenBoxes:
    return GivenBoxes(boxes_px, scores, kinds, classes, name=name)


@check_types
def boxes_from(features: FeaturesLike, image: RasterLike, *, crs: CRSLike = None, what: str = "object") -> GivenBoxes:
    """Make a prompt source of the boxes of a detector.

    Parameters
    ----------
    features : path, GeoDataFrame, GeoSeries or array-like of shape (P, 4)
        Features, whose bounding boxes are taken, or x0, y0, x1, y1. The column ``score`` holds their scores, from 0 to 1; the
        column ``class`` their classes. Without these columns all scores are 1, and the class is ``what``. A path may also be
        that of annotations that `samgeo.annotations.read_annotations` reads, such as COCO, a result list of COCO, YOLO labels
        or an export of Roboflow. Of these the boxes of ``image`` are taken, which is found by its name.
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The raster in which objects will be found; see `samgeo.Raster.open`.
    crs : anything that pyproj takes, or "pixels", optional
        CRS of an array, and of features that have none. That of the raster by default.
    what : str, default "object"
        Name of the class if the features have no column ``class``.

    Returns
    -------
    GivenBoxes

    Raises
    ------
    OptionError, VectorError, RasterError, AnnotationError
        If the boxes or the raster cannot be read, a score is not a number from 0 to 1, or annotations have no such image.

    Examples
    --------
    >>> import numpy as np
    >>> import samgeo
    >>> from samgeo.finding import boxes_from
    >>> from samgeo.testing import Oracle, encode_ids
    >>> labels = np.zeros((96, 96), dtype=np.int32)
    >>> labels[10:30, 10:30] = 1
    >>> image = encode_ids(labels)
    >>> source = boxes_from([[9, 9, 31, 31]], image, crs="pixels", what="roof")
    >>> found = samgeo.find(image, finder=source, model=Oracle(64), progress=False)
    >>> found[["class", "area_px"]].values.tolist()
    [['roof', 400.0]]
    """
    raster = Raster.open(image)
    annotated = annotations_path(features)
    if annotated is not None:
        if crs is not None:
            raise OptionError(f"crs has no meaning for {annotated}, whose boxes are in pixels; omit it.")
        boxes, scores, names = read_boxes_of(annotated, raster)
    else:
        boxes, table = read_boxes(features, geobox=raster.geobox, crs=crs)
        scores = np.ones(len(boxes)) if table is None or SCORE not in table else table[SCORE].to_numpy(dtype=np.float64)
        names = [what] * len(boxes) if table is None or CLASS not in table else table[CLASS].astype(str).tolist()
    if not len(boxes):
        raise OptionError("there is no box; give at least one feature.")
    bad = ~((scores >= 0) & (scores <= 1))
    if bad.any():
        raise OptionError(f"the score of box {int(np.argmax(bad))} is {scores[bad][0]}; give numbers from 0 to 1.")
    classes = tuple(sorted(set(names)))
    kinds = np.array([classes.index(name) for name in names], dtype=np.int64)
    return GivenBoxes(boxes, scores, kinds, classes)


@check_types
def peaks_of(
    heights: str | os.PathLike[str],
    image: RasterLike,
    *,
    min_value: float = 2.0,
    min_distance: int = 3,
    what: str = "object",
) -> GivenBoxes:
    """Make a prompt source of the peaks of another raster, such as heights above the ground: a point at each local maximum.

    Parameters
    ----------
    heights : path or URL
        A raster with a CRS, of which the first band is used. Pixels that `samgeo.remove` invented are no peaks.
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The raster in which objects will be found. It has a CRS too.
    min_value : float, default 2.0
        Lower peaks are left out.
    min_distance : int, default 3
        Number of pixels of ``heights`` within which only the highest peak is kept, from 1 to 64.
    what : str, default "object"
        Name of the class.

    Returns
    -------
    GivenBoxes
        Points inside the image. The score of a point is the share of all points that are not higher.

    Raises
    ------
    OptionError
        If no peak inside the image reaches ``min_value``, or ``min_distance`` is not from 1 to 64.
    RasterError
        If a raster cannot be read or has no CRS.

    Examples
    --------
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from samgeo.finding import peaks_of
    >>> from samgeo.testing import write_raster
    >>> heights = np.zeros((40, 40), dtype=np.float32)
    >>> heights[10, 12] = 5
    >>> source = peaks_of(
    ...     write_raster(Path("heights.tif"), heights), write_raster(Path("image.tif"), np.zeros((40, 40, 3), np.uint8))
    ... )
    >>> source.boxes_px.tolist()
    [[12.5, 10.5, 12.5, 10.5]]
    """
    if not 1 <= min_distance <= MARGIN:
        raise OptionError(f"min_distance is {min_distance}; give a number of pixels from 1 to {MARGIN}.")
    name, grid = os.fspath(heights), Raster.open(image).geobox
    found: list[tuple[float, float, float]] = []
    try:
        with open_raster(name, name) as dataset:
            if dataset.crs is None or grid.crs is None:
                raise RasterError(f"{name} and the image need a CRS to locate the peaks; assign it with gdal_edit.py.")
            for top in range(0, dataset.height, BLOCK):
                for left in range(0, dataset.width, BLOCK):
                    found += _peaks_in_block(dataset, left, top, min_value, min_distance)
            crs, affine = dataset.crs, dataset.transform
    except rasterio.errors.RasterioError as error:
        raise RasterError(f"{name} cannot be read ({error}); check the path.") from None
    places = np.array(found, dtype=np.float64).reshape(-1, 3)
    x, y = affine @ (places[:, 0], places[:, 1]) if len(places) else (places[:, 0], places[:, 1])
    points, _, _ = read_points(np.column_stack([x, y]), geobox=grid, crs=crs)
    inside = np.isfinite(points[:, 0]).all(1) & (points[:, 0] >= 0).all(1) & (points[:, 0] < grid.shape[::-1]).all(1)
    if not inside.any():
        raise OptionError(f"no peak of {name} inside the image reaches min_value = {min_value:g}; give a lower value.")
    xy, values = points[inside, 0], places[inside, 2]
    ranks = np.searchsorted(np.sort(values), values, side="right") / len(values)
    kinds = np.zeros(len(xy), dtype=np.int64)
    return GivenBoxes(np.concatenate([xy, xy], axis=1), ranks, kinds, (what,), name=f"peaks of {Path(name).name}")


def _peaks_in_block(
    dataset: rasterio.DatasetReader, x: int, y: int, min_value: float, min_distance: int
) -> list[tuple[float, float, float]]:
    """Return x, y and value of the peaks in a block, in pixels of the raster; each is the highest within the distance."""
    left, top = max(x - min_distance, 0), max(y - min_distance, 0)
    right, bottom = min(x + BLOCK + min_distance, dataset.width), min(y + BLOCK + min_distance, dataset.height)
    read = dataset.read(1, window=Window(left, top, right - left, bottom - top), masked=True)
    values = np.ma.filled(read.astype(np.float64), -np.inf)
    values[np.isnan(values)] = -np.inf
    marker = marker_of(dataset.descriptions)
    if marker is not None:
        values[dataset.read(marker, window=Window(left, top, right - left, bottom - top)) != 0] = -np.inf
    highest = ndimage.maximum_filter(values, size=2 * min_distance + 1, mode="constant", cval=-np.inf)
    # Of equal neighbours, the middle of each connected flat top is one peak.
    tops, count = ndimage.label((values == highest) & (values >= min_value), structure=np.ones((3, 3)))
    if not count:
        return []
    middles = np.array(ndimage.center_of_mass(tops > 0, tops, np.arange(1, count + 1)))
    heights = ndimage.maximum(values, tops, np.arange(1, count + 1))
    found = []
    for (row, column), value in zip(middles.tolist(), np.asarray(heights).tolist(), strict=True):
        px, py = left + column + 0.5, top + row + 0.5
        if x <= px < x + BLOCK and y <= py < y + BLOCK:
            found.append((px, py, value))
    return found
