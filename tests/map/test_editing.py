"""Split, merge, clicks that are objects of their own, previews, and the vertices of outlines."""

import json

import numpy as np
import pytest
import shapely
from map_driving import Mouse, accept, is_error, key, place_of, press, send, show_in_browser, status
from map_scene import AREAS, CLASSES, GROUND, LABELS, POINTS, accept_object, box_of

import samgeo
from samgeo.errors import OptionError, VectorError
from samgeo.map.editing import hover
from samgeo.map.editing.handles import MOST, Screen, handles_of
from samgeo.map.editing.outline import Outline
from samgeo.map.session import Session
from samgeo.map.state.actions import from_record, to_record
from samgeo.map.view.map_coordinates import MapPlacement
from samgeo.map.view.viewport import View
from samgeo.testing import Oracle, encode_ids, write_raster


def line_across(geometry: shapely.Geometry, at: float = 0.5) -> shapely.Geometry:
    x0, y0, x1, y1 = geometry.bounds
    return shapely.LineString([(x0 + at * (x1 - x0), y0 - 2), (x0 + at * (x1 - x0), y1 + 2)])


# --- Sessions ---------------------------------------------------------------------------------------------------------------


def test_a_split_keeps_the_area_the_class_and_the_first_id(session) -> None:
    number = accept_object(session, 0, "road")
    accept_object(session, 1)
    whole = session.state.object(number)
    state = session.split(number, line_across(whole.geometry, 0.3)).state
    first, other, second = state.objects
    assert (first.id, second.id, other.id) == (number, 3, 2)
    assert first.area + second.area == pytest.approx(whole.area)
    assert first.area > second.area
    assert shapely.union(first.geometry, second.geometry).equals(whole.geometry)
    assert shapely.area(shapely.intersection(first.geometry, second.geometry)) == 0
    assert {one.class_name for one in (first, second)} == {"road"}
    assert [one.edited for one in state.objects] == [True, False, True]
    assert first.predicted_iou is None
    assert session.undo().state.objects == (whole, other)
    assert session.redo().state.objects == state.objects
    assert accept_object(session, 2) == 4


def test_merging_the_pieces_gives_the_object_again(session) -> None:
    number = accept_object(session, 0)
    whole = session.state.object(number).geometry
    session.split(number, line_across(whole))
    session.select(2)
    state = session.merge([1, 2]).state
    (one,) = state.objects
    assert (one.id, one.edited, state.selected) == (1, True, 1)
    assert shapely.area(shapely.symmetric_difference(one.geometry, whole)) < 1e-6
    assert one.area == pytest.approx(AREAS[0])


def test_objects_that_do_not_touch_become_a_multipolygon(session) -> None:
    ids = [accept_object(session, number, name) for number, name in ((0, "road"), (1, "roof"))]
    (one,) = session.merge(ids).state.objects
    assert (one.class_name, len(shapely.get_parts(one.geometry))) == ("road", 2)
    assert one.area == pytest.approx(AREAS[0] + AREAS[1])
    # A line divides the part that it crosses; the other part stays with the larger piece.
    part = min(shapely.get_parts(one.geometry).tolist(), key=lambda part: part.area)
    first, second = session.split(one.id, line_across(part)).state.objects
    assert len(shapely.get_parts(first.geometry)) == 2
    assert second.geometry.geom_type == "Polygon"
    assert first.area + second.area == pytest.approx(one.area)


def test_a_hole_is_split_and_a_grain_stays_with_its_neighbour(session) -> None:
    number = accept_object(session, 0)
    ring = shapely.box(10, 10, 30, 30) - shapely.box(15, 15, 25, 25)
    session.edit(number, ring)
    pieces = session.split(number, shapely.LineString([(20, 0), (20, 40)])).state.objects
    assert [one.area for one in pieces] == [150, 150]
    session.undo()
    with pytest.raises(OptionError, match="does not divide the object"):
        session.split(number, shapely.LineString([(20, 0), (20, 20)]))
    # The line cuts off a corner of half a pixel, and divides the rest.
    crossing = shapely.LineString([(9, 10), (11, 10.5), (9, 11), (9, 35), (22, 35), (22, 5)])
    assert [one.area for one in session.split(number, crossing).state.objects] == pytest.approx([170, 130])


