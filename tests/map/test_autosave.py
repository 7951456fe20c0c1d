"""The saved file, which other sessions and other programs read and write at the same time: nothing of anybody's is lost."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from map_scene import CLASSES, POINTS, accept_object

import samgeo
from samgeo.errors import OptionError, VectorError
from samgeo.geo.vector.reading import read_provenance
from samgeo.map.files import geopackage_rows as geopackage
from samgeo.map.session import Session
from samgeo.map.ui.messages import tell_of
from samgeo.testing.rasters import TRANSFORMS

AFFINE = Affine(*TRANSFORMS["rotated"][:6])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "city.gpkg"


@pytest.fixture
def start(placed: samgeo.Predictor, file: Path):
    return lambda **options: Session(placed, classes=CLASSES, autosave=file, **options)


def edit(file: Path, *statements: str) -> None:
    """Change a file as QGIS does: rows of a table, with the functions that the triggers of a spatial index call."""
    with geopackage.opened(file, write=True) as layers:
        for statement in statements:
            layers.connection.execute(statement)


def saved(file: Path) -> list[tuple]:
    frame = gpd.read_file(file, layer="city")
    return list(zip(frame["id"].tolist(), frame["class"].tolist(), strict=True))


def check_whole(file: Path) -> None:
    """Check what GDAL and QGIS rely on: the database, the count of features, the spatial index."""
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        count = connection.execute("SELECT count(*) FROM city").fetchone()
        assert connection.execute("SELECT feature_count FROM gpkg_ogr_contents WHERE table_name = 'city'").fetchone() == count
        assert connection.execute("SELECT count(*) FROM rtree_city_geom").fetchone() == count
    frame = gpd.read_file(file, layer="city")
    for geometry in frame.geometry:
        assert len(gpd.read_file(file, layer="city", bbox=tuple(geometry.bounds))) >= 1


# What other programs write


def test_columns_of_another_program_stay_through_every_kind_of_change(start, file: Path) -> None:
    session = start()
    for number in range(3):
        accept_object(session, number)
    frame = gpd.read_file(file)
    frame["note"], frame["floors"] = ["a", "b", "c"], [1, 2, None]
    frame.to_file(file, layer="city", driver="GPKG")
    for one in (session, start()):
        one.set_class(1, "road")
        one.edit(2, shapely.box(10, 10, 20, 30), crs="pixels")
        one.delete(3)
        accept_object(one, 4)
        one.undo()
        one.undo()
        one.undo()
        after = gpd.read_file(file).set_index("id")
        assert after.loc[[1, 2, 3], "note"].tolist() == ["a", "b", "c"]
        assert after["floors"].tolist()[:2] == [1, 2]
        assert after.loc[1, "class"] == "road"
        for _ in range(2):
            one.undo()
    check_whole(file)


def test_styles_and_layers_of_others_stay_and_are_no_obstacle(start, file: Path) -> None:
    session = start()
    accept_object(session, 0)
    gpd.GeoDataFrame({"name": ["x"]}, geometry=[shapely.Point(1, 2)], crs=4326).to_file(file, layer="wells", driver="GPKG")
    edit(
        file,
        "CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT, f_table_name TEXT, styleQML TEXT)",
        "INSERT INTO layer_styles (f_table_name, styleQML) VALUES ('city', '<qgis/>')",
        "INSERT INTO gpkg_contents (table_name, data_type, identifier) VALUES ('layer_styles', 'attributes', 'layer_styles')",
    )
    accept_object(session, 1)
    again = start()
    assert again.state.objects == session.state.objects
    accept_object(again, 2)
    again.delete(1)
    assert saved(file) == [(2, "roof"), (3, "roof")]
    assert gpd.read_file(file, layer="wells")["name"].tolist() == ["x"]
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT f_table_name, styleQML FROM layer_styles").fetchall() == [("city", "<qgis/>")]
    check_whole(file)


def test_rows_that_another_program_adds_changes_and_removes_are_taken_over_and_said(start, file: Path) -> None:
    session = start()
    for number in range(3):
        accept_object(session, number)
    edit(
        file,
        "UPDATE city SET class = 'pond' WHERE id = 1",
        "INSERT INTO city (geom, class) SELECT geom, 'barn' FROM city WHERE id = 2",
        "INSERT INTO city (geom, class) SELECT geom, NULL FROM city WHERE id = 2",
        "DELETE FROM city WHERE id = 3",
    )
    session.add_point(*POINTS[4], crs="pixels")
    assert [one.id for one in session.state.objects] == [1, 2, 3]
    now = session.accept()
    said = tell_of(now, "m²")
    assert "accepted object 5 as roof; the saved file was changed elsewhere: 1 added, 1 changed, 1 removed" in said
    assert "1 of the removed objects wait as proposals" in said
    assert "1 rows of the saved file are not objects" in said
    assert session.classes == ("roof", "road", "pond", "barn")
    assert [(one.id, one.class_name) for one in session.state.objects] == [(1, "pond"), (2, "roof"), (4, "barn"), (5, "roof")]
    assert [one.id for one in session.state.proposals] == [3]
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT id, class FROM city ORDER BY fid").fetchall() == [
            (1, "pond"),
            (2, "roof"),
            (4, "barn"),
            (None, None),
            (5, "roof"),
        ]
    session.accept_proposals([3])
    assert session.state.object(3).class_name == "roof"
    check_whole(file)


def test_undo_takes_back_what_was_done_here_and_nothing_of_others(start, file: Path) -> None:
    session = start()
    accept_object(session, 0)
    accept_object(session, 1)
    session.set_class(1, "road")
    edit(file, "UPDATE city SET prompt = 'drawn in QGIS'", "DELETE FROM city WHERE id = 2")
    while session.snapshot.can_undo:
        session.undo()
    assert session.state.objects == ()
    assert saved(file) == []
    for _ in range(20):
        session.redo()
    assert [(one.id, one.class_name, one.prompt) for one in session.state.objects] == [(1, "road", "drawn in QGIS")]
    assert saved(file) == [(1, "road")]


def test_a_layer_that_is_in_another_crs_stays_in_it(start, file: Path) -> None:
    session = start()
    accept_object(session, 0)
    before = session.state.objects[0].geometry
    gpd.read_file(file).to_crs(4326).to_file(file, layer="city", driver="GPKG")
    accept_object(session, 1)
    frame = gpd.read_file(file)
    assert frame.crs == "EPSG:4326"
    assert np.ptp(frame.total_bounds.reshape(2, 2), axis=0).max() < 0.01
    again = start()
    assert len(again.state.objects) == 2
    assert shapely.hausdorff_distance(again.state.objects[0].geometry, before) < 1e-6


def test_a_renamed_file_goes_on_with_its_layer(start, file: Path, placed: samgeo.Predictor) -> None:
    accept_object(start(), 0)
    moved = file.rename(file.with_name("copy.gpkg"))
    session = Session(placed, autosave=moved)
    accept_object(session, 1)
    assert pyogrio.list_layers(moved)[:, 0].tolist() == ["city"]
    assert len(gpd.read_file(moved)) == 2


def test_a_file_that_is_gone_is_written_anew_and_said(start, file: Path) -> None:
    session = start()
    accept_object(session, 0)
    file.unlink()
    session.add_point(*POINTS[1], crs="pixels")
    assert "was missing and is written again" in tell_of(session.accept(), "m²")
    assert saved(file) == [(1, "roof"), (2, "roof")]


def test_a_file_that_became_something_else_is_kept_and_said(start, file: Path) -> None:
    session = start()
    accept_object(session, 0)
    parcels = gpd.GeoDataFrame({"owner": ["x"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=32633)
    file.unlink()
    parcels.to_file(file, layer="parcels", driver="GPKG")
    before = file.read_bytes()
    session.add_point(*POINTS[1], crs="pixels")
    with pytest.raises(VectorError, match="not a file of annotations"):
        session.accept()
    assert len(session.state.objects) == 2
    assert file.read_bytes() == before


# Sessions at the same time


def test_two_sessions_on_one_file_keep_what_both_do(start, file: Path) -> None:
    first = start()
    accept_object(first, 0)
    accept_object(first, 1)
    one, other = start(), start()
    one.delete(1)
    other.delete(2)
    assert saved(file) == []
    accept_object(one, 2)
    accept_object(other, 3)
    accept_object(first, 4)
    assert [number for number, _ in saved(file)] == [3, 4, 5]
    with pytest.raises(OptionError, match="no object 1"):
        first.set_class(1, "road")
    assert first.state.proposals == ()
    other.set_class(3, "road")
    one.edit(4, shapely.box(5, 5, 9, 9), crs="pixels")
    assert [one.id for one in start().state.objects] == [3, 4, 5]
    check_whole(file)


def test_proposals_whose_ids_another_session_uses_meanwhile_get_others(start, file: Path) -> None:
    one, other = start(), start()
    accept_object(one, 0)
    one.propose(gpd.GeoDataFrame(geometry=[other_box(3), other_box(4)], crs=one.to_frame().crs))
    accept_object(other, 1)
    one.accept_proposals()
    numbers = [number for number, _ in saved(file)]
    assert len(set(numbers)) == 4
    assert sorted(numbers) == sorted(found.id for found in one.state.objects)


def other_box(number: int) -> shapely.Geometry:
    x, y = POINTS[number]
    return shapely.Polygon([AFFINE * corner for corner in ((x - 2, y - 2), (x + 2, y - 2), (x + 2, y + 2), (x - 2, y + 2))])


def act_at_random(session: Session, random: np.random.Generator) -> None:
    """Do any action that changes objects; of an object that the other session has deleted, nothing."""
    ids = [one.id for one in session.state.objects]
    number = int(random.choice(ids)) if ids else 1
    place = int(random.integers(len(POINTS)))
    acts = {
        "accept": lambda: accept_object(session, place),
        "delete": lambda: session.delete(number),
        "class": lambda: session.set_class(number, str(random.choice(CLASSES))),
        "edit": lambda: session.edit(number, other_box(place)),
        "undo": session.undo,
        "redo": session.redo,
    }
    act = acts[str(random.choice(list(acts)))]
    try:
        act()
    except OptionError as error:
        if "there is no object" not in str(error):
            raise


@pytest.mark.parametrize("seed", range(3))
def test_any_interleaving_of_two_sessions_ends_in_one_truth(start, file: Path, tmp_path: Path, placed, seed: int) -> None:
    """After an action of either the file is what that session has, with all that a third program has written to its rows."""
    random = np.random.default_rng(seed)
    logs = [tmp_path / f"{name}.jsonl" for name in "ab"]
    sessions = [start(log=log, on_overlap="keep") for log in logs]
    for session in sessions:
        accept_object(session, int(random.integers(len(POINTS))))
    edit(file, "ALTER TABLE city ADD COLUMN note TEXT", "UPDATE city SET note = 'note of ' || id")
    noted = [number for number, _ in saved(file)]
    for _ in range(15):
        session = sessions[int(random.integers(2))]
        act_at_random(session, random)
        accept_object(session, 0)  # an action that surely changes something
        session.undo()
        frame = gpd.read_file(file).set_index("id")
        assert {one.id: one.class_name for one in session.state.objects} == frame["class"].to_dict()
        assert all(frame.loc[number, "note"] == f"note of {number}" for number in noted if number in frame.index)
    for log, session in zip(logs, sessions, strict=True):
        assert Session.replay(log, placed).state == session.state
    check_whole(file)


HOLDING = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
connection.execute("DELETE FROM gpkg_ogr_contents")
print("holding", flush=True)
sys.stdin.read()
"""


