"""The look of the map: no scrollbars and readable text at three widths and in both themes; keys and mouse in the browser."""

import pytest
from map_page import MapPage

from samgeo.synthetic import town

pytestmark = pytest.mark.browser

WIDTHS = (1440, 820, 520)
BUILDING, OTHER = 80, 100
CONTRAST = 4.5

# The contrast of WCAG 2 of each text with the surface below it. Texts on the picture of the raster have a surface of their own.
_CONTRASTS = """() => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const rgba = color => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
    const surface = element => {
        const layers = [];
        let opacity = 1;
        for (let one = element; one; one = one.parentElement) layers.push(rgba(getComputedStyle(one).backgroundColor));
        return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
    };
    const luminance = color => {
        const [r, g, b] = color.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const opacityOf = element => element ? Number(getComputedStyle(element).opacity) * opacityOf(element.parentElement) : 1;
    const root = document.querySelector('.samgeo-map');
    const found = [];
    for (const element of root.querySelectorAll('*')) {
        const texts = [...element.childNodes].filter(node => node.nodeType === 3 && node.data.trim());
        const isField = element.matches('input:not([type=checkbox]), option');
        const text = isField ? element.value : texts.map(node => node.data.trim()).join(' ');
        if (!text || !element.checkVisibility({visibilityProperty: true})) continue;
        const below = surface(element), color = rgba(getComputedStyle(element).color);
        color[3] *= opacityOf(element);
        const [light, dark] = [luminance(over(color, below)), luminance(below)].sort((a, b) => b - a);
        found.push([text.slice(0, 30), (light + 0.05) / (dark + 0.05)]);
    }
    return found;
}"""

# Elements that scroll, and elements that are wider than the map.
_OVERFLOWS = """() => {
    const root = document.querySelector('.samgeo-map'), right = root.getBoundingClientRect().right + 1;
    return [...root.querySelectorAll('*')].filter(element => {
        if (element.closest('.leaflet-container') || !element.checkVisibility()) return false;
        const style = getComputedStyle(element);
        const scrolls = (over, whole, seen) => ['auto', 'scroll'].includes(over) && whole > seen + 1;
        return scrolls(style.overflowX, element.scrollWidth, element.clientWidth)
            || scrolls(style.overflowY, element.scrollHeight, element.clientHeight)
            || element.getBoundingClientRect().right > right;
    }).map(element => element.className);
}"""

_ZOOMS = "() => document.querySelector('.samgeo-leaflet .leaflet-proxy').style.transform"


@pytest.fixture(scope="module")
def scene():
    return town((512, 512), seed=2)


@pytest.fixture
def on_map(notebook, scene, tmp_path):
    image = scene.save(tmp_path / "town.tif", overviews=True)
    notebook.run(f"import samgeo\nm = samgeo.Map({str(image)!r}, classes=('roof', 'road', 'tree'))\nm")
    shown = MapPage(notebook, scene.geobox.crs.proj)
    shown.wait_drawn()
    return shown


def place(scene, number):
    point = scene.footprints[scene.footprints["id"] == number].geometry.iloc[0].representative_point()
    return point.x, point.y


