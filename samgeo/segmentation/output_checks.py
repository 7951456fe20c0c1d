"""Checks of the output of `samgeo.segment` and `samgeo.predict`, before any work and once the grid of the raster is known."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from samgeo.geo.label_outputs import check_labels_options, check_result, is_label_raster
from samgeo.geo.vector.axes import check_y_up
from samgeo.geo.vector.reading import check_asked, check_fit
from samgeo.storage.locations import Place, RemotePlace, as_place

if TYPE_CHECKING:
    import geopandas as gpd

    from samgeo.geo.raster.raster import Raster

__all__ = ["CheckedOutput"]


@dataclass(frozen=True, slots=True)
class CheckedOutput:
    """The output of a call, which passed the checks that need no opened input.

    Attributes
    ----------
    place : Path, RemotePlace or None
        The output; None if nothing is written.
    overwrite, layer, y_up
        See `samgeo.segment`.
    inputs : tuple
        The inputs of the call, none of which may be the output.
    """

    place: Place | None
    overwrite: bool
    layer: str | None
    y_up: bool
    inputs: tuple[object, ...]

    @classmethod
    def check(
        cls,
        output: str | os.PathLike[str] | RemotePlace | None,
        *,
        overwrite: bool,
        layer: str | None,
        y_up: bool,
        inputs: Iterable[object],
    ) -> CheckedOutput:
        """Check an output before any input is opened.

        Raises
        ------
        OptionError
            If ``layer`` or ``y_up`` has no meaning for the output.
        VectorError, StorageError
            If the output cannot be written, or is one of the inputs.
        """
        checked = cls(None if output is None else as_place(output), overwrite, layer, y_up, tuple(inputs))
        if checked.place is None:
            check_asked(None, overwrite=overwrite, layer=layer, inputs=checked.inputs)
        else:
            check_result(checked.place, overwrite=overwrite, layer=layer, inputs=checked.inputs)
        if checked.is_labels:
            check_labels_options(layer=layer, y_up=y_up)
        return checked

    @property
    def is_labels(self) -> bool:
        """Whether the output is a label raster."""
        return self.place is not None and is_label_raster(self.place)

    def check_raster(self, raster: Raster) -> None:
        """Check that the output can hold objects on the grid of a raster, and is none of the raster's files.

        Raises
        ------
        OptionError
            If ``y_up`` has no meaning for the output or the raster.
        VectorError, StorageError
            If the output cannot be written.
        """
        check_y_up(raster.geobox, self.y_up, self.place)
        if self.place is not None:
            crs, inputs = raster.geobox.crs, (*self.inputs, raster)
            check_result(self.place, overwrite=self.overwrite, crs=crs, layer=self.layer, inputs=inputs)

    def check_table(self, frame: gpd.GeoDataFrame, provenance: dict[str, Any]) -> None:
        """Check that the format of a vector file can hold a table with the columns of the result, and the provenance.

        Raises
        ------
        VectorError
            If it cannot.
        """
        if self.place is not None and not self.is_labels:
            check_fit(frame, self.place, layer=self.layer, provenance=provenance)
