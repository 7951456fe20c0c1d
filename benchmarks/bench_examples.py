"""Search by examples: precision, recall and F1 at an IoU of 0.5 of objects like a few outlines, at the default score.

    SAMGEO_DATA=... python benchmarks/bench_examples.py [--seeds 5] [--outlines 1,5,20] [--towns 4] [--pictures FOLDER]

Real images: outlines of one training chip of Banepa (0.13 m) are the examples, and the last 8 chips are searched. Towns: three
outlines of a class are the examples, and the same generated town, which the score has not been fitted on, is searched for the
rest. Outlines are drawn on the pixels and matched one to one, as in bench_find.py. "Best" is the F1 at the threshold that is
best for the row, which is not known in use.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from bench_find import best_f1, judged
from rasterio.features import shapes
from scipy import ndimage

import samgeo
from samgeo.finding.by_example.example_finder import DEFAULT_SCORE
from samgeo.models import keep_freed_memory
from samgeo.synthetic import town

keep_freed_memory()  # as the command line does

# Least and greatest area of the objects of a class of generated towns, in pixels.
AREAS = {"tree": (60, 900), "car": (50, 400), "water": (60, 2000), "field": (1500, 10**9)}
LEAST_EXAMPLE_PX = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--outlines", default="1,5,20")
    parser.add_argument("--towns", type=int, default=4)
    parser.add_argument("--pictures", type=Path, help="a folder for one picture of each search in a town")
    options = parser.parse_args()
    print("| searched | examples | seed | precision | recall | F1 | best F1 | threshold |")
    print("|---|---|---|---|---|---|---|---|")
    data = Path(os.environ.get("SAMGEO_DATA", ""))
    if (data / "oam-banepa-buildings" / "banepa.tif").is_file():
        banepa(data, [int(number) for number in options.outlines.split(",")], options.seeds)
    towns(options.towns, options.pictures)


def banepa(data: Path, counts: list[int], seeds: int) -> None:
    from samgeo.training.data.overhead_recipe import finder_sources, validation

    shown = next(source for source in finder_sources(data, scenes=1) if source.name == "banepa").pictures
    chips = validation(data)["Banepa"]
    for count in counts:
        found = []
        for seed in range(seeds):
            rng = np.random.default_rng([count, seed])
            for place in rng.permutation(len(shown)):
                ids = shown[place].layers["building"].astype(np.int64)
                sizes = np.bincount(ids.ravel())
                usable = [number for number in range(1, len(sizes)) if sizes[number] > LEAST_EXAMPLE_PX]
                if len(usable) >= count:
                    break
            examples = outlines(ids, rng.permutation(usable)[:count])
            searched = [
                (
                    samgeo.find(
                        chip.image, examples=examples, example_image=shown[place].image, min_score=0.02, progress=False
                    ),
                    chip.layers["building"].astype(np.int64),
                )
                for chip in chips
            ]
            found.append(row("Banepa", count, seed, searched))
        print(f"| Banepa, mean of {seeds} | {count} | | | | {np.mean(found):.3f} +- {np.std(found):.3f} | | |", flush=True)


def towns(count: int, pictures: Path | None) -> None:
    for kind in ("tile", "concrete", "tree", "car", "water", "field"):
        found = []
        for seed in range(100, 100 + count):
            scene = town((640, 640), seed=seed)
            ids = labels(scene, kind)
            sizes, inner = np.bincount(ids.ravel()), set(np.unique(ids[20:-20, 20:-20]).tolist())
            usable = [number for number in range(1, len(sizes)) if sizes[number] >= 60 and number in inner]
            if len(usable) < 5:
                continue
            examples = outlines(ids, np.random.default_rng(seed).permutation(usable)[:3])
            result = samgeo.find(scene.image, kind, examples=examples, min_score=0.02, progress=False)
            found.append(row(f"town, {kind}", 3, seed, [(result, ids)]))
            if pictures is not None:
                pictures.mkdir(exist_ok=True)
                kept = result[result["score"] >= DEFAULT_SCORE]
                samgeo.show(scene.image, kept, output=pictures / f"{kind}-{seed}.png", overwrite=True)
        if found:
            print(
                f"| town, {kind}, mean of {len(found)} | 3 | | | | {np.mean(found):.3f} +- {np.std(found):.3f} | | |",
                flush=True,
            )


def labels(scene, kind: str) -> np.ndarray:
    """Return the ids of the objects of a class: a covering of roofs, or the connected parts of a class of pixels."""
    if kind not in AREAS:
        own = scene.footprints.loc[scene.footprints["cover"] == kind, "id"].to_numpy()
        return np.where(np.isin(scene.labels, own), scene.labels, 0).astype(np.int64)
    ids, _ = ndimage.label(scene.classes == scene.class_names.index(kind))
    sizes = np.bincount(ids.ravel())
    least, most = AREAS[kind]
    return np.where(((sizes >= least) & (sizes <= most))[ids], ids, 0).astype(np.int64)


def outlines(ids: np.ndarray, numbers: np.ndarray) -> gpd.GeoDataFrame:
    """Return the largest part of each object as a polygon in pixels."""
    parts = [
        max(
            (shapely.geometry.shape(part) for part, value in shapes((ids == number).astype("uint8")) if value), key=shapely.area
        )
        for number in numbers
    ]
    return gpd.GeoDataFrame(geometry=parts)


def row(name: str, examples: int, seed: int, searched: list) -> float:
    """Print a row of the table, and return the F1 at the default score."""
    scored, count = judged(searched, 0.5)
    best, threshold = best_f1(scored, count)
    kept = scored[scored[:, 0] >= DEFAULT_SCORE]
    hits = kept[:, 1].sum()
    f1 = 2 * hits / max(len(kept) + count, 1)
    precision, recall = hits / max(len(kept), 1), hits / count
    print(
        f"| {name} | {examples} | {seed} | {precision:.2f} | {recall:.2f} | {f1:.3f} | {best:.3f} | {threshold:.2f} |",
        flush=True,
    )
    return float(f1)


if __name__ == "__main__":
    main()
