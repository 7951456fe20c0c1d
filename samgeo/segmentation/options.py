"""Groups of the options that the public functions of segmentation share.

The functions have explicit keyword arguments, and their bodies collect these into groups with `OptionGroup.of`. The docstring
of `samgeo.segment` describes every option.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from samgeo.errors import OptionError
from samgeo.geo.grid import Lattice
from samgeo.geo.raster.raster import Raster
from samgeo.models.registry import MASK_NMS, load_model
from samgeo.segmentation.execution.tasks import check_scheduler, computes_here
from samgeo.segmentation.masks.cleaning import MIN_HOLE, MIN_PART, check_region_sizes
from samgeo.segmentation.masks.nms import check_mask_nms
from samgeo.segmentation.masks.piece import MERGE_IOU
from samgeo.segmentation.windows.embedding import check_fresh
from samgeo.segmentation.windows.store import EmbeddingStore
from samgeo.segmentation.windows.worker import ModelReference, reference_to
from samgeo.segmentation.windows.zoom import check_zoom, fitting_window
from samgeo.types import AoiLike, BandsLike, RasterLike, StretchLike

if TYPE_CHECKING:
    import torch
    from distributed import Client

    from samgeo.models.protocols import Segmenter

__all__ = [
    "AutomaticOptions",
    "CleaningOptions",
    "ExecutionOptions",
    "ModelOptions",
    "ObjectOptions",
    "OptionGroup",
    "OutputOptions",
    "ReadingOptions",
    "WindowOptions",
]

# How to treat objects that cross the edge of the area of interest.
AOI_MODES = ("whole", "clip")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionGroup:
    """Base class of the groups. The fields of a group have the names and defaults of keyword arguments of public functions."""

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """Return the group with values from the arguments of a function.

        Parameters
        ----------
        arguments : mapping of str to object
            Arguments by name, such as ``locals()`` in the first line of a function. Arguments of other groups are left out. An
            option that the function does not have keeps its default.
        """
        return cls(**{one.name: arguments[one.name] for one in fields(cls) if one.name in arguments})

    def arguments(self) -> dict[str, Any]:
        """Return the options as keyword arguments for a function that has all of them."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions(OptionGroup):
    """How the pixels of a raster are read; see `samgeo.segment`."""

    bands: BandsLike = None
    stretch: StretchLike = None
    nodata: float | str | None = None
    alpha: int | str | None = None
    invented: str | None = None

    def open(self, image: RasterLike, *, check: bool = True) -> Raster:
        """Open a raster; ``check`` is described in `samgeo.Raster.open`."""
        return Raster.open(image, check=check, **self.arguments())


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions(OptionGroup):
    """The model, its device and its number type; see `samgeo.segment`."""

    model: str | Path | Segmenter = "tiny"
    device: str | torch.device = "auto"
    dtype: str = "auto"

    def load(self) -> Segmenter:
        """Return the loaded model."""
        return load_model(self.model, device=self.device, dtype=self.dtype)

    def reference(self, loaded: Segmenter) -> Segmenter | ModelReference:
        """Return the loaded model in the form in which it is sent to other processes."""
        return reference_to(self.model, loaded, self.device, self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOptions(OptionGroup):
    """The windows of scale 1, and the store of embeddings; see `samgeo.segment`."""

    window: int | None = None
    overlap: int | None = None
    cache: str | os.PathLike[str] | None = None

    def store(self, raster: Raster, model: Segmenter, scales: Iterable[int] = ()) -> EmbeddingStore | None:
        """Return the opened store, or None if the embeddings are not stored.

        Parameters
        ----------
        raster : Raster
            The raster.
        model : Segmenter
            The model.
        scales : iterable of int, optional
            Coarser scales whose windows are compared with the raster, besides scale 1; see `check_fresh`.

        Raises
        ------
        OptionError
            If the store was made from something else.
        """
        if self.cache is None:
            return None
        store = EmbeddingStore.open_or_create(self.cache, raster, model, window=self.window, overlap=self.overlap)
        check_fresh(raster, store, scales)
        return store

    def check_zoom(self, zoom: float) -> None:
        """Raise an `OptionError` if a zoom is invalid, or both the zoom and the window are given."""
        check_zoom(zoom)
        if zoom != 1 and self.window is not None:
            raise OptionError(f"window is {self.window} and zoom is {zoom:g}; give one of them: a zoom sets the window.")

    def at_zoom(self, zoom: float, model: Segmenter) -> Self:
        """Return these options with the window of a zoom; unchanged for a zoom of 1.

        Raises
        ------
        OptionError
            If the zoom is too high for the model.
        """
        return self if zoom == 1 else replace(self, window=fitting_window(zoom, model.input_size))

    def lattice(self, raster: Raster, model: Segmenter) -> Lattice:
        """Return the lattice of windows that is used without a store."""
        side = model.input_size if self.window is None else self.window
        return Lattice(raster.shape, side, side // 8 * 2 if self.overlap is None else self.overlap)


@dataclass(frozen=True, slots=True, kw_only=True)
class AutomaticOptions(OptionGroup):
    """The points of automatic segmentation and the thresholds of its masks; see `samgeo.segment`."""

    scales: Sequence[int] = (1,)
    points_per_side: int | None = None
    screen_points: bool = True
    pred_iou: float | None = None
    stability: float | None = None
    mask_nms: float | None = MASK_NMS

    def check(self) -> None:
        """Raise an `OptionError` if an option is invalid. Scales are checked where they are used."""
        if self.points_per_side is not None and self.points_per_side < 1:
            raise OptionError(f"points_per_side is {self.points_per_side}; give 1 or more.")
        for name in ("pred_iou", "stability"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise OptionError(f"{name} is {share}; give a number from 0 to 1.")
        check_mask_nms(self.mask_nms)

    def refuse(self, what: str) -> None:
        """Raise an `OptionError` if an option is given that has no meaning beside the option ``what``."""
        for one in fields(self):
            if getattr(self, one.name) != one.default:
                raise OptionError(f"{one.name} belongs to automatic segmentation and not to {what}; leave one of the two out.")

    def thresholds(self) -> dict[str, Any]:
        """Return what replaces the gates of the model: the given thresholds, and ``screen_points`` and ``mask_nms`` always."""
        given = {name: getattr(self, name) for name in ("points_per_side", "pred_iou", "stability")}
        always = {"screen_points": self.screen_points, "mask_nms": self.mask_nms}
        return {name: value for name, value in given.items() if value is not None} | always


@dataclass(frozen=True, slots=True, kw_only=True)
class CleaningOptions(OptionGroup):
    """Sizes below which parts and holes of objects are removed; see `samgeo.segment`."""

    min_part: float = MIN_PART
    min_hole: float = MIN_HOLE

    def check(self) -> None:
        """Raise an `OptionError` if an option is invalid."""
        check_region_sizes(self.min_part, self.min_hole)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectOptions(OptionGroup):
    """How pieces are merged, and which objects are kept; see `samgeo.segment`."""

    merge_iou: float = MERGE_IOU
    min_area: float = 0.0
    max_area: float = math.inf
    aoi: AoiLike = None
    aoi_mode: str = AOI_MODES[0]

    @property
    def clips(self) -> bool:
        """Whether objects are clipped to the area of interest."""
        return self.aoi_mode == "clip" and self.aoi is not None

    def check(self) -> None:
        """Raise an `OptionError` if an option is invalid."""
        if not 0 < self.merge_iou <= 1:
            raise OptionError(f"merge_iou is {self.merge_iou}; give a number above 0, up to 1.")
        if not 0 <= self.min_area <= self.max_area:
            raise OptionError(f"min_area is {self.min_area} and max_area {self.max_area}; give 0 <= min_area <= max_area.")
        if self.aoi_mode not in AOI_MODES:
            raise OptionError(f"aoi_mode is {self.aoi_mode!r}; give one of {', '.join(AOI_MODES)}.")
        if self.aoi_mode != AOI_MODES[0] and self.aoi is None:
            raise OptionError(
                f"aoi_mode is {self.aoi_mode!r}, and there is no area of interest; give aoi, or leave aoi_mode away."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionOptions(OptionGroup):
    """Where tasks are computed, and whether their progress is shown; see `samgeo.segment`."""

    scheduler: str | Client | None = None
    workers: int | None = None
    progress: bool = True

    @property
    def is_here(self) -> bool:
        """Whether tasks are computed in this process."""
        return computes_here(self.scheduler)

    def check(self) -> None:
        """Raise an `OptionError` if an option is invalid."""
        if self.workers is not None and self.workers < 1:
            raise OptionError(f"workers is {self.workers}; give 1 or more.")
        check_scheduler(self.scheduler)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions(OptionGroup):
    """How an output is written, and the run folder that keeps finished work; see `samgeo.segment`."""

    run_dir: str | os.PathLike[str] | None = None
    retry_failed: bool = False
    overwrite: bool = False
    layer: str | None = None
    y_up: bool = False
