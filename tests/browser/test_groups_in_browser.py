"""The groups of outlines, classes and files, and the table of all objects, in the browser."""

import pytest
from map_page import MapPage
from test_look_in_browser import _CONTRASTS, _OVERFLOWS, CONTRAST

from samgeo.synthetic import town

pytestmark = pytest.mark.browser

COUNT = 5_000
WIDTHS = (1440, 820, 520)
THEMES = ("Light", "Dark")

# A map with so many accepted squares, all in one view.
CELL = """import geopandas, numpy, shapely
import samgeo
m = samgeo.Map({image!r}, classes=('roof', 'road'))
x, y = (part.ravel() for part in numpy.meshgrid(numpy.arange(100) * 5.0, numpy.arange({count} // 100) * 5.0))
affine = m.session.predictor.raster.geobox.affine.to_shapely()
squares = [shapely.affinity.affine_transform(shapely.box(a, b, a + 3, b + 3), affine) for a, b in zip(x, y)]
frame = geopandas.GeoDataFrame({{'predicted_iou': numpy.arange({count}) / {count}}}, geometry=squares,
                               crs=m.session.predictor.raster.geobox.crs.proj)
m.session.propose(frame)
m.session.accept_proposals()
m"""

_ROWS = "() => [...document.querySelectorAll('.samgeo-table tr[data-samgeo-id]')].map(row => Number(row.dataset.samgeoId))"


@pytest.fixture(scope="module")
def scene():
    return town((512, 512), seed=2)


@pytest.fixture
def image(scene, tmp_path):
    return scene.save(tmp_path / "town.tif", overviews=True)


def test_the_open_groups_are_readable_and_nothing_is_wider_than_the_panel(notebook, scene, image):
    notebook.run(f"import samgeo\nm = samgeo.Map({str(image)!r}, classes=('roof', 'road', 'tree'), height=900)\nm")
    on_map = MapPage(notebook, scene.geobox.crs.proj)
    on_map.wait_drawn()
    page = on_map.page
    page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    page.locator("button.samgeo-edit-classes").click()
    page.locator(".samgeo-class-name input").fill("pond")
    page.locator("button.samgeo-add-class").click()
    notebook.wait_for("m.session.classes[-1] == 'pond'")
    page.locator("button.samgeo-fold").click()
    page.locator("button.samgeo-browse").click()
    page.locator(".samgeo-files option").first.wait_for(state="attached")
    building = scene.footprints[scene.footprints["id"] == 100].geometry.iloc[0].representative_point()
    on_map.click((building.x, building.y))
    on_map.wait_count("preview", 1)
    before = on_map.outline("preview")
    page.get_by_label("right angles").check()
    on_map.wait_changed("preview", before)
    notebook.wait_for("m.session.clean.regularize")
    on_map.press("accept")
    on_map.wait_count("object", 1)
    weak = {}
    for theme in THEMES:
        notebook.use_theme(theme)
        weak[theme] = [(text, round(contrast, 2)) for text, contrast in page.evaluate(_CONTRASTS) if contrast < CONTRAST]
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 1400})
            on_map.wait_size_known()
            notebook.picture(f"groups-{theme.lower()}-{width}")
            # With all groups open, the panel beside the map may scroll; so may the list of files.
            may = ("samgeo-files", "samgeo-panel") if width == WIDTHS[0] else ("samgeo-files",)
            scrolls = [name for name in page.evaluate(_OVERFLOWS) if name and not any(one in name for one in may)]
            assert scrolls == [], (theme, width)
    assert weak == {"Light": [], "Dark": []}
    page.set_viewport_size({"width": WIDTHS[0], "height": 1100})
    notebook.use_theme("Light")


def test_the_table_has_thousands_of_rows_and_few_of_them_in_the_page(notebook, scene, image):
    notebook.run(CELL.format(image=str(image), count=COUNT))
    on_map = MapPage(notebook, scene.geobox.crs.proj)
    on_map.wait_drawn()
    page = on_map.page
    rows = page.locator(".samgeo-table-rows")
    notebook.wait_in_page(f"() => document.querySelector('.samgeo-table [data-samgeo-id=\"{COUNT}\"]') !== null")
    assert len(page.evaluate(_ROWS)) < 60
    assert page.locator(".samgeo-table-caption").inner_text() == f"{COUNT:,} accepted"
    height = rows.evaluate("one => one.scrollHeight")
    assert abs(height - 20 * (COUNT + 1)) < 5
    rows.evaluate("one => { one.scrollTop = one.scrollHeight / 2; }")
    notebook.wait_in_page(f"() => document.querySelector('.samgeo-table [data-samgeo-id=\"{COUNT // 2}\"]') !== null")
    assert len(page.evaluate(_ROWS)) < 60
    page.locator(".samgeo-sort", has_text="id").click()
    page.locator(".samgeo-table th[aria-sort=ascending]", has_text="id").wait_for()
    rows.evaluate("one => { one.scrollTop = 0; }")
    notebook.wait_in_page("() => document.querySelector('.samgeo-table [data-samgeo-id=\"1\"]') !== null")
    notebook.picture("groups-table")
    zoom = notebook.ask("m.leaflet.zoom")
    page.locator(".samgeo-table tr[data-samgeo-id='3']").click()
    notebook.wait_for(f"m.session.state.selected == 3 and m.leaflet.zoom > {zoom}")
    page.locator(".samgeo-table tr.samgeo-chosen[data-samgeo-id='3']").wait_for()
    # An object that is selected elsewhere is brought into view in the table.
    notebook.ask(f"m.session.select({COUNT - 5}) and None")
    page.locator(f".samgeo-table tr.samgeo-chosen[data-samgeo-id='{COUNT - 5}']").wait_for()
    assert len(page.evaluate(_ROWS)) < 60
