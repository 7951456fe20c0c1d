"""A detector as a prompt source: its boxes in each window are the prompts of the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.finding.detectors.detection import Detections, Detector, check_detections
from samgeo.finding.detectors.onnx_detector import SUFFIX, OnnxDetector
from samgeo.segmentation.masks.nms import box_nms as suppress_boxes
from samgeo.segmentation.windows.proposals import Proposals, WindowView

if TYPE_CHECKING:
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.asking import Answers
    from samgeo.types import Embedding

__all__ = ["BOX_NMS", "MAX_BOX", "MIN_SCORE", "DetectorSource", "detector_source", "filled"]

MIN_SCORE, BOX_NMS, MAX_BOX = 0.25, 0.6, 0.5
# Two windows see an object at slightly different places. A box whose centre is outside the core by up to this share of its side
# is proposed too, so that no object on the border of two cores is lost; merging recognises it if both windows propose it.
SLACK = 0.1
# The distance that keeps a shifted point inside the core despite rounding, in raster pixels.
INSIDE = 0.01
# Narrower boxes, in pixels of the model's input, give no usable mask.
LEAST_SIDE = 2.0


class DetectorSource:
    """A prompt source that asks a detector in each window.

    Parts of a window without data are filled with the mean colour of the rest before the detector sees it. Boxes are clipped to
    the raster. If the detector draws masks itself, its masks are the objects; otherwise the model draws the object of each box.

    Parameters
    ----------
    detector : Detector
        Finds boxes in an image.
    min_score : float, default 0.25
        Boxes to which the detector gives a lower score are not used.
    box_nms : float, default 0.6
        Of two boxes of one class in one window whose IoU is higher, the one with the lower score is left out.
    max_box : float, default 0.5
        Boxes that cover a larger share of the window are left out, because detectors often return one large box around many
        small objects. 1 keeps all boxes.
    classes : sequence of str, optional
        Names of the classes that are kept. All classes by default.

    Raises
    ------
    OptionError
        If a number is not from 0 to 1, or the detector has no class of such a name.

    Examples
    --------
    >>> import numpy as np
    >>> import samgeo
    >>> from samgeo.finding import DetectorSource, detector_from
    >>> from samgeo.testing import Oracle, encode_ids
    >>> labels = np.zeros((96, 96), dtype=np.int32)
    >>> labels[10:30, 10:30] = 1
    >>> def bright(image):
    ...     rows, columns = np.nonzero(image[..., 0])
    ...     if not len(rows):
    ...         return [], [], []
    ...     return [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], [0.9], ["roof"]
    >>> source = DetectorSource(detector_from(bright, classes=["roof"]), max_box=1)
    >>> found = samgeo.find(encode_ids(labels), finder=source, model=Oracle(64), progress=False)
    >>> found[["class", "area_px"]].values.tolist()
    [['roof', 400.0]]
    """

    @check_types
    def __init__(
        self,
        detector: Detector,
        *,
        min_score: float = MIN_SCORE,
        box_nms: float = BOX_NMS,
        max_box: float = MAX_BOX,
        classes: Sequence[str] | None = None,
    ) -> None:
        for name, value in (("min_score", min_score), ("box_nms", box_nms), ("max_box", max_box)):
            if not 0 <= value <= 1:
                raise OptionError(f"{name} is {value}; give a number from 0 to 1.")
        names = tuple(detector.classes)
        kept = names if classes is None else tuple(classes)
        if unknown := [name for name in kept if name not in names]:
            raise OptionError(
                f"the detector {detector.name} has no class {unknown[0]!r}; its classes are {', '.join(names[:20])}"
                f"{', ...' if len(names) > 20 else ''}."
            )
        self.detector, self.classes = detector, tuple(dict.fromkeys(kept))
        self.min_score, self.box_nms, self.max_box = min_score, box_nms, max_box
        # The number here of each class of the detector; -1 if the class is not kept. Classes of one name become one class.
        self._numbers = np.array([self.classes.index(name) if name in kept else -1 for name in names], dtype=np.int64)

    @check_types
    def only(self, classes: Sequence[str]) -> DetectorSource:
        """Return a source of some of the classes, with the same detector and options."""
        return DetectorSource(
            self.detector, min_score=self.min_score, box_nms=self.box_nms, max_box=self.max_box, classes=classes
        )

    @property
    def name(self) -> str:
        """Name of the detector, for provenance."""
        return self.detector.name

    @property
    def digest(self) -> str:
        """Digest of the detector and of the options."""
        options = [self.detector.digest, self.min_score, self.box_nms, self.max_box, list(self.classes)]
        return hashlib.sha256(json.dumps(options).encode()).hexdigest()[:16]

    def propose(self, model: Segmenter, _embedding: Embedding, window: WindowView) -> tuple[Proposals, None]:
        """Propose the boxes of the detector; see `samgeo.finding.PromptSource`."""
        if window.image is None:
            raise OptionError("a detector needs the pixels of the window; give a WindowView with an image.")
        found = check_detections(self.detector.detect(filled(window)), self.detector)
        found = self._wanted(found)
        # The image and the input of the model show the same square.
        zoom = window.zoom * window.scale
        seen = np.array([window.size[1], window.size[0]], dtype=np.float64) * window.zoom
        boxes = found.boxes.astype(np.float64) * zoom
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = ((centres >= 0) & (centres < seen)).all(1)
        boxes = np.clip(boxes, 0, np.tile(seen, 2))
        sides = boxes[:, 2:] - boxes[:, :2]
        fits = inside & (sides >= LEAST_SIDE).all(1) & (sides.prod(1) <= self.max_box * model.input_size**2)
        rows = np.flatnonzero(fits)
        rows = rows[self._without_twins(boxes[rows], found.scores[rows], found.classes[rows])]
        found, boxes = found[rows], boxes[rows]
        points = _onto_core((boxes[:, :2] + boxes[:, 2:]) / 2, boxes, window)
        logits = None if found.logits is None else _at_most(found.logits, model.input_size)
        proposed = Proposals(boxes.astype(np.float32), points, found.scores.astype(np.float32), found.classes, logits)
        return proposed, None

    def score(
        self, _model: Segmenter, _embedding: Embedding, proposals: Proposals, answers: Answers, _evidence: object
    ) -> NDArray[np.float32]:
        """Return the geometric mean of the score of the detector and of the predicted IoU of the mask."""
        predicted = answers.predicted_iou.cpu().numpy().clip(0, 1)
        scores: NDArray[np.float32] = np.sqrt(proposals.scores * predicted).astype(np.float32)
        return scores

    def _wanted(self, found: Detections) -> Detections:
        """Return the detections with a sufficient score and a class that is kept, with the numbers of the classes kept."""
        numbers = self._numbers[found.classes] if len(found) else found.classes
        rows = (numbers >= 0) & (found.scores >= self.min_score)
        logits = None if found.logits is None else found.logits[rows]
        return Detections(found.boxes[rows], found.scores[rows], numbers[rows].astype(np.int64), logits)

    def _without_twins(
        self, boxes: NDArray[np.float64], scores: NDArray[np.float32], classes: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the boxes that overlap no better box of their class too much, by falling score."""
        kept = [np.empty(0, dtype=np.int64)]
        for kind in np.unique(classes):
            own = np.flatnonzero(classes == kind)
            kept.append(own[suppress_boxes(boxes[own], scores[own].astype(np.float64), self.box_nms)])
        rows = np.concatenate(kept)
        return rows[np.lexsort((rows, -scores[rows]))]


