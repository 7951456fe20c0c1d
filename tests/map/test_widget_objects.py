"""Accepted objects and proposals on the map: how they are drawn, selected, edited, added and segmented in view."""

import threading

import numpy as np
import pytest
import shapely
from map_driving import (
    Mouse,
    accept,
    css_classes,
    drawn_area_px,
    found,
    hover,
    is_error,
    key,
    layers_of,
    place_of,
    press,
    send,
    show_in_browser,
    status,
)
from map_scene import AREAS, GROUND, IDS, POINTS, box_of

from samgeo.testing.oracle import Oracle


def test_classes_colour_what_is_accepted_and_are_in_the_table(make) -> None:
    m = make()
    press(m, "class-1")
    accept(m, 0)
    key(m, "3")
    accept(m, 1)
    assert m.accepted["class"].tolist() == ["road", "<b>tree</b>"]
    colors = [one["properties"]["style"]["fillColor"] for one in m.drawing.objects.features]
    assert colors == [m.drawing.panel.buttons[f"class-{number}"].style.button_color for number in (1, 2)]
    assert [(one["id"], one["class"]) for one in m.drawing.panel.table.rows(0, 9)] == [(2, "<b>tree</b>"), (1, "road")]
    assert "samgeo-active" in css_classes(m.drawing.panel.buttons["class-2"])
    assert "samgeo-active" not in css_classes(m.drawing.panel.buttons["class-1"])


def test_an_object_is_selected_reclassed_and_deleted(make) -> None:
    m = make()
    accept(m, 0)
    accept(m, 1)
    press(m, "mode-select")
    Mouse(m).click(POINTS[0])
    assert m.session.state.selected == 1
    assert [one["properties"]["style"]["className"] for one in m.drawing.objects.features] == [
        "samgeo-object samgeo-selected",
        "samgeo-object",
    ]
    press(m, "class-1")
    assert m.accepted["class"].tolist() == ["road", "roof"]
    press(m, "delete")
    assert m.accepted.id.tolist() == [2]
    assert m.drawing.panel.buttons["delete"].disabled
    Mouse(m).click(POINTS[1])
    Mouse(m).click(GROUND)
    assert m.session.state.selected is None


def test_a_row_of_the_table_selects_and_brings_its_object_into_view(make) -> None:
    m = make()
    accept(m, 0)
    south, west, north, east = place_of(m).bounds
    show_in_browser(m, (south - 3 * (north - south), west, south - 2 * (north - south), east))
    before = m.leaflet.zoom
    send(m.front, {"kind": "row", "id": 1})
    assert m.session.state.selected == 1
    assert (m.drawing.panel.table.shown["selected"], m.drawing.panel.table.shown["place"]) == (1, 0)
    assert m.leaflet.zoom > before
    assert place_of(m).to_pixels(np.array(m.leaflet.center)) == pytest.approx(POINTS[0], abs=20)
    send(m.front, {"kind": "row", "id": 99})
    assert "there is no object 99" in status(m)


def test_the_selected_object_takes_the_outline_of_the_candidate(make) -> None:
    m = make()
    accept(m, 0)
    m.session.select(1)
    assert m.drawing.panel.buttons["redraw"].disabled
    Mouse(m).click(POINTS[1])
    assert m.drawing.panel.buttons["redraw"].disabled  # a new prompt is for a new object
    m.session.select(1)
    press(m, "redraw")
    (made,) = m.session.state.objects
    assert (made.id, made.edited) == (1, True)
    assert drawn_area_px(m, m.drawing.objects.features[0]) == pytest.approx(AREAS[1], rel=0.02)
    assert not m.session.state.prompt
    press(m, "undo")
    press(m, "undo")
    assert not m.session.state.objects[0].edited


