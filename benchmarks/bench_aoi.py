"""Areas of interest with up to a million vertices: processor time of each step that asks the area.

    python benchmarks/bench_aoi.py [--vertices 10000 100000 1000000] [--kinds coast fields comb]

The raster has 6,000 x 6,000 pixels and 961 windows of 256. The areas are a ragged island (one polygon), fields (one polygon
for every five vertices), and a comb (one polygon whose teeth go through the whole raster). The steps are those of a run: the
area is read and transformed to pixels, described for the manifest, asked for the points of each window, asked whether it meets
each window, and 20,000 squares of 10 to 50 pixels are clipped to it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from samgeo.geo.coordinates.area_of_interest import to_pixels
from samgeo.geo.coordinates.area_summary import describe_area
from samgeo.geo.coordinates.indexed_area import IndexedArea
from samgeo.geo.grid import Lattice

SIDE, OBJECTS, ROWS = 6000, 20_000, 31
GEOBOX = GeoBox((SIDE, SIDE), Affine(0.3, 0, 500_000, 0, -0.3, 5_400_000), "EPSG:32633")


def coast(vertices: int) -> list[shapely.Geometry]:
    """Return an island whose radius has detail at all scales."""
    rng = np.random.default_rng(0)
    frequency = np.fft.rfftfreq(vertices, 1 / vertices)
    amplitude = np.append(0.0, frequency[1:] ** -1.2)
    radius = np.fft.irfft(amplitude * np.exp(2j * np.pi * rng.random(len(frequency))), vertices)
    radius = SIDE * (0.2 + 0.28 * (radius - radius.min()) / np.ptp(radius))
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    return [shapely.Polygon(SIDE / 2 + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1))]


def fields(vertices: int) -> list[shapely.Geometry]:
    """Return squares in a grid."""
    count = int(np.sqrt(vertices / 5))
    cell = SIDE / count
    x, y = (axis.ravel() * cell for axis in np.meshgrid(np.arange(count), np.arange(count)))
    return list(shapely.box(x + 0.1 * cell, y + 0.1 * cell, x + 0.83 * cell, y + 0.83 * cell))


def comb(vertices: int) -> list[shapely.Geometry]:
    """Return a bar with teeth that are nearly as long as the raster."""
    teeth = vertices // 4
    width = 0.9 * SIDE / teeth
    x = 0.05 * SIDE + np.arange(teeth) * width
    low, high = np.full(teeth, 0.1 * SIDE), np.full(teeth, 0.9 * SIDE)
    outline = np.stack([x, low, x + width / 2, low, x + width / 2, high, x + width, high], axis=1).reshape(-1, 2)
    return [shapely.Polygon(np.concatenate([outline, [[0.96 * SIDE, 0.95 * SIDE], [0.05 * SIDE, 0.95 * SIDE]]]))]


KINDS = {"coast": coast, "fields": fields, "comb": comb}


def squares() -> list[np.ndarray]:
    """Return squares, divided as the rows of a run divide objects."""
    rng = np.random.default_rng(0)
    corner = rng.integers(0, SIDE - 60, (OBJECTS, 2))
    corner = corner[np.argsort(corner[:, 1])]
    boxes = np.asarray(shapely.box(*corner.T, *(corner + rng.integers(10, 50, corner.shape)).T))
    return np.array_split(boxes, ROWS)


def processor_s(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vertices", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", default=["coast", "fields"], choices=sorted(KINDS))
    options = parser.parse_args()
    lattice, rows = Lattice((SIDE, SIDE), 256, 64), squares()
    print("| area | vertices | read, to pixels s | described s | points of windows s | windows met s | clipped s |")
    print("|---|---|---|---|---|---|---|")
    for kind in options.kinds:
        for vertices in options.vertices:
            given = shapely.transform(np.array(KINDS[kind](vertices)), lambda xy: xy * (0.3, -0.3) + (500_000, 5_400_000))
            layer = gpd.GeoSeries(given, crs=32633)
            read: list[shapely.Geometry] = []
            seconds = [processor_s(lambda layer=layer, read=read: read.append(to_pixels(layer, GEOBOX)))]
            area = IndexedArea(read[0])
            cores = [lattice.core(*index) for index in lattice]
            seconds += [
                processor_s(lambda area=area: describe_area(area.geometry)),
                processor_s(lambda area=area: [area.contains_xy(lattice.points(*index, 16)) for index in lattice]),
                processor_s(lambda area=area, cores=cores: [area.meets(one.x0, one.y0, one.x1, one.y1) for one in cores]),
                processor_s(lambda area=area: [area.clip(row) for row in rows]),
            ]
            print(f"| {kind} | {vertices:,} | {' | '.join(f'{one:.2f}' for one in seconds)} |", flush=True)


if __name__ == "__main__":
    main()
