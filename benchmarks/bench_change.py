"""Changes between two dates of generated towns: whether angles tell changed objects from others, and kinds are right.

    python benchmarks/bench_change.py [--seeds 10 19] [--side 512] [--found]

For each seed and appearance of the second date, the true footprints of both dates are compared as given objects. With
``--found``, buildings are found in both dates by the bundled finder instead, and its changes are judged against the truth.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import shapely

import samgeo
from samgeo.errors import RasterError
from samgeo.synthetic import two_dates

LIGHTS = {
    "same light": {},
    "other light": {"light": "other"},
    "other light, season, haze": {"light": "other", "season": 0.8, "haze": 0.2, "absent_cars": 0.4},
    "the same, shifted by 1.5 px": {"light": "other", "season": 0.8, "haze": 0.2, "absent_cars": 0.4, "shift_px": (1.5, -1.5)},
}


def auc(values: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: the share of pairs of a positive and a negative in which the positive has the higher value."""
    ranks = np.argsort(np.argsort(values)) + 1
    count = positive.sum()
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (~positive).sum()))


def images(pair: samgeo.synthetic.TwoDates) -> list[samgeo.Raster]:
    """Both images as rasters with the georeference of the scene."""
    import xarray as xr
    from odc.geo.xr import xr_coords

    found = []
    for scene in (pair.before, pair.after):
        array = xr.DataArray(scene.image, dims=("y", "x", "band"), coords=dict(xr_coords(scene.geobox)))
        found.append(samgeo.Raster.open(array, check=False))
    return found


def given(seeds: range, side: int) -> None:
    """Compare the true footprints."""
    print("| second date | objects | changed | AUC | right kinds of appeared and vanished | same kept as same | without trust: "
          "appeared and vanished found | angles of changed and others: quartiles |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for name, how in LIGHTS.items():
        angles, truths, kinds, seconds = [], [], [], 0.0
        for seed in seeds:
            pair = two_dates((side, side), seed=seed, **how)
            start = time.process_time()
            found = samgeo.change(*images(pair), objects=[pair.before.footprints, pair.after.footprints], progress=False)
            seconds += time.process_time() - start
            truth = pair.truth
            of_before = dict(zip(truth.before - 1, truth.kind, strict=True))
            of_after = dict(zip(truth.after - 1, truth.kind, strict=True))
            right = [
                of_before[before] if after is None else of_after[after]
                for before, after in zip(_optional(found.before_id), _optional(found.after_id), strict=True)
            ]
            angles.append(found.angle.to_numpy())
            kinds.append(found.kind.to_numpy(dtype=str))
            truths.append(np.array(right, dtype=str))
        angle, kind, truth_ = (np.concatenate(parts) for parts in (angles, kinds, truths))
        changed, known = truth_ != "same", np.isfinite(angle)
        middle = [np.percentile(angle[known & part], (25, 50, 75)) for part in (changed, ~changed)]
        quartiles = ["/".join(f"{one:.0f}" for one in three) for three in middle]
        print(
            f"| {name} | {len(angle)} | {changed.sum()} | {auc(angle[known], changed[known]):.3f} | "
            f"{(kind[changed] == truth_[changed]).mean():.3f} | {(kind[~changed & known] == 'same').mean():.3f} | "
            f"{(angle[changed & known] >= 45).mean():.3f} | {', '.join(quartiles)} |",
            flush=True,
        )
        print(f"  {seconds / len(seeds):.1f} processor seconds a pair", flush=True)


def _optional(ids) -> list[int | None]:
    return [int(value) if known else None for value, known in zip(ids.fillna(-1), ids.notna(), strict=True)]


def found(seeds: range, side: int) -> None:
    """Find the buildings of both dates, and judge the changes by the true footprints."""
    print("| second date | appeared and vanished, true | reported | of these true | of the true found |")
    print("|---|---|---|---|---|")
    for name, how in list(LIGHTS.items())[:3]:
        true, reported, hits, reached = 0, 0, 0, 0
        for seed in seeds:
            pair = two_dates((side, side), seed=seed, **how)
            result = samgeo.change(*images(pair), what="building", progress=False)
            for kind in ("appeared", "vanished"):
                mine = result[result.kind == kind].geometry.to_numpy()
                theirs = pair.truth[(pair.truth.kind == kind) & (pair.truth.area >= 10)].geometry.to_numpy()
                i, j = shapely.STRtree(theirs).query(mine, predicate="intersects")
                shared = shapely.area(shapely.intersection(mine[i], theirs[j]))
                good = shared > 0.5 * np.minimum(shapely.area(mine[i]), shapely.area(theirs[j]))
                true, reported = true + len(theirs), reported + len(mine)
                hits, reached = hits + len(np.unique(i[good])), reached + len(np.unique(j[good]))
        print(f"| {name} | {true} | {reported} | {hits / max(reported, 1):.3f} | {reached / max(true, 1):.3f} |", flush=True)


def controls(seeds: range, side: int) -> None:
    """Count changes between identical dates, and check that large shifts are refused and small ones measured."""
    changes, objects, refused, errors = 0, 0, 0, []
    for seed in seeds:
        pair = two_dates((side, side), seed=seed, vanished=0, appeared=0)
        before, _ = images(pair)
        result = samgeo.change(before, before, objects=pair.before.footprints, progress=False)
        changes, objects = changes + int((result.kind == "changed").sum()), objects + len(result)
        for pixels in (30.0, 1.5):
            moved = two_dates((side, side), seed=seed, light="other", season=0.8, haze=0.2, shift_px=(pixels, 0.0))
            try:
                shift = samgeo.change(*images(moved), objects=moved.before.footprints, progress=False).attrs["samgeo"]["change"]
                errors.append(float(np.hypot(shift["shift_px"][0] - pixels, shift["shift_px"][1])))
            except RasterError:
                refused += pixels == 30
    print(f"identical dates: {changes} changes among {objects} objects; shifts of 30 px refused: {refused} of {len(seeds)}; "
          f"error of shifts of 1.5 px: mean {np.mean(errors):.3f}, most {np.max(errors):.3f} px")  # fmt: skip


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs=2, default=(10, 19), metavar=("FIRST", "LAST"))
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--found", action="store_true")
    parser.add_argument("--controls", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    seeds = range(options.seeds[0], options.seeds[1] + 1)
    if options.controls:
        controls(seeds, options.side)
    elif options.found:
        found(seeds, options.side)
    else:
        given(seeds, options.side)


if __name__ == "__main__":
    main()
