"""Pictures of objects that are compared: oddness, and classes by a few examples."""

from __future__ import annotations

from dataclasses import replace

import geopandas as gpd
import numpy as np
from drawing import beside, saved
from PIL import Image
from registry import picture

import samgeo
from samgeo.synthetic import Scene, town

TINTS: tuple[tuple[float, float, float], ...] = ((0.5, 0.7, 1.5), (0.6, 1.4, 0.6), (1.5, 0.6, 1.4))
"""Factors of red, green and blue that make a roof blue, green and magenta."""

LEAST_M2 = 20
COVERS = ("concrete", "slate", "tile")


@picture("oddness.jpg")
def oddness() -> Image.Image:
    """Draw the five roofs that differ most from the others, three of which were painted over; and all by their oddness."""
    scene, rng = town((576, 576), seed=14), np.random.default_rng(14)
    roofs = scene.footprints[scene.footprints.area > LEAST_M2].iloc[:100].reset_index(drop=True)
    image = scene.image.copy()
    for tint, number in zip(TINTS, rng.choice(roofs["id"][roofs.area > 60], 3, replace=False).tolist(), strict=True):
        roof = scene.labels == number
        image[roof] = np.clip(1.3 * image[roof].mean(axis=1, keepdims=True) * np.array(tint), 0, 255).astype(np.uint8)
    changed = saved(replace(scene, image=image))
    result = samgeo.oddness(roofs, changed)
    odd = samgeo.show(changed, result.nlargest(5, "oddness").assign(kind="odd"), column="kind", fill=False)
    return beside([odd, samgeo.show(changed, result, column="oddness")])


@picture("classes.jpg")
def classes() -> Image.Image:
    """Draw ten examples of each roof cover, and the classes of all roofs."""
    scene = town((576, 576), seed=14)
    image, roofs = saved(scene), plain_roofs(scene)
    rows = roofs.groupby("cover").sample(frac=1, random_state=0).groupby("cover").head(10).index
    known = roofs.assign(known=roofs["cover"].where(roofs.index.isin(rows)))
    result = samgeo.classify(known, image, "known")
    examples = known[known.known.notna()]
    return beside([samgeo.show(image, examples, column="known"), samgeo.show(image, result, column="class")])


def plain_roofs(scene: Scene) -> gpd.GeoDataFrame:
    """Return the roofs of three covers that are large enough."""
    roofs = scene.footprints
    chosen = (roofs.area > LEAST_M2) & (roofs.geom_type == "Polygon") & roofs["cover"].isin(COVERS)
    return roofs[chosen].reset_index(drop=True)
