"""Groups of the panel: outlines, the table of all objects, and files; and prompts from a file."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from map_driving import Mouse, accept, drawn_area_px, found, is_error, key, press, send, status
from map_scene import AREAS, GROUND, POINTS, box_of, on_ground
from test_outlines import BUILDING, IN_BUILDING

import samgeo
from samgeo.errors import OptionError, StoppedError, VectorError
from samgeo.map import Session
from samgeo.map.closing import close_widgets
from samgeo.map.session_parts import file_prompts
from samgeo.map.state.class_list import ClassList
from samgeo.map.state.values import Annotation, State
from samgeo.map.ui.groups.object_list import MOST_ROWS, ObjectList
from samgeo.map.ui.messages import tell_of
from samgeo.testing import Oracle, encode_ids


def test_the_group_of_outlines_draws_what_it_says(make) -> None:
    m = make(encode_ids(BUILDING), Oracle(160))
    group = m.drawing.panel.outline
    key(m, "o")
    assert group.heading.value
    Mouse(m).click(IN_BUILDING)
    before = drawn_area_px(m, m.drawing.sketch.preview[0])
    group.ticks["regularize"].value = True
    group.tolerance.value = 3.0
    assert group.heading.description == "Outline: regular by 3 px (o)"
    assert drawn_area_px(m, m.drawing.sketch.preview[0]) != before
    drawn = m.session.state.candidate.geometry
    press(m, "accept")
    assert m.session.state.objects[0].geometry is drawn
    group.overlap.value = "keep"
    assert group.heading.description.endswith("overlaps: keep (o)")
    press(m, "undo")
    assert group.overlap.value == "cut"
    press(m, "undo")
    press(m, "undo")
    press(m, "undo")
    assert (group.ticks["regularize"].value, group.tolerance.value) == (False, 2.0)
    assert m.session.clean == m.session.state.clean
    key(m, "Escape")
    Mouse(m).click(IN_BUILDING)
    press(m, "accept")
    Mouse(m).click(IN_BUILDING)
    press(m, "accept")
    assert is_error(m)
    assert "nothing is left to accept" in status(m)


def test_a_raster_without_a_crs_has_no_metres(make) -> None:
    m = make(np.zeros((64, 64, 3), np.uint8))
    assert m.drawing.panel.outline.unit.options == ("px",)


def many(count: int) -> State:
    square = shapely.box(0, 0, 1, 1)
    objects = tuple(
        Annotation(number, square, "ab"[number % 2], (number * 7 % 100) / 100, None, float(number % 10), "clicks")
        for number in range(1, count + 1)
    )
    return State(objects=objects, class_list=ClassList(("a", "b")), selected=count)


def test_the_table_sends_the_rows_that_are_seen_in_any_order() -> None:
    table = ObjectList("px")
    table.show(many(50_000))
    assert (table.shown["total"], table.shown["place"]) == (50_000, 0)
    assert [one["id"] for one in table.rows(0, 3)] == [50_000, 49_999, 49_998]
    assert [one["id"] for one in table.rows(49_998, 10)] == [2, 1]
    assert len(table.rows(0, 50_000)) == MOST_ROWS
    for by, first in (("id", 1), ("id", 50_000), ("class", 2), ("area", 49_999), ("score", 50_000 - 43)):
        send(table.front, {"kind": "sort", "by": by})
        assert json.loads(unescape(table.data.value)) == {"shown": table.shown, "page": None}
        send(table.front, {"kind": "rows", "first": 0, "count": 2})
        told = json.loads(unescape(table.data.value))
        assert told["shown"] == table.shown
        assert (told["page"]["first"], told["page"]["rows"][0]["id"]) == (0, first)
    assert table.shown["by"] == "score"
    assert table.shown["down"]
    send(table.front, {"kind": "sort", "by": "shape"})
    assert table.shown["by"] == "score"
    close_widgets(table.widget)


def prompts(placed: samgeo.Predictor) -> gpd.GeoDataFrame:
    boxes = on_ground(placed, 1, 2)
    points = [shapely.Point(*(placed.raster.geobox.affine * at)) for at in (POINTS[3], GROUND, POINTS[4])]
    tilted = on_ground(placed, 5).geometry[0]
    geometry = [*boxes.geometry, *points, tilted]
    return gpd.GeoDataFrame(
        {"class": [None, "road", None, None, "road", None], "name": list("abcdef")}, geometry=geometry, crs=boxes.crs
    )


def test_each_feature_of_a_file_is_a_prompt_of_its_own(
    placed: samgeo.Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_prompts, "BATCH", 2)
    prompts(placed).to_crs("EPSG:4326").to_file(tmp_path / "prompts.geojson")
    session = Session(placed, classes=["roof", "road"])
    reports: list[tuple[int, int]] = []
    done = session.prompt_with(tmp_path / "prompts.geojson", progress=lambda now, all_: reports.append((now, all_)) or True)
    assert "5 new masks wait to be accepted or rejected; the model found nothing for 1 prompt" in tell_of(done, "m²")
    areas = sorted(round(one.area / 0.25) for one in done.state.proposals)
    assert areas == pytest.approx(sorted(AREAS[number] for number in (1, 2, 3, 4, 5)), rel=0.01)
    assert sorted(str(one.class_name) for one in done.state.proposals) == ["None", "None", "None", "road", "road"]
    assert {one.prompt for one in done.state.proposals} == {"file"}
    assert reports[-1] == (6, 6)
    assert session.prompt_with(prompts(placed)).action.already == 5
    session.reject_proposals()
    with pytest.raises(StoppedError):
        session.prompt_with(prompts(placed), progress=lambda now, _: now < 2)
    assert not session.state.proposals
    assert len(session.prompt_with(prompts(placed)[:2], kind="boxes").state.proposals) == 2


def test_points_of_one_object_are_one_prompt_and_wrong_files_are_refused(session: Session) -> None:
    x0, y0, *_ = box_of(1)
    some = [shapely.Point(POINTS[1]), shapely.Point(x0 - 3, y0 - 3), shapely.Point(POINTS[2])]
    frame = gpd.GeoDataFrame({"prompt": [7, 7, 8], "label": [1, 0, 1]}, geometry=some)
    assert [one.area for one in session.prompt_with(frame).state.proposals] == [AREAS[1], AREAS[2]]
    line = gpd.GeoDataFrame(geometry=[shapely.Point(POINTS[1]), shapely.LineString([(0, 0), (9, 9)])])
    with pytest.raises(VectorError, match="feature 1 of the prompts is LineString; give points, boxes or polygons"):
        session.prompt_with(line)
    with pytest.raises(VectorError, match="feature 0 of the prompts is Point; give boxes"):
        session.prompt_with(frame, kind="boxes")
    with pytest.raises(OptionError, match="kind is 'lines'"):
        session.prompt_with(frame, kind="lines")
    with pytest.raises(OptionError, match="'lake' is not a class"):
        session.prompt_with(frame.assign(**{"class": "lake"}))
    with pytest.raises(VectorError, match="no features"):
        session.prompt_with(frame[:0])


def test_files_are_chosen_and_read_in_the_panel(make, tmp_path: Path) -> None:
    m = make()
    panel = m.drawing.panel
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / ".hidden").mkdir()
    found(m, 0, 1).to_file(tmp_path / "more" / "boxes.gpkg")
    (tmp_path / "more" / "notes.txt").write_text("not listed")
    assert panel.files.box.layout.display == "none"
    panel.files.toggle.value = True
    assert panel.files.box.layout.display is None
    assert "more/" in panel.files.files.options
    panel.files.files.value = "more/"
    assert panel.files.files.options == ("../", "boxes.gpkg")
    panel.files.files.value = "boxes.gpkg"
    assert panel.path.value == str(tmp_path / "more" / "boxes.gpkg")
    panel.files.masks.click()
    assert len(m.session.state.proposals) == 2
    press(m, "reject-all")
    panel.files.prompts.click()
    assert m.wait(60)
    assert status(m) == "2 new masks wait to be accepted or rejected"
    assert panel.buttons["mode-select"].button_style == "info"
    panel.files.files.value = "../"
    assert "more/" in panel.files.files.options
    (tmp_path / "more" / "boxes.gpkg").unlink()
    (tmp_path / "more" / ".hidden").rmdir()
    (tmp_path / "more" / "notes.txt").unlink()
    (tmp_path / "more").rmdir()
    panel.files.files.value = "more/"
    assert "cannot be read" in status(m)
    panel.files.masks.click()
    assert is_error(m)
    key(m, "f")
    accept(m, 5)
    assert not is_error(m)
