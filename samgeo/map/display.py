"""Any raster, and results on it, as a picture to look at."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError, VectorError
from samgeo.map.colors import RGB, checkerboard, colors_of

if TYPE_CHECKING:
    import geopandas as gpd
    import shapely
    from PIL import Image

    from samgeo.geo.raster import Raster

__all__ = ["show"]

FILL_OPACITY = 0.4
OUTLINE_SHARE = 1 / 800  # outline width as a share of the picture's longer side, so that pictures of any size look alike
MIN_OUTLINE_PX = 1.0

# Polygons are drawn this many times larger and averaged down: PIL itself draws without antialiasing.
SUPERSAMPLE = 4


def show(
    image: Any,
    result: gpd.GeoDataFrame | str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    max_side: int = 1600,
    bands: Any = None,
    stretch: Any = None,
    fill: bool = True,
    outline: bool = True,
    column: str | None = None,
    overwrite: bool = False,
) -> Image.Image:
    """Draw a raster, and polygons on it, as a picture.

    The picture is in the raster's own pixel grid, north up or not, at most ``max_side`` pixels long. Pixels without data are
    a grey checkerboard.

    Parameters
    ----------
    image : path, URL, xarray.DataArray, ndarray or Raster
        The raster; see `samgeo.Raster.open`.
    result : GeoDataFrame or path, optional
        Polygons in any CRS, such as `samgeo.segment` returns or writes. Missing and empty geometries are skipped.
    output : path, optional
        The ``.png`` to write. Written whole or not at all.
    max_side : int, default 1600
        Longer side of the picture in pixels; a smaller raster is drawn at its own size.
    bands, stretch : optional
        See `samgeo.Raster.open`; only for an image that is not open yet.
    fill : bool, default True
        Whether to tint the polygons.
    outline : bool, default True
        Whether to draw their edges.
    column : str, optional
        A column of the result to colour by: numbers go from dark blue, the least, to yellow, the greatest; anything else
        has a colour for each value. A colour for each polygon by default.
    overwrite : bool, default False
        Whether an existing picture may be replaced.

    Returns
    -------
    PIL.Image.Image
        RGB.

    Raises
    ------
    SamgeoError
        If the raster or the result cannot be read, only one of them has a CRS, the result has geometries other than
        polygons, or the picture cannot be written.
    """
    from PIL import Image

    from samgeo.geo.raster import Raster

    if max_side < 1:
        raise OptionError(f"max_side is {max_side} pixels; give at least 1.")
    path = None if output is None else _check_output(Path(output), overwrite)
    raster = Raster.open(image, bands=bands, stretch=stretch)
    frame = None if result is None else _read(result, raster)
    colors = None if frame is None else colors_of(frame, column)

    pixels, valid = raster.view(max_side)
    height, width = valid.shape
    picture = Image.fromarray(np.where(valid[..., np.newaxis], pixels, checkerboard(height, width)))
    if frame is not None and colors is not None:
        scale = np.array([width / raster.shape[1], height / raster.shape[0]])
        geometries = _to_pixels(frame, raster, scale)
        width_px = max(MIN_OUTLINE_PX, max(height, width) * OUTLINE_SHARE)
        _draw(picture, geometries, colors, opacity=FILL_OPACITY if fill else 0, outline_px=width_px if outline else 0)
    if path is not None:
        _write(picture, path)
    return picture


def _check_output(path: Path, overwrite: bool) -> Path:
    if path.suffix.lower() != ".png":
        raise OptionError(f"{path} does not end in .png; a picture is written as PNG.")
    if not path.parent.is_dir():
        raise OptionError(f"{path} cannot be written: the folder {path.parent} does not exist. Make it first.")
    if path.exists() and not overwrite:
        raise OptionError(f"{path} exists; choose another name, or allow overwrite.")
    return path


def _read(result: Any, raster: Raster) -> gpd.GeoDataFrame:
    """Give the result in the raster's CRS."""
    from samgeo.geo.vectors import read_vectors

    crs = raster.geobox.crs
    frame = read_vectors(result)
    if (crs is None) != (frame.crs is None):
        with_crs, without = (raster.name, "the result") if frame.crs is None else ("the result", raster.name)
        raise VectorError(
            f"{with_crs} has a CRS and {without} has none, so that the result cannot be placed on the raster. "
            f"Give {without} its CRS first."
        )
    return frame if crs is None else read_vectors(frame, crs=crs.proj)


