"""Whatever is given as features is read, or refused by an error of samgeo that says what to give."""

from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import samgeo
from samgeo.annotations import read_annotations, write_annotations
from samgeo.buildings import allocate_population, filter_by_height, simplify
from samgeo.editing import compress, remove
from samgeo.errors import SamgeoError
from samgeo.evaluation import match
from samgeo.finding import boxes_from, calibrate, similar, suggest_threshold, threshold_curve
from samgeo.geo import rasterize
from samgeo.geo.vector import read_vectors, write_vectors
from samgeo.objects import describe, filter_by_shape, keep_best, measure_shapes, more_like, select
from samgeo.samrs import make_samrs
from samgeo.testing import Oracle, encode_ids, write_raster
from samgeo.time_series import plot_areas, summarize
from samgeo.training import finetune

OFF = {"progress": False}
PLAIN = {"progress": False, "embedding": False}

Scene = SimpleNamespace

# Each function with one parameter that takes features. What the others take is of the scene.
CALLS: dict[str, Callable[[Scene, object], object]] = {
    "segment, aoi": lambda s, v: samgeo.segment(s.image, model=s.model, aoi=v, **OFF),
    "predict, points": lambda s, v: samgeo.predict(s.image, points=v, model=s.model, **OFF),
    "predict, boxes": lambda s, v: samgeo.predict(s.image, boxes=v, model=s.model, **OFF),
    "predict, polygons": lambda s, v: samgeo.predict(s.image, polygons=v, model=s.model, **OFF),
    "Predictor.predict, masks": lambda s, v: s.predictor.predict(masks=v),
    "Predictor.candidates": lambda s, v: s.predictor.candidates(boxes=v),
    "Predictor.snap": lambda s, v: s.predictor.snap(v),
    "find, aoi": lambda s, v: samgeo.find(s.image, finder=s.boxes, model=s.model, aoi=v, **OFF),
    "find, examples": lambda s, v: samgeo.find(s.image, examples=s.none if v is None else v, **OFF),
    "boxes_from": lambda s, v: boxes_from(v, s.image),
    "calibrate, found": lambda s, v: calibrate(v, [0], [1]),
    "calibrate, accepted": lambda s, v: calibrate(s.frame, v, [1]),
    "calibrate, rejected": lambda s, v: calibrate(s.frame, [0], v),
    "similar": lambda s, v: similar(s.predictor, v, "a"),
    "suggest_threshold": lambda s, v: suggest_threshold(v),
    "threshold_curve": lambda s, v: threshold_curve(v),
    "change, objects": lambda s, v: samgeo.change(s.image, s.image, objects=s.none if v is None else v, **OFF),
    "track, objects": lambda s, v: samgeo.track({"2020": s.image, "2021": s.image}, objects=s.none if v is None else v, **OFF),
    "classify, gdf": lambda s, v: samgeo.classify(v, s.image, s.frame, **PLAIN),
    "classify, examples": lambda s, v: samgeo.classify(s.frame, s.image, v, **PLAIN),
    "oddness": lambda s, v: samgeo.oddness(v, s.image, neighbours=1, **PLAIN),
    "describe": lambda s, v: describe(s.image, v, **PLAIN),
    "select, candidates": lambda s, v: select(s.image, v, s.frame, **PLAIN),
    "select, examples": lambda s, v: select(s.image, s.frame, v, **PLAIN),
    "more_like": lambda s, v: more_like(s.image, v, s.frame, **PLAIN),
    "filter_by_shape": lambda s, v: filter_by_shape(v, min_area_m2=1),
    "measure_shapes": lambda s, v: measure_shapes(v),
    "keep_best": lambda s, v: keep_best(v),
    "footprints, examples": lambda s, v: samgeo.footprints(s.image, examples=v, candidates=s.frame, **OFF),
    "footprints, candidates": lambda s, v: samgeo.footprints(
        s.image, examples=s.frame, candidates=s.none if v is None else v, **OFF
    ),
    "filter_by_height": lambda s, v: filter_by_height(v, s.image, **OFF),
    "regularize": lambda s, v: samgeo.regularize(v, **OFF),
    "simplify": lambda s, v: simplify(v),
    "refine": lambda s, v: samgeo.refine(v, s.image, **OFF),
    "allocate_population, census": lambda s, v: allocate_population(v, s.frame),
    "allocate_population, buildings": lambda s, v: allocate_population(s.frame, v),
    "evaluate, found": lambda s, v: samgeo.evaluate(v, s.frame, **OFF),
    "evaluate, truth": lambda s, v: samgeo.evaluate(s.frame, v, **OFF),
    "evaluate, aoi": lambda s, v: samgeo.evaluate(s.frame, s.frame, aoi=v, **OFF),
    "match, found": lambda s, v: match(v, s.frame),
    "match, truth": lambda s, v: match(s.frame, v),
    "remove": lambda s, v: remove(s.image, v, s.new(".tif"), **OFF),
    "compress": lambda s, v: compress(s.image, v, s.new(".tif"), codec="deflate", **OFF),
    "rasterize": lambda s, v: rasterize(v, s.image, s.new(".tif"), **OFF),
    "show": lambda s, v: samgeo.show(s.image, v),
    "make_samrs": lambda s, v: make_samrs(s.image, v, s.new(""), model=s.model, **OFF),
    "finetune": lambda s, v: finetune(s.image, v, s.new(".safetensors"), steps=1),
    "read_annotations": lambda s, v: read_annotations(v, images=s.image),
    "write_annotations": lambda s, v: write_annotations(v, s.new(""), format="coco"),
    "read_vectors": lambda s, v: read_vectors(v),
    "write_vectors": lambda s, v: write_vectors(v, s.new(".gpkg")),
    "summarize": lambda s, v: summarize(v),
    "plot_areas": lambda s, v: plot_areas(v, s.new(".png")),
}
# These take a table, or a table of their own, and no file.
NO_PATH = {"write_annotations", "write_vectors", "summarize", "plot_areas"}
# These are read from files.
NO_TABLE = {"make_samrs", "read_annotations"}
# The two squares are no points, are too many or too few, or have no examples of two kinds: every kind of them is refused alike.
TOO_FEW = {
    *("predict, points", "Predictor.candidates", "calibrate, accepted", "calibrate, rejected", "similar", "finetune"),
    *("select, candidates", "select, examples", "more_like", "footprints, examples", "footprints, candidates"),
}