def test_text_is_readable_and_nothing_scrolls_at_three_widths_and_in_both_themes(on_map, scene, notebook):
    page = on_map.page
    page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    on_map.click(place(scene, OTHER))
    on_map.wait_count("preview", 1)
    on_map.press("accept")
    on_map.wait_count("object", 1)
    on_map.click(place(scene, BUILDING))
    on_map.wait_count("preview", 1)
    notebook.ask("m.session.select(1) and None")
    page.locator(".samgeo-group-selected").wait_for()
    page.keyboard.press("?")
    page.locator(".samgeo-keys").wait_for()
    weak = {}
    for theme in ("Light", "Dark"):
        notebook.use_theme(theme)
        contrasts = page.evaluate(_CONTRASTS)
        assert len(contrasts) > 50
        weak[theme] = [(text, round(contrast, 2)) for text, contrast in contrasts if contrast < CONTRAST]
        notebook.ask("m.drawing.tell('an error', is_error=True)")
        page.locator(".samgeo-error").wait_for()
        weak[theme] += [one for one in page.evaluate(_CONTRASTS) if one[1] < CONTRAST and one[0] == "an error"]
        notebook.ask("m.drawing.tell('no error')")
        notebook.picture(f"look-{theme.lower()}")
    assert weak == {"Light": [], "Dark": []}
    page.keyboard.press("?")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 1100})
        is_beside = width == WIDTHS[0]
        notebook.wait_in_page(
            """isBeside => {
                const frame = name => document.querySelector(name).getBoundingClientRect();
                const map = frame('.samgeo-leaflet'), panel = frame('.samgeo-panel');
                if (isBeside) return panel.left >= map.right && panel.top === map.top;
                return panel.top >= map.bottom && panel.left === map.left;
            }""",
            is_beside,
        )
        # The picture fills the map at its new size: the kernel knows the size.
        on_map.wait_size_known()
        assert page.evaluate(_OVERFLOWS) == [], width
        notebook.picture(f"look-{width}")
    page.set_viewport_size({"width": WIDTHS[0], "height": 1100})
    on_map.wait_size_known()
    # The map may become narrower while the window does not.
    page.evaluate("() => { document.querySelector('.samgeo-map').style.width = '300px'; }")
    notebook.wait_in_page("() => document.querySelector('.samgeo-leaflet').clientWidth <= 300")
    on_map.wait_size_known()
    page.evaluate("() => { document.querySelector('.samgeo-map').style.width = ''; }")
    notebook.use_theme("Light")


def test_keys_and_the_mouse_that_the_browser_handles(on_map, scene, notebook):
    page = on_map.page
    x, y = on_map.on_screen(place(scene, BUILDING))[0]
    # The wheel scrolls the page until the map has been clicked into.
    before = page.evaluate(_ZOOMS)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -120)
    page.locator(".samgeo-map.samgeo-wheel-hint").wait_for()
    assert page.evaluate(_ZOOMS) == before
    page.locator(".leaflet-container").scroll_into_view_if_needed()
    x, y = on_map.on_screen(place(scene, BUILDING))[0]
    page.mouse.dblclick(x, y)
    on_map.wait_count("preview", 1)
    notebook.wait_for("m.drawing.panel.status.value.startswith('candidate')")
    assert notebook.ask("len(m.session.state.prompt.marks)") == 1
    shapes = page.locator(".leaflet-overlay-pane > svg").first
    page.keyboard.down("h")
    assert shapes.evaluate("one => getComputedStyle(one).visibility") == "hidden"
    page.keyboard.up("h")
    assert shapes.evaluate("one => getComputedStyle(one).visibility") == "visible"
    page.keyboard.press("?")
    page.locator(".samgeo-keys").wait_for()
    page.keyboard.press("Escape")
    page.locator(".samgeo-keys").wait_for(state="hidden")
    assert notebook.ask("len(m.session.state.prompt.marks)") == 1
    zoom = notebook.ask("m.leaflet.zoom")
    page.mouse.wheel(0, -240)
    notebook.wait_for(f"m.leaflet.zoom > {zoom}")
    page.locator("button.samgeo-home").click()
    notebook.wait_for(f"m.leaflet.zoom == {zoom}")
    page.locator("button.samgeo-fullscreen").click()
    notebook.wait_in_page("() => document.fullscreenElement === document.querySelector('.samgeo-map')")
    notebook.picture("look-fullscreen")
    page.locator("button.samgeo-fullscreen").click()
    notebook.wait_in_page("() => document.fullscreenElement === null")
    notebook.ask("setattr(m.drawing.panel._opacities['shapes'], 'value', 0.25)")
    notebook.wait_in_page("() => getComputedStyle(document.querySelector('.leaflet-overlay-pane > svg')).opacity === '0.25'")
    # The cell runs again: its earlier map is closed, with all of its widgets and threads.
    notebook.ask("globals().update(earlier=m)")
    notebook.run()
    on_map.wait_drawn()
    notebook.wait_for("earlier is not m and earlier.widget.comm is None and not earlier._views._running")
    assert (
        notebook.ask("sum(type(one).__name__ == 'Map' for one in __import__('ipywidgets').widgets.widget._instances.values())")
        == 1
    )
    notebook.ask("setattr(m.drawing.panel._layers['raster'], 'value', False)")
    notebook.wait_in_page(
        "() => [...document.querySelectorAll('img.leaflet-image-layer')].every(one => one.style.opacity === '0')"
    )
