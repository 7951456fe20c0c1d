"""Pictures of the tutorial. The scenes and calls are those of its pages."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path

import geopandas as gpd
import numpy as np
from drawing import BLUE, GREEN, MAGENTA, RED, beside, enlarged, painted, saved, tagged
from PIL import Image
from registry import folder, picture

import samgeo
from samgeo.plot import SheetEntry, contact_sheet
from samgeo.synthetic import Scene, dates, town, two_dates

UNLABELLED = 255
PAGES = Path(__file__).parents[1] / "tutorial"


def small_town() -> Scene:
    """Return the town of most pages."""
    return town((320, 320), seed=1)


@picture("tutorial-footprints.jpg")
def footprints() -> Image.Image:
    """Draw the town, and its footprints by score, for page 1."""
    image = saved(small_town())
    buildings = samgeo.footprints(image, min_area_m2=10)
    return beside([enlarged(one, 1.75) for one in (samgeo.show(image), samgeo.show(image, buildings, column="score"))])


@picture("tutorial-examples.jpg")
def examples() -> Image.Image:
    """Draw three examples, and what they find, for page 3."""
    scene = small_town()
    image = saved(scene)
    tiled = scene.footprints[(scene.footprints.cover == "tile") & (scene.footprints.area > 40)].iloc[:3]
    found = samgeo.find(image, "roof", examples=tiled, progress=False)
    shown = (painted(scene, [(tiled.geometry, BLUE)]), samgeo.show(image, found, column="score"))
    return beside([enlarged(one, 1.75) for one in shown])


@picture("tutorial-training-set.jpg")
def training_set() -> Image.Image:
    """Draw a chip, its classes, and both on each other, for page 4."""
    scene, place = small_town(), folder()
    boxes = gpd.GeoDataFrame({"class": scene.footprints.roof}, geometry=scene.footprints.envelope)
    boxes.to_file(place / "boxes.gpkg")
    image = scene.save(place / "town.tif")
    made = samgeo.make_samrs(image, place / "boxes.gpkg", place / "roofs", chip=160, license="CC0-1.0", progress=False)
    chip = max((made.path / "gray").iterdir(), key=lambda path: (np.asarray(Image.open(path)) < UNLABELLED).mean())
    color = Image.open(made.path / "color" / chip.name).convert("RGB")
    image = Image.open(made.path / "images" / f"{chip.stem}.tif").convert("RGB")
    return beside([enlarged(one, 2) for one in (image, color, Image.blend(image, color, 0.45))])


@picture("tutorial-judge.jpg")
def judge() -> Image.Image:
    """Draw the largest false and missed objects, for page 5."""
    scene = small_town()
    image = saved(scene)
    found = samgeo.find(image, progress=False)
    report = samgeo.evaluate(found, scene.footprints)
    layers = {"missed": (GREEN, found, MAGENTA), "false": (MAGENTA, scene.footprints, GREEN)}
    entries = []
    for verdict, (color, others, other_color) in layers.items():
        for worst in report.worst(verdict).geometry.iloc[:4]:
            context = tuple((one, other_color) for one in others.geometry[others.intersects(worst)])
            entries.append(SheetEntry(((worst, color),), f"{verdict}, {worst.area:.0f} m2", context))
    return contact_sheet(samgeo.Raster.open(image), entries, columns=4)


@picture("tutorial-your-place.jpg")
def your_place() -> Image.Image:
    """Draw fields of a new image after one click, before and after training, for page 6."""
    taught, new = (draw_fields(seed) for seed in (7, 8))
    done = samgeo.finetune(*taught, taught[0].with_name("fields.safetensors"), rate=5e-4, minutes=None, steps=30)
    fields = gpd.read_parquet(new[1]).geometry[:5]
    panels = []
    for model in ("tiny", done.output):
        points = [(one.centroid.x, one.centroid.y) for one in fields]
        answers = samgeo.Predictor(new[0], model=model).predict(points=points)
        for field, answer in zip(fields, answers.geometry, strict=True):
            around = [round(value) for value in field.centroid.buffer(40).bounds]
            panels.append(enlarged(samgeo.show(new[0], gpd.GeoDataFrame(geometry=[answer])).crop(around), 2.5))
    return beside(panels, columns=len(fields))


def draw_fields(seed: int) -> tuple[Path, Path]:
    """Run the block of page 6 that draws fields, with a seed, and return its image and its outlines."""
    place = folder()
    code = (PAGES / "06-your-place.md").read_text().partition("```python\n")[2].partition("```")[0]
    with chdir(place), warnings.catch_warnings(action="ignore"):
        exec(compile(code.replace("default_rng(7)", f"default_rng({seed})"), "06-your-place.md", "exec"), {})  # noqa: S102
    return place / "fields.png", place / "fields.parquet"


@picture("tutorial-change.jpg")
def change() -> Image.Image:
    """Draw the two dates, for page 7."""
    pair = two_dates((256, 320), seed=6, light="other", season=0.5, haze=0.1, shift_px=(1.5, -1.0))
    kinds = {kind: pair.truth.geometry[pair.truth.kind == kind] for kind in ("same", "vanished", "appeared")}
    before = painted(pair.before, [(kinds["same"], BLUE), (kinds["vanished"], RED)])
    after = painted(pair.after, [(kinds["same"], BLUE), (kinds["appeared"], GREEN)])
    return beside([tagged(enlarged(before, 1.75), "2019"), tagged(enlarged(after, 1.75), "2024")])


@picture("tutorial-tracks.jpg")
def tracks() -> Image.Image:
    """Draw one colour for each id, at four dates, for page 7."""
    years, place = ("2015", "2018", "2021", "2024"), folder()
    series = dates((224, 256), len(years), seed=11, births=0.3, deaths=0.2, season=0.3)
    images = {year: scene.save(place / f"{year}.tif") for year, scene in zip(years, series.scenes, strict=True)}
    rows = samgeo.track(images, objects=[scene.footprints for scene in series.scenes], progress=False)
    return beside([tagged(enlarged(one, 1.25), year) for year, one in zip(years, by_id(images, rows), strict=True)])


def by_id(images: Mapping[str, Path], rows: gpd.GeoDataFrame) -> list[Image.Image]:
    """Draw the rows of each date of a result of `samgeo.track`; an id has the same colour in all pictures."""
    colors = dict(zip(sorted(rows.id.unique()), range(rows.id.nunique()), strict=True))
    pictures = []
    for image, date in zip(images.values(), sorted(rows.date.unique()), strict=True):
        here = rows[rows.date == date].set_index("id").geometry
        # `samgeo.show` gives each row the next colour: a row for each id, without a geometry where it is absent.
        pictures.append(samgeo.show(image, gpd.GeoDataFrame(geometry=here.reindex(colors).array, crs=rows.crs)))
    return pictures


@picture("tutorial-qgis.jpg")
def qgis() -> Image.Image:
    """Draw the colours that the layers have in QGIS, for page 10."""
    pair = two_dates((256, 320), seed=6, light="other")
    place = folder()
    before, after = pair.before.save(place / "before.tif"), pair.after.save(place / "after.tif")
    buildings = samgeo.find(after, progress=False)
    changes = samgeo.change(before, after, objects=[pair.before.footprints, pair.after.footprints], progress=False)
    shown = (samgeo.show(after, buildings, column="score"), samgeo.show(after, changes, column="kind"))
    return beside([enlarged(one, 1.75) for one in shown])
