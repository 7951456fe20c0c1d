"""The map, driven as a browser drives it: every event, button and key, and what is drawn of it."""

import base64
import io
import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import ipyleaflet
import numpy as np
import pytest
import shapely
from ipywidgets import Widget
from PIL import Image

import samgeo
from samgeo.errors import OptionError, RasterError, SamgeoError, VectorError
from samgeo.geo.coordinates.prompt_geometry import from_pixels
from samgeo.geo.vector.reading import read_vectors
from samgeo.map.ui import browser_part as front
from samgeo.map.ui.browser_part import KEYS
from samgeo.map.ui.pointer import MODES
from samgeo.map.widget import Map
from samgeo.testing import encode_ids, scattered
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import TRANSFORMS, write_raster

LABELS = scattered(10, (180, 220), seed=5, min_size=14, max_size=28)
IDS = np.unique(LABELS[LABELS > 0]).tolist()
POINTS = [tuple((np.argwhere(one == LABELS)[np.sum(one == LABELS) // 2][::-1] + 0.5).tolist()) for one in IDS]
AREAS = [int(np.sum(one == LABELS)) for one in IDS]
GROUND = tuple((np.argwhere(LABELS == 0)[0][::-1] + 0.5).tolist())
CLASSES = ("roof", "road", "<b>tree</b>")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raster") / "ids.tif"
    return write_raster(path, encode_ids(LABELS), transform=TRANSFORMS["rotated"])


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def make(image: Path):
    """Makes maps, and closes them."""
    made: list[Map] = []

    def make_it(raster=image, model=None, **options) -> Map:
        made.append(Map(raster, Oracle(128) if model is None else model, **{"classes": CLASSES, **options}))
        return made[-1]

    yield make_it
    for one in made:
        one.close()


class Mouse:
    """Does on a map what the browser would tell of a hand at pixels of the raster."""

    def __init__(self, m: Map) -> None:
        self.map = m

    def tell(self, kind: str, xy_px) -> None:
        place = self.map._place
        told = {"event": "interaction", "type": kind, "coordinates": place.from_pixels(np.array(xy_px, dtype=float)).tolist()}
        self.map.leaflet._handle_leaflet_event(self.map.leaflet, told, [])

    def click(self, xy_px) -> None:
        for kind in ("mousemove", "mousedown", "mouseup", "preclick", "click"):
            self.tell(kind, xy_px)

    def right(self, xy_px) -> None:
        for kind in ("mousedown", "contextmenu", "mouseup"):
            self.tell(kind, xy_px)

    def drag(self, *track) -> None:
        self.tell("mousedown", track[0])
        for xy_px in track:
            self.tell("mousemove", xy_px)
        self.tell("mouseup", track[-1])
        self.tell("click", track[-1])


def press(m: Map, name: str) -> None:
    button = m.drawing.panel.buttons[name]
    assert not button.disabled, f"{name} cannot be pressed"
    button.click()


def key(m: Map, name: str) -> None:
    m.front._handle_custom_msg({"kind": "key", "key": name}, [])


def accept(m: Map, number: int) -> None:
    Mouse(m).click(POINTS[number])
    press(m, "accept")


def status(m: Map) -> str:
    return m.drawing.panel.status.value


def is_error(m: Map) -> bool:
    return "samgeo-error" in m.drawing.panel.status._dom_classes


def drawn_area_px(m: Map, feature) -> float:
    """The area of what is drawn, in pixels of the raster."""
    polygon = shapely.geometry.shape(feature["geometry"])
    return shapely.area(shapely.transform(polygon, lambda lnglat: m._place.to_pixels(lnglat[:, ::-1])))


def box_of(number: int, margin: float = 0) -> tuple[tuple[float, float], tuple[float, float]]:
    y, x = np.nonzero(IDS[number] == LABELS)
    return (x.min() - margin, y.min() - margin), (x.max() + 1 + margin, y.max() + 1 + margin)


def show_in_browser(m: Map, view, size=(800, 600)) -> None:
    """Tell what a browser tells when the map has moved."""
    south, west, north, east = view
    m.leaflet.set_state(
        {"south": south, "west": west, "north": north, "east": east}
        | {"left": 1000.0, "top": 2000.0, "right": 1000.0 + size[0], "bottom": 2000.0 + size[1]}
    )


# Prompting


def test_a_click_shows_the_object_and_accepting_keeps_it(make) -> None:
    m = make()
    Mouse(m).click(POINTS[3])
    (preview,) = m.drawing.sketch.preview
    assert drawn_area_px(m, preview) == pytest.approx(AREAS[3], rel=0.02)
    assert preview["properties"]["style"]["className"] == "samgeo-preview"
    (mark,) = m.drawing.sketch.marks
    assert mark["properties"]["label"] == 1
    assert m._place.to_pixels(np.array(mark["geometry"]["coordinates"][::-1])) == pytest.approx(POINTS[3], abs=0.01)
    assert status(m) == f"candidate: {m.session.state.candidate.area:,.1f} m², score 1.00"
    assert m.session.state.candidate.area == pytest.approx(AREAS[3] * 0.25, rel=2e-3)
    press(m, "accept")
    assert (m.drawing.sketch.preview, m.drawing.sketch.marks) == ([], [])
    (shown,) = m.drawing.objects.features
    assert shown["properties"]["id"] == 1
    assert drawn_area_px(m, shown) == pytest.approx(AREAS[3], rel=0.02)
    assert status(m) == "accepted 1 (roof)"
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
    (x0, y0), (x1, y1) = box_of(2)
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


class Candid(Oracle):
    """Offers the object, and two parts of it."""

    def __init__(self) -> None:
        super().__init__(128)

    def decode(self, embedding, **prompts):
        import torch

        logits, _ = super().decode(embedding, **prompts)
        height, width = logits.shape[-2:]
        there = logits[:, 0] > 0
        parts = [logits[:, 0]]
        for axis, side in ((-2, height), (-1, width)):
            index = torch.arange(side).reshape((-1, 1) if axis == -2 else (1, -1))
            middle = (there * index).sum((-2, -1)) / there.sum((-2, -1)).clamp(min=1)
            parts.append(torch.where(index < middle[:, None, None], logits[:, 0], -10.0))
        iou = torch.tensor([[0.9, 0.8, 0.7]]).expand(len(logits), 3)
        return (torch.stack(parts, 1), iou) if prompts.get("multimask", True) else (torch.stack(parts[:1], 1), iou[:, :1])


def test_three_candidates_to_choose_from(make) -> None:
    m = make(model=Candid())
    Mouse(m).click(POINTS[4])
    buttons = [m.drawing.panel.buttons[f"candidate-{number}"] for number in range(3)]
    assert [one.description for one in buttons] == ["0.90", "0.80", "0.70"]
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
    assert status(m) == "done again; 2 accepted"


# What is accepted


def test_classes_colour_what_is_accepted_and_are_in_the_table(make) -> None:
    m = make()
    press(m, "class-1")
    accept(m, 0)
    key(m, "3")
    accept(m, 1)
    assert m.accepted["class"].tolist() == ["road", "<b>tree</b>"]
    colors = [one["properties"]["style"]["fillColor"] for one in m.drawing.objects.features]
    assert colors == [m.drawing.panel.buttons[f"class-{number}"].style.button_color for number in (1, 2)]
    assert 'data-samgeo-id="2"' in m.drawing.panel.table.value
    assert "&lt;b&gt;tree&lt;/b&gt;" in m.drawing.panel.table.value
    assert "<b>" not in m.drawing.panel.table.value
    assert "samgeo-active" in m.drawing.panel.buttons["class-2"]._dom_classes
    assert "samgeo-active" not in m.drawing.panel.buttons["class-1"]._dom_classes


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
    south, west, north, east = m._place.bounds
    show_in_browser(m, (south - 3 * (north - south), west, south - 2 * (north - south), east))
    m.front._handle_custom_msg({"kind": "row", "id": 1}, [])
    assert m.session.state.selected == 1
    assert 'class="samgeo-chosen"' in m.drawing.panel.table.value
    assert m._place.to_pixels(np.array(m.leaflet.center)) == pytest.approx(POINTS[0], abs=20)
    m.front._handle_custom_msg({"kind": "row", "id": 99}, [])
    assert "there is no object 99" in status(m)


def test_the_selected_object_takes_the_outline_of_the_candidate(make) -> None:
    m = make()
    accept(m, 0)
    m.session.select(1)
    assert m.drawing.panel.buttons["replace"].disabled
    Mouse(m).click(POINTS[1])
    assert m.drawing.panel.buttons["replace"].disabled  # a new prompt is for a new object
    m.session.select(1)
    press(m, "replace")
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
    (layer,) = m.drawing.objects._group.layers
    layer._handle_mouse_events(None, {"event": "mouseover", "feature": {}, "id": None, "properties": {"id": 1}}, [])
    assert m.drawing.panel.hover.value == f"roof, {m.accepted.area_m2[0]:,.1f} m², score 1.00"
    assert m.drawing.panel.hover.layout.display is None
    m.front._handle_custom_msg({"kind": "left"}, [])
    assert m.drawing.panel.hover.layout.display == "none"
    layer._handle_mouse_events(None, {"event": "mouseover", "feature": {}, "id": None, "properties": {"id": 1}}, [])
    assert m.drawing.panel.hover.layout.display is None


def test_what_a_windows_edge_cut_is_said_and_kept(make, image: Path) -> None:
    m = make()
    part = found(1, image=image).assign(complete=[False])
    m.add(part)
    (layer,) = m.drawing.proposals._group.layers
    layer._handle_mouse_events(None, {"event": "mouseover", "feature": {}, "id": None, "properties": {"id": 1}}, [])
    assert m.drawing.panel.hover.value.endswith("cut by a window's edge")
    press(m, "accept-all")
    assert "roof (cut)" in m.drawing.panel.table.value
    assert m.accepted.complete.tolist() == [False]
    accept(m, 2)
    assert m.accepted.complete.tolist() == [False, True]
    assert m.drawing.panel.table.value.count("(cut)") == 1
    # What the analyst drew is as the analyst wants it.
    m.session.edit(1, shapely.box(*m.accepted.total_bounds))
    assert "roof (edited)" in m.drawing.panel.table.value
    assert m.accepted.complete.tolist() == [True, True]


# Proposals


def found(*numbers: int, image: Path) -> gpd.GeoDataFrame:
    geobox = samgeo.Raster.open(image).geobox
    corners = [np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]) for (x0, y0), (x1, y1) in map(box_of, numbers)]
    geometry = [shapely.Polygon(from_pixels(one, geobox, "EPSG:4326")) for one in corners]
    return gpd.GeoDataFrame({"predicted_iou": [0.9] * len(numbers)}, geometry=geometry, crs="EPSG:4326")


def test_results_are_put_up_and_accepted_or_rejected_one_by_one(make, image: Path) -> None:
    m = make()
    m.add(found(0, 1, 2, 3, image=image))
    assert len(m.drawing.proposals.features) == 4
    assert status(m) == "4 to accept or reject"
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


def test_the_confident_ones_are_accepted_at_once_and_the_others_wait(make, image: Path) -> None:
    m = make()
    scored = found(0, 1, 2, 3, image=image).assign(predicted_iou=[0.9, 0.6, 0.8, np.nan])
    m.add(scored)
    m.drawing.panel.least.value = 0.8
    press(m, "accept-all")
    assert status(m) == "accepted 2, 2 wait"
    assert m.accepted.predicted_iou.tolist() == pytest.approx([0.9, 0.8])
    m.drawing.panel.least.value = 0.95
    press(m, "accept-all")
    assert status(m).startswith("no mask that waits has a score of 0.95 or more")
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
    (x0, y0), (x1, y1) = box_of(4, 3)
    latlng = m._place.from_pixels(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]))
    show_in_browser(m, (*latlng.min(axis=0).tolist(), *latlng.max(axis=0).tolist()))
    m.segment_view()
    assert m.wait(60)
    shapes = [one.geometry for one in m.session.state.proposals]
    here = shapely.Point(m._place.geobox.affine * POINTS[4])
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
    assert m.drawing.panel.progress.layout.visibility == "visible"
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


