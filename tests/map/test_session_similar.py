"""A session finds more objects like its accepted ones, and adds them as proposals."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

import samgeo
from samgeo.errors import OptionError, SamgeoError, StoppedError
from samgeo.map import Session
from samgeo.testing import Oracle, encode_ids, write_raster

PITCH, SIDE, CELL = 64, 36, 4


class Describer(Oracle):
    """An oracle whose features tell objects from the background."""

    def features(self, embedding: NDArray[np.int32]) -> NDArray[np.float32]:
        grid = len(embedding) // CELL
        cells = np.stack([embedding > 0, embedding == 0], axis=2).reshape(grid, CELL, grid, CELL, 2)
        return cells.mean((1, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """Squares of 36 pixels in three rows of three."""
    ids = np.zeros((3 * PITCH, 3 * PITCH), dtype=np.int32)
    for number in range(9):
        y, x = (PITCH * part + 14 for part in divmod(number, 3))
        ids[y : y + SIDE, x : x + SIDE] = number + 1
    return encode_ids(ids)


@pytest.fixture(params=["with CRS", "without CRS"])
def predictor(image: np.ndarray, tmp_path: Path, request) -> samgeo.Predictor:
    placed = write_raster(tmp_path / "town.tif", image, crs="EPSG:32633") if request.param == "with CRS" else image
    return samgeo.Predictor(placed, model=Describer(128))


def accept(session: Session, column: int, row: int, class_name: str) -> None:
    """Click on a square and accept it."""
    session.add_point(PITCH * column + 32, PITCH * row + 32, crs="pixels")
    session.accept(class_name)


def test_the_others_are_proposed_logged_and_undone(predictor, tmp_path: Path) -> None:
    session = Session(predictor, classes=["roof", "tree"], log=tmp_path / "log.jsonl")
    accept(session, 0, 0, "roof")
    before = session.state
    snapshot = session.find_similar()
    assert len(snapshot.action.proposals) == 8
    assert {one.class_name for one in snapshot.state.proposals} == {"roof"}
    assert np.allclose([one.area for one in snapshot.state.proposals], session.state.objects[0].area)
    # What is proposed already is not proposed again.
    assert session.find_similar().action.proposals == ()
    assert len(session.state.proposals) == 8
    assert Session.replay(tmp_path / "log.jsonl", predictor).state == session.state
    session.undo()
    assert session.state == before


def test_bounds_and_the_class_of_the_examples(image) -> None:
    session = Session(samgeo.Predictor(image, model=Describer(128)), classes=["roof", "tree"])
    accept(session, 0, 0, "roof")
    accept(session, 2, 2, "tree")
    assert {one.class_name for one in session.find_similar((0, 0, 64, 192)).state.proposals} == {"tree"}
    session.undo()
    session.select(session.state.objects[0].id)
    found = session.find_similar((0, 0, 64, 192)).state.proposals
    assert {one.class_name for one in found} == {"roof"}
    assert len(found) == 2
    assert {one.class_name for one in session.find_similar(class_name="tree").state.proposals[2:]} == {"tree"}
    with pytest.raises(OptionError, match="'car' is not a class"):
        session.find_similar(class_name="car")


def test_rejected_proposals_are_negatives_until_the_rejection_is_undone(image, monkeypatch) -> None:
    session = Session(samgeo.Predictor(image, model=Describer(128)), classes=["roof", "tree"])
    accept(session, 0, 0, "roof")
    first = session.find_similar().state.proposals
    session.reject_proposals([one.id for one in first[:3]])
    session.accept_proposals([first[3].id])
    given = []

    def watched(_predictor, examples: gpd.GeoDataFrame, *_args, **_options) -> gpd.GeoDataFrame:
        given.append(examples)
        return gpd.GeoDataFrame({"class": ["roof"]}, geometry=[first[0].geometry])

    monkeypatch.setattr("samgeo.map.session_parts.searches.similar", watched)
    assert session.find_similar().action.proposals == ()
    session.find_similar(rejected=False)
    session.undo()
    session.undo()
    session.find_similar()
    assert [one["label"].tolist() for one in given] == [[1, 1, 0, 0, 0], [1, 1], [1]]
    assert given[0].geometry.tolist()[2:] == [one.geometry for one in first[:3]]


def test_a_rejected_shape_that_is_accepted_later_is_no_negative(image) -> None:
    session = Session(samgeo.Predictor(image, model=Describer(128)), classes=["roof"])
    square = gpd.GeoDataFrame(geometry=[shapely.box(14, 14, 50, 50)])
    session.propose(square)
    session.reject_proposals()
    accept(session, 0, 0, "roof")
    assert len(session.find_similar().state.proposals) == 8


def test_a_search_is_stopped_and_its_errors_change_nothing(image) -> None:
    session = Session(samgeo.Predictor(image, model=Describer(128)), classes=["roof", "tree"])
    with pytest.raises(OptionError, match="no object is accepted"):
        session.find_similar()
    accept(session, 0, 0, "roof")
    before = session.snapshot
    with pytest.raises(OptionError, match="no object of the class 'tree'"):
        session.find_similar(class_name="tree")
    with pytest.raises(StoppedError):
        session.find_similar(progress=lambda done, _total: done < 1)
    for given in ({"bounds": (900, 900, 950, 950)}, {"min_score": -1}):
        with pytest.raises(SamgeoError):
            session.find_similar(**given)
    assert session.snapshot == before
