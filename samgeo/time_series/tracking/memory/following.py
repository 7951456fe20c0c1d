"""Following the objects of one window through all dates."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import shapely

from samgeo.errors import RasterError, StoppedError
from samgeo.geo.grid import Rect
from samgeo.models.hf.sam2_memory import FollowedObject, MemoryAnswer, MemoryPrompt, Sam2Memory
from samgeo.segmentation.masks.cleaning import drop_specks
from samgeo.segmentation.masks.mask import Mask, intersection_area
from samgeo.segmentation.masks.outline_prompts import drawn
from samgeo.segmentation.masks.upsample import masks_from_logits
from samgeo.segmentation.windows.automatic import resized
from samgeo.segmentation.windows.cut_edges import cut_pixels
from samgeo.segmentation.windows.embedding import WindowImage, read_square
from samgeo.segmentation.windows.failures import ATTEMPTS
from samgeo.time_series.comparison import LEAST_KNOWN
from samgeo.time_series.tracking.memory.object_windows import ObjectWindow
from samgeo.time_series.tracking.memory.prompted_objects import PromptedObject

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.hf.sam2_memory import DateFeatures

__all__ = ["ABSENT", "NO_DATA", "SEEN", "Cleaning", "Followed", "follow_window"]

_log = logging.getLogger(__name__)

# What became of an object at a date: it is there, the model says that it is absent, or its place has no data.
SEEN, ABSENT, NO_DATA = "seen", "absent", "no data"


@dataclass(frozen=True, slots=True)
class Cleaning:
    """The areas of the smallest parts and holes that are kept, in pixels of the model's input."""

    min_part: float
    min_hole: float


@dataclass(slots=True, eq=False)
class Followed:
    """What became of an object at each date.

    Attributes
    ----------
    states : list of str
        `SEEN`, `ABSENT` or `NO_DATA`, by number of the date.
    scores : list of float or None
        Object score of each date that was computed.
    masks : dict of int to Mask
        The object at the dates at which it is seen, in raster pixels.
    complete : dict of int to bool
        Whether no edge of the window can have cut the mask.
    """

    states: list[str]
    scores: list[float | None]
    masks: dict[int, Mask] = field(default_factory=dict)
    complete: dict[int, bool] = field(default_factory=dict)


def follow_window(
    rasters: Sequence[Raster],
    model: Sam2Memory,
    window: ObjectWindow,
    cleaning: Cleaning,
    *,
    step: Callable[[], object],
    stop: Callable[[], bool] | None = None,
) -> tuple[list[Followed], dict[int, str]]:
    """Follow the objects of a window through all dates, forwards from their date and then backwards.

    Each date is read and encoded once for all objects. At a date at which the place of an object has no data, the object is
    not computed, so that its memory does not change. Its place is its last mask in the direction of time, or what shows it.

    Parameters
    ----------
    rasters : sequence of Raster
        The raster of each date, on one grid.
    model : Sam2Memory
        The model.
    window : ObjectWindow
        The window and its objects.
    cleaning : Cleaning
        Which parts and holes of masks are removed.
    step : callable
        Called after each date.
    stop : callable, optional
        Returns True to stop.

    Returns
    -------
    list of Followed
        For each object.
    dict of int to str
        Why the window could not be read, by number of the date. Objects have no data then.

    Raises
    ------
    StoppedError
        If ``stop`` returned true.
    ModelError
        If memory runs out.
    """
    date = window.date
    tracks = [_Track.of(model, one, window, rasters, cleaning) for one in window.objects]
    found = [one.found for one in tracks]
    failures: dict[int, str] = {}
    for numbers in (range(date, len(rasters)), range(date - 1, -1, -1)):
        for track in tracks:
            track.turn_to(date)
        for number in numbers:
            if stop is not None and stop():
                raise StoppedError("the run was asked to stop; finished windows are kept. Run the same call again to continue.")
            image = _read(rasters[number], window)
            if isinstance(image, WindowImage):
                _add(tracks, number, image)
            else:
                failures[number] = image
                if number == date:
                    return found, failures
            step()
    return found, failures


def _add(tracks: Sequence[_Track], date: int, image: WindowImage) -> None:
    """Compute the objects at a date, which is encoded once if it shows the place of one of them."""
    features: DateFeatures | None = None
    for track in tracks:
        # Without the date of the prompt the model has no memory at all. That it has data was checked before.
        if date == track.window.date or track.has_data(image):
            features = _encode(track.model, image) if features is None else features
            track.add(date, features, image)