# Files


@pytest.mark.parametrize("name", ["out.gpkg", "out.parquet", "out.fgb", "out.geojson"])
def test_export_to_every_vector_format(make, name: str) -> None:
    m = make()
    accept(m, 0)
    accept(m, 1)
    m.drawing.panel.path.value = name
    press(m, "export")
    assert status(m) == f"wrote 2 objects to {name}"
    written = read_vectors(name).sort_values("id")  # FlatGeobuf has an order of its own
    parts = written.geometry.explode(ignore_index=True).to_numpy()  # files have multipolygons
    assert shapely.equals_exact(parts, m.accepted.geometry.to_numpy(), tolerance=1e-6).all()
    assert written["class"].tolist() == ["roof", "roof"]


def test_export_to_coco(make) -> None:
    m = make()
    accept(m, 0)
    m.export("coco.json")
    coco = json.loads(Path("coco.json").read_text())
    assert coco["annotations"][0]["area"] == AREAS[0]


def test_export_replaces_only_what_it_may(make) -> None:
    m = make()
    accept(m, 0)
    Path("theirs.geojson").write_text("theirs")
    m.drawing.panel.path.value = "theirs.geojson"
    press(m, "export")
    assert is_error(m)
    assert "exists" in status(m)
    assert Path("theirs.geojson").read_text() == "theirs"
    m.drawing.panel.overwrite.value = True
    press(m, "export")
    assert len(read_vectors("theirs.geojson")) == 1
    m.drawing.panel.overwrite.value = False
    accept(m, 1)
    press(m, "export")
    assert len(read_vectors("theirs.geojson")) == 2
    with pytest.raises(VectorError, match="exists"):
        m.export("theirs.geojson")