def test_what_cannot_be_split_or_merged_is_refused(session) -> None:
    number = accept_object(session, 0)
    before = session.snapshot
    with pytest.raises(VectorError, match="give a shapely LineString"):
        session.split(number, shapely.Point(3, 4))
    with pytest.raises(OptionError, match="does not divide"):
        session.split(number, shapely.LineString([(-9, -9), (-3, -9)]))
    with pytest.raises(OptionError, match="no object 7"):
        session.split(7, shapely.LineString([(0, 0), (3, 9)]))
    for ids, message in (
        ([number], "two different objects"),
        ([number, number], "two different"),
        ([number, 9], "no object 9"),
    ):
        with pytest.raises(OptionError, match=message):
            session.merge(ids)
    assert session.snapshot is before


def test_a_line_in_another_crs_splits_at_the_same_place(placed) -> None:
    session = Session(placed, classes=CLASSES)
    number = accept_object(session, 0)
    line_px = shapely.LineString([(POINTS[0][0], 0), (POINTS[0][0], 180)])
    by_pixels = session.split(number, line_px, crs="pixels").state.objects
    session.undo()
    degrees = MapPlacement.of(placed.raster.geobox).from_pixels(shapely.get_coordinates(line_px))[:, ::-1]
    by_degrees = session.split(number, shapely.LineString(degrees), crs="EPSG:4326").state.objects
    for one, other in zip(by_pixels, by_degrees, strict=True):
        assert shapely.hausdorff_distance(one.geometry, other.geometry) < 0.01


def test_split_and_merge_are_logged_saved_and_replayed(placed, tmp_path) -> None:
    log, saved = tmp_path / "log.jsonl", tmp_path / "saved.gpkg"
    session = Session(placed, classes=CLASSES, log=log, autosave=saved)
    for number in (0, 1):
        accept_object(session, number)
    session.split(1, shapely.LineString([(POINTS[0][0], 0), (POINTS[0][0], 180)]), crs="pixels")
    session.merge([2, 3])
    session.propose_at(POINTS[4:6], crs="pixels", class_name="road")
    session.accept_proposals()
    objects = session.state.objects
    assert Session.replay(log, placed).state.objects == objects
    again = Session(placed, autosave=saved, classes=CLASSES).state.objects
    assert [(one.id, one.class_name, one.edited) for one in again] == [
        (one.id, one.class_name, one.edited) for one in sorted(objects, key=lambda one: one.id)
    ]
    records = [json.loads(line) for line in log.read_text().splitlines()[1:]]
    assert {"split", "merge_objects"} <= {one["action"] for one in records}
    assert [to_record(from_record(one)).items() <= one.items() for one in records] == [True] * len(records)


def test_each_point_and_box_gets_a_mask_of_its_own(session) -> None:
    session.add_point(*POINTS[8], crs="pixels")
    done = session.propose_at(POINTS[:4], [box_of(4, 1), box_of(5, 1)], class_name="road")
    state = done.state
    assert [one.area for one in state.proposals] == pytest.approx(AREAS[:6])
    assert {one.class_name for one in state.proposals} == {"road"}
    assert len(state.prompt.marks) == 1
    again = session.propose_at([POINTS[0], GROUND, POINTS[6], POINTS[6]])
    assert (again.action.already, again.action.nothing, len(again.action.proposals)) == (2, 1, 1)
    nothing = session.propose_at([POINTS[0]])
    assert (nothing.action.already, nothing.revision) == (1, again.revision)
    assert len(session.undo().state.proposals) == 6
    for arguments, message in (
        ({}, "neither a point nor a box"),
        ({"points": [POINTS[:2]]}, "one foreground point"),
        ({"points": POINTS[:1], "class_name": "lake"}, "'lake' is not a class"),
    ):
        with pytest.raises(OptionError, match=message):
            session.propose_at(**arguments)


class Counting(Oracle):
    """Counts the windows that are encoded, and the prompts that are decoded."""

    def __init__(self) -> None:
        super().__init__(128)
        self.encoded = self.decoded = 0

    def embed(self, images, *args, **kwargs):
        self.encoded += len(images)
        return super().embed(images, *args, **kwargs)

    def decode(self, embedding, **prompts):
        self.decoded += 1
        return super().decode(embedding, **prompts)


