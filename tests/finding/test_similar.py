"""More objects like given outlines are found near them, with the embeddings that a predictor has."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

import samgeo
from samgeo.errors import ModelError, OptionError, SamgeoError, StoppedError
from samgeo.finding import similar
from samgeo.testing import Oracle, encode_ids

SIDE, PITCH, CELL = 36, 64, 4
# Objects with a number of at least this are of the second kind.
SECOND = 100


class Describer(Oracle):
    """An oracle whose features tell the objects of the first kind from everything else."""

    def features(self, embedding: NDArray[np.int32]) -> NDArray[np.float32]:
        first = (embedding > 0) & (embedding < SECOND)
        grid = len(embedding) // CELL
        kinds = np.stack([first, ~first], axis=2).reshape(grid, CELL, grid, CELL, 2)
        return kinds.mean((1, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def squares() -> tuple[list[shapely.Polygon], list[shapely.Polygon]]:
    """Squares of the first and of the second kind, as on a chessboard."""
    kinds: tuple[list[shapely.Polygon], list[shapely.Polygon]] = ([], [])
    for row in range(5):
        for column in range(5):
            x, y = PITCH * column + 14, PITCH * row + 14
            kinds[(row + column) % 2].append(shapely.box(x, y, x + SIDE, y + SIDE))
    return kinds


@pytest.fixture(scope="module")
def image(squares) -> np.ndarray:
    ids = np.zeros((5 * PITCH, 5 * PITCH), dtype=np.int32)
    for first, outlines in zip((1, SECOND), squares, strict=True):
        for number, one in enumerate(outlines, first):
            x0, y0, x1, y1 = (int(side) for side in one.bounds)
            ids[y0:y1, x0:x1] = number
    return encode_ids(ids)


@pytest.fixture
def predictor(image: np.ndarray) -> samgeo.Predictor:
    return samgeo.Predictor(image, model=Describer(128))


def outlines_of(found: gpd.GeoDataFrame) -> set[tuple[float, ...]]:
    return {one.bounds for one in found.geometry}


def bounds_of(outlines) -> set[tuple[float, ...]]:
    return {one.bounds for one in outlines}


def test_the_others_of_a_kind_are_found_in_the_windows_of_the_examples_and_around(predictor, squares) -> None:
    found = similar(predictor, [squares[0][0]], "roof")
    # The example is in the first window; the core of the second one ends at pixel 208.
    near = [one for one in squares[0][1:] if max(one.centroid.coords[0]) < 208]
    assert outlines_of(found) == bounds_of(near)
    assert set(found["class"]) == {"roof"}
    assert found["score"].between(0.2, 1).all()
    assert found["complete"].all()


def test_all_are_found_in_bounds_whatever_the_order_of_examples(predictor, squares, image) -> None:
    everywhere = (0, 0, 400, 320)
    found = similar(predictor, squares[0][:3], bounds=everywhere, crs="pixels")
    again = similar(predictor, [squares[0][number] for number in (2, 0, 1, 0)], bounds=everywhere, crs="pixels")
    assert outlines_of(found) == bounds_of(squares[0][3:])
    assert again.equals(found)
    assert again.attrs == found.attrs
    whole = samgeo.find(image, examples=squares[0][:3], model=Describer(128), progress=False)
    assert outlines_of(whole) == outlines_of(found) | bounds_of(squares[0][:3])
    half = similar(predictor, squares[0][:3], bounds=(160, 160, 320, 320))
    assert outlines_of(half) == {one.bounds for one in squares[0][3:] if min(one.centroid.coords[0]) >= 160}


def test_embeddings_of_the_predictor_are_used(predictor, squares) -> None:
    predictor.predict(points=[[30, 30]])
    assert predictor.model.embedded == 1
    similar(predictor, [squares[0][0]])
    assert predictor.model.embedded == 4
    similar(predictor, [squares[1][0]])
    predictor.predict(boxes=[squares[0][0].bounds])
    assert predictor.model.embedded == 4


def test_small_examples_are_searched_in_finer_windows_that_are_kept(squares) -> None:
    ids = np.zeros((96, 96), dtype=np.int32)
    for number in range(1, 10):
        y, x = (24 * part + 8 for part in divmod(number - 1, 3))
        ids[y : y + 10, x : x + 10] = number
    predictor = samgeo.Predictor(encode_ids(ids), model=Describer(128))
    found = similar(predictor, [shapely.box(8, 8, 18, 18)])
    assert found.attrs["samgeo"]["options"]["zoom"] == 4
    assert found.attrs["samgeo"]["options"]["window"] == 32
    assert len(found) >= 3
    embedded = predictor.model.embedded
    similar(predictor, [shapely.box(8, 8, 18, 18)])
    assert predictor.model.embedded == embedded


def test_rejected_examples_are_learned_and_not_found(predictor, squares) -> None:
    accepted, refused = squares[0][:2], [squares[1][0], squares[0][4]]
    found = similar(predictor, (accepted, refused), bounds=(0, 0, 320, 320), min_score=0)
    examples = found.attrs["samgeo"]["options"]["examples"]
    assert (examples["accepted"], examples["rejected"]) == (2, 2)
    assert not outlines_of(found) & bounds_of(refused)


def test_the_provenance_says_how_it_was_searched(predictor, squares) -> None:
    options = similar(predictor, squares[0][:2], bounds=(-5, 0, 100, 100), min_score=0.4).attrs["samgeo"]["options"]
    assert {name: options[name] for name in ("window", "overlap", "zoom", "min_score", "bounds_px")} == {
        "window": 128,
        "overlap": 32,
        "zoom": 1.0,
        "min_score": 0.4,
        "bounds_px": [0.0, 0.0, 100.0, 100.0],
    }
    assert options["examples"]["class"] == "object"


def test_a_search_is_stopped_by_its_progress(predictor, squares) -> None:
    seen = []

    def stop_after(count: int):
        def progress(done: int, total: int) -> bool:
            seen.append((done, total))
            return done < count

        return progress

    with pytest.raises(StoppedError, match="after 0 of 4"):
        similar(predictor, squares[0][:1], progress=stop_after(0))
    assert predictor.model.embedded == 0
    with pytest.raises(StoppedError, match="after 2 of 4"):
        similar(predictor, squares[0][:1], progress=stop_after(2))
    assert len(similar(predictor, squares[0][:1], progress=stop_after(9)))
    assert seen[-5:] == [(number, 4) for number in range(5)]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"examples": []}, "none of the 0 examples"),
        ({"bounds": (500, 500, 600, 600)}, "lie outside"),
        ({"bounds": (5, 5, 1, 1)}, "x0 <= x1"),
        ({"min_score": 2}, "min_score is 2"),
        ({"zoom": 99}, "zoom is 99"),
        ({"crs": "EPSG:4326", "bounds": (1, 1, 2, 2)}, "no CRS"),
    ],
)
def test_bad_options_are_refused_before_work(predictor, squares, given: dict, told: str) -> None:
    with pytest.raises(SamgeoError, match=told):
        similar(predictor, **{"examples": squares[0][:1]} | given)
    assert predictor.model.embedded == 0


def test_models_without_features_are_refused(image, squares) -> None:
    with pytest.raises(ModelError, match="no feature vectors"):
        similar(samgeo.Predictor(image, model=Oracle(128)), squares[0][:1])


def test_the_bundled_model_finds_red_roofs_and_no_blue_ones() -> None:
    rng = np.random.default_rng(0)
    scene = np.full((256, 256, 3), (80, 120, 70)) + rng.normal(0, 8, (256, 256, 1))
    places = [(50, 50), (130, 60), (210, 50), (60, 150), (140, 160), (215, 150)]
    for x, y in places:
        scene[y - 20 : y + 20, x - 16 : x + 16] = (190, 70, 50)
    scene[190:230, 84:116] = (60, 80, 170)
    predictor = samgeo.Predictor(np.clip(scene + rng.normal(0, 3, scene.shape), 0, 255).astype(np.uint8), threads=1)
    roofs = [shapely.box(x - 16, y - 20, x + 16, y + 20) for x, y in places]
    found = similar(predictor, roofs[:3], "roof").geometry.to_numpy()
    ious = [
        (shapely.area(shapely.intersection(found, one)) / shapely.area(shapely.union(found, one))).max() for one in roofs[3:]
    ]
    assert np.sum(np.array(ious) > 0.6) >= 2
    assert len(found) <= 5
    with pytest.raises(OptionError, match="nothing can be learned"):
        similar(predictor, [shapely.box(0, 0, 256, 256)])