def test_it_saves_itself_and_goes_on_where_it_was(make) -> None:
    first = make(autosave="saved.gpkg", log="actions.jsonl")
    accept(first, 0)
    press(first, "class-1")
    accept(first, 3)
    assert len(read_vectors("saved.gpkg")) == 2
    again = make(autosave="saved.gpkg", log="actions.jsonl")
    assert [one["properties"]["id"] for one in again.drawing.objects.features] == [1, 2]
    assert again.drawing.panel.table.value == first.drawing.panel.table.value
    assert status(again) == "2 accepted"
    accept(again, 5)
    assert read_vectors("saved.gpkg")["id"].tolist() == [1, 2, 3]


# The picture


def test_the_picture_follows_the_view_and_stays_during_clicks(make) -> None:
    m = make()
    assert m.wait(60)
    (base,) = m.drawing.pictures.shown
    south, west, north, east = m._place.bounds
    assert np.array(base.bounds) == pytest.approx(np.array([[south, west], [north, east]]), abs=1e-4)
    middle = ((south + north) / 2, (west + east) / 2)
    for share in (0.4, 0.3, 0.2, 0.1):
        half = share / 2 * (north - south), share / 2 * (east - west)
        show_in_browser(m, (middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]))
        assert m.wait(60)
    shown = m.drawing.pictures.shown
    assert len(shown) == 3
    assert shown[0] is base
    (low, left), (high, right) = shown[-1].bounds
    assert (high - low, right - left) == pytest.approx((0.1 * (north - south), 0.1 * (east - west)), rel=0.01)
    accept(m, 0)
    assert m.wait(60)
    assert m.drawing.pictures.shown == shown


