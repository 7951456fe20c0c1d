"""Masks to polygons: ours, rasterio.features.shapes on regions and on whole frames, and the contours of OpenCV, in turns.

    python benchmarks/bench_vectorize.py [--masks 200] [--repeats 5]

The masks are what the bundled model finds in a generated town. Ours starts from runs, the others from boolean arrays, which are
made before. The geometries of rasterio must equal ours. Contours run through the centres of pixels: they are another shape, and
the benchmark says how far off. OpenCV is left out where it is not installed (pip install opencv-python-headless).
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import rasterio.features
import shapely
from _turns import in_turns, say
from affine import Affine

import samgeo
from samgeo.geo.grid import Rect
from samgeo.models import keep_freed_memory
from samgeo.models.registry import Gates
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.vectorize import polygons
from samgeo.segmentation.windows.automatic import automatic_masks, embed_window
from samgeo.synthetic import town

keep_freed_memory()  # as the command line does

SIDE = 1024


def masks_of_a_town(count: int) -> list[Mask]:
    model = samgeo.load_model("tiny", device="cpu")
    image, size = town((SIDE, SIDE), seed=1).image, (SIDE, SIDE)
    centres = (np.arange(24) + 0.5) * SIDE / 24
    points = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)
    gates = Gates(pred_iou=0.3, stability=0.5)
    found = automatic_masks(model, embed_window(model, image, size), points, gates=gates, window=SIDE, size=size)
    return [one.mask for one in found[:count]]


def traced(arrays: list[np.ndarray], corners: list[tuple[int, int]]) -> list[shapely.Geometry]:
    """One geometry a mask by rasterio: its parts are polygons of 4-connected pixels."""
    made = []
    for array, (x0, y0) in zip(arrays, corners, strict=True):
        shapes = rasterio.features.shapes(array.view(np.uint8), mask=array, transform=Affine.translation(x0, y0))
        parts = [shapely.Polygon(rings[0], rings[1:]) for rings in (shape["coordinates"] for shape, _ in shapes)]
        made.append(parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts))
    return made


def contoured(cv2: Any, arrays: list[np.ndarray], corners: list[tuple[int, int]]) -> list[shapely.Geometry]:
    """One geometry a mask by OpenCV, with holes; contours of fewer than three points are no area and are left out."""
    made = []
    for array, (x0, y0) in zip(arrays, corners, strict=True):
        rings, tree = cv2.findContours(array.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(x0, y0))
        holes: dict[int, list[np.ndarray]] = {}
        for ring, (*_, parent) in zip(rings, tree[0], strict=True):
            if parent >= 0 and len(ring) > 2:
                holes.setdefault(parent, []).append(ring[:, 0])
        parts = [
            shapely.Polygon(ring[:, 0], holes.get(index, []))
            for index, (ring, (*_, parent)) in enumerate(zip(rings, tree[0], strict=True))
            if parent < 0 and len(ring) > 2
        ]
        made.append(shapely.MultiPolygon(parts))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    masks = masks_of_a_town(options.masks)
    rects = [mask.rect for mask in masks]
    regions = [mask.to_array(rect) for mask, rect in zip(masks, rects, strict=True)]
    frames = [mask.to_array(Rect(0, 0, SIDE, SIDE)) for mask in masks]
    corners, origin = [(rect.x0, rect.y0) for rect in rects], [(0, 0)] * len(masks)

    ours = polygons(masks)
    for theirs in (traced(regions, corners), traced(frames, origin)):
        assert shapely.equals(ours, np.array(theirs, dtype=object)).all(), "rasterio outlines other pixels"
    assert shapely.is_valid(ours).all()
    median = int(np.median(shapely.area(ours)))
    print(f"{len(masks)} masks of {median} pixels in the median, {shapely.get_num_coordinates(ours).sum()} vertices, "
          "equal geometry from ours and rasterio")  # fmt: skip
    works = {
        "ours": lambda: polygons(masks),
        "rasterio_on_regions": lambda: traced(regions, corners),
        "rasterio_on_frames": lambda: traced(frames, origin),
    }
    try:
        import cv2
    except ImportError:
        print("OpenCV is not installed; left out")
    else:
        off = shapely.area(np.array(contoured(cv2, regions, corners), dtype=object)) / shapely.area(ours) - 1
        print(f"OpenCV's contours have {np.median(off):+.1%} of the area in the median, {off.min():+.1%} at worst")
        works["opencv_on_regions"] = lambda: contoured(cv2, regions, corners)
        works["opencv_on_frames"] = lambda: contoured(cv2, frames, origin)
    say(f"{len(masks)} masks to polygons", in_turns(options.repeats, **works))


if __name__ == "__main__":
    main()
