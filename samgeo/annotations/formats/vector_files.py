"""Vector files with a column of classes, georeferenced or in pixels.

Pixels
------
Georeferenced features are transformed to the pixels of their image with the georeference of the image, and rounded to 1/256 of
a pixel, like all prompts. Vertices are added where straight edges become curves. Features without a CRS, or read with
``crs="pixels"``, are in continuous pixel coordinates, y down, and are not changed.

Columns
-------
Besides the class, these columns are read and written: ``image`` (the name of the image; without it, an object belongs to every
image that it meets), ``kind`` (``box``, ``rbox``, ``polygon`` or ``mask``; ``polygon`` without it), ``score``, ``difficult``,
``crowd``, ``image_height`` and ``image_width``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import Affine

from samgeo.annotations.images import ImageFiles, geobox_of
from samgeo.annotations.parsing.repair import repaired
from samgeo.annotations.parsing.rows import Gathered, Row
from samgeo.annotations.parsing.text_files import MAX_VECTOR_BYTES, Where, as_count, as_number, check_size, fail, head_of, shown
from samgeo.annotations.table import KINDS, MAX_PX
from samgeo.errors import AnnotationError, OptionError, VectorError
from samgeo.geo.coordinates.overlay import around_raster, in_pixels
from samgeo.geo.coordinates.pixel_coordinates import PIXELS, from_pixels
from samgeo.geo.vector.reading import read_vectors
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.rle import MOST_PIXELS, Rle
from samgeo.segmentation.masks.vectorize import polygons

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from shapely.geometry.base import BaseGeometry

    from samgeo.annotations.table import Annotations, Image
    from samgeo.types import CRSLike

__all__ = ["SUFFIXES", "extent_of", "read", "read_frame", "to_frame"]

_BINARY = {".fgb", ".geoparquet", ".gpkg", ".parquet", ".shp", ".vrt"}
_LINES = {".geojsonl", ".geojsons", ".geojsonseq"}
SUFFIXES = {*_BINARY - {".vrt"}, ".geojson", *_LINES}

_POLYGONS = {"Polygon", "MultiPolygon"}


def read(
    gathered: Gathered,
    path: Path,
    images: ImageFiles,
    *,
    class_column: str | None,
    class_name: str | None,
    crs: CRSLike,
    layer: str | None = None,
) -> None:
    """Read a vector file; if ``class_name`` is given, it is the class of all features, and no column is needed."""
    from samgeo.annotations.formats import footprint_csv, geojsonl

    is_lines = path.suffix.lower() in _LINES or (path.suffix.lower() not in _BINARY and geojsonl.is_lines(head_of(path)))
    if not is_lines:
        options: dict[str, Any] = {"class_column": class_column, "class_name": class_name, "crs": crs}
        read_frame(gathered, _frame(path, layer), Where(path), images, **options)
        return
    near = footprint_csv.near(images) if crs is None and images.paths else None
    frame, lines = geojsonl.read_features(gathered, path, near)
    read_frame(gathered, frame, Where(path), images, class_column=class_column, class_name=class_name, crs=crs, places=lines)


def read_frame(
    gathered: Gathered,
    frame: gpd.GeoDataFrame,
    where: Where,
    images: ImageFiles,
    *,
    class_column: str | None = None,
    class_name: str | None = None,
    crs: CRSLike = None,
    places: Sequence[str] | None = None,
) -> None:
    """Read the features of a table.

    Parameters
    ----------
    gathered : Gathered
    frame : GeoDataFrame
        Features with the columns that the docstring of this module names.
    where : Where
        The file of the features.
    images : ImageFiles
    class_column, class_name, crs
        See `samgeo.annotations.read_annotations`.
    places : sequence of str, optional
        The place of each feature in the file, such as ``"line 3"``. By default ``"feature 0"``, ``"feature 1"`` and so on.

    Raises
    ------
    AnnotationError
        If no feature can be read: there is no column of classes, or the image of the features is not known.
    """
    in_pixels = frame.crs is None or (isinstance(crs, str) and crs == PIXELS)
    if not in_pixels and crs is not None:
        fail(where, f"its CRS is {frame.crs.to_string()}, but crs={crs!r} was given", 'omit crs, or give crs="pixels"')
    wheres = [Where(where.path, f"feature {number}" if places is None else places[number]) for number in range(len(frame))]
    names = _class_names(gathered, frame, wheres, class_column, class_name)
    geometries = _geometries(gathered, frame, wheres)
    good = np.array([name is not None for name in names], dtype=np.bool_) & ~shapely.is_missing(geometries)
    numbers = np.flatnonzero(good)
    frame, geometries = frame.iloc[numbers], geometries[numbers]
    columns = {name: frame[name].tolist() for name in _KEPT if name in frame}
    owner = _image_of_pixels(frame, images, where) if in_pixels else ""
    if not in_pixels and not images.paths and len(frame) == 0:
        return
    if not in_pixels and not images.paths:
        what = "it is georeferenced, and an image is needed to compute pixel coordinates"
        fail(where, what, "give the image, or the folder of images, with images=...")
    for name, rows in _groups(frame, geometries, images, owner).items():
        with gathered.faults:
            shape = _said_shape(frame, rows, wheres[numbers[rows[0]]]) if "image" in frame else None
            image = images.image(name, shape, where)
            placed = geometries[rows]
            if not in_pixels:
                rows, placed = _on_image(frame, rows, placed, image, images, where=where)  # noqa: PLW2901 - those on it
            gathered.add_image(image, where)
            for row, geometry in zip(rows.tolist(), placed, strict=True):
                with gathered.faults:
                    number = numbers[row]
                    said = {key: values[row] for key, values in columns.items()}
                    gathered.add(_row(wheres[number], image, str(names[number]), geometry, said))


def to_frame(annotations: Annotations, images: ImageFiles) -> gpd.GeoDataFrame:
    """Return a table of annotations as features, in the CRS of the images if they are given, else in pixels without a CRS.

    Raises
    ------
    AnnotationError
        If images are given and one of them is missing, has no CRS, or has another CRS than the first.
    """
    table = annotations
    geometries = np.full(len(table), None, dtype=object)
    boxes = table.boxes_px
    for row, shape in enumerate(table.shapes):
        if isinstance(shape, Rle):
            geometries[row] = polygons([shape.to_mask()])[0]
        elif shape is not None:
            geometries[row] = shape
        else:
            geometries[row] = shapely.Polygon(table.corners_px[row]) if table.is_oriented[row] else shapely.box(*boxes[row])
    crs = None
    if images:
        geometries, crs = _georeferenced(table, geometries, images)
    owners = [table.images[index] for index in table.image]
    columns: dict[str, Any] = {
        "image": np.array([image.name for image in owners], dtype=object),
        "class": table.class_names,
        "kind": table.kinds,
        "score": table.scores,
        "difficult": table.difficult,
        "crowd": table.crowd,
    }
    if all(image.shape is not None for image in owners):
        columns["image_height"] = np.array([image.height for image in owners], dtype=np.int64)
        columns["image_width"] = np.array([image.width for image in owners], dtype=np.int64)
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(geometries, dtype="geometry"), crs=crs)


_KEPT = ("kind", "score", "difficult", "crowd")


def _frame(path: Path, layer: str | None) -> gpd.GeoDataFrame:
    if path.suffix.lower() == ".vrt":
        fail(Where(path), "it is a virtual file that refers to other files", "give the file that has the features")
    check_size(path, MAX_VECTOR_BYTES)
    try:
        with warnings.catch_warnings():
            # Faults that GDAL warns about are found later, because every feature is checked.
            warnings.simplefilter("ignore")
            return _single_parts(read_vectors(path, layer=layer, on_invalid="ignore"))
    except VectorError as error:
        raise AnnotationError(str(error)) from None


def _single_parts(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Convert multipolygons of one part to polygons; some file formats store every polygon as a multipolygon."""
    geometries = np.array(frame.geometry.array, dtype=object)
    one = (shapely.get_type_id(geometries) == shapely.GeometryType.MULTIPOLYGON) & (shapely.get_num_geometries(geometries) == 1)
    geometries[one] = shapely.get_geometry(geometries[one], 0)
    return frame.set_geometry(frame.geometry.__class__(geometries, index=frame.index, crs=frame.crs))