def test_moves_in_a_row_are_drawn_once(make, monkeypatch: pytest.MonkeyPatch) -> None:
    m = make()
    assert m.wait(60)
    south, west, north, east = m._place.bounds
    for step in range(20):
        show_in_browser(m, (south, west, north - step * (north - south) / 40, east))
    assert m.wait(60)
    assert len(m.drawing.pictures.shown) <= 3
    assert m.drawing.pictures.shown[-1].bounds[1][0] == pytest.approx(north - 19 * (north - south) / 40, abs=1e-5)


def test_the_first_view_of_a_browser_is_filled_and_later_ones_are_left_alone(make) -> None:
    m = make()
    before = m.leaflet.zoom
    show_in_browser(m, m._place.bounds, size=(3600, 2400))
    assert m.leaflet.zoom > before
    m.leaflet.zoom = before
    show_in_browser(m, m._place.bounds, size=(3601, 2400))
    assert m.leaflet.zoom == before


def test_a_fine_screen_gets_a_picture_as_fine(make) -> None:
    m = make()
    assert m.wait(60)
    show_in_browser(m, m._place.bounds)
    m.front._handle_custom_msg({"kind": "screen", "ratio": 2}, [])
    assert m.wait(60)
    coarse = wide(m)
    show_in_browser(m, m._place.bounds, size=(400, 300))
    assert m.wait(60)
    assert wide(m) == pytest.approx(coarse / 2, abs=2)
    m.front._handle_custom_msg({"kind": "screen", "ratio": 1}, [])
    assert m.wait(60)
    assert wide(m) == pytest.approx(coarse / 4, abs=2)
    for nonsense in (0, -1, float("nan"), 1e9, "2", None):
        m.front._handle_custom_msg({"kind": "screen", "ratio": nonsense}, [])
    assert m.wait(60)
    assert wide(m) == pytest.approx(coarse / 4, abs=2)
    assert not is_error(m)