def test_a_lock_is_waited_for_said_and_gone_with_the_process_that_held_it(
    start, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geopackage, "WAIT_S", 0.1)
    session = start()
    accept_object(session, 0)
    held = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", HOLDING, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert held.stdout is not None
    held.stdout.readline()
    session.add_point(*POINTS[1], crs="pixels")
    with pytest.raises(VectorError, match="another program is writing to it"):
        session.accept()
    assert len(session.state.objects) == 2
    held.send_signal(signal.SIGKILL)
    held.communicate()
    session.add_point(*POINTS[2], crs="pixels")  # what could not be saved is saved with the next action
    assert saved(file) == [(1, "roof"), (2, "roof")]
    check_whole(file)


def test_what_both_sides_changed_while_it_could_not_be_saved_is_kept_twice(
    start, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = start()
    for number in range(4):
        accept_object(session, number)
    with monkeypatch.context() as patch:
        patch.setattr(geopackage.Layers, "write_note", _no_space)
        for act in (
            lambda: session.set_class(1, "road"),
            lambda: session.delete(2),
            lambda: session.set_class(3, "road"),
            lambda: session.set_class(4, "road"),
        ):
            with pytest.raises(VectorError, match="disk is full"):
                act()
    assert saved(file) == [(1, "roof"), (2, "roof"), (3, "roof"), (4, "roof")]
    edit(
        file,
        "UPDATE city SET class = 'pond' WHERE id = 1",  # both changed the class
        "UPDATE city SET class = 'pond' WHERE id = 2",  # removed here, changed there
        "DELETE FROM city WHERE id = 3",  # changed here, removed there
        "UPDATE city SET prompt = 'QGIS' WHERE id = 4",  # both changed it, in different columns
    )
    accept_object(session, 5)
    found = {(one.id, one.class_name) for one in session.state.objects}
    assert {(1, "road"), (2, "pond"), (3, "road"), (4, "road")} <= found
    assert sorted(name for _, name in found) == ["pond", "pond", "road", "road", "road", "roof"]
    assert session.state.object(4).prompt == "QGIS"
    assert sorted(saved(file)) == sorted(found)


def _no_space(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


def test_what_a_session_could_not_save_is_done_to_a_file_that_others_changed_since(start, file: Path, tmp_path: Path) -> None:
    log = tmp_path / "session.jsonl"
    session = start(log=log)
    accept_object(session, 0)
    before = file.read_bytes()
    accept_object(session, 1)
    session.set_class(1, "road")
    file.write_bytes(before)  # as if the session had died before it could save
    accept_object(start(), 4)
    again = start(log=log)
    assert sorted((one.id, one.class_name) for one in again.state.objects) == [(1, "road"), (2, "roof"), (3, "roof")]
    assert sorted(saved(file)) == [(1, "road"), (2, "roof"), (3, "roof")]


def test_the_file_says_who_saved_it_and_keeps_what_else_it_says(start, file: Path) -> None:
    session = start()
    accept_object(session, 0)
    note = read_provenance(file)
    assert note is not None
    assert note["annotation"]["session"] == session.id
    assert note["annotation"]["actions"] == session.snapshot.revision
    assert note["model"]["name"] == session.predictor.model.name
    frame = gpd.read_file(file)
    frame.to_file(file, layer="city", driver="GPKG")  # which drops the metadata
    accept_object(session, 1)
    again = read_provenance(file)
    assert again is not None
    assert again["annotation"]["next_id"] == 3