# These encode with the bundled model.
SLOW = {"find, examples", "change, objects", "track, objects", "footprints, examples", "footprints, candidates", "finetune"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("scene")
    labels = np.zeros((64, 64), np.int32)
    labels[8:24, 8:24], labels[36:56, 36:56] = 1, 2
    image = write_raster(folder / "image.tif", encode_ids(labels), crs="EPSG:32633")
    affine = samgeo.Raster.open(image).geobox.affine
    squares = [
        shapely.transform(shapely.box(*one), lambda xy: np.stack(affine * (xy[:, 0], xy[:, 1]), axis=1))
        for one in ((8, 8, 24, 24), (36, 36, 56, 56))
    ]
    columns = {"class": ["a", "b"], "label": [1, 1], "score": [0.9, 0.8], "population": [3, 4]}
    frame = gpd.GeoDataFrame(columns, geometry=squares, crs="EPSG:32633")
    frame.to_file(folder / "squares.gpkg")
    model = Oracle(64)
    numbers = iter(range(10_000))
    return Scene(
        image=image, frame=frame, model=model, predictor=samgeo.Predictor(image, model=model), boxes=boxes_from(frame, image),
        path=folder / "squares.gpkg", none=5, new=lambda suffix: folder / f"{next(numbers)}{suffix}",
    )  # fmt: skip


WRONG = {
    "a table without geometries": lambda s: pd.DataFrame({"a": [1]}),
    "a GeoDataFrame without geometries": lambda s: gpd.GeoDataFrame({"a": [1]}),
    "a whole number": lambda s: 5,
    "a mapping": lambda s: {"a": 1},
    "a list of numbers": lambda s: [1, 2],
    "a file that is not there": lambda s: "missing.gpkg",
}


@pytest.mark.filterwarnings("ignore::samgeo.errors.SamgeoWarning")
@pytest.mark.parametrize("name", [pytest.param(one, marks=[pytest.mark.slow] if one in SLOW else []) for one in CALLS])
def test_features_of_each_kind_are_read_or_refused_with_advice(name: str, scene: Scene) -> None:
    call = CALLS[name]
    for wrong in WRONG.values():
        with pytest.raises(SamgeoError):
            call(scene, wrong(scene))
    right: list[object] = [] if name in NO_TABLE else [scene.frame]
    right += [] if name in NO_PATH else [scene.path, str(scene.path)]
    for features in right:
        if name in TOO_FEW | {"write_annotations", "summarize", "plot_areas"}:
            with pytest.raises(SamgeoError):
                call(scene, features)
        else:
            call(scene, features)
    # Whether nothing, geometries, or a table for a function of files may be given depends on the function.
    for other in (None, list(scene.frame.geometry), scene.frame.geometry, scene.frame):
        with suppress(SamgeoError):
            call(scene, other)