def wide(m: Map) -> int:
    """The width of the picture on top, in its own pixels."""
    url = m.drawing.pictures.shown[-1].url
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).width


def test_a_picture_that_cannot_be_drawn_is_said(make, image: Path) -> None:
    class Damaged:
        def __getattr__(self, name):
            return getattr(raster.source, name)

        def read(self, numbers, rect, out_shape=None):
            if out_shape is not None:
                raise RasterError("the file is cut short")
            return raster.source.read(numbers, rect)

    raster = samgeo.Raster.open(image)
    m = make(replace(raster, source=Damaged()))
    assert m.wait(60)
    assert (status(m), is_error(m)) == ("the file is cut short", True)
    assert m.drawing.pictures.shown == ()
    accept(m, 0)
    assert status(m) == "accepted 1 (roof)"


def test_a_click_sends_little_and_no_picture(make, monkeypatch: pytest.MonkeyPatch) -> None:
    m = make()
    for number in range(6):
        accept(m, number)
    assert m.wait(60)
    sent: list[str] = []
    monkeypatch.setattr(Widget, "_send", lambda self, message, buffers=None: sent.append(json.dumps(message)))
    Mouse(m).click(POINTS[7])
    assert 0 < sum(map(len, sent)) < 12_000
    assert not any("data:image" in one for one in sent)
    # The others that are accepted are not sent again for it.
    assert not any("samgeo-object" in one for one in sent)


