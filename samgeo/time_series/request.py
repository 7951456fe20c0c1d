"""The arguments of `samgeo.change`: checked before any work, with all inputs opened."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.errors import OptionError
from samgeo.geo.coordinates.area_summary import describe_area
from samgeo.geo.coordinates.prompt_geometry import to_pixels
from samgeo.geo.raster.identity import identify
from samgeo.geo.vector.axes import describe_axes
from samgeo.geo.vector.outputs import check_asked, check_output
from samgeo.geo.vector.reading import check_fit
from samgeo.objects.pooling import check_describing
from samgeo.segmentation.options import (
    AutomaticOptions,
    CleaningOptions,
    ExecutionOptions,
    ModelOptions,
    ObjectOptions,
    ReadingOptions,
    WindowOptions,
)
from samgeo.segmentation.profile import refuse_other_processes
from samgeo.segmentation.run.part_folder import ABOUT
from samgeo.storage.locations import Place
from samgeo.storage.provenance import Identified, made_with, versions
from samgeo.storage.run_folder import plain_json
from samgeo.time_series.alignment import Aligned, align, check_max_shift
from samgeo.time_series.candidates import Layer, given_layers, read_layer
from samgeo.time_series.features import compared_channels
from samgeo.time_series.folder import FORMAT, KIND, ChangeFolder
from samgeo.time_series.table import RowCounts, no_objects
from samgeo.types import AoiLike, Json

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter

__all__ = [
    "DATES",
    "Opened",
    "check_options",
    "described_aoi",
    "described_inputs",
    "finds_classes",
    "given_options",
    "search_options",
    "told_options",
]

DATES = ("before", "after")
# Options of `samgeo.find` and of `samgeo.segment` that are passed on to them.
_COMMON = (
    *("model", "device", "dtype", "min_part", "min_hole", "min_area", "max_area", "aoi", "aoi_mode", "scheduler", "workers"),
    *("retry_failed", "progress"),
)
_OF_FINDING = ("what", "examples", "finder", "resolution", "zoom", "min_score", "flips")
_OF_SEGMENTING = ("points_per_side", "screen_points", "pred_iou", "stability", "scales")


def described_inputs(rasters: Mapping[str, Raster], model: Identified) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """Return what the manifest of a run says of its rasters, by their dates, of its model, and where the rasters are."""
    told = {date: one.provenance() for date, one in rasters.items()}
    about = {date: {"path": one.pop("path"), "files": one.pop("files", None)} for date, one in told.items()}
    inputs = {date: told[date] | identify(raster) for date, raster in rasters.items()}
    kind = {name: str(getattr(model, name, None)) for name in ("device", "dtype")}
    return inputs, {"name": model.name, "digest": model.digest, **kind}, about


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """The inputs of a call, opened and checked.

    Attributes
    ----------
    arguments : mapping
        The arguments of `change`.
    before : Raster
        The first raster.
    original : Raster
        The second raster on its own grid.
    aligned : Aligned
        The second raster on the grid of the first.
    model : Segmenter
        The model.
    layers : tuple of Layer
        The given objects: none, one for both dates, or two.
    """

    arguments: Mapping[str, Any]
    before: Raster
    original: Raster
    aligned: Aligned
    model: Segmenter
    layers: tuple[Layer, ...]

    @classmethod
    def of(
        cls, arguments: Mapping[str, Any], defaults: Mapping[str, Any], folder: ChangeFolder, output: Place | None
    ) -> Opened:
        """Check all arguments, cheap checks first, and open the inputs."""
        if not 0 < arguments["min_angle"] <= 180:
            raise OptionError(f"min_angle is {arguments['min_angle']}; give a number of degrees above 0, up to 180.")
        check_options(arguments, defaults)
        given = arguments["objects"]
        layers = () if given is None else given_layers(given)
        inputs = (arguments["before"], arguments["after"], arguments["aoi"], arguments["model"], *layers)
        overwrite = arguments["overwrite"] or (output is not None and folder.wrote(output))
        check_asked(output, overwrite=overwrite, layer=arguments["layer"], inputs=inputs)
        folder.check()
        reading = ReadingOptions.of(arguments)
        before, original = reading.open(arguments["before"]), reading.open(arguments["after"])
        if output is not None:
            crs = before.geobox.crs
            options: dict[str, Any] = {"crs": crs, "layer": arguments["layer"], "inputs": (*inputs, before, original)}
            check_output(output, overwrite, **options)
        model = ModelOptions.of(arguments).load()
        check_describing(model)
        limits = {name: arguments[name] for name in ("min_area", "max_area", "aoi")}
        names = ("the layer of objects",) if len(layers) == 1 else ("the objects before", "the objects after")
        read = tuple(read_layer(one, before, name, **limits) for one, name in zip(layers, names, strict=False))
        aligned = align(before, original, max_shift_px=arguments["max_shift_px"])
        opened = cls(arguments, before, original, aligned, model, read)
        if output is not None:
            empty = no_objects(before.geobox, classes=opened.finds_classes)
            check_fit(empty, output, layer=arguments["layer"], provenance=opened.provenance(RowCounts(), ((), ())))
        return opened

    @property
    def rasters(self) -> tuple[Raster, Raster]:
        """Both rasters on the grid of the first."""
        return self.before, self.aligned.raster

    @property
    def finds_classes(self) -> bool:
        """Whether objects of classes are found, in place of everything."""
        return finds_classes(self.arguments)

    def options(self) -> dict[str, Any]:
        """Return what decides the result, besides the inputs, as values for JSON."""
        channels = compared_channels(self.model)
        return told_options(self.arguments) | {
            "objects": [one.digest for one in self.layers],
            "min_angle": self.arguments["min_angle"],
            "max_shift_px": self.arguments["max_shift_px"],
            "channels": [channels.start, channels.stop],
            "aoi": described_aoi(self.arguments["aoi"], self.before),
        }

    def manifest(self) -> dict[str, Any]:
        """Return the manifest of the run."""
        inputs, model, about = described_inputs(dict(zip(DATES, (self.before, self.original), strict=True)), self.model)
        return plain_json(
            {
                "kind": KIND,
                "format": FORMAT,
                **inputs,
                "alignment": self.aligned.about(),
                "model": model,
                "options": self.options(),
                "versions": versions(),
                ABOUT: about,
            }
        )

    def provenance(self, counts: RowCounts, failures: tuple[Sequence[str], Sequence[str]]) -> dict[str, Any]:
        """Return what made the result, and its summary, as values for JSON."""
        above = None if math.isnan(counts.above_share) else counts.above_share
        unit = "px" if self.before.geobox.crs is None else "m2"
        told: dict[str, Any] = {
            **self.aligned.about(),
            "counts": counts.counts,
            f"changed_area_{unit}": counts.changed_area,
            "compared": counts.compared,
            "above_angle": above,
        }
        failed = {date: list(some) for date, some in zip(DATES, failures, strict=True) if some}
        return (
            made_with(self.model, self.before.provenance())
            | {"after": self.original.provenance(), "options": plain_json(self.options()), "change": told}
            | ({"failed_windows": failed} if failed else {})
            | describe_axes(self.before.geobox, y_up=self.arguments["y_up"])
        )


_NOT_DECIDING = {"model", "device", "dtype", "scheduler", "workers", "retry_failed", "progress", "aoi", "examples"}


def finds_classes(arguments: Mapping[str, Any]) -> bool:
    """Return whether objects of classes are found, in place of everything."""
    return any(arguments[name] is not None for name in ("what", "finder", "examples"))


def told_options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that decide which objects are found, as values for JSON."""
    names = [name for name in (*_COMMON, *_OF_FINDING, *_OF_SEGMENTING) if name not in _NOT_DECIDING]
    return {name: _plain(arguments[name]) for name in names}


