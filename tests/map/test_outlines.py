"""Outlines that are cleaned before they are accepted, and outlines that overlap accepted objects."""

from __future__ import annotations

import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from map_scene import POINTS, accept_object, box_of

import samgeo
from samgeo.errors import OptionError
from samgeo.map import CleanOptions, Session
from samgeo.map.ui.messages import tell_of
from samgeo.testing import Oracle, encode_ids

# A building with a courtyard, a notch and a second part.
BUILDING = np.zeros((120, 160), np.int32)
BUILDING[20:80, 30:110] = 3
BUILDING[40:60, 60:80] = 0
BUILDING[20:22, 60:62] = 0
BUILDING[90:100, 30:40] = 3
HOLE, NOTCH, SECOND, WHOLE = 400, 4, 100, 4800
IN_BUILDING = (40.5, 30.5)


@pytest.fixture(scope="module")
def plain() -> samgeo.Predictor:
    return samgeo.Predictor(encode_ids(BUILDING), model=Oracle(160))


def layer(*boxes, scores=None, **columns) -> gpd.GeoDataFrame:
    scores = [None] * len(boxes) if scores is None else scores
    return gpd.GeoDataFrame({"predicted_iou": scores, **columns}, geometry=[shapely.box(*one) for one in boxes])


def areas(session: Session) -> list[float]:
    return [one.geometry.area for one in session.state.objects]


def test_what_is_drawn_after_an_option_changed_is_what_is_accepted(plain: samgeo.Predictor) -> None:
    session = Session(plain)
    assert session.add_point(*IN_BUILDING).state.candidate.area == WHOLE - HOLE - NOTCH + SECOND
    for options, area, corners in (
        ({"largest_part": True}, WHOLE - HOLE - NOTCH, 8),
        ({"fill_holes": True}, WHOLE - NOTCH, 8),
        ({"simplify": True, "tolerance": 3}, WHOLE, 4),
        ({"regularize": True, "simplify": False}, WHOLE, 4),
    ):
        candidate = session.set_clean(**options).state.candidate
        assert candidate.area == pytest.approx(area, abs=12)
        assert len(candidate.geometry.exterior.coords) - 1 == corners
    drawn = session.state.candidate.geometry
    session.accept()
    assert session.state.objects[0].geometry is drawn
    # Objects keep the outline with which they were accepted, and the model's outline is not lost.
    session.undo()
    raw = session.set_clean(largest_part=False, fill_holes=False, regularize=False).state.candidate
    assert (raw.area, raw.raw) == (WHOLE - HOLE - NOTCH + SECOND, None)
    session.undo()
    assert session.state.candidate.geometry == drawn


