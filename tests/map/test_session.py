"""An annotation session with a perfect model: how objects are made and changed."""

import json
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from map_scene import AREAS, BESIDE, CLASSES, GROUND, IDS, LABELS, POINTS, accept_object, box_of, on_ground, proposals

import samgeo
from samgeo.errors import OptionError, VectorError
from samgeo.geo.coordinates.prompt_geometry import from_pixels
from samgeo.map import suggestions as answers
from samgeo.map.session import Session
from samgeo.map.state.actions import Propose
from samgeo.map.state.reducer import State
from samgeo.map.ui.messages import tell_of
from samgeo.testing import encode_ids
from samgeo.testing.oracle import Oracle


def test_a_click_offers_the_object_and_accepting_makes_it_one(session: Session) -> None:
    state = session.add_point(*POINTS[3]).state
    assert state.candidate is not None
    assert state.candidate.area == AREAS[3]
    assert state.objects == ()
    after = session.accept("road").state
    (made,) = after.objects
    assert (made.id, made.class_name, made.area, made.prompt, made.edited) == (1, "road", AREAS[3], "clicks", False)
    assert (made.predicted_iou, made.stability_score) == (1.0, 1.0)
    assert made.geometry.area == AREAS[3]
    assert (after.prompt.marks, after.answer.offers) == ((), ())


def test_a_box_and_clicks_tell_how_an_object_was_made(session: Session) -> None:
    session.set_box(*box_of(2))
    session.accept()
    x0, y0, x1, y1 = box_of(4)
    session.set_box(x1, y1, x0, y0)
    session.add_point(*POINTS[4])
    session.accept()
    assert [one.prompt for one in session.state.objects] == ["box", "box and clicks"]
    assert [one.area for one in session.state.objects] == [AREAS[2], AREAS[4]]
    assert [one.class_name for one in session.state.objects] == ["roof", "roof"]


def test_where_nothing_is_found_the_reason_is_said_and_nothing_can_be_accepted(session: Session) -> None:
    for place, label, reason in (
        (GROUND, 1, "no mask"),
        ((-5, -5), 1, "outside the raster"),
        (POINTS[0], 0, "no foreground point"),
    ):
        session.clear_prompts()
        answer = session.add_point(*place, label).state.answer
        assert (answer.offers, answer.reason) == ((), reason)
        with pytest.raises(OptionError, match=reason):
            session.accept()


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", "EPSG:32632", "pixels", None])
def test_the_same_place_in_any_crs_is_the_same_click_box_and_object(placed: samgeo.Predictor, crs: str | None) -> None:
    geobox = placed.raster.geobox
    in_px, here = Session(placed), Session(placed)
    in_px.add_point(*POINTS[1], crs="pixels")
    here.add_point(*from_pixels([POINTS[1]], geobox, crs)[0], crs=crs)
    assert here.state == in_px.state
    in_px.accept()
    here.accept()
    object_id = here.object_at(*from_pixels([POINTS[1]], geobox, crs)[0], crs=crs)
    assert object_id == here.state.objects[0].id
    assert here.object_at(*from_pixels([GROUND], geobox, crs)[0], crs=crs) is None
    assert here.state.objects[0].area == pytest.approx(AREAS[1] * 0.25, rel=2e-3)
    assert "area_m2" in here.to_frame()


