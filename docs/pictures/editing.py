"""Pictures of rasters that are changed: removed objects, removed clouds, compression around objects."""

from __future__ import annotations

import warnings
from dataclasses import replace

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from drawing import beside, enlarged, saved
from PIL import Image
from rasterio.features import shapes
from registry import folder, picture
from scipy import ndimage

import samgeo
from samgeo.synthetic import Scene, town

CAR_PX = (30, 400)
PINK = (255, 0, 160)


@picture("remove.jpg")
def remove() -> Image.Image:
    """Draw a town, the same without its cars, and the invented pixels."""
    scene = town((256, 352), seed=2)
    image, place = saved(scene), folder()
    samgeo.remove(image, cars(scene), place / "empty.tif", grow_px=6)
    with rasterio.open(place / "empty.tif") as dataset:
        bands = dataset.read()
    filled, invented = np.moveaxis(bands[:3], 0, -1), bands[3] > 0
    marked = np.where(invented[..., None], np.uint8(PINK), (filled * 0.35).astype(np.uint8))
    return beside([enlarged(Image.fromarray(one), 1.2) for one in (scene.image, filled, marked)])


def cars(scene: Scene) -> gpd.GeoDataFrame:
    """Return the outlines of the cars of a town."""
    labels, count = ndimage.label(scene.classes == scene.class_names.index("car"))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    kept = np.flatnonzero((sizes >= CAR_PX[0]) & (sizes <= CAR_PX[1]))
    mask = np.isin(labels, kept[kept > 0])
    outlines = [shapely.geometry.shape(one) for one, _ in shapes(mask.astype("uint8"), mask, transform=scene.geobox.affine)]
    return gpd.GeoDataFrame(geometry=outlines, crs=scene.footprints.crs)


@picture("clouds.jpg")
def clouds() -> Image.Image:
    """Draw a cloud, the same place from three other dates, and what the neighbours alone give."""
    scene, place = town((256, 384), seed=2), folder()
    y, x = np.mgrid[: scene.image.shape[0], : scene.image.shape[1]]
    white = np.exp(-((((x - 190) / 75) ** 2 + ((y - 120) / 55) ** 2) ** 2))[..., None]
    rng = np.random.default_rng(0)
    cloudy = saved(replace(scene, image=(scene.image * (1 - white) + 250 * white).astype(np.uint8)), "june.tif")
    others = []
    for month in ("may", "july", "august"):
        noisy = np.clip(scene.image + rng.normal(0, 4, scene.image.shape), 0, 255).astype(np.uint8)
        others.append(replace(scene, image=noisy).save(place / f"{month}.tif"))
    mask = (white[..., 0] > 0.02).astype("uint8")
    outlines = [shapely.geometry.shape(one) for one, _ in shapes(mask, mask > 0, transform=scene.geobox.affine)]
    cover = gpd.GeoDataFrame(geometry=outlines, crs=scene.footprints.crs)
    samgeo.remove(cloudy, cover, place / "dates.tif", dates=others)
    samgeo.remove(cloudy, cover, place / "alone.tif")
    filled = [samgeo.show(place / name, invented="data") for name in ("dates.tif", "alone.tif")]
    return beside([samgeo.show(cloudy), *filled])


@picture("compress.jpg")
def compress() -> Image.Image:
    """Draw a town, compressed around its buildings with interpolated squares, and with plain squares."""
    scene, place = town((256, 320), seed=1), folder()
    image = saved(scene)
    panels = [samgeo.show(image)]
    for name, smooth in (("smooth.tif", True), ("plain.tif", False)):
        samgeo.compress(image, scene.footprints, place / name, factor=8, smooth=smooth)
        with warnings.catch_warnings(action="ignore", category=samgeo.errors.SamgeoWarning):  # what is coarse is to be shown
            panels.append(samgeo.show(place / name))
    return beside([enlarged(one, 1.2) for one in panels])
