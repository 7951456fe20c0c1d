"""The kinds of images and labels that a recipe can name.

A recipe is checked when it is loaded; the images and labels are read later.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from samgeo.errors import OptionError, RasterError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.raster import Raster
from samgeo.geo.vector.reading import read_vectors, split_layer
from samgeo.synthetic import town
from samgeo.training.data.pictures import (
    SCENE_CLASSES,
    SCENE_LAYERS,
    Picture,
    from_classes,
    from_coco,
    from_scene,
    from_vectors,
)
from samgeo.training.data.pseudo_labels import LEVELS, with_regions

__all__ = ["ClassMaps", "Coco", "Images", "Labels", "Regions", "Scenes", "Vectors", "scenes"]

STEM = "{stem}"
READING = ("bands", "stretch", "nodata", "alpha", "invented")
SCENE_SIDE = 512
# Larger images are cut into tiles of this side before they are split into regions.
REGIONS_SIDE = 1024


class Labels(Protocol):
    """Images with labelled objects, which are read on demand."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that the pictures have."""

    def pictures(self) -> Iterator[Picture]:
        """Read the pictures."""


@dataclass(frozen=True, slots=True)
class Images:
    """Rasters, and the options that convert them to 8-bit RGB.

    Attributes
    ----------
    paths : tuple of Path
    bands, stretch, nodata, alpha, invented : optional
        As `samgeo.Raster.open` takes them.
    """

    paths: tuple[Path, ...]
    bands: tuple[int | str, ...] | None = None
    stretch: tuple[float, float] | None = None
    nodata: float | str | None = None
    alpha: int | str | None = None
    invented: str | None = None

    def __iter__(self) -> Iterator[tuple[Path, Raster]]:
        for path in self.paths:
            options: dict[str, Any] = {name: getattr(self, name) for name in READING}
            # There may be thousands of images, so only the first is checked.
            yield path, Raster.open(path, **options, check=path == self.paths[0])

    def read(self) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
        """Read each image whole, with its path."""
        for path, image, _ in self.read_valid():
            yield path, image

    def read_valid(self) -> Iterator[tuple[Path, NDArray[np.uint8], NDArray[np.bool_]]]:
        """Read each image whole, with its path, and where its pixels are valid."""
        for path, raster in self:
            yield path, *raster.read(Rect(0, 0, raster.shape[1], raster.shape[0]))


@dataclass(frozen=True, slots=True)
class Vectors:
    """Rasters with polygons in any CRS.

    Attributes
    ----------
    images : Images
    files : mapping of str to str
        The file of each layer. ``{stem}`` in it stands for the name of the raster without its suffix.
    min_area_px : int
        Objects with fewer pixels are left out.
    """

    images: Images
    files: Mapping[str, str]
    min_area_px: int

    def __post_init__(self) -> None:
        for file in self.files.values():
            _each(file, self.images.paths)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that the pictures have."""
        return tuple(self.files)

    def pictures(self) -> Iterator[Picture]:
        """Read the pictures."""
        shared = {layer: read_vectors(file) for layer, file in self.files.items() if STEM not in file}
        for path, raster in self.images:
            given = {layer: shared.get(layer, file.replace(STEM, path.stem)) for layer, file in self.files.items()}
            yield from_vectors(raster, given, min_area_px=self.min_area_px, name=path.stem)


@dataclass(frozen=True, slots=True)
class Coco:
    """A COCO file with polygons.

    Attributes
    ----------
    file, folder : Path
        The file, and the folder that its file names are relative to.
    layer : str
    min_area_px : int
    """

    file: Path
    folder: Path
    layer: str
    min_area_px: int

    def __post_init__(self) -> None:
        if not self.file.is_file():
            raise OptionError(f"{self.file} does not exist; give the path of a COCO file.")
        if not self.folder.is_dir():
            raise OptionError(f"{self.folder} is not a folder; give the folder of the images that the COCO file names.")

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that the pictures have."""
        return (self.layer,)

    def pictures(self) -> Iterator[Picture]:
        """Read the pictures."""
        yield from from_coco(self.file, self.folder, layer=self.layer, min_area_px=self.min_area_px)


