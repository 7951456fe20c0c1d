"""Mean IoU of prompted footprints on the Banepa mosaic, and the rate of boxes beside that of the bare decoder.

    SAMGEO_DATA=... python benchmarks/prompts.py [--model tiny] [--boxes 512 [--only-rate]] [--picture banepa.png]

Truth: the footprints that lie in the raster, of at least 60 pixels. One click is the pole of inaccessibility; each further
click is the pole of the deepest error, given with the logits of the answer before; a box is the exact bounding box in the
raster's axes. IoU is that of polygons.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
import torch
from _skip import skip

import samgeo
from samgeo.geo.coordinates.prompt_geometry import read_polygons
from samgeo.segmentation.masks.outline_prompts import interior_points
from samgeo.segmentation.masks.vectorize import georeference, polygons

MIN_AREA_PX = 60
BATCH = 64
JITTER_PX = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--boxes", type=int, default=512, help="of the rate; 0 leaves it out")
    parser.add_argument("--rounds", type=int, default=3, help="of the rate")
    parser.add_argument("--only-rate", action="store_true", help="leave the IoUs out")
    parser.add_argument("--limit", type=int, help="at most so many footprints")
    parser.add_argument("--picture", type=Path, help="a PNG of the answers to boxes")
    options = parser.parse_args()
    folder = Path(os.environ.get("SAMGEO_DATA", "")) / "oam-banepa-buildings"
    if not (folder / "banepa.tif").is_file():
        skip("SAMGEO_DATA does not name a folder with oam-banepa-buildings/banepa.tif.")

    predictor = samgeo.Predictor(folder / "banepa.tif", model=options.model)
    truth = footprints(predictor, folder / "footprints.geojson")[: options.limit]
    model, threads = predictor.model, torch.get_num_threads()
    print(f"{len(truth)} footprints, model {model.name} {model.digest[:12]}, {threads} threads")
    if options.boxes:
        rate(predictor, truth, options.boxes, options.rounds)
    if options.only_rate:
        return
    answers = {
        "box": boxes(predictor, truth),
        "one click": predictor.predict(points=interior_points(truth), crs="pixels"),
    }
    for name, answer in answers.items():
        ious = iou(in_pixels(predictor, answer), truth)
        print(f"{name}: mean IoU {ious.mean():.3f}, median {np.median(ious):.3f}, none {answer.reason.notna().sum()}")
    ious = iou(clicks(predictor, truth, 3), truth)
    print(f"three clicks: mean IoU {ious.mean():.3f}, median {np.median(ious):.3f}")
    rough = shapely.buffer(shapely.affinity.translate(shapely.GeometryCollection(list(truth)), 6, -4).geoms, 4)
    snapped = predictor.snap(list(rough), crs="pixels")
    print(
        f"footprints 6 px aside, 4 px too large: mean IoU {iou(rough, truth).mean():.3f}, snapped "
        f"{iou(in_pixels(predictor, snapped), truth).mean():.3f}, {(~snapped.snapped).sum()} kept"
    )
    if options.picture:
        samgeo.show(predictor.raster, answers["box"], options.picture, overwrite=True)


def footprints(predictor: samgeo.Predictor, path: Path) -> np.ndarray:
    """Return the footprints in the raster, in its pixels."""
    placed, _ = read_polygons(path, geobox=predictor.raster.geobox)
    height, width = predictor.raster.shape
    inside = shapely.within(placed, shapely.box(0, 0, width, height)) & (shapely.area(placed) >= MIN_AREA_PX)
    return placed[inside]


def boxes(predictor: samgeo.Predictor, truth: np.ndarray) -> gpd.GeoDataFrame:
    return predictor.predict(boxes=shapely.bounds(truth), crs="pixels")


def clicks(predictor: samgeo.Predictor, truth: np.ndarray, count: int) -> np.ndarray:
    """Click each object, and correct the answer."""
    answers = []
    for shape in truth:
        points, labels, earlier, answer = [interior_points([shape])[0]], [1], None, shapely.Polygon()
        for _ in range(count):
            found = predictor.candidates([points], [labels], masks=None if earlier is None else [earlier], crs="pixels")
            if found:
                earlier, answer = found[0].earlier, shapely.make_valid(polygons([found[0].mask])[0])
            missing, surplus = shapely.difference(shape, answer), shapely.difference(answer, shape)
            is_missing = depth(missing) >= depth(surplus)
            error = missing if is_missing else surplus
            points.append(interior_points([shape if error.is_empty else error])[0])
            labels.append(int(is_missing))
        answers.append(answer)
    return np.array(answers, dtype=object)


def depth(part: shapely.Geometry) -> float:
    return 0.0 if part.is_empty else float(shapely.length(shapely.maximum_inscribed_circle(part, 0.25)))


def in_pixels(predictor: samgeo.Predictor, frame: gpd.GeoDataFrame) -> np.ndarray:
    return np.asarray(georeference(frame.geometry.to_numpy(), ~predictor.raster.geobox.affine))


def iou(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    shared = shapely.area(shapely.intersection(shapely.make_valid(found), truth))
    return shared / (shapely.area(found) + shapely.area(truth) - shared)


def rate(predictor: samgeo.Predictor, truth: np.ndarray, count: int, rounds: int) -> None:
    """Time boxes all over the raster in one call, of encoded windows, and the bare decoder on such boxes in one window."""
    given = spread(truth, count)
    start = time.perf_counter()
    predictor.predict(boxes=given[: len(truth)], crs="pixels")  # All windows that boxes need are encoded now.
    print(f"first call, of {min(count, len(truth))} boxes, with encoding: {time.perf_counter() - start:.1f} s")
    side = predictor.model.input_size
    image, _ = predictor.raster.read(predictor.lattice.rect(0, 0))
    embedding = predictor.model.embed(image[None][:, :side, :side])[0]
    half = np.minimum(given[:, 2:] - given[:, :2], side).astype(np.float32) / 2
    local = np.concatenate([side / 2 - half, side / 2 + half], axis=1)

    def bare() -> None:
        for start in range(0, count, BATCH):
            predictor.model.decode(embedding, boxes=local[start : start + BATCH], multimask=False)

    def whole() -> None:
        predictor.predict(boxes=given, crs="pixels")

    # In turns: other work on the machine comes and goes, and it stretches wall time more than processor time.
    times = np.array([[timed(task) for task in (bare, whole)] for _ in range(rounds)])
    for name, column in (("processor", 0), ("wall", 1)):
        one, other = times[:, :, column].min(axis=0).tolist()
        each = ", ".join(f"{whole / bare - 1:+.1%}" for bare, whole in times[:, :, column].tolist())
        print(
            f"{count} boxes a second of {name} time: bare decoder {count / one:.1f}, predictor {count / other:.1f} "
            f"({other / one - 1:+.1%} time; by round {each})",
            flush=True,
        )


def spread(truth: np.ndarray, count: int) -> np.ndarray:
    """Return so many boxes: those of the footprints, then the same a few pixels off."""
    exact = shapely.bounds(truth)[np.arange(count) % len(truth)]
    off = np.random.default_rng(0).uniform(-JITTER_PX, JITTER_PX, exact.shape)
    moved = np.where((np.arange(count) < len(truth))[:, None], exact, exact + off)
    # The sides of a sliver may have changed places.
    low, high = np.minimum(moved[:, :2], moved[:, 2:]), np.maximum(moved[:, :2], moved[:, 2:])
    return np.concatenate([low, high], axis=1)


def timed(task: Callable[[], None]) -> tuple[float, float]:
    """Return the processor's seconds, of all threads, and those on the wall."""
    processor, wall = time.process_time(), time.perf_counter()
    task()
    return time.process_time() - processor, time.perf_counter() - wall


if __name__ == "__main__":
    main()
