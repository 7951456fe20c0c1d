"""The arguments of `samgeo.track`: checked before any work, with all inputs opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from samgeo.errors import OptionError
from samgeo.geo.vector.reading import check_fit
from samgeo.objects.pooling import check_describing
from samgeo.segmentation.options import ModelOptions
from samgeo.time_series.candidates import Layer, read_layer
from samgeo.time_series.features import compared_channels
from samgeo.time_series.request import check_options, described_aoi, finds_classes, told_options
from samgeo.time_series.tracking.aligned_series import AlignedSeries, aligned_to_first, open_rasters
from samgeo.time_series.tracking.dated import dated_objects, dated_rasters, label_of
from samgeo.time_series.tracking.rows import Rows, TrackSummary, to_table
from samgeo.time_series.tracking.track_folder import FORMAT, KIND, TrackFolder

if TYPE_CHECKING:
    import geopandas as gpd

    from samgeo.models.protocols import Segmenter
    from samgeo.storage.locations import Place

__all__ = ["OpenedSeries"]


@dataclass(frozen=True, slots=True, eq=False)
class OpenedSeries(AlignedSeries):
    """The inputs of a call that matches objects, opened and checked.

    Attributes
    ----------
    arguments, dates, originals, aligned
        See `AlignedSeries`.
    model : Segmenter
        The model.
    layers : tuple of Layer
        The given objects: none, one for all dates, or one for each date.
    """

    model: Segmenter
    layers: tuple[Layer, ...]

    kind: ClassVar[str] = KIND
    format: ClassVar[int] = FORMAT

    @classmethod
    def of(
        cls, arguments: Mapping[str, Any], defaults: Mapping[str, Any], folder: TrackFolder, output: Place | None
    ) -> OpenedSeries:
        """Check all arguments, cheap checks first, and open the inputs."""
        _check(arguments)
        check_options(arguments, defaults)
        series = dated_rasters(arguments["rasters"], arguments["dates"])
        layers = dated_objects(arguments["objects"], series)
        inputs = (arguments["aoi"], arguments["model"], *layers)
        originals = open_rasters(arguments, series, folder, output, inputs)
        first = originals[0]
        model = ModelOptions.of(arguments).load()
        check_describing(model)
        limits = {name: arguments[name] for name in ("min_area", "max_area", "aoi")}
        labels = [label_of(one.date) for one in series]
        names = ["the layer of objects"] if len(layers) == 1 else [f"the objects of {label}" for label in labels]
        read = tuple(read_layer(one, first, name, **limits) for one, name in zip(layers, names, strict=False))
        aligned = aligned_to_first(originals, arguments["max_shift_px"])
        opened = cls(arguments, tuple(one.date for one in series), originals, aligned, model, read)
        if output is not None:
            empty = opened.no_rows()
            nothing = TrackSummary(0, {}, 0, 0, (), first.geobox.crs is not None, (), output, None)
            check_fit(empty, output, layer=arguments["layer"], provenance=opened.provenance(nothing))
        return opened

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
