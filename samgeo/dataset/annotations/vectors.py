"""Vector files with a column of classes, georeferenced or in pixels.

Pixels
------
What is georeferenced is brought to the pixels of its image through the image's own georeference, rounded to 1/256 of a pixel
as all prompts are. What has no CRS, and what is read with ``crs="pixels"``, is in continuous pixels, y down, and is taken as
it is.

Columns beside the class that are understood, and written: ``image`` (name; without it, an object belongs to every image that it
meets), ``kind`` (``box``, ``rbox``, ``polygon`` or ``mask``; polygons without it), ``score``, ``difficult``, ``crowd``,
``image_height`` and ``image_width``.
"""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.dataset.annotations.files import MAX_VECTOR_BYTES, Where, as_count, as_number, check_size, fail, shown
from samgeo.dataset.annotations.images import ImageFiles, geobox_of
from samgeo.dataset.annotations.rows import Gathered, Row
from samgeo.dataset.annotations.table import KINDS, MAX_PX
from samgeo.errors import AnnotationError, OptionError, VectorError
from samgeo.geo.place import PIXELS, from_pixels, inward_to
from samgeo.segment.rle import MOST_PIXELS, Rle

if TYPE_CHECKING:
    import geopandas as gpd
    from odc.geo.geobox import GeoBox

    from samgeo.dataset.annotations.table import Annotations, Image

__all__ = ["SUFFIXES", "read", "to_frame"]

SUFFIXES = {".fgb", ".geojson", ".geoparquet", ".gpkg", ".parquet", ".shp"}

_POLYGONS = {"Polygon", "MultiPolygon"}


def read(path: Path, images: ImageFiles, class_column: str | None, class_name: str | None, crs: Any) -> Gathered:
    """Read a vector file; ``class_name`` is the class of all where there is no column."""
    where = Where(path)
    frame = _frame(path)
    names = _class_names(frame, where, class_column, class_name)
    geometries = _geometries(frame, path)
    in_pixels = frame.crs is None or (isinstance(crs, str) and crs == PIXELS)
    if not in_pixels and crs is not None:
        fail(where, f"its CRS is {frame.crs.to_string()}, and crs={crs!r} was given", 'leave crs away, or give "pixels"')
    gathered = Gathered()
    columns = {name: frame[name].tolist() for name in _KEPT if name in frame}
    for image, rows, placed in _by_image(frame, geometries, images, where, in_pixels):
        gathered.add_image(image, where)
        for number, geometry in zip(rows, placed, strict=True):
            place = Where(path, f"feature {number}")
            said = {key: values[number] for key, values in columns.items()}
            gathered.add(_row(place, image, names[number], geometry, said))
    return gathered


def to_frame(annotations: Annotations, images: ImageFiles) -> gpd.GeoDataFrame:
    """Return a table as features: in the CRS of the images where images are given, else in pixels without a CRS.

    Raises
    ------
    AnnotationError
        If images are given and one is missing, has no CRS, or another CRS than the first.
    """
    import geopandas as gpd

    from samgeo.segment.vectorize import polygons

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


def _frame(path: Path) -> gpd.GeoDataFrame:
    from samgeo.geo.vectors import read_vectors

    if path.suffix.lower() == ".vrt":
        fail(Where(path), "it leads to other files", "give the features themselves")
    check_size(path, MAX_VECTOR_BYTES)
    try:
        with warnings.catch_warnings():
            # What GDAL only warns of shows in the features, which are looked at one by one.
            warnings.simplefilter("ignore")
            return _single_parts(read_vectors(path))
    except VectorError as error:
        raise AnnotationError(str(error)) from error


