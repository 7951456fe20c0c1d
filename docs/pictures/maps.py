"""Screenshots of the map in JupyterLab, as the tests in ``tests/browser`` drive it; they need Chromium."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import shapely
from drawing import enlarged
from PIL import Image
from registry import SkippedError, folder, picture

from samgeo.synthetic import Scene, town

if TYPE_CHECKING:
    from lab_notebook import Notebook
    from map_page import MapPage

HELPERS = Path(__file__).parents[2] / "tests" / "browser"
SIZE = {"width": 1440, "height": 1100}
WIDTH_PX = 1000


@contextmanager
def open_map(scene: Scene) -> Iterator[tuple[Notebook, MapPage]]:
    """Open a map of a scene in JupyterLab, as a notebook and its map."""
    sys.path.insert(0, str(HELPERS))
    try:
        from lab_notebook import PATIENCE_S, Notebook
        from lab_server import find_browser, jupyterlab
        from map_page import MapPage
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise SkippedError(f"it needs the extra browser ({error})") from None
    finally:
        sys.path.remove(str(HELPERS))
    path = find_browser()
    if path is None:
        raise SkippedError("there is no Chromium; on Debian, apt-get install chromium")
    home, notebooks = folder(), folder()
    image = scene.save(notebooks / "town.tif", overviews=True)
    with jupyterlab(home, notebooks) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        context = browser.new_context(viewport=SIZE)
        context.set_default_timeout(1000 * PATIENCE_S)
        notebook = Notebook(context.new_page(), address, notebooks / "map.ipynb")
        notebook.open()
        notebook.page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
        notebook.run(f"import samgeo\nm = samgeo.Map({str(image)!r}, classes=('house', 'shed'))\nm")
        shown = MapPage(notebook, scene.geobox.crs.proj)
        shown.wait_drawn()
        yield notebook, shown
        notebook.close()
        browser.close()


def screenshot(notebook: Notebook) -> Image.Image:
    """Return a picture of the map with its panel."""
    whole = Image.open(io.BytesIO(notebook.page.locator(".samgeo-map").screenshot())).convert("RGB")
    return enlarged(whole, WIDTH_PX / whole.width)


@picture("map-click.jpg")
def click() -> Image.Image:
    """Draw a click on a roof, and a background click on its neighbour's, which the first answer had included."""
    scene = town((512, 512), seed=2)
    house = scene.footprints.geometry[scene.footprints["id"] == 80].iloc[0]
    with open_map(scene) as (notebook, shown):
        shown.click(house.representative_point().coords[0])
        shown.wait_count("preview", 1)
        first = shown.outline("preview")
        mask = shapely.from_wkt(notebook.ask("m.session.state.candidate.geometry.wkt"))
        too_much = max(shapely.get_parts(mask - house), key=shapely.area)
        shown.press("mode-background")
        shown.click(shapely.maximum_inscribed_circle(too_much).coords[0])
        shown.wait_changed("preview", first)
        return screenshot(notebook)


@picture("map-waiting.jpg")
def waiting() -> Image.Image:
    """Draw masks that wait to be accepted or rejected."""
    with open_map(town((160, 160), seed=2)) as (notebook, shown):
        shown.press("segment")
        notebook.wait_in_page("() => document.querySelectorAll('path.samgeo-proposal').length > 5")
        return screenshot(notebook)


@picture("map-vertices.jpg")
def vertices() -> Image.Image:
    """Draw the handles on the vertices of a roof, one of which is being dragged."""
    scene = town((512, 512), seed=2)
    house = scene.footprints.geometry[scene.footprints["id"] == 80].iloc[0]
    with open_map(scene) as (notebook, shown):
        crs = scene.footprints.crs.to_string()
        # A cell that imports it would replace the output of the one that shows the map.
        given = f"__import__('geopandas').GeoSeries.from_wkt([{house.wkt!r}], crs={crs!r})"
        notebook.ask(f"[m.session.propose({given}), m.session.accept_proposals(), m.session.select(1)] and None")
        shown.wait_count("object", 1)
        near = "m._place.bounds_of(m.session.state.object(1).geometry)"
        notebook.ask(f"[setattr(m.leaflet, 'center', (({near}[0] + {near}[2]) / 2, ({near}[1] + {near}[3]) / 2))] and None")
        notebook.ask("setattr(m.leaflet, 'zoom', m.leaflet.zoom + 2) and None")
        notebook.wait_for(f"m.leaflet.west > {near}[1] - 3 * ({near}[3] - {near}[1])")
        shown.wait_drawn()
        shown.press("mode-vertices")
        notebook.page.locator(".leaflet-container path.samgeo-vertex").first.wait_for()
        x0, y0, x1, y1 = shown.paths("vertex")[0].tolist()
        mouse = notebook.page.mouse
        mouse.move((x0 + x1) / 2, (y0 + y1) / 2)
        mouse.down()
        mouse.move((x0 + x1) / 2 + 30, (y0 + y1) / 2 - 30, steps=4)
        return screenshot(notebook)
