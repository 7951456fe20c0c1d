"""Text finders: prompt sources whose classes are phrases."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import ModelError, OptionError
from samgeo.finding.detectors.source import BOX_NMS, MAX_BOX, DetectorSource
from samgeo.finding.text.loading import KNOWN, load_text_model, local_folder
from samgeo.finding.text.phrases import read_phrases
from samgeo.finding.text.sam3 import Exemplars, Sam3
from samgeo.finding.text.text_model import TextModel
from samgeo.geo.coordinates.prompt_geometry import read_boxes
from samgeo.geo.raster.raster import Raster
from samgeo.types import CRSLike, FeaturesLike, RasterLike

if TYPE_CHECKING:
    import torch

    from samgeo.finding.detectors.detection import Detections
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.proposals import Proposals, WindowView
    from samgeo.types import Embedding

__all__ = ["TextFinder", "load_text_finder"]

CLASS, LABEL = "class", "label"


class TextFinder(DetectorSource):
    """A prompt source whose classes are phrases; see `samgeo.finding.load_text_finder`, which makes one.

    Parameters
    ----------
    detector : TextModel
        The text model with its phrases and its least score.
    box_nms, max_box, classes
        See `samgeo.finding.DetectorSource`.
    exemplars : Exemplars, optional
        Boxes in raster pixels that show what the phrases mean. Only SAM 3 uses them.
    reference : Reference, optional
        From where the model was loaded. Worker processes then load it themselves; without it they get a copy of it.
    """

    @check_types
    def __init__(
        self,
        detector: TextModel,
        *,
        box_nms: float = BOX_NMS,
        max_box: float = MAX_BOX,
        classes: Sequence[str] | None = None,
        exemplars: Exemplars | None = None,
        reference: Reference | None = None,
    ) -> None:
        super().__init__(detector, min_score=detector.min_score, box_nms=box_nms, max_box=max_box, classes=classes)
        self.model, self.exemplars, self.reference = detector, exemplars, reference

    def __reduce__(self) -> tuple[object, ...]:
        made_from = self.model if self.reference is None else self.reference
        return _again, (made_from, self.min_score, self.box_nms, self.max_box, self.classes, self.exemplars)

    @property
    def digest(self) -> str:
        """Digest of the weights, the phrases in their order, the options, and the exemplars."""
        digest = super().digest
        if self.exemplars is None:
            return digest
        total = hashlib.sha256(digest.encode())
        for part in (self.exemplars.boxes, self.exemplars.positive, self.exemplars.classes):
            total.update(np.ascontiguousarray(part).tobytes())
        return total.hexdigest()[:16]

    @check_types
    def for_score(self, min_score: float) -> TextFinder:
        """Return this finder for a threshold of the scores of objects; both share their weights.

        The score of an object is the geometric mean of the score of its box and of the predicted IoU of its mask, and so at
        most the square root of the score of the box. Boxes with a lower score than so far are used if they can reach the
        threshold. An object whose mask the text model draws has the score that the text model gives it.
        """
        least = min_score if self.model.DRAWS_MASKS else min(self.min_score, min_score**2)
        return self._with(self.model.for_score(least), self.classes)

    @check_types
    def only(self, classes: Sequence[str]) -> TextFinder:
        """Return a finder of some of the phrases. All are asked together as before, because others change the scores."""
        return self._with(self.model, classes)

    def _with(self, model: TextModel, classes: Sequence[str]) -> TextFinder:
        return TextFinder(
            model,
            box_nms=self.box_nms,
            max_box=self.max_box,
            classes=classes,
            exemplars=self.exemplars,
            reference=self.reference,
        )

    def propose(self, model: Segmenter, embedding: Embedding, window: WindowView) -> tuple[Proposals, None]:
        """Propose what the text model finds in a window, with the exemplars that the window shows completely."""
        if self.exemplars is None or not isinstance(self.model, Sam3):
            return super().propose(model, embedding, window)
        shown = _Shown(self.model, _in_window(self.exemplars, window))
        source = DetectorSource(
            shown, min_score=self.min_score, box_nms=self.box_nms, max_box=self.max_box, classes=self.classes
        )
        return source.propose(model, embedding, window)


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """SAM 3 with the exemplars of one window, as a `Detector`."""

    model: Sam3
    exemplars: Exemplars

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def digest(self) -> str:
        return self.model.digest

    @property
    def classes(self) -> tuple[str, ...]:
        return self.model.classes

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        return self.model.detect(image, self.exemplars)


@dataclass(frozen=True, slots=True)
class Reference:
    """From where a text model was loaded, sent to worker processes, each of which loads it once.

    Attributes
    ----------
    source : str
        Name, address or folder of the model.
    phrases : tuple of str
        The phrases.
    device : str
        Where it computes.
    digest : str
        Digest of the model with its phrases.
    """

    source: str
    phrases: tuple[str, ...]
    device: str
    digest: str


# Without this lock, threads of a worker that start together would each load a model.
_loading = threading.Lock()


@lru_cache(maxsize=2)
def _load_once(reference: Reference) -> TextModel:
    model = load_text_model(reference.source, reference.phrases, device=reference.device)
    if model.digest != reference.digest:
        raise ModelError(
            f"the text finder {reference.source} has other files in this process than where the run was started; use the same "
            "files everywhere."
        )
    return model


def _again(  # noqa: PLR0917 - pickle gives them by position
    made_from: TextModel | Reference,
    min_score: float,
    box_nms: float,
    max_box: float,
    classes: tuple[str, ...],
    exemplars: Exemplars | None,
) -> TextFinder:
    """Make a finder in another process."""
    reference = made_from if isinstance(made_from, Reference) else None
    if isinstance(made_from, Reference):
        with _loading:
            model = _load_once(made_from)
    else:
        model = made_from
    return TextFinder(
        model.for_score(min_score),
        box_nms=box_nms,
        max_box=max_box,
        classes=classes,
        exemplars=exemplars,
        reference=reference,
    )


@check_types
def load_text_finder(
    source: str | Path,
    phrases: str | Sequence[str],
    *,
    min_score: float | None = None,
    box_nms: float = BOX_NMS,
    max_box: float | None = None,
    exemplars: FeaturesLike | None = None,
    image: RasterLike | None = None,
    crs: CRSLike = None,
    device: str | torch.device = "auto",
) -> TextFinder:
    """Load a text model as a finder of what phrases describe. This needs the extra ``hf``.

    `samgeo.find` calls this function if its ``finder`` is the name of a text model. Call it for the options that `samgeo.find`
    does not have, or to use one model for several rasters.

    Parameters
    ----------
    source : str or Path
        - "grounding-dino-tiny", "grounding-dino-base", "owlv2-base" or "sam3"; files that are not on this machine are
          downloaded from the Hugging Face hub. SAM 3 needs access, which its publisher grants.
        - ``hf://owner/name`` for a repository on the hub with a model of one of these kinds, MM-Grounding-DINO or LLMDet.
        - A folder with the files of such a repository, with weights in safetensors.
    phrases : str or sequence of str
        What to look for: noun phrases, separated by commas or as a sequence. They become the classes.
    min_score : float, optional
        Boxes, and masks of SAM 3, to which the text model gives a lower score are not used. The default is 0.25 for Grounding
        DINO and its relatives, 0.1 for OWLv2, and 0.5 for SAM 3.
    box_nms : float, default 0.6
        See `samgeo.finding.DetectorSource`.
    max_box : float, optional
        Boxes that cover a larger share of the window are left out. The default is 0.5, and 1 for SAM 3, which draws masks
        itself.
    exemplars : path, GeoDataFrame, GeoSeries or array-like of shape (N, 4), optional
        Features whose bounding boxes show what a phrase means, or x0, y0, x1, y1; only for SAM 3. The column ``class`` has
        their phrase, which may be missing if there is only one phrase. The column ``label`` has 1 for objects of the phrase,
        which is the default, and 0 for something else. A box has an effect in the windows that show it completely, and nowhere
        else.
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster, optional
        The raster of the exemplars, in which objects will be found.
    crs : anything that pyproj takes, or "pixels", optional
        CRS of exemplars that have none. That of the raster by default.
    device : str or torch.device, default "auto"
        See `samgeo.load_model`. The model computes in float32.

    Returns
    -------
    TextFinder

    Raises
    ------
    OptionError
        If there are no phrases, a phrase is too long for the model, or the exemplars do not fit.
    ModelError
        If the model cannot be downloaded, or transformers is missing or too old.
    CheckpointError
        If a folder has no text model, or a damaged one.

    Warns
    -----
    SamgeoWarning
        Before a download, with the licence of the model.

    Examples
    --------
    >>> from samgeo.errors import OptionError
    >>> from samgeo.finding import load_text_finder
    >>> try:
    ...     load_text_finder("grounding-dino-tiny", "solar panel, swimming pool, solar panel")
    ... except OptionError as error:
    ...     print(error)
    the phrase 'solar panel' is given twice; give each phrase once.
    """
    words = read_phrases(phrases)
    if min_score is not None and not 0 <= min_score <= 1:
        raise OptionError(f"min_score is {min_score}; give a number from 0 to 1.")
    shown = None if exemplars is None else _read_exemplars(exemplars, image, crs, words)
    folder = None if str(source) in KNOWN else local_folder(source)
    given = str(source) if folder is None else str(folder.resolve())
    model = load_text_model(given, words, min_score=min_score, device=device)
    if shown is not None and not isinstance(model, Sam3):
        raise OptionError(f"{source} does not read exemplars; leave them out, or use sam3.")
    share = (1.0 if isinstance(model, Sam3) else MAX_BOX) if max_box is None else max_box
    reference = Reference(given, words, str(model.device), model.digest)
    return TextFinder(model, box_nms=box_nms, max_box=share, exemplars=shown, reference=reference)


def _read_exemplars(features: FeaturesLike, image: RasterLike | None, crs: CRSLike, phrases: tuple[str, ...]) -> Exemplars:
    """Return exemplars in raster pixels."""
    if image is None:
        raise OptionError("exemplars need the raster that shows them; give image.")
    boxes, table = read_boxes(features, geobox=Raster.open(image).geobox, crs=crs)
    if not len(boxes):
        raise OptionError("there is no exemplar; give at least one box, or leave exemplars out.")
    names = None if table is None or CLASS not in table else [" ".join(str(name).split()) for name in table[CLASS]]
    if names is None:
        if len(phrases) > 1:
            raise OptionError(f"there are {len(phrases)} phrases; tell the phrase of each exemplar in a column {CLASS!r}.")
        names = [phrases[0]] * len(boxes)
    unknown = [name for name in names if name not in phrases]
    if unknown:
        raise OptionError(f"an exemplar is of class {unknown[0]!r}; the phrases are {', '.join(phrases)}.")
    labels = np.ones(len(boxes)) if table is None or LABEL not in table else table[LABEL].to_numpy(dtype=np.float64)
    if not np.isin(labels, (0, 1)).all():
        raise OptionError(f"the column {LABEL!r} of the exemplars has values other than 0 and 1; give these.")
    return Exemplars(
        boxes.astype(np.float32), labels.astype(bool), np.array([phrases.index(name) for name in names], dtype=np.int64)
    )


def _in_window(exemplars: Exemplars, window: WindowView) -> Exemplars:
    """Return the exemplars that a window shows completely, in pixels of its image."""
    rect, boxes = window.rect, exemplars.boxes
    inside = (boxes[:, :2] >= (rect.x0, rect.y0)).all(1) & (boxes[:, 2:] <= (rect.x1, rect.y1)).all(1)
    corner = np.array([rect.x0, rect.y0, rect.x0, rect.y0], dtype=np.float64)
    in_image = ((boxes[inside] - corner) / window.scale).astype(np.float32)
    return Exemplars(in_image, exemplars.positive[inside], exemplars.classes[inside])
