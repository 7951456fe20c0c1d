"""The open data sets for training and evaluation of the bundled model, their splits, and their use.

The splits are spatial and fixed in this module. `sources` never contains a picture that `validation` returns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from PIL import Image
from scipy import ndimage

from samgeo.errors import RasterError
from samgeo.geo.vector.reading import read_vectors
from samgeo.training.data.examples import Layer, Source
from samgeo.training.data.labels import scenes as towns
from samgeo.training.data.pictures import Picture, components, from_classes, from_coco, from_vectors, read_image, renumber
from samgeo.training.data.pseudo_labels import LAYERS, felzenszwalb, with_regions

__all__ = ["OBJECTS", "crowns", "finder_sources", "sources", "validation"]

BANEPA, DUBAI, RIO = "oam-banepa-buildings", "dubai-semseg", "spacenet1-rio-sample"
BANEPA_TRAINING_CHIPS = 28
DUBAI_TRAINING_TILES, DUBAI_VALIDATION_TILE = range(1, 7), 7
# Colours from the table of classes of the data set; the colours in its classes.json are wrong. The last one means unlabelled.
DUBAI_COLOURS = ((60, 16, 152), (226, 169, 41), (132, 41, 246), (110, 193, 228), (254, 221, 58), (155, 155, 155))
DUBAI_LAYERS = {"building": (0,), "region": (1, 2, 3, 4)}
# Glare disturbs the panels in these images. Most others are rotated copies of five originals, with the same number in the name.
GLARE = {"417", "hflipped_131", "hflipped_343", "hflipped_374"}
ZOOM_HALF_M = 20037508.342789244
FIRST_TOWN = 1000
# Pictures with this name show the town of the validation pictures of Banepa.
SAME_TOWN = "nepal_banepa"
# Only every third image is used, because splitting all into regions would take minutes more.
UNLABELLED_EVERY = 3
OBJECTS = {"building": Layer(1.0)}


def sources(data: Path, *, scenes: int = 60) -> list[Source]:
    """Read all training sources of the bundled model.

    Parameters
    ----------
    data : Path
        The folder with the data sets.
    scenes : int, default 60
        Number of generated towns in addition to the data sets, at least 1.

    Returns
    -------
    list of Source

    Raises
    ------
    RasterError, VectorError
        If a data set is missing or cannot be read.
    OptionError
        If scikit-image is not installed. It is needed to find regions in imagery without labels.
    """
    felzenszwalb()
    mapped = {"building": Layer(0.7), "region": Layer(0.3)}
    buildings = _labelled_buildings(data)
    return [
        Source("banepa", buildings["banepa"], 0.20, OBJECTS, (0.2, 1.9)),
        Source("kampala", buildings["kampala"], 0.14, OBJECTS, (0.2, 1.6)),
        Source("philippines-nepal", buildings["drone"], 0.11, OBJECTS, (0.15, 1.9)),
        Source("dhaka", buildings["dhaka"], 0.06, OBJECTS, (0.5, 2.6)),
        Source("dubai", buildings["dubai"], 0.20, mapped, (0.3, 2.0)),
        Source("rio", buildings["rio"], 0.14, OBJECTS, (0.5, 3.0)),
        Source("solar", list(_japan(data, "solar")), 0.03, {"solar": Layer(1.0)}, (0.5, 1.6)),
        Source("roads", list(_japan(data, "roads")), 0.03, {"roads": Layer(1.0)}, (0.5, 1.6)),
        Source("scenes", list(towns(scenes, FIRST_TOWN)), 0.13, {"building": Layer(0.75), "region": Layer(0.25)}, (0.35, 2.0)),
        Source("naip", list(_naip(data)), 0.09, LAYERS, (1.0, 3.0)),
    ]


def finder_sources(data: Path, *, scenes: int = 40) -> list[Source]:
    """Read all training sources of the bundled finder of buildings.

    They differ from `sources`: only buildings are learned, all buildings of a picture must be labelled, and the picture of
    Banepa by drone is left out, because it shows the town of the validation pictures.

    Parameters
    ----------
    data : Path
        The folder with the data sets.
    scenes : int, default 40
        Number of generated towns in addition to the data sets, at least 1.

    Returns
    -------
    list of Source

    Raises
    ------
    RasterError, VectorError
        If a data set is missing or cannot be read.
    """
    buildings = _labelled_buildings(data)
    return [
        Source("banepa", buildings["banepa"], 0.30, OBJECTS, (0.3, 2.2)),
        Source("rio", buildings["rio"], 0.20, OBJECTS, (0.8, 3.0)),
        Source("dhaka", buildings["dhaka"], 0.09, OBJECTS, (0.5, 3.0)),
        Source("philippines", [one for one in buildings["drone"] if SAME_TOWN not in one.name], 0.11, OBJECTS, (0.3, 1.9)),
        Source("kampala", buildings["kampala"], 0.08, OBJECTS, (0.25, 1.6)),
        Source("dubai", buildings["dubai"], 0.10, OBJECTS, (0.35, 2.2)),
        Source("scenes", list(towns(scenes, FIRST_TOWN)), 0.12, OBJECTS, (0.35, 2.4)),
    ]


def _labelled_buildings(data: Path) -> dict[str, list[Picture]]:
    """Read the training pictures with labels of buildings, by place."""
    return {
        "banepa": [picture for number, picture in enumerate(_banepa(data)) if number < BANEPA_TRAINING_CHIPS],
        "dubai": [picture for tile in DUBAI_TRAINING_TILES for picture in _dubai(data, tile)],
        "drone": from_coco(*_coco(data, "oam-philippines-nepal-buildings"), min_area_px=80),
        "dhaka": from_coco(*_coco(data, "oam-dhaka-buildings"), min_area_px=64),
        "kampala": list(_kampala(data)),
        "rio": list(_rio_masks(data)),
    }


def validation(data: Path) -> dict[str, list[Picture]]:
    """Read the validation pictures: the last chips of Banepa, tile 7 of Dubai, and Rio with footprints.

    Parameters
    ----------
    data : Path
        The folder with the data sets.

    Returns
    -------
    dict of str to list of Picture

    Raises
    ------
    RasterError, VectorError
        If a data set is missing or cannot be read.
    """
    return {
        "Banepa": [picture for number, picture in enumerate(_banepa(data)) if number >= BANEPA_TRAINING_CHIPS],
        "Dubai": [_densest(picture) for picture in _dubai(data, DUBAI_VALIDATION_TILE)],
        "Rio": list(_rio_vectors(data)),
    }


def crowns(data: Path) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.float64]]]:
    """Read the NEON images of trees at 0.1 m with hand-drawn boxes of crowns; they are not used for training.

    Parameters
    ----------
    data : Path
        The folder with the data sets.

    Yields
    ------
    name : str
    image : ndarray of uint8, shape (400, 400, 3)
    boxes : ndarray, shape (N, 4)
        x0, y0, x1, y1 in pixels.

    Raises
    ------
    RasterError
        If the data set is not there, or cannot be read.
    """
    folder = data / "neon-tree-crowns"
    for path in _some(folder, "*.xml"):
        text = path.read_text(encoding="utf-8")
        # The files are few and flat. Regular expressions suffice, and avoid the risks of parsing untrusted XML.
        boxes = [
            [float(value) for value in re.findall(r"<[xy]m(?:in|ax)>([\d.]+)<", box)] for box in text.split("<bndbox>")[1:]
        ]
        (image,) = (found for found in folder.glob(f"{path.stem}.*") if found.suffix in {".tif", ".png"})
        yield path.stem, read_image(image), np.array(boxes)


def _banepa(data: Path) -> Iterator[Picture]:
    """Read chips from west to east and north to south."""
    folder = data / BANEPA
    footprints = read_vectors(folder / "footprints.geojson")
    chips = sorted(_some(folder / "chips", "*.tif"), key=lambda path: [int(part) for part in re.findall(r"\d+", path.stem)])
    for path in chips:
        yield from_vectors(path, {"building": footprints}, min_area_px=100)


def _dubai(data: Path, tile: int) -> Iterator[Picture]:
    colours = np.array(DUBAI_COLOURS, dtype=np.int16)
    for path in _some(data / DUBAI / f"Tile {tile}" / "images", "*.jpg"):
        image, mask = read_image(path), read_image(path.parents[1] / "masks" / f"{path.stem}.png").astype(np.int16)
        rows, columns = min(len(image), len(mask)), min(image.shape[1], mask.shape[1])
        mask = mask[:rows, :columns]
        distance = np.stack([np.abs(mask - colour).sum(2) for colour in colours])
        name = f"dubai-{tile}-{path.stem}"
        yield from_classes(name, image[:rows, :columns], distance.argmin(0), DUBAI_LAYERS)


def _densest(picture: Picture, side: int = 512) -> Picture:
    """Return the tile with the most buildings. One tile for each picture keeps validation short."""
    tiles = [tile for tile in picture.tiles(side) if tile.shape == (side, side)] or [picture.cut(0, 0, side, side)]
    return max(tiles, key=lambda tile: len(np.unique(tile.layers["building"])))


def _rio_vectors(data: Path) -> Iterator[Picture]:
    folder = data / RIO
    for path in _some(folder / "3band", "*.tif"):
        name = path.stem.removeprefix("3band_")
        picture = from_vectors(path, {"building": folder / "vectorData" / "geoJson" / f"{name}_Geo.geojson"}, min_area_px=40)
        if picture.layers["building"].any():
            yield picture


def _rio_masks(data: Path) -> Iterator[Picture]:
    folder = data / "spacenet1-rio-more"
    for path in _some(folder / "images", "*.png"):
        mask = read_image(folder / "masks" / path.name)[..., 0] > 127
        # Buildings that touch are connected in these masks. Erosion separates them; then each core grows back to its full size.
        cores = components(ndimage.binary_erosion(mask))
        distance, nearest = ndimage.distance_transform_edt(cores == 0, return_indices=True)
        ids = np.where(mask & (distance < 2.5), cores[tuple(nearest)], 0)
        image = read_image(path)
        ids[~image.any(2)] = 0
        yield Picture(path.stem, image, {"building": renumber(ids, 24, path.stem)})


def _japan(data: Path, kind: str) -> Iterator[Picture]:
    seen: set[str] = set()
    for path in _some(data / f"japan-{kind}" / "images", "*.jpg"):
        number = path.stem.rsplit("_", 1)[-1]
        if path.stem in GLARE or number in seen:
            continue
        seen.add(number)
        mask = read_image(path.parents[1] / "masks" / f"{path.stem}.png")[..., 0] > 127
        ids = renumber(components(_closed(mask) if kind == "roads" else mask), 150, path.stem)
        if ids.any():
            yield Picture(f"{kind}-{path.stem}", read_image(path), {kind: ids})


def _closed(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Close the holes that cars and markings leave in roads."""
    closed = ndimage.binary_closing(np.pad(mask, 4), iterations=2)[4:-4, 4:-4]
    holes = components(~closed)
    small = np.flatnonzero(np.bincount(holes.ravel()) < 120)
    return np.asarray(closed | (np.isin(holes, small) & ~closed))


