"""The first ten minutes with the map, in a real browser: from a raster to a saved file, and from that file in a new session."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from map_page import MapPage

from samgeo.synthetic import town

pytestmark = pytest.mark.browser

CLASSES = ("house", "shed")
CLICKED = 80
"""A building; one click on it takes some of its neighbour too."""

HEIGHTS = {520: 1750, 820: 1400, 1440: 1000}
"""Heights of the page at which the map and all of its panel are seen, by its width."""

LOOKS = [(520, "Dark"), (820, "Light"), (1440, "Dark")]
MORE_LOOKS = [(520, "Light"), (820, "Dark"), (1440, "Light")]

_CLASSES_DRAWN = "() => [...document.querySelectorAll('path.samgeo-object')].map(path => path.getAttribute('fill')).sort()"


@pytest.fixture(scope="module")
def scene():
    return town((512, 512), seed=2)


@pytest.fixture(params=[*LOOKS, *(pytest.param(one, marks=pytest.mark.slow) for one in MORE_LOOKS)], ids="{0[0]}-{0[1]}".format)
def look(request, notebook):
    """A width of the page and a theme."""
    width, theme = request.param
    page = notebook.page
    if page.locator("body.jp-mod-leftCollapsed, .jp-SideBar.jp-mod-left .lm-mod-current").count():
        page.evaluate("() => jupyterapp.shell.collapseLeft()")
    notebook.use_theme(theme)
    page.set_viewport_size({"width": width, "height": HEIGHTS[width]})
    yield f"journey-{width}-{theme.lower()}"
    page.set_viewport_size({"width": 1440, "height": 1100})
    notebook.use_theme("Light")


def inside(polygon):
    point = polygon.representative_point()
    return point.x, point.y


def outline(notebook, expression):
    return shapely.from_wkt(notebook.ask(f"{expression}.geometry.wkt"))


def middles(boxes):
    return [((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in boxes]


def test_ten_minutes(look, notebook, scene, tmp_path):
    page, saved = notebook.page, tmp_path / "roofs.gpkg"
    image = scene.save(tmp_path / "town.tif", overviews=True)
    house = scene.footprints[scene.footprints["id"] == CLICKED].geometry.iloc[0]
    on_map = MapPage(notebook, scene.geobox.crs.proj)
    step = iter(range(1, 100))

    def seen(name):
        page.mouse.move(2, 2)
        notebook.picture(f"{look}-{next(step):02}-{name}")

    notebook.run(f"import samgeo\nm = samgeo.Map({str(image)!r}, classes={CLASSES})\nm")
    on_map.wait_drawn()
    seen("open")

    # A click on a roof takes a part of its neighbour, which a right click there removes.
    on_map.click(inside(house))
    on_map.wait_count("preview", 1)
    whole = on_map.outline("preview")
    seen("clicked")
    too_much = max(shapely.get_parts(outline(notebook, "m.session.state.candidate") - house), key=shapely.area)
    on_map.click(shapely.maximum_inscribed_circle(too_much).coords[0], button="right")
    on_map.wait_changed("preview", whole)
    cut = on_map.outline("preview")
    seen("corrected")
    # The page may still show the buttons of the answer before: the session knows how many candidates there are.
    if notebook.ask("len(m.session.state.answer.offers)") > 1:
        on_map.press("candidate-1")
        on_map.wait_changed("preview", cut)
        on_map.press("candidate-0")
        on_map.wait_outline("preview", cut)
    on_map.press("class-1")
    on_map.press("accept")
    on_map.wait_count("object", 1)
    on_map.wait_count("preview", 0)
    seen("accepted")

    # The layer of accepted objects is hidden, and shown again.
    on_map.press("layers")
    page.get_by_label("accepted", exact=True).uncheck()
    on_map.wait_count("object", 0)
    seen("hidden")
    page.get_by_label("accepted", exact=True).check()
    on_map.wait_count("object", 1)
    on_map.press("layers")

    # Of the roofs that are found, two are accepted with one click each, and one is rejected with a right click.
    on_map.press("find")
    page.locator("button.samgeo-stop").wait_for()
    seen("searching")
    notebook.wait_in_page("() => document.querySelectorAll('path.samgeo-proposal').length > 5")
    page.locator("button.samgeo-mode-select.mod-info").wait_for()
    page.locator("button.samgeo-stop").wait_for(state="hidden")
    seen("found")
    on_map.press("class-0")
    waiting = notebook.ask("[[one.id, one.geometry.wkt] for one in m.session.state.proposals]")
    whole_in_view = sorted(((number, shapely.from_wkt(wkt)) for number, wkt in waiting), key=lambda one: -one[1].area)
    (first, one), (second, two), (third, three) = whole_in_view[:3]
    on_map.click(inside(one))
    on_map.wait_count("object", 2)
    on_map.click(inside(two), button="right")
    on_map.wait_count("proposal", len(waiting) - 2)
    on_map.click(inside(three))
    on_map.wait_count("object", 3)
    assert notebook.ask("[one.id for one in m.session.state.objects]")[1:] == [first, third]
    assert second not in notebook.ask("[one.id for one in m.session.state.proposals]")
    seen("some accepted, one rejected")
    on_map.press("reject-all")
    on_map.wait_count("proposal", 0)

    # A vertex of an accepted object is dragged.
    on_map.click(inside(one))
    on_map.wait_count("selected", 1)
    seen("selected")
    on_map.press("mode-vertices")
    page.locator("path.samgeo-vertex").first.wait_for()
    page.locator(".leaflet-container").scroll_into_view_if_needed()
    before = outline(notebook, f"m.session.state.object({first})")
    seen("vertices")
    places = np.array(middles(on_map.paths("vertex")))
    centre = on_map.on_screen(inside(before))[0]
    start = places[0]
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*(start + (start - centre) * 0.5), steps=4)
    notebook.picture(f"{look}-{next(step):02}-dragging")
    page.mouse.up()
    notebook.wait_for(f"m.session.state.object({first}).edited")
    assert outline(notebook, f"m.session.state.object({first})").area > before.area
    page.keyboard.press("Enter")
    page.locator("button.samgeo-mode-select.mod-info").wait_for()
    on_map.wait_count("vertex", 0)

    on_map.export(saved)
    notebook.wait_in_page("() => document.querySelector('.samgeo-status').innerText.includes('roofs.gpkg')")
    seen("exported")
    drawn = page.evaluate(_CLASSES_DRAWN)
    kept = notebook.ask("[[one.id, one.class_name, one.edited, one.geometry.wkt] for one in m.session.state.objects]")
    assert [name for _, name, _, _ in kept] == ["shed", "house", "house"]
    assert list(gpd.read_file(saved)["class"]) == ["shed", "house", "house"]

    # Another day: a new kernel, and a map that starts with the file.
    notebook.restart(f"import samgeo\nm = samgeo.Map({str(image)!r}, autosave={str(saved)!r})\nm")
    on_map.wait_drawn()
    on_map.wait_count("object", 3)
    notebook.wait_in_page("() => document.querySelectorAll('.samgeo-table tr[data-samgeo-id]').length === 3")
    again = notebook.ask("[[one.id, one.class_name, one.edited, one.geometry.wkt] for one in m.session.state.objects]")
    assert [one[:3] for one in again] == [one[:3] for one in kept]
    assert all(shapely.from_wkt(one[3]).equals(shapely.from_wkt(other[3])) for one, other in zip(again, kept, strict=True))
    assert page.evaluate(_CLASSES_DRAWN) == drawn
    seen("opened again")