def test_a_preview_encodes_nothing_and_is_the_answer_of_the_click(tmp_path) -> None:
    model = Counting()
    session = Session(samgeo.Predictor(encode_ids(LABELS), model=model))
    assert session.preview(*POINTS[0]) is None
    assert model.encoded == 0
    session.add_point(*POINTS[0])
    session.undo()
    encoded, before = model.encoded, session.snapshot
    offer = session.preview(POINTS[0][0] + 1, POINTS[0][1])
    assert offer.area == AREAS[0]
    assert session.preview(*GROUND) is None
    session.preview(POINTS[0][0] + 1, POINTS[0][1])
    assert (model.encoded, session.snapshot) == (encoded, before)
    decoded = model.decoded
    assert session.add_point(POINTS[0][0] + 1, POINTS[0][1]).state.candidate is not None
    assert model.decoded == decoded, "the click asked again for what its preview had answered"
    # Windows in a store are encoded already.
    path, store = write_raster(tmp_path / "ids.tif", encode_ids(LABELS)), tmp_path / "store.zarr"
    samgeo.encode(path, store, model=Oracle(128), progress=False)
    stored = Session(samgeo.Predictor(path, model=Oracle(128), cache=store))
    assert stored.preview(*POINTS[0], crs="pixels") is not None


# --- Outlines and handles -----------------------------------------------------------------------------------------------------


def test_vertices_of_rings_and_holes_are_moved_inserted_and_removed() -> None:
    square = [(0, 0), (8, 0), (8, 8), (0, 8)]
    with_hole = shapely.Polygon(square, [[(2, 2), (2, 4), (4, 4), (4, 2)]])
    outline = Outline.of(shapely.MultiPolygon([with_hole, shapely.box(10, 0, 12, 2)]))
    assert [len(ring) for ring in outline.rings] == [4, 4, 4]
    moved = outline.moved(0, 2, (9, 9), 1, 3)
    assert shapely.area(moved) == 64 + 8 - 4 + 4
    assert shapely.area(outline.moved(1, 0, (1, 1), 3, 1)) == 64 - 4 - 2 + 4
    inserted = outline.inserted(2, 3, tuple(outline.rings[2][3] + (0.5, -1)))
    assert shapely.get_num_coordinates(inserted) == 16
    assert shapely.area(outline.removed(0, 2, 1, 3)) == 32 - 4 + 4
    # A hole with two vertices left is gone; an outline keeps three.
    triangle = Outline.of(outline.removed(1, 0, 3, 1))
    assert shapely.area(triangle.removed(1, 0, 2, 1)) == 64 + 4
    with pytest.raises(OptionError, match="three vertices or more"):
        Outline.of(shapely.Polygon([(0, 0), (4, 0), (0, 4)])).removed(0, 0, 2, 1)
    with pytest.raises(OptionError, match="would cross itself"):
        outline.moved(0, 2, (-1, 4), 1, 3)
    with pytest.raises(OptionError, match="a hole would not lie inside"):
        Outline.of(shapely.Polygon(square, [[(6.5, 7.5), (7.5, 7.5), (7.5, 6.5)]])).moved(0, 2, (3, 3), 1, 3)


def test_vertices_without_a_handle_move_in_part() -> None:
    line = [(float(x), 0.0) for x in range(9)]
    outline = Outline.of(shapely.Polygon([*line, (8, 9), (0, 9)]))
    start = next(i for i, at in enumerate(outline.rings[0].tolist()) if at == [0.0, 0.0])
    moved = Outline.of(outline.moved(0, start + 4, (4, -4), start, start + 8)).rings[0]
    assert moved[start : start + 9, 1].tolist() == [0, -1, -2, -3, -4, -3, -2, -1, 0]
    removed = Outline.of(outline.removed(0, start + 4, start, start + 8)).rings[0]
    assert len(removed) == 4


