"""The space in which objects are compared: standardized features, with the principal components of the embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.objects.features import COLORS, EMBEDDING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COMPONENTS", "EMBEDDING_SCALE", "FeatureSpace"]

COMPONENTS = 32

# An embedding has many similar channels. This scale gives all of them together about the weight of half a dozen shape measures.
EMBEDDING_SCALE = 4.0

# Principal components are computed from at most this many rows; more rows would not change them.
COMPONENT_ROWS = 20_000

# Standard deviations below this share of the largest value are rounding errors.
ROUNDING = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class FeatureSpace:
    """A mapping of features to coordinates whose distances say how different objects are.

    The features from the embedding become their principal components. All features are standardized first.

    Attributes
    ----------
    columns : tuple of str
        Names of the features: those of `describe`.
    middle, spread : ndarray, shape (F,)
        Mean of each feature, and its standard deviation divided by its weight.
    components : ndarray, shape (E, C)
        Principal components of the standardized features from the embedding.
    """

    columns: tuple[str, ...]
    middle: NDArray[np.float64]
    spread: NDArray[np.float64]
    components: NDArray[np.float64]

    @classmethod
    def fit(cls, features: pd.DataFrame, *, embedding_scale: float = EMBEDDING_SCALE, shape_scale: float = 1.0) -> FeatureSpace:
        """Return the space of some objects.

        Parameters
        ----------
        features : DataFrame
            Result of `describe`. Rows with missing features are left out, and at least one row must remain.
        embedding_scale : float, default 4
            Weight of all columns of the embedding together.
        shape_scale : float, default 1
            Weight of each column of the shape and of the model's scores. The columns of colours have a weight of 1.
        """
        values = features.to_numpy(dtype=np.float64)
        values, columns = values[np.isfinite(values).all(axis=1)], tuple(map(str, features.columns))
        middle, spread = values.mean(axis=0), values.std(axis=0)
        # Values that only differ by rounding are equal, and must not be scaled to a spread of 1.
        spread[spread <= ROUNDING * np.abs(values).max(axis=0)] = 1.0
        pooled = _pooled(columns)
        width = int(pooled.sum())
        if len(values) > COMPONENT_ROWS:
            values = values[np.random.default_rng(0).choice(len(values), COMPONENT_ROWS, replace=False)]
        scaled = ((values - middle) / spread)[:, pooled]
        _, vectors = np.linalg.eigh(scaled.T @ scaled / max(len(scaled), 1))
        # Division by the square root of the number of channels makes the weight of the embedding independent of that number.
        components = vectors[:, ::-1][:, :COMPONENTS] * (embedding_scale / np.sqrt(max(width, 1)))
        is_shape = ~pooled & ~np.isin(columns, COLORS)
        return cls(columns, middle, np.where(is_shape, spread / shape_scale, spread), components)

    def place(self, features: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the coordinates of the objects that have all features, and which objects these are.

        Parameters
        ----------
        features : DataFrame
            Result of `describe` for N objects.

        Returns
        -------
        places : ndarray of float64, shape (K, D)
            The components of the embedding first, then the other features in their order.
        known : ndarray of bool, shape (N,)
            True for the K objects that have all features.

        Raises
        ------
        OptionError
            If a column is missing, because another model was used or the objects have no scores.
        """
        missing = [name for name in self.columns if name not in features]
        if missing:
            raise OptionError(
                f"the objects lack {len(missing)} of the {len(self.columns)} features of the examples, such as "
                f"{missing[0]!r}; compute the features with the same model and options as for the examples."
            )
        values = features[list(self.columns)].to_numpy(dtype=np.float64)
        known = np.isfinite(values).all(axis=1)
        scaled = (values[known] - self.middle) / self.spread
        pooled = _pooled(self.columns)
        return np.concatenate([scaled[:, pooled] @ self.components, scaled[:, ~pooled]], axis=1), known


def _pooled(columns: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return which columns come from the embedding."""
    return np.array([name.startswith(EMBEDDING) for name in columns], dtype=bool)
