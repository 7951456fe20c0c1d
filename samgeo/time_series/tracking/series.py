"""The arguments of `samgeo.track`: checked before any work, with all inputs opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from samgeo.errors import OptionError
from samgeo.geo.raster.identity import identify
from samgeo.geo.vector.axes import describe_axes
from samgeo.geo.vector.outputs import check_asked, check_output
from samgeo.geo.vector.reading import check_fit
from samgeo.objects.pooling import check_describing
from samgeo.segmentation.options import ModelOptions, ReadingOptions
from samgeo.segmentation.run.part_folder import ABOUT
from samgeo.storage.provenance import made_with, versions
from samgeo.storage.run_folder import plain_json
from samgeo.time_series.alignment import Aligned, align
from samgeo.time_series.candidates import Layer, read_layer
from samgeo.time_series.features import compared_channels
from samgeo.time_series.request import check_options, described_aoi, finds_classes, told_options
from samgeo.time_series.tracking.dated import dated_objects, dated_rasters, label_of
from samgeo.time_series.tracking.rows import Rows, TrackSummary, to_table
from samgeo.time_series.tracking.track_folder import FORMAT, KIND, TrackFolder

if TYPE_CHECKING:
    import geopandas as gpd

    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.storage.locations import Place

__all__ = ["OpenedSeries"]


@dataclass(frozen=True, slots=True, eq=False)
class OpenedSeries:
    """The inputs of a call, opened and checked.

    Attributes
    ----------
    arguments : mapping
        The arguments of `track`.
    dates : tuple of Timestamp
        The dates, in ascending order.
    originals : tuple of Raster
        The raster of each date on its own grid.
    aligned : tuple of Aligned
        The raster of each date on the grid of the first; the first as it is.
    model : Segmenter
        The model.
    layers : tuple of Layer
        The given objects: none, one for all dates, or one for each date.
    """

    arguments: Mapping[str, Any]
    dates: tuple[pd.Timestamp, ...]
    originals: tuple[Raster, ...]
    aligned: tuple[Aligned, ...]
    model: Segmenter
    layers: tuple[Layer, ...]

    @classmethod
    def of(
        cls, arguments: Mapping[str, Any], defaults: Mapping[str, Any], folder: TrackFolder, output: Place | None
    ) -> OpenedSeries:
        """Check all arguments, cheap checks first, and open the inputs."""
        _check(arguments)
        check_options(arguments, defaults)
        series = dated_rasters(arguments["rasters"], arguments["dates"])
        layers = dated_objects(arguments["objects"], series)
        inputs = (*(one.raster for one in series), arguments["aoi"], arguments["model"], *layers)
        overwrite = arguments["overwrite"] or (output is not None and folder.wrote(output))
        check_asked(output, overwrite=overwrite, layer=arguments["layer"], inputs=inputs)
        folder.check()
        reading = ReadingOptions.of(arguments)
        originals = tuple(reading.open(one.raster) for one in series)
        first = originals[0]
        if output is not None:
            options: dict[str, Any] = {"crs": first.geobox.crs, "layer": arguments["layer"], "inputs": (*inputs, *originals)}
            check_output(output, overwrite, **options)
        model = ModelOptions.of(arguments).load()
        check_describing(model)
        limits = {name: arguments[name] for name in ("min_area", "max_area", "aoi")}
        labels = [label_of(one.date) for one in series]
        names = ["the layer of objects"] if len(layers) == 1 else [f"the objects of {label}" for label in labels]
        read = tuple(read_layer(one, first, name, **limits) for one, name in zip(layers, names, strict=False))
        aligned = [Aligned(first, None, False)]
        aligned += [align(first, one, max_shift_px=arguments["max_shift_px"]) for one in originals[1:]]
        opened = cls(arguments, tuple(one.date for one in series), originals, tuple(aligned), model, read)
        if output is not None:
            empty = opened.no_rows()
            nothing = TrackSummary(0, {}, 0, 0, (), first.geobox.crs is not None, (), output, None)
            check_fit(empty, output, layer=arguments["layer"], provenance=opened.provenance(nothing))
        return opened

    @property
    def first(self) -> Raster:
        """The raster of the first date, whose grid is used."""
        return self.originals[0]

    @property
    def labels(self) -> list[str]:
        """The dates as ISO text."""
        return [label_of(date) for date in self.dates]

    @property
    def finds_classes(self) -> bool:
        """Whether objects of classes are found."""
        return finds_classes(self.arguments)

    def no_rows(self) -> gpd.GeoDataFrame:
        """Return a table with the right columns and no rows."""
        nothing = Rows.none(self.dates[0], classes=self.finds_classes)
        return to_table(nothing, np.empty(0, dtype=object), self.first.geobox)

    def options(self) -> dict[str, Any]:
        """Return what decides the result, besides the inputs, as values for JSON."""
        channels = compared_channels(self.model)
        names = ("min_iou", "max_angle", "max_gap", "max_shift_px")
        return told_options(self.arguments) | {
            "objects": [one.digest for one in self.layers],
            **{name: self.arguments[name] for name in names},
            "channels": [channels.start, channels.stop],
            "aoi": described_aoi(self.arguments["aoi"], self.first),
        }

    def shifts(self) -> dict[str, Any]:
        """Return the shift of each date after the first as values for JSON."""
        return {label: dict(one.about()) for label, one in zip(self.labels[1:], self.aligned[1:], strict=True)}

    def manifest(self) -> dict[str, Any]:
        """Return the manifest of the run."""
        told = {label: one.provenance() for label, one in zip(self.labels, self.originals, strict=True)}
        about = {label: {"path": one.pop("path"), "files": one.pop("files", None)} for label, one in told.items()}
        inputs = {label: one | identify(raster) for (label, one), raster in zip(told.items(), self.originals, strict=True)}
        model = {"name": self.model.name, "digest": self.model.digest, "device": str(getattr(self.model, "device", None)),
                 "dtype": str(getattr(self.model, "dtype", None))}  # fmt: skip
        return plain_json(
            {
                "kind": KIND,
                "format": FORMAT,
                "rasters": inputs,
                "alignment": self.shifts(),
                "model": model,
                "options": self.options(),
                "versions": versions(),
                ABOUT: about,
            }
        )

    def provenance(self, done: TrackSummary) -> dict[str, Any]:
        """Return what made the result, and its summary, as values for JSON."""
        told: dict[str, Any] = {
            "dates": self.labels,
            "objects": done.objects,
            "counts": done.counts,
            "missed": done.missed,
            "unseen": done.unseen,
            "shifts": self.shifts(),
        }
        return (
            made_with(self.model, self.first.provenance())
            | {"later": {label: one.provenance() for label, one in zip(self.labels[1:], self.originals[1:], strict=True)}}
            | {"options": plain_json(self.options()), "track": told}
            | ({"failed_windows": list(done.failures)} if done.failures else {})
            | describe_axes(self.first.geobox, y_up=self.arguments["y_up"])
        )


def _check(arguments: Mapping[str, Any]) -> None:
    """Check the values of the options that only tracking has."""
    if not 0.1 <= arguments["min_iou"] < 1:
        raise OptionError(f"min_iou is {arguments['min_iou']}; give a number from 0.1 to below 1.")
    if not 0 <= arguments["max_angle"] <= 180:
        raise OptionError(f"max_angle is {arguments['max_angle']}; give a number of degrees from 0 to 180.")
    if arguments["max_gap"] < 0:
        raise OptionError(f"max_gap is {arguments['max_gap']}; give the largest number of dates, which is 0 or more.")
    objects: Sequence[object] | object = arguments["objects"]
    if isinstance(objects, list | tuple | Mapping) and not len(objects):
        raise OptionError("objects is empty; leave it out to search for objects, or give a layer.")
