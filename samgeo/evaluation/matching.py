"""Matching of found objects with true objects, one to one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.evaluation.boundary import iou as iou_of
from samgeo.evaluation.layer_pairs import BATCH, Layer, common_crs, read_layer
from samgeo.geo.coordinates.metric_planes import Planes, batches
from samgeo.geo.vector.reading import read_vectors
from samgeo.progress import progress_bar
from samgeo.types import FeaturesLike

__all__ = ["Matches", "Pairs", "check_min_iou", "find_pairs", "match", "pair_up"]

# The IoU of equal masks may be rounded to less than 1, so that this value replaces a threshold of 1, as in pycocotools.
NEARLY_ONE = 1 - 1e-10

# Tolerance for the rounding of areas where an upper limit of the IoU is compared with a threshold.
SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Matches:
    """Counts of a one-to-one matching of found objects with true objects.

    Attributes
    ----------
    matched, found, truth : int
        Numbers of matched pairs, found objects, and true objects.
    mean_iou : float
        Mean IoU of the pairs; NaN if there are none.

    Examples
    --------
    >>> from samgeo.evaluation import Matches
    >>> matches = Matches(matched=8, found=10, truth=16, mean_iou=0.8)
    >>> matches.precision, matches.recall
    (0.8, 0.5)
    """

    matched: int
    found: int
    truth: int
    mean_iou: float

    @property
    def recall(self) -> float:
        """Fraction of the true objects that were found; NaN if there are no true objects."""
        return self.matched / self.truth if self.truth else float("nan")

    @property
    def precision(self) -> float:
        """Fraction of the found objects that match a true object; NaN if there are no found objects."""
        return self.matched / self.found if self.found else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN if there are no objects in both layers."""
        return 2 * self.matched / (self.found + self.truth) if self.found + self.truth else float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Overlapping pairs of found and true objects.

    Attributes
    ----------
    found, truth : ndarray of int, shape (P,)
        Indices of the objects in the two layers.
    iou : ndarray of float, shape (P,)
        IoU of each pair.
    """

    found: NDArray[np.intp]
    truth: NDArray[np.intp]
    iou: NDArray[np.float64]

    def __getitem__(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Pairs:
        return Pairs(self.found[which], self.truth[which], self.iou[which])

    def __len__(self) -> int:
        return len(self.iou)


@check_types
def match(found: FeaturesLike, truth: FeaturesLike, *, min_iou: float = 0.5) -> Matches:
    """Match found objects with true objects; the pairs with the best IoU first, and each object at most once.

    Objects without an area are not counted. `evaluate` gives more figures, and the reasons why objects are left out.

    Parameters
    ----------
    found, truth : path, GeoDataFrame or GeoSeries
        Polygons; ``found`` is transformed to the CRS of ``truth``.
    min_iou : float, default 0.5
        Smallest IoU of a match.

    Returns
    -------
    Matches
        The counts.

    Raises
    ------
    OptionError
        If only one of the layers has a CRS, or ``min_iou`` is not above 0 and at most 1.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from shapely.geometry import box
    >>> from samgeo.evaluation import match
    >>> truth = gpd.GeoDataFrame(geometry=[box(0, 0, 10, 10), box(20, 0, 30, 10)])
    >>> found = gpd.GeoDataFrame(geometry=[box(0, 0, 10, 9), box(50, 0, 60, 10)])
    >>> match(found, truth)
    Matches(matched=1, found=2, truth=2, mean_iou=0.9)
    """
    check_min_iou(min_iou)
    ours, theirs = read_vectors(found), read_vectors(truth)
    common_crs(ours, theirs)
    planes = Planes.around(theirs)
    a, b = read_layer(ours, planes), read_layer(theirs, planes)
    pairs = find_pairs(a, b, planes, min_iou)
    ious = pairs.iou[pair_up(pairs, min_iou)]
    return Matches(len(ious), len(a), len(b), float(ious.mean()) if len(ious) else float("nan"))


def check_min_iou(min_iou: float) -> None:
    """Raise an `OptionError` unless ``min_iou`` is above 0 and at most 1."""
    if not 0 < min_iou <= 1:
        raise OptionError(f"min_iou is {min_iou}; give a number above 0 and at most 1, such as 0.5.")


def find_pairs(
    found: Layer,
    truth: Layer,
    planes: Planes,
    min_iou: float,
    classes: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    *,
    progress: bool = False,
) -> Pairs:
    """Find the pairs of objects whose IoU reaches a threshold, a batch of found objects at a time.

    If classes are given, only objects of the same class form a pair. Intersections are only computed for pairs whose areas and
    bounding boxes allow the IoU, so that an object that covers a whole town costs little time.
    """
    tree = shapely.STRtree(truth.geometries)
    least = min(min_iou, NEARLY_ONE)
    pieces = [Pairs(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0))]
    with progress_bar(len(found), "object", "matching", progress=progress) as bar:
        for cell, some in batches(found.cells, BATCH):
            i, j = tree.query(found.geometries[some])
            i = some[i]
            smaller, larger = np.minimum(found.areas[i], truth.areas[j]), np.maximum(found.areas[i], truth.areas[j])
            possible = smaller >= (least - SLACK) * larger
            if classes is not None:
                possible &= classes[0][i] == classes[1][j]
            i, j = i[possible], j[possible]
            a, b = _placed(found, i, planes, cell), _placed(truth, j, planes, cell)
            possible = _boxes_allow(a, b, least)
            i, j, iou = i[possible], j[possible], iou_of(a[possible], b[possible])
            pieces.append(Pairs(i, j, iou)[iou >= least])
            bar.update(len(some))
    joined = (np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("found", "truth", "iou"))
    return Pairs(*joined)


def pair_up(
    pairs: Pairs,
    min_iou: float,
    *,
    rank: NDArray[np.intp] | None = None,
    ignored: NDArray[np.bool_] | None = None,
) -> NDArray[np.intp]:
    """Choose pairs so that each object is in at most one of them.

    With a rank, found objects are visited in its order, and each takes the true object with the best IoU that is not taken
    yet. This is the rule of SpaceNet (A. Van Etten, D. Lindenbaum, T. M. Bacastow, SpaceNet: A Remote Sensing Dataset and
    Challenge Series, 2018), which is Algorithm 2 of O. Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge,
    2015, and the rule of COCO. Of equal IoUs the last true object is taken, as in pycocotools. Without a rank, pairs are
    visited in the order of falling IoU.

    Parameters
    ----------
    pairs : Pairs
        Candidates.
    min_iou : float
        Smallest IoU of a match.
    rank : ndarray of int, shape (found,), optional
        Position of each found object in the order, from 0.
    ignored : ndarray of bool, shape (truth,), optional
        True objects that are only taken if no other one can be taken.

    Returns
    -------
    ndarray of int
        Indices of the chosen pairs.
    """
    good = np.flatnonzero(pairs.iou >= min(min_iou, NEARLY_ONE))
    i, j = pairs.found[good], pairs.truth[good]
    if len(good) == 0:
        return good
    # Most objects are in only one pair, which is chosen at once.
    sure = (np.bincount(i)[i] == 1) & (np.bincount(j)[j] == 1)
    contested = good[~sure]
    i, j, iou = pairs.found[contested], pairs.truth[contested], pairs.iou[contested]
    later = np.zeros(len(j), dtype=bool) if ignored is None else ignored[j]
    keys = (j, i, -iou, later) if rank is None else (-j, -iou, later, rank[i])
    order = np.lexsort(keys)
    taken_i, taken_j, chosen = set[int](), set[int](), list[int]()
    for index, one, other in zip(contested[order].tolist(), i[order].tolist(), j[order].tolist(), strict=True):
        if one not in taken_i and other not in taken_j:
            taken_i.add(one)
            taken_j.add(other)
            chosen.append(index)
    return np.sort(np.concatenate([good[sure], np.array(chosen, dtype=np.intp)]))


def _placed(layer: Layer, which: NDArray[np.intp], planes: Planes, cell: int) -> NDArray[np.object_]:
    """Return objects in the plane of a cell; each object is transformed once."""
    once, back = np.unique(which, return_inverse=True)
    return planes.place(layer.geometries[once], cell)[back]


def _boxes_allow(a: NDArray[np.object_], b: NDArray[np.object_], least: float) -> NDArray[np.bool_]:
    """Return for which pairs the bounding boxes share enough area for the IoU."""
    boxes_a, boxes_b = shapely.bounds(a), shapely.bounds(b)
    sides = np.minimum(boxes_a[:, 2:], boxes_b[:, 2:]) - np.maximum(boxes_a[:, :2], boxes_b[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    return np.asarray(shared * (1 + least) >= (least - SLACK) * (shapely.area(a) + shapely.area(b)))