def described_aoi(aoi: AoiLike, raster: Raster) -> dict[str, Any] | None:
    """Return a description of an area of interest as values for JSON; None if there is none."""
    return None if aoi is None else describe_area(to_pixels(aoi, raster.geobox, name=raster.name))


def _plain(value: object) -> Json:
    """Return an option as a value for JSON."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return {"name": str(getattr(value, "name", value)), "digest": str(getattr(value, "digest", ""))}


def check_options(arguments: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Check the values of the options that `change` and `track` share and that need no input."""
    for group in (AutomaticOptions, CleaningOptions, ObjectOptions, ExecutionOptions):
        group.of(arguments).check()
    if arguments["zoom"] is not None:
        WindowOptions().check_zoom(arguments["zoom"])
    check_max_shift(arguments["max_shift_px"])
    refuse_other_processes(arguments["scheduler"])

    finding = [name for name in given_options(arguments, defaults, _OF_FINDING) if name != "zoom"]
    is_finding = finds_classes(arguments)
    segmenting = given_options(arguments, defaults, _OF_SEGMENTING)
    if arguments["objects"] is not None:
        useless = [*finding, *segmenting, *given_options(arguments, defaults, ("min_part", "min_hole", "aoi_mode"))]
        if useless:
            raise OptionError(
                f"objects are given, so that nothing is searched; leave out {', '.join(useless)}, or the objects."
            )
    elif is_finding and segmenting:
        raise OptionError(f"{', '.join(segmenting)} belong to the segmentation of everything; leave them out, or {finding[0]}.")
    elif finding and not is_finding:
        raise OptionError(f'{", ".join(finding)} belong to objects of a class; give what, for example "building", or finder.')


def given_options(arguments: Mapping[str, Any], defaults: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return those of some options whose values are not their defaults."""

    def differs(value: object, default: object) -> bool:
        # Tables and arrays have no single answer to whether they equal something.
        is_plain = isinstance(value, bool | int | float | str | tuple | list)
        return bool(value != default) if is_plain else value is not default

    return [name for name in names if differs(arguments[name], defaults[name])]


def search_options(arguments: Mapping[str, Any], first: Raster, cache: Path | None) -> dict[str, Any]:
    """Return the arguments with which the objects of one date are searched; ``first`` is the raster of the first date."""
    options = {name: arguments[name] for name in _COMMON}
    # Both rasters are opened already, with the given bands and values.
    if not finds_classes(arguments):
        zoom = {} if arguments["zoom"] is None else {"zoom": arguments["zoom"]}
        return options | {name: arguments[name] for name in _OF_SEGMENTING} | zoom | {"cache": cache}
    options |= {name: arguments[name] for name in _OF_FINDING} | {"example_image": None, "layer": None, "y_up": False}
    options |= ReadingOptions().arguments()
    if arguments["examples"] is not None:
        options["example_image"] = first
    needs_zooms = arguments["zoom"] is None and first.geobox.crs is None
    return options | {"cache": None if needs_zooms else cache}