def _kampala(data: Path) -> Iterator[Picture]:
    """Join adjacent XYZ tiles of each zoom level into mosaics, and rasterise the footprints on them."""
    import xarray as xr

    folder = data / "oam-kampala-buildings"
    zooms: dict[int, dict[tuple[int, int], Path]] = {}
    for path in _some(folder, "OAM-*.png"):
        x, y, zoom = (int(part) for part in path.stem.split("-")[1:])
        zooms.setdefault(zoom, {})[x, y] = path
    for zoom, tiles in sorted(zooms.items()):
        side_m = 2 * ZOOM_HALF_M / 2**zoom
        for number, group in enumerate(_touching(list(tiles))):
            (left, top), (right, bottom) = group.min(0), group.max(0) + 1
            mosaic = np.zeros(((bottom - top) * 256, (right - left) * 256, 3), dtype=np.uint8)
            for x, y in group.tolist():
                mosaic[(y - top) * 256 :, (x - left) * 256 :][:256, :256] = _tile(tiles[x, y])
            west, south = left * side_m - ZOOM_HALF_M, ZOOM_HALF_M - bottom * side_m
            east, north = right * side_m - ZOOM_HALF_M, ZOOM_HALF_M - top * side_m
            geobox = GeoBox.from_bbox((west, south, east, north), "EPSG:3857", shape=mosaic.shape[:2])
            array: xr.DataArray = wrap_xr(mosaic, geobox, axis=0)
            yield from_vectors(array, {"building": folder / "labels.geojson"}, min_area_px=60, name=f"kampala-{zoom}-{number}")


