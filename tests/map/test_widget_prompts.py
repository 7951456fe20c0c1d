"""Prompts on the map: clicks, boxes, candidates, undo and keys, and what is drawn of them."""

import numpy as np
import pytest
from map_driving import Mouse, PartsOracle, accept, drawn_area_px, is_error, key, place_of, press, send, status
from map_scene import AREAS, GROUND, IDS, LABELS, POINTS, box_of

from samgeo.map.ui.browser_part import KEYS
from samgeo.map.ui.pointer import MODES
from samgeo.testing import encode_ids


def test_a_click_shows_the_object_and_accepting_keeps_it(make) -> None:
    m = make()
    Mouse(m).click(POINTS[3])
    (preview,) = m.drawing.sketch.preview
    assert drawn_area_px(m, preview) == pytest.approx(AREAS[3], rel=0.02)
    assert preview["properties"]["style"]["className"] == "samgeo-preview"
    (mark,) = m.drawing.sketch.marks
    assert mark["properties"]["label"] == 1
    assert place_of(m).to_pixels(np.array(mark["geometry"]["coordinates"][::-1])) == pytest.approx(POINTS[3], abs=0.01)
    assert status(m) == f"candidate: {m.session.state.candidate.area:,.1f} m², score 1.00"
    assert m.session.state.candidate.area == pytest.approx(AREAS[3] * 0.25, rel=2e-3)
    press(m, "accept")
    assert (m.drawing.sketch.preview, m.drawing.sketch.marks) == ([], [])
    (shown,) = m.drawing.objects.features
    assert shown["properties"]["id"] == 1
    assert drawn_area_px(m, shown) == pytest.approx(AREAS[3], rel=0.02)
    assert status(m) == "accepted object 1 as roof"
    assert m.accepted["class"].tolist() == ["roof"]
    assert m.drawing.panel.buttons["accept"].disabled


def test_background_is_a_mode_and_the_right_button(make) -> None:
    m = make()
    mouse = Mouse(m)
    mouse.click(POINTS[0])
    mouse.right(GROUND)
    press(m, "mode-background")
    mouse.click((GROUND[0] + 1, GROUND[1]))
    assert [one.label for one in m.session.state.prompt.points] == [1, 0, 0]
    assert [one["properties"]["label"] for one in m.drawing.sketch.marks] == [1, 0, 0]


def test_a_box_is_dragged_and_its_click_is_no_point(make) -> None:
    m = make()
    assert m.leaflet.dragging
    press(m, "mode-box")
    assert not m.leaflet.dragging
    x0, y0, x1, y1 = box_of(2)
    mouse = Mouse(m)
    mouse.tell("mousedown", (x0, y0))
    mouse.tell("mousemove", (x1, y0 + 3))
    assert len(m.drawing.sketch.draft) == 1
    mouse.tell("mouseup", (x1, y1))
    mouse.tell("click", (x1, y1))
    assert m.drawing.sketch.draft == []
    assert m.session.state.prompt.points == ()
    # Sides that are upright on the screen are not in a rotated raster: the box holds at least what was drawn.
    bx0, by0, bx1, by1 = m.session.state.prompt.box.xyxy_px
    assert bx0 <= x0 + 0.1
    assert by1 >= y1 - 0.1
    assert bx1 > bx0
    assert by1 > by0
    assert m.session.state.candidate is not None
    assert [one["properties"]["style"]["className"] for one in m.drawing.sketch.marks] == ["samgeo-box"]
    press(m, "mode-foreground")
    assert m.leaflet.dragging


def test_a_click_in_box_mode_and_a_press_with_the_right_button_draw_nothing(make) -> None:
    m = make()
    press(m, "mode-box")
    mouse = Mouse(m)
    mouse.click(POINTS[1])
    assert not m.session.state.prompt
    mouse.right(POINTS[1])
    assert m.session.state.prompt.box is None
    assert [one.label for one in m.session.state.prompt.points] == [0]


def test_what_is_not_found_is_said(make) -> None:
    m = make()
    Mouse(m).click(GROUND)
    assert status(m) == "nothing found: no mask"
    assert m.drawing.sketch.preview == []
    assert m.drawing.panel.buttons["accept"].disabled
    key(m, "a")
    assert "there is no candidate to accept" in status(m)
    assert is_error(m)
    Mouse(m).click(POINTS[0])
    assert not is_error(m)