def test_an_action_is_told_in_few_messages(make, monkeypatch: pytest.MonkeyPatch) -> None:
    m = make(model=Candid())
    mouse = Mouse(m)
    assert m.wait(60)
    sent: list[dict] = []
    monkeypatch.setattr(Widget, "_send", lambda self, message, buffers=None: sent.append(message))
    counts = {}
    for name, act in {
        "click": lambda: mouse.click(POINTS[0]),
        "candidate": lambda: press(m, "candidate-1"),
        "accept": lambda: press(m, "accept"),
        "undo": lambda: press(m, "undo"),
        "mode": lambda: press(m, "mode-select"),
    }.items():
        sent.clear()
        act()
        counts[name] = len(sent)
    # Each is one turn of the channel: on a slow connection they add up.
    assert counts["click"] <= 10
    assert counts["candidate"] <= 4
    assert counts["accept"] <= 10
    assert counts["undo"] <= 11
    assert counts["mode"] <= 3


def test_many_objects_are_sent_a_few_at_a_time(make, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    m = make()
    m.add(found(*range(8), *range(8), *range(8), *range(8), *range(8), image=image))
    press(m, "accept-all")
    before = m.drawing.objects._group.layers
    data = [layer.data for layer in before]
    accept(m, 9)
    assert len(m.drawing.objects.features) == 41
    same = [layer.data is old for layer, old in zip(m.drawing.objects._group.layers, data, strict=True)]
    assert same == [True, True, False]
    m.session.delete(41)
    assert [layer.data is old for layer, old in zip(m.drawing.objects._group.layers[:2], data[:2], strict=True)] == [True, True]


def test_nothing_is_asked_of_the_network_unless_there_is_a_basemap(make) -> None:
    assert not any(isinstance(layer, ipyleaflet.TileLayer) for layer in make().leaflet.layers)
    tiles = ipyleaflet.TileLayer(url="http://127.0.0.1:9/{z}/{x}/{y}.png")
    assert make(basemap=tiles).leaflet.layers[0] is tiles
    with pytest.raises(OptionError, match="no position on the earth"):
        make(encode_ids(LABELS), basemap=tiles)


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


# Keys, errors, threads


def test_the_model_computes_in_the_threads_that_are_asked_for(make) -> None:
    import torch

    seen: set[tuple[str, int]] = set()

    class Counting(Oracle):
        def embed(self, images, sizes=None):
            seen.add(("embed", torch.get_num_threads()))
            return super().embed(images, sizes)

        def decode(self, embedding, **prompts):
            seen.add(("decode", torch.get_num_threads()))
            return super().decode(embedding, **prompts)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for options, threads in (({}, 1), ({"threads": 3}, 3), ({"threads": None}, 2)):
            seen.clear()
            m = make(model=Counting(128), **options)
            Mouse(m).click(POINTS[0])
            assert seen == {("embed", threads), ("decode", threads)}
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    for nonsense in (0, -2, 1.5, "2", True):
        with pytest.raises(OptionError, match="threads is"):
            make(threads=nonsense)


def test_keys_do_what_buttons_do(make) -> None:
    m = make()
    assert set(KEYS.values()) <= {f"mode-{one}" for one in MODES} | set(m._actions) | {f"class-{n}" for n in range(9)}
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
    m.front._handle_custom_msg({"kind": "row", "id": "1; drop"}, [])
    assert not is_error(m)


def test_a_failure_is_shown_and_not_swallowed(make, monkeypatch: pytest.MonkeyPatch) -> None:
    m = make()

    def fail(*_, **__):
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(m.session, "undo", fail)
    with pytest.raises(ZeroDivisionError):
        m._act("undo")
    assert status(m) == "ZeroDivisionError: by nought"
    assert is_error(m)


def test_what_acts_on_the_session_from_any_thread_is_drawn(make, image: Path) -> None:
    m = make()
    mouse = Mouse(m)

    def work(number: int) -> None:
        m.session.propose(found(number, image=image))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    mouse.click(POINTS[8])
    m._act("accept")
    mouse.click(POINTS[9])
    for thread in threads:
        thread.join()
    assert len(m.drawing.proposals.features) == 8
    assert len(m.drawing.objects.features) == 1
    assert len(m.drawing.sketch.preview) == 1


def test_a_closed_map_leaves_its_session(make) -> None:
    m = make()
    accept(m, 0)
    m.close()
    m.session.undo()
    assert len(m.drawing.objects.features) == 1


def test_jupyter_shows_it(make) -> None:
    m = make()
    bundle = m._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == m.widget.model_id
    assert "samgeo-map" in m.widget._dom_classes


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("height", value) for value in (0, 100, 10**6, "600px", 600.5, None, True)),
        *(("classes", value) for value in (None, 5, [], [1, 2], ["roof", ""], ["roof", "roof"], {"roof": "red"})),
        *(("autosave", value) for value in (5, "", "objects.geojson", b"objects.json", "nowhere/objects.gpkg", ["a.gpkg"])),
        *(("log", value) for value in (5, "", "nowhere/log.jsonl", ".")),
        *(("cache", value) for value in (5, "")),
        *(("basemap", value) for value in ("OSM", 5)),
        *(("tiles", value) for value in (5, "server")),
        *(("threads", value) for value in ("2", 0, 1.5)),
    ],
)
def test_an_option_that_cannot_work_is_refused_before_any_work(make, name: str, value, tmp_path: Path) -> None:
    with pytest.raises(SamgeoError) as refused:
        make(**{name: value})
    assert name in str(refused.value) or str(value) in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_cell_that_is_run_again_adds_nothing_twice_and_says_so(make, image: Path) -> None:
    m = make()
    for _ in range(2):
        m.add(found(0, 1, 2, image=image))
    assert len(m.drawing.proposals.features) == 3
    assert status(m) == "0 to accept or reject, 3 in all; 3 more were there already"
    press(m, "accept-all")
    m.add(found(0, 1, 2, 3, image=image))
    assert len(m.drawing.proposals.features) == 1
    assert status(m) == "1 to accept or reject; 3 more were there already"


