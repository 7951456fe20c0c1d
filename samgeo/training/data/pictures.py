"""Images with their objects, for training and evaluation, and readers for the usual formats of labels."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, UnidentifiedImageError
from scipy import ndimage

from samgeo.errors import OptionError, RasterError, VectorError
from samgeo.geo.grid import Rect

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from samgeo.synthetic.scene import Scene
    from samgeo.types import FeaturesLike, RasterLike

__all__ = ["Picture", "components", "from_classes", "from_coco", "from_scene", "from_vectors", "load_picture", "save_picture"]

MAX_OBJECTS = np.iinfo(np.uint16).max

# Number of the TIFF tag in which GDAL writes descriptions of bands and tags of its own, as XML.
GDAL_METADATA = 42112

# Classes of a generated scene besides buildings, and the layers of its picture if no others are named.
SCENE_CLASSES = ("road", "tree", "car", "water", "field", "grass")
SCENE_LAYERS = ("building", "region")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image and layers of objects.

    Attributes
    ----------
    name : str
        A name for messages and tables.
    image : ndarray of uint8, shape (H, W, 3)
        RGB; (0, 0, 0) means no data.
    layers : mapping of str to ndarray of uint16, shape (H, W)
        For each kind of object ("building", "region", ...), the object id of each pixel; 0 means no object.
    """

    name: str
    image: NDArray[np.uint8]
    layers: Mapping[str, NDArray[np.uint16]]

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise OptionError(f"{self.name}: the image is {self.image.dtype} {self.image.shape}; give uint8 (H, W, 3).")
        for layer, ids in self.layers.items():
            if ids.shape != self.image.shape[:2] or ids.dtype != np.uint16:
                raise OptionError(
                    f"{self.name}: layer {layer!r} is {ids.dtype} {ids.shape}; give uint16 {self.image.shape[:2]}."
                )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]

    def cut(self, top: int, left: int, height: int, width: int) -> Picture:
        """Return a rectangular part of the picture. Objects keep their ids and are cut at the edges."""
        part = slice(top, top + height), slice(left, left + width)
        layers = {layer: ids[part] for layer, ids in self.layers.items()}
        return Picture(f"{self.name}[{top}, {left}]", self.image[part], layers)

    def tiles(self, side: int) -> Iterator[Picture]:
        """Cut the picture into squares without overlap; tiles at the right and bottom edges may be smaller."""
        height, width = self.shape
        for top in range(0, height, side):
            for left in range(0, width, side):
                yield self.cut(top, left, side, side)


def from_vectors(
    raster: RasterLike, layers: Mapping[str, FeaturesLike], *, min_area_px: int = 24, name: str | None = None
) -> Picture:
    """Read a whole raster, and rasterise polygons into layers.

    Parameters
    ----------
    raster : anything that `samgeo.geo.raster.raster.Raster.open` takes
    layers : mapping of str to path or GeoDataFrame
        Polygons in any CRS for each layer. A pixel belongs to the last polygon that contains its centre.
    min_area_px : int, default 24
        Objects with fewer pixels are left out.
    name : str, optional
        Name of the picture; by default the name of the raster.

    Returns
    -------
    Picture

    Raises
    ------
    RasterError, VectorError
        If the raster or the vectors cannot be read, or the raster has no CRS.
    """
    # Imported here, because training on packed pictures works without the libraries for geographic data.
    from rasterio.features import rasterize

    from samgeo.geo.coordinates.overlay import read_onto
    from samgeo.geo.raster.raster import Raster

    opened = Raster.open(raster, check=False)
    if opened.geobox.crs is None:
        raise RasterError(f"{opened.name} has no CRS, so that vectors cannot be drawn on it; give labels in pixels.")
    image, valid = opened.read(Rect(0, 0, opened.shape[1], opened.shape[0]))
    burnt = {}
    for layer, source in layers.items():
        frame = read_onto(source, opened.geobox, what=f"the layer {layer}", raster=opened.name)
        shapes = [shape for shape in frame.geometry if _has_area(shape)]
        ids = np.zeros(opened.shape, dtype=np.int32)
        if shapes:
            numbered = zip(shapes, range(1, len(shapes) + 1), strict=True)
            ids = rasterize(numbered, opened.shape, transform=opened.geobox.affine, dtype="int32")
        burnt[layer] = renumber(np.where(valid, ids, 0), min_area_px, opened.name)
    return Picture(name or Path(opened.name).stem, image, burnt)


