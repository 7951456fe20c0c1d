"""Vector files: every bit, the CRS and the provenance come back; whole or not at all."""

import json
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samgeo.errors import VectorError
from samgeo.geo.vector.reading import SUFFIXES, check_output, read_provenance, read_vectors, write_vectors

FORMATS = [".parquet", ".gpkg", ".fgb", ".geojson"]
CRSS = ["EPSG:4326", "EPSG:3857", "EPSG:3031", "EPSG:32759", "ESRI:54009"]
WITHOUT_CODE = "+proj=laea +lat_0=12.3 +lon_0=45.6 +datum=WGS84 +units=m"
PROVENANCE = {"model": {"name": 'ö "<&>" =', "digest": None}, "features": [1, 2.5], "ok": True}

every_format = pytest.mark.parametrize("suffix", FORMATS)


def features(crs=None) -> gpd.GeoDataFrame:
    rng = np.random.default_rng(5)
    shapes = [shapely.Point(*rng.uniform(0, 10.0**power, 2)).buffer(10.0**power / 7, 3) for power in range(-6, 8)]
    shapes[3] = shapely.Polygon(shapes[3].exterior.coords, [shapes[3].buffer(-0.0001).exterior.coords])
    shapes[4] = shapely.MultiPolygon([shapes[4], shapely.box(-3, -3, -2, -2)])
    count = len(shapes)
    columns = {
        "id": np.arange(count),
        "predicted_iou": rng.random(count),
        "single": rng.random(count).astype(np.float32),
        "name": [f'roof {number} é"\\\n' for number in range(count - 1)] + [None],
        "gap": [np.nan, *range(1, count)],
        "ok": np.arange(count) % 2 == 0,
        "when": pd.Timestamp("2024-05-06T07:08:09"),
    }
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=crs)


def multi(geometries) -> list[shapely.Geometry | None]:
    """Return polygons as a file has them: multipolygons in any case."""
    return [shapely.MultiPolygon([one]) if isinstance(one, shapely.Polygon) else one for one in geometries]


def same(found: gpd.GeoDataFrame, expected: gpd.GeoDataFrame) -> bool:
    """Whether the geometries are those, as multipolygons, bit for bit, and the columns by value, in any order of rows."""
    found = found.sort_values("id").reset_index(drop=True)
    values = all(
        (column.isna() == expected[name].isna()).all() and (column[column.notna()] == expected[name][column.notna()]).all()
        for name, column in found.drop(columns="geometry").items()
    )
    return (
        values
        and set(found.columns) == set(expected.columns)
        and list(found.geometry.to_wkb()) == list(gpd.GeoSeries(multi(expected.geometry)).to_wkb())
    )


@every_format
@pytest.mark.parametrize("crs", CRSS)
def test_what_is_written_is_read_back_by_us_and_by_geopandas(suffix: str, crs: str, tmp_path: Path) -> None:
    path, expected = tmp_path / f"a{suffix}", features(crs)
    write_vectors(expected, path, provenance=PROVENANCE)
    plain = gpd.read_parquet(path) if suffix == ".parquet" else gpd.read_file(path)
    for found in (read_vectors(path), plain):
        assert same(found, expected)
        assert found.crs == crs
    assert read_provenance(path) == PROVENANCE
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".geojson"])
def test_the_order_of_rows_is_kept(suffix: str, tmp_path: Path) -> None:
    expected = features("EPSG:32633").sample(frac=1, random_state=1)
    write_vectors(expected, tmp_path / f"a{suffix}")
    assert read_vectors(tmp_path / f"a{suffix}").id.tolist() == expected.id.tolist()


@every_format
def test_no_crs_comes_back_as_none(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write_vectors(features(), path)
    assert read_vectors(path).crs is None
    assert same(read_vectors(path), features())
    if suffix != ".geojson":  # GDAL takes longitude and latitude where GeoJSON names no CRS
        assert (gpd.read_parquet(path) if suffix == ".parquet" else gpd.read_file(path)).crs is None


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".fgb"])
def test_a_crs_without_a_code_comes_back(suffix: str, tmp_path: Path) -> None:
    write_vectors(features(WITHOUT_CODE), tmp_path / f"a{suffix}")
    assert read_vectors(tmp_path / f"a{suffix}").crs == WITHOUT_CODE


def test_geojson_refuses_a_crs_that_it_cannot_name(tmp_path: Path) -> None:
    for attempt in (
        lambda: write_vectors(features(WITHOUT_CODE), tmp_path / "a.geojson"),
        lambda: check_output(tmp_path / "a.geojson", crs=WITHOUT_CODE),
    ):
        with pytest.raises(VectorError, match=r"can only hold a CRS with a code.*write \.parquet"):
            attempt()
    assert list(tmp_path.iterdir()) == []