def _tile(path: Path) -> NDArray[np.uint8]:
    """Read a tile as RGB; transparent pixels of RGBA tiles become (0, 0, 0), which means no data."""
    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("RGBA").resize((256, 256)))
    return np.where(pixels[..., 3:] > 0, pixels[..., :3], 0).astype(np.uint8)


def _touching(tiles: list[tuple[int, int]]) -> Iterator[NDArray[np.int64]]:
    """Group tiles that touch along an edge or at a corner: arrays of x and y."""
    places = np.array(tiles)
    low = places.min(0)
    grid = np.zeros(places.max(0) - low + 1, dtype=bool)
    grid[tuple((places - low).T)] = True
    groups, count = ndimage.label(grid, np.ones((3, 3)))
    for group in range(1, count + 1):
        yield np.argwhere(groups == group) + low


def _naip(data: Path) -> Iterator[Picture]:
    """Find regions in tiles without labels."""
    folder = data / "naip-urban-trees"
    for path in (*_some(folder / "images", "*.tif"), *_some(folder / "unlabelled", "*.jpg")[::UNLABELLED_EVERY]):
        yield with_regions(path.stem, read_image(path))


def _coco(data: Path, name: str) -> tuple[Path, Path]:
    return data / name / "annotations_coco.json", data / name / "images"


def _some(folder: Path, pattern: str) -> list[Path]:
    found = sorted(folder.glob(pattern))
    if not found:
        raise RasterError(f"{folder} contains no {pattern}; give the folder with the project's data sets.")
    return found