class Candid(Oracle):
    """Offers the object, its upper left corner and its right side, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(128)
        self.asked: list[dict] = []

    def decode(self, embedding, **prompts):
        import torch

        self.asked.append(prompts)
        logits, iou = super().decode(embedding, **prompts)
        if not prompts["multimask"]:
            return logits, iou
        part, side = logits.clone(), logits.clone()
        rows, columns = torch.nonzero(logits[0, 0] > 0).T
        part[..., int(rows.min()) + 4 :, :] = -10
        side[..., : int(columns.min()) + 6] = -10
        return torch.cat([logits, part, side], dim=1), torch.cat([iou, iou - 0.1, iou - 0.2], dim=1)


def test_a_click_after_another_starts_from_the_logits_of_the_chosen_candidate() -> None:
    model = Candid()
    session = Session(samgeo.Predictor(encode_ids(LABELS), model=model))
    first = session.add_point(*POINTS[1]).state
    assert [offer.predicted_iou for offer in first.answer.offers] == pytest.approx([1.0, 0.9, 0.8])
    assert first.answer.offers[1].area < first.answer.offers[0].area
    session.choose(2)
    chosen = session.state.candidate
    session.add_point(*BESIDE, 0)
    given = model.asked[-1]
    assert given["labels"].tolist() == [[1, 0]]
    assert chosen is not None
    assert int((given["masks"] > 0).sum()) == chosen.area
    with pytest.raises(OptionError, match="no candidate 7; give a number from 0 to 0"):
        session.choose(7)


def test_logits_that_were_forgotten_are_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def corrected() -> tuple[State, np.ndarray]:
        model = Candid()
        session = Session(samgeo.Predictor(encode_ids(LABELS), model=model))
        session.add_point(*POINTS[1])
        session.choose(1)
        for number in (2, 3, 4):
            session.add_point(*POINTS[number], 0)
        session.undo()
        session.add_point(*BESIDE, 0)
        return session.state, model.asked[-1]["masks"]

    state, logits = corrected()
    monkeypatch.setattr(answers, "REMEMBERED", 1)
    again, same = corrected()
    assert again == state
    assert np.array_equal(same, logits)


def test_an_object_larger_than_a_window_is_whole_by_click_and_by_box() -> None:
    labels = np.zeros((100, 520), dtype=np.int32)
    labels[30:60, 20:500] = 3
    predictor = samgeo.Predictor(encode_ids(labels), model=Oracle(128))
    session = Session(predictor)
    assert session.add_point(250.5, 40.5).state.candidate.area == 30 * 480
    session.clear_prompts()
    assert session.set_box(18, 28, 502, 62).state.candidate.area == 30 * 480


def test_what_a_windows_edge_cuts_says_so_in_candidates_files_and_logs(tmp_path: Path) -> None:
    # No window holds the object, and none of its neighbours sees more of it than a click finds.
    labels = np.zeros((64, 300), np.int32)
    labels[10:50, 20:280] = 7
    predictor = samgeo.Predictor(encode_ids(labels), model=Oracle(64))
    first = predictor.candidates(points=[[40, 30]], crs="pixels")[0]
    assert not first.complete
    whole = samgeo.Predictor(encode_ids(labels[:, :290]), model=Oracle(512)).candidates(points=[[40, 30]], crs="pixels")[0]
    assert whole.complete
    saved, log = tmp_path / "saved.gpkg", tmp_path / "log.jsonl"
    session = Session(predictor, autosave=saved, log=log)
    part = gpd.GeoDataFrame({"complete": [False, True]}, geometry=[shapely.box(20, 10, 60, 50), shapely.box(70, 10, 90, 50)])
    session.propose(part)
    session.accept_proposals()
    assert session.to_frame().complete.tolist() == [False, True]
    assert [one.complete for one in Session(predictor, autosave=saved).state.objects] == [False, True]
    assert [one.complete for one in Session.replay(log, predictor).state.objects] == [False, True]
    session.export_coco(tmp_path / "coco.json")
    annotations = json.loads((tmp_path / "coco.json").read_text())["annotations"]
    assert [one["complete"] for one in annotations] == [False, True]


def test_objects_are_reclassed_redrawn_selected_and_deleted(session: Session) -> None:
    first, second = accept_object(session, 0), accept_object(session, 1)
    session.set_class(first, "road")
    session.edit(second, shapely.box(10, 10, 20, 30))
    session.select(second)
    kept, drawn = session.state.objects
    assert (kept.class_name, drawn.class_name) == ("road", "roof")
    assert (drawn.area, drawn.edited, drawn.predicted_iou, drawn.stability_score) == (200, True, None, None)
    assert session.state.selected == second
    assert session.delete(second).state.selected is None
    assert [one.id for one in session.state.objects] == [first]
    assert accept_object(session, 2) == 3


def test_a_geometry_is_redrawn_in_any_crs(placed: samgeo.Predictor) -> None:
    session = Session(placed)
    session.add_point(*POINTS[0], crs="pixels")
    session.accept()
    drawn_px = shapely.box(10, 10, 20, 30)
    corners = shapely.transform(drawn_px, lambda xy: from_pixels(xy, placed.raster.geobox, "EPSG:4326"))
    from_degrees = session.edit(1, corners, crs="EPSG:4326").state.objects[0]
    from_px = session.edit(1, drawn_px, crs="pixels").state.objects[0]
    assert from_degrees.geometry.hausdorff_distance(from_px.geometry) < 1e-3
    assert from_px.area == pytest.approx(50, rel=2e-3)


def test_proposals_are_accepted_and_rejected_with_their_own_ids(session: Session) -> None:
    accept_object(session, 0)
    frame = proposals(1, 2, 3, 4)
    frame["class"] = ["road", None, None, None]
    assert [one.id for one in session.propose(frame).state.proposals] == [2, 3, 4, 5]
    session.reject_proposals([4])
    session.accept_proposals([5, 2], "roof")
    assert [(one.id, one.class_name, one.prompt) for one in session.state.objects[1:]] == [
        (2, "road", "given"),
        (5, "roof", "given"),
    ]
    session.accept_proposals()
    assert session.state.proposals == ()
    assert [one.id for one in session.state.objects] == [1, 2, 5, 3]
    assert accept_object(session, 6) == 6


# Objects 1 to 3, again in these ways: how many are new, and how many were there.
AGAIN = {
    "the same": (lambda frame: frame, 0, 3),
    "another order of rows": (lambda frame: frame.iloc[::-1], 0, 3),
    "another start of each ring": (lambda frame: frame.set_geometry(frame.geometry.normalize()), 0, 3),
    "another CRS": (lambda frame: frame.to_crs("EPSG:4326"), 0, 3),
    "a web CRS": (lambda frame: frame.to_crs("EPSG:3857"), 0, 3),
    "multipolygons": (lambda frame: frame.set_geometry([shapely.MultiPolygon([one]) for one in frame.geometry]), 0, 3),
    "with Z": (lambda frame: frame.set_geometry(shapely.force_3d(frame.geometry.to_numpy(), 5)), 0, 3),
    "without classes": (lambda frame: frame.drop(columns="class"), 0, 3),
    "one more": (lambda frame: gpd.pd.concat([frame, frame.iloc[:1].translate(9, 9).to_frame("geometry")]), 1, 3),
    "another class": (lambda frame: frame.assign(**{"class": "road"}), 3, 0),
    "other outlines": (lambda frame: frame.set_geometry(frame.geometry.buffer(0.5)), 3, 0),
    "parts of them": (lambda frame: frame.set_geometry(frame.geometry.buffer(-0.5)), 3, 0),
}


@pytest.mark.parametrize("how", AGAIN)
@pytest.mark.parametrize("as_objects", [False, True], ids=["waiting", "accepted"])
def test_the_same_features_given_again_are_not_put_up_twice(placed: samgeo.Predictor, how: str, as_objects: bool) -> None:
    session = Session(placed, classes=CLASSES)
    frame = on_ground(placed, 1, 2, 3).assign(**{"class": "roof"})
    session.propose(frame)
    if as_objects:
        session.accept_proposals()
    change, new, already = AGAIN[how]
    before = session.snapshot
    done = session.propose(change(frame))
    assert isinstance(done.action, Propose)
    assert (len(done.action.proposals), done.action.already) == (new, already)
    assert len(session.state.objects) + len(session.state.proposals) == 3 + new
    assert new or session.snapshot is before
    assert new == 0 or already == 0 or f"{already} more were there already" in tell_of(done, "px")


def test_what_was_undone_or_rejected_can_be_put_up_again(placed: samgeo.Predictor) -> None:
    session = Session(placed)
    frame = on_ground(placed, 1, 2)
    session.propose(frame)
    session.undo()
    assert len(session.propose(frame).state.proposals) == 2
    session.reject_proposals()
    assert len(session.propose(frame).state.proposals) == 2
    session.accept_proposals()
    session.delete(session.state.objects[0].id)
    assert len(session.propose(frame).state.proposals) == 1


def test_what_lies_outside_the_raster_is_left_out_and_said_or_refused(placed: samgeo.Predictor, session: Session) -> None:
    here = Session(placed)
    frame = on_ground(placed, 1, 2, 3)
    frame.geometry = [frame.geometry[0], frame.geometry[1].buffer(100), shapely.affinity.translate(frame.geometry[2], 5000)]
    assert "1 outside the raster was left out" in tell_of(here.propose(frame), "m²")
    assert len(here.state.proposals) == 2  # what crosses the edge is on the raster
    beside = shapely.box(-20, 10, 0, 20)  # it touches the edge from outside
    for act, error in (
        (lambda: here.propose(frame.iloc[2:]), VectorError),
        (lambda: here.propose(on_ground(placed, 1).set_crs("EPSG:32634", allow_override=True)), VectorError),
        (lambda: session.propose(gpd.GeoDataFrame(geometry=[beside])), VectorError),
        (lambda: session.edit(accept_object(session, 0), beside), OptionError),
    ):
        with pytest.raises(error, match="outside the raster"):
            act()


def test_a_new_prompt_deselects_so_that_no_object_is_reclassed_with_it(session: Session) -> None:
    accept_object(session, 0)
    for act in (lambda: session.add_point(*POINTS[1]), lambda: session.set_box(*box_of(1))):
        session.select(1)
        assert act().state.selected is None
        session.select(1)
        assert session.add_point(*POINTS[1]).state.selected == 1  # a correction is no new prompt
        session.clear_prompts()


def test_what_automatic_segmentation_found_can_be_put_up(placed: samgeo.Predictor) -> None:
    session = Session(placed)
    found = samgeo.segment(placed.raster, model=Oracle(128), window=128, overlap=32)
    session.propose(found.to_crs("EPSG:4326"))
    session.accept_proposals()
    assert len(session.state.objects) == len(IDS)
    assert session.to_frame()["area_m2"].sum() == pytest.approx(sum(AREAS) * 0.25, rel=2e-3)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda s: s.add_point(5, 5, 2), "label is 2; give 1"),
        (lambda s: s.add_point(float("nan"), 5), "not finite"),
        (lambda s: s.add_point(5, 5, crs="EPSG:4326"), "the raster has no CRS"),
        (lambda s: s.accept("lake"), "'lake' is not a class of the session; choose one of roof, road"),
        (lambda s: s.accept(), "no candidate to accept; click on an object"),
        (lambda s: s.set_class(9, "road"), "there is no object 9 among the 0"),
        (lambda s: s.edit(9, shapely.box(0, 0, 1, 1)), "there is no object 9"),
        (lambda s: s.edit(9, shapely.Point(0, 0)), "a Point; give polygons"),
        (lambda s: s.edit(9, shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])), "not a valid polygon .Self-intersection"),
        (lambda s: s.delete(9), "there is no object 9"),
        (lambda s: s.select(9), "there is no object 9"),
        (lambda s: s.choose(0), "no candidate 0; there are none"),
        (lambda s: s.accept_proposals([4]), "there is no proposal 4"),
        (lambda s: s.propose(proposals(0).set_crs("EPSG:4326")), "has a CRS .EPSG:4326. and .* has none"),
        (lambda s: s.propose(proposals(0).assign(**{"class": "lake"})), "'lake' is not a class of the session"),
        (lambda s: s.propose(proposals(0).assign(**{"class": 3})), "the class of a proposal is 3; give the names"),
    ],
)
def test_what_cannot_be_done_says_why_and_changes_nothing(session: Session, act, message: str) -> None:
    before = session.snapshot
    with pytest.raises((OptionError, VectorError), match=message):
        act(session)
    assert session.snapshot is before


def test_a_session_needs_no_widgets() -> None:
    script = "import sys, samgeo.map.session; print([name for name in sys.modules if name.startswith('ipy')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("classes", [[], [""], ["a", "a"], [1]])
def test_a_palette_needs_names_each_once(predictor: samgeo.Predictor, classes: list) -> None:
    with pytest.raises(OptionError, match=r"one name or more|give a list of texts"):
        Session(predictor, classes=classes)