def test_many_vertices_are_thinned_and_only_those_in_view_have_handles(placed) -> None:
    place = MapPlacement.of(placed.raster.geobox)
    angle = np.linspace(0, 2 * np.pi, 3000, endpoint=False)
    # A star with 1500 points, in pixels of the raster.
    radius = 60 + 4 * (np.arange(3000) % 2)
    star = np.stack([110 + radius * np.cos(angle), 90 + radius * np.sin(angle)], axis=1)
    outline = Outline.of(shapely.Polygon([place.geobox.affine * tuple(xy) for xy in star.tolist()]))
    counts = []
    for zoom in (17.0, 20.0, 24.0):
        handles, hidden = handles_of(outline, Screen(place, zoom), None)
        counts.append(sum(not one.is_middle for one in handles))
        assert counts[-1] + hidden == 3000
    assert 3 <= counts[0] <= counts[1] <= MOST
    assert max(counts) <= MOST
    south, west, north, east = place.bounds
    half = View(south, west, north, (west + east) / 2, 400, 400)
    some, _ = handles_of(outline, Screen(place, 20.0), half)
    assert len(some) > 0
    assert max(one.latlng[1] for one in some) <= (west + east) / 2
    # Handles know their neighbours out of view.
    assert all(one.before != one.vertex for one in some if not one.is_middle)


# --- The map ----------------------------------------------------------------------------------------------------------------


def grab(m: samgeo.Map, number: int, **more: object) -> None:
    revision = m._editing.vertices.revision
    send(m.front, {"kind": "vertex", "what": "drag", "revision": revision, "number": number, **more})


@pytest.mark.parametrize("is_placed", [True, False])
def test_handles_edit_the_selected_object(make, is_placed) -> None:
    m = make() if is_placed else make(encode_ids(LABELS))
    key(m, "d")
    assert "no object is selected" in status(m)
    accept(m, 0)
    m.session.edit(1, shapely.oriented_envelope(m.accepted.geometry[0]))
    m.session.select(1)
    m.leaflet.zoom = m.leaflet.zoom + 3
    show_in_browser(m, m._place.bounds)
    before = m.session.state.object(1).geometry
    press(m, "mode-vertices")
    editor = m._editing.vertices
    vertices = [one for one in editor.handles if not one.is_middle]
    assert len(vertices) == 4
    number, handle = next((n, one) for n, one in enumerate(editor.handles) if not one.is_middle)
    grab(m, number, x=3, y=-2)
    changed = m.session.state.object(1)
    assert changed.edited
    assert not is_error(m)
    screen = Screen(place_of(m), m.leaflet.zoom)
    old, new = (Outline.of(one).rings[0] for one in (before, changed.geometry))
    moved = np.flatnonzero((old != new).any(axis=1))
    assert moved.tolist() == [handle.vertex]
    way = screen.to_screen(screen.latlng(new[moved])) - screen.to_screen(screen.latlng(old[moved]))
    assert way[0] == pytest.approx((3, -2), abs=0.05)
    # The same handles are not there any more: what is said of them is refused, and nothing changes.
    send(m.front, {"kind": "vertex", "what": "remove", "revision": 1, "number": 0})
    assert "changed in the meantime" in status(m)
    assert m.session.state.object(1) is changed
    # Over the edge on the other side: the outline would cross itself.
    x0, y0, x1, y1 = editor.handles[0].arms
    revision = m._editing.vertices.revision
    grab(m, 0, x=1.5 * x1 + 0.5 * x0, y=1.5 * y1 + 0.5 * y0)
    assert is_error(m)
    assert "would cross itself" in status(m)
    assert m._editing.vertices.revision > revision
    number = next(n for n, one in enumerate(editor.handles) if one.is_middle)
    grab(m, number, x=0, y=0)
    assert shapely.get_num_coordinates(m.session.state.object(1).geometry) == 6
    assert sum(not one.is_middle for one in editor.handles) == 5
    revision = m._editing.vertices.revision
    send(m.front, {"kind": "vertex", "what": "remove", "revision": revision, "number": 0})
    assert shapely.get_num_coordinates(m.session.state.object(1).geometry) == 5
    key(m, "Delete")
    assert "put the mouse over a vertex" in status(m)
    assert len(m.accepted) == 1
    for _ in range(3):
        key(m, "z")
    assert m.session.state.object(1).geometry.equals_exact(before, 0)
    key(m, "Enter")
    assert (m._pointer.mode, editor.handles) == ("select", ())