@dataclass(slots=True, eq=False)
class _Track:
    """An object while it is followed."""

    model: Sam2Memory
    followed: FollowedObject
    window: ObjectWindow
    cleaning: Cleaning
    frame: Rect
    found: Followed
    start: Mask
    place: Mask

    @classmethod
    def of(
        cls, model: Sam2Memory, one: PromptedObject, window: ObjectWindow, rasters: Sequence[Raster], cleaning: Cleaning
    ) -> _Track:
        rect, scale, dates, (height, width) = window.rect, window.scale, len(rasters), rasters[0].shape
        # The raster in pixels from the corner of the window. The last pixels of a coarse window may reach beyond it.
        frame = Rect(0, 0, width - rect.x0, height - rect.y0)
        region = shapely.transform(one.region, lambda xy: xy - (rect.x0, rect.y0))
        cells = drawn(region, rect.width, rect.width // scale)
        place = Mask.from_array(cells).scaled(scale).shift(rect.x0, rect.y0)
        followed = model.follow(dates, window.date, _prompt(model, one, region, window))
        found = Followed([NO_DATA] * dates, [None] * dates)
        return cls(model, followed, window, cleaning, frame, found, place, place)

    def turn_to(self, date: int) -> None:
        """Start at the mask of a date, or at what shows the object if it has no mask there."""
        self.place = self.found.masks.get(date, self.start)

    def has_data(self, image: WindowImage) -> bool:
        """Whether a date has data in at least half of the place of the object."""
        if image.valid.all():
            return True
        known = Mask.from_array(np.ascontiguousarray(image.valid)).scaled(self.window.scale)
        known = known.shift(self.window.rect.x0, self.window.rect.y0)
        return intersection_area(known, self.place) >= LEAST_KNOWN * self.place.area

    def add(self, date: int, features: DateFeatures, image: WindowImage) -> None:
        """Compute the object at a date."""
        answer = self.followed.answer(date, features, backwards=date < self.window.date)
        self.found.scores[date] = answer.score
        self.found.states[date] = ABSENT
        mask = self._mask(answer, image) if answer.is_present else None
        if mask is None or mask.is_empty:
            return
        (cut,) = cut_pixels([mask], image.known, scale=self.window.scale)
        self.found.states[date] = SEEN
        self.found.complete[date] = cut.is_empty
        self.found.masks[date] = self.place = mask.shift(self.window.rect.x0, self.window.rect.y0)

    def _mask(self, answer: MemoryAnswer, image: WindowImage) -> Mask | None:
        """Return the mask of an answer in pixels from the corner of the window; None if it has no pixel with data."""
        scale, side = self.window.scale, self.window.rect.width
        cells = side // scale
        drawing = masks_from_logits(answer.logits[None], input_size=self.model.input_size, window=cells, size=image.size).masks
        if not drawing:
            return None
        mask = drawing[0] if image.valid.all() else drawing[0] & Mask.from_array(np.ascontiguousarray(image.valid))
        pixel = cells / self.model.input_size
        (mask,) = drop_specks([mask], [self.cleaning.min_part * pixel**2], [self.cleaning.min_hole * pixel**2])
        return mask.scaled(scale).clip(self.frame)


def _prompt(model: Sam2Memory, one: PromptedObject, region: shapely.Geometry, window: ObjectWindow) -> MemoryPrompt:
    """Return what shows an object in the model's input; ``region`` is in raster pixels from the corner of the window."""
    side = window.rect.width
    if one.points is None or one.labels is None:
        return MemoryPrompt(mask=drawn(region, side, model.input_size))
    points = one.points - (window.rect.x0, window.rect.y0)
    # Points on the background may lie outside the window, which the foreground points determine.
    inside = ((points >= 0) & (points <= side)).all(axis=1)
    zoomed = (points[inside] * (model.input_size / side)).astype(np.float32)
    return MemoryPrompt(points=zoomed, labels=one.labels[inside])


def _read(raster: Raster, window: ObjectWindow) -> WindowImage | str:
    """Read a window; return why it cannot be read after some attempts."""
    fault = ""
    for _ in range(ATTEMPTS):
        try:
            return read_square(raster, window.rect, window.scale)
        except RasterError as error:
            fault = str(error)
            _log.warning("A window at %s of %s cannot be read: %s", window.rect, raster.name, fault)
    return fault


def _encode(model: Sam2Memory, window: WindowImage) -> DateFeatures:
    """Encode a window as all models of images do it."""
    image, size = window.image, window.size
    if len(image) != model.input_size:
        image, size = resized(image, size, model.input_size)
    return model.encode(image, size)