def _class_names(
    gathered: Gathered, frame: gpd.GeoDataFrame, wheres: Sequence[Where], column: str | None, name: str | None
) -> list[str | None]:
    """Return the class of each feature; None for a feature without a class, which is a fault."""
    if name is not None or not wheres:
        return [name] * len(frame)
    where = Where(wheres[0].path)
    wanted = column or "class"
    if wanted not in frame or wanted == frame.active_geometry_name:
        others = ", ".join(map(str, frame.columns.drop(frame.active_geometry_name))) or "none"
        remedy = "name the column of classes with class_column, or give one class for all with class_name"
        fail(where, f"it has no column {wanted!r} (there are: {others})", remedy)
    names: list[str | None] = []
    for place, value in zip(wheres, frame[wanted].tolist(), strict=True):
        text = "" if value is None or value != value else str(value).strip()  # noqa: PLR0124 - NaN
        with gathered.faults:
            if not text:
                fail(place, f"its {wanted} is empty", "give the feature a class")
        names.append(text or None)
    return names


def _geometries(gathered: Gathered, frame: gpd.GeoDataFrame, wheres: Sequence[Where]) -> NDArray[np.object_]:
    """Return a valid polygon for each feature; None for a feature without a polygon, which is a fault."""
    geometries = np.array(shapely.force_2d(frame.geometry.to_numpy()), dtype=np.object_)
    kinds = frame["kind"].tolist() if "kind" in frame else [""] * len(frame)
    valid = shapely.is_valid(geometries)
    for number, geometry in enumerate(geometries):
        geometries[number] = None
        with gathered.faults:
            where = wheres[number]
            if geometry is None or geometry.is_empty or geometry.geom_type not in _POLYGONS:
                kind = "empty" if geometry is None or geometry.is_empty else f"a {geometry.geom_type}"
                fail(where, f"it is {kind}, not a polygon")
            if not np.isfinite(shapely.get_coordinates(geometry)).all():
                fail(where, "a coordinate is not a finite number")
            geometries[number] = (
                geometry if valid[number] or kinds[number] in ("box", "rbox") else _mended(gathered, geometry, where)
            )
    return geometries