def _single_parts(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return multipolygons of one part, as files have polygons, as the polygons that they were."""
    geometries = np.array(frame.geometry.array, dtype=object)
    one = (shapely.get_type_id(geometries) == shapely.GeometryType.MULTIPOLYGON) & (shapely.get_num_geometries(geometries) == 1)
    geometries[one] = shapely.get_geometry(geometries[one], 0)
    return frame.set_geometry(frame.geometry.__class__(geometries, index=frame.index, crs=frame.crs))


def _class_names(frame: gpd.GeoDataFrame, where: Where, column: str | None, name: str | None) -> list[str]:
    if name is not None:
        return [name] * len(frame)
    wanted = column or "class"
    if wanted not in frame or wanted == frame.active_geometry_name:
        others = ", ".join(map(str, frame.columns.drop(frame.active_geometry_name))) or "none"
        fail(
            where,
            f"it has no column {wanted!r} (there are: {others})",
            "name the classes' with class_column, or give class_name",
        )
    names = []
    for number, value in enumerate(frame[wanted].tolist()):
        text = "" if value is None or value != value else str(value).strip()  # noqa: PLR0124 - NaN
        if not text:
            fail(Where(where.path, f"feature {number}"), f"its {wanted} is empty", "give it a class")
        names.append(text)
    return names


def _geometries(frame: gpd.GeoDataFrame, path: Path) -> NDArray[np.object_]:
    geometries = np.asarray(shapely.force_2d(frame.geometry.to_numpy()), dtype=np.object_)
    for number, geometry in enumerate(geometries):
        where = Where(path, f"feature {number}")
        if geometry is None or geometry.is_empty or geometry.geom_type not in _POLYGONS:
            kind = "nothing" if geometry is None or geometry.is_empty else f"a {geometry.geom_type}"
            fail(where, f"it is {kind}, not a polygon")
        if not np.isfinite(shapely.get_coordinates(geometry)).all():
            fail(where, "a coordinate is not a finite number")
    return geometries


def _by_image(frame: Any, geometries: NDArray[np.object_], images: ImageFiles, where: Where, in_pixels: bool) -> Any:
    """Give each image, the numbers of its features, and these in its pixels."""
    everything = np.arange(len(frame))
    if "image" in frame:
        owners = [str(name) for name in frame["image"].tolist()]
        rows_of: dict[str, list[int]] = {}
        for row, owner in enumerate(owners):
            rows_of.setdefault(owner, []).append(row)
        groups = {name: np.array(rows) for name, rows in rows_of.items()}
    elif in_pixels:
        name = next(iter(images.paths or images.shapes), where.path.stem) if len(images.paths or images.shapes) <= 1 else None
        if name is None:
            fail(where, f"it is in pixels, and {images.what} has several images", 'give one image, or a column "image"')
        groups = {name: everything}
    else:
        groups = _meeting(geometries, frame.crs, images)
    if not in_pixels and not images.paths:
        fail(where, "it is georeferenced, and pixels need an image", "give the image, or the folder of images, with images=...")
    for name, rows in groups.items():
        shape = _said_shape(frame, rows, where) if "image" in frame else None
        image = images.image(name, shape, where)
        if in_pixels:
            yield image, rows, geometries[rows]
            continue
        path = images.paths.get(image.name)
        if path is None:
            fail(where, f"the image {image.name} is not among {images.what}")
        placed = _placed(geometries[rows], path, frame.crs, where)
        height, width = image.shape or (0, 0)
        inside = shapely.area(shapely.clip_by_rect(placed, 0, 0, width, height)) > 0
        lost = ~np.isfinite(shapely.bounds(placed)).all(axis=1)
        kept = inside & ~lost if "image" not in frame else ~lost
        yield image, rows[kept], placed[kept]


def _meeting(geometries: NDArray[np.object_], crs: Any, images: ImageFiles) -> dict[str, NDArray[np.int64]]:
    """Return the features that may meet each image, of many images the near ones alone."""
    everything = np.arange(len(geometries))
    if len(images.paths) == 1:
        return dict.fromkeys(images.paths, everything)
    tree = shapely.STRtree(geometries)
    groups = {}
    for name, path in images.paths.items():
        extent = _extent(geobox_of(path), crs)
        groups[name] = everything if extent is None else np.sort(tree.query(extent))
    return groups


def _extent(geobox: GeoBox, crs: Any) -> shapely.Polygon | None:
    """Return a box around an image in a CRS, a little larger; None where it cannot be said."""
    height, width = geobox.shape
    if geobox.crs is None:
        return None
    edge = shapely.get_coordinates(shapely.segmentize(shapely.box(0, 0, width, height), max(height, width) / 16))
    placed = from_pixels(edge, geobox, crs)
    if not np.isfinite(placed).all():
        return None
    low, high = placed.min(axis=0), placed.max(axis=0)
    more = (high - low) / 16
    (x0, y0), (x1, y1) = (low - more).tolist(), (high + more).tolist()
    return shapely.Polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def _placed(geometries: NDArray[np.object_], path: Path, crs: Any, where: Where) -> NDArray[np.object_]:
    try:
        placed = np.asarray(shapely.transform(geometries, inward_to(geobox_of(path), crs)), dtype=np.object_)
    except OptionError as error:
        raise AnnotationError(f"{where}: {error}") from error
    broken = ~shapely.is_valid(placed)
    placed[broken] = [_valid(one) for one in placed[broken]]
    return placed


def _valid(geometry: Any) -> Any:
    """Return the polygons of a geometry made valid; an empty one where it has no place."""
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        return shapely.Polygon()
    parts = shapely.get_parts(shapely.make_valid(geometry, method="structure"))
    return shapely.union_all([part for part in parts if part.geom_type in _POLYGONS])


def _said_shape(frame: Any, rows: NDArray[np.int64], where: Where) -> tuple[int, int] | None:
    if "image_height" not in frame or "image_width" not in frame:
        return None
    place = Where(where.path, f"feature {rows[0]}")
    sides = [as_count(frame[name].iloc[rows[0]], place, f"its {name}") for name in ("image_height", "image_width")]
    return sides[0], sides[1]


def _row(where: Where, image: Image, name: str, geometry: Any, columns: dict[str, Any]) -> Row:
    kind = columns.get("kind") or "polygon"
    if kind not in KINDS:
        fail(where, f"its kind is {shown(kind)}, not one of {', '.join(KINDS)}")
    score, crowd = columns.get("score"), columns.get("crowd")
    is_scored = score is not None and score == score  # noqa: PLR0124 - NaN
    bounds = shapely.bounds(geometry).tolist()
    if max(map(abs, bounds)) > MAX_PX:
        fail(where, f"it lies at {bounds}, which are no pixels", "give its CRS, and the image")
    corners = given = None
    if kind == "rbox":
        points = shapely.get_coordinates(geometry)
        if len(points) != 5:
            fail(where, f"it has {len(points)} points, and an oriented box five, of which the last is the first")
        corners = points[:4].ravel().tolist()
    elif kind != "box":
        given = geometry if kind == "polygon" else _mask(geometry, image.shape, where)
    return Row(
        where,
        image.name,
        name,
        bounds,
        corners,
        given,
        as_number(score, where, "its score") if is_scored else np.nan,
        as_count(columns.get("difficult", 0), where, "its difficult"),
        crowd in (True, 1),
    )


def _mask(geometry: Any, shape: tuple[int, int] | None, where: Where) -> Rle:
    """Return the pixels whose centres lie in a polygon."""
    from rasterio.features import rasterize
    from rasterio.transform import Affine

    from samgeo.segment.masks import Mask

    if shape is None:
        fail(where, "it is a mask, and the size of its image is not known", "give images=...")
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
            raise AnnotationError(f"the image {name} is not among {images.what}; give the images that were annotated.")
        geobox = geobox_of(path)
        if geobox.crs is None:
            raise AnnotationError(f"{path} has no CRS, so that its objects have no place; write without images, in pixels.")
        if crs is not None and geobox.crs != crs:
            raise AnnotationError(f"{path} is in {geobox.crs}, and other images in {crs}; write a file for each.")
        crs = geobox.crs
        rows = np.flatnonzero(table.image == index)
        moved[rows] = shapely.transform(geometries[rows], partial(from_pixels, geobox=geobox))
    return moved, None if crs is None else crs.proj
