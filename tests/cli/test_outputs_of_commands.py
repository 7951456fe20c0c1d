"""What commands write: nothing of the user's is lost, and what cannot be written is refused before the work."""

from importlib import import_module
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.shutil
import shapely
from click.testing import CliRunner
from PIL import Image

import samgeo
from samgeo.buildings import regularize
from samgeo.cli import main
from samgeo.errors import OptionError, SamgeoError, VectorError
from samgeo.geo.coordinates.area import area_m2
from samgeo.geo.vector.columns import RenamedColumnsWarning
from samgeo.geo.vector.reading import read_provenance, read_vectors, write_vectors
from samgeo.segmentation.prediction import predict
from samgeo.segmentation.predictor import Predictor
from samgeo.testing import Oracle, encode_ids

TRANSFORM = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000)
QUIET = {"model": Oracle(128), "progress": False}

# Rasters without a georeference are written here on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def raster(path: Path, *, placed: bool = True) -> Path:
    """Write a raster of one object, in pixels 20 to 60 from the left and 10 to 50 from the top."""
    ids = np.zeros((100, 128), np.int32)
    ids[10:50, 20:60] = 1
    place = {"crs": "EPSG:32633", "transform": TRANSFORM} if placed else {}
    with rasterio.open(path, "w", driver="GTiff", width=128, height=100, count=3, dtype="uint8", **place) as file:
        file.write(np.moveaxis(encode_ids(ids), -1, 0))
    return path


