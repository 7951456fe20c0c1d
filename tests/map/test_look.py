"""What the map draws and says: the next step, layers on and off, the summaries in notebooks, and the end of a map."""

from __future__ import annotations

import base64
import io
import re
import threading
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import shapely
from IPython.core.formatters import DisplayFormatter
from ipywidgets.widgets import widget as widgets
from map_driving import Mouse, PartsOracle, accept, css_classes, found, is_error, key, press, status
from map_scene import CLASSES, LABELS, POINTS
from PIL import Image

import samgeo
from samgeo.map import Session, closing
from samgeo.map.ui.browser_part import KEYS, LOOK_KEYS
from samgeo.map.ui.messages import Progress
from samgeo.map.ui.panel import TIPS
from samgeo.map.ui.panel_html import iou_bar, text_color
from samgeo.plot.colors import palette
from samgeo.testing import Oracle, encode_ids


def hint(m: samgeo.Map) -> str:
    return m.drawing.panel.hint.value


def contrast(one, other) -> float:
    def luminance(color) -> float:
        parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_status_line_says_the_next_step(make) -> None:
    m = make(model=PartsOracle())
    assert hint(m) == "next: click a roof, or press x and drag a box"
    key(m, "x")
    assert hint(m).startswith("next: drag a box around a roof")
    key(m, "2")
    assert "around a road" in hint(m)
    key(m, "f")
    Mouse(m).click(POINTS[0])
    assert "press a to accept it as a road, n for the next candidate, or right click" in hint(m)
    key(m, "a")
    assert hint(m) == "next: click a road, or press x and drag a box"
    key(m, "s")
    Mouse(m).click(POINTS[0])
    assert "choose its class" in hint(m)
    key(m, "e")
    assert "drag around the part that the selected object lacks" in hint(m)
    m.add(found(m, 3, 4))
    m.session.select(None)
    # A mode that needs a selected object ends with the selection.
    assert m.drawing.panel.buttons["mode-select"].button_style == "info"
    assert hint(m).startswith("next: click a mask to accept it, right click to reject it")
    key(m, "f")
    assert hint(m).endswith("2 masks wait: press s to accept or reject them")


def test_groups_and_keys(make) -> None:
    m = make()
    panel = m.drawing.panel
    headings = [group.children[0].value or group.children[0].description for group in panel.groups.values()]
    assert [one.split(":")[0].split(" None")[0] for one in headings] == [
        *("Prompt", "Class", "Accept", "Outline", "Selected object", "Waiting masks", "Find", "Show", "File")
    ]
    assert panel.groups["selected"].layout.display == "none"
    accept(m, 0)
    m.session.select(1)
    assert panel.groups["selected"].layout.display is None
    assert panel.groups["selected"].children[0].value == "Selected object 1"
    m.add(found(m, 3))
    assert panel.groups["waiting"].children[0].value == "Waiting masks: 1"
    assert panel.buttons["mode-box"].description == "box (x)"
    assert panel.buttons["redraw"].description == "redraw (r)"
    assert all(f"key: {name}" in panel.buttons[action].tooltip for name, action in KEYS.items() if name in "fbxsecazyrvm12")
    for name in (*(one for one in KEYS if not one.isdigit()), "1 to 9", *LOOK_KEYS):
        assert f"<kbd>{name}</kbd>" in panel.keys.value
    assert set(KEYS.values()) <= {*TIPS, *(f"class-{number}" for number in range(9))}


def test_text_on_every_colour_of_a_class_is_readable() -> None:
    for color in palette(60):
        assert contrast("#{:02x}{:02x}{:02x}".format(*color), text_color(color)) >= 4.5


def test_bars_are_as_long_as_the_scores() -> None:
    assert ["width:85%" in iou_bar(0.85), "width:0%" in iou_bar(None), "width:100%" in iou_bar(1.2)] == [True] * 3


