"""Small classifiers of objects that are trained on a few examples: of any number of classes, and of accepted and rejected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.objects.space import FeatureSpace

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from sklearn.linear_model import LogisticRegression

__all__ = ["Classifier", "Selector"]

# Inverse strength of the penalty. It was chosen with 30 accepted and 30 rejected examples from one quarter of a mosaic, and
# evaluated on the neighbouring quarter; see benchmarks/STUDIES.md.
REGULARISATION = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """Classifier of objects of two or more classes, trained on a few examples of each.

    It is a multinomial logistic regression (scikit-learn, with an L2 penalty and equal weights of all classes). Its inputs are
    the principal components of the features from the embedding, and the other features, all standardized. The components are
    computed from all objects that are given to `fit`, examples or not.

    Attributes
    ----------
    classes : tuple of str
        Names of the classes, sorted.

    Examples
    --------
    >>> import pandas as pd
    >>> from samgeo.objects import Classifier
    >>> features = pd.DataFrame({"log_area": [2.0, 2.1, 4.0, 4.2, 6.9, 7.1]})
    >>> classifier = Classifier.fit(features, ["car", "car", "house", None, "hall", "hall"], regularization=1.0)
    >>> classifier.probabilities(features).idxmax(axis=1).tolist()
    ['car', 'car', 'house', 'house', 'hall', 'hall']
    """

    classes: tuple[str, ...]
    _space: FeatureSpace
    _model: LogisticRegression

    @classmethod
    @check_types
    def fit(
        cls, features: pd.DataFrame, classes: Sequence[str | None] | pd.Series, *, regularization: float = REGULARISATION
    ) -> Classifier:
        """Train a classifier on examples.

        Parameters
        ----------
        features : DataFrame
            Result of `describe` for the examples and for as many other objects as possible, which show the usual variation.
        classes : sequence of str or None, length of ``features``
            Class of each example; missing for the objects that are not examples.
        regularization : float, default 0.03
            Inverse strength of the L2 penalty: the option ``C`` of scikit-learn.

        Returns
        -------
        Classifier
            The trained classifier.

        Raises
        ------
        OptionError
            If scikit-learn is missing, there are fewer than two classes, or an example has no features because it lies outside
            the raster.
        """
        logistic = _logistic_regression()
        if len(classes) != len(features):
            raise OptionError(f"there are {len(classes)} classes for {len(features)} objects; give one for each object.")
        if not 0 < regularization < np.inf:
            raise OptionError(f"regularization is {regularization}; give a number above 0.")
        given = pd.Series(list(classes), dtype=object)
        rows = np.flatnonzero(given.notna().to_numpy())
        known = np.isfinite(features.to_numpy(dtype=np.float64)).all(axis=1)
        _check_features(rows, known)
        names = given.iloc[rows].astype(str).to_numpy(dtype=object)
        if len(set(names)) < 2:
            raise OptionError(
                f"the examples are of {len(set(names))} class{'' if len(set(names)) == 1 else 'es'}; give examples of at least "
                "two classes."
            )
        space = FeatureSpace.fit(features)
        model = logistic(C=regularization, class_weight="balanced", max_iter=2000)
        model.fit(space.place(features.iloc[rows])[0], names)
        return cls(tuple(map(str, model.classes_)), space, model)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the features that are used: those of `describe`."""
        return self._space.columns

    def probabilities(self, features: pd.DataFrame) -> pd.DataFrame:
        """Return the probability of each class for each object.

        Parameters
        ----------
        features : DataFrame
            Result of `describe`, with the columns that the classifier was trained on.

        Returns
        -------
        DataFrame
            One row for each object, and one column for each class. The rows sum to 1, as if all classes were equally frequent;
            rows of objects without features are NaN.

        Raises
        ------
        OptionError
            If a column is missing, because another model was used or the objects have no scores.
        """
        places, known = self._space.place(features)
        result = np.full((len(features), len(self.classes)), np.nan)
        if known.any():
            result[known] = self._model.predict_proba(places)
        return pd.DataFrame(result, index=features.index, columns=list(self.classes))


@dataclass(frozen=True, slots=True, eq=False)
class Selector:
    """Binary classifier of objects, trained on a few accepted and rejected examples.

    It is the `Classifier` of the two classes accepted and rejected.

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
    _classifier: Classifier

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
        _logistic_regression()
        labels = np.asarray(labels, dtype=np.float64)
        known = np.isfinite(features.to_numpy(dtype=np.float64)).all(axis=1)
        _check(labels, known)
        rejected = (labels == 0) if (labels == 0).any() else np.isnan(labels) & known
        pairs = zip((labels == 1).tolist(), rejected.tolist(), strict=True)
        classifier = Classifier.fit(features, [_ACCEPTED if yes else _REJECTED if no else None for yes, no in pairs])
        return cls(classifier.columns, classifier)

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
        scores: NDArray[np.float64] = self._classifier.probabilities(features)[_ACCEPTED].to_numpy(dtype=np.float64)
        return scores


# The names are sorted by the classifier. The accepted class comes second, so that its probability is the one that is computed.
_REJECTED, _ACCEPTED = "0 rejected", "1 accepted"


def _logistic_regression() -> type[LogisticRegression]:
    """Return scikit-learn's logistic regression, which is an optional dependency."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise OptionError("selection and classification need scikit-learn; install samgeo[footprints].") from None
    found: type[LogisticRegression] = LogisticRegression
    return found


def _check_features(rows: NDArray[np.int64], known: NDArray[np.bool_]) -> None:
    """Raise an `OptionError` if the example in one of the rows has no features."""
    lost = rows[~known[rows]]
    if len(lost):
        raise OptionError(f"the example in row {int(lost[0])} lies outside the raster or on nodata; remove the example.")


def _check(labels: NDArray[np.float64], known: NDArray[np.bool_]) -> None:
    """Raise an `OptionError` unless the labels can be used for training."""
    if len(labels) != len(known):
        raise OptionError(f"there are {len(labels)} labels for {len(known)} objects; give one label for each object.")
    if not (labels == 1).any():
        raise OptionError("no example is accepted; give at least one accepted example.")
    _check_features(np.flatnonzero(~np.isnan(labels)), known)
    if not (labels == 0).any() and not (np.isnan(labels) & known).any():
        raise OptionError("nothing is rejected, and there are no other candidates to compare with; reject some examples.")