def from_coco(
    annotations: str | os.PathLike[str], images: str | os.PathLike[str], *, layer: str = "building", min_area_px: int = 24
) -> list[Picture]:
    """Read a COCO file with polygons.

    Parameters
    ----------
    annotations : path
        A JSON file.
    images : path
        The folder that its file names are relative to.
    layer : str, default "building"
        Name of the layer of all objects, whatever their category.
    min_area_px : int, default 24
        Objects with fewer pixels are left out. Of two that overlap, the smaller is on top.

    Returns
    -------
    list of Picture
        In the file's order; crowds are left out.

    Raises
    ------
    VectorError
        If the file is not COCO with polygons.
    RasterError
        If an image cannot be read.
    """
    path = Path(annotations)
    try:
        document = json.loads(path.read_text())
        shapes: dict[Any, list[list[list[float]]]] = {record["id"]: [] for record in document["images"]}
        for record in document["annotations"]:
            if not record.get("iscrowd"):
                shapes[record["image_id"]].append([[float(value) for value in ring] for ring in record["segmentation"]])
        records = [(record["id"], str(record["file_name"])) for record in document["images"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VectorError(f"{path} is not a COCO file with polygons ({error!r}); run-length masks are not read.") from None
    pictures = []
    for number, file_name in records:
        pixels, valid = _read_valid(Path(images) / file_name)
        canvas = Image.new("I", (pixels.shape[1], pixels.shape[0]))
        draw = ImageDraw.Draw(canvas)
        for count, rings in enumerate(sorted(shapes[number], key=_area, reverse=True), start=1):
            for ring in rings:
                # In Pillow, whole coordinates are pixel centres; in COCO, they are pixel corners.
                draw.polygon([(x - 0.5, y - 0.5) for x, y in zip(ring[::2], ring[1::2], strict=True)], fill=count)
        ids = renumber(np.where(valid, np.asarray(canvas), 0), min_area_px, file_name)
        pictures.append(Picture(Path(file_name).stem, pixels, {layer: ids}))
    return pictures


def from_classes(
    name: str,
    image: NDArray[np.uint8],
    classes: NDArray[np.integer[Any]],
    layers: Mapping[str, Sequence[int]],
    *,
    min_area_px: int = 150,
    max_share: float = 0.5,
) -> Picture:
    """Split a map of classes into objects, which are the connected parts of each class.

    Parameters
    ----------
    name : str
    image : ndarray of uint8, shape (H, W, 3)
    classes : ndarray of int, shape (H, W)
    layers : mapping of str to sequence of int
        The classes whose parts make up each layer.
    min_area_px : int, default 150
        Parts with fewer pixels are left out.
    max_share : float, default 0.5
        Parts that cover a larger share of the image are left out, because nobody clicks to select them.

    Returns
    -------
    Picture
    """
    split = {}
    for layer, members in layers.items():
        ids = np.zeros(classes.shape, dtype=np.int32)
        for member in members:
            parts = components(classes == member)
            ids = np.where(parts > 0, parts + ids.max(), ids)
        sizes = np.bincount(ids.ravel())
        ids[sizes[ids] > max_share * ids.size] = 0
        split[layer] = renumber(ids, min_area_px, name)
    return Picture(name, image, split)


def from_scene(scene: Scene, name: str = "scene", layers: Sequence[str] = SCENE_LAYERS) -> Picture:
    """Make a picture of a generated scene: its buildings, and the connected parts of its other classes.

    The layers are "building", the names of other classes, and "region", which has the parts of all other classes.
    """
    members = {kind: [scene.class_names.index(kind)] for kind in SCENE_CLASSES}
    members["region"] = [number for numbers in members.values() for number in numbers]
    wanted = {layer: members[layer] for layer in layers if layer != "building"}
    split = from_classes(name, scene.image, scene.classes, wanted, min_area_px=40).layers
    buildings = {"building": renumber(scene.labels, 16, name)} if "building" in layers else {}
    return Picture(name, scene.image, {**buildings, **split})


def components(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the connected parts of a mask, numbered from 1; pixels are connected along edges, not at corners."""
    return np.asarray(ndimage.label(mask)[0], dtype=np.int32)


def renumber(ids: NDArray[np.integer[Any]], min_area_px: int, name: str) -> NDArray[np.uint16]:
    """Remove small objects, and number the others from 1 without gaps."""
    sizes = np.bincount(ids.ravel())
    sizes[0] = 0
    kept = np.flatnonzero(sizes >= max(min_area_px, 1))
    if len(kept) > MAX_OBJECTS:
        raise OptionError(f"{name} has {len(kept)} objects; divide it into pictures with at most {MAX_OBJECTS} objects.")
    table = np.zeros(len(sizes), dtype=np.uint16)
    table[kept] = np.arange(1, len(kept) + 1)
    return np.asarray(table[ids])


def save_picture(picture: Picture, path: str | os.PathLike[str]) -> None:
    """Write the image and the layers of a picture to an uncompressed ``.npz`` file, which loads fast."""
    np.savez(path, allow_pickle=False, image=picture.image, **{f"layer_{name}": ids for name, ids in picture.layers.items()})


def load_picture(path: str | os.PathLike[str]) -> Picture:
    """Read a picture that `save_picture` wrote.

    Raises
    ------
    RasterError
        If the file is not such a picture.
    """
    try:
        with np.load(path) as arrays:
            layers = {name.removeprefix("layer_"): arrays[name] for name in arrays.files if name.startswith("layer_")}
            return Picture(Path(path).stem, arrays["image"], layers)
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise RasterError(f"{path} is not a packed picture ({error}); pack it again.") from None


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image without georeference as RGB; pixels that `samgeo.remove` invented are black."""
    return _read_valid(path)[0]


def _read_valid(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read an image without georeference as RGB, and which of its pixels are not invented."""
    try:
        with Image.open(path) as image:
            if not _is_marked(image):
                pixels = np.array(image.convert("RGB"))
                return pixels, np.ones(pixels.shape[:2], dtype=bool)
    except (OSError, UnidentifiedImageError) as error:
        raise RasterError(f"{path} cannot be read as an image ({error}); check the file.") from None
    # Imported here, because few images have such marks.
    from samgeo.geo.raster.raster import Raster

    raster = Raster.open(path, check=False)
    return raster.read(Rect(0, 0, raster.shape[1], raster.shape[0]))


def _is_marked(image: Image.Image) -> bool:
    """Return whether the metadata of a GeoTIFF say that it has invented pixels, which Pillow does not leave out."""
    metadata = str(getattr(image, "tag_v2", {}).get(GDAL_METADATA, ""))
    return 'role="description">invented<' in metadata or 'name="samgeo_invented"' in metadata


def _has_area(shape: BaseGeometry | None) -> bool:
    return shape is not None and not shape.is_empty and shape.area > 0


def _area(rings: list[list[float]]) -> float:
    return sum(
        abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2
        for x, y in ((np.asarray(ring[::2]), np.asarray(ring[1::2])) for ring in rings)
    )
