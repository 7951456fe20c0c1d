"""Tracks over the dates of generated towns: whether ids persist, and areas are right.

    python benchmarks/bench_track.py [--seeds 30 39] [--side 512] [--dates 6] [--looks NAME ...] [--found] [--picture FILE]

For each seed and appearance of the dates, the true footprints of each date are followed. With ``--found``, buildings are found
at each date by the bundled finder instead, and its tracks are judged against the truth. ``--picture`` draws the dates of the
first seed with a colour for each id.
"""

from __future__ import annotations

import argparse
import colorsys
import time
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely

import samgeo
from samgeo.geo.coordinates.area import area_m2
from samgeo.synthetic import Dates, dates

LOOKS = {
    "same light": {"light": "same"},
    "other light": {},
    "other light, season, haze": {"season": 0.8, "haze": 0.2, "absent_cars": 0.4},
    "the same, shifted by up to 1.5 px": {"season": 0.8, "haze": 0.2, "absent_cars": 0.4, "shift_px": 1.5},
}
FIRST_YEAR = 2015


def images(town: Dates) -> dict[int, samgeo.Raster]:
    """The images as rasters with the georeference of the scenes, by year."""
    import xarray as xr
    from odc.geo.xr import xr_coords

    found = {}
    for number, scene in enumerate(town.scenes):
        array = xr.DataArray(scene.image, dims=("y", "x", "band"), coords=dict(xr_coords(scene.geobox)))
        found[FIRST_YEAR + number] = samgeo.Raster.open(array, check=False)
    return found


def right_ids(date: np.ndarray, ids: np.ndarray, true: np.ndarray, town: Dates) -> float:
    """The share of the buildings whose rows at all dates that show them carry one id that no other building carries."""
    owners = {number: set(true[ids == number]) for number in np.unique(ids)}
    right = 0
    for building in town.truth.id:
        mine = true == building
        shown = {day for day, of_date in enumerate(town.ids) if building in of_date}
        numbers = set(ids[mine])
        right += set(date[mine]) == shown and len(numbers) == 1 and owners[numbers.pop()] == {building}
    return right / len(town.truth)


