"""A small classifier of objects that is trained on a few examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.objects.features import EMBEDDING

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

__all__ = ["Selector"]

# These values were chosen with 30 accepted and 30 rejected examples from one quarter of a mosaic, and evaluated on the
# neighbouring quarter; see benchmarks/RESULTS.md.
COMPONENTS = 32
REGULARISATION = 0.03

# An embedding has many similar channels. This scale gives all of them together about the weight of half a dozen shape measures.
EMBEDDING_SCALE = 4.0

# Principal components are computed from at most this many rows; more rows would not change them.
COMPONENT_ROWS = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Selector:
    """Binary classifier of objects, trained on a few accepted and rejected examples.

    It is a logistic regression (scikit-learn, with an L2 penalty and equal weights of both classes). Its inputs are the
    principal components of the features from the embedding, and the other features, all standardized. The components are
    computed from all objects that are given to `fit`, judged or not.

    Attributes
    ----------
    columns : tuple of str
        Names of the features that are used: those of `describe`.

    Examples
    --------
    >>> import pandas as pd
    >>> from samgeo.objects import Selector
    >>> features = pd.DataFrame({"log_area": [4.0, 4.2, 6.9, 7.1], "solidity": [1.0, 0.98, 0.6, 0.5]})
    >>> selector = Selector.fit(features, [1, 1, 0, 0])
    >>> (selector.score(features) > 0.5).tolist()
    [True, True, False, False]
    """

    columns: tuple[str, ...]
    _scaling: tuple[NDArray[np.float64], NDArray[np.float64]]
    _components: NDArray[np.float64]
    _classifier: Any

    @classmethod
    def fit(cls, features: pd.DataFrame, labels: ArrayLike) -> Selector:
        """Train a classifier on examples.

        Parameters
        ----------
        features : DataFrame
            Result of `describe` for the examples and for as many other candidates as possible, which show the usual variation.
        labels : array-like of float, length of ``features``
            1 for accepted, 0 for rejected, NaN for not judged. If no example is rejected, the objects that were not judged are
            used as rejected examples. The order of the scores is then the same in expectation (C. Elkan and K. Noto, Learning
            Classifiers from Only Positive and Unlabeled Data, 2008), but fewer scores reach 0.5.

        Returns
        -------
        Selector
            The trained classifier.

        Raises
        ------
        OptionError
            If scikit-learn is missing, no example is accepted, there are no objects that can be used as rejected examples, or
            an example has no features because it lies outside the raster.
        """
        try:
            from sklearn.linear_model import LogisticRegression
        except ImportError:
            raise OptionError("selection needs scikit-learn; install samgeo[footprints].") from None
        labels = np.asarray(labels, dtype=np.float64)
        values = features.to_numpy(dtype=np.float64)
        known = np.isfinite(values).all(axis=1)
        _check(labels, known)
        rejected = (labels == 0) if (labels == 0).any() else np.isnan(labels) & known
        rows = np.flatnonzero((labels == 1) | rejected)
        columns = tuple(map(str, features.columns))
        scaling, components = _space(values[known], columns)
        classifier = LogisticRegression(C=REGULARISATION, class_weight="balanced", max_iter=2000)
        classifier.fit(_project(values[rows], columns, scaling, components), labels[rows] == 1)
        return cls(columns, scaling, components, classifier)

    def score(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Return the probability that each object is wanted.

        Parameters
        ----------
        features : DataFrame
            Result of `describe`, with the columns that the classifier was trained on.

        Returns
        -------
        ndarray, shape (N,)
            From 0 to 1, as if wanted and unwanted objects were equally frequent; NaN for objects without features.

        Raises
        ------
        OptionError
            If a column is missing, because another model was used or the objects have no scores.
        """
        missing = [name for name in self.columns if name not in features]
        if missing:
            raise OptionError(
                f"the objects lack {len(missing)} of the {len(self.columns)} features of the classifier, such as "
                f"{missing[0]!r}; compute the features with the same model and options as for the examples."
            )
        values = features[list(self.columns)].to_numpy(dtype=np.float64)
        known = np.isfinite(values).all(axis=1)
        result = np.full(len(values), np.nan)
        if known.any():
            placed = _project(values[known], self.columns, self._scaling, self._components)
            result[known] = self._classifier.predict_proba(placed)[:, 1]
        return result


def _check(labels: NDArray[np.float64], known: NDArray[np.bool_]) -> None:
    """Raise an `OptionError` unless the labels can be used for training."""
    if len(labels) != len(known):
        raise OptionError(f"there are {len(labels)} labels for {len(known)} objects; give one label for each object.")
    if not (labels == 1).any():
        raise OptionError("no example is accepted; give at least one accepted example.")
    lost = ~np.isnan(labels) & ~known
    if lost.any():
        raise OptionError(
            f"the example in row {int(np.flatnonzero(lost)[0])} lies outside the raster or on nodata; remove the example."
        )
    if not (labels == 0).any() and not (np.isnan(labels) & known).any():
        raise OptionError("nothing is rejected, and there are no other candidates to compare with; reject some examples.")


def _space(
    values: NDArray[np.float64], columns: tuple[str, ...]
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]:
    """Return the mean and the standard deviation of each column, and the principal components of the embedding's columns."""
    middle, spread = values.mean(axis=0), values.std(axis=0)
    spread[spread == 0] = 1.0
    pooled = _pooled(columns)
    width = int(pooled.sum())
    if len(values) > COMPONENT_ROWS:
        values = values[np.random.default_rng(0).choice(len(values), COMPONENT_ROWS, replace=False)]
    scaled = ((values - middle) / spread)[:, pooled]
    _, vectors = np.linalg.eigh(scaled.T @ scaled / max(len(scaled), 1))
    # Division by the square root of the number of channels makes the weight of the embedding independent of that number.
    components = vectors[:, ::-1][:, :COMPONENTS] * (EMBEDDING_SCALE / np.sqrt(max(width, 1)))
    return (middle, spread), components


def _project(
    values: NDArray[np.float64],
    columns: tuple[str, ...],
    scaling: tuple[NDArray[np.float64], NDArray[np.float64]],
    components: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Standardize features, and replace those of the embedding by their principal components."""
    scaled = (values - scaling[0]) / scaling[1]
    pooled = _pooled(columns)
    return np.concatenate([scaled[:, pooled] @ components, scaled[:, ~pooled]], axis=1)


def _pooled(columns: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return which columns come from the embedding."""
    return np.array([name.startswith(EMBEDDING) for name in columns], dtype=bool)
