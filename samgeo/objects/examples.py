"""Assignment of a user's examples to candidate objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.evaluation.layer_pairs import common_crs, read_layer
from samgeo.evaluation.matching import find_pairs, pair_up
from samgeo.geo.coordinates.metric_planes import Planes
from samgeo.segmentation.prompts.example_reading import read_labelled_features, read_labels

if TYPE_CHECKING:
    from samgeo.types import FeaturesLike

__all__ = ["MATCH_IOU", "Examples", "read_examples"]

MATCH_IOU = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Labels of the candidates that a user has judged.

    Attributes
    ----------
    labels : ndarray of float, shape (N,)
        Label of each candidate: 1 for accepted, 0 for rejected, NaN for not judged.
    unmatched : int
        Number of examples that match no candidate.
    """

    labels: NDArray[np.float64]
    unmatched: int

    @property
    def accepted(self) -> int:
        """Number of accepted candidates."""
        return int((self.labels == 1).sum())

    @property
    def rejected(self) -> int:
        """Number of rejected candidates."""
        return int((self.labels == 0).sum())


def read_examples(candidates: gpd.GeoDataFrame, examples: FeaturesLike) -> Examples:
    """Find the candidates that match the examples.

    Each example is assigned to the candidate with the best IoU, if that is 0.5 or more. A candidate is assigned at most once.

    Parameters
    ----------
    candidates : GeoDataFrame
        The objects to choose from.
    examples : str, path, GeoDataFrame, GeoSeries, sequence of geometries, or a pair of those
        Either the name of a column of the candidates, or features with a column ``label``. A label of 1 or true means
        accepted, 0 or false means rejected, and a missing label means not judged. Features without the column are all
        accepted. A pair has the accepted features first and the rejected ones second. Geometries without a table are in the
        candidates' CRS.

    Returns
    -------
    judged : Examples
        The labels of the candidates.

    Raises
    ------
    OptionError
        If a label has another value, or no accepted example matches a candidate.
    VectorError
        If the examples cannot be read.
    """
    if isinstance(examples, str) and examples in candidates:
        found = Examples(read_labels(candidates[examples], f"column {examples!r} of the candidates"), 0)
    else:
        frame, labels = read_labelled_features(examples, candidates.crs)
        found = _matched(candidates, frame[~np.isnan(labels)], labels[~np.isnan(labels)])
    if not found.accepted:
        raise OptionError(
            f"no candidate matches an accepted example ({found.unmatched} examples have no candidate with an IoU of "
            f"{MATCH_IOU} or more); give examples that lie on candidates."
        )
    return found


def _matched(candidates: gpd.GeoDataFrame, examples: gpd.GeoDataFrame, labels: NDArray[np.float64]) -> Examples:
    """Assign the labels of examples to the candidates that match them."""
    common_crs(examples, candidates)
    planes = Planes.around(candidates)
    a, b = read_layer(examples, planes), read_layer(candidates, planes)
    pairs = find_pairs(a, b, planes, MATCH_IOU)
    pairs = pairs[pair_up(pairs, MATCH_IOU)]
    result = np.full(len(candidates), np.nan)
    result[b.rows[pairs.truth]] = labels[a.rows[pairs.found]]
    return Examples(result, len(examples) - len(pairs))