def detector_source(given: object, what: str | None, min_score: float | None) -> DetectorSource | None:
    """Return the source of the detector that a user gave as finder; None if it is something else.

    Parameters
    ----------
    given : object
        The path of an ONNX file, a detector, or a source of a detector.
    what : str or None
        Names of the classes that are kept, separated by commas; None for all.
    min_score : float or None
        The lowest score of an object, from which that of the boxes follows. It is not used for a source.
    """
    if isinstance(given, str | Path) and Path(given).suffix.lower() == SUFFIX:
        given = OnnxDetector(given, min_score=0.0)
    # The score of an object is at most the square root of the score of its box.
    box_score = MIN_SCORE if min_score is None else min(MIN_SCORE, min_score**2)
    source = DetectorSource(given, min_score=box_score) if isinstance(given, Detector) else given
    if not isinstance(source, DetectorSource):
        return None
    return source if what is None else source.only([name.strip() for name in what.split(",")])


def filled(window: WindowView) -> NDArray[np.uint8]:
    """Return the pixels of a window, shape (W, W, 3), with the mean colour of the rest where there is no data."""
    image = window.image
    if image is None:
        raise OptionError("the window has no pixels; give a WindowView with an image.")
    if window.valid.all() or not window.valid.any():
        return image
    whole = image.copy()
    whole[~window.valid] = np.round(image[window.valid].mean(0)).astype(np.uint8)
    return whole


def _onto_core(centres: NDArray[np.float64], boxes: NDArray[np.float64], window: WindowView) -> NDArray[np.float32]:
    """Return the centres; those that are a little outside the core of the window are moved onto its edge."""
    core = window.core
    low, high = (
        window.to_input(np.array([corner])).astype(np.float64)
        for corner in ((core.x0 + INSIDE, core.y0 + INSIDE), (core.x1 - INSIDE, core.y1 - INSIDE))
    )
    moved = np.clip(centres, low, high)
    near = np.abs(moved - centres) <= SLACK * (boxes[:, 2:] - boxes[:, :2])
    return np.where(near.all(1, keepdims=True), moved, centres).astype(np.float32)


def _at_most(logits: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return logits (K, h, w) that have at most ``side`` rows and columns; larger ones are reduced."""
    height, width = logits.shape[1:]
    if not len(logits) or max(height, width) <= side:
        return logits
    size = (min(height, side), min(width, side))
    reduced: NDArray[np.float32] = functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(logits))[:, None].float(), size=size, mode="area"
    )[:, 0].numpy()
    return reduced
