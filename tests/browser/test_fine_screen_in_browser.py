"""The map on a screen with two pixels for each of the page's, as many laptops have."""

import io

import numpy as np
import pytest
import rasterio
from lab_notebook import VIEWPORT
from map_page import MapPage
from PIL import Image

pytestmark = pytest.mark.browser

RATIO = 2
SIDE = 1100
ZOOM = 18
# At this zoom a pixel of the raster is one of the screen, half of one of the page.
PIXEL_M = 40_075_016.685578488 / 256 / 2**ZOOM / RATIO


@pytest.fixture(scope="module")
def screen():
    return {"viewport": VIEWPORT, "device_scale_factor": RATIO}


@pytest.fixture
def grain(tmp_path):
    """A raster in which each pixel is as dark as chance has it."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8)
    affine = rasterio.Affine(PIXEL_M, 0, 1_500_000, 0, -PIXEL_M, 6_800_000)
    path = tmp_path / "grain.tif"
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 1, "dtype": "uint8", "crs": "EPSG:3857"}
    with rasterio.open(path, "w", **profile, transform=affine) as dataset:
        dataset.write(pixels, 1)
    return path, pixels, affine


def shown_at(page, frame):
    """What the screen shows in a part of the page, a value a pixel of the screen."""
    shot = Image.open(io.BytesIO(page.screenshot(clip=frame)))
    return np.asarray(shot.convert("L")).astype(float)


def likeness(one, other):
    return np.corrcoef(one.ravel(), other.ravel())[0, 1]


def test_every_pixel_of_the_screen_is_drawn(notebook, grain):
    path, pixels, affine = grain
    notebook.run(f"import samgeo\nm = samgeo.Map({str(path)!r})\nm")
    on_map = MapPage(notebook, "EPSG:3857")
    on_map.wait_drawn()
    notebook.wait_for(f"m.leaflet.zoom == {ZOOM}")
    notebook.wait_in_page(
        """ratio => [...document.querySelectorAll('img.leaflet-image-layer')].some(
            image => Math.abs(image.naturalWidth - ratio * image.width) < ratio)""",
        RATIO,
    )
    notebook.picture("fine-screen")
    side = 300
    ((x, y),) = on_map.on_screen(affine * (SIDE / 2, SIDE / 2))
    shown = shown_at(on_map.page, {"x": round(x), "y": round(y), "width": side // RATIO, "height": side // RATIO})
    assert shown.shape == (side, side)
    # The map rests on pixels of the page: the raster may lie a pixel or two of the screen aside.
    start = SIDE // 2
    best = max(
        likeness(shown, pixels[start + dy : start + dy + side, start + dx : start + dx + side].astype(float))
        for dy in range(-3, 4)
        for dx in range(-3, 4)
    )
    assert best > 0.7