def _mended(gathered: Gathered, geometry: BaseGeometry, where: Where) -> BaseGeometry:
    after = repaired(geometry)
    if after.is_empty:
        fail(where, "its polygon has no area")
    what = f"it was repaired, and its area changed from {geometry.area:.6g} to {after.area:.6g}"
    gathered.changed.add(f"{where}: its polygon crosses or overlaps itself; {what}")
    return after


def _image_of_pixels(frame: gpd.GeoDataFrame, images: ImageFiles, where: Where) -> str:
    """Return the name of the image of features in pixels; empty if a column names the image of each feature."""
    if "image" in frame:
        return ""
    known = images.paths or images.shapes
    if len(known) > 1:
        fail(where, f"it is in pixels, but {images.what} has several images", 'give one image, or add a column "image"')
    return next(iter(known), where.path.stem)


def _groups(
    frame: gpd.GeoDataFrame, geometries: NDArray[np.object_], images: ImageFiles, owner: str
) -> dict[str, NDArray[np.int64]]:
    """Return for each image the rows of the features that it may show."""
    if "image" in frame:
        rows_of: dict[str, list[int]] = {}
        for row, name in enumerate(frame["image"].tolist()):
            rows_of.setdefault(str(name), []).append(row)
        return {name: np.array(rows) for name, rows in rows_of.items()}
    return {owner: np.arange(len(frame))} if owner else _meeting(geometries, frame.crs, images)