def test_three_candidates_to_choose_from(make) -> None:
    m = make(model=PartsOracle())
    Mouse(m).click(POINTS[4])
    buttons = [m.drawing.panel.buttons[f"candidate-{number}"] for number in range(3)]
    assert [one.description for one in buttons] == ["score 0.90", "score 0.80", "score 0.70"]
    assert [one.button_style for one in buttons] == ["info", "", ""]
    assert status(m).startswith("candidate 1 of 3: ")
    press(m, "candidate-1")
    assert [one.button_style for one in buttons] == ["", "info", ""]
    assert drawn_area_px(m, m.drawing.sketch.preview[0]) < 0.7 * AREAS[4]
    key(m, "n")
    key(m, "n")
    assert m.session.state.chosen == 0
    press(m, "candidate-2")
    press(m, "accept")
    assert [one.description for one in buttons] == ["-"] * 3
    assert all(one.disabled for one in buttons)
    assert m.accepted.predicted_iou.tolist() == pytest.approx([0.7])


def test_undo_and_redo_of_everything(make) -> None:
    m = make()
    assert m.drawing.panel.buttons["undo"].disabled
    accept(m, 0)
    accept(m, 1)
    for _ in range(4):
        press(m, "undo")
    assert m.drawing.panel.buttons["undo"].disabled
    assert (m.drawing.objects.features, m.drawing.sketch.preview) == ([], [])
    press(m, "redo")
    assert len(m.drawing.sketch.preview) == 1
    for _ in range(3):
        press(m, "redo")
    assert m.drawing.panel.buttons["redo"].disabled
    assert [one["properties"]["id"] for one in m.drawing.objects.features] == [1, 2]
    assert status(m) == "redone; 2 accepted"


def test_keys_do_what_buttons_do(make) -> None:
    m = make()
    known = {f"mode-{one}" for one in MODES} | set(m.drawing.panel.buttons) | {"next"} | {f"class-{n}" for n in range(9)}
    known |= {*m.drawing.panel.switches, "outline"}
    assert set(KEYS.values()) <= known
    key(m, "b")
    assert m.drawing.panel.buttons["mode-background"].button_style == "info"
    key(m, "f")
    Mouse(m).click(POINTS[0])
    key(m, "z")
    assert not m.session.state.prompt
    key(m, "y")
    key(m, "2")
    key(m, "9")
    key(m, "Enter")
    assert m.accepted["class"].tolist() == ["road"]
    key(m, "s")
    Mouse(m).click(POINTS[0])
    key(m, "Delete")
    assert len(m.accepted) == 0
    key(m, "q")
    send(m.front, {"kind": "row", "id": "1; drop"})
    assert not is_error(m)


def test_the_script_handles_every_key_it_is_told(make) -> None:
    assert make().front.listens_to == list(KEYS)
    for attribute in ("data-jp-suppress-context-menu", "data-lm-suppress-shortcuts"):
        assert attribute in make().front._esm


def test_a_class_chosen_for_a_new_object_leaves_the_one_selected_before_alone(make) -> None:
    m = make()
    accept(m, 0)
    m.session.select(1)
    Mouse(m).click(POINTS[1])
    press(m, "class-1")
    press(m, "accept")
    assert [one.class_name for one in m.session.state.objects] == ["roof", "road"]


def test_a_raster_without_crs_is_clicked_in_its_pixels(make) -> None:
    m = make(encode_ids(LABELS))
    assert m.leaflet.crs["name"] == "Simple"
    accept(m, 6)
    assert m.accepted.area_px.tolist() == [AREAS[6]]
    assert drawn_area_px(m, m.drawing.objects.features[0]) == pytest.approx(AREAS[6], rel=0.01)
    m.session.select(1)
    assert status(m) == f"selected 1: roof, {AREAS[6]:,.1f} px, score 1.00"
    press(m, "segment")
    assert m.wait(60)
    assert len(m.drawing.proposals.features) == len(IDS) - 1
