"""Finding buildings: F1 at an IoU of 0.5 on places that gave no training example, and the time beside everything mode.

    SAMGEO_DATA=... python benchmarks/bench_find.py [--flips] [--pictures FOLDER] [--time]

Places: the last 8 chips of Banepa (0.13 m), the chips of SpaceNet 1 in Rio with footprints (0.5 m), tile 7 of Dubai (no
CRS, two zooms). Outlines are drawn on the pixels and matched one to one, the highest score first. Objects of fewer than
40 pixels are left out of the truth, and found objects that lie mostly in them do not count. "Best" is the F1 at the
threshold that is best for the place, which is not known in use; "default" is the F1 at the finder's own threshold. The
calibration error is the mean distance of score and precision over ten bins of the scores above 0.1, weighted by their
counts. "Auto" is the F1 at the threshold that min_score="auto" chooses from the scores of at least 0.05 of the place, and
"found" the share of the true objects that were found with any score. With --calibration, some objects of a place are
judged, at random, and the scores of the others are compared before and after. With --time, the mosaic of Banepa is searched
by find and by everything mode in turns, and processor times are compared.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from _skip import skip

import samgeo
from samgeo.finding import Calibration, suggest_threshold
from samgeo.models import keep_freed_memory

keep_freed_memory()  # as the command line does

LEAST_PX = 40
LEAST_SCORE = 0.05  # of min_score="auto"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finder", default=None, help="a finder's file; the bundled finder of buildings by default")
    parser.add_argument("--flips", action="store_true")
    parser.add_argument("--pictures", type=Path, help="a folder for one picture of each place")
    parser.add_argument("--calibration", action="store_true")
    parser.add_argument("--time", action="store_true")
    options = parser.parse_args()
    data = Path(os.environ.get("SAMGEO_DATA", ""))
    if not (data / "oam-banepa-buildings" / "banepa.tif").is_file():
        skip("SAMGEO_DATA does not name a folder with oam-banepa-buildings/banepa.tif.")
    from samgeo.finding import load_finder
    from samgeo.training.data.overhead_recipe import validation

    finder = load_finder(options.finder or "building")
    columns = "place | objects | best F1 | threshold | default | precision | recall | best F1 at IoU 0.3 | calibration error"
    print(f"| {columns} | auto | threshold | found |\n{'|---' * 12}|")
    places = {}
    for place, pictures in validation(data).items():
        chips = []
        for picture in pictures:
            ids = picture.layers["building"].astype(np.int64)
            resolution = {"Banepa": 0.13, "Rio": 0.5}.get(place, "auto")
            found = samgeo.find(
                picture.image, finder=finder, resolution=resolution, min_score=0.02, flips=options.flips, progress=False
            )
            chips.append((found, ids))
            if options.pictures is not None and picture is pictures[min(1, len(pictures) - 1)]:
                options.pictures.mkdir(exist_ok=True)
                kept = found[found["score"] >= finder.info.min_score]
                samgeo.show(picture.image, kept, output=options.pictures / f"{place}.png", overwrite=True)
        places[place] = chips
        print(line(place, chips, finder.info.min_score), flush=True)
    if options.calibration:
        for place, chips in places.items():
            print(f"{place}: {calibrated(judged(chips, 0.5)[0])}", flush=True)
    if options.time:
        timed(data / "oam-banepa-buildings" / "banepa.tif", finder)


def line(place: str, chips: list, default: float) -> str:
    (rows, count), (loose, _) = judged(chips, 0.5), judged(chips, 0.3)
    best, threshold = best_f1(rows, count)
    kept = rows[rows[:, 0] >= default]
    hits = kept[:, 1].sum()
    at_default = 2 * hits / max(len(kept) + count, 1)
    precision, recall = hits / max(len(kept), 1), hits / count
    chosen = suggest_threshold(pd.DataFrame({"score": rows[rows[:, 0] >= LEAST_SCORE, 0]}))
    at_chosen = rows[rows[:, 0] >= chosen]
    automatic = 2 * at_chosen[:, 1].sum() / (len(at_chosen) + count)
    return (
        f"| {place} | {count} | {best:.3f} | {threshold:.2f} | {at_default:.3f} | {precision:.3f} | {recall:.3f} "
        f"| {best_f1(loose, count)[0]:.3f} | {calibration(rows):.3f} "
        f"| {automatic:.3f} | {chosen:.2f} | {rows[:, 1].sum() / count:.2f} |"
    )


def judged(chips: list, floor: float) -> tuple[np.ndarray, int]:
    """Score and hit of each found object, shape (P, 2), by falling score in each chip; and the number of true objects."""
    rows, count = [], 0
    for found, ids in chips:
        sizes = np.bincount(ids.ravel())
        true = np.flatnonzero(sizes >= LEAST_PX)
        true = true[true > 0]
        count += len(true)
        left = set(true.tolist())
        frame = found.sort_values("score", ascending=False, kind="stable")
        for score, mask in zip(frame["score"], masks_of(frame, ids.shape), strict=True):
            common = np.bincount(ids[mask], minlength=len(sizes)).astype(float)
            small = common[(sizes < LEAST_PX) & (np.arange(len(sizes)) > 0)].sum()
            common[0] = 0
            iou = common / np.maximum(sizes + mask.sum() - common, 1)
            ranked = sorted(left, key=lambda number: -iou[number])[:1]
            hit = bool(ranked) and iou[ranked[0]] >= floor
            if hit:
                left.discard(ranked[0])
            elif small > 0.5 * mask.sum():
                continue
            rows.append((score, float(hit)))
    return np.array(rows).reshape(-1, 2), count


def masks_of(frame, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    from rasterio.features import rasterize

    for geometry in frame.geometry:
        yield rasterize([(geometry, 1)], out_shape=shape, dtype="uint8").astype(bool)


def best_f1(rows: np.ndarray, count: int) -> tuple[float, float]:
    ordered = rows[np.argsort(-rows[:, 0], kind="stable")]
    f1 = 2 * np.cumsum(ordered[:, 1]) / (np.arange(1, len(ordered) + 1) + count)
    return (float(f1.max()), float(ordered[int(f1.argmax()), 0])) if len(f1) else (0.0, 0.0)


def calibration(rows: np.ndarray) -> float:
    rows = rows[rows[:, 0] > 0.1]
    bins = np.minimum((rows[:, 0] * 10).astype(int), 9)
    errors = [len(rows[bins == one]) * abs(np.subtract(*rows[bins == one].mean(0))) for one in np.unique(bins)]
    return float(sum(errors) / max(len(rows), 1))


def calibrated(rows: np.ndarray) -> str:
    """Mean log loss, and mean distance of the expected from the true number of right objects, by number of judged objects."""
    rows, told = rows[rows[:, 0] >= LEAST_SCORE], []
    for count in (0, 5, 10, 20, 50, 100):
        random, found = np.random.default_rng(0), []
        for _ in range(200 if count else 1):
            order = random.permutation(len(rows))
            mine, others = rows[order[:count]], rows[order[count:]]
            p = Calibration.fit(mine[:, 0], mine[:, 1] > 0)(others[:, 0]).clip(1e-4, 1 - 1e-4)
            right = others[:, 1]
            loss = -(right * np.log(p) + (1 - right) * np.log(1 - p)).mean()
            found.append((loss, abs(p.sum() / right.sum() - 1)))
        told.append("{} judged {:.3f} ({:.0%})".format(count, *np.mean(found, 0)))
    return ", ".join(told)


def timed(image: Path, finder) -> None:
    seconds: dict[str, list[float]] = {"find": [], "everything": []}
    for _ in range(2):
        for name, work in (
            ("find", lambda: samgeo.find(image, finder=finder, progress=False)),
            ("everything", lambda: samgeo.segment(image, progress=False)),
        ):
            begun = time.process_time()
            objects = len(work())
            seconds[name].append(time.process_time() - begun)
            print(f"{name}: {objects} objects, {seconds[name][-1]:.1f} s of processor time", flush=True)
    print(f"ratio {np.median(seconds['find']) / np.median(seconds['everything']):.2f}")


if __name__ == "__main__":
    main()
