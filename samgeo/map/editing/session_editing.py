"""The part of a session that splits and merges objects, and that asks for masks without corrections."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.geo.coordinates.prompt_geometry import read_boxes, read_points
from samgeo.map.editing.masks_at import masks_at
from samgeo.map.editing.parts import place_line, split_polygon, united
from samgeo.map.session_parts.core import SessionCore
from samgeo.map.state.actions import AddPoint, MergeObjects, Propose, SetBox, Split
from samgeo.map.state.reducer import Prompt, cleaned

if TYPE_CHECKING:
    from samgeo.map.state.live_state import Snapshot
    from samgeo.map.state.reducer import Offer, State
    from samgeo.types import BoxesLike, CRSLike, PointsLike

__all__ = ["SessionEditing"]


class SessionEditing(SessionCore):
    """Methods of `samgeo.map.Session` that change the shapes of objects, and that ask for masks without corrections."""

    @check_types
    def split(self, id: int, line: shapely.Geometry, *, crs: CRSLike = None) -> Snapshot:  # noqa: A002 - the field's word
        """Split an object along a line. The largest piece keeps the id, and all pieces keep the class.

        Pieces of less than one pixel stay with their neighbour. Parts of a multipolygon that the line does not divide stay
        with the largest piece. The model's scores are removed, because they belong to the old outline.

        Parameters
        ----------
        id : int
            The object.
        line : LineString
            The line. It divides the object where it crosses it from edge to edge.
        crs : anything that pyproj takes, or "pixels", optional
            CRS of the line. That of the raster by default.

        Raises
        ------
        OptionError
            If there is no such object, or the line does not divide it.
        VectorError
            If ``line`` is not a line.
        """
        geobox = self._answers.start.raster.geobox
        placed = place_line(line, geobox, crs)
        return self._live.do(lambda state: Split(id, split_polygon(state.object(id).geometry, placed, geobox)))

    @check_types
    def merge(self, ids: list[int] | tuple[int, ...]) -> Snapshot:
        """Merge objects into one with their union. The first keeps its id and its class, and the others are removed.

        Objects that do not touch become the parts of a multipolygon. The model's scores are removed, because they belong to
        the old outlines.

        Parameters
        ----------
        ids : sequence of int
            Two objects or more.

        Raises
        ------
        OptionError
            If there are fewer than two different objects, or one does not exist.
        """
        geobox, numbers = self._answers.start.raster.geobox, tuple(ids)

        def make(state: State) -> MergeObjects:
            return MergeObjects(numbers, united([state.object(number).geometry for number in numbers], geobox))

        if len(set(numbers)) != len(numbers) or len(numbers) < 2:
            raise OptionError(f"the objects to merge are {ids}; give the ids of two different objects or more.")
        return self._live.do(make)

    @check_types
    def propose_at(
        self,
        points: PointsLike = None,
        boxes: BoxesLike = None,
        *,
        crs: CRSLike = None,
        class_name: str | None = None,
    ) -> Snapshot:
        """Ask the model for the object at each point, or in each box, and add the masks as proposals.

        A mask is left out if an object or a proposal is there already, with an IoU of 0.5 or more. The ``action`` of the
        snapshot counts these, and the points and boxes at which nothing was found. The call is one action, which undo takes
        back. The open prompt stays as it is.

        Parameters
        ----------
        points : array-like of shape (N, 2), path, GeoDataFrame or GeoSeries, optional
            x and y: one click on each object.
        boxes : array-like of shape (N, 4), path, GeoDataFrame or GeoSeries, optional
            x0, y0, x1, y1: one box around each object.
        crs : anything that pyproj takes, or "pixels", optional
            CRS of arrays. That of the raster by default.
        class_name : str, optional
            Class of the proposals. By default it is given on acceptance.

        Raises
        ------
        OptionError
            If neither points nor boxes are given, a point is one of several of a prompt or has no coordinates in the raster's
            CRS, or there is no such class.
        SamgeoError
            If the model cannot answer.
        """
        marks = self._marks(points, boxes, crs)
        names = self._live.snapshot.state.class_list.names
        if class_name is not None and class_name not in names:
            raise OptionError(f"{class_name!r} is not a class of the session; choose one of {', '.join(names)}.")
        made: list[Propose] = []

        def make(state: State) -> Propose:
            made.append(masks_at(marks, state, self._answers, class_name))
            return made[-1]

        done = self._live.do(make)
        # Where no mask was new, there is no action in the history; the caller still gets the counts.
        return done if done.action is made[-1] else replace(done, action=made[-1], merge=None)

    @check_types
    def preview(self, x: float, y: float, *, crs: CRSLike = None) -> Offer | None:
        """Return the mask that a first click at a point would give. It is no action, and no window is encoded for it.

        Parameters
        ----------
        x, y : float
            The point.
        crs : anything that pyproj takes, or "pixels", optional
            CRS of the point. That of the raster by default.

        Returns
        -------
        Offer or None
            None if a window that the answer needs is not encoded yet, or if the model finds nothing there.

        Raises
        ------
        OptionError
            If the point has no coordinates in the raster's CRS.
        SamgeoError
            If the model cannot answer.
        """
        (mark,) = self._marks([[x, y]], None, crs)
        state = self._live.snapshot.state
        found = self._answers.preview(Prompt((mark,), (0,)), state.weights)
        return cleaned(found.offers[:1], state.clean, self._rules)[0] if found is not None and found.offers else None

    def _marks(self, points: PointsLike, boxes: BoxesLike, crs: CRSLike) -> tuple[AddPoint | SetBox, ...]:
        """Return points and boxes in pixels of the raster."""
        geobox = self._answers.start.raster.geobox
        marks: list[AddPoint | SetBox] = []
        if points is not None:
            xy, labels, _ = read_points(points, geobox=geobox, crs=crs)
            if xy.shape[1] != 1 or (labels != 1).any():
                raise OptionError("each point is a click on an object of its own; give one foreground point for each object.")
            marks += [AddPoint(x, y) for x, y in _placed(xy[:, 0], crs)]
        if boxes is not None:
            xyxy, _ = read_boxes(boxes, geobox=geobox, crs=crs)
            marks += [SetBox(*one) for one in _placed(xyxy, crs)]
        if not marks:
            raise OptionError("there is neither a point nor a box; give one or more.")
        return tuple(marks)


def _placed(coordinates: NDArray[np.float64], crs: CRSLike) -> list[list[float]]:
    if not np.isfinite(coordinates).all():
        raise OptionError(f"the coordinates cannot be transformed to the raster's CRS; check that they are in {crs}.")
    listed: list[list[float]] = coordinates.tolist()
    return listed
