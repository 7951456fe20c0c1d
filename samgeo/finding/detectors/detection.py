"""What a detector is, and what it returns for one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import ModelError

__all__ = ["Detections", "Detector", "check_detections"]

# A score may exceed 1 by the rounding of half precision.
ROUNDING = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Objects that a detector found in one image, in any order.

    Attributes
    ----------
    boxes : ndarray of float32, shape (K, 4)
        x0, y0, x1, y1 in pixels of the image. Coordinates are continuous: the centre of the first pixel is (0.5, 0.5). Boxes
        may reach beyond the image.
    scores : ndarray of float32, shape (K,)
        From 0 to 1.
    classes : ndarray of int64, shape (K,)
        Number of the class of each box.
    logits : ndarray of float32, shape (K, h, w), optional
        Logits of masks over the whole image, if the detector draws masks itself. A pixel with a logit above 0 belongs to the
        object.

    Raises
    ------
    ModelError
        If the shapes do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.finding import Detections
    >>> found = Detections(np.float32([[0, 0, 8, 8], [4, 4, 9, 20]]), np.float32([0.9, 0.4]), np.array([0, 2]))
    >>> len(found), found[found.scores > 0.5].boxes.tolist()
    (2, [[0.0, 0.0, 8.0, 8.0]])
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    logits: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        shapes = (self.boxes.shape, self.scores.shape, self.classes.shape)
        count = len(self.boxes) if self.boxes.ndim else 0
        if shapes != ((count, 4), (count,), (count,)):
            raise ModelError(
                f"the boxes of a detector have shape {shapes[0]}, its scores {shapes[1]} and its classes {shapes[2]}; a "
                "detector returns (K, 4), (K,) and (K,)."
            )
        if self.logits is not None and (self.logits.ndim != 3 or len(self.logits) != count):
            raise ModelError(
                f"the mask logits of a detector have shape {self.logits.shape}; a detector returns ({count}, h, w)."
            )

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Detections:
        logits = None if self.logits is None else self.logits[rows]
        return Detections(self.boxes[rows], self.scores[rows], self.classes[rows], logits)

    @classmethod
    def none(cls) -> Detections:
        """Return no objects."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))


@runtime_checkable
class Detector(Protocol):
    """Something that finds objects in an image and returns their boxes.

    It must be possible to pickle it, because worker processes get a copy. Several threads may call ``detect`` at once.
    """

    @property
    def name(self) -> str:
        """Name of the detector, for provenance."""

    @property
    def digest(self) -> str:
        """A digest of everything that decides the boxes: a run is only continued with the same digest."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by number."""

    def detect(self, image: NDArray[np.uint8], /) -> Detections:
        """Find objects in one image.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, 3)
            RGB. All windows of a raster have the same size.

        Returns
        -------
        Detections
        """


def check_detections(found: Detections, detector: Detector) -> Detections:
    """Check the values that a detector returned, and return them with scores of at most 1.

    Raises
    ------
    ModelError
        If a box or a score is not finite, a score is not from 0 to 1, or a class has no name.
    """
    if not len(found):
        return found
    if not (np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()):
        raise ModelError(f"the detector {detector.name} returned a box or a score that is not finite; check its weights.")
    low, high = float(found.scores.min()), float(found.scores.max())
    if low < 0 or high > 1 + ROUNDING:
        raise ModelError(f"the detector {detector.name} returned scores from {low:g} to {high:g}; scores are from 0 to 1.")
    first, last = int(found.classes.min()), int(found.classes.max())
    if first < 0 or last >= len(detector.classes):
        wrong = first if first < 0 else last
        raise ModelError(
            f"the detector {detector.name} returned class number {wrong}, and it has {len(detector.classes)} class names; give "
            "a name for each class."
        )
    return Detections(found.boxes, np.minimum(found.scores, np.float32(1)), found.classes, found.logits)
