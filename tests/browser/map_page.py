"""The map of a notebook: where places are on the screen, and hands on mouse and buttons."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from lab_notebook import Notebook
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer

_TILE = 256
_EQUATOR_M = 40_075_016.685578488
RED = 128

_DRAWN = """() => {
    const images = [...document.querySelectorAll('.samgeo-leaflet img.leaflet-image-layer')];
    return images.length > 0 && images.every(image => image.complete && image.naturalWidth > 0);
}"""

Place = tuple[float, float]


class MapPage:
    """The one map in a notebook, which the kernel calls ``m``.

    Places are (x, y) in ``crs``.
    """

    def __init__(self, notebook: Notebook, crs: object) -> None:
        self.notebook, self.page = notebook, notebook.page
        self._to_mercator = Transformer.from_crs(crs, 3857, always_xy=True)
        self._to_lonlat = Transformer.from_crs(4326, 3857, always_xy=True)

    def wait_drawn(self) -> None:
        """Wait until a picture of the raster is on the map, and the map is where the kernel thinks that it is."""
        self.page.locator(".leaflet-container").scroll_into_view_if_needed()
        self.notebook.wait_in_page(_DRAWN)

    def wait_size_known(self) -> None:
        """Wait until the kernel knows the width that the map has on the page, which may still change."""
        self.notebook.wait_until(
            lambda: round(self.notebook.ask("m.leaflet.right - m.leaflet.left")) == round(self.frame()["width"]),
            "the width of the map in the kernel is that on the page",
        )

    def frame(self) -> dict[str, float]:
        """The map's rectangle on the page, in pixels."""
        frame = self.page.locator(".leaflet-container").bounding_box()
        assert frame is not None
        return frame

    def on_screen(self, *places: Place) -> NDArray[np.float64]:
        """Pixels of the page, shape (N, 2), from the map's centre and zoom alone."""
        (latitude, longitude), zoom = self.notebook.ask("[list(m.leaflet.center), m.leaflet.zoom]")
        centre = np.array(self._to_lonlat.transform(longitude, latitude))
        mercator = np.array([self._to_mercator.transform(*place) for place in places])
        offset = (mercator - centre) * (1, -1) * _TILE * 2**zoom / _EQUATOR_M
        frame = self.frame()
        middle = np.array([frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2])
        return middle + offset

    def click(self, place: Place, button: str = "left") -> None:
        x, y = self.on_screen(place)[0]
        self.page.mouse.click(x, y, button=button)

    def drag(self, start: Place, end: Place) -> None:
        (x0, y0), (x1, y1) = self.on_screen(start, end)
        self.page.mouse.move(x0, y0)
        self.page.mouse.down()
        self.page.mouse.move(x1, y1, steps=8)
        self.page.mouse.up()

    def press(self, name: str) -> None:
        """Press the button of class ``samgeo-<name>``, as soon as it can be pressed."""
        self.page.locator(f"button.samgeo-{name}").click()

    def paths(self, name: str) -> list[NDArray[np.float64]]:
        """Boxes (x0, y0, x1, y1) on the page of what is drawn as ``samgeo-<name>``, without its stroke."""
        boxes = self.page.locator(f".leaflet-container path.samgeo-{name}").evaluate_all(
            "paths => paths.map(path => { const r = path.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; })"
        )
        return [np.array(box) for box in boxes]

    def outline(self, name: str) -> str:
        """What the one path of ``samgeo-<name>`` draws; it waits for it."""
        return self.page.locator(f".leaflet-container path.samgeo-{name}").first.get_attribute("d") or ""

    def wait_count(self, name: str, count: int) -> None:
        """Wait until so many paths of ``samgeo-<name>`` are there."""
        self.notebook.wait_in_page(
            "([name, count]) => document.querySelectorAll(`.leaflet-container path.samgeo-${name}`).length === count",
            [name, count],
        )

    def wait_changed(self, name: str, before: str) -> None:
        """Wait until the path of ``samgeo-<name>`` is another one."""
        self.notebook.wait_in_page(
            """([name, before]) => {
                const path = document.querySelector(`.leaflet-container path.samgeo-${name}`);
                return path !== null && path.getAttribute('d') !== before;
            }""",
            [name, before],
        )

    def wait_outline(self, name: str, outline: str) -> None:
        """Wait until the path of ``samgeo-<name>`` is this one."""
        self.notebook.wait_in_page(
            "([name, d]) => document.querySelector(`.leaflet-container path.samgeo-${name}`)?.getAttribute('d') === d",
            [name, outline],
        )

    def pixels(self) -> NDArray[np.uint8]:
        """What the map looks like, shape (H, W, 3)."""
        png = self.page.screenshot(clip=self.frame())
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))

    def red_box(self) -> NDArray[np.float64]:
        """The box (x0, y0, x1, y1) on the page of what is red on the map."""
        red, green, _ = np.moveaxis(self.pixels().astype(int), -1, 0)
        rows, columns = np.nonzero(red - green > RED)
        frame = self.frame()
        box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], dtype=np.float64)
        return box + np.array([frame["x"], frame["y"]] * 2)

    def zoom_in(self) -> None:
        """Press the map's own plus, and wait for the sharper picture."""
        zoom, src = self.notebook.ask("m.leaflet.zoom"), self._pictures()
        self.page.locator(".leaflet-control-zoom-in").click()
        self.notebook.wait_for(f"m.leaflet.zoom > {zoom}")
        self.notebook.wait_in_page(
            "old => [...document.querySelectorAll('img.leaflet-image-layer')].some(image => !old.includes(image.src))", src
        )
        self.wait_drawn()

    def _pictures(self) -> list[str]:
        return self.page.locator("img.leaflet-image-layer").evaluate_all("images => images.map(image => image.src)")

    def export(self, path: Path) -> None:
        self.page.locator(".samgeo-export-path input").fill(str(path))
        self.press("export")
