"""The Processing provider in a real QGIS: by ``qgis_process``, and as its windows use it."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from shapely import from_wkt
from shapely.affinity import affine_transform

from samgeo.evaluation import evaluate
from samgeo.geo.vector import read_vectors, write_vectors
from samgeo.geo.vector.reading import read_provenance
from samgeo.synthetic import town

pytestmark = [pytest.mark.slow, pytest.mark.qgis]

SIZE = 256


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small town, the same image without a georeference, and points on its roofs in both coordinates."""
    path, scene = tmp_path_factory.mktemp("town"), town((SIZE, SIZE), seed=5)
    scene.save(path / "town.tif")
    with pytest.warns(NotGeoreferencedWarning):
        bare = rasterio.open(path / "bare.tif", "w", driver="GTiff", width=SIZE, height=SIZE, count=3, dtype="uint8")
    with bare:
        bare.write(np.moveaxis(scene.image, -1, 0))
    roofs = scene.footprints
    write_vectors(roofs, path / "truth.gpkg")
    # In other formats than samgeo writes: as users have them.
    points = gpd.GeoDataFrame({"name": [f"roof {one}" for one in roofs["id"]]}, geometry=roofs.representative_point())[:5]
    points.to_file(path / "points.gpkg")
    to_pixels = ~scene.geobox.affine
    turned = [
        affine_transform(one, [to_pixels.a, to_pixels.b, -to_pixels.d, -to_pixels.e, to_pixels.c, -to_pixels.f])
        for one in points.geometry
    ]
    write_vectors(gpd.GeoDataFrame({"name": points["name"]}, geometry=turned), path / "pixels.gpkg")
    return path


@pytest.fixture(scope="module")
def process(qgis):
    """Run ``qgis_process``, with the plugin enabled; return the results of the algorithm."""
    if qgis.process is None:
        pytest.skip("QGIS has no program qgis_process")
    enabled = qgis.run(qgis.process, "plugins", "enable", "samgeo_qgis")
    assert enabled.returncode == 0, enabled.stderr

    def run(algorithm, **parameters):
        words = [f"{name}={value}" for name, value in parameters.items()]
        done = qgis.run(qgis.process, "--json", "run", f"samgeo:{algorithm}", "--", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["results"]

    return run


def styles(path):
    with closing(sqlite3.connect(path)) as file:
        return file.execute("SELECT f_table_name, owner FROM layer_styles").fetchall()


def test_qgis_process_segments_makes_footprints_and_evaluates(process, folder):
    everything = folder / "everything.gpkg"
    how = {"POINTS_PER_SIDE": 8, "DEVICE": "cpu", "MIN_AREA": 5, "STRETCH": "0,255"}
    results = process("segment", INPUT=folder / "town.tif", OUTPUT=everything, **how)
    assert results == {"OUTPUT": f"{everything}|layername=everything"}
    objects = read_vectors(everything)
    assert len(objects) > 10
    assert objects.area_m2.min() >= 5
    assert read_provenance(everything)["options"]["points_per_side"] == 8
    assert styles(everything) == [("everything", "samgeo")]
    results = process("regularize", FEATURES=results["OUTPUT"], OUTPUT=folder / "regular.fgb", ANGLES=45, CIRCLES="false")
    regular = read_vectors(results["OUTPUT"])
    assert len(regular) == len(objects)
    assert "circle" not in set(regular.outline.dropna())
    report = folder / "new" / "report"
    figures = process("evaluate", RESULT=results["OUTPUT"], TRUTH=folder / "truth.gpkg", FOLDER=report, IOU=0.4)
    expected = evaluate(regular, read_vectors(folder / "truth.gpkg"), min_iou=0.4).overall
    assert (figures["PRECISION"], figures["RECALL"], figures["F1"]) == (expected.precision, expected.recall, expected.f1)
    assert (figures["TRUE_COUNT"], figures["FOUND_COUNT"]) == (expected.truth, expected.found)
    assert {"report.md", "report.json", "objects.parquet"} <= {path.name for path in report.iterdir()}


def test_qgis_process_segments_outlines_and_selects_by_examples(process, folder):
    outlines = folder / "outlines.shp"
    roofs = read_vectors(folder / "truth.gpkg")[["id", "geometry"]].head(6)
    roofs.to_file(outlines)
    results = process(
        "predict_boxes", INPUT=folder / "town.tif", FEATURES=outlines, PROMPT="outlines", OUTPUT=folder / "six.gpkg"
    )
    six = read_vectors(folder / "six.gpkg")
    assert list(six["id"]) == [1, 2, 3, 4, 5, 6]
    assert np.median(six.intersection(roofs, align=False).area / six.union(roofs, align=False).area) > 0.6
    selected = process(
        "footprints",
        INPUT=folder / "town.tif",
        EXAMPLES=f"{outlines}|subset=id < 3",
        CANDIDATES=results["OUTPUT"],
        REGULAR="false",
        MIN_SCORE=0,
        OUTPUT=folder / "like.gpkg",
    )
    assert selected == {"OUTPUT": f"{folder / 'like.gpkg'}|layername=like"}
    assert 2 <= len(read_vectors(folder / "like.gpkg")) <= 6
    assert read_provenance(folder / "like.gpkg")["select"]["accepted"] == 2


@pytest.fixture(scope="module")
def desktop(qgis, folder):
    """What a user of the windows of QGIS gets."""
    done = qgis.run(qgis.python, Path(__file__).with_name("desktop.py"), folder, qgis.command)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "results.json").read_text())