def test_a_class_chosen_for_a_new_object_leaves_the_one_selected_before_alone(make) -> None:
    m = make()
    accept(m, 0)
    m.session.select(1)
    Mouse(m).click(POINTS[1])
    press(m, "class-1")
    press(m, "accept")
    assert [one.class_name for one in m.session.state.objects] == ["roof", "road"]


def test_what_another_program_does_to_the_saved_file_is_drawn_and_said(make, tmp_path: Path) -> None:
    m = make(autosave=tmp_path / "city.gpkg")
    accept(m, 0)
    accept(m, 1)
    frame = read_vectors(tmp_path / "city.gpkg").assign(**{"class": ["pond", "roof"]})
    frame.to_file(tmp_path / "city.gpkg", layer="city", driver="GPKG")
    accept(m, 2)
    assert "the saved file was changed elsewhere: 1 changed" in status(m)
    assert "pond" in m.drawing.panel.table.value
    press(m, "class-3")
    accept(m, 3)
    assert [one.class_name for one in m.session.state.objects] == ["pond", "roof", "roof", "pond"]
    assert len({one["properties"]["style"]["fillColor"] for one in m.drawing.objects.features}) == 2


def test_without_the_extra_it_says_what_to_install(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ipyleaflet", "anywidget"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(SamgeoError, match=r"pip install 'samgeo\[map\]'"):
                Map(image, Oracle(128))


def test_the_name_is_there_without_its_libraries() -> None:
    code = "import samgeo, sys; samgeo.Map; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()  # noqa: S603
    assert {"ipyleaflet", "ipywidgets", "anywidget"}.isdisjoint(loaded)


def test_the_script_handles_every_key_it_is_told(make) -> None:
    assert make().front.listens_to == list(KEYS)
    for attribute in ("data-jp-suppress-context-menu", "data-lm-suppress-shortcuts"):
        assert attribute in front.SCRIPT
