"""Prompts of small objects: the IoU of boxes and of single clicks at zoom 1, at zoom 2, and with the zoom "auto".

    SAMGEO_DATA=... python benchmarks/bench_zoom.py [--chips 9]

Places: training chips of Banepa as they are (0.13 m) and reduced by the mean of 3 x 3 and 2 x 2 pixels, so that well-aligned
outlines of small objects exist; and chips with building masks of SpaceNet 1 in Rio (0.5 m). The bundled model was trained
on these places, at several scales, and so they tell how zooms compare, and not how good the model is. A box has
corners that are off by up to a twentieth of its side, and a click is the innermost point. Small are objects
whose box, or whose first answer to the click at zoom 1, has sides of at most 32 pixels.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from _skip import skip

import samgeo
from samgeo.geo.grid import Rect
from samgeo.models import keep_freed_memory
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.outline_prompts import interior_points
from samgeo.segmentation.masks.vectorize import polygons

keep_freed_memory()  # as the command line does

LEAST_PX, SMALL_PX = 30, 32
ZOOMS = (1, 2, "auto")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chips", type=int, default=9, help="number of chips of each place")
    options = parser.parse_args()
    data = Path(os.environ.get("SAMGEO_DATA", ""))
    if not (data / "oam-banepa-buildings" / "banepa.tif").is_file():
        skip("SAMGEO_DATA does not name a folder with oam-banepa-buildings/banepa.tif.")
    from samgeo.training.data.overhead_recipe import finder_sources

    sources = {one.name: one.pictures for one in finder_sources(data, scenes=1)}
    print("| place | prompt | objects | zoom 1 | zoom 2 | auto | small objects | zoom 1 | zoom 2 | auto |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    for place, source, factor in (("Banepa", "banepa", 1), ("by 2", "banepa", 2), ("by 3", "banepa", 3), ("Rio", "rio", 1)):
        pictures = sources[source]
        rows = {"box": [], "click": []}
        for picture in pictures[1 :: max(len(pictures) // options.chips, 1)][: options.chips]:
            image, ids = reduced(np.asarray(picture.image), picture.layers["building"].astype(np.int64), factor)
            for kind, found in judged(image, ids, rng).items():
                rows[kind] += found
        for kind, found in rows.items():
            table = np.array(found)
            small = table[table[:, 0] <= SMALL_PX]
            figures = []
            for some in (table, small):
                means = [f"{value:.3f}" for value in some[:, 1:].mean(0)] if len(some) else ["-"] * len(ZOOMS)
                figures.append(" | ".join([str(len(some)), *means]))
            print(f"| {place} | {kind} | {figures[0]} | {figures[1]} |", flush=True)


def reduced(image: np.ndarray, ids: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """An image with the mean of factor x factor pixels as one, and the number of the object in the middle of each."""
    height, width = (side // factor * factor for side in ids.shape)
    parts = image[:height, :width].reshape(height // factor, factor, width // factor, factor, 3)
    middle = ids[:height, :width][factor // 2 :: factor, factor // 2 :: factor]
    return np.round(parts.mean((1, 3), dtype=np.float64)).astype(np.uint8), middle


def judged(image: np.ndarray, ids: np.ndarray, rng: np.random.Generator) -> dict[str, list[list[float]]]:
    """Side, and IoU at each zoom, of each object, by kind of prompt."""
    sizes = np.bincount(ids.ravel())
    truth = [ids == number for number in np.flatnonzero(sizes >= LEAST_PX) if number > 0]
    if not truth:
        return {}
    masks = [Mask.from_array(one) for one in truth]
    boxes = np.array([[one.rect.x0, one.rect.y0, one.rect.x1, one.rect.y1] for one in masks], dtype=np.float64)
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
    boxes += rng.uniform(-1, 1, boxes.shape) * np.maximum(sides / 20, 1)[:, None]
    points = interior_points(polygons(masks).tolist())
    frame = Rect(0, 0, ids.shape[1], ids.shape[0])
    ious: dict[str, list[list[float]]] = {"box": [], "click": []}
    for zoom in ZOOMS:
        predictor = samgeo.Predictor(image, zoom=zoom, threads=1)
        for kind, given in (("box", {"boxes": boxes}), ("click", {"points": points})):
            answers = predictor.predict_masks(crs="pixels", **given)
            found = [np.zeros(ids.shape, dtype=bool) if isinstance(one, str) else one.mask.to_array(frame) for one in answers]
            if kind == "click" and zoom == 1:
                sides_of_answers = np.array([0 if isinstance(one, str) else max(one.mask.rect.shape) for one in answers])
            ious[kind].append([float((one & true).sum() / (one | true).sum()) for one, true in zip(found, truth, strict=True)])
    by_kind = {"box": (boxes[:, 2:] - boxes[:, :2]).max(1), "click": sides_of_answers}
    return {kind: np.column_stack([by_kind[kind], *values]).tolist() for kind, values in ious.items()}


if __name__ == "__main__":
    main()
