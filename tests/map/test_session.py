"""An annotation session with a perfect model: what is accepted, undone, logged, saved, done again, and told to observers."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

import samgeo
from samgeo.errors import OptionError, VectorError
from samgeo.geo.coordinates.prompt_geometry import from_pixels
from samgeo.geo.vector.reading import SUFFIXES, read_provenance, read_vectors, write_vectors
from samgeo.map import suggestions as answers
from samgeo.map.session import Session, Snapshot
from samgeo.map.state.actions import Accept, AddPoint, Edit, Propose, Proposed, Undo, from_record, to_record
from samgeo.map.state.log import read_log
from samgeo.map.state.reducer import State
from samgeo.map.ui.messages import tell_of
from samgeo.testing import encode_ids, scattered
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import TRANSFORMS, write_raster

LABELS = scattered(10, (180, 220), seed=5, min_size=14, max_size=28)
IDS = np.unique(LABELS[LABELS > 0]).tolist()
POINTS = [tuple((np.argwhere(one == LABELS)[np.sum(one == LABELS) // 2][::-1] + 0.5).tolist()) for one in IDS]
AREAS = [int(np.sum(one == LABELS)) for one in IDS]
GROUND = tuple((np.argwhere(LABELS == 0)[0][::-1] + 0.5).tolist())
CLASSES = ("roof", "road")
# Ground beside the second object.
BESIDE = tuple((min(np.argwhere(LABELS == 0), key=lambda at: np.hypot(*(at[::-1] + 0.5 - POINTS[1])))[::-1] + 0.5).tolist())


def box_of(number: int) -> tuple[float, ...]:
    y, x = np.nonzero(IDS[number] == LABELS)
    return float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1)


@pytest.fixture(scope="module")
def predictor() -> samgeo.Predictor:
    return samgeo.Predictor(encode_ids(LABELS), model=Oracle(128))


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> samgeo.Predictor:
    """On a rotated raster with a CRS."""
    path = tmp_path_factory.mktemp("raster") / "ids.tif"
    return samgeo.Predictor(write_raster(path, encode_ids(LABELS), transform=TRANSFORMS["rotated"]), model=Oracle(128))


@pytest.fixture
def session(predictor: samgeo.Predictor) -> Session:
    return Session(predictor, classes=CLASSES)


def accept(session: Session, number: int, class_name: str | None = None) -> int:
    """Click on an object and accept it; return its id."""
    session.add_point(*POINTS[number])
    return session.accept(class_name).state.objects[-1].id


def proposals(*numbers: int) -> gpd.GeoDataFrame:
    geometry = [shapely.box(*box_of(number)) for number in numbers]
    return gpd.GeoDataFrame({"predicted_iou": [0.9] * len(numbers), "class": [None] * len(numbers)}, geometry=geometry)


# Making objects


def test_a_click_offers_the_object_and_accepting_makes_it_one(session: Session) -> None:
    state = session.add_point(*POINTS[3]).state
    assert state.candidate is not None
    assert state.candidate.area == AREAS[3]
    assert state.objects == ()
    after = session.accept("road").state
    (made,) = after.objects
    assert (made.id, made.class_name, made.area, made.made, made.edited) == (1, "road", AREAS[3], "points", False)
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
    assert [one.made for one in session.state.objects] == ["box", "box and points"]
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
    with pytest.raises(OptionError, match="no candidate 7; 1 are offered"):
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


# Changing objects


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
    first, second = accept(session, 0), accept(session, 1)
    session.set_class(first, "road")
    session.edit(second, shapely.box(10, 10, 20, 30))
    session.select(second)
    kept, drawn = session.state.objects
    assert (kept.class_name, drawn.class_name) == ("road", "roof")
    assert (drawn.area, drawn.edited, drawn.predicted_iou, drawn.stability_score) == (200, True, None, None)
    assert session.state.selected == second
    assert session.delete(second).state.selected is None
    assert [one.id for one in session.state.objects] == [first]
    assert accept(session, 2) == 3


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
    accept(session, 0)
    frame = proposals(1, 2, 3, 4)
    frame["class"] = ["road", None, None, None]
    assert [one.id for one in session.propose(frame).state.proposals] == [2, 3, 4, 5]
    session.reject_proposals([4])
    session.accept_proposals([5, 2], "roof")
    assert [(one.id, one.class_name, one.made) for one in session.state.objects[1:]] == [
        (2, "road", "proposal"),
        (5, "roof", "proposal"),
    ]
    session.accept_proposals()
    assert session.state.proposals == ()
    assert [one.id for one in session.state.objects] == [1, 2, 5, 3]
    assert accept(session, 6) == 6


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


def on_ground(predictor: samgeo.Predictor, *numbers: int) -> gpd.GeoDataFrame:
    geobox = predictor.raster.geobox
    corners = [shapely.get_coordinates(shapely.box(*box_of(number))) for number in numbers]
    geometry = [shapely.Polygon([geobox.affine * tuple(xy) for xy in one]) for one in corners]
    return gpd.GeoDataFrame(geometry=geometry, crs=geobox.crs.proj)


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
        (lambda: session.edit(accept(session, 0), beside), OptionError),
    ):
        with pytest.raises(error, match="outside the raster"):
            act()


def test_a_new_prompt_deselects_so_that_no_object_is_reclassed_with_it(session: Session) -> None:
    accept(session, 0)
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
        (lambda s: s.accept("lake"), "'lake' is not one of the session's classes, roof, road"),
        (lambda s: s.accept(), "no candidate to accept; click on an object"),
        (lambda s: s.set_class(9, "road"), "there is no object 9 among the 0"),
        (lambda s: s.edit(9, shapely.box(0, 0, 1, 1)), "there is no object 9"),
        (lambda s: s.edit(9, shapely.Point(0, 0)), "a Point; give polygons"),
        (lambda s: s.edit(9, shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])), "not a valid polygon .Self-intersection"),
        (lambda s: s.delete(9), "there is no object 9"),
        (lambda s: s.select(9), "there is no object 9"),
        (lambda s: s.choose(0), "no candidate 0; 0 are offered"),
        (lambda s: s.accept_proposals([4]), "there is no proposal 4"),
        (lambda s: s.propose(proposals(0).set_crs("EPSG:4326")), "the raster has no CRS"),
        (lambda s: s.propose(proposals(0).assign(**{"class": "lake"})), "'lake' is not one of"),
        (lambda s: s.propose(proposals(0).assign(**{"class": 3})), "the class of a proposal is 3; give names"),
    ],
)
def test_what_cannot_be_done_says_why_and_changes_nothing(session: Session, act, message: str) -> None:
    before = session.snapshot
    with pytest.raises((OptionError, VectorError), match=message):
        act(session)
    assert session.snapshot is before


# Undo, redo and the log: laws

places = st.sampled_from([*POINTS, GROUND, (-4.0, 3.0)])
numbers = st.integers(1, 6)
ACTIONS = st.one_of(
    st.tuples(st.just("add_point"), places, st.integers(0, 1)),
    st.tuples(st.just("set_box"), st.integers(0, 5)),
    st.tuples(st.just("choose"), st.integers(0, 2)),
    st.tuples(st.just("clear_prompts")),
    st.tuples(st.just("accept"), st.sampled_from(CLASSES)),
    st.tuples(st.just("accept"), st.sampled_from(CLASSES)),
    st.tuples(st.just("select"), numbers | st.none()),
    st.tuples(st.just("set_class"), numbers, st.sampled_from(CLASSES)),
    st.tuples(st.just("edit"), numbers, st.integers(0, 5)),
    st.tuples(st.just("delete"), numbers),
    st.tuples(st.just("propose"), st.integers(0, 5)),
    st.tuples(st.just("accept_proposals"), numbers | st.none()),
    st.tuples(st.just("reject_proposals"), numbers | st.none()),
    st.tuples(st.just("undo")),
    st.tuples(st.just("redo")),
)


def do(session: Session, action: tuple) -> bool:
    """Do what was drawn; what cannot be done is left out."""
    name, *values = action
    if name == "add_point":
        values = [*values[0], values[1]]
    elif name == "set_box":
        values = list(box_of(values[0]))
    elif name == "edit":
        values[1] = shapely.box(*box_of(values[1]))
    elif name == "propose":
        values = [proposals(values[0], values[0] + 1)]
    elif name.endswith("proposals"):
        values = [None if values[0] is None else [values[0]]]
    try:
        getattr(session, name)(*values)
    except OptionError:
        return False
    return True


@settings(deadline=None, max_examples=60)
@given(st.lists(ACTIONS, max_size=25))
def test_as_many_undos_as_actions_give_the_initial_state_and_as_many_redos_the_last(predictor, actions) -> None:
    session = Session(predictor, classes=CLASSES)
    initial = session.state
    for action in actions:
        do(session, action)
    last = session.state
    undone = 0
    for _ in actions:
        undone += session.snapshot.can_undo
        session.undo()
    assert session.state == initial
    assert not session.snapshot.can_undo
    for _ in range(undone):
        session.redo()
    assert session.state == last


@settings(deadline=None, max_examples=60)
@given(st.lists(ACTIONS, max_size=25))
def test_undo_and_redo_take_each_other_back(predictor, actions) -> None:
    session = Session(predictor, classes=CLASSES)
    for action in actions:
        do(session, action)
        before = session.snapshot
        if before.can_undo:
            session.undo()
            assert session.redo().state == before.state
        if before.can_redo:
            session.redo()
            assert session.undo().state == before.state


@settings(deadline=None, max_examples=40)
@given(st.lists(ACTIONS, max_size=25))
def test_the_log_replays_to_the_live_state_and_its_history(tmp_path_factory, predictor, actions) -> None:
    log = tmp_path_factory.mktemp("log") / "session.jsonl"
    session = Session(predictor, classes=CLASSES, log=log)
    for action in actions:
        do(session, action)
    again = Session.replay(log, samgeo.Predictor(encode_ids(LABELS), model=Oracle(128)))
    assert again.state == session.state
    assert again.classes == session.classes
    while session.snapshot.can_undo:
        assert again.undo().state == session.undo().state
    assert not again.snapshot.can_undo


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=6, max_size=6), st.integers(1, 9))
def test_a_line_of_the_log_keeps_every_bit_of_an_action(xy, number) -> None:
    triangle = shapely.Polygon(np.reshape(xy, (3, 2)))
    for action in (
        AddPoint(xy[0], xy[1], 0),
        Edit(number, triangle),
        Propose((Proposed(triangle, 0.1, None, "roof"), Proposed(triangle))),
        Accept("roof"),
        Undo(),
    ):
        assert from_record(json.loads(json.dumps(to_record(action)))) == action


def test_what_changes_nothing_is_no_action(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    log = tmp_path / "session.jsonl"
    session = Session(predictor, classes=CLASSES, log=log)
    accept(session, 0)
    lines, before = log.read_text(), session.snapshot
    for act in (session.redo, session.clear_prompts, lambda: session.set_class(1, "roof"), lambda: session.select(None)):
        assert act() is before
    assert log.read_text() == lines
    assert session.undo().revision == before.revision + 1


# Files


def test_opening_the_saved_file_again_goes_on_with_objects_classes_and_ids(tmp_path: Path, placed: samgeo.Predictor) -> None:
    file = tmp_path / "objects.gpkg"
    session = Session(placed, classes=CLASSES, autosave=file)
    for number in range(3):
        session.add_point(*POINTS[number], crs="pixels")
        session.accept(CLASSES[number % 2])
    session.edit(2, shapely.box(10, 10, 20, 30), crs="pixels")
    session.delete(3)
    session.add_point(*POINTS[4], crs="pixels")
    again = Session(placed, classes=["tree"], autosave=file)
    assert again.state == State(objects=session.state.objects, next_id=4)
    assert again.classes == ("tree", "roof", "road")
    assert [path.name for path in tmp_path.iterdir()] == ["objects.gpkg"]


def test_the_saved_file_follows_every_change_of_the_objects(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    file = tmp_path / "objects.gpkg"
    session = Session(predictor, classes=CLASSES, autosave=file)
    session.add_point(*POINTS[0])
    assert not file.exists()
    session.propose(proposals(3))

    def saved() -> list[tuple[int, str]]:
        frame = read_vectors(file)
        return list(zip(frame["id"].tolist(), frame["class"].tolist(), strict=True))

    session.accept()
    assert saved() == [(2, "roof")]
    session.set_class(2, "road")
    assert saved() == [(2, "road")]
    session.accept_proposals()
    assert saved() == [(2, "road"), (1, "roof")]
    session.undo()
    session.undo()
    assert saved() == [(2, "roof")]
    session.edit(2, shapely.box(0, 0, 3, 3))
    assert read_vectors(file).geometry.area.tolist() == [9]
    session.delete(2)
    assert saved() == []
    assert Session(predictor, autosave=file).state == State(next_id=3)


@pytest.mark.parametrize("columns", [["id", "class"], ["id", "class", "predicted_iou", "area_px", "made", "edited"]])
def test_a_saved_file_that_another_program_changed_goes_on(
    tmp_path: Path, predictor: samgeo.Predictor, columns: list[str]
) -> None:
    file = tmp_path / "objects.gpkg"
    session = Session(predictor, classes=CLASSES, autosave=file)
    accept(session, 0)
    frame = read_vectors(file)[[*columns, "geometry"]].astype({"id": float})
    drawn = gpd.GeoDataFrame({"id": [np.nan], "class": ["pond"]}, geometry=[shapely.box(1, 1, 5, 5)])
    write_vectors(gpd.pd.concat([frame, drawn], ignore_index=True), file, overwrite=True)
    again = Session(predictor, classes=CLASSES, autosave=file)
    assert again.classes == ("roof", "road", "pond")
    made = "points" if "made" in columns else "file"
    assert [(one.id, one.class_name, one.area, one.made, one.edited) for one in again.state.objects] == [
        (1, "roof", AREAS[0], made, False),
        (2, "pond", 16, "file", False),
    ]
    assert accept(again, 2) == 3


def test_a_file_that_is_not_a_sessions_own_is_refused_and_kept(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    file = tmp_path / "parcels.gpkg"
    write_vectors(proposals(0, 1).drop(columns="class"), file)
    before = file.read_bytes()
    with pytest.raises(VectorError, match="no file of annotations: without id and class"):
        Session(predictor, autosave=file)
    assert file.read_bytes() == before
    write_vectors(proposals(0, 1).assign(id=["a", "b"], **{"class": "roof"}), file, overwrite=True)
    with pytest.raises(VectorError, match="ids that are not numbers"):
        Session(predictor, autosave=file)
    write_vectors(proposals(0, 1).assign(id=[1, 1], **{"class": "roof"}), file, overwrite=True)
    with pytest.raises(VectorError, match="the id 1 more than once"):
        Session(predictor, autosave=file)
    with pytest.raises(VectorError, match=r"ends in \.gpkg"):
        Session(predictor, autosave=tmp_path / "objects.geojson")
    with pytest.raises(VectorError, match="does not exist; make it first"):
        Session(predictor, autosave=tmp_path / "nowhere" / "objects.gpkg")


def test_files_of_another_raster_or_model_are_refused_with_the_difference(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    log, file = tmp_path / "session.jsonl", tmp_path / "objects.gpkg"
    accept(Session(predictor, log=log, autosave=file), 0)
    elsewhere = np.roll(LABELS, 7, axis=0)
    other_model = Oracle(128)
    other_model.digest = "0123"
    for other, message in (
        (samgeo.Predictor(encode_ids(LABELS[:150]), model=Oracle(128)), r"grid shape is \[150, 220\], and was \[180, 220\]"),
        (samgeo.Predictor(encode_ids(elsewhere), model=Oracle(128)), "pixels digest is"),
        (samgeo.Predictor(encode_ids(LABELS), model=Oracle(64)), "model input_size is 64, and was 128"),
        (samgeo.Predictor(encode_ids(LABELS), model=other_model), "model digest is 0123, and was"),
        (samgeo.Predictor(encode_ids(LABELS), model=Oracle(128), overlap=16), "lattice overlap is 16, and was 32"),
    ):
        with pytest.raises(OptionError, match=message):
            Session.replay(log, other)
    for files in ({"log": log}, {"autosave": file}):
        with pytest.raises(OptionError, match="pixels digest is"):
            Session(samgeo.Predictor(encode_ids(elsewhere), model=Oracle(128)), **files)
    with_other_model = Session(samgeo.Predictor(encode_ids(LABELS), model=other_model), log=log, autosave=file)
    assert len(with_other_model.state.objects) == 1


def test_a_log_goes_on_from_session_to_session_and_is_only_appended_to(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    log = tmp_path / "session.jsonl"
    first = Session(predictor, classes=CLASSES, log=log)
    accept(first, 0, "road")
    text = log.read_text()
    second = Session(predictor, classes=CLASSES, log=log)
    assert second.state == first.state
    assert accept(second, 1) == 2
    second.delete(1)
    assert log.read_text().startswith(text)
    again = Session.replay(log, predictor)
    assert again.state == second.state
    assert [one.id for one in again.state.objects] == [2]


def test_sessions_that_write_one_log_at_once_do_not_mix(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    log = tmp_path / "session.jsonl"
    old, new = Session(predictor, log=log), Session(predictor, log=log)
    for number in range(3):
        accept(old, number)
        accept(new, number + 3)
    assert Session.replay(log, predictor).state == new.state != old.state


def test_a_last_line_cut_short_by_a_crash_is_left_out_and_said(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    log = tmp_path / "session.jsonl"
    session = Session(predictor, classes=CLASSES, log=log)
    accept(session, 0)
    before = session.state
    session.add_point(*POINTS[1])
    whole = log.read_bytes()
    log.write_bytes(whole[:-20])
    with pytest.warns(UserWarning, match="line 4 of .* is incomplete"):
        assert Session.replay(log, predictor).state == before
    with pytest.warns(UserWarning, match="line 4"):
        further = Session(predictor, classes=CLASSES, log=log)
    assert further.state == before
    accept(further, 2)
    assert Session.replay(log, predictor).state == further.state


def test_a_log_changed_in_its_middle_is_refused_and_the_line_named(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    log = tmp_path / "session.jsonl"
    session = Session(predictor, classes=CLASSES, log=log)
    accept(session, 0)
    accept(session, 1)
    lines = log.read_text().splitlines(keepends=True)
    for changed, message in (
        (lines[2][:-9] + "\n", "line 3 of .* is not a record"),
        (lines[2].replace("accept", "adopt"), "line 3 of .*: 'adopt' is not an action; known are add_point"),
        (lines[2].replace("object", "x").replace('"roof"', '"lake"'), "line 3 of .* cannot be done again: 'lake' is not one"),
    ):
        log.write_text("".join([*lines[:2], changed, *lines[3:]]))
        with pytest.raises(OptionError, match=message):
            Session.replay(log, predictor)
    log.write_text("hello\n")
    with pytest.raises(OptionError, match="contains no session"):
        Session.replay(log, predictor)
    with pytest.raises(OptionError, match="cannot be read"):
        Session.replay(tmp_path / "nothing.jsonl", predictor)


def test_an_action_that_was_logged_but_not_saved_when_the_session_died_is_not_lost(
    tmp_path: Path, predictor: samgeo.Predictor
) -> None:
    log, file = tmp_path / "session.jsonl", tmp_path / "objects.gpkg"
    session = Session(predictor, classes=CLASSES, log=log, autosave=file)
    accept(session, 0)
    saved = file.read_bytes()
    accept(session, 1)
    file.write_bytes(saved)
    again = Session(predictor, classes=CLASSES, log=log, autosave=file)
    assert again.state == session.state
    assert read_vectors(file)["id"].tolist() == [1, 2]
    accept(again, 2)
    file.write_bytes(saved)  # The file that the first session saved, and a log whose last session went on from another.
    assert [one.id for one in Session(predictor, log=log, autosave=file).state.objects] == [1]


def test_a_file_that_cannot_be_saved_is_said_and_saved_with_the_next_action(
    tmp_path: Path, predictor: samgeo.Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "objects.gpkg"
    session = Session(predictor, classes=CLASSES, autosave=file)
    told: list[Snapshot] = []
    session.subscribe(told.append)
    session.add_point(*POINTS[0])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _no_space)
        with pytest.raises(VectorError, match="No space left"):
            session.accept()
    assert len(session.state.objects) == len(told[-1].state.objects) == 1
    assert not file.exists()
    session.add_point(*POINTS[1])
    assert len(read_vectors(file)) == 1


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_an_action_that_cannot_be_logged_is_not_done(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    session = Session(predictor, log=folder / "session.jsonl")
    session.add_point(*POINTS[0])
    before = session.snapshot
    (folder / "session.jsonl").unlink()
    folder.rmdir()
    with pytest.raises(OptionError, match="the action was not done"):
        session.accept()
    assert session.snapshot is before
    with pytest.raises(OptionError, match="cannot be written"):
        Session(predictor, log=folder / "session.jsonl")


KILLED = """
import sys
import numpy as np
import samgeo
from samgeo.map.session import Session
from samgeo.testing.oracle import Oracle