@dataclass(frozen=True, slots=True)
class ClassMaps:
    """Images with one map of classes each. The connected parts of each class are the objects.

    Attributes
    ----------
    images : Images
    masks : str
        Path of the maps. ``{stem}`` in it stands for the name of the image without its suffix.
    classes : mapping of str to tuple of int or str
        The classes of each layer: numbers, or colours such as "#3c1098" if the maps are colour images.
    min_area_px : int
        Parts with fewer pixels are left out.
    """

    images: Images
    masks: str
    classes: Mapping[str, tuple[int | str, ...]]
    min_area_px: int

    def __post_init__(self) -> None:
        if STEM not in self.masks:
            raise OptionError(f"masks is {self.masks!r}; write {STEM} in the place of the name of each image.")
        _each(self.masks, self.images.paths)
        for layer, members in self.classes.items():
            if not members:
                raise OptionError(f"layer {layer!r} has no classes; give numbers or colours.")
        for member in (member for members in self.classes.values() for member in members):
            if isinstance(member, str) and not re.fullmatch("#[0-9a-fA-F]{6}", member):
                raise OptionError(f"{member!r} in classes is not a colour; give one such as '#3c1098'.")

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that the pictures have."""
        return tuple(self.classes)

    def pictures(self) -> Iterator[Picture]:
        """Read the pictures."""
        members = {layer: [_number(member) for member in given] for layer, given in self.classes.items()}
        is_colour = {isinstance(member, str) for given in self.classes.values() for member in given}
        if len(is_colour) > 1:
            raise OptionError("classes has numbers and colours; give only one of the two.")
        # No layer has this class. Pixels without data get it, so that nothing is trained on them.
        nothing = min(0, *(number for numbers in members.values() for number in numbers)) - 1
        for path, image, valid in self.images.read_valid():
            file = Path(self.masks.replace(STEM, path.stem))
            classes = _class_map(file, in_colour=is_colour == {True})
            if classes.shape != image.shape[:2]:
                raise RasterError(f"{file} has shape {classes.shape} and {path} {image.shape[:2]}; give maps of the same size.")
            known = np.where(valid, classes.astype(np.int64), nothing)
            yield from_classes(path.stem, image, known, members, min_area_px=self.min_area_px)


@dataclass(frozen=True, slots=True)
class Regions:
    """Images without labels, whose regions of even colour are the objects; see `samgeo.training.data.pseudo_labels`."""

    images: Images

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that the pictures have."""
        return tuple(LEVELS)

    def pictures(self) -> Iterator[Picture]:
        """Read the images in tiles of at most 1024 pixels, and split them into regions."""
        for path, image in self.images.read():
            for tile in Picture(path.stem, image, {}).tiles(REGIONS_SIDE):
                yield with_regions(tile.name, tile.image)


@dataclass(frozen=True, slots=True)
class Scenes:
    """Generated towns with perfect masks.

    Attributes
    ----------
    count, seed : int
        Number of scenes, and seed of the first; the seed rises by 1 from scene to scene.
    layers : tuple of str, default ("building", "region")
        "building", "region", and the other classes of a scene: "road", "tree", "car", "water", "field" and "grass". Their
        objects are the connected parts of the class, so trees whose crowns touch are one object. The regions are the parts
        of all of these classes.
    """

    count: int
    seed: int
    layers: tuple[str, ...] = SCENE_LAYERS

    def __post_init__(self) -> None:
        if self.count < 1 or self.seed < 0:
            raise OptionError(f"scenes is {self.count} and seed is {self.seed}; give at least 1 scene and a seed of 0 or more.")
        known = (*SCENE_LAYERS, *SCENE_CLASSES)
        if not self.layers or set(self.layers) - set(known):
            raise OptionError(f"layers is {list(self.layers)}; give one or more of {', '.join(known)}.")

    def pictures(self) -> Iterator[Picture]:
        """Generate the pictures."""
        return scenes(self.count, self.seed, self.layers)


def scenes(count: int, first_seed: int, layers: tuple[str, ...] = SCENE_LAYERS) -> Iterator[Picture]:
    """Generate towns of 512 pixels a side, with pixels of 0.15, 0.3 and 0.5 m in turn."""
    for number in range(count):
        resolution_m = (0.15, 0.3, 0.5)[number % 3]
        scene = town((SCENE_SIDE, SCENE_SIDE), first_seed + number, resolution_m=resolution_m)
        yield from_scene(scene, f"town-{number}", layers)


def _each(file: str, images: tuple[Path, ...]) -> None:
    """Raise an `OptionError` if the label file of an image does not exist."""
    for path in images if STEM in file else images[:1]:
        wanted = Path(split_layer(file.replace(STEM, path.stem))[0])
        if not wanted.is_file():
            raise OptionError(f"the labels of {path.name}, {wanted}, do not exist; create the file, or leave this image out.")


def _number(member: int | str) -> int:
    return member if isinstance(member, int) else int(member.removeprefix("#"), 16)


def _class_map(path: Path, *, in_colour: bool) -> NDArray[Any]:
    """Read a map of classes; a colour becomes one number, 0xRRGGBB."""
    from samgeo.geo.drivers import open_raster

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with open_raster(str(path), str(path)) as dataset:
                if in_colour and dataset.count < 3:
                    raise RasterError(f"{path} has {dataset.count} band and no colours; give classes by number.")
                bands = dataset.read([1, 2, 3] if in_colour else [1])
    except RasterioError as error:
        raise RasterError(f"{path} cannot be read as a map of classes ({error}); check the file.") from None
    if not np.issubdtype(bands.dtype, np.integer):
        raise RasterError(f"{path} has values of type {bands.dtype}; give a map of classes with whole numbers.")
    if not in_colour:
        return np.asarray(bands[0])
    red, green, blue = bands.astype(np.int64)
    return np.asarray((red << 16) | (green << 8) | blue)