def features(**columns) -> gpd.GeoDataFrame:
    """Return the object of `raster`, with columns."""
    corners = [TRANSFORM * corner for corner in ((20, 10), (60, 10), (60, 50), (20, 50))]
    return gpd.GeoDataFrame({name: [value] for name, value in columns.items()}, geometry=[shapely.Polygon(corners)], crs=32633)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return raster(tmp_path / "r.tif")


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A raster without a georeference."""
    return raster(tmp_path / "plain.tif", placed=False)


def test_a_result_becomes_a_layer_and_other_layers_stay(image: Path, tmp_path: Path) -> None:
    path = tmp_path / "project.gpkg"
    features(name="A1").to_file(path, layer="roads")
    samgeo.segment(image, path, overwrite=True, **QUIET)
    samgeo.segment(image, path, layer="objects", **QUIET)
    predict(image, path, layer="roofs", boxes=features(), model=QUIET["model"])
    regularize(features(), path, layer="walls")
    assert set(pyogrio.list_layers(path)[:, 0]) == {"roads", "project", "objects", "roofs", "walls"}
    assert read_vectors(path, layer="roads").name.tolist() == ["A1"]
    for layer in ("project", "objects", "roofs"):
        assert read_provenance(path, layer=layer)["model"]["name"] == "oracle"
    with pytest.raises(VectorError, match="has a layer objects"):
        samgeo.segment(image, path, layer="objects", **QUIET)
    with pytest.raises(OptionError, match="there is no output"):
        samgeo.segment(image, layer="objects", **QUIET)


def test_an_output_that_is_an_input_is_refused(image: Path, tmp_path: Path) -> None:
    aoi, pixels, link = tmp_path / "aoi.gpkg", tmp_path / "pixels.gpkg", tmp_path / "link.gpkg"
    features().to_file(aoi)
    rasterio.shutil.copy(image, pixels, driver="GPKG")
    link.symlink_to(pixels)
    weights = tmp_path / "w.gpkg"
    weights.write_bytes(b"weights")
    before = {path: path.read_bytes() for path in (image, aoi, pixels, weights)}
    attempts = (
        lambda: samgeo.segment(image, aoi, aoi=aoi, overwrite=True, **QUIET),
        lambda: samgeo.segment(pixels, pixels, overwrite=True, **QUIET),
        lambda: samgeo.segment(pixels, link, overwrite=True, **QUIET),
        lambda: samgeo.segment(pixels, pixels, layer="new", **QUIET),
        lambda: samgeo.segment([pixels], link, overwrite=True, **QUIET),
        lambda: samgeo.segment(samgeo.Raster.open(pixels), link, overwrite=True, **QUIET),
        lambda: samgeo.segment(image, weights, model=str(weights), overwrite=True),
        lambda: predict(image, aoi, boxes=aoi, overwrite=True, model=QUIET["model"]),
        lambda: regularize(aoi, aoi, overwrite=True),
        lambda: samgeo.footprints(image, aoi, examples=aoi, overwrite=True),
        lambda: samgeo.footprints(image, aoi, examples=features(), candidates=aoi, overwrite=True),
        lambda: Predictor(pixels, model=QUIET["model"]) and samgeo.encode(image, tmp_path, overwrite=True, **QUIET),
    )
    for attempt in attempts:
        with pytest.raises(SamgeoError, match="is also an input"):
            attempt()
    assert {path: path.read_bytes() for path in before} == before


def test_pictures_and_reports_do_not_replace_inputs(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    write_vectors(features(), folder / "objects.parquet")
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    before = (folder / "objects.parquet").read_bytes(), (tmp_path / "photo.png").read_bytes()
    objects, photo = str(folder / "objects.parquet"), str(tmp_path / "photo.png")
    for command in (
        ["evaluate", objects, objects, "-o", str(folder), "--overwrite"],
        ["show", photo, "-o", photo, "--overwrite"],
    ):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 1
        assert "is also an input" in done.output
    assert ((folder / "objects.parquet").read_bytes(), (tmp_path / "photo.png").read_bytes()) == before


GIVEN = {"reason": "survey 2019", "AREA_M2": 123.0, "complete": "yes", "predicted_iou": 0.5, "mine": 7}


def test_prompts_keep_columns_named_like_those_of_the_result(image: Path, tmp_path: Path) -> None:
    with pytest.warns(RenamedColumnsWarning, match="reason is now reason_given"):
        found = predict(image, tmp_path / "o.gpkg", boxes=features(**GIVEN), model=QUIET["model"])
    for one in (found, read_vectors(tmp_path / "o.gpkg")):
        row = one.iloc[0]
        assert [row.reason_given, row.AREA_M2_given, row.complete_given, row.predicted_iou_given, row.mine] == list(
            GIVEN.values()
        )
        assert row.area_m2 == pytest.approx(400, rel=1e-2)
        assert row.complete
    with pytest.warns(RenamedColumnsWarning, match="snapped is now snapped_given"):
        assert Predictor(image, model=QUIET["model"]).snap(features(snapped="mine")).snapped_given.tolist() == ["mine"]


def test_regularize_keeps_columns_named_like_those_of_the_result(tmp_path: Path) -> None:
    cadastre = features(outline="by hand", area_m2=7.0)
    with pytest.warns(RenamedColumnsWarning, match="outline is now outline_given, area_m2 is now area_m2_given"):
        found = regularize(cadastre)
    assert found.outline_given.tolist() == ["by hand"]
    assert found.area_m2_given.tolist() == [7.0]
    assert "area_m2" not in found
    # The area of the outline itself is measured anew.
    true = area_m2(features().geometry, features().crs)
    assert "area_m2" in regularize(features(area_m2=float(true[0])))


def test_columns_that_cannot_be_written_are_refused_before_the_work(image: Path, tmp_path: Path, monkeypatch) -> None:
    def work(*_args, **_options) -> None:
        raise AssertionError("the work was begun")

    monkeypatch.setattr(Predictor, "predict", work)
    with pytest.raises(VectorError, match="two columns are named 'id' and 'ID'"):
        predict(image, tmp_path / "o.gpkg", boxes=features(id=1, ID=2), model=QUIET["model"])
    module = import_module("samgeo.buildings.regularization.api")
    monkeypatch.setattr(module, "build", work)
    with pytest.raises(VectorError, match="two columns are named 'Name' and 'name'"):
        module.regularize(features(Name="a", name="b"), tmp_path / "o.fgb")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.tif"]


def test_prompts_without_an_answer_have_no_geometry_in_files(image: Path, tmp_path: Path) -> None:
    outside = features().translate(10_000).to_frame("geometry")
    for suffix in (".parquet", ".gpkg", ".fgb", ".geojson"):
        predict(image, tmp_path / f"o{suffix}", boxes=outside, model=QUIET["model"])
        found = read_vectors(tmp_path / f"o{suffix}")
        assert found.geometry.isna().all()
        assert found.reason.notna().all()


def test_an_area_of_many_corners_does_not_swell_the_output(image: Path, tmp_path: Path) -> None:
    angles = np.linspace(0, 2 * np.pi, 30_000, endpoint=False)
    radius = 20 + 0.1 * np.cos(3000 * angles)
    aoi = shapely.Polygon(np.stack([500_020 + radius * np.cos(angles), 5_399_985 + radius * np.sin(angles)], axis=1))
    for suffix in (".fgb", ".parquet"):
        found = samgeo.segment(image, tmp_path / f"o{suffix}", aoi=aoi, **QUIET)
        assert len(found) == 1
        assert (tmp_path / f"o{suffix}").stat().st_size < 50_000
    assert found.attrs["samgeo"]["options"]["aoi"]["corners"] == 30_001


# Rasters without a CRS


def test_y_up_is_of_the_file_alone(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "up.gpkg"
    found = samgeo.segment(plain, path, y_up=True, **QUIET)
    assert found.total_bounds.tolist() == [20, 10, 60, 50]
    assert gpd.read_file(path).total_bounds.tolist() == [20, -50, 60, -10]
    assert read_provenance(path)["y_up"] is True
    assert "runs up" in read_provenance(path)["axes"]
    # The same command with another direction writes the file anew.
    samgeo.segment(plain, path, y_up=False, overwrite=True, **QUIET)
    assert gpd.read_file(path).total_bounds.tolist() == [20, 10, 60, 50]
    assert "runs down" in read_provenance(path)["axes"]


def test_a_file_with_y_up_is_read_as_prompts_area_and_input(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "up.gpkg"
    expected = samgeo.segment(plain, path, y_up=True, **QUIET).total_bounds.tolist()
    assert samgeo.segment(plain, aoi=path, **QUIET).total_bounds.tolist() == expected
    with pytest.warns(RenamedColumnsWarning):
        assert predict(plain, boxes=path, model=QUIET["model"]).total_bounds.tolist() == expected
    regularize(path, tmp_path / "walls.gpkg")
    assert gpd.read_file(tmp_path / "walls.gpkg").total_bounds.tolist() == [20, -50, 60, -10]
    # Without the note nothing is found outside in silence.
    lost = gpd.read_file(path)
    for attempt in (
        lambda: samgeo.segment(plain, aoi=lost, **QUIET),
        lambda: Predictor(plain, model=QUIET["model"]).predict(boxes=lost),
    ):
        with pytest.raises(VectorError, match="y runs down from 0 to 100"):
            attempt()


def test_y_up_is_refused_where_it_has_no_meaning(image: Path, plain: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="without a georeference"):
        samgeo.segment(image, tmp_path / "o.gpkg", y_up=True, **QUIET)
    with pytest.raises(OptionError, match="there is no output"):
        samgeo.segment(plain, y_up=True, **QUIET)
    with pytest.raises(OptionError, match="without a georeference"):
        predict(image, tmp_path / "o.gpkg", boxes=features(), y_up=True, model=QUIET["model"])


# Names


@pytest.mark.parametrize(
    "command",
    [
        ["segment", "r.tif", "L.gpkg"],
        ["segment", "r.tif", "x" * 248 + ".gpkg"],  # OUTPUT.run is longer
        ["segment", "L.tif", "o.gpkg"],
        ["segment", "L.txt", "o.gpkg"],
        ["segment", "r.tif", "o.gpkg", "--run-dir", "L"],
        ["segment", "r.tif", "o.gpkg", "--cache", "L"],
        ["segment", "r.tif", "o.gpkg", "--model", "L"],
        ["segment", "r.tif", "o.gpkg", "--aoi", "L.gpkg"],
        ["predict", "r.tif", "o.gpkg", "--boxes", "L.gpkg"],
        ["regularize", "L.gpkg", "o.gpkg"],
        ["show", "r.tif", "-o", "L.png"],
        ["encode", "r.tif", "L"],
        ["evaluate", "L.gpkg", "L.gpkg"],
        ["status", "L"],
    ],
    ids=" ".join,
)
def test_names_that_are_too_long_are_one_message(image: Path, command: list[str], monkeypatch) -> None:
    monkeypatch.chdir(image.parent)
    done = CliRunner().invoke(main, [part.replace("L", "x" * 300) if part.startswith("L") else part for part in command])
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert "File name too long" in done.output or "does not exist" in done.output
    assert [path.name for path in image.parent.iterdir()] == ["r.tif"]
