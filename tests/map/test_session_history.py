"""Undo, redo and the log of an annotation session: laws that hold for any sequence of actions."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from map_scene import CLASSES, GROUND, LABELS, POINTS, accept_object, box_of, proposals

import samgeo
from samgeo.errors import OptionError
from samgeo.geo.vector.reading import read_vectors
from samgeo.map.session import Session, Snapshot
from samgeo.map.state.actions import Accept, AddPoint, Edit, Propose, Proposed, Undo, from_record, to_record
from samgeo.map.state.log import read_log
from samgeo.testing import encode_ids
from samgeo.testing.oracle import Oracle

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
    st.tuples(st.just("split"), numbers, st.integers(0, 5)),
    st.tuples(st.just("merge"), st.lists(numbers, min_size=2, max_size=3)),
    st.tuples(st.just("propose_at"), st.integers(0, 5)),
    st.tuples(st.just("delete"), numbers),
    st.tuples(st.just("propose"), st.integers(0, 5)),
    st.tuples(st.just("accept_proposals"), numbers | st.none()),
    st.tuples(st.just("reject_proposals"), numbers | st.none()),
    st.tuples(st.just("set_clean"), st.sampled_from([{"fill_holes": True}, {"simplify": True}, {"simplify": False}])),
    st.tuples(st.just("set_on_overlap"), st.sampled_from(["cut", "keep", "merge"])),
    st.tuples(st.just("add_class"), st.sampled_from(["tree", "house"])),
    st.tuples(st.just("rename_class"), st.sampled_from(CLASSES), st.sampled_from(["road", "house"])),
    st.tuples(st.just("undo")),
    st.tuples(st.just("redo")),
)


def do(session: Session, action: tuple) -> bool:
    """Do what was drawn; what cannot be done is left out."""
    name, *values = action
    options: dict[str, bool] = values.pop() if name == "set_clean" else {}
    if name == "add_point":
        values = [*values[0], values[1]]
    elif name == "set_box":
        values = list(box_of(values[0]))
    elif name == "edit":
        values[1] = shapely.box(*box_of(values[1]))
    elif name == "split":
        x0, y0, x1, y1 = box_of(values[1], 1)
        values[1] = shapely.LineString([(x0, y0), (x1, y1)])
    elif name == "propose_at":
        values = [[POINTS[values[0]]]]
    elif name == "propose":
        values = [proposals(values[0], values[0] + 1)]
    elif name.endswith("proposals"):
        values = [None if values[0] is None else [values[0]]]
    try:
        getattr(session, name)(*values, **options)
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
    accept_object(session, 0)
    lines, before = log.read_text(), session.snapshot
    for act in (session.redo, session.clear_prompts, lambda: session.set_class(1, "roof"), lambda: session.select(None)):
        assert act() is before
    assert log.read_text() == lines
    assert session.undo().revision == before.revision + 1


def test_a_log_goes_on_from_session_to_session_and_is_only_appended_to(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    log = tmp_path / "session.jsonl"
    first = Session(predictor, classes=CLASSES, log=log)
    accept_object(first, 0, "road")
    text = log.read_text()
    second = Session(predictor, classes=CLASSES, log=log)
    assert second.state == first.state
    assert accept_object(second, 1) == 2
    second.delete(1)
    assert log.read_text().startswith(text)
    again = Session.replay(log, predictor)
    assert again.state == second.state
    assert [one.id for one in again.state.objects] == [2]


def test_sessions_that_write_one_log_at_once_do_not_mix(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    log = tmp_path / "session.jsonl"
    old, new = Session(predictor, log=log), Session(predictor, log=log)
    for number in range(3):
        accept_object(old, number)
        accept_object(new, number + 3)
    assert Session.replay(log, predictor).state == new.state != old.state


def test_a_last_line_cut_short_by_a_crash_is_left_out_and_said(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    log = tmp_path / "session.jsonl"
    session = Session(predictor, classes=CLASSES, log=log)
    accept_object(session, 0)
    before = session.state
    session.add_point(*POINTS[1])
    whole = log.read_bytes()
    log.write_bytes(whole[:-20])
    with pytest.warns(UserWarning, match="line 4 of .* is incomplete"):
        assert Session.replay(log, predictor).state == before
    with pytest.warns(UserWarning, match="line 4"):
        further = Session(predictor, classes=CLASSES, log=log)
    assert further.state == before
    accept_object(further, 2)
    assert Session.replay(log, predictor).state == further.state


def test_a_log_changed_in_its_middle_is_refused_and_the_line_named(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    log = tmp_path / "session.jsonl"
    session = Session(predictor, classes=CLASSES, log=log)
    accept_object(session, 0)
    accept_object(session, 1)
    lines = log.read_text().splitlines(keepends=True)
    for changed, message in (
        (lines[2][:-9] + "\n", "line 3 of .* is not a record"),
        (lines[2].replace("accept", "adopt"), "line 3 of .*: 'adopt' is not an action; the actions are add_point"),
        (lines[2].replace("object", "x").replace('"roof"', '"lake"'), "line 3 of .* cannot be repeated: 'lake' is not a class"),
    ):
        log.write_text("".join([*lines[:2], changed, *lines[3:]]))
        with pytest.raises(OptionError, match=message):
            Session.replay(log, predictor)
    log.write_text("hello\n")
    with pytest.raises(OptionError, match="contains no session"):
        Session.replay(log, predictor)
    with pytest.raises(OptionError, match="cannot be read"):
        Session.replay(tmp_path / "nothing.jsonl", predictor)


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
