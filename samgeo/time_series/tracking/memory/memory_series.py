"""The arguments of `samgeo.track` with memory: checked before any work, with all inputs opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from samgeo.errors import OptionError
from samgeo.geo.vector.reading import check_fit
from samgeo.models.hf.memory_checkpoint import load_sam2_memory
from samgeo.models.hf.sam2_memory import Sam2Memory
from samgeo.segmentation.options import CleaningOptions
from samgeo.segmentation.windows.zoom import check_zoom, fitting_window
from samgeo.time_series.alignment import check_max_shift
from samgeo.time_series.request import given_options
from samgeo.time_series.tracking.aligned_series import AlignedSeries, aligned_to_first, open_rasters
from samgeo.time_series.tracking.dated import dated_rasters
from samgeo.time_series.tracking.measuring import have_data
from samgeo.time_series.tracking.memory.memory_folder import FORMAT, KIND, MemoryFolder
from samgeo.time_series.tracking.memory.memory_rows import no_rows
from samgeo.time_series.tracking.memory.object_windows import ObjectWindow, windows_around
from samgeo.time_series.tracking.memory.prompted_objects import PromptedObject, digest_of, read_objects
from samgeo.time_series.tracking.rows import TrackSummary

if TYPE_CHECKING:
    from samgeo.storage.locations import Place

__all__ = ["MemorySeries", "check_without_memory"]

# Options of `track` that have no meaning for given objects which the memory follows.
_OF_SEARCHING = (
    *("what", "finder", "examples", "resolution", "min_score", "flips"),
    *("points_per_side", "screen_points", "pred_iou", "stability", "scales", "min_area", "max_area", "aoi", "aoi_mode"),
)
_OF_MATCHING = ("min_iou", "max_angle", "max_gap")
_OF_WORKERS = ("scheduler", "workers")
_OF_MEMORY = ("prompt_date", "as_boxes")


@dataclass(frozen=True, slots=True, eq=False)
class MemorySeries(AlignedSeries):
    """The inputs of a call with memory, opened and checked.

    Attributes
    ----------
    arguments, dates, originals, aligned
        See `AlignedSeries`.
    model : Sam2Memory
        The model.
    objects : tuple of PromptedObject
        The objects, in the order of their ids.
    windows : tuple of ObjectWindow
        The windows in which they are followed.
    """

    model: Sam2Memory
    objects: tuple[PromptedObject, ...]
    windows: tuple[ObjectWindow, ...]

    kind: ClassVar[str] = KIND
    format: ClassVar[int] = FORMAT

    @classmethod
    def of(
        cls, arguments: Mapping[str, Any], defaults: Mapping[str, Any], folder: MemoryFolder, output: Place | None
    ) -> MemorySeries:
        """Check all arguments, cheap checks first, and open the inputs."""
        _check(arguments, defaults)
        series = dated_rasters(arguments["rasters"], arguments["dates"])
        dates = tuple(one.date for one in series)
        originals = open_rasters(arguments, series, folder, output, (arguments["model"], arguments["objects"]))
        first = originals[0]
        how = {name: arguments[name] for name in ("prompt_date", "as_boxes")}
        objects = read_objects(arguments["objects"], first, dates, **how)
        model = load_sam2_memory(arguments["model"], device=arguments["device"], dtype=arguments["dtype"])
        zoom = arguments["zoom"]
        side = model.input_size if zoom in (None, 1) else fitting_window(zoom, model.input_size)
        windows = windows_around(objects, first.shape, side)
        aligned = aligned_to_first(originals, arguments["max_shift_px"])
        opened = cls(arguments, dates, originals, aligned, model, objects, windows)
        opened._check_data()
        if output is not None:
            nothing = TrackSummary(0, {}, 0, 0, (), first.geobox.crs is not None, (), output, None)
            check_fit(no_rows(first.geobox), output, layer=arguments["layer"], provenance=opened.provenance(nothing))
        return opened

    def options(self) -> dict[str, Any]:
        """Return what decides the result, besides the inputs, as values for JSON."""
        names = ("zoom", "as_boxes", "min_part", "min_hole", "max_shift_px")
        return {
            "memory": True,
            "objects": digest_of(self.objects),
            **{name: self.arguments[name] for name in names},
            "windows": [one.about() for one in self.windows],
        }

    def _check_data(self) -> None:
        """Check that the date on which each object is shown has data there."""
        for one in self.objects:
            raster = self.aligned[one.date].raster
            if not have_data(raster, [one.region])[0]:
                raise OptionError(
                    f"object {one.id} is shown on {self.labels[one.date]}, and more than half of its place has no data in "
                    f"{raster.name}; show it on another date."
                )


def check_without_memory(arguments: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raise an `OptionError` if an option is given that has a meaning only with memory."""
    if given := given_options(arguments, defaults, _OF_MEMORY):
        raise OptionError(f"{', '.join(given)} belong to memory; give memory=True (--memory), or leave them out.")


def _check(arguments: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Check the values of the options that need no input."""
    if given := given_options(arguments, defaults, _OF_SEARCHING):
        raise OptionError(f"with memory, given objects are followed and nothing is searched; leave out {', '.join(given)}.")
    if given := given_options(arguments, defaults, _OF_MATCHING):
        raise OptionError(
            f"with memory, objects are not matched, because the model follows them; leave out {', '.join(given)}."
        )
    if given := given_options(arguments, defaults, _OF_WORKERS):
        raise OptionError(f"with memory, dates are computed one after the other in this process; leave out {', '.join(given)}.")
    CleaningOptions.of(arguments).check()
    if arguments["zoom"] is not None:
        check_zoom(arguments["zoom"])
    check_max_shift(arguments["max_shift_px"])
