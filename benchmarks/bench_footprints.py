"""Footprints by examples: F1 before and after selection and regularisation, on places that gave no example.

    SAMGEO_DATA=... python benchmarks/bench_footprints.py [--model tiny] [--candidates banepa.parquet] [--picture banepa.png]

Banepa: a mosaic, examples from its northern half, judged on its southern half. Rio: chips of SpaceNet 1, examples from five,
judged on the two others that have buildings. Examples are drawn from the candidates as a person would judge them: accepted
where they have an IoU of 0.5 or more with a footprint, rejected where not. Figures are means over draws, and deviations.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from _skip import skip

import samgeo
from samgeo.buildings import regularize
from samgeo.evaluation import Matches, match
from samgeo.models import keep_freed_memory
from samgeo.objects import Selector, describe, keep_best

keep_freed_memory()  # as the command line does

RIO_EXAMPLES, RIO_TEST = (4, 5, 6, 7, 8), (9, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--candidates", type=Path, help="what samgeo.segment found in banepa.tif; found anew by default")
    parser.add_argument("--cache", type=Path, help="a store of samgeo.encode for banepa.tif")
    parser.add_argument("--picture", type=Path, help="a PNG of the last draw's footprints of Banepa")
    options = parser.parse_args()
    data = Path(os.environ.get("SAMGEO_DATA", ""))
    if not (data / "oam-banepa-buildings" / "banepa.tif").is_file():
        skip("SAMGEO_DATA does not name a folder with oam-banepa-buildings/banepa.tif.")
    print("| place | examples | objects | what | F1 | precision | recall | mean IoU of pairs |")
    print("|---|---|---|---|---|---|---|---|")
    rio(data / "spacenet1-rio-sample", options)
    banepa(data / "oam-banepa-buildings", options)


def banepa(folder: Path, options: argparse.Namespace) -> None:
    image, truth = folder / "banepa.tif", gpd.read_file(folder / "footprints.geojson")
    if options.candidates is None:
        found = samgeo.segment(image, model=options.model, cache=options.cache, progress=False)
    else:
        found = gpd.read_parquet(options.candidates)
    features = describe(image, found, model=options.model, cache=options.cache)
    middle = truth.total_bounds[[1, 3]].mean()
    is_test = centre_y(found) < middle
    kept = judge("Banepa", found, features, is_test, truth=truth, wanted=truth[centre_y(truth) < middle], draws=options.draws)
    if options.picture is not None:
        samgeo.show(image, kept, options.picture, overwrite=True)


def rio(folder: Path, options: argparse.Namespace) -> None:
    objects, tables, truths, test = [], [], [], []
    for number in (*RIO_EXAMPLES, *RIO_TEST):
        (image,) = folder.glob(f"3band/*img{number}.tif")
        (vectors,) = folder.glob(f"vectorData/geoJson/*img{number}_Geo.geojson")
        # Half a metre a pixel: enlarged twice for the model; black wedges are not tagged.
        read = {"model": options.model, "nodata": 0, "window": 256}
        found = samgeo.segment(image, progress=False, **read)
        objects.append(found)
        tables.append(describe(image, found, **read))
        truths.append(gpd.read_file(vectors)[["geometry"]].assign(test=number in RIO_TEST))
        test.append(np.full(len(found), number in RIO_TEST))
    truth = pd.concat(truths, ignore_index=True)
    found, features = pd.concat(objects, ignore_index=True), pd.concat(tables, ignore_index=True)
    judge("Rio", found, features, np.concatenate(test), truth=truth, wanted=truth[truth.test], draws=options.draws)


def judge(place: str, found: Any, features: Any, is_test: Any, *, truth: Any, wanted: Any, draws: int) -> gpd.GeoDataFrame:
    """Print the table's rows of one place; give the last draw's footprints."""
    is_wanted = like(found, truth)
    row(place, "-", "everything found", [match(found[is_test], wanted)])
    row(place, "-", "best of overlapping by predicted IoU", [match(keep_best(found[is_test], score="predicted_iou"), wanted)])
    for count in (10, 20, 30, 100):
        pools = [np.flatnonzero(~is_test & (is_wanted == kind)) for kind in (True, False)]
        if min(map(len, pools)) < count:
            continue
        chosen, regular = [], []
        for draw in range(draws):
            rng = np.random.default_rng([2, draw])  # draws that no setting was chosen with
            labels = np.full(len(found), np.nan)
            for label, pool in zip((1.0, 0.0), pools, strict=True):
                labels[rng.choice(pool, count, replace=False)] = label
            scored = found.assign(score=Selector.fit(features, labels).score(features))
            kept = keep_best(scored[is_test & (scored.score >= 0.5)])
            squared = regularize(kept)
            chosen.append(match(kept, wanted))
            regular.append(match(squared, wanted))
        row(place, f"{count} + {count}", "selected", chosen)
        row(place, f"{count} + {count}", "selected, regularised", regular)
    return squared


def like(found: Any, truth: Any) -> Any:
    """Whether each object has an IoU of 0.5 or more with a footprint."""
    a, b = shapely.make_valid(found.geometry.to_numpy()), shapely.make_valid(truth.to_crs(found.crs).geometry.to_numpy())
    i, j = shapely.STRtree(b).query(a)
    shared = shapely.area(shapely.intersection(a[i], b[j]))
    good = shared >= 0.5 * (shapely.area(a[i]) + shapely.area(b[j]) - shared)
    return np.bincount(i[good], minlength=len(a)) > 0


def centre_y(frame: Any) -> Any:
    return shapely.get_y(shapely.centroid(frame.geometry.to_numpy()))


def row(place: str, examples: str, what: str, results: list[Matches]) -> None:
    figures = [np.array([getattr(one, name) for one in results]) for name in ("f1", "precision", "recall", "mean_iou")]
    said = [f"{values.mean():.3f}" + (f" ± {values.std():.3f}" if len(results) > 1 else "") for values in figures]
    found = round(float(np.mean([one.found for one in results])))
    print(f"| {place} | {examples} | {found} | {what} | {' | '.join(said)} |", flush=True)


if __name__ == "__main__":
    main()