def test_areas_are_added_to_the_selected_object_and_cut_away(make) -> None:
    m = make()
    accept(m, 0)
    assert m.drawing.panel.buttons["mode-add"].disabled
    m.session.select(1)
    press(m, "mode-add")
    x, y = POINTS[0]
    mouse = Mouse(m)
    square = [(x, y), (x + 60, y), (x + 60, y + 2), (x, y + 2)]
    before = m.session.state.objects[0].geometry
    mouse.drag(*square)
    after = m.session.state.objects[0].geometry
    assert shapely.area(after) > shapely.area(before)
    assert shapely.covers(shapely.buffer(after, 0.01), before)
    assert m.drawing.sketch.draft == []
    press(m, "mode-cut")
    mouse.drag(*square)
    cut = m.session.state.objects[0].geometry
    assert shapely.area(cut) < shapely.area(before)
    mouse.drag((-50, -50), (400, -50), (400, 400), (-50, 400))
    assert "would remove the whole object" in status(m)
    assert m.session.state.objects[0].geometry == cut


def test_an_outline_given_up_changes_nothing(make) -> None:
    m = make()
    accept(m, 0)
    m.session.select(1)
    press(m, "mode-cut")
    mouse = Mouse(m)
    mouse.tell("mousedown", (0, 0))
    mouse.tell("mousemove", (50, 50))
    mouse.tell("mousemove", (0, 50))
    assert m.drawing.sketch.draft
    key(m, "Escape")
    mouse.tell("mouseup", (0, 0))
    assert m.drawing.sketch.draft == []
    assert not m.session.state.objects[0].edited


def test_hovering_tells_class_area_and_score(make) -> None:
    m = make()
    accept(m, 2)
    (layer,) = layers_of(m, m.drawing.objects.features)
    hover(layer, 1)
    assert m.drawing.panel.hover.value == f"roof, {m.accepted.area_m2[0]:,.1f} m², score 1.00"
    assert m.drawing.panel.hover.layout.display is None
    send(m.front, {"kind": "left"})
    assert m.drawing.panel.hover.layout.display == "none"
    hover(layer, 1)
    assert m.drawing.panel.hover.layout.display is None


def test_what_a_windows_edge_cut_is_said_and_kept(make) -> None:
    m = make()
    part = found(m, 1).assign(complete=[False])
    m.add(part)
    (layer,) = layers_of(m, m.drawing.proposals.features)
    hover(layer, 1)
    assert m.drawing.panel.hover.value.endswith("cut by a window's edge")
    press(m, "accept-all")
    assert m.drawing.panel.table.rows(0, 1)[0]["class"] == "roof (cut)"
    assert m.accepted.complete.tolist() == [False]
    accept(m, 2)
    assert m.accepted.complete.tolist() == [False, True]
    assert [one["class"] for one in m.drawing.panel.table.rows(0, 9)] == ["roof", "roof (cut)"]
    # What the analyst drew is as the analyst wants it.
    m.session.edit(1, shapely.box(*m.accepted.total_bounds))
    assert m.drawing.panel.table.rows(1, 1)[0]["class"] == "roof (edited)"
    assert m.accepted.complete.tolist() == [True, True]


def test_results_are_put_up_and_accepted_or_rejected_one_by_one(make) -> None:
    m = make()
    m.add(found(m, 0, 1, 2, 3))
    assert len(m.drawing.proposals.features) == 4
    assert status(m) == "4 new masks wait to be accepted or rejected"
    press(m, "mode-select")
    key(m, "2")
    Mouse(m).click(POINTS[1])
    Mouse(m).right(POINTS[2])
    assert len(m.drawing.proposals.features) == 2
    assert m.accepted["class"].tolist() == ["road"]
    press(m, "reject-all")
    assert m.drawing.proposals.features == []
    assert m.drawing.panel.buttons["accept-all"].disabled
    press(m, "undo")
    press(m, "accept-all")
    assert len(m.accepted) == 3


def test_the_confident_ones_are_accepted_at_once_and_the_others_wait(make) -> None:
    m = make()
    scored = found(m, 0, 1, 2, 3).assign(predicted_iou=[0.9, 0.6, 0.8, np.nan])
    m.add(scored)
    m.drawing.panel.least.value = 0.8
    press(m, "accept-all")
    assert status(m) == "accepted 2, 2 wait"
    assert m.accepted.predicted_iou.tolist() == pytest.approx([0.9, 0.8])
    m.drawing.panel.least.value = 0.95
    press(m, "accept-all")
    assert status(m).startswith("no open proposal has a score of 0.95 or more")
    m.drawing.panel.least.value = 0
    press(m, "accept-all")
    assert len(m.accepted) == 4