@every_format
@pytest.mark.parametrize("crs", ["EPSG:32759", "EPSG:4326", None])
def test_no_features_keep_their_columns_and_crs(suffix: str, crs: str | None, tmp_path: Path) -> None:
    path, expected = tmp_path / f"a{suffix}", features(crs).iloc[:0]
    write_vectors(expected, path, provenance=PROVENANCE)
    found = read_vectors(path)
    assert len(found) == 0
    assert set(found.columns) == set(expected.columns)
    assert found.crs == crs
    assert found.predicted_iou.dtype == np.float64
    assert read_provenance(path) == PROVENANCE


@every_format
def test_missing_geometries_stay_missing(suffix: str, tmp_path: Path) -> None:
    expected = features("EPSG:4326")
    expected.loc[2, "geometry"] = None
    write_vectors(expected, tmp_path / f"a{suffix}")
    assert same(read_vectors(tmp_path / f"a{suffix}"), expected)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(*[st.floats(-1e8, 1e8)] * 2), min_size=1, max_size=8))
@every_format
def test_every_bit_of_a_coordinate_comes_back(suffix: str, tmp_path: Path, corners) -> None:
    expected = gpd.GeoDataFrame(geometry=[shapely.LineString([*corners, (0.1, -1 / 3)])], crs="EPSG:3857")
    write_vectors(expected, tmp_path / f"a{suffix}", overwrite=True)
    found = read_vectors(tmp_path / f"a{suffix}")
    assert shapely.get_coordinates(found.geometry).tolist() == shapely.get_coordinates(expected.geometry).tolist()


@every_format
def test_no_provenance_is_none(suffix: str, tmp_path: Path) -> None:
    write_vectors(features("EPSG:4326"), tmp_path / f"a{suffix}")
    assert read_provenance(tmp_path / f"a{suffix}") is None


def test_provenance_is_found_wherever_it_stands_in_geojson(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [], "samgeo": PROVENANCE}), encoding="utf-8")
    assert read_provenance(path) == PROVENANCE
    write_vectors(features("EPSG:4326"), path, overwrite=True, provenance={"long": "features" * 30_000})
    assert read_provenance(path) == {"long": "features" * 30_000}


def test_attributes_of_the_frame_do_not_matter(tmp_path: Path) -> None:
    frame = features("EPSG:4326")
    frame.attrs["anything"] = object()
    write_vectors(frame, tmp_path / "a.parquet")
    assert read_vectors(tmp_path / "a.parquet").attrs == {}
    assert "anything" in frame.attrs


@every_format
def test_upper_case_suffixes_are_the_same_format(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix.upper()}"
    write_vectors(features("EPSG:4326"), path, provenance=PROVENANCE)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert same(read_vectors(path), features("EPSG:4326"))
    assert read_provenance(path) == PROVENANCE


# Whole or not at all


def test_outputs_that_cannot_be_written_are_refused_before_work(tmp_path: Path) -> None:
    taken = tmp_path / "taken.gpkg"
    taken.write_text("here")
    (tmp_path / "folder.gpkg").mkdir()
    for path, words in {
        "a.txt": "suffix '.txt' is not one of .parquet, .geoparquet, .gpkg, .fgb, .geojson, .json",
        "a": "suffix '' is not one of",
        "a.shp": "a shapefile shortens names to 10 characters",
        "taken.gpkg": "exists; choose another name, or allow overwrite",
        "folder.gpkg": "is a folder",
        "no/such/a.gpkg": "does not exist; create it first",
    }.items():
        with pytest.raises(VectorError) as caught:
            check_output(tmp_path / path)
        assert words in str(caught.value)
        with pytest.raises(VectorError):
            write_vectors(features(), tmp_path / path)
    assert taken.read_text() == "here"
    assert check_output(taken, overwrite=True) == taken
    assert set(SUFFIXES) == {".parquet", ".geoparquet", ".gpkg", ".fgb", ".geojson", ".json"}


def test_a_folder_that_is_not_ours_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(VectorError, match="may not write to the folder"):
        check_output(tmp_path / "a.gpkg")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """A file may grow to 60 kB in the child, which stands for a disk that is full: writes fail in every library alike."""
    for suffix in FORMATS:
        (tmp_path / f"old{suffix}").write_text("an earlier result")
    script = """
import sys, signal, resource, geopandas, numpy, shapely
from pathlib import Path
from samgeo.errors import VectorError
from samgeo.geo.vector.reading import write_vectors
places = shapely.points(numpy.random.default_rng(0).random((3000, 2)))
frame = geopandas.GeoDataFrame(geometry=shapely.buffer(places, 1), crs=4326)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
for suffix in sys.argv[2:]:
    for stem in ("old", "new"):
        try:
            write_vectors(frame, Path(sys.argv[1], stem + suffix), overwrite=True)
        except VectorError as error:
            print(error)
"""
    command = [sys.executable, "-c", script, tmp_path, *FORMATS]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    messages = found.stdout.splitlines()
    assert len(messages) == 2 * len(FORMATS)
    assert all("free space" in message for message in messages)
    assert {file.name for file in tmp_path.iterdir()} == {f"old{suffix}" for suffix in FORMATS}
    assert all(file.read_text() == "an earlier result" for file in tmp_path.iterdir())