def _to_pixels(frame: gpd.GeoDataFrame, raster: Raster, scale: NDArray[np.float64]) -> NDArray[np.object_]:
    """Give the geometries in pixels of the picture; what holds no pixels is None."""
    import shapely

    geometries = np.asarray(frame.geometry.array, dtype=object)
    geometries[shapely.is_empty(geometries)] = None
    kinds = set(frame.geometry.geom_type[~shapely.is_missing(geometries)]) - {"Polygon", "MultiPolygon"}
    if kinds:
        raise VectorError(f"the result has geometries of type {', '.join(sorted(kinds))}; only polygons can be drawn.")
    inverse = np.array((~raster.geobox.affine)[:6]).reshape(2, 3)

    def transform(crs_xy: NDArray[np.float64]) -> NDArray[np.float64]:
        xy: NDArray[np.float64] = (crs_xy @ inverse[:, :2].T + inverse[:, 2]) * scale
        if not np.isfinite(xy).all():
            raise VectorError(f"the result has coordinates that cannot be placed in the CRS of {raster.name}.")
        return xy

    return np.asarray(shapely.transform(geometries, transform), dtype=object)


def _draw(
    picture: Image.Image,
    geometries: NDArray[np.object_],
    colors: Sequence[RGB],
    *,
    opacity: float,
    outline_px: float,
) -> None:
    """Tint the insides of polygons and draw their edges, the large ones first so that the small ones stay visible."""
    import shapely

    bounds = shapely.bounds(geometries)
    margin = math.ceil(outline_px / 2) + 1
    for index in np.argsort(-shapely.area(geometries), kind="stable"):  # NaN, the area of nothing, comes last
        if shapely.is_missing(geometries[index]):
            break
        x0, y0 = np.maximum(np.floor(bounds[index, :2]) - margin, 0).astype(int)
        x1, y1 = np.minimum(np.ceil(bounds[index, 2:]) + margin, picture.size).astype(int)
        if x0 >= x1 or y0 >= y1:
            continue
        rings = list(_rings(geometries[index], x0, y0))
        picture.paste(colors[index], (x0, y0), _coverage(rings, (x1 - x0, y1 - y0), opacity, outline_px))


def _rings(
    geometry: shapely.Polygon | shapely.MultiPolygon, x0: int, y0: int
) -> Iterator[tuple[bool, list[tuple[float, float]]]]:
    """Give whether a ring is a hole, and its corners in supersampled pixels of a patch at (x0, y0).

    Parts come largest first, so that one in the hole of another is drawn after the hole. PIL's coordinates are those of
    pixel centres, half a pixel less than ours.
    """
    import shapely

    parts = geometry.geoms if isinstance(geometry, shapely.MultiPolygon) else (geometry,)
    for part in sorted(parts, key=attrgetter("area"), reverse=True):
        for number, ring in enumerate((part.exterior, *part.interiors)):
            corners = (shapely.get_coordinates(ring) - (x0, y0)) * SUPERSAMPLE - 0.5
            yield number > 0, list(map(tuple, corners.tolist()))


def _coverage(
    rings: list[tuple[bool, list[tuple[float, float]]]], size: tuple[int, int], opacity: float, outline_px: float
) -> Image.Image:
    """Give how much of its colour a polygon lends each pixel of a patch, from 0 to 255."""
    from PIL import Image, ImageDraw

    large = Image.new("L", (size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE))
    draw = ImageDraw.Draw(large)
    if opacity:
        for is_hole, corners in rings:
            draw.polygon(corners, fill=0 if is_hole else round(255 * opacity))
    if outline_px:
        for _, corners in rings:
            draw.line(corners, fill=255, width=max(round(outline_px * SUPERSAMPLE), 1), joint="curve")
    return large.reduce(SUPERSAMPLE)


def _write(picture: Image.Image, path: Path) -> None:
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".png")
        os.close(handle)
        try:
            picture.save(temporary)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise OptionError(f"{path} cannot be written ({error.strerror}); give a folder that can be written.") from error