def test_masks_that_wait_are_cleaned_in_metres_and_are_not_put_up_twice(placed: samgeo.Predictor, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    session = Session(placed, log=log)
    to_crs = placed.raster.geobox.affine.to_shapely()
    given = [shapely.box(20, 20, 60, 50) - shapely.box(30, 30, 40, 40), shapely.box(80, 20, 120, 50).buffer(0.4)]
    frame = gpd.GeoDataFrame(
        geometry=[shapely.affinity.affine_transform(one, to_crs) for one in given], crs=placed.raster.geobox.crs.proj
    )
    session.set_clean(fill_holes=True, simplify=True, tolerance=0.5, unit="m")
    waiting = session.propose(frame).state.proposals
    assert [len(one.geometry.exterior.coords) - 1 for one in waiting] == [4, 4]
    assert waiting[0].area == pytest.approx(300, rel=0.01)  # half a metre is a pixel
    assert session.propose(frame).action.already == 2
    session.accept_proposals()
    assert [one.geometry for one in session.state.objects] == [one.geometry for one in waiting]
    assert session.propose(frame).action.already == 2
    again = Session.replay(log, placed)
    assert again.state == session.state
    with pytest.raises(OptionError, match="tolerance is 0; give a number above 0"):
        session.set_clean(tolerance=0)
    with pytest.raises(OptionError, match=r"unit is 'ft'; give one of px, m"):
        session.set_clean(unit="ft")


def test_metres_need_a_crs(plain: samgeo.Predictor) -> None:
    with pytest.raises(OptionError, match="the raster has no CRS; give it in pixels"):
        Session(plain, clean=CleanOptions(unit="m"))
    with pytest.raises(OptionError, match="the raster has no CRS"):
        Session(plain).set_clean(unit="m")
    with pytest.raises(OptionError, match=r"on_overlap is 'erase'; give one of cut, keep, merge"):
        Session(plain, on_overlap="erase")


@pytest.mark.parametrize(
    ("overlap", "expected", "waiting"),
    [("cut", [400, 200, 300], 1), ("keep", [400, 400, 400, 100], 0), ("merge", [900], 0)],
)
def test_overlaps_with_accepted_objects_and_with_each_other(
    plain: samgeo.Predictor, tmp_path: Path, overlap: str, expected: list[float], waiting: int
) -> None:
    log = tmp_path / "log.jsonl"
    session = Session(plain, on_overlap=overlap, log=log)
    session.propose(layer((0, 0, 20, 20), scores=[0.5]))
    session.accept_proposals()
    # The second has a higher score than the first, and the last one lies in the accepted object.
    boxes = (10, 0, 30, 20), (25, 0, 45, 20), (0, 0, 10, 10)
    session.propose(layer(*boxes, scores=[0.9, 0.8, 0.7]))
    done = session.accept_proposals()
    assert areas(session) == expected
    assert [one.area for one in session.state.objects] == expected
    assert len(session.state.proposals) == waiting
    assert (f"accepted {3 - waiting}, {waiting} wait" in tell_of(done, "px")) is True
    assert ("cover 1 of them, which is not accepted" in tell_of(done, "px")) is bool(waiting)
    assert Session.replay(log, plain).state == session.state
    session.undo()
    assert (areas(session), len(session.state.proposals)) == ([400], 3)


def test_a_click_on_an_accepted_object_is_cut_merged_or_refused(session: Session) -> None:
    accept_object(session, 0)
    session.add_point(*POINTS[0])
    with pytest.raises(OptionError, match="accepted objects cover the outline, so that nothing is left to accept"):
        session.accept()
    assert len(session.state.objects) == 1
    session.set_on_overlap("keep")
    session.accept("road")
    assert len(session.state.objects) == 2
    session.set_on_overlap("merge")
    before = session.state.object(1)
    session.edit(1, shapely.box(*box_of(0)))
    session.select(2)
    session.add_point(*POINTS[0])
    session.select(2)
    now = session.accept("road")  # joined with the road, and not with the roof
    assert tell_of(now, "px").startswith("accepted object 2 as road")
    assert [(one.id, one.class_name) for one in now.state.objects] == [(1, "roof"), (2, "road")]
    assert now.state.object(2).geometry.equals(before.geometry)
    assert (now.state.object(2).predicted_iou, now.state.selected) == (None, 2)


def test_a_merge_joins_several_objects_and_keeps_the_first(plain: samgeo.Predictor) -> None:
    session = Session(plain, classes=["roof", "road"], on_overlap="merge")
    session.propose(layer((0, 0, 10, 10), (20, 0, 30, 10), (10, 0, 20, 10), **{"class": ["roof", "roof", "road"]}))
    session.accept_proposals()
    assert areas(session) == [100, 100, 100]  # they touch, and do not overlap
    session.select(2)
    session.propose(layer((5, 0, 25, 10), **{"class": ["roof"]}))
    session.accept_proposals()
    assert [(one.id, one.area, one.class_name) for one in session.state.objects] == [(1, 300, "roof"), (3, 100, "road")]
    assert session.state.selected == 1


def test_a_cut_drops_crumbs_and_parts(plain: samgeo.Predictor) -> None:
    session = Session(plain)
    session.propose(layer((0, 10, 40, 20)))
    session.accept_proposals()
    around = layer((10, 8, 30, 21), (50, 50, 60, 60))
    session.propose(around)
    session.accept_proposals()
    assert areas(session) == [400, 40 + 20, 100]
    session.undo()
    session.set_clean(largest_part=True)
    session.accept_proposals()
    assert areas(session) == [400, 40, 100]
    session.propose(layer((0, 7, 41, 20), scores=[0.1]))  # what is left beside the others: 41 x 3 - 40, and a strip of 10
    session.accept_proposals()
    assert areas(session)[-1] == 41 * 3 - 20 * 2 + 10
    session.propose(layer((0, 16, 41.3, 20)))
    with pytest.raises(OptionError, match="nothing is left"):
        session.accept_proposals()


def test_what_was_cut_at_acceptance_is_not_put_up_again(plain: samgeo.Predictor) -> None:
    session = Session(plain)
    frame = layer((0, 0, 20, 20), (10, 0, 30, 20), scores=[0.9, 0.8])
    session.propose(frame)
    session.accept_proposals()
    assert areas(session) == [400, 200]
    assert session.propose(frame).action.already == 2
    assert session.propose(layer((2, 2, 5, 5))).action.already == 0  # a part of an object is another object


def test_masks_without_a_score_are_cut_by_those_with_one(plain: samgeo.Predictor) -> None:
    session = Session(plain)
    session.propose(layer((0, 0, 20, 20), (10, 0, 30, 20), (25, 0, 45, 20), scores=[None, 0.1, None]))
    session.accept_proposals()
    assert areas(session) == [200, 400, 300]


def test_accepting_one_of_five_thousand_is_fast(plain: samgeo.Predictor) -> None:
    big = samgeo.Predictor(np.zeros((2000, 2000), np.uint8), model=Oracle(160))
    session = Session(big)
    x, y = np.meshgrid(np.arange(71) * 28.0, np.arange(71) * 28.0)
    session.propose(layer(*((a, b, a + 20, b + 20) for a, b in zip(x.ravel(), y.ravel(), strict=True))))
    start = time.process_time()
    session.accept_proposals()
    assert time.process_time() - start < 4
    assert len(session.state.objects) == 5041
    session.propose(layer((15, 15, 60, 60)))
    start = time.process_time()
    session.accept_proposals()
    assert time.process_time() - start < 0.2
    assert session.state.objects[-1].area == 45**2 - (5 + 20 + 4) ** 2