def _on_image(
    frame: gpd.GeoDataFrame,
    rows: NDArray[np.int64],
    geometries: NDArray[np.object_],
    image: Image,
    images: ImageFiles,
    *,
    where: Where,
) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Return the rows of the features that an image shows, and these features in pixels of the image."""
    path = images.paths.get(image.name)
    if path is None:
        fail(where, f"the image {image.name} is not in {images.what}", "give the images that were annotated")
    placed = _placed(geometries, path, frame.crs, where)
    height, width = image.shape or (0, 0)
    inside = shapely.area(shapely.clip_by_rect(placed, 0, 0, width, height)) > 0
    lost = shapely.is_empty(placed)
    kept = inside & ~lost if "image" not in frame else ~lost
    return rows[kept], placed[kept]


def _meeting(geometries: NDArray[np.object_], crs: CRSLike, images: ImageFiles) -> dict[str, NDArray[np.int64]]:
    """Return for each image the rows of the features that may meet it; all rows if there is only one image."""
    everything = np.arange(len(geometries))
    if len(images.paths) == 1:
        return dict.fromkeys(images.paths, everything)
    tree = shapely.STRtree(geometries)
    groups = {}
    for name, path in images.paths.items():
        extent = extent_of(geobox_of(path), crs)
        groups[name] = everything if extent is None else np.sort(tree.query(extent))
    return groups


def extent_of(geobox: GeoBox, crs: CRSLike) -> shapely.Geometry | None:
    """Return a region in a CRS that contains an image and is slightly larger; None if it is not known."""
    return None if geobox.crs is None else around_raster(geobox, pyproj.CRS.from_user_input(crs))


def _placed(geometries: NDArray[np.object_], path: Path, crs: CRSLike, where: Where) -> NDArray[np.object_]:
    try:
        placed, lost = in_pixels(geometries, geobox_of(path), crs)
    except OptionError as error:
        raise AnnotationError(f"{where}: {error}") from None
    # A feature of another image may have no coordinates in the CRS of this one.
    placed[lost] = shapely.Polygon()
    broken = ~shapely.is_valid(placed)
    placed[broken] = [repaired(one) for one in placed[broken]]
    return placed


def _said_shape(frame: gpd.GeoDataFrame, rows: NDArray[np.int64], where: Where) -> tuple[int, int] | None:
    if "image_height" not in frame or "image_width" not in frame:
        return None
    sides = [as_count(frame[name].iloc[rows[0]], where, f"its {name}") for name in ("image_height", "image_width")]
    return sides[0], sides[1]


def _row(where: Where, image: Image, name: str, geometry: BaseGeometry, columns: dict[str, Any]) -> Row:
    kind = columns.get("kind") or "polygon"
    if kind not in KINDS:
        fail(where, f"its kind is {shown(kind)}, not one of {', '.join(KINDS)}")
    score, crowd = columns.get("score"), columns.get("crowd")
    is_scored = score is not None and score == score  # noqa: PLR0124 - NaN
    bounds = shapely.bounds(geometry).tolist()
    if max(map(abs, bounds)) > MAX_PX:
        fail(where, f"its bounds {bounds} are too large for pixels", "give the features their CRS, and give the image")
    corners = given = None
    if kind == "rbox":
        points = shapely.get_coordinates(geometry)
        if len(points) != 5:
            fail(where, f"it has {len(points)} points, but an oriented box has five, with the last equal to the first")
        corners = points[:4].ravel().tolist()
    elif kind != "box":
        given = geometry if kind == "polygon" else _mask(geometry, image.shape, where)
    sure = as_number(score, where, "its score") if is_scored else np.nan
    difficult = as_count(columns.get("difficult", 0), where, "its difficult")
    return Row(where, image.name, name, bounds, corners, given, sure, difficult, crowd in (True, 1))


def _mask(geometry: shapely.Geometry, shape: tuple[int, int] | None, where: Where) -> Rle:
    """Return the pixels whose centres lie in a polygon."""
    if shape is None:
        fail(where, "it is a mask, and the size of its image is not known", "give the image, or its size, with images=...")
    x0, y0, x1, y1 = np.round(shapely.bounds(geometry)).astype(np.int64).tolist()
    if x0 < 0 or y0 < 0 or x1 > shape[1] or y1 > shape[0] or (x1 - x0) * (y1 - y0) > MOST_PIXELS // 8:
        fail(where, f"it is a mask from ({x0}, {y0}) to ({x1}, {y1}), which its image of {shape[1]} x {shape[0]} cannot hold")
    if x0 == x1 or y0 == y1:
        return Rle.from_mask(Mask(np.empty((0, 3), dtype=np.int32)), shape)
    drawn = rasterize([geometry], (y1 - y0, x1 - x0), transform=Affine.translation(x0, y0), dtype=np.uint8)
    return Rle.from_mask(Mask.from_array(drawn.astype(np.bool_), x0, y0), shape)


def _georeferenced(table: Annotations, geometries: NDArray[np.object_], images: ImageFiles) -> tuple[NDArray[np.object_], Any]:
    crs = None
    moved = geometries.copy()
    for index in np.unique(table.image).tolist():
        name = table.images[index].name
        found = images.find(name, Where(Path(name)))
        path = None if found is None else images.paths.get(found)
        if path is None:
            raise AnnotationError(f"The image {name} is not in {images.what}; give the images that were annotated.")
        geobox = geobox_of(path)
        if geobox.crs is None:
            fail(
                Where(path),
                "it has no CRS, so its objects have no coordinates on the ground",
                "write in pixels, without images",
            )
        if crs is not None and geobox.crs != crs:
            raise AnnotationError(f"{path} is in {geobox.crs}, but other images are in {crs}; write a file for each CRS.")
        crs = geobox.crs
        rows = np.flatnonzero(table.image == index)
        moved[rows] = shapely.transform(geometries[rows], partial(from_pixels, geobox=geobox))
    return moved, None if crs is None else crs.proj
