"""The accepted objects of a session as a table and as files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from samgeo.arguments import check_types
from samgeo.geo.vector.axes import check_y_up, describe_axes
from samgeo.geo.vector.reading import check_output, write_vectors
from samgeo.map.files.autosave import MEMBER
from samgeo.map.files.export import to_coco, to_frame, write_json
from samgeo.map.session_parts.core import SessionCore
from samgeo.map.state.values import State
from samgeo.storage.provenance import made_with

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["Exporting"]


class Exporting(SessionCore):
    """The part of a session that writes the accepted objects."""

    def to_frame(self) -> gpd.GeoDataFrame:
        """Return the objects, with the columns of `samgeo.map.files.export.to_frame`."""
        now = self.snapshot
        frame = to_frame(now.state.objects, self.predictor.raster.geobox)
        frame.attrs["samgeo"] = self._provenance(now.state, now.revision)
        return frame

    @check_types
    def export(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, layer: str | None = None, y_up: bool = False
    ) -> None:
        """Write the objects to a vector file, in the format that its suffix names.

        Parameters
        ----------
        path : path
        overwrite : bool, default False
            Whether an existing file may be replaced. In a GeoPackage only the layer is replaced; other layers and styles stay.
        layer : str, optional
            Name of the layer in a GeoPackage; by default the file's name without its suffix.
        y_up : bool, default False
            Whether y points up in the file, for a raster without georeference; see `samgeo.segment`.

        Raises
        ------
        SamgeoError
            If the file cannot be written, or is the raster itself.
        """
        raster = self.predictor.raster
        check_y_up(raster.geobox, y_up, path)
        check_output(path, overwrite, crs=raster.geobox.crs, layer=layer, inputs=(raster,))
        frame = self.to_frame()
        provenance = frame.attrs["samgeo"] | describe_axes(raster.geobox, y_up=y_up)
        write_vectors(frame, path, overwrite=overwrite, layer=layer, provenance=provenance)

    @check_types
    def export_coco(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the objects as COCO, polygons in pixel coordinates, to a ``.json`` file.

        Raises
        ------
        VectorError
            If the file cannot be written, or is the raster itself.
        """
        raster = self.predictor.raster
        write_json(to_coco(self.state.objects, raster, self.classes), path, overwrite=overwrite, inputs=(raster,))

    def _provenance(self, state: State, actions: int) -> dict[str, Any]:
        raster = self._answers.start.raster
        return {
            **made_with(state.weights or self._answers.start.model, raster.provenance()),
            **describe_axes(raster.geobox),
            MEMBER: {
                "session": self.id,
                "actions": actions,
                "next_id": state.next_id,
                "classes": list(state.class_list.names),
                "colors": dict(state.class_list.given),
                "run": self._run,
            },
        }