def test_what_is_not_drawn_is_neither_picked_nor_accepted(make) -> None:
    m = make()
    panel = m.drawing.panel
    m.add(found(m, 0, 1, 2, 3).assign(predicted_iou=[0.9, 0.6, 0.8, np.nan]))
    panel.least.value = 0.7
    assert len(m.drawing.proposals.features) == 2
    key(m, "s")
    Mouse(m).click(POINTS[1])
    assert len(m.accepted) == 0
    press(m, "accept-all")
    assert len(m.accepted) == 2
    panel.least.value = 0
    assert len(m.drawing.proposals.features) == 2
    layers = panel._layers
    layers["waiting"].value = False
    assert m.drawing.proposals.features == []
    press(m, "accept-all")
    assert is_error(m)
    assert "show more layers" in status(m)
    layers["accepted"].value = False
    assert m.drawing.objects.features == []
    Mouse(m).click(POINTS[0])
    assert m.session.state.selected is None
    layers["accepted"].value = True
    m.session.set_class(1, "road")
    panel._eyes[1].value = False
    assert len(m.drawing.objects.features) == 1
    assert panel._eyes[1].icon == "eye-slash"
    panel._eyes[1].value = True
    key(m, "f")
    Mouse(m).click(POINTS[5])
    assert len(m.drawing.sketch.preview) == 1
    layers["candidates"].value = False
    assert m.drawing.sketch.preview == []
    assert m.wait(60)
    panel._opacities["raster"].value = 0.5
    assert {one.opacity for one in m.drawing.pictures.shown} == {0.5}
    layers["raster"].value = False
    assert {one.opacity for one in m.drawing.pictures.shown} == {0.0}
    panel._opacities["shapes"].value = 0.25
    assert [one for one in css_classes(m.drawing._body) if "shapes" in one] == ["samgeo-shapes-25"]


def test_after_a_search_a_click_accepts_and_a_right_click_rejects(make) -> None:
    m = make()
    press(m, "segment")
    assert m.wait(60)
    waiting = len(m.session.state.proposals)
    assert m.drawing.panel.buttons["mode-select"].button_style == "info"
    Mouse(m).click(POINTS[2])
    Mouse(m).right(POINTS[3])
    assert (len(m.accepted), len(m.session.state.proposals)) == (1, waiting - 2)
    press(m, "undo")
    press(m, "undo")
    press(m, "undo")
    # An analyst who is prompting is not interrupted.
    key(m, "f")
    Mouse(m).click(POINTS[0])
    press(m, "segment")
    assert m.wait(60)
    assert m.drawing.panel.buttons["mode-foreground"].button_style == "info"
    m.drawing.show_progress("search", Progress("segmenting the view", 3, 12))
    panel = m.drawing.panel
    assert (panel.searching.value, panel.progress.description) == ("segmenting the view", "3 of 12")
    m.drawing.show_progress("search", None)
    assert panel.progress.layout.display == "none"


def test_searches_run_in_the_background(make, monkeypatch: pytest.MonkeyPatch) -> None:
    m = make()
    asked = []

    def search(self, *arguments, progress, **options):
        asked.append((*arguments, options))
        progress(1, 2)
        return self.propose(found(m, 4))

    monkeypatch.setattr(Session, "find", search)
    monkeypatch.setattr(Session, "find_similar", search)
    press(m, "find")
    assert m.wait(60)
    assert len(m.drawing.proposals.features) == 1
    key(m, "m")
    assert m.wait(60)
    assert status(m) == "nothing new is in view"
    height, width = LABELS.shape
    assert [one[:-1] for one in asked] == [
        ("building", pytest.approx([0, 0, width, height])),
        (pytest.approx([0, 0, width, height]),),
    ]
    assert [one[-1] for one in asked] == [{"crs": "pixels"}] * 2


def test_a_double_click_prompts_once(make) -> None:
    m = make()
    mouse = Mouse(m)
    mouse.click(POINTS[0])
    mouse.click(POINTS[0])
    assert len(m.session.state.prompt.marks) == 1
    mouse.right(POINTS[0])
    assert len(m.session.state.prompt.marks) == 2


def test_the_position_of_the_mouse_and_the_whole_raster(make) -> None:
    m = make()
    mouse = Mouse(m)
    mouse.tell("mousemove", (10.25, 20.75))
    assert m._coordinates.wait(30)
    shown = m.drawing.panel.coordinates.value
    assert shown.endswith("pixel 10, 20")
    x, y = m.session.predictor.raster.geobox.affine * (10.25, 20.75)
    assert shown.startswith(f"{x:.1f}, {y:.1f} (EPSG:")
    center, zoom = tuple(m.leaflet.center), m.leaflet.zoom
    m.leaflet.center, m.leaflet.zoom = (center[0] + 0.001, center[1]), zoom + 2
    press(m, "home")
    assert (tuple(m.leaflet.center), m.leaflet.zoom) == (center, zoom)
    plain = make(encode_ids(LABELS))
    Mouse(plain).tell("mousemove", (3.5, 4.5))
    assert plain._coordinates.wait(30)
    assert plain.drawing.panel.coordinates.value == "pixel 3, 4"


