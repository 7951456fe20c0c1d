"""The map in JupyterLab, in a real browser: what an analyst does, and what is then on disk."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from map_page import MapPage

from samgeo.synthetic import town

pytestmark = pytest.mark.browser

CLASSES = ("house", "shed")
CLICKED, BOXED, ANOTHER = 80, 100, 98  # buildings of the town; one click on the first takes some of its neighbour too


@pytest.fixture(scope="module")
def scene():
    return town((512, 512), seed=2)


@pytest.fixture
def open_map(notebook, tmp_path):
    """Open a map of a town, with more keyword arguments if they are given."""

    def open_it(shown, **options):
        image = shown.save(tmp_path / "town.tif", overviews=True)
        arguments = ", ".join([repr(str(image)), *(f"{name}={value!r}" for name, value in options.items())])
        notebook.run(f"import samgeo\nm = samgeo.Map({arguments}, classes={CLASSES})\nm")
        on_map = MapPage(notebook, shown.geobox.crs.proj)
        on_map.wait_drawn()
        return on_map

    return open_it


def building(scene, number):
    row = scene.footprints[scene.footprints["id"] == number]
    return row.geometry.iloc[0]


def inside(polygon):
    point = polygon.representative_point()
    return point.x, point.y


def beside(mask, polygon):
    """The place that a mask has deepest beside a polygon."""
    too_much = max(shapely.get_parts(mask - polygon), key=shapely.area)
    assert too_much.area > 10, "one click finds this building: the cut needs another, that one click does not"
    return shapely.maximum_inscribed_circle(too_much).coords[0]


def candidate(notebook):
    return shapely.from_wkt(notebook.ask("m.session.state.candidate.geometry.wkt"))


def iou(one, other):
    return shapely.area(one & other) / shapely.area(one | other)


def corners(polygon, margin_m=0.6):
    west, south, east, north = polygon.bounds
    return (west - margin_m, north + margin_m), (east + margin_m, south - margin_m)


def test_click_cut_undo_box_accept_export_and_go_on(open_map, notebook, scene, tmp_path):
    clicked, boxed, another = (building(scene, number) for number in (CLICKED, BOXED, ANOTHER))
    autosave, exported = tmp_path / "kept.gpkg", tmp_path / "exported.gpkg"
    on_map = open_map(scene, autosave=str(autosave))
    assert on_map.pixels().std(axis=(0, 1)).min() > 10, "nothing but one colour where the town should be"
    notebook.picture("1-open")

    on_map.click(inside(clicked))
    on_map.wait_count("preview", 1)
    x, y = on_map.on_screen(inside(clicked))[0]
    x0, y0, x1, y1 = on_map.paths("preview")[0]
    assert x0 < x < x1
    assert y0 < y < y1
    notebook.picture("2-clicked")

    whole = on_map.outline("preview")
    too_much = beside(candidate(notebook), clicked)
    on_map.press("mode-background")
    on_map.click(too_much)
    on_map.wait_changed("preview", whole)
    cut = on_map.outline("preview")
    assert not shapely.contains_xy(candidate(notebook), *too_much)
    notebook.picture("3-cut")
    on_map.press("undo")
    on_map.wait_outline("preview", whole)
    on_map.press("redo")
    on_map.wait_outline("preview", cut)
    on_map.press("class-1")
    on_map.press("accept")
    on_map.wait_count("object", 1)

    on_map.press("mode-box")
    on_map.drag(*corners(boxed))
    on_map.wait_count("preview", 1)
    notebook.picture("4-boxed")
    on_map.press("class-0")
    on_map.press("accept")
    on_map.wait_count("object", 2)
    on_map.wait_count("preview", 0)
    on_map.export(exported)
    notebook.wait_in_page("() => document.querySelector('.samgeo-status').innerText.includes('exported.gpkg')")
    notebook.picture("5-accepted")

    for path in (exported, autosave):
        frame = gpd.read_file(path).to_crs(scene.footprints.crs)
        assert list(frame["class"]) == ["shed", "house"]
        assert iou(frame.geometry[0], clicked) > 0.75
        assert iou(frame.geometry[1], boxed) > 0.75

    notebook.reload()
    on_map.wait_drawn()
    on_map.wait_count("object", 2)
    on_map.press("mode-foreground")
    on_map.click(inside(another))
    on_map.wait_count("preview", 1)
    notebook.picture("6-page-loaded-again")

    notebook.restart()
    on_map.wait_drawn()
    on_map.wait_count("object", 2)
    assert on_map.page.locator(".samgeo-table tr[data-samgeo-id]").count() == 2
    on_map.click(inside(another))
    on_map.wait_count("preview", 1)
    on_map.press("accept")
    on_map.wait_count("object", 3)
    notebook.picture("7-kernel-restarted")
    frame = gpd.read_file(autosave).to_crs(scene.footprints.crs)
    assert list(frame["class"]) == ["shed", "house", "house"]
    assert frame["id"].is_unique
    assert iou(frame.geometry[2], another) > 0.75


def test_right_click_is_background_and_keys_stay_on_the_map(open_map, notebook, scene):
    clicked = building(scene, CLICKED)
    on_map = open_map(scene)
    page = on_map.page
    on_map.click(inside(clicked))
    on_map.wait_count("preview", 1)
    whole = on_map.outline("preview")
    on_map.click(beside(candidate(notebook), clicked), button="right")
    on_map.wait_changed("preview", whole)
    assert notebook.ask("[point.label for point in m.session.state.prompt.points]") == [1, 0]
    assert page.locator(".lm-Menu").count() == 0

    # In a notebook that has the focus, x cuts the cell, a adds one, and z takes the last change of cells back.
    cells = page.locator(".jp-Notebook-cell").count()
    page.keyboard.press("z")
    on_map.wait_outline("preview", whole)
    page.keyboard.press("2")
    page.keyboard.press("a")
    on_map.wait_count("object", 1)
    page.keyboard.press("x")
    page.locator("button.samgeo-mode-box.mod-info").wait_for()
    assert notebook.ask("[one.class_name for one in m.session.state.objects]") == ["shed"]
    assert page.locator(".jp-Notebook-cell").count() == cells


def test_the_picture_and_polygons_lie_on_each_other(notebook, tmp_path):
    crs, pixel_m, side = "EPSG:32734", 0.3, 600
    affine = rasterio.Affine(pixel_m, 0, 311_200, 0, -pixel_m, 6_243_800)
    yard = shapely.transform(shapely.box(200, 300, 260, 380), lambda xy: np.stack(affine * xy.T, axis=-1))
    pixels = np.zeros((3, side, side), np.uint8)
    pixels[0, 300:380, 200:260] = 255
    image, vectors = tmp_path / "yard.tif", tmp_path / "yard.gpkg"
    with rasterio.open(
        image, "w", driver="GTiff", width=side, height=side, count=3, dtype="uint8", crs=crs, transform=affine
    ) as dataset:
        dataset.write(pixels)
    gpd.GeoDataFrame(geometry=[yard], crs=crs).to_file(vectors)
    notebook.run(f"import samgeo\nm = samgeo.Map({str(image)!r})\nm")
    on_map = MapPage(notebook, crs)
    on_map.wait_drawn()

    def check():
        red = on_map.red_box()
        notebook.ask(f"m.add({str(vectors)!r})")
        on_map.wait_count("proposal", 1)
        (drawn,) = on_map.paths("proposal")
        np.testing.assert_allclose(drawn, red, atol=1.5)
        on_map.press("reject-all")
        on_map.wait_count("proposal", 0)

    check()
    for _ in range(2):
        on_map.zoom_in()
        check()


def test_segment_what_is_in_view(open_map, notebook):
    on_map = open_map(town((160, 160), seed=2))
    on_map.press("segment")
    notebook.wait_in_page("() => document.querySelectorAll('path.samgeo-proposal').length > 5")
    notebook.picture("8-proposals")
    count = len(on_map.paths("proposal"))
    on_map.press("accept-all")
    notebook.wait_for("len(m.accepted)")
    covered = notebook.ask("len(m.session.state.proposals)")  # masks of which the others leave nothing
    on_map.wait_count("object", count - covered)
    notebook.picture("9-all-accepted")
    assert notebook.ask("len(m.accepted)") == count - covered > 5
