"""Pieces of windows to whole objects: ours, unions of touching polygons, and SAHI's greedy merging, in turns.

    python benchmarks/bench_merge.py [--side 2500] [--window 512] [--overlap 128] [--repeats 3]

A perfect model cuts scenes that know their objects into the pieces that windows see, so every wrong count is the merging's:
objects that do not touch, buildings that share walls, and a road longer than any window. Each way gets what it takes (masks as
runs, or polygons) and gives polygons. SAHI (pip install --no-deps sahi) merges with its defaults, GREEDYNMM, IOS, 0.5, and is
left out where it is not installed. An object counts as right when one result has exactly its pixels.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import shapely
from _turns import in_turns, say

from samgeo.geo.grid import Lattice
from samgeo.geo.levels import Levels
from samgeo.models import keep_freed_memory
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.piece import Piece
from samgeo.segmentation.masks.vectorize import polygons
from samgeo.segmentation.merge.merger import merge
from samgeo.segmentation.windows.cut_edges import cut_pixels
from samgeo.testing import road, scattered, touching_grid

keep_freed_memory()  # as the command line does

Rows = list[dict[int, list[Piece]]]


def cut_by_windows(ids: np.ndarray, lattice: Lattice) -> Rows:
    """What a perfect model sees of each object in each window."""
    rows: Rows = [{} for _ in range(lattice.rows)]
    height, width = lattice.shape
    for index in lattice:
        rect = lattice.rect(*index)
        window = np.zeros(rect.shape, dtype=ids.dtype)
        real = ids[rect.y0 : min(rect.y1, height), rect.x0 : min(rect.x1, width)]
        window[: real.shape[0], : real.shape[1]] = real
        known = np.zeros((rect.height + 2, rect.width + 2), dtype=bool)
        y, x = np.arange(rect.y0 - 1, rect.y1 + 1), np.arange(rect.x0 - 1, rect.x1 + 1)
        known[np.ix_((y >= 0) & (y < height), (x >= 0) & (x < width))] = True
        masks = [Mask.from_array(window == one) for one in np.unique(window[window > 0])]
        rows[index[0]][index[1]] = [
            Piece(mask.shift(rect.x0, rect.y0), 1.0, 1.0, index, rank, cut.shift(rect.x0, rect.y0))
            for rank, (mask, cut) in enumerate(zip(masks, cut_pixels(masks, known), strict=True))
        ]
    return rows


def ours(rows: Rows, lattice: Lattice) -> np.ndarray:
    return polygons([segment.mask for closed in merge(rows, Levels.of(lattice)) for segment in closed])


def touching_unions(pieces: np.ndarray) -> np.ndarray:
    """The union of all polygons; each of its parts is an object."""
    return np.asarray(shapely.get_parts(shapely.union_all(pieces)))


def sahi_merging(postprocess: Any, predictions: list[Any]) -> np.ndarray:
    from sahi.utils.shapely import get_shapely_multipolygon

    kept = postprocess(predictions)
    return np.array([get_shapely_multipolygon(one.mask.segmentation) for one in kept], dtype=object)


def sahi_predictions(pieces: np.ndarray, shape: tuple[int, int]) -> list[Any]:
    """SAHI's own objects; its polygons have no holes, and the scenes neither."""
    from sahi.prediction import ObjectPrediction

    return [
        ObjectPrediction(
            segmentation=[shapely.get_coordinates(part.exterior)[:-1].ravel().tolist() for part in shapely.get_parts(piece)],
            category_id=0, category_name="object", score=1.0, full_shape=list(shape),
        )
        for piece in pieces
    ]  # fmt: skip


def right(found: np.ndarray, truth: np.ndarray) -> int:
    """How many objects one result equals exactly."""
    first, second = shapely.STRtree(found).query(truth, predicate="intersects")
    same = shapely.area(shapely.symmetric_difference(truth[first], shapely.buffer(found[second], 0))) == 0
    return len(np.unique(first[same]))


def load_sahi() -> Any:
    try:
        from sahi.postprocess.backends import set_postprocess_backend
        from sahi.postprocess.combine import GreedyNMMPostprocess
    except ImportError:
        print("SAHI is not installed; left out")
        return None
    set_postprocess_backend("numpy")
    return GreedyNMMPostprocess(match_threshold=0.5, match_metric="IOS", class_agnostic=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2500)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--overlap", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    shape = (options.side, options.side)
    scenes = {
        "300 objects apart": scattered(300, shape, seed=1),
        "buildings that share walls": touching_grid(options.side // 90, options.side // 90, seed=1),
        "a winding road": road(options.side, winding=True),
    }
    greedy = load_sahi()
    for name, ids in scenes.items():
        lattice = Lattice(ids.shape, options.window, options.overlap)
        rows = cut_by_windows(ids, lattice)
        pieces = polygons([piece.mask for row in rows for column in row.values() for piece in column])
        truth = polygons([Mask.from_array(ids == one) for one in np.unique(ids[ids > 0])])
        works = {"ours": lambda rows=rows, lattice=lattice: ours(rows, lattice)}
        works["union_of_touching_polygons"] = lambda pieces=pieces: touching_unions(pieces)
        if greedy is not None:
            given = sahi_predictions(pieces, ids.shape)
            works["SAHI's_greedy_merging"] = lambda given=given: sahi_merging(greedy, given)
        say(
            f"{name}: {len(truth)} objects in {len(pieces)} pieces of {len(lattice)} windows",
            in_turns(options.repeats, **works),
        )
        for way, work in works.items():
            found = work()
            print(f"{way.replace('_', ' ')}: {len(found)} objects, {right(found, truth)} of {len(truth)} exactly right")
        assert right(works["ours"](), truth) == len(truth) == len(works["ours"]())


if __name__ == "__main__":
    main()