@every_format
def test_no_space_is_an_error_that_says_so(suffix: str, tmp_path: Path, monkeypatch) -> None:
    def full(*_args, **_options) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(VectorError, match="No space left on device"):
        write_vectors(features("EPSG:4326"), tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb"])
def test_a_write_that_loses_features_is_an_error(suffix: str, tmp_path: Path, monkeypatch) -> None:
    original = pyogrio.write_arrow

    def losing(reader, *args, **options) -> None:
        original(reader.read_all().slice(0, 13), *args, **options)

    monkeypatch.setattr(pyogrio, "write_arrow", losing)
    with pytest.raises(VectorError, match="13 of 14 features"):
        write_vectors(features("EPSG:4326"), tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".parquet", ".geojson"])
def test_values_that_a_format_cannot_hold_leave_nothing(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(VectorError):
        write_vectors(features("EPSG:4326").assign(odd=object()), tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_provenance_that_is_not_json_is_refused(tmp_path: Path) -> None:
    for value in (object(), float("nan")):
        with pytest.raises(VectorError, match="provenance cannot be written as JSON"):
            write_vectors(features("EPSG:4326"), tmp_path / "a.parquet", provenance={"a": value})
    assert list(tmp_path.iterdir()) == []


def test_infinity_has_no_form_in_geojson(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"a": [np.inf]}, geometry=[shapely.Point(0, 0)])
    with pytest.raises(VectorError, match="infinite numbers, which GeoJSON cannot hold"):
        write_vectors(frame, tmp_path / "a.geojson")


# Reading


def test_frames_and_series_are_taken_as_they_are() -> None:
    frame = features("EPSG:4326")
    assert read_vectors(frame) is frame
    assert read_vectors(frame.geometry).geometry.geom_equals(frame.geometry).all()


def test_features_come_in_the_crs_that_is_asked(tmp_path: Path) -> None:
    point = gpd.GeoDataFrame(geometry=[shapely.Point(500_000, 0)], crs="EPSG:32633")
    write_vectors(point, tmp_path / "a.fgb")
    for source in (point, point.geometry, tmp_path / "a.fgb", str(tmp_path / "a.fgb")):
        found = read_vectors(source, crs="EPSG:4326")
        assert found.crs == "EPSG:4326"
        assert shapely.get_coordinates(found.geometry)[0] == pytest.approx((15, 0))


def test_a_layer_is_chosen_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    features("EPSG:4326").iloc[:2].to_file(path, layer="roofs")
    features("EPSG:4326").iloc[:3].to_file(path, layer="roads")
    with pytest.raises(VectorError, match=r"several layers \(roofs, roads\); choose one"):
        read_vectors(path)
    assert len(read_vectors(path, layer="roads")) == 3


@pytest.mark.parametrize("suffix", [*FORMATS, ".shp"])
def test_what_is_no_vector_file_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    for read in (read_vectors, read_provenance):
        with pytest.raises(VectorError, match="does not exist"):
            read(path)
    path.write_text("not a vector file")
    for read in (read_vectors, read_provenance):
        with pytest.raises(VectorError, match="cannot be read"):
            read(path)


def test_features_that_cannot_be_placed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VectorError, match="has no CRS"):
        read_vectors(features(), crs="EPSG:4326")
    with pytest.raises(VectorError, match="cannot be transformed to the CRS nonsense"):
        read_vectors(features("EPSG:4326"), crs="nonsense")
    with pytest.raises(VectorError, match="from a list"):
        read_vectors([1, 2])
    with pytest.raises(VectorError, match="has no geometry"):
        read_vectors(gpd.GeoDataFrame({"a": [1]}))
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(VectorError, match="has no geometry"):
        read_vectors(tmp_path / "a.csv")


@pytest.mark.parametrize("ids", [[1, 2, 1, 2], ["a", "b", "a", "b"], [1.5, 2.0, 1.5, 2.0]], ids=["int", "str", "float"])
def test_repeated_ids_in_geojson_are_read_without_a_warning(ids: list[object], tmp_path: Path) -> None:
    """As in tracks. Warnings are errors here: GDAL warned of ids that it took for those of the features."""
    path = tmp_path / "tracks.geojson"
    squares = [shapely.box(x, 0, x + 1, 1) for x in range(4)]
    frame = gpd.GeoDataFrame({"id": ids, "date": ["2020", "2020", "2021", "2021"]}, geometry=squares, crs="EPSG:4326")
    write_vectors(frame, path)
    for found in (read_vectors(path), gpd.read_file(path)):
        assert found.columns.tolist() == ["id", "date", "geometry"]
        assert found["id"].tolist() == ids
    numbers = [feature["id"] for feature in json.loads(path.read_text())["features"]]
    assert numbers == [0, 1, 2, 3]
    write_vectors(frame.rename(columns={"id": "track"}), path, overwrite=True)
    assert "id" not in json.loads(path.read_text())["features"][0]
