"""Shapes and names that several annotation programs write, checked."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from samgeo.annotations.oriented_boxes import turned_corners
from samgeo.annotations.parsing.text_files import Where, as_number, fail, shown

if TYPE_CHECKING:
    from samgeo.types import Json

__all__ = ["base_name", "below_folder", "corners_around", "ellipse", "object_of", "polygon", "text_of"]

# Points of an ellipse: its area is then 0.2 % too small.
_POINTS = 64


def polygon(points: Json, where: Where) -> shapely.Polygon:
    """Return a polygon of a list of (x, y), as it is.

    Raises
    ------
    AnnotationError
        If it is no list of three or more pairs of finite numbers.
    """
    if not isinstance(points, list) or len(points) < 3:
        fail(where, f"its points are {shown(points)}, not three or more")
    numbers = []
    for point in points:
        if not isinstance(point, list | tuple) or len(point) != 2:
            fail(where, f"a point is {shown(point)}, not x and y")
        numbers.append([as_number(value, where, "a coordinate") for value in point])
    return shapely.Polygon(numbers)


def ellipse(middle: tuple[float, float], radii: tuple[float, float], turn: float, where: Where) -> shapely.Polygon:
    """Return an ellipse as a polygon of 64 points.

    Parameters
    ----------
    middle, radii : tuple of float
        Along x and y before the turn, in pixels.
    turn : float
        Radians, clockwise on a screen.
    where : Where

    Raises
    ------
    AnnotationError
        If a radius is not positive.
    """
    (x, y), (radius_x, radius_y) = middle, radii
    if not (radius_x > 0 and radius_y > 0):
        fail(where, f"its radii are {radius_x:g} and {radius_y:g}, not positive")
    angle = np.arange(_POINTS) * 2 * np.pi / _POINTS
    across, down = radius_x * np.cos(angle), radius_y * np.sin(angle)
    cos, sin = np.cos(turn), np.sin(turn)
    return shapely.Polygon(np.stack([x + across * cos - down * sin, y + across * sin + down * cos], axis=1))


def corners_around(x: float, y: float, width: float, height: float, turn: float) -> list[float]:
    """Return the eight numbers of the corners of a box that is turned around its middle; see `turned_corners`."""
    return [float(value) for value in turned_corners(x, y, width, height, turn).ravel()]


def text_of(value: Json, where: Where, what: str) -> str:
    """Return a text without blanks around it.

    Raises
    ------
    AnnotationError
        If it is none, or empty.
    """
    if not isinstance(value, str) or not value.strip():
        fail(where, f"{what} is {shown(value)}, not a text")
    return value.strip()


def object_of(value: Json, where: Where, what: str) -> dict[str, Any]:
    """Return an object of JSON.

    Raises
    ------
    AnnotationError
        If it is none.
    """
    if not isinstance(value, dict):
        fail(where, f"{what} is {shown(value)}, not an object")
    return value


def base_name(value: str) -> str:
    """Return the last part of a path or an address, whichever slashes it has."""
    return PurePosixPath(value.replace("\\", "/")).name


def below_folder(own: str, name: str) -> str:
    """Return the name of an image in the folder of a file of annotations."""
    folder, slash, _ = own.rpartition("/")
    return folder + slash + name if name else ""
