"""Prompts anywhere on a raster, with a perfect model: the object that was meant, to the pixel, a row for each prompt."""

import os
import platform
import subprocess
import sys
import threading

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import samgeo
from samgeo.geo.coordinates.prompt_geometry import from_pixels
from samgeo.geo.grid import Lattice, Rect
from samgeo.segmentation.prompts import assignment
from samgeo.segmentation.prompts.assignment import windows_of
from samgeo.segmentation.windows.embedding import EmbeddingCache, Encoded
from samgeo.testing import encode_ids, road, scattered
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import write_raster


class Oracle128(Oracle):
    """Reads a square window of 128 pixels."""

    def __init__(self) -> None:
        super().__init__(128)

    def __reduce__(self):
        return type(self), ()


LABELS = scattered(40, (420, 500), seed=5, min_size=14, max_size=30)
SLICES = ndimage.find_objects(LABELS)
AREAS = np.bincount(LABELS.ravel())[1:]
BOXES = np.array([(x.start, y.start, x.stop, y.stop) for y, x in SLICES], dtype=float)
POINTS = np.array([np.argwhere(i + 1 == LABELS)[AREAS[i] // 2][::-1] + 0.5 for i in range(len(AREAS))])


@pytest.fixture
def predictor() -> samgeo.Predictor:
    return samgeo.Predictor(encode_ids(LABELS), model=Oracle128())


def areas(result: gpd.GeoDataFrame) -> list[int]:
    return result["area_px"].astype(int).tolist()


def test_points_boxes_and_polygons_find_the_very_pixels_in_the_prompts_order(predictor: samgeo.Predictor) -> None:
    order = np.random.default_rng(0).permutation(len(AREAS))
    by_point = predictor.predict(points=POINTS[order])
    by_box = predictor.predict(boxes=BOXES[order])
    by_polygon = predictor.predict(polygons=by_box.geometry)
    assert areas(by_point) == areas(by_box) == areas(by_polygon) == AREAS[order].tolist()
    assert by_box.reason.isna().all()
    assert list(by_box.columns) == ["predicted_iou", "stability_score", "area_px", "complete", "reason", "geometry"]


def test_prompts_that_are_answered_in_groups_of_neighbours_have_the_same_answers(
    predictor: samgeo.Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = np.random.default_rng(1).permutation(len(AREAS))
    points = np.concatenate([POINTS[order], [[-50.0, 20.0], [900.0, 900.0]]])
    boxes = np.concatenate([BOXES[order], [[-60.0, 0.0, -50.0, 20.0], [900.0, 900.0, 910.0, 910.0]]])
    kinds = {"points": points, "boxes": boxes, "polygons": shapely.box(*boxes.T)}
    whole = {name: predictor.predict(**{name: prompts}) for name, prompts in kinds.items()}
    asked: list[int] = []
    answer = samgeo.Predictor.answer
    monkeypatch.setattr(assignment, "GROUP", 7)
    monkeypatch.setattr(
        samgeo.Predictor, "answer", lambda self, some, **how: asked.append(len(some)) or answer(self, some, **how)
    )
    for name, prompts in kinds.items():
        asked.clear()
        in_groups = predictor.predict(**{name: prompts})
        assert asked == [7] * 6
        assert in_groups.to_wkb().equals(whole[name].to_wkb())
        assert in_groups.attrs == whole[name].attrs
    # Each window is read for one group or two.
    (first, *_, last) = (numbers.tolist() for numbers in assignment.groups(predictor.read(points=points)[0], predictor.lattice))
    assert max(points[first, 1]) < 150
    assert min(points[last, 1]) > 300


def test_each_window_is_encoded_once_and_prompts_of_a_window_are_decoded_together() -> None:
    calls: list[int] = []

    class Counting(Oracle128):
        def decode(self, embedding, **prompts):
            calls.append(len(prompts["boxes"]))
            return super().decode(embedding, **prompts)

    model = Counting()
    predictor = samgeo.Predictor(encode_ids(LABELS), model=model)
    for _ in range(2):
        predictor.predict(boxes=BOXES)
    assert model.embedded == len(calls) / 2
    assert sum(calls) == 2 * len(BOXES)


@pytest.mark.parametrize("transform", ["north-up", "south-up", "rotated", "non-square", "sheared"])
def test_the_same_place_in_any_crs_gives_the_same_masks(tmp_path, transform: str) -> None:
    from samgeo.testing.rasters import TRANSFORMS

    path = write_raster(tmp_path / "ids.tif", encode_ids(LABELS), transform=TRANSFORMS[transform])
    predictor = samgeo.Predictor(path, model=Oracle128())
    geobox = predictor.raster.geobox
    expected = predictor.predict(points=POINTS, crs="pixels")
    assert expected.crs == "EPSG:32633"
    in_px = gpd.GeoSeries(expected.geometry).affine_transform((~geobox.affine).to_shapely())
    assert np.rint(in_px.area).astype(int).tolist() == AREAS.tolist()
    outline = shapely.box(*BOXES.T)
    for crs in ("EPSG:32633", "EPSG:4326", "EPSG:32632"):
        places = from_pixels(POINTS, geobox, crs)
        boxes = gpd.GeoSeries(shapely.transform(outline, lambda xy, crs=crs: from_pixels(xy, geobox, crs)), crs=crs)
        for result in (
            predictor.predict(points=places, crs=crs),
            predictor.predict(points=gpd.GeoSeries(shapely.points(places), crs=crs)),
            predictor.predict(boxes=boxes),
        ):
            assert result.geometry.geom_equals(expected.geometry).all()


def test_the_model_sees_no_box_past_the_raster() -> None:
    seen: list[list[float]] = []

    class Recording(Oracle128):
        def decode(self, embedding, **given):
            seen.extend(given["boxes"].tolist())
            return super().decode(embedding, **given)

    predictor = samgeo.Predictor(encode_ids(LABELS), model=Recording())
    height, width = LABELS.shape
    predictor.predict(boxes=[(width - 20.0, height - 30.0, width + 60.0, height + 9.0)], crs="pixels")
    # The last windows are padded: their frame reaches past the raster.
    last = predictor.lattice.rect(predictor.lattice.rows - 1, predictor.lattice.columns - 1)
    assert last.x1 > width
    assert last.y1 > height
    assert seen == [[width - 20 - last.x0, height - 30 - last.y0, width - last.x0, height - last.y0]]


def test_a_box_across_the_rasters_edge_is_clipped_not_dropped(predictor: samgeo.Predictor) -> None:
    labels = np.zeros((200, 200), dtype=np.int32)
    labels[0:30, 180:200] = 7
    predictor = samgeo.Predictor(encode_ids(labels), model=Oracle128())
    assert areas(predictor.predict(boxes=[[170, -500, 900, 40]])) == [600]


def test_what_finds_nothing_is_a_row_with_its_reason() -> None:
    labels = np.zeros((200, 300), dtype=np.int32)
    labels[20:60, 20:60] = 1
    image = encode_ids(labels)
    image[:, 150:] = 255
    predictor = samgeo.Predictor(image, nodata=255, model=Oracle128())
    frame = gpd.GeoDataFrame(
        {"name": list("abcdef")},
        geometry=[
            shapely.Point(30.5, 30.5),
            shapely.Point(-1, 30),
            shapely.Point(200.5, 30.5),
            shapely.Point(100.5, 30.5),
            shapely.Point(),
            None,
        ],
        index=[10, 11, 12, 13, 14, 15],
    )
    result = predictor.predict(points=frame)
    assert result.reason.isna().tolist() == [True] + [False] * 5
    assert result.reason.tolist()[1:] == ["outside the raster", "on nodata", "no mask", "no geometry", "no geometry"]
    assert result.geometry.is_empty.tolist() == [False, True, True, True, True, True]
    assert result.name.tolist() == list("abcdef")
    assert result.index.tolist() == frame.index.tolist()
    assert areas(result) == [1600, 0, 0, 0, 0, 0]
    boxes = predictor.predict(boxes=[[400, 0, 500, 9], [160, 0, 250, 100], [90, 90, 99, 99]])
    assert boxes.reason.tolist() == ["outside the raster", "on nodata", "no mask"]
    assert predictor.predict(points=[[5, 5]], labels=[0]).reason.tolist() == ["no foreground point"]


def test_no_prompts_give_an_empty_table(predictor: samgeo.Predictor) -> None:
    assert len(predictor.predict(boxes=np.empty((0, 4)))) == 0


@pytest.mark.parametrize("kind", ["boxes", "polygons"])
@pytest.mark.parametrize("winding", [False, True])
def test_an_object_many_windows_long_is_one_row_with_its_very_pixels(kind: str, winding: bool) -> None:
    labels = road(1000, 20, winding=winding)
    predictor = samgeo.Predictor(encode_ids(labels), model=Oracle128())
    outline = samgeo.segment(encode_ids(labels), model=Oracle128(), progress=False).geometry.iloc[0]
    prompt = {"boxes": [outline.bounds], "polygons": [outline]}[kind]
    assert areas(predictor.predict(**{kind: prompt})) == [(labels > 0).sum()]


@pytest.mark.parametrize("winding", [False, True])
def test_a_click_is_followed_behind_the_edges_of_its_window(winding: bool) -> None:
    labels = road(600, 20, winding=winding)
    predictor = samgeo.Predictor(encode_ids(labels), model=Oracle128())
    x, y = 280, int(np.flatnonzero(labels[:, 280])[10])
    assert areas(predictor.predict(points=[[x + 0.5, y + 0.5]])) == [(labels > 0).sum()]


def test_of_a_box_larger_than_a_window_the_largest_object_is_meant() -> None:
    labels = np.zeros((400, 400), dtype=np.int32)
    labels[20:380, 20:380] = 1
    labels[0:60, 0:60] = 2
    predictor = samgeo.Predictor(encode_ids(labels), model=Oracle128())
    assert areas(predictor.predict(boxes=[[10, 10, 390, 390]])) == [(labels == 1).sum()]


@settings(max_examples=100, deadline=None)
@given(
    shape=st.tuples(st.integers(60, 700), st.integers(60, 700)),
    overlap=st.sampled_from([0, 32, 64]),
    data=st.data(),
)
def test_the_window_with_the_most_context_answers_and_large_boxes_are_covered(shape, overlap: int, data) -> None:
    lattice = Lattice(shape, 128, overlap)
    x = sorted(data.draw(st.tuples(st.floats(0, shape[1]), st.floats(0, shape[1]))))
    y = sorted(data.draw(st.tuples(st.floats(0, shape[0]), st.floats(0, shape[0]))))
    extent = (x[0], y[0], x[1], y[1])

    def context(index: tuple[int, int]) -> float:
        rect = lattice.rect(*index)
        sides = [
            x[0] - rect.x0 if rect.x0 > 0 else np.inf,
            y[0] - rect.y0 if rect.y0 > 0 else np.inf,
            rect.x1 - x[1] if rect.x1 < shape[1] else np.inf,
            rect.y1 - y[1] if rect.y1 < shape[0] else np.inf,
        ]
        return min(sides)

    chosen = windows_of(lattice, extent)
    best = max(context(index) for index in lattice)
    if best >= 0:
        assert len(chosen) == 1
        assert context(chosen[0]) == best
    else:
        cores = [lattice.core(*index) for index in chosen]
        seen = shapely.union_all([shapely.box(core.x0, core.y0, core.x1, core.y1) for core in cores])
        inside = np.array(extent)
        # Along an axis on which one window holds it, that window answers for what lies beyond its core too.
        for low, axis in ((0, 1), (1, 0)):
            if len({index[axis] for index in chosen}) == 1:
                inside[[low, low + 2]] = seen.bounds[low], seen.bounds[low + 2]
        assert shapely.covers(seen.buffer(1e-6), shapely.box(*inside))
        assert len(set(chosen)) == len(chosen)


def test_auto_is_three_masks_for_one_point_alone_and_one_for_anything_else() -> None:
    asked: list[tuple[tuple[str, ...], bool]] = []

    class Asked(Oracle128):
        def decode(self, embedding, *, multimask=True, **prompts):
            asked.append((tuple(sorted(prompts)), multimask))
            return super().decode(embedding, **prompts)

    predictor = samgeo.Predictor(encode_ids(LABELS), model=Asked())
    point, box = POINTS[:1], BOXES[:1]
    predictor.predict(points=point)
    predictor.predict(points=[[POINTS[0], POINTS[0]]])
    predictor.predict(boxes=box)
    predictor.predict(points=point, boxes=box)
    predictor.predict(points=point, multimask=False)
    predictor.predict(points=point, refine=1)
    pointed = ("labels", "points")
    assert asked == [
        (pointed, True),
        (pointed, False),
        (("boxes",), False),
        (("boxes", *pointed), False),
        (pointed, False),
        (pointed, True),
        (("labels", "masks", "points"), False),
    ]


def test_candidates_can_be_gone_on_from(predictor: samgeo.Predictor) -> None:
    (first,) = predictor.candidates(points=POINTS[:1])
    assert first.mask.area == AREAS[0]
    result = predictor.predict(masks=[first.earlier])
    assert areas(result) == [AREAS[0]]
    assert predictor.candidates(points=[[-5, -5]]) == []


def test_snap_pulls_rough_polygons_and_keeps_those_that_mean_nothing_here(predictor: samgeo.Predictor) -> None:
    exact = predictor.predict(boxes=BOXES)
    rough = gpd.GeoDataFrame({"id": range(len(AREAS))}, geometry=exact.geometry.buffer(2).translate(1, 1))
    wrong = gpd.GeoDataFrame({"id": [99]}, geometry=[exact.geometry.iloc[0].buffer(40)])
    nowhere = gpd.GeoDataFrame({"id": [100]}, geometry=[shapely.box(900, 900, 950, 950)])
    result = predictor.snap(gpd.pd.concat([rough, wrong, nowhere], ignore_index=True))
    assert areas(result)[:-2] == AREAS.tolist()
    assert result.snapped.tolist() == [True] * len(AREAS) + [False, False]
    assert result.reason.iloc[-2].endswith("is below 0.5")
    assert result.reason.iloc[-1] == "outside the raster"
    assert result.geometry.iloc[-2].equals(wrong.geometry.iloc[0])
    assert result.id.tolist() == [*range(len(AREAS)), 99, 100]


def test_memory_holds_the_windows_used_last() -> None:
    model = Oracle128()
    one = 128 * 128 * 4 + 130 * 130
    predictor = samgeo.Predictor(encode_ids(LABELS), model=model, memory=2 * one)
    predictor.predict(boxes=BOXES)
    assert predictor._windows.nbytes <= 2 * one
    before = model.embedded
    predictor.predict(boxes=BOXES)
    assert model.embedded > before


def test_threads_that_click_at_once_get_the_same_answers(predictor: samgeo.Predictor) -> None:
    expected = samgeo.Predictor(encode_ids(LABELS), model=Oracle128()).predict(points=POINTS)
    answers: list[gpd.GeoDataFrame] = []
    threads = [threading.Thread(target=lambda: answers.append(predictor.predict(points=POINTS))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert all(answer.geometry.geom_equals(expected.geometry).all() for answer in answers)
    assert predictor.model.embedded == len(predictor._windows)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({}, "there is no prompt"),
        ({"points": [[1, 1]], "boxes": [[0, 0, 1, 1], [0, 0, 2, 2]]}, "the numbers of prompts differ"),
        ({"labels": [1]}, "labels need points"),
        ({"points": [[1, 1]], "multimask": "three"}, "multimask is 'three'"),
        ({"points": [[1, 1]], "refine": -1}, "refine is -1"),
        ({"masks": [shapely.box(0, 0, 1, 1)], "polygons": [shapely.box(0, 0, 1, 1)]}, "masks and polygons cannot be combined"),
    ],
)
def test_prompts_that_cannot_work_are_refused_before_work(predictor: samgeo.Predictor, prompts: dict, message: str) -> None:
    with pytest.raises(samgeo.SamgeoError, match=message):
        predictor.predict(**prompts)
    assert predictor.model.embedded == 0


CLICKS = """
import numpy as np
import samgeo
from samgeo.testing import Oracle, encode_ids

def peak_kb():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

ids = np.zeros((512, 512), np.int32)
for number, (y, x) in enumerate(np.ndindex(31, 31)):
    ids[4 + 16 * y : 12 + 16 * y, 4 + 16 * x : 12 + 16 * x] = number + 1
predictor = samgeo.Predictor(encode_ids(ids), model=Oracle(128), window=128, overlap=32)
clicks = np.random.default_rng(0).uniform(0, 512, (3000, 2))
predictor.predict(points=clicks[:500], crs="pixels")
before = peak_kb()
answers = predictor.predict(points=clicks, crs="pixels")
print(len(answers), peak_kb() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="measures how the memory of glibc is split")
def test_thousands_of_clicks_do_not_split_the_memory() -> None:
    """Masks that stay, a few bytes each, once kept 65 kB of freed memory each from being used again: 193 MB here."""
    command = [sys.executable, "-W", "ignore", "-c", CLICKS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)  # noqa: S603 - our own script
    count, grown_kb = map(int, done.stdout.split())
    assert count == 3000
    assert grown_kb < 100_000


def test_a_window_whose_making_fails_is_made_by_the_next_thread_that_needs_it():
    cache, window = EmbeddingCache(), Encoded(None, Rect(0, 0, 8, 8), (8, 8), np.ones((10, 10), dtype=bool))
    begun, may_fail = threading.Event(), threading.Event()
    errors, got = [], []

    def fail():
        begun.set()
        assert may_fail.wait(30)
        raise OSError("the file is gone")

    def need_first():
        with pytest.raises(OSError, match="the file is gone"):
            cache.get((0, 0), fail)
        errors.append("told")

    def need_second():
        got.append(cache.get((0, 0), lambda: window))

    threads = [threading.Thread(target=need_first), threading.Thread(target=need_second)]
    threads[0].start()
    assert begun.wait(30)
    threads[1].start()
    may_fail.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert errors == ["told"]
    assert got == [window]
    # A later call tries again, and nothing is kept of windows that failed.
    with pytest.raises(OSError, match="the file is gone"):
        cache.get((1, 1), fail)
    assert cache.get((1, 1), lambda: window) is window
    assert len(cache) == 2
    assert not cache._making
