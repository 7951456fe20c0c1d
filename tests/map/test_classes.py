"""Classes and colours that are added and changed in a session and on the map, and what the files keep of an object."""

from __future__ import annotations

import re
from pathlib import Path

import geopandas as gpd
import pytest
from map_driving import accept, press, status
from map_scene import CLASSES, accept_object, proposals

import samgeo
from samgeo.errors import OptionError
from samgeo.map import Session
from samgeo.map.ui.messages import tell_of


def named(session: Session) -> list[str]:
    return [one.class_name for one in session.state.objects]


def test_classes_are_added_renamed_and_recoloured_and_undone(session: Session, tmp_path: Path) -> None:
    first = session.colors
    accept_object(session, 0)
    session.propose(proposals(1).assign(**{"class": "roof"}))
    session.add_class(" tree ", "#00FF00")
    assert session.classes == (*CLASSES, "tree")
    assert session.colors == first | {"tree": "#00ff00"}
    done = session.rename_class("roof", "house")
    assert tell_of(done, "px") == "the class roof is named house"
    assert (named(session), session.state.proposals[0].class_name) == (["house"], "house")
    assert session.colors["house"] == first["roof"]
    session.set_color("house", "#123456")
    session.rename_class("house", "home")
    assert session.colors["home"] == "#123456"
    with pytest.raises(OptionError, match="'house' is not a class of the session; choose one of home, road, tree"):
        session.accept_proposals(class_name="house")
    for _ in range(4):
        session.undo()
    assert (session.classes, session.colors, named(session)) == (CLASSES, first, ["roof"])


def test_without_classes_a_session_has_those_of_its_file(session: Session, tmp_path: Path) -> None:
    accept_object(session, 0)
    session.add_class("tree", "#00ff00")
    saved = tmp_path / "kept.gpkg"
    session.export(saved)
    again = Session(session.predictor, autosave=saved)
    assert (again.classes, again.colors, named(again)) == (session.classes, session.colors, named(session))
    assert Session(session.predictor, classes=("pond",), autosave=saved).classes == ("pond", *session.classes)
    assert Session(session.predictor, autosave=tmp_path / "new.gpkg").classes == ("object",)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda s: s.add_class("roof"), "there is a class 'roof' already; choose another name"),
        (lambda s: s.add_class("  "), "the name of the class is empty"),
        (lambda s: s.add_class("tree", "green"), "the colour is 'green'; give red, green and blue in hexadecimal digits"),
        (lambda s: s.rename_class("lake", "pond"), "'lake' is not a class of the session"),
        (lambda s: s.rename_class("roof", "road"), "there is a class 'road' already"),
        (lambda s: s.set_color("lake", "#000000"), "'lake' is not a class"),
    ],
)
def test_what_cannot_be_a_class_says_why(session: Session, act, message: str) -> None:
    before = session.snapshot
    with pytest.raises(OptionError, match=message):
        act(session)
    assert session.snapshot is before


def test_files_and_logs_keep_classes_and_colours(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    file, log = tmp_path / "city.gpkg", tmp_path / "log.jsonl"
    session = Session(predictor, classes=CLASSES, autosave=file, log=log)
    session.add_class("tree", "#00ff00")  # the file has the class before there is an object
    again = Session(predictor, classes=CLASSES, autosave=file)
    assert again.colors["tree"] == "#00ff00"
    accept_object(session, 0)
    session.rename_class("roof", "house")
    session.set_color("house", "#123456")
    assert gpd.read_file(file)["class"].tolist() == ["house"]
    assert Session.replay(log, predictor).state == session.state
    # The other session takes over what was done here with its next change.
    told = accept_object_told(again, 1)
    assert "classes of the saved file were added or coloured elsewhere: house" in told
    assert (again.colors["house"], named(again)) == ("#123456", ["house", "roof"])
    last = Session(predictor, classes=["road"], autosave=file)
    assert last.colors["house"] == "#123456"
    assert set(last.classes) == {"road", "roof", "tree", "house"}


def accept_object_told(session: Session, number: int) -> str:
    accept_object(session, number)
    return tell_of(session.snapshot, "px")


def test_a_class_that_was_only_logged_is_not_lost(tmp_path: Path, predictor: samgeo.Predictor) -> None:
    log, file = tmp_path / "log.jsonl", tmp_path / "city.gpkg"
    session = Session(predictor, classes=CLASSES, log=log)
    session.add_class("tree", "#00ff00")
    accept_object(session, 0, "tree")
    again = Session(predictor, classes=CLASSES, log=log, autosave=file)
    assert (again.colors["tree"], named(again)) == ("#00ff00", ["tree"])


def test_objects_have_their_prompt_and_their_time(session: Session, tmp_path: Path) -> None:
    accept_object(session, 0)
    session.propose(proposals(1, 2).assign(prompt=["search", "anything"]))
    session.accept_proposals()
    frame = session.to_frame()
    assert frame["prompt"].tolist() == ["clicks", "search", "given"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one) for one in frame["accepted_at"])
    assert frame["accepted_at"][1] == frame["accepted_at"][2] >= frame["accepted_at"][0]
    session.export(tmp_path / "out.parquet")
    assert gpd.read_parquet(tmp_path / "out.parquet")["accepted_at"].tolist() == frame["accepted_at"].tolist()


def test_the_editor_of_classes(make) -> None:
    m = make()
    panel = m.drawing.panel
    editor, palette = panel.editor, panel.palette
    accept(m, 0)
    assert editor.box.layout.display == "none"
    editor.toggle.value = True
    assert editor.box.layout.display is None
    assert (editor.name.value, editor.color.value) == ("roof", m.session.colors["roof"])
    m.session.select(1)
    editor.name.value = "shed"
    editor.add.click()
    assert (len(palette.children), m._class_name, panel.buttons["class-3"].description) == (4, "shed", "shed (4)")
    assert m.session.state.objects[0].class_name == "roof"  # a new class is for the next object
    press(m, "class-0")
    editor.color.value = "#102030"
    assert m.session.colors["roof"] == panel.buttons["class-0"].style.button_color == "#102030"
    assert panel.buttons["class-0"].style.text_color == "#ffffff"
    assert [one["properties"]["style"]["fillColor"] for one in m.drawing.objects.features] == ["#102030"]
    editor.name.value = "house"
    editor.rename.click()
    assert (m.session.state.objects[0].class_name, panel.buttons["class-0"].description) == ("house", "house (1)")
    editor.name.value = "road"
    editor.rename.click()
    assert "there is a class 'road' already" in status(m)
    for _ in range(3):
        press(m, "undo")
    assert (len(palette.children), "class-3" in panel.buttons, editor.name.value) == (3, False, "roof")
    assert [one["properties"]["style"]["fillColor"] for one in m.drawing.objects.features] == [m.session.colors["roof"]]