def given(seeds: range, side: int, count: int, looks: list[str]) -> None:
    """Follow the true footprints."""
    print("| dates | buildings | rows | gaps | right ids, all | worst town | largest error of an area | angles: quartiles | "
          "processor seconds a town |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    for name in looks:
        how = LOOKS[name]
        shares, weights, worst, angles, seconds, rows, gaps = [], [], 0.0, [], 0.0, 0, 0
        for seed in seeds:
            town = dates((side, side), count, seed=seed, gaps=0.1, **how)
            rasters, layers = images(town), [scene.footprints for scene in town.scenes]
            start = time.process_time()
            tracks = samgeo.track(rasters, objects=layers, progress=False)
            seconds += time.process_time() - start
            date = tracks.date.dt.year.to_numpy() - FIRST_YEAR
            row = tracks.object_id.to_numpy()
            true = np.array([town.ids[one][number] for one, number in zip(date, row, strict=True)])
            areas = [area_m2(layer.geometry.to_numpy(), layer.crs) for layer in layers]
            area = np.array([areas[one][number] for one, number in zip(date, row, strict=True)])
            shares.append(right_ids(date, tracks.id.to_numpy(), true, town))
            weights.append(len(town.truth))
            worst = max(worst, float(np.abs(tracks.area_m2 / area - 1).max()))
            angles += tracks.angle.dropna().tolist()
            rows, gaps = rows + len(tracks), gaps + int((town.truth.gap_date >= 0).sum())
        middle = "/".join(f"{one:.0f}" for one in np.percentile(angles, (25, 50, 75)))
        print(f"| {name} | {sum(weights)} | {rows} | {gaps} | {np.average(shares, weights=weights):.3f} | {min(shares):.3f} | "
              f"{worst:.1e} | {middle} | {seconds / len(seeds):.1f} |", flush=True)  # fmt: skip


def found(seeds: range, side: int, count: int, looks: list[str]) -> None:
    """Find the buildings of each date, and judge the tracks by the true footprints with an IoU above 0.5."""
    print("| dates | buildings | found at any date | with one id of their own | rows that are no building | tracks |")
    print("|---|---|---|---|---|---|")
    for name in looks:
        how = LOOKS[name]
        buildings = reached = right = false = rows = tracks_ = 0
        for seed in seeds:
            town = dates((side, side), count, seed=seed, gaps=0.1, **how)
            tracks = samgeo.track(images(town), what="building", progress=False)
            date = tracks.date.dt.year.to_numpy() - FIRST_YEAR
            true = np.zeros(len(tracks), dtype=int)
            for day, scene in enumerate(town.scenes):
                mine = np.flatnonzero(date == day)
                one, other = tracks.geometry.to_numpy()[mine], scene.footprints.geometry.to_numpy()
                i, j = shapely.STRtree(other).query(one, predicate="intersects")
                shared = shapely.area(shapely.intersection(one[i], other[j]))
                good = shared > 0.5 * (shapely.area(one[i]) + shapely.area(other[j]) - shared)
                true[mine[i[good]]] = town.ids[day][j[good]]
            ids = tracks.id.to_numpy()
            for building in np.unique(true[true > 0]):
                numbers = set(ids[true == building])
                reached += 1
                right += len(numbers) == 1 and set(true[ids == next(iter(numbers))]) <= {0, building}
            buildings, false, rows = buildings + len(town.truth), false + int((true == 0).sum()), rows + len(tracks)
            tracks_ += int(tracks.id.nunique())
        print(f"| {name} | {buildings} | {reached / buildings:.3f} | {right / max(reached, 1):.3f} | "
              f"{false / max(rows, 1):.3f} | {tracks_} |", flush=True)  # fmt: skip


def picture(seed: int, side: int, count: int, path: Path) -> None:
    """Draw the dates side by side, with a colour for each id."""
    from PIL import Image, ImageDraw

    town = dates((side, side), count, seed=seed, gaps=0.15, births=0.25, deaths=0.2, season=0.5, haze=0.15)
    rasters = images(town)
    tracks: gpd.GeoDataFrame = samgeo.track(rasters, objects=[one.footprints for one in town.scenes], progress=False)
    margin, columns = 6, (count + 1) // 2
    sheet = Image.new("RGB", (columns * (side + margin) - margin, 2 * (side + margin) - margin), "white")
    for number, (year, scene) in enumerate(zip(rasters, town.scenes, strict=True)):
        image = Image.fromarray(scene.image)
        pen = ImageDraw.Draw(image, "RGBA")
        for row in tracks[tracks.date.dt.year == year].itertuples():
            color = tuple(round(255 * one) for one in colorsys.hsv_to_rgb(row.id * 0.618034 % 1, 0.9, 1))
            for part in shapely.get_parts(row.geometry):
                corners = np.stack(~scene.geobox.affine * shapely.get_coordinates(part.exterior).T, axis=1)
                pen.polygon(list(map(tuple, corners)), fill=(*color, 110), outline=(*color, 255), width=2)
                pen.text(
                    tuple(corners.mean(axis=0)), str(row.id), fill="white", anchor="mm", stroke_width=1, stroke_fill="black"
                )
        pen.text((5, 3), str(year), fill="white", stroke_width=2, stroke_fill="black", font_size=20)
        sheet.paste(image, (number % columns * (side + margin), number // columns * (side + margin)))
    sheet.save(path, quality=88)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs=2, default=(30, 39), metavar=("FIRST", "LAST"))
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--dates", type=int, default=6)
    parser.add_argument("--looks", nargs="+", choices=list(LOOKS), default=list(LOOKS))
    parser.add_argument("--found", action="store_true")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    seeds = range(options.seeds[0], options.seeds[1] + 1)
    if options.picture is not None:
        picture(seeds[0], options.side, options.dates, options.picture)
    else:
        (found if options.found else given)(seeds, options.side, options.dates, options.looks)


if __name__ == "__main__":
    main()