predictor = samgeo.Predictor(np.load(sys.argv[1]), model=Oracle(128))
session = Session(predictor, log=sys.argv[2], autosave=sys.argv[3])
points = [tuple(float(value) for value in place.split(",")) for place in sys.argv[4:]]
while True:
    for place in points:
        session.add_point(*place)
        session.accept()
        sys.stdout.write("accepted\\n")
        sys.stdout.flush()
    for one in session.state.objects[::2]:
        session.delete(one.id)
"""


def test_killed_at_any_moment_a_session_goes_on_with_all_that_it_had_told(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    np.save(tmp_path / "ids.npy", encode_ids(LABELS))
    log, file = tmp_path / "session.jsonl", tmp_path / "objects.gpkg"
    places = [f"{x},{y}" for x, y in POINTS]
    command = [sys.executable, "-c", KILLED, str(tmp_path / "ids.npy"), str(log), str(file), *places]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603 - our own interpreter
    with process:
        for _ in range(25):
            assert process.stdout is not None
            assert process.stdout.readline() == b"accepted\n"
        process.kill()
    accepted = sum(isinstance(action, Accept) for _, action in read_log(log).actions)
    assert accepted >= 25
    logged = Session.replay(log, predictor).state
    assert Session(predictor, log=log, autosave=file).state.objects == logged.objects
    assert read_vectors(file)["id"].tolist() == [one.id for one in logged.objects]


# Export


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_objects_are_exported_to_every_vector_format(tmp_path: Path, placed: samgeo.Predictor, suffix: str) -> None:
    session = Session(placed, classes=CLASSES)
    for number in range(3):
        session.add_point(*POINTS[number], crs="pixels")
        session.accept(CLASSES[number % 2])
    session.edit(3, shapely.box(10, 10, 20, 30), crs="pixels")
    path = tmp_path / f"objects{suffix}"
    session.export(path)
    frame = read_vectors(path).sort_values("id", ignore_index=True)
    assert frame["class"].tolist() == ["roof", "road", "roof"]
    assert frame["edited"].tolist() == [False, False, True]
    assert frame["predicted_iou"].isna().tolist() == [False, False, True]
    assert frame.crs == "EPSG:32633"
    assert frame.geometry.geom_equals(gpd.GeoSeries([one.geometry for one in session.state.objects], crs=frame.crs)).all()
    made = read_provenance(path)
    assert made is not None
    assert made["model"]["name"] == "oracle"
    assert made["annotation"]["session"] == session.id
    with pytest.raises(VectorError, match="exists; choose another name"):
        session.export(path)


def test_coco_has_the_pixels_of_the_objects_holes_and_parts_too(tmp_path: Path, placed: samgeo.Predictor) -> None:
    from PIL import Image, ImageDraw

    session = Session(placed, classes=CLASSES)
    for number in range(2):
        session.add_point(*POINTS[number], crs="pixels")
        session.accept(CLASSES[1 - number])
    holes = shapely.box(20, 30, 60, 70) - shapely.box(25, 35, 31, 50) - shapely.box(40, 40, 51, 60)
    session.edit(2, shapely.union_all([holes, shapely.box(80, 80, 90, 85)]), crs="pixels")
    path = tmp_path / "objects.json"
    session.export_coco(path)
    coco = json.loads(path.read_text())
    assert coco["images"] == [{"id": 1, "file_name": "ids.tif", "width": 220, "height": 180}]
    assert coco["categories"] == [{"id": 1, "name": "roof"}, {"id": 2, "name": "road"}]
    assert "info" in coco  # for COCO.loadRes of pycocotools
    first, second = coco["annotations"]
    x0, y0, x1, y1 = box_of(0)
    assert (first["id"], first["category_id"], first["image_id"], first["iscrowd"]) == (1, 2, 1, 0)
    assert first["bbox"] == [x0, y0, x1 - x0, y1 - y0]
    assert first["area"] == AREAS[0]
    assert (first["predicted_iou"], first["stability_score"]) == (1.0, 1.0)
    assert (second["area"], second["bbox"]) == (40 * 40 - 6 * 15 - 11 * 20 + 50, [20, 30, 70, 55])
    assert "predicted_iou" not in second
    parts = [shapely.Polygon(np.reshape(ring, (-1, 2))) for ring in second["segmentation"]]
    assert sum(part.area for part in parts) == second["area"]
    assert shapely.union_all(parts).equals(shapely.union_all([holes, shapely.box(80, 80, 90, 85)]))
    # Drawn as COCO's readers do, by the centres of pixels.
    image = Image.new("L", (220, 180))
    for ring in first["segmentation"]:
        ImageDraw.Draw(image).polygon([value - 0.5 for value in ring], fill=1)
    assert abs(int(np.asarray(image).sum()) - AREAS[0]) < 60
    with pytest.raises(VectorError, match=r"ends in \.json"):
        session.export_coco(tmp_path / "objects.geojson")
    with pytest.raises(VectorError, match="exists"):
        session.export_coco(path)


def test_a_session_without_objects_can_be_exported(tmp_path: Path, session: Session) -> None:
    session.export(tmp_path / "none.gpkg")
    assert len(read_vectors(tmp_path / "none.gpkg")) == 0
    session.export_coco(tmp_path / "none.json")
    assert json.loads((tmp_path / "none.json").read_text())["annotations"] == []


# Threads and observers


def test_observers_get_each_change_once_in_order_until_they_unsubscribe(session: Session) -> None:
    told: list[Snapshot] = []
    unsubscribe = session.subscribe(told.append)
    accept(session, 0)
    session.undo()
    assert [(one.revision, type(one.action).__name__, one.can_redo) for one in told] == [
        (1, "AddPoint", False),
        (2, "Accept", False),
        (3, "Undo", True),
    ]
    assert told[-1] is session.snapshot
    unsubscribe()
    unsubscribe()
    session.redo()
    assert len(told) == 3


def test_observers_are_called_outside_the_lock_and_may_act(session: Session) -> None:
    revisions: list[int] = []
    read: list[int] = []

    def accept_what_is_found(snapshot: Snapshot) -> None:
        other = threading.Thread(target=lambda: read.append(session.select(None).revision))
        other.start()
        other.join(timeout=20)
        assert not other.is_alive()
        if snapshot.state.candidate is not None:
            session.accept()

    session.subscribe(accept_what_is_found)
    session.subscribe(lambda snapshot: revisions.append(snapshot.revision))
    session.add_point(*POINTS[0])
    assert len(session.state.objects) == 1
    assert revisions == [1, 2]
    assert read == [1, 2]


def test_an_observer_that_fails_does_not_stop_those_to_come(session: Session) -> None:
    told: list[int] = []

    def fail_once(snapshot: Snapshot) -> None:
        if snapshot.revision == 1:
            raise ZeroDivisionError

    session.subscribe(fail_once)
    session.subscribe(lambda snapshot: told.append(snapshot.revision))
    with pytest.raises(ZeroDivisionError):
        session.add_point(*POINTS[0])
    session.accept()
    assert told == [2]


def test_two_threads_at_once_make_one_history(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    log, file = tmp_path / "session.jsonl", tmp_path / "objects.gpkg"
    session = Session(predictor, classes=CLASSES, log=log, autosave=file)
    told: list[Snapshot] = []
    session.subscribe(told.append)
    session.propose(proposals(0, 1, 2, 3))
    together = threading.Barrier(2)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        together.wait()
        try:
            for _ in range(40):
                do(session, _drawn(random))
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not failures
    assert [one.revision for one in told] == list(range(1, len(told) + 1))
    assert told[-1] is session.snapshot
    assert len(read_log(log).actions) == len(told)
    assert Session.replay(log, predictor).state == session.state
    saved = read_vectors(file)
    assert saved["id"].tolist() == [one.id for one in session.state.objects]
    assert len({one.id for one in session.state.objects}) == len(session.state.objects)


def _drawn(random: np.random.Generator) -> tuple:
    choices: list[tuple] = [
        ("add_point", POINTS[random.integers(len(POINTS))], 1),
        ("accept", CLASSES[random.integers(2)]),
        ("set_class", int(random.integers(1, 9)), CLASSES[random.integers(2)]),
        ("delete", int(random.integers(1, 9))),
        ("accept_proposals", int(random.integers(1, 5))),
        ("undo",),
        ("redo",),
    ]
    return choices[random.integers(len(choices))]


def test_a_state_can_be_read_while_another_thread_waits_for_the_model() -> None:
    entered, release = threading.Event(), threading.Event()

    class Slow(Oracle):
        def embed(self, images, sizes=None):
            entered.set()
            assert release.wait(timeout=20)
            return super().embed(images, sizes)

    session = Session(samgeo.Predictor(encode_ids(LABELS), model=Slow(128)))
    thread = threading.Thread(target=session.add_point, args=POINTS[0])
    thread.start()
    assert entered.wait(timeout=20)
    assert session.state == State()
    release.set()
    thread.join(timeout=20)
    assert session.state.candidate is not None


def test_a_session_needs_no_widgets() -> None:
    script = "import sys, samgeo.map.session; print([name for name in sys.modules if name.startswith('ipy')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("classes", [[], [""], ["a", "a"], [1]])
def test_a_palette_needs_names_each_once(predictor: samgeo.Predictor, classes: list) -> None:
    with pytest.raises(OptionError, match=r"one name or more|give a list of texts"):
        Session(predictor, classes=classes)
