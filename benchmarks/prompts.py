"""Mean IoU of prompted footprints on the Banepa mosaic, and the rate of boxes beside that of the bare decoder.

    SAMGEO_DATA=... python benchmarks/prompts.py [--model tiny] [--boxes 512] [--picture banepa.png]

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
from _skip import skip

import samgeo
from samgeo.geo.prompts import read_polygons
from samgeo.segment.prompting import interior_points
from samgeo.segment.vectorize import georeference, polygons

MIN_AREA_PX = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--boxes", type=int, default=512, help="of the rate; 0 leaves it out")
    parser.add_argument("--limit", type=int, help="at most so many footprints")
    parser.add_argument("--picture", type=Path, help="a PNG of the answers to boxes")
    options = parser.parse_args()
    folder = Path(os.environ.get("SAMGEO_DATA", "")) / "oam-banepa-buildings"
    if not (folder / "banepa.tif").is_file():
        skip("SAMGEO_DATA does not name a folder with oam-banepa-buildings/banepa.tif.")

    predictor = samgeo.Predictor(folder / "banepa.tif", model=options.model)
    truth = footprints(predictor, folder / "footprints.geojson")[: options.limit]
    print(f"{len(truth)} footprints, model {predictor.model.name} {predictor.model.digest[:12]}")
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
    if options.boxes:
        rate(predictor, truth, options.boxes)
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


def rate(predictor: samgeo.Predictor, truth: np.ndarray, count: int) -> None:
    """Time boxes in a 512 px square, of encoded windows, and the bare decoder on as many boxes of one window."""
    corner = np.percentile(shapely.bounds(truth)[:, :2], 50, axis=0)
    given = shapely.bounds(truth[shapely.within(truth, shapely.box(*corner, *(corner + 512)))])
    given = given[np.arange(count) % len(given)]
    predictor.predict(boxes=given, crs="pixels")  # All windows are encoded now.
    side = predictor.model.input_size
    image, _ = predictor.raster.read(predictor.lattice.rect(0, 0))
    embedding = predictor.model.embed(image[None][:, :side, :side])[0]
    local = np.tile(np.array([[0.4, 0.4, 0.6, 0.6]], dtype=np.float32) * side, (64, 1))

    def bare() -> None:
        for start in range(0, count, 64):
            predictor.model.decode(embedding, boxes=local[: min(64, count - start)], multimask=False)

    def whole() -> None:
        predictor.predict(boxes=given, crs="pixels")

    # Processor time, alternately: other work on the machine must not decide.
    times = [[timed(task) for task in (bare, whole)] for _ in range(3)]
    seconds = dict(zip(("bare", "whole"), np.min(times, axis=0), strict=True))
    bare_rate, whole_rate = count / seconds["bare"], count / seconds["whole"]
    print(
        f"{count} boxes a second of processor: bare decoder {bare_rate:.1f}, predictor {whole_rate:.1f} "
        f"({bare_rate / whole_rate - 1:+.0%} time)"
    )


def timed(task: Callable[[], None]) -> float:
    start = time.process_time()
    task()
    return time.process_time() - start


if __name__ == "__main__":
    main()
