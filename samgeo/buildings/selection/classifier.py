"""A small classifier of objects, fitted to a few examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.buildings.selection.features import EMBEDDING
from samgeo.errors import OptionError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Selector"]

# Chosen with 30 accepted and 30 rejected examples of one quarter of a mosaic, judged on the quarter beside it; see
# benchmarks/RESULTS.md.
COMPONENTS = 32
REGULARISATION = 0.03

# The channels of an embedding are many and alike: together they weigh about as much as half a dozen measures of shape.
EMBEDDING_SCALE = 4.0

# Rows that the components are found from; more would not change them.
COMPONENT_ROWS = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Selector:
    """Tells wanted from unwanted objects, having seen a few of each.

    A logistic regression (scikit-learn's, with an L2 penalty and both kinds weighted the same) on the principal components of
    what was pooled from the embedding, and on the other measures, standardised. The components are those of all objects that
    it is given, judged or not.

    Attributes
    ----------
    columns : tuple of str
        What it goes by: those of `describe`.
    """

    columns: tuple[str, ...]
    _scaling: tuple[NDArray[np.float64], NDArray[np.float64]]
    _components: NDArray[np.float64]
    _classifier: Any

    @classmethod
    def fit(cls, features: pd.DataFrame, labels: Any) -> Selector:
        """Learn from examples.

        Parameters
        ----------
        features : DataFrame
            From `describe`: the examples, and as many other candidates as there are, for what is usual among them.
        labels : array-like of float, length of ``features``
            1 accepted, 0 rejected, NaN not judged. If none is rejected, those that were not judged stand for it: the order of
            the scores is then the same in expectation (C. Elkan and K. Noto, Learning Classifiers from Only Positive and
            Unlabeled Data, 2008), and fewer reach 0.5.

        Raises
        ------
        OptionError
            If scikit-learn is missing, no example is accepted, nothing can stand for the rejected, or an example has no
            features because it is off the raster.
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
        """Say how likely each object is wanted.

        Parameters
        ----------
        features : DataFrame
            From `describe`, with the columns that it was fitted to.

        Returns
        -------
        ndarray, shape (N,)
            From 0 to 1, as if as many were wanted as not; NaN for objects without features.

        Raises
        ------
        OptionError
            If a column is missing: the model is another, or the objects have no scores.
        """
        missing = [name for name in self.columns if name not in features]
        if missing:
            raise OptionError(
                f"the objects lack {len(missing)} of {len(self.columns)} measures, such as {missing[0]!r}; describe them with "
                "the same model and options as the examples."
            )
        values = features[list(self.columns)].to_numpy(dtype=np.float64)
        known = np.isfinite(values).all(axis=1)
        result = np.full(len(values), np.nan)
        if known.any():
            placed = _project(values[known], self.columns, self._scaling, self._components)
            result[known] = self._classifier.predict_proba(placed)[:, 1]
        return result


def _check(labels: NDArray[np.float64], known: NDArray[np.bool_]) -> None:
    if len(labels) != len(known):
        raise OptionError(f"{len(labels)} labels for {len(known)} objects; give one for each.")
    if not (labels == 1).any():
        raise OptionError("no example is accepted; accept one or more.")
    lost = ~np.isnan(labels) & ~known
    if lost.any():
        raise OptionError(f"the example in row {int(np.flatnonzero(lost)[0])} lies off the raster's data; leave it out.")
    if not (labels == 0).any() and not (np.isnan(labels) & known).any():
        raise OptionError("nothing is rejected, and there is no other candidate to tell the accepted from; reject some.")


def _space(
    values: NDArray[np.float64], columns: tuple[str, ...]
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]:
    """Find the mean and spread of each column, and the principal components of the embedding's."""
    middle, spread = values.mean(axis=0), values.std(axis=0)
    spread[spread == 0] = 1.0
    pooled = _pooled(columns)
    width = int(pooled.sum())
    if len(values) > COMPONENT_ROWS:
        values = values[np.random.default_rng(0).choice(len(values), COMPONENT_ROWS, replace=False)]
    scaled = ((values - middle) / spread)[:, pooled]
    _, vectors = np.linalg.eigh(scaled.T @ scaled / max(len(scaled), 1))
    # The scale makes the components of many channels as large together as those of few.
    components = vectors[:, ::-1][:, :COMPONENTS] * (EMBEDDING_SCALE / np.sqrt(max(width, 1)))
    return (middle, spread), components


def _project(
    values: NDArray[np.float64],
    columns: tuple[str, ...],
    scaling: tuple[NDArray[np.float64], NDArray[np.float64]],
    components: NDArray[np.float64],
) -> NDArray[np.float64]:
    scaled = (values - scaling[0]) / scaling[1]
    pooled = _pooled(columns)
    return np.concatenate([scaled[:, pooled] @ components, scaled[:, ~pooled]], axis=1)


def _pooled(columns: tuple[str, ...]) -> NDArray[np.bool_]:
    return np.array([name.startswith(EMBEDDING) for name in columns], dtype=bool)
