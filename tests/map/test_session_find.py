"""A session finds the objects of one kind in view, and adds them as proposals."""

from __future__ import annotations

from pathlib import Path

import pytest

import samgeo
from samgeo.errors import SamgeoError
from samgeo.map import Session
from samgeo.synthetic import town


@pytest.fixture(scope="module")
def placed(tmp_path_factory) -> Path:
    return town((384, 384), seed=3).save(tmp_path_factory.mktemp("find") / "town.tif")


def test_found_buildings_become_proposals_of_their_class(placed: Path) -> None:
    session = Session(samgeo.Predictor(placed), classes=["building", "tree"])
    snapshot = session.find("building", (0, 0, 200, 384), crs="pixels", min_score=0.2)
    proposals = snapshot.state.proposals
    assert len(proposals) > 3
    found = samgeo.find(placed, min_score=0.2, progress=False)
    assert len(proposals) < len(found)
    session.accept_proposals()
    assert {one.class_name for one in session.state.objects} == {"building"}
    # What is there already is not proposed again.
    assert not session.find("building", (0, 0, 200, 384), crs="pixels", min_score=0.2).state.proposals


def test_bad_bounds_and_classes_are_refused(placed: Path) -> None:
    session = Session(samgeo.Predictor(placed), classes=["roof"])
    for what, bounds in (("submarine", None), ("building", (5, 5, 1, 1))):
        with pytest.raises(SamgeoError):
            session.find(what, bounds, crs="pixels")