def test_summaries_in_notebooks(make) -> None:
    m = make(autosave="kept.gpkg")
    accept(m, 0)
    undone = m.session.undo()
    assert repr(undone) == "Snapshot(revision 3, after Undo: 0 objects, 0 proposals, 1 marks)"
    m.session.redo()
    accept(m, 1)
    assert "2 accepted (2 roof), 0 waiting, model oracle" in repr(m.session)
    assert "kept.gpkg" in repr(m.session)
    assert repr(m) == f"Map of {m.session!r}"
    assert repr(m.session.predictor).startswith("Predictor(")
    assert "window=128" in repr(m.session.predictor)
    for shown in (m.session, m.session.predictor, m.session.predictor.raster):
        data, _ = DisplayFormatter().format(shown)
        assert data["text/html"].count("<tr>") >= 4
        assert "\n" not in data["text/plain"]
    assert "<b>" not in Session(m.session.predictor, classes=["<b>tree</b>"])._repr_html_()
    data, _ = DisplayFormatter().format(m)
    assert data["text/plain"] == repr(m)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data["image/jpeg"]))))
    assert picture.shape == (*LABELS.shape, 3)
    none = make(encode_ids(LABELS))
    other = np.asarray(Image.open(io.BytesIO(base64.b64decode(none._repr_mimebundle_()["image/jpeg"]))))
    different = np.abs(picture.astype(int) - other).max(-1) > 60
    assert 0 < different.sum() < 0.5 * different.size  # the objects that are accepted are drawn


def live_widgets() -> int:
    return len(widgets._instances)


def test_a_closed_map_leaves_no_widgets_and_no_threads(make) -> None:
    before, threads = live_widgets(), set(threading.enumerate())
    m = make(model=PartsOracle())
    accept(m, 0)
    m.session.select(1)
    m.add(found(m, 1, 2))
    press(m, "segment")
    m.close()
    for one in set(threading.enumerate()) - threads:
        if one.name.startswith("samgeo-map"):
            one.join(30)
            assert not one.is_alive()
    assert live_widgets() == before
    m.segment_view()
    assert m.wait(30)
    assert live_widgets() == before


def test_a_cell_that_runs_again_closes_its_earlier_map(make, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = SimpleNamespace(meta={}, events=SimpleNamespace(trigger=lambda *_: None))
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    run = {"cell": ("a", "run 1")}
    monkeypatch.setattr(closing, "current_cell", lambda: run["cell"])
    first, second = make(), make()  # two maps of one cell stay
    run["cell"] = ("b", "run 2")
    other = make()
    assert all(m.widget.comm is not None for m in (first, second, other))
    run["cell"] = ("a", "run 3")
    again = make()
    assert [m.widget.comm is None for m in (first, second, other, again)] == [True, True, False, False]


def test_outside_a_notebook_no_cell_runs() -> None:
    assert closing.current_cell() is None
    assert samgeo.Predictor(encode_ids(LABELS), model=Oracle(128)).raster.shape == LABELS.shape
    assert CLASSES[0] == "roof"


def test_who_does_what_the_status_line_says_comes_through_a_whole_annotation(make) -> None:
    """The newcomer reads the line below the map, does the first thing that it says, and sees what is drawn. Nothing else."""
    m = make()
    mouse = Mouse(m)

    def missing() -> list[int]:
        shapes = [one.geometry for one in (*m.session.state.objects, *m.session.state.proposals)]
        placed = shapely.points(*(m.session.predictor.raster.geobox.affine * np.array(POINTS).T))
        return [number for number, point in enumerate(placed) if not shapely.intersects(shapes, point).any()]

    def do_what_it_says() -> None:
        text = hint(m)
        if text.startswith("next: click a mask to accept it"):
            mask = m.session.state.proposals[0].geometry.representative_point()
            mouse.click(~m.session.predictor.raster.geobox.affine * (mask.x, mask.y))
        elif pressed := re.search(
            r"(?:masks wait: press|^next: press|to select it, or press) (\w) (?:to accept|and click)", text
        ):
            key(m, pressed[1])
        elif re.match(r"next: click an? \w+", text):
            mouse.click(POINTS[missing()[0]])
        else:
            pytest.fail(f"a newcomer does not know what to do: {text}")
        assert not is_error(m), status(m)

    def follow(is_done: Callable[[], bool]) -> None:
        for _ in range(60):
            if is_done():
                return
            before = m.session.state, hint(m)
            do_what_it_says()
            assert (m.session.state, hint(m)) != before, f"nothing happened after: {before[1]}"
        pytest.fail(f"no end after 60 steps: {hint(m)}")

    follow(lambda: len(m.session.state.objects) == 3)
    m.add(found(m, *missing()))
    follow(lambda: not m.session.state.proposals)
    assert missing() == []
    assert len(m.session.state.objects) == len(POINTS)
    press(m, "export")
    assert "wrote 10 objects" in status(m)
