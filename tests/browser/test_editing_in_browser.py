"""Vertices, split, merge, the preview under the mouse, and clicks that are objects of their own, in a real browser."""

import numpy as np
import pytest
import shapely
from map_page import MapPage

from samgeo.synthetic import town

pytestmark = pytest.mark.browser

EDITED, OTHER, THIRD = 80, 98, 100


@pytest.fixture(scope="module")
def scene():
    return town((512, 512), seed=2)


@pytest.fixture
def on_map(notebook, scene, tmp_path):
    image = scene.save(tmp_path / "town.tif", overviews=True)
    notebook.run(f"import geopandas as gpd, samgeo\nm = samgeo.Map({str(image)!r}, classes=('roof', 'road'))\nm")
    shown = MapPage(notebook, scene.geobox.crs.proj)
    shown.wait_drawn()
    return shown


def building(scene, number):
    return scene.footprints[scene.footprints["id"] == number].geometry.iloc[0]


def inside(polygon):
    point = polygon.representative_point()
    return point.x, point.y


def add_objects(notebook, scene, *polygons):
    given = f"gpd.GeoSeries.from_wkt({[one.wkt for one in polygons]}, crs={scene.footprints.crs.to_string()!r})"
    notebook.ask(f"[m.session.propose({given}), m.session.accept_proposals(), m.session.select(1)] and None")


def shape_of(notebook, number):
    return shapely.from_wkt(notebook.ask(f"m.session.state.object({number}).geometry.wkt"))


def middles(boxes):
    return [((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in boxes]


def drag(page, start, end):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=4)
    page.mouse.up()


def test_vertices_are_moved_added_and_removed_and_objects_split_and_merged(on_map, scene, notebook):
    page, polygon = on_map.page, building(scene, EDITED)
    corners = shapely.get_coordinates(polygon)[:-1]
    add_objects(notebook, scene, polygon, building(scene, OTHER))
    on_map.wait_count("object", 2)
    near = "m._place.bounds_of(m.session.state.object(1).geometry)"
    notebook.ask(f"[setattr(m.leaflet, 'center', (({near}[0] + {near}[2]) / 2, ({near}[1] + {near}[3]) / 2))] and None")
    notebook.ask("setattr(m.leaflet, 'zoom', m.leaflet.zoom + 2) and None")
    notebook.wait_for(f"m.leaflet.west > {near}[1] - 3 * ({near}[3] - {near}[1])")
    on_map.wait_drawn()
    on_map.page.locator(".samgeo-status").click()
    page.keyboard.press("d")
    page.locator("button.samgeo-mode-vertices.mod-info").wait_for()
    on_map.wait_count("vertex", len(corners))
    notebook.wait_for("m.wait(0) and m._editing.wait(0)")
    notebook.picture("edit-1-handles")

    # A corner follows the mouse, to the pixel of the screen.
    places = on_map.on_screen(*corners.tolist())
    assert np.abs(np.sort(places, axis=0) - np.sort(middles(on_map.paths("vertex")), axis=0)).max() < 2
    middle = places.mean(axis=0)
    start, end = places[0], places[0] + (places[0] - middle) * 0.4
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=4)
    notebook.picture("edit-2-dragging")
    page.mouse.up()
    notebook.wait_for("m.session.state.object(1).edited")
    moved = shape_of(notebook, 1)
    new = next(at for at in shapely.get_coordinates(moved) if np.hypot(*(corners - at).T).min() > 1e-6)
    assert np.hypot(*(on_map.on_screen(tuple(new))[0] - end)) < 1.5
    page.keyboard.press("z")
    notebook.wait_for("not m.session.state.object(1).edited")
    assert shape_of(notebook, 1).equals(polygon)
    on_map.wait_count("vertex", len(corners))
    assert notebook.ask("len(m.session.state.prompt.marks)") == 0

    # The middle of an edge becomes a vertex, which a right click removes.
    page.mouse.click(*middles(on_map.paths("middle"))[0])
    on_map.wait_count("vertex", len(corners) + 1)
    added = next(at for at in middles(on_map.paths("vertex")) if np.hypot(*(places - at).T).min() > 4)
    page.mouse.click(*added, button="right")
    on_map.wait_count("vertex", len(corners))
    assert len(shapely.get_coordinates(shape_of(notebook, 1))) == len(corners) + 1
    page.keyboard.press("z")
    on_map.wait_count("vertex", len(corners) + 1)
    page.mouse.move(*added)
    page.keyboard.press("Delete")
    on_map.wait_count("vertex", len(corners))

    # An outline that would cross itself is refused, and the handles are where they were.
    revision = notebook.ask("m._editing.vertices.revision")
    drag(page, places[0], places[0] + 1.5 * (places[1] - places[0]) + 0.5 * (places[3] - places[0]))
    notebook.wait_for(f"m._editing.vertices.revision > {revision}")
    assert "would cross itself" in page.locator(".samgeo-status").inner_text()
    assert notebook.ask("len(m.session.state.objects)") == 2
    assert np.abs(np.sort(places, axis=0) - np.sort(middles(on_map.paths("vertex")), axis=0)).max() < 2
    page.keyboard.press("Enter")
    page.locator("button.samgeo-mode-select.mod-info").wait_for()
    on_map.wait_count("vertex", 0)
    assert notebook.ask("len(m.session.state.prompt.marks)") == 0

    # A line across it makes two of it, and a click on the other one makes one of them.
    page.keyboard.press("l")
    page.locator("button.samgeo-mode-split.mod-info").wait_for()
    across = places[[0, 3]].mean(axis=0), places[[1, 2]].mean(axis=0)
    outward = (across[1] - across[0]) * 0.3
    page.mouse.move(*(across[0] - outward))
    page.mouse.down()
    page.mouse.move(*(across[1] + outward), steps=6)
    on_map.wait_count("draft", 1)
    notebook.picture("edit-3-splitting")
    page.mouse.up()
    on_map.wait_count("object", 3)
    notebook.picture("edit-4-split")
    one, other = shape_of(notebook, 1), shape_of(notebook, 3)
    assert one.area + other.area == pytest.approx(polygon.area, rel=1e-6)
    assert one.area == pytest.approx(other.area, rel=0.1)
    page.keyboard.press("u")
    page.locator("button.samgeo-mode-merge.mod-info").wait_for()
    on_map.click(inside(other))
    on_map.wait_count("object", 2)
    assert shapely.symmetric_difference(shape_of(notebook, 1), polygon).area < 0.01


