"""A random campaign: whole runs over random scenes, against outlines of GDAL's polygonizer.

What is asked of each scene (`campaign.random_scene`), and what is not:

- Objects under a point of scale 1 that has data and lies in the area are found. Nothing is found that no point asks for.
- An object *fits* when a window of scale 1 shows it away from those of its edges behind which the raster goes on. It is one
  row, has exactly its outline, and is complete, with any scales, area, overlap, overviews and nodata. Not judged so are objects
  of more than 0.6 of a window's area where the model overlooks what fills a window.
- With scale 1 alone, some overlap and a model that sees everything, so it is for every object, however large: it is followed
  from window to window.
- With coarser scales, an object that does not fit may be drawn by a coarse window. One of its pixels is ``f`` pixels wide, the
  logits between two of them are interpolated, and pixels that show two objects show none. Such an object is one row, and
  differs from its outline only within ``2 * f`` pixels of it. It is complete, unless the row lacks pixels of it.
- Without overlap, windows cannot tell what goes on in the next, and a model that overlooks what fills a window leaves holes.
  What is cut then comes as several rows, none of which says that it is complete; a complete row is the whole object. Rows hold
  no ground of other objects (but for the pixels near the outline that coarser scales may draw), and share none with each other
  with scale 1 alone. That such an object is found at all, and in how many rows, is not judged.
- In an area with ``aoi_mode="clip"``, the outline is that of the object within the area, and `complete` is that of the object
  before it was clipped: the edge of the area is no edge of a window.

Suppression of masks has its default. That of boxes is off, because SAM's procedure drops one of two objects with nearly equal
boxes, such as a disc and the ring around it; so are the limits of specks and pinholes, which have tests of their own.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from campaign import Scene, asked, fits, options_of, random_scene, truth, write_scene

import samgeo
from samgeo.errors import RasterWarning
from samgeo.segmentation.api import NothingFoundWarning

SCENES = 300
QUICK = 16  # less than half a minute on one core

ROUNDING = 1e-6  # of coordinates of some millions that were turned into pixels again


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=() if seed < QUICK else pytest.mark.slow) for seed in range(SCENES)])
def test_every_object_of_a_random_scene_is_as_the_manual_says(seed: int, tmp_path: Path) -> None:
    scene = random_scene(seed)
    assert faults(scene, found(scene, tmp_path)) == [], repr(scene)


def test_scenes_are_of_all_kinds() -> None:
    """The campaign has what it is for: were a kind missing, it would show nothing about it."""
    scenes = [random_scene(seed) for seed in range(100)]
    for field, least in {
        "scales": 4,
        "model": 2,
        "dtype": 2,
        "nodata": 4,
        "overviews": 4,
        "transform": 6,
        "aoi_mode": 2,
    }.items():
        counts = np.unique([str(getattr(scene, field)) for scene in scenes], return_counts=True)[1]
        assert len(counts) == least
        assert min(counts) >= 3
    large = [not fit for scene in scenes for fit in fits(scene).values()]
    assert min(sum(large), len(large) - sum(large)) > 300
    assert sum(scene.aoi is not None for scene in scenes) > 30
    assert sum(scene.overlap == 0 for scene in scenes) > 5


def found(scene: Scene, folder: Path) -> gpd.GeoDataFrame:
    path = write_scene(scene, folder / "scene.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RasterWarning)
        warnings.simplefilter("ignore", NothingFoundWarning)
        return samgeo.segment(path, **options_of(scene))


def faults(scene: Scene, frame: gpd.GeoDataFrame) -> list[str]:
    """Say what is wrong with a result."""
    true, fit = truth(scene), fits(scene)
    # The outline is on edges of pixels, and so is that of the truth: equal means equal, but for what an area has cut.
    rows = _in_pixels(frame, scene)
    clips = scene.aoi_mode == "clip"
    told = []
    if not clips:
        snapped = shapely.transform(rows, np.round)
        told += ["an outline is not on edges of pixels"] * (not _near(rows, snapped))
        rows = snapped
    wanted = {one: outline.intersection(scene.aoi) if clips else outline for one, outline in true.items()}
    of = _objects_of(rows, true)
    told += [f"object {one} is found, and no point asks for it" for one in sorted(set(of) - _asked_at_any(scene) - {0})]
    told += ["a row holds no object"] * (0 in of)
    slack = ROUNDING if clips else 0
    for one in sorted(set(of) - {0} | asked(scene, 1)):
        mine = [(rows[index], bool(frame.complete[index])) for index in of.get(one, ())]
        whole = _must_be_whole(scene, one, fits=fit[one])
        exact = fit[one] or len(scene.scales) == 1
        if whole and len(mine) != 1:
            told.append(f"object {one} is found {len(mine)} times")
            continue
        for outline, complete in mine:
            told += [
                f"object {one}: {fault}" for fault in _row_faults(scene, wanted[one], outline, complete, whole, exact, slack)
            ]
        if len(scene.scales) == 1 and sum(outline.area for outline, _ in mine) > wanted[one].area + slack:
            told.append(f"object {one}: its rows share pixels")
    return told


def _row_faults(
    scene: Scene, want: shapely.Geometry, got: shapely.Geometry, complete: bool, whole: bool, exact: bool, slack: float
) -> list[str]:
    told = []
    band = 0.0 if exact else 2.0 * max(scene.scales)
    missing, extra = _beyond(want.difference(got), want, band), _beyond(got.difference(want), want, band)
    if extra > slack:
        told.append(f"{extra:g} pixels are not its own")
    if whole and missing > slack:
        told.append(f"{missing:g} pixels are missing")
    if whole and exact and slack == 0 and not shapely.equals(got, want):
        told.append("its outline is another one")
    if whole and not complete and (exact or missing <= slack):
        told.append("it is whole, and not complete")
    if complete and missing > slack:
        told.append(f"it is complete, and lacks {missing:g} pixels")
    return told


def _must_be_whole(scene: Scene, one: int, *, fits: bool) -> bool:
    if scene.model == "overlooks":
        return fits and np.count_nonzero(scene.labels == one) <= 0.6 * scene.window**2
    return fits or scene.overlap > 0


def _beyond(part: shapely.Geometry, want: shapely.Geometry, band: float) -> float:
    """Return how much of a part lies farther from an outline than a number of pixels."""
    return float((part.difference(want.boundary.buffer(band)) if band and part.area else part).area)


def _objects_of(rows: np.ndarray, true: dict[int, shapely.Geometry]) -> dict[int, list[int]]:
    """Return the rows of each object; of object 0 those that hold none."""
    ids, outlines = np.array(list(true), dtype=int), np.array(list(true.values()), dtype=object)
    tree = shapely.STRtree(outlines)
    of: dict[int, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        near = tree.query(row)
        shared = shapely.area(shapely.intersection(outlines[near], row))
        of[int(ids[near[shared.argmax()]]) if shared.size and shared.max() > 0 else 0].append(index)
    return dict(of)


def _asked_at_any(scene: Scene) -> set[int]:
    return set().union(*(asked(scene, scale) for scale in scene.scales))


def _in_pixels(frame: gpd.GeoDataFrame, scene: Scene) -> np.ndarray:
    back = ~scene.affine
    return shapely.transform(frame.geometry.to_numpy(), lambda xy: np.stack(back @ tuple(xy.T), axis=1))


def _near(some: np.ndarray, others: np.ndarray) -> bool:
    return bool((np.abs(shapely.get_coordinates(some) - shapely.get_coordinates(others)) < ROUNDING).all())