def test_what_is_in_view_is_segmented_but_not_what_is_there_already(make) -> None:
    m = make()
    accept(m, 0)
    press(m, "segment")
    assert m.wait(60)
    # Every object but the accepted one; the oracle finds them whole.
    assert len(m.drawing.proposals.features) == len(IDS) - 1
    areas = sorted(drawn_area_px(m, one) for one in m.drawing.proposals.features)
    assert areas == pytest.approx(sorted(AREAS[1:]), rel=0.03)
    assert not m.drawing.panel.buttons["segment"].disabled
    press(m, "segment")
    assert m.wait(60)
    assert status(m) == "nothing new is in view"


def test_only_what_is_in_view_is_segmented(make) -> None:
    m = make()
    x0, y0, x1, y1 = box_of(4, 3)
    latlng = place_of(m).from_pixels(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]))
    show_in_browser(m, (*latlng.min(axis=0).tolist(), *latlng.max(axis=0).tolist()))
    m.segment_view()
    assert m.wait(60)
    shapes = [one.geometry for one in m.session.state.proposals]
    here = shapely.Point(place_of(m).geobox.affine * POINTS[4])
    assert 0 < len(shapes) < len(IDS) - 2
    assert shapely.covers(shapes, here).sum() == 1


class Slow(Oracle):
    """Waits in its first window until it is told to go on."""

    def __init__(self) -> None:
        super().__init__(64)
        self.started, self.go_on = threading.Event(), threading.Event()

    def embed(self, images, sizes=None):
        self.started.set()
        assert self.go_on.wait(60)
        return super().embed(images, sizes)


def test_segmenting_shows_its_progress_and_can_be_ended(make) -> None:
    model = Slow()
    m = make(model=model)
    press(m, "segment")
    assert model.started.wait(60)
    assert m.drawing.panel.buttons["segment"].disabled
    assert m.drawing.panel.progress.layout.display is None
    assert m.drawing.panel.progress.max > 4
    assert m.drawing.panel.progress.description.startswith("0 of ")
    press(m, "stop")
    model.go_on.set()
    assert m.wait(60)
    assert status(m).startswith("ended before it was done")
    assert m.session.state.proposals == ()
    assert m.drawing.panel.buttons["stop"].disabled
    press(m, "segment")
    assert m.wait(60)
    assert m.session.state.proposals


def test_what_fails_in_the_background_is_said(make, monkeypatch: pytest.MonkeyPatch) -> None:
    m = make()
    assert m.wait(60)

    def fail(*_):
        raise OSError("the disk is gone")

    monkeypatch.setattr(type(m.session.predictor.model), "embed", fail)
    press(m, "segment")
    assert m.wait(60)
    assert "the disk is gone" in status(m)
    assert is_error(m)


def test_a_cell_that_is_run_again_adds_nothing_twice_and_says_so(make) -> None:
    m = make()
    for _ in range(2):
        m.add(found(m, 0, 1, 2))
    assert len(m.drawing.proposals.features) == 3
    assert status(m) == "0 new masks wait to be accepted or rejected, 3 in all; 3 more were there already"
    press(m, "accept-all")
    m.add(found(m, 0, 1, 2, 3))
    assert len(m.drawing.proposals.features) == 1
    assert status(m) == "1 new mask waits to be accepted or rejected; 3 more were there already"


def test_many_objects_are_sent_a_few_at_a_time(make, monkeypatch: pytest.MonkeyPatch) -> None:
    m = make(on_overlap="keep")
    m.add(found(m, *range(8), *range(8), *range(8), *range(8), *range(8)))
    press(m, "accept-all")
    before = layers_of(m, m.drawing.objects.features)
    data = [layer.data for layer in before]
    accept(m, 9)
    assert len(m.drawing.objects.features) == 41
    same = [layer.data is old for layer, old in zip(layers_of(m, m.drawing.objects.features), data, strict=True)]
    assert same == [True, True, False]
    m.session.delete(41)
    kept = layers_of(m, m.drawing.objects.features)[:2]
    assert [layer.data is old for layer, old in zip(kept, data[:2], strict=True)] == [True, True]
