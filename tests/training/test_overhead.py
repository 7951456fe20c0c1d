import os
from pathlib import Path

import numpy as np
import pytest

from samgeo.errors import SamgeoError
from samgeo.training.data import overhead_recipe as overhead


@pytest.fixture
def data():
    folder = os.environ.get("SAMGEO_DATA")
    if not folder:
        pytest.skip("SAMGEO_DATA does not name the folder of test data")
    return Path(folder)


def test_a_folder_without_the_data_sets_is_refused_with_its_path(tmp_path):
    with pytest.raises(SamgeoError, match="oam-banepa-buildings"):
        overhead.sources(tmp_path)


@pytest.mark.slow
def test_validation_is_apart_from_training(data):
    held_out = overhead.validation(data)
    assert [len(held_out[name]) for name in ("Banepa", "Dubai", "Rio")] == [8, 9, 7]
    assert all(any(picture.layers["building"].any() for picture in pictures) for pictures in held_out.values())
    assert overhead.DUBAI_VALIDATION_TILE not in overhead.DUBAI_TRAINING_TILES
    drone = overhead.from_coco(*overhead._coco(data, "oam-philippines-nepal-buildings"))
    seen = {picture.image.tobytes() for picture in [*drone, *overhead._rio_masks(data)]}
    assert not any(picture.image.tobytes() in seen for pictures in held_out.values() for picture in pictures)


def test_crowns_have_their_boxes(data):
    found = {name: (image.shape, boxes) for name, image, boxes in overhead.crowns(data)}
    assert {name: len(boxes) for name, (_, boxes) in found.items()} == {"OSBS_029": 61, "SOAP_061": 37, "SJER_052": 9}
    assert all(shape == (400, 400, 3) for shape, _ in found.values())
    assert found["OSBS_029"][1][0].tolist() == [203, 67, 227, 90]
    assert all((boxes[:, :2] < boxes[:, 2:]).all() for _, boxes in found.values())


def test_tiles_of_one_zoom_are_joined_where_they_touch():
    groups = list(overhead._touching([(5, 5), (6, 6), (9, 5), (10, 5)]))
    assert [sorted(map(tuple, group.tolist())) for group in groups] == [[(5, 5), (6, 6)], [(9, 5), (10, 5)]]


def test_holes_in_roads_are_closed_and_courts_are_not():
    road = np.zeros((60, 60), bool)
    road[10:50, 10:50] = True
    road[14:16, 14:16] = False
    road[22:44, 22:44] = False
    closed = overhead._closed(road)
    assert closed[14:16, 14:16].all()
    assert not closed[26:40, 26:40].any()
