"""Rasters of several dates on the grid of the first: how they are opened, and how runs and results describe them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd

from samgeo.geo.vector.axes import describe_axes
from samgeo.geo.vector.outputs import check_asked, check_output
from samgeo.segmentation.options import ReadingOptions
from samgeo.segmentation.run.part_folder import ABOUT, PartFolder
from samgeo.storage.provenance import Identified, made_with, versions
from samgeo.storage.run_folder import plain_json
from samgeo.time_series.alignment import Aligned, align
from samgeo.time_series.request import described_inputs
from samgeo.time_series.tracking.dated import DatedRaster, label_of
from samgeo.time_series.tracking.rows import TrackSummary

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster
    from samgeo.storage.locations import Place

__all__ = ["AlignedSeries", "aligned_to_first", "open_rasters"]


@dataclass(frozen=True, slots=True, eq=False)
class AlignedSeries(ABC):
    """The rasters of a call, opened and checked, and its model.

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
    model : Identified
        The model.
    """

    arguments: Mapping[str, Any]
    dates: tuple[pd.Timestamp, ...]
    originals: tuple[Raster, ...]
    aligned: tuple[Aligned, ...]
    model: Identified

    kind: ClassVar[str]
    format: ClassVar[int]

    @property
    def first(self) -> Raster:
        """The raster of the first date, whose grid is used."""
        return self.originals[0]

    @property
    def labels(self) -> list[str]:
        """The dates as ISO text."""
        return [label_of(date) for date in self.dates]

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Return what decides the result, besides the inputs, as values for JSON."""

    def shifts(self) -> dict[str, Any]:
        """Return the shift of each date after the first as values for JSON."""
        return {label: dict(one.about()) for label, one in zip(self.labels[1:], self.aligned[1:], strict=True)}

    def manifest(self) -> dict[str, Any]:
        """Return the manifest of the run."""
        inputs, model, about = described_inputs(dict(zip(self.labels, self.originals, strict=True)), self.model)
        return plain_json(
            {
                "kind": self.kind,
                "format": self.format,
                "rasters": inputs,
                "alignment": self.shifts(),
                "model": model,
                "options": self.options(),
                "versions": versions(),
                ABOUT: about,
            }
        )

    def provenance(self, done: TrackSummary, also: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what made the result, and its summary with further entries, as values for JSON."""
        told: dict[str, Any] = {
            "dates": self.labels,
            "objects": done.objects,
            "counts": done.counts,
            "missed": done.missed,
            "unseen": done.unseen,
            "shifts": self.shifts(),
            **(also or {}),
        }
        return (
            made_with(self.model, self.first.provenance())
            | {"later": {label: one.provenance() for label, one in zip(self.labels[1:], self.originals[1:], strict=True)}}
            | {"options": plain_json(self.options()), "track": told}
            | ({"failed_windows": list(done.failures)} if done.failures else {})
            | describe_axes(self.first.geobox, y_up=self.arguments["y_up"])
        )


def open_rasters(
    arguments: Mapping[str, Any],
    series: Sequence[DatedRaster],
    folder: PartFolder,
    output: Place | None,
    inputs: Sequence[object],
) -> tuple[Raster, ...]:
    """Open the rasters of a series on their own grids, after checks of the output and the run folder.

    Parameters
    ----------
    arguments : mapping
        The arguments of `track`.
    series : sequence of DatedRaster
        The rasters as they were given.
    folder : PartFolder
        The run folder.
    output : Path, RemotePlace or None
        The output.
    inputs : sequence
        Other inputs, which the output must not replace.
    """
    given = (*(one.raster for one in series), *inputs)
    overwrite = arguments["overwrite"] or (output is not None and folder.wrote(output))
    check_asked(output, overwrite=overwrite, layer=arguments["layer"], inputs=given)
    folder.check()
    reading = ReadingOptions.of(arguments)
    originals = tuple(reading.open(one.raster) for one in series)
    if output is not None:
        crs = originals[0].geobox.crs
        options: dict[str, Any] = {"crs": crs, "layer": arguments["layer"], "inputs": (*given, *originals)}
        check_output(output, overwrite, **options)
    return originals


def aligned_to_first(originals: Sequence[Raster], max_shift_px: float) -> tuple[Aligned, ...]:
    """Return the raster of each date on the grid of the first; the first as it is."""
    first = originals[0]
    return (Aligned(first, None, False), *(align(first, one, max_shift_px=max_shift_px) for one in originals[1:]))
