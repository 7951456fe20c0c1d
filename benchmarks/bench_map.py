"""The map in a browser: from a click to its polygon on the screen, and from a move to the view drawn.

python benchmarks/bench_map.py [--clicks 60] [--moves 20] [--side 100000]
python benchmarks/bench_map.py --objects 5000 [--accepts 10]

Needs the extras browser and map, and Chromium. The embeddings are made before the first click. The huge raster is a sparse
GeoTIFF with overviews and generated towns in it.

With ``--objects`` so many roofs are accepted before, with outlines along the edges of pixels, and all are in view. Measured
are the frames a second while the mouse moves the map, and the time from accept to the polygon on the screen.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import psutil
import rasterio
import shapely
from _skip import skip
from rasterio.enums import Resampling
from rasterio.features import rasterize, shapes
from rasterio.windows import Window

import samgeo
from samgeo.models import keep_freed_memory
from samgeo.synthetic import Scene, town

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "browser"))
from lab_notebook import Notebook
from lab_server import find_browser, jupyterlab
from map_page import MapPage

keep_freed_memory()  # as the command line does

VIEWPORT = {"width": 1440, "height": 1100}
TOWN = 1024
_MARKS = {"kernel": "ipykernel", "JupyterLab": "-m jupyterlab", "browser": "--no-sandbox"}
BLOCK = 512

# A frame is painted right after the callbacks for it: a message posted in one of those comes when it is done.
_WATCH = """([event, selector, attribute]) => {
    window.bench = {start: null, taken: []};
    const drawn = new WeakMap();
    const painted = new MessageChannel();
    painted.port1.onmessage = () => {
        if (bench.start === null) return;
        bench.taken.push(performance.now() - bench.start);
        bench.start = null;
    };
    const see = () => requestAnimationFrame(() => painted.port2.postMessage(null));
    document.addEventListener(event, e => { bench.start = e.timeStamp; }, {capture: true});
    const look = (nodes) => {
        for (const node of nodes) {
            const value = node.getAttribute(attribute);
            if (!value || value === 'M0 0' || drawn.get(node) === value) continue;
            drawn.set(node, value);
            if (node.tagName === 'IMG') node.decode().then(see, () => {}); else see();
        }
    };
    look(document.querySelectorAll(selector));
    // Thousands of shapes that did not change are not looked at.
    const changed = records => new Set(records.flatMap(({target, addedNodes}) => [target, ...addedNodes])
        .flatMap(node => node.matches ? [...(node.matches(selector) ? [node] : []), ...node.querySelectorAll(selector)] : []));
    new MutationObserver(records => look(changed(records))).observe(document.querySelector('.leaflet-container'),
        {subtree: true, childList: true, attributes: true, attributeFilter: [attribute]});
}"""

# In each frame the mouse is at another place, and the element under it gets an event, as from a hand that drags: a driver from
# outside waits for each event, and the map would stand still in most frames.
_FRAMES = """([x, y, radius, count]) => new Promise(resolve => {
    const times = [];
    const tick = time => {
        times.push(time);
        if (times.length > count) return resolve(times);
        const along = 2 * Math.PI * times.length / count;
        const at = {clientX: x + radius * Math.sin(along), clientY: y + radius * (1 - Math.cos(along)) / 2};
        const under = document.elementFromPoint(at.clientX, at.clientY);
        under.dispatchEvent(new MouseEvent('mousemove', {...at, bubbles: true, buttons: 1}));
        requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
})"""
PAN_FRAMES, PAN_PX = 240, 120

_ACCEPTED = """import geopandas, samgeo
m = samgeo.Map({image!r}, autosave={autosave!r})
m.session.propose(geopandas.read_file({outlines!r}))
m.session.accept_proposals()
m"""

# What the kernel holds once the model has worked, without a raster.
_ALONE = """import numpy, psutil, samgeo
model = samgeo.load_model("tiny")
model.embed(numpy.zeros((1, model.input_size, model.input_size, 3), dtype="uint8"))
kernel = psutil.Process()
before = kernel.memory_info().rss
"""


@contextmanager
def opened_map(home: Path, crs: object, cell: str) -> Iterator[MapPage]:
    from playwright.sync_api import sync_playwright

    notebooks = home / "notebooks"
    notebooks.mkdir(exist_ok=True)
    with jupyterlab(home / "jupyter", notebooks) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        page = browser.new_page(viewport=VIEWPORT)
        page.set_default_timeout(120_000)
        notebook = Notebook(page, address, notebooks / "map.ipynb")
        notebook.open()
        notebook.run(cell)
        on_map = MapPage(notebook, crs)
        on_map.wait_drawn()
        yield on_map
        assert notebook.complaints == [], notebook.complaints
        notebook.close()
        browser.close()


Act = Callable[[], object]


def measured(on_map: MapPage, event: str, selector: str, attribute: str, acts: list[tuple[Act, Act]]) -> list[float]:
    """Return milliseconds from an event, in the browser, to what it has changed on the screen.

    Each act is what comes before, which is not measured, and what makes the event.
    """
    on_map.page.evaluate(_WATCH, [event, selector, attribute])
    times = []
    for prepare, act in acts:
        prepare()
        on_map.page.evaluate("() => { bench.start = null; bench.taken = []; }")
        act()
        on_map.notebook.wait_in_page("() => bench.taken.length > 0")
        times.append(on_map.page.evaluate("bench.taken[0]"))
    return times


def report(name: str, times: list[float]) -> None:
    p95 = float(np.percentile(times, 95))
    print(f"{name}: median {statistics.median(times):.0f} ms, p95 {p95:.0f} ms, most {max(times):.0f} ms, of {len(times)}")


def clicks(home: Path, count: int) -> None:
    scene = town((TOWN, TOWN), seed=2)
    image, store = scene.save(home / "town.tif", overviews=True), home / "embeddings"
    samgeo.encode(image, store, progress=False)
    roofs = scene.footprints[scene.footprints.area > 40].representative_point()
    cell = f"import samgeo\nm = samgeo.Map({str(image)!r}, cache={str(store)!r})\nm"
    with opened_map(home, scene.geobox.crs.proj, cell) as on_map:
        screen = on_map.on_screen(*zip(roofs.x, roofs.y, strict=True))
        frame = on_map.frame()
        low = np.array([frame["x"] + 100, frame["y"] + 20])
        high = np.array([frame["x"] + frame["width"] - 100, frame["y"] + frame["height"] - 20])
        seen = screen[((screen > low) & (screen < high)).all(axis=1)][: count + 1]

        def clear() -> None:
            if on_map.paths("preview"):
                on_map.press("clear")
                on_map.wait_count("preview", 0)

        acts: list[tuple[Act, Act]] = [(clear, lambda at=at: on_map.page.mouse.click(*at)) for at in seen.tolist()]
        first = measured(on_map, "click", "path.samgeo-preview", "d", acts[:1])
        before = processor_s()
        times = measured(on_map, "click", "path.samgeo-preview", "d", acts[1:])
        after = processor_s()
    print(f"first click after opening: {first[0]:.0f} ms")
    report("click to polygon on the screen", times)
    spent = {name: 1000 * (after[name] - before[name]) / len(times) for name in after}
    print(f"processor time for a click and a clear: {', '.join(f'{name} {ms:.0f} ms' for name, ms in spent.items())}")


def processor_s() -> dict[str, float]:
    """Return the seconds that each of the three programs has computed so far: what a busy machine does not stretch."""
    spent = {"kernel": 0.0, "JupyterLab": 0.0, "browser": 0.0}
    for process in psutil.Process().children(recursive=True):
        command = " ".join(process.cmdline())
        name = next((name for name, mark in _MARKS.items() if mark in command), None)
        if name is not None:
            times = process.cpu_times()
            spent[name] += times.user + times.system
    return spent


def moves(home: Path, count: int, side: int) -> None:
    scene, huge = town((TOWN, TOWN), seed=2), home / "huge.tif"
    write_huge(huge, scene, side)
    cell = f"{_ALONE}m = samgeo.Map({str(huge)!r}, model=model)\nm"
    with opened_map(home, scene.geobox.crs.proj, cell) as on_map:
        frame = on_map.frame()
        x, y = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
        used = []

        def hold(number: int) -> None:
            if number and number % 5 == 0:
                on_map.zoom_in()
            on_map.notebook.ask("m.wait(60)")
            used.append(on_map.notebook.ask("kernel.memory_info().rss - before"))
            step = 150 if number % 2 else -150
            on_map.page.mouse.move(x, y)
            on_map.page.mouse.down()
            on_map.page.mouse.move(x + step, y + step / 2, steps=3)
            on_map.page.wait_for_timeout(150)  # a hand that rests: without it the map glides on

        acts: list[tuple[Act, Act]] = [(lambda number=number: hold(number), on_map.page.mouse.up) for number in range(count)]
        times = measured(on_map, "mouseup", "img.leaflet-image-layer", "src", acts)
        used.append(on_map.notebook.ask("kernel.memory_info().rss - before"))
    print(f"first move of {side:,} x {side:,} pixels: {times[0]:.0f} ms")
    report("from letting go of the map to the view drawn", times)
    print(f"memory of the kernel above that with the model alone: {max(used) / 1e6:.0f} MB")


def write_huge(path: Path, scene: Scene, side: int) -> None:
    profile = {
        "driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8", "crs": str(scene.geobox.crs),
        "transform": scene.geobox.affine, "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate",
        "interleave": "pixel", "photometric": "rgb", "bigtiff": "yes", "sparse_ok": True,
    }  # fmt: skip
    pixels = np.moveaxis(scene.image, -1, 0)
    middle = side // 2 // TOWN * TOWN
    places = np.random.default_rng(0).integers(0, side // TOWN, (40, 2)) * TOWN
    with rasterio.open(path, "w", **profile) as dataset:
        for x, y in [*places.tolist(), *((middle + i * TOWN, middle + j * TOWN) for i in (-1, 0) for j in (-1, 0))]:
            dataset.write(pixels, window=Window(x, y, TOWN, TOWN))
    levels = [2**level for level in range(1, 16) if side / 2**level > BLOCK / 2]
    with rasterio.Env(SPARSE_OK_OVERVIEW="ON"), rasterio.open(path, "r+") as dataset:
        dataset.build_overviews(levels, Resampling.average)


def objects(home: Path, count: int, accepts: int) -> None:
    image, outlines = home / "towns.tif", home / "roofs.gpkg"
    roofs, free, crs = write_towns(image, count)
    roofs.to_file(outlines)
    for autosave in (None, home / "saved.gpkg"):
        cell = _ACCEPTED.format(image=str(image), outlines=str(outlines), autosave=autosave and str(autosave))
        with opened_map(home, crs, cell) as on_map:
            on_map.wait_count("object", len(roofs))
            if autosave is None:
                print(f"{len(roofs):,} objects, {shapely.get_num_coordinates(roofs.geometry).mean():.0f} vertices each")
                for name in ("all in view", "a quarter in view", "a sixteenth in view"):
                    frames(on_map, name)
                    zoom = on_map.notebook.ask("m.leaflet.zoom")
                    on_map.page.locator(".leaflet-control-zoom-in").click()
                    on_map.notebook.wait_for(f"m.leaflet.zoom > {zoom} and m.wait(60)")
                on_map.press("home")
                on_map.notebook.wait_for(f"m.leaflet.zoom == {zoom - 2} and m.wait(60)")
            places = free.geometry.representative_point()
            acts = [
                (lambda at=at: offer(on_map, at), lambda: on_map.press("accept"))
                for at in list(zip(places.x, places.y, strict=True))[: accepts + 1]
            ]
            before = processor_s()
            times = measured(on_map, "click", "path.samgeo-object", "d", acts)
            after = processor_s()
            name = "off" if autosave is None else "on"
            report(f"accept to polygon on the screen, autosave {name}, after the first of {times[0]:.0f} ms", times[1:])
            spent = {name: 1000 * (after[name] - before[name]) / len(times) for name in after}
            print(f"processor time for a click and an accept: {', '.join(f'{name} {ms:.0f} ms' for name, ms in spent.items())}")


def offer(on_map: MapPage, place: tuple[float, float]) -> None:
    on_map.click(place)
    on_map.wait_count("preview", 1)
    on_map.page.locator("button.samgeo-accept:enabled").wait_for()


def frames(on_map: MapPage, name: str) -> None:
    """Print how many frames a second are drawn while the mouse moves the map."""
    page, frame = on_map.page, on_map.frame()
    x, y = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    times = np.diff(page.evaluate(_FRAMES, [x, y, PAN_PX, PAN_FRAMES]))
    page.mouse.up()
    on_map.notebook.ask("m.wait(60)")
    print(f"frames while the map is moved, {name}: {1000 / times.mean():.0f} a second")
    report("a frame takes", times.tolist())


def write_towns(path: Path, count: int) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame, object]:
    """Write a raster of one town many times; return the roofs of all but the first town, and those of the first."""
    scene = town((TOWN, TOWN), seed=2)
    affine, crs = scene.geobox.affine, scene.footprints.crs
    marked = zip(scene.footprints.geometry, scene.footprints["id"], strict=True)
    labels = rasterize(marked, (TOWN, TOWN), transform=affine, dtype="int32")
    found = gpd.GeoSeries([shapely.geometry.shape(one) for one, _ in shapes(labels, labels > 0, transform=affine)], crs=crs)
    found = found[found.area > 40]
    side = int(np.ceil(np.sqrt(count / len(found) + 1)))
    step = TOWN * affine.a, TOWN * affine.e
    moved = [found.translate(step[0] * x, step[1] * y) for y in range(side) for x in range(side)]
    roofs = pd.concat(moved[1:])[:count]
    profile = {
        "driver": "GTiff", "width": side * TOWN, "height": side * TOWN, "count": 3, "dtype": "uint8",
        "crs": str(scene.geobox.crs), "transform": affine, "tiled": True, "compress": "deflate", "photometric": "rgb",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(np.tile(np.moveaxis(scene.image, -1, 0), (1, side, side)))
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4, 8, 16], Resampling.average)
    return gpd.GeoDataFrame(geometry=roofs), gpd.GeoDataFrame(geometry=found), crs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=60)
    parser.add_argument("--moves", type=int, default=20)
    parser.add_argument("--side", type=int, default=100_000)
    parser.add_argument("--objects", type=int, default=0, help="measure with so many accepted objects instead")
    parser.add_argument("--accepts", type=int, default=10)
    options = parser.parse_args()
    if find_browser() is None:
        skip("Chromium is not installed.")
    works = [lambda home: clicks(home, options.clicks), lambda home: moves(home, options.moves, options.side)]
    if options.objects:
        works = [lambda home: objects(home, options.objects, options.accepts)]
    for work in works:
        with tempfile.TemporaryDirectory() as home:
            work(Path(home))


if __name__ == "__main__":
    main()
