"""Everything mode with every point of the lattice, and with points left out by screens of several least chances.

    SAMGEO_DATA=... python benchmarks/bench_screening.py [--chances 0.02 0.044 0.08] [--towns 4] [--side 768]

Generated towns, and with SAMGEO_DATA the last eight chips of Banepa, which gave no training window. The objects are matched
with the buildings, and with the objects of every point: what is left of these, and with which IoU. The ways take turns in each
image; processor time of one worker.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import geopandas as gpd
import rasterio
import torch
from shapely.geometry import box

import samgeo
from samgeo.errors import SamgeoWarning
from samgeo.evaluation import Matches, match
from samgeo.models import keep_freed_memory
from samgeo.models.tiny import Tiny, load_tiny
from samgeo.synthetic import town

keep_freed_memory()  # as the command line does

FIRST_TOWN, TEST_CHIPS = 20, 8


@dataclass
class Sums:
    """What one way found in all images of a place."""

    seconds: float = 0.0
    objects: int = 0
    truth: list[Matches] = field(default_factory=list)
    every: list[Matches] = field(default_factory=list)


def images_of_towns(count: int, side: int, folder: Path) -> Iterator[tuple[Path, gpd.GeoDataFrame]]:
    for seed in range(FIRST_TOWN, FIRST_TOWN + count):
        scene = town((side, side), seed=seed)
        yield scene.save(folder / f"{seed}.tif"), scene.footprints


def chips_of_banepa(data: Path) -> Iterator[tuple[Path, gpd.GeoDataFrame]]:
    folder = data / "oam-banepa-buildings"
    footprints = gpd.read_file(folder / "footprints.geojson")
    for path in sorted((folder / "chips").glob("*.tif"))[-TEST_CHIPS:]:
        with rasterio.open(path) as chip:
            own = footprints.to_crs(chip.crs).clip(box(*chip.bounds))
        yield path, own[own.area > 0]


def share(matches: list[Matches]) -> tuple[float, float]:
    """Return the recall over several images, and the mean IoU of pairs."""
    pairs = [one.recall * one.truth for one in matches]
    overlap = sum(one.mean_iou * pair for one, pair in zip(matches, pairs, strict=True))
    return sum(pairs) / sum(one.truth for one in matches), overlap / sum(pairs)


def compare(place: str, model: Tiny, images: Iterator[tuple[Path, gpd.GeoDataFrame]], chances: list[float]) -> None:
    sums: dict[float | None, Sums] = {chance: Sums() for chance in (None, *chances)}
    for path, truth in images:
        every: gpd.GeoDataFrame | None = None
        for chance, done in sums.items():
            if chance is not None and model.screen is not None:
                model.screen.least_chance = chance
            start = time.process_time()
            found = samgeo.segment(path, model=model, screen_points=chance is not None, workers=1, progress=False)
            done.seconds += time.process_time() - start
            done.objects += len(found)
            every = found if every is None else every
            done.truth.append(match(found, truth))
            done.every.append(match(found, every))
    for chance, done in sums.items():
        recall, iou = share(done.truth)
        kept, same = share(done.every)
        name = "every point" if chance is None else f"{chance:.1%}"
        print(
            f"| {place} | {name} | {done.objects} | {recall:.4f} | {iou:.4f} | {kept:.4f} | {same:.4f} | {done.seconds:.1f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chances", type=float, nargs="+", default=[0.02, 0.044, 0.08])
    parser.add_argument("--towns", type=int, default=4)
    parser.add_argument("--side", type=int, default=768)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=SamgeoWarning)
    model = load_tiny(device="cpu", dtype="float32")
    print("| place | least chance | objects | recall | mean IoU of pairs | objects of every point | their IoU | processor s |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        compare("towns", model, images_of_towns(options.towns, options.side, Path(folder)), options.chances)
    if data := os.environ.get("SAMGEO_DATA"):
        compare("Banepa", model, chips_of_banepa(Path(data)), options.chances)


if __name__ == "__main__":
    main()
