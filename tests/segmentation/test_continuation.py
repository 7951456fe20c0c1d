"""Objects that windows cut are continued in their neighbours, and say whether they are complete."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from scipy import ndimage

import samgeo
from samgeo.errors import OptionError
from samgeo.testing import Oracle, encode_ids

SIDE = 128


def scene(*rects: tuple[int, int, int, int], shape: tuple[int, int] = (256, 320)) -> np.ndarray:
    """Return ids: of each rectangle (x0, y0, x1, y1) one."""
    ids = np.zeros(shape, dtype=np.int32)
    for number, (x0, y0, x1, y1) in enumerate(rects, 1):
        ids[y0:y1, x0:x1] = number
    return ids


def found(ids: np.ndarray, **options):
    options = {"overlap": 64, "progress": False, "workers": 2, **options}
    return samgeo.segment(encode_ids(ids), model=Oracle(SIDE), **options)


def boxes(frame) -> list[tuple[int, ...]]:
    return sorted(tuple(map(int, one)) for one in frame.bounds.to_numpy())


def test_a_window_without_a_point_on_an_object_is_asked_for_its_rest() -> None:
    """The only point on the object, (64, 64), is in the core of the first window, which ends at 128."""
    ids = scene((50, 40, 150, 90))
    frame = found(ids, points_per_side=1)
    assert boxes(frame) == [(50, 40, 150, 90)]
    assert frame.complete.tolist() == [True]


def test_an_object_is_continued_through_several_windows_in_all_directions() -> None:
    ids = scene((40, 40, 310, 90), (200, 40, 230, 250))
    ids[ids > 0] = 1
    frame = found(ids, aoi=shapely.box(50, 50, 60, 60), points_per_side=64)
    assert frame.area_px.tolist() == [np.count_nonzero(ids)]
    assert frame.complete.tolist() == [True]


@pytest.mark.parametrize("side", [128, 256])
@pytest.mark.parametrize("edge", [82, 95, 110, 139])
def test_an_object_that_an_area_of_interest_touches_is_whole(edge: int, side: int) -> None:
    """Windows without a point of the area in their core are asked when the object reaches into them."""
    ids = scene((80, 20, 140, 60), shape=(128, 256))
    aoi = shapely.box(0, 0, edge, 128)
    frame = samgeo.segment(encode_ids(ids), model=Oracle(side), overlap=64, points_per_side=side // 2, aoi=aoi, progress=False)
    assert boxes(frame) == [(80, 20, 140, 60)]
    assert frame.complete.tolist() == [True]


def test_objects_are_clipped_to_the_area_if_asked() -> None:
    ids = scene((80, 20, 140, 60), (10, 20, 40, 60), (200, 20, 240, 60), shape=(128, 256))
    aoi = shapely.Polygon([(0, 0), (100, 0), (120, 128), (0, 128)])
    frame = found(ids, points_per_side=64, aoi=aoi, aoi_mode="clip")
    expected = [shapely.box(10, 20, 40, 60), shapely.box(80, 20, 140, 60).intersection(aoi)]
    assert len(frame) == 2
    for one, wanted in zip(sorted(frame.geometry, key=lambda some: some.bounds[0]), expected, strict=True):
        assert one.symmetric_difference(wanted).area < 1e-9
    np.testing.assert_allclose(sorted(frame.area_px), sorted(one.area for one in expected))


@pytest.mark.parametrize(
    ("options", "said"), [({"aoi_mode": "cut"}, "give one of whole, clip"), ({"aoi_mode": "clip"}, "no area of interest")]
)
def test_other_modes_are_refused(options: dict, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        found(scene((10, 10, 40, 40)), **options)


def test_an_object_that_ends_exactly_at_the_edge_of_a_window_is_complete() -> None:
    """It is the strip that the windows 0 to 128 and 64 to 192 share."""
    frame = found(scene((64, 40, 128, 80)))
    assert boxes(frame) == [(64, 40, 128, 80)]
    assert frame.complete.tolist() == [True]


def test_without_overlap_what_windows_cut_is_not_complete() -> None:
    frame = found(scene((100, 40, 150, 80), (10, 10, 30, 30)), overlap=0)
    assert frame.complete.sum() == 1
    assert frame[frame.complete].area_px.tolist() == [400]


@pytest.mark.parametrize("seed", range(12))
def test_every_object_of_a_random_scene_is_complete_exactly_where_it_is_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(40, 150, 2)
    smooth = ndimage.gaussian_filter(rng.standard_normal((height, width)), rng.uniform(2, 6))
    ids, count = ndimage.label(smooth > np.quantile(smooth, rng.uniform(0.4, 0.8)))
    rows, columns = np.nonzero(ids)
    place = rng.integers(len(rows))
    x, y = max(int(columns[place]) - 10, 0), max(int(rows[place]) - 10, 0)
    aoi = None if seed % 3 == 0 else shapely.box(x, y, x + 20, y + 20)
    frame = samgeo.segment(
        encode_ids(ids.astype(np.int32)),
        model=Oracle(32),
        overlap=12,
        points_per_side=32,
        aoi=aoi,
        min_part=0,
        min_hole=0,
        progress=False,
    )
    sizes = np.bincount(ids.ravel())
    meant = set(range(1, count + 1)) if aoi is None else set(np.unique(ids[y : y + 20, x : x + 20]).tolist()) - {0}
    seen = [int(ids[int(p.y), int(p.x)]) for p in frame.geometry.representative_point()]
    assert sorted(seen) == sorted(meant)
    whole = [area == sizes[one] for one, area in zip(seen, frame.area_px, strict=True)]
    assert frame.complete.tolist() == whole
    assert all(whole)
