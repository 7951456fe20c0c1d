"""Options of the training of a finder."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

from samgeo.errors import OptionError

__all__ = ["FinderTraining"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinderTraining:
    """The ``[finder]`` table of a recipe.

    Attributes
    ----------
    classes : tuple of str
        The layers of the labels that the finder learns, in the order of their numbers. The labels must be complete: an object
        that is in no layer is learned as background.
    crops : int, default 600
        Number of random crops, which are encoded once. They are kept in the run folder in half precision, 1.9 MB each for the
        bundled model, until the head is trained.
    steps : int, default 500
        Number of steps of the head.
    images : int, default 4
        Crops of one step.
    rate : float, default 2e-3
        Learning rate of the head.
    width, depth : int, default 64 and 2
        Channels and number of blocks of the head.
    scored : int, default 120
        Number of further crops, whose answers train the scorer.
    min_score : float, optional
        The default threshold of the finder. If it is None, it is the threshold with the highest mean F1 over the sources on
        the crops of the scorer.
    zooms : tuple of (float, float), default ((1e6, 1.0),)
        Pairs of the coarsest ground resolution in metres and the zoom; see `samgeo.finding.FinderInfo`.
    seed : int, default 0
        Seed of the crops, the first weights and the order.
    license, about : str
        What the file says of itself.
    """

    classes: tuple[str, ...]
    crops: int = 600
    steps: int = 500
    images: int = 4
    rate: float = 2e-3
    width: int = 64
    depth: int = 2
    scored: int = 120
    min_score: float | None = None
    zooms: tuple[tuple[float, float], ...] = ((1e6, 1.0),)
    seed: int = 0
    license: str = ""
    about: str = ""

    def __post_init__(self) -> None:
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise OptionError(f"classes is {list(self.classes)}; give the names of one or more layers, each once.")
        for name in ("crops", "steps", "images", "width", "depth", "scored"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}; give 1 or more.")
        if self.seed < 0:
            raise OptionError(f"seed is {self.seed}; give 0 or more.")
        if not (0 < self.rate < math.inf):
            raise OptionError(f"rate is {self.rate}; give a finite number above 0.")
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise OptionError(f"min_score is {self.min_score}; give a number from 0 to 1.")
        limits = [limit for limit, _ in self.zooms]
        if not self.zooms or limits != sorted(set(limits)) or any(limit <= 0 or zoom <= 0 for limit, zoom in self.zooms):
            raise OptionError(f"zooms is {self.zooms}; give pairs of a resolution in metres and a zoom, in ascending order.")

    def identity(self) -> dict[str, Any]:
        """Return the options that decide the weights, as JSON has them. A run may continue with other values of the rest."""
        free = {"min_score", "zooms", "license", "about"}
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return {name: value for name, value in plain.items() if name not in free}