def test_selected_points_of_a_layer_in_memory_are_asked(desktop, folder):
    answers = desktop["selected_points"]
    points = read_vectors(folder / "points.gpkg")
    assert [row["name"] for row in answers["rows"]] == list(points["name"][1:3])
    assert "predicted_iou" in answers["columns"]
    for row, point in zip(answers["rows"], points.geometry[1:3], strict=True):
        assert from_wkt(row["wkt"]).buffer(0.5).contains(point)
    assert answers["name"] == "Answers"
    # The outline of samgeo; the style that QGIS gives to a new layer is filled.
    assert (answers["renderer"], answers["fill"]) == ("singleSymbol", "no")


def test_answers_lie_where_qgis_draws_an_image_without_a_georeference(desktop, folder):
    answers = desktop["points_on_pixels"]
    points = gpd.read_file(folder / "pixels.gpkg")
    assert len(answers["rows"]) == len(points) == 5
    for row, point in zip(answers["rows"], points.geometry, strict=True):
        assert point.y < 0
        assert from_wkt(row["wkt"]).buffer(2).contains(point)
    assert "--y-up" in answers["commands"][0]


def test_found_objects_of_an_extent_come_as_a_layer_with_their_classes(desktop, folder):
    found = desktop["found_in_extent"]
    assert found["source"] == f"{folder / 'bare.gpkg'}|layername=roofs"
    assert found["renderer"] == "categorizedSymbol"
    assert {row["class"] for row in found["rows"]} == {"building"}
    extent = from_wkt(found["extent"])
    assert all(extent.buffer(1).contains(from_wkt(row["wkt"]).centroid) for row in found["rows"])
    assert found["steps"][-1] == 100
    assert sorted(styles(folder / "bare.gpkg")) == [("bare", "samgeo"), ("roofs", "samgeo")]


def test_errors_of_samgeo_are_errors_of_the_algorithm(desktop, folder):
    told = desktop["messages"]
    assert told["there"] == [True, ""]
    assert told["missing"][0] is False
    assert "town.tif is not a program" in told["missing"][1]
    assert told["existing"].startswith(f"{folder / 'bare.gpkg'} has a layer bare;")
    assert told["option"].startswith("No such option")
    assert "--colour" in told["option"]
    assert "cannot be read (No closing quotation)" in told["quote"]
    assert "has no features to use; check its selection" in told["nothing"]
    assert "give one of them" in told["both"]


def test_a_cancelled_run_ends_at_once_and_leaves_no_output(desktop):
    cancelled = desktop["cancelled"]
    assert cancelled["message"] == "samgeo was stopped, because the algorithm was cancelled."
    assert cancelled["seconds"] < 30
    assert not cancelled["output"]
