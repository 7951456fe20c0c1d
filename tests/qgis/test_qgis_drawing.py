"""Styles as QGIS itself draws them; these tests need an installed QGIS."""

import geopandas as gpd
import numpy as np
import pytest
from PIL import Image
from shapely.affinity import translate
from shapely.geometry import box

from samgeo.geo.vector import write_vectors
from samgeo.plot import style_layer
from samgeo.plot.colors import UNKNOWN, colors_of
from samgeo.plot.qml import FILL_ALPHA, OUTLINE

pytestmark = [pytest.mark.slow, pytest.mark.qgis]

SIDE, GAP = 20, 10
WHITE = np.array([255, 255, 255])
# The values of each layer, and the column that gives its colours.
LAYERS = {
    "classes": ("class", ["roof & <shed>", 'a "b"', "über", "", None, "it's"]),
    "numbers": ("class", [3, 1, 12, 3, 2, 1]),
    "decimals": ("class", [0.1, 2.0, 1e-7, 12345.678, 0.1, -3.5]),
    "booleans": ("new", [True, False, True, False, True, False]),
    "scores": ("score", [0.1, 1 / 3, 0.25, 0.83, np.nan, 0.5]),
    "whole": ("count", [7, 1000, -3, 1000, 7, 500]),
    "equal": ("score", [0.7, 0.7, 0.7, 0.7, 0.7, 0.7]),
    "outlines": (None, [1, 2, 3, 4, 5, 6]),
}


@pytest.fixture(scope="module")
def drawing(qgis, tmp_path_factory):
    """Draw all layers, a row of squares for each; return the picture, the tables and the kinds of the renderers."""
    path = tmp_path_factory.mktemp("drawing") / "city.gpkg"
    tables = {}
    for row, (name, (column, values)) in enumerate(LAYERS.items()):
        squares = [box(0, 0, SIDE, SIDE) for _ in values]
        at = [translate(one, GAP + index * (SIDE + GAP), GAP + row * (SIDE + GAP)) for index, one in enumerate(squares)]
        tables[name] = gpd.GeoDataFrame({column or "number": values}, geometry=at, crs="EPSG:32633")
        write_vectors(tables[name], path, layer=name)
        if name == "scores":
            with pytest.warns(UserWarning, match="1 of 6 features"):
                style_layer(path, layer=name, column=column)
        else:
            style_layer(path, layer=name, column=column)
    width, height = GAP + 6 * (SIDE + GAP), GAP + len(LAYERS) * (SIDE + GAP)
    sources = [f"{path}|layername={name}" for name in LAYERS]
    scale = 2
    words = ["--size", f"{width * scale},{height * scale}", "--extent", f"0,0,{width},{height}", "--dpi", 300]
    printed = qgis.draw(path.with_suffix(".png"), *sources, *words)
    with Image.open(path.with_suffix(".png")) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)

    def at(x, y):
        return pixels[round(pixels.shape[0] - y * scale), round(x * scale)]

    return at, tables, dict(line.split() for line in printed.splitlines())


def tinted(color):
    """Return a colour of a style over white paper."""
    share = FILL_ALPHA / 255
    return np.array(color) * share + WHITE * (1 - share)


def test_qgis_opens_each_layer_with_its_style(drawing):
    kinds = drawing[2]
    assert {kinds[name] for name in ("classes", "numbers", "decimals", "booleans")} == {"categorizedSymbol"}
    assert {kinds[name] for name in ("scores", "whole", "equal")} == {"graduatedSymbol"}
    assert kinds["outlines"] == "singleSymbol"


@pytest.mark.parametrize("name", LAYERS)
def test_qgis_draws_the_colours_of_a_picture(drawing, name):
    at, tables, _ = drawing
    table, (column, values) = tables[name], LAYERS[name]
    if name in ("scores", "whole", "equal"):
        expected = scale_colors(values)
    elif column is None:
        expected = [OUTLINE for _ in values]
    else:
        # Numbers of classes are names.
        expected = colors_of(table.astype({column: str}) if name in ("numbers", "decimals") else table, column)
        # The empty text is, for QGIS, a value without a category.
        expected = [UNKNOWN if value in ("", None) else color for value, color in zip(values, expected, strict=True)]
    for index, color in enumerate(expected):
        x0, y0, x1, y1 = table.geometry[index].bounds
        inside, edge = at((x0 + x1) / 2, (y0 + y1) / 2), at((x0 + x1) / 2, y0)
        if color is None:
            np.testing.assert_array_equal(inside, WHITE)
            np.testing.assert_array_equal(edge, WHITE)
            continue
        np.testing.assert_allclose(inside, WHITE if column is None else tinted(color), atol=3, err_msg=f"{name} {index}")
        np.testing.assert_allclose(edge, color, atol=3, err_msg=f"{name} {index}")


def scale_colors(values):
    """Return the colours of five equal intervals, of which each has its upper bound; None where there is no number."""
    from samgeo.plot.colors import ramp

    numbers = np.array(values, dtype=float)
    least, greatest = np.nanmin(numbers), np.nanmax(numbers)
    if least == greatest:
        return list(ramp(np.zeros(1))) * len(values)
    colors = list(ramp(np.arange(5.0)))
    place = np.ceil((numbers - least) / (greatest - least) * 5) - 1
    return [None if np.isnan(one) else colors[int(max(one, 0))] for one in place]
