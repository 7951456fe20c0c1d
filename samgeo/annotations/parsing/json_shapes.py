"""Checked conversion of shapes, texts and names that several annotation programs write in JSON or XML."""

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

# Number of points of an ellipse. The area of the polygon is then 0.2 % smaller than that of the ellipse.
_ELLIPSE_POINTS = 64


def polygon(points: Json, where: Where) -> shapely.Polygon:
    """Return the polygon of a list of points (x, y), without a repair.

    Raises
    ------
    AnnotationError
        If the value is not a list of three or more pairs of finite numbers.
    """
    if not isinstance(points, list) or len(points) < 3:
        fail(where, f"its points are {shown(points)}, not a list of three or more points")
    numbers = []
    for point in points:
        if not isinstance(point, list | tuple) or len(point) != 2:
            fail(where, f"a point is {shown(point)}, not a pair of x and y")
        numbers.append([as_number(value, where, "a coordinate") for value in point])
    return shapely.Polygon(numbers)


def ellipse(centre: tuple[float, float], radii: tuple[float, float], rotation: float, where: Where) -> shapely.Polygon:
    """Return an ellipse as a polygon of 64 points.

    Parameters
    ----------
    centre : tuple of float
        The centre (x, y) in pixels.
    radii : tuple of float
        Radii along x and y before the rotation, in pixels.
    rotation : float
        Angle of the rotation around the centre in radians, clockwise on a screen (y down).
    where : Where
        Place in the file, for errors.

    Raises
    ------
    AnnotationError
        If a radius is not positive.
    """
    (x, y), (radius_x, radius_y) = centre, radii
    if not (radius_x > 0 and radius_y > 0):
        fail(where, f"its radii are {radius_x:g} and {radius_y:g}, but must be positive")
    angles = np.arange(_ELLIPSE_POINTS) * 2 * np.pi / _ELLIPSE_POINTS
    across, down = radius_x * np.cos(angles), radius_y * np.sin(angles)
    cos, sin = np.cos(rotation), np.sin(rotation)
    return shapely.Polygon(np.stack([x + across * cos - down * sin, y + across * sin + down * cos], axis=1))


def corners_around(x: float, y: float, width: float, height: float, rotation: float) -> list[float]:
    """Return the corners of a box that is rotated around its centre, as eight numbers; see `turned_corners`."""
    return [float(value) for value in turned_corners(x, y, width, height, rotation).ravel()]


def text_of(value: Json, where: Where, what: str) -> str:
    """Return a value of JSON that must be text, without surrounding whitespace.

    Raises
    ------
    AnnotationError
        If the value is not text, or is empty.
    """
    if not isinstance(value, str) or not value.strip():
        fail(where, f"{what} is {shown(value)}, not text")
    return value.strip()


def object_of(value: Json, where: Where, what: str) -> dict[str, Any]:
    """Return a value of JSON that must be an object.

    Raises
    ------
    AnnotationError
        If the value is not an object.
    """
    if not isinstance(value, dict):
        fail(where, f"{what} is {shown(value)}, not a JSON object")
    return value


def base_name(value: str) -> str:
    """Return the last part of a path or URL, with slashes or backslashes between its parts."""
    return PurePosixPath(value.replace("\\", "/")).name


def below_folder(file_name: str, name: str) -> str:
    """Return the name of an image that lies in the folder of its annotation file; an empty string if ``name`` is empty.

    Parameters
    ----------
    file_name : str
        Name of the annotation file relative to the folder of the data set.
    name : str
        Name of the image in its folder.
    """
    folder, slash, _ = file_name.rpartition("/")
    return folder + slash + name if name else ""
