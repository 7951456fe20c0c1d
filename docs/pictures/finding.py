"""Pictures of objects that are found: the demonstration, the finder, examples, PerSAM-F, prompts from heights."""

from __future__ import annotations

import tempfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from drawing import BLUE, beside, enlarged, painted, saved
from PIL import Image
from rasterio.features import rasterize, shapes
from registry import picture
from shapely.geometry import shape

import samgeo
from samgeo.finding.persam import personalize
from samgeo.plot import RGB
from samgeo.segmentation import RasterPrompts
from samgeo.synthetic import Scene, town


@picture("demo.jpg")
def demo() -> Image.Image:
    """Draw the footprints that `samgeo demo` finds in its town."""
    image = saved(town((1024, 1024), seed=1))
    return enlarged(samgeo.show(image, samgeo.footprints(image)), 0.65)


@picture("find.jpg")
def find() -> Image.Image:
    """Draw buildings by score."""
    image = saved(town((448, 576), seed=1))
    return enlarged(samgeo.show(image, samgeo.find(image, progress=False), column="score"), 1.25)


@picture("examples.jpg")
def examples() -> Image.Image:
    """Draw what three outlines of tiled roofs find."""
    scene = town((512, 512), seed=3)
    image = saved(scene)
    tiled = scene.footprints[(scene.footprints.cover == "tile") & (scene.footprints.area > 40)].iloc[:3]
    found = samgeo.find(image, "roof", examples=tiled, progress=False)
    picture_ = samgeo.show(image, found)
    return enlarged(outlined(picture_, scene, tiled), 1.25)


def outlined(picture_: Image.Image, scene: Scene, objects: gpd.GeoDataFrame) -> Image.Image:
    """Draw thick blue outlines on a picture of the scene."""
    on_top = Scene(np.asarray(picture_), scene.labels, scene.classes, scene.class_names, scene.footprints, scene.geobox)
    return painted(on_top, [(objects.geometry, BLUE)], opacity=0, line_px=4)


@picture("footprints.jpg")
def footprints() -> Image.Image:
    """Draw the outlines that were found, and the regular footprints that they become."""
    image = saved(town((288, 352), seed=4))
    found = samgeo.find(image, progress=False)
    regular = samgeo.regularize(found)
    shown = (samgeo.show(image, one, fill=False, column="class") for one in (found, regular))
    return beside([enlarged(one, 1.75) for one in shown])


HOT: tuple[RGB, ...] = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
PEAKS = 60


@picture("persam.jpg")
def persam() -> Image.Image:
    """Draw the similarity to one roof, and the masks at its peaks."""
    scene = town((512, 512), seed=7)
    roof = scene.footprints[(scene.footprints.area > 80)].iloc[2]
    target = personalize("tiny", scene.image, scene.labels == roof["id"], learn_weights=True)
    encoded = target.encode(scene.image)
    similarity = target.similarity(encoded)
    share = (similarity - similarity.min()) / np.ptp(similarity)
    steps = np.linspace(0, 1, len(HOT))
    heat = np.stack([np.interp(share, steps, channel) for channel in np.array(HOT).T], axis=-1).astype(np.uint8)
    one_roof = gpd.GeoDataFrame(geometry=[roof.geometry], crs=scene.footprints.crs)
    found, _ = target.segment(encoded, target.clicks(encoded, count=PEAKS))
    outlines = [outline(mask, scene) for mask in found]
    masks = gpd.GeoDataFrame(geometry=[one for one in outlines if one is not None], crs=scene.footprints.crs)
    return beside([outlined(Image.fromarray(heat), scene, one_roof), samgeo.show(saved(scene), masks)])


def outline(mask: np.ndarray, scene: Scene) -> object:
    """Return the polygon of the largest part of a mask, or None if the mask is empty."""
    parts = [shape(one) for one, _ in shapes(mask.astype("uint8"), mask, transform=scene.geobox.affine)]
    return max(parts, key=lambda part: part.area, default=None)


@picture("prompts-from.jpg")
def prompts_from() -> Image.Image:
    """Draw buildings whose prompts came from heights of 1 m."""
    scene = town((480, 480), seed=21)
    heights = write_heights(scene, Path(tempfile.mkdtemp()) / "heights.tif")
    image = saved(scene)
    found = samgeo.segment(image, prompts_from=RasterPrompts(heights, split="steps"), progress=False)
    return enlarged(samgeo.show(image, found), 1.25)


def write_heights(scene: Scene, path: Path) -> Path:
    """Write the heights of the roofs of a town above the ground, with noise of 0.15 m, in pixels of 1 m."""
    side = int(scene.labels.shape[0] * scene.geobox.affine.a)
    affine = rasterio.Affine(1, 0, scene.geobox.affine.c, 0, -1, scene.geobox.affine.f)
    roofs = zip(scene.footprints.geometry, scene.footprints["height_m"], strict=True)
    values = rasterize(roofs, out_shape=(side, side), transform=affine, dtype="float32")
    values += np.random.default_rng(0).normal(0, 0.15, values.shape).astype(np.float32)
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "float32", "transform": affine}
    with rasterio.open(path, "w", crs=str(scene.geobox.crs), **profile) as dataset:
        dataset.write(values, 1)
    return path
