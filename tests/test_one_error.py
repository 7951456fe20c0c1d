"""A user sees one error: what a library raised beneath is in the message, and no traceback of it is shown before."""

import ast
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import xarray as xr
from shapely import Point, box

import samgeo
from samgeo import errors
from samgeo.annotations import read_annotations
from samgeo.buildings.height import filter_by_height
from samgeo.buildings.population import allocate_population
from samgeo.buildings.regularization.api import regularize
from samgeo.errors import SamgeoError
from samgeo.evaluation import evaluate
from samgeo.geo.vector.reading import read_vectors, write_vectors
from samgeo.map.session import Session
from samgeo.samrs import make_samrs
from samgeo.testing.rasters import write_raster
from samgeo.training.assessment.plots import read_log
from samgeo.training.data.pictures import load_picture, read_image
from samgeo.training.recipe import load_recipe

SOURCE = Path(samgeo.__file__).parent
OURS = {*errors.__all__, "DamagedError"}

# What a model of another maker raises says where it failed, and that is worth its traceback.
WITH_CAUSE = {"segment/encoding.py"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Inputs that are there, damaged ones of each kind, and the name of one that is missing."""
    write_raster(tmp_path / "good.tif", np.full((64, 64, 3), 90, np.uint8))
    whole = (tmp_path / "good.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[:150])
    for suffix in (
        ".tif",
        ".gpkg",
        ".parquet",
        ".geojson",
        ".fgb",
        ".shp",
        ".safetensors",
        ".pth",
        ".toml",
        ".jsonl",
        ".npz",
        ".png",
    ):
        (tmp_path / f"damaged.{suffix}").write_bytes(b"not what its name says \xff\xfe")
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "item.json").write_text('{"type": "Feature", ')
    (tmp_path / "coco.json").write_text('{"images": [')
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "zarr.json").write_text("{")
    return tmp_path


OBJECTS = gpd.GeoDataFrame({"n": [1]}, geometry=[box(0, 0, 1, 1)], crs="EPSG:32633")

DAMAGED = [f"damaged.{suffix}" for suffix in ("gpkg", "parquet", "geojson", "fgb", "shp")]

RASTERS = {
    "Raster": ("missing.tif", "cut.tif", "damaged.tif", "list.txt", "item.json"),
    **dict.fromkeys(("segment", "segment to a file", "Predictor", "encode", "show", "Map"), ("missing.tif",)),
    **dict.fromkeys(("footprints", "list", "height"), ("missing.tif",)),
}

CASES: dict[str, Callable[[Path], object]] = {
    f"{entry} of {raster}": (lambda path, entry=entry, raster=raster: ENTRIES[entry](path / raster, path))
    for entry, rasters in RASTERS.items()
    for raster in rasters
} | {
    f"{entry} of {name}": (lambda path, entry=entry, name=name: READERS[entry](path / name, path))
    for entry in ("vectors", "aoi", "boxes", "examples", "truth", "regularize", "on the raster", "output")
    for name in (("missing.gpkg", *DAMAGED) if entry == "vectors" else ("damaged.fgb",))
} | {
    f"model {name}": (lambda path, name=name: samgeo.load_model(path / name))
    for name in ("missing.pth", "damaged.pth", "damaged.safetensors", "damaged.tif")
} | {
    "model by name": lambda path: samgeo.load_model("no-such-model"),
    "device": lambda path: samgeo.load_model("tiny", device="gpu:x"),
    "store": lambda path: samgeo.Predictor(path / "good.tif", cache=path / "store"),
    "annotations missing": lambda path: read_annotations(path / "missing.json"),
    "annotations damaged": lambda path: read_annotations(path / "coco.json", images=path, format="coco"),
    "annotations that are vectors": lambda path: read_annotations(path / "damaged.gpkg", images=path / "good.tif"),
    "samrs": lambda path: make_samrs(path / "good.tif", path / "coco.json", path / "out", progress=False),
    "recipe missing": lambda path: load_recipe(path / "missing.toml"),
    "recipe damaged": lambda path: load_recipe(path / "damaged.toml"),
    "log of training": lambda path: read_log(path / "damaged.jsonl"),
    "log of a session": lambda path: Session.replay(path / "damaged.jsonl", samgeo.Predictor(path / "good.tif")),
    "picture": lambda path: load_picture(path / "damaged.npz"),
    "image": lambda path: read_image(path / "damaged.png"),
    "crs of prompts": lambda path: samgeo.Predictor(path / "good.tif").predict([[1, 2]], crs="EPSG:0"),
    "points that are no numbers": lambda path: samgeo.Predictor(path / "good.tif").predict([["a", "b"]]),
    "population": lambda path: allocate_population(OBJECTS.assign(population="many"), OBJECTS),
    "picture into a missing folder": lambda path: samgeo.show(path / "good.tif", None, path / "no" / "a.png"),
    "array": lambda path: samgeo.Raster.open(_unreadable()),
    "coordinates": lambda path: samgeo.Raster.open(xr.DataArray(np.zeros((4, 5)), dims=("a", "b"))),
}  # fmt: skip

ENTRIES: dict[str, Callable[[Path, Path], object]] = {
    "Raster": lambda raster, path: samgeo.Raster.open(raster),
    "segment": lambda raster, path: samgeo.segment(raster, progress=False),
    "segment to a file": lambda raster, path: samgeo.segment(raster, path / "out.gpkg", progress=False),
    "Predictor": lambda raster, path: samgeo.Predictor(raster),
    "encode": lambda raster, path: samgeo.encode(raster, path / "a.zarr", progress=False),
    "show": lambda raster, path: samgeo.show(raster),
    "Map": lambda raster, path: samgeo.Map(raster),
    "footprints": lambda raster, path: samgeo.footprints(raster, examples=OBJECTS),
    "list": lambda raster, path: samgeo.Raster.open([path / "good.tif", raster]),
    "height": lambda raster, path: filter_by_height(OBJECTS, raster),
}
READERS: dict[str, Callable[[Path, Path], object]] = {
    "vectors": lambda file, path: read_vectors(file),
    "aoi": lambda file, path: samgeo.segment(path / "good.tif", aoi=file, progress=False),
    "boxes": lambda file, path: samgeo.Predictor(path / "good.tif").predict(boxes=file),
    "examples": lambda file, path: samgeo.footprints(path / "good.tif", examples=file, candidates=OBJECTS),
    "truth": lambda file, path: evaluate(OBJECTS, file),
    "regularize": lambda file, path: regularize(file),
    "on the raster": lambda file, path: samgeo.show(path / "good.tif", file),
    "output": lambda file, path: write_vectors(OBJECTS, path / "no such folder" / "out.gpkg"),
}


def _unreadable() -> xr.DataArray:
    import dask.array as da

    def fail(block_info: object = None) -> np.ndarray:
        raise OSError("the store is gone")

    lazy = da.map_blocks(fail, chunks=((8,), (8,)), dtype=np.uint16, meta=np.empty((0, 0), np.uint16))
    return xr.DataArray(lazy, dims=("y", "x"))


@pytest.mark.filterwarnings("ignore::samgeo.errors.SamgeoWarning")
@pytest.mark.parametrize("case", sorted(CASES))
def test_a_missing_or_damaged_input_gives_one_error(case: str, folder: Path) -> None:
    with pytest.raises(SamgeoError) as caught:
        CASES[case](folder)
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("Traceback (most recent call last)") == 1, shown


def test_points_off_the_raster_are_answered_not_raised(folder: Path) -> None:
    """The table above is of errors: here the same call goes well, so that it is the input which makes the difference."""
    found = samgeo.Predictor(folder / "good.tif", model="tiny").predict(gpd.GeoSeries([Point(0, 0)], crs="EPSG:32633"))
    assert len(found) == 1


def raised(tree: ast.AST) -> Iterator[ast.Raise]:
    """Every error of ours that is raised while another one is handled."""
    for handler in ast.walk(tree):
        if isinstance(handler, ast.ExceptHandler):
            for node in ast.walk(handler):
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                    called = node.exc.func
                    if isinstance(called, ast.Name) and called.id in OURS:
                        yield node


def test_no_error_of_ours_is_raised_from_another_one() -> None:
    chained = [
        f"{path.relative_to(SOURCE).as_posix()}:{node.lineno}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path.relative_to(SOURCE).as_posix() not in WITH_CAUSE
        for node in raised(ast.parse(path.read_text()))
        if not (isinstance(node.cause, ast.Constant) and node.cause.value is None)
    ]
    assert chained == []