def test_objects_are_split_and_merged_with_the_mouse(make) -> None:
    m = make()
    accept(m, 0)
    accept(m, 1)
    m.session.select(1)
    key(m, "l")
    x0, y0, x1, y1 = box_of(0, 3)
    middle = (y0 + y1) / 2
    Mouse(m).drag((x0, middle), ((x0 + x1) / 2, middle + 0.2), (x1, middle))
    assert status(m) == "split 1: the largest piece is still 1, and 3 is new"
    assert m.drawing.sketch.draft == []
    key(m, "u")
    mouse = Mouse(m)
    mouse.click(GROUND)
    assert "there is no other object here" in status(m)
    mouse.right(POINTS[1])
    piece = m.session.state.object(3).geometry
    at = place_of(m).geobox.affine
    mouse.click(~at * shapely.point_on_surface(piece).coords[0])
    assert status(m) == "merged 3 into 1"
    assert [one.id for one in m.session.state.objects] == [1, 2]
    mouse.click(POINTS[1])
    assert status(m) == "merged 2 into 1; it has 2 parts that do not touch"
    assert m.session.state.prompt.marks == ()
    m.session.select(None)
    assert m._pointer.mode == "select"


def test_a_row_of_clicks_gives_a_row_of_masks(make) -> None:
    m = make()
    key(m, "i")
    key(m, "2")
    mouse = Mouse(m)
    for number in range(4):
        mouse.click(POINTS[number])
    assert len(m.drawing.proposals.features) == 4
    assert {one.class_name for one in m.session.state.proposals} == {"road"}
    assert "click each road; press s to accept or reject" in m.drawing.panel.hint.value
    key(m, "z")
    assert len(m.session.state.proposals) == 3
    mouse.click(POINTS[0])
    assert status(m).startswith("0 new masks wait to be accepted or rejected, 3 in all; 1 more was there already")
    mouse.click(GROUND)
    assert "found nothing for 1 prompt" in status(m)
    mouse.right(POINTS[0])
    assert len(m.session.state.proposals) == 2
    mouse.right(GROUND)
    assert "no mask waits here" in status(m)
    key(m, "x")
    x0, y0, x1, y1 = box_of(5, 1)
    mouse.drag((x0, y0), (x1, y1))
    assert len(m.session.state.proposals) == 3
    key(m, "i")
    key(m, "f")
    mouse.click(POINTS[6])
    assert len(m.session.state.prompt.marks) == 1


def test_the_outline_under_the_resting_mouse_is_drawn(make, monkeypatch) -> None:
    monkeypatch.setattr(hover, "REST_S", 0.01)
    m = make()
    preview, mouse = m._editing.hover, Mouse(m)
    mouse.tell("mousemove", POINTS[0])
    assert preview.wait(10)
    assert preview.drawn == [], "no window is encoded yet"
    accept(m, 0)
    revision = m.session.snapshot.revision
    mouse.tell("mousemove", (POINTS[0][0] + 1, POINTS[0][1]))
    assert preview.wait(10)
    assert len(preview.drawn) == 1
    assert m.session.snapshot.revision == revision
    mouse.tell("mousemove", GROUND)
    assert preview.drawn == [], "the mouse has left the outline"
    assert preview.wait(10)
    mouse.tell("mousemove", POINTS[0])
    assert preview.wait(10)
    mouse.click(POINTS[0])
    assert preview.drawn == [], "a prompt is set"
    mouse.tell("mousemove", POINTS[0])
    assert preview.wait(10)
    assert preview.drawn == []
    key(m, "Escape")
    key(m, "p")
    mouse.tell("mousemove", POINTS[0])
    assert preview.wait(10)
    assert preview.drawn == []
    key(m, "p")
    # An answer that comes after the mouse has moved on is dropped.
    ask = m.session.preview

    def moved_meanwhile(*at, **crs):
        found = ask(*at, **crs)
        preview.clear()
        return found

    monkeypatch.setattr(m.session, "preview", moved_meanwhile)
    mouse.tell("mousemove", POINTS[0])
    assert preview.wait(10)
    assert preview.drawn == []
    monkeypatch.setattr(m.session, "preview", ask)
    monkeypatch.setattr(hover, "SLOW_S", 0.0)
    for number in range(6):
        mouse.tell("mousemove", (POINTS[0][0] + number / 4, POINTS[0][1]))
        assert preview.wait(10)
    assert not m.drawing.panel.switches["preview"].value
    assert "so that it is switched off" in status(m)
    key(m, "p")
    mouse.tell("mousemove", POINTS[0])
    assert preview.wait(10)
    assert m.drawing.panel.switches["preview"].value
    assert len(preview.drawn) == 1