def test_a_preview_under_the_mouse_and_clicks_that_are_objects(on_map, scene, notebook):
    page, places = on_map.page, [inside(building(scene, number)) for number in (EDITED, OTHER, THIRD)]
    on_map.click(places[0])
    on_map.wait_count("preview", 1)
    page.keyboard.press("Escape")
    on_map.wait_count("preview", 0)
    revision = notebook.ask("m.session.snapshot.revision")
    # A busy machine may be too slow for it.
    notebook.ask("setattr(m._editing.hover, '_was_slow', True)")
    page.mouse.move(*on_map.on_screen(places[0])[0], steps=3)
    on_map.wait_count("hover-outline", 1)
    x, y = on_map.on_screen(places[0])[0]
    x0, y0, x1, y1 = on_map.paths("hover-outline")[0]
    assert x0 < x < x1
    assert y0 < y < y1
    for theme in ("Light", "Dark"):
        notebook.use_theme(theme)
        notebook.picture(f"edit-5-hover-{theme.lower()}")
    notebook.use_theme("Light")
    assert notebook.ask("m.session.snapshot.revision") == revision
    page.locator(".samgeo-status").hover()
    on_map.wait_count("hover-outline", 0)

    page.keyboard.press("i")
    page.locator(".samgeo-each input:checked").wait_for()
    for number, place in enumerate(places, 1):
        on_map.click(place)
        on_map.wait_count("proposal", number)
    notebook.picture("edit-6-each")
    page.keyboard.press("z")
    on_map.wait_count("proposal", 2)
    on_map.press("accept-all")
    on_map.wait_count("object", 2)
    on_map.wait_count("hover-outline", 0)
