"""Outputs of features: what is kept, what is refused before the work, and what the files declare."""

import datetime
import json
import sqlite3
import subprocess
import sys
import uuid
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from samgeo.errors import OptionError, VectorError
from samgeo.geo.coordinates.area_summary import MOST_CORNERS, describe_area
from samgeo.geo.vector.columns import RenamedColumnsWarning, keep_given
from samgeo.geo.vector.joining import join_vectors, write_part
from samgeo.geo.vector.reading import check_fit, check_output, read_provenance, read_vectors, write_vectors
from samgeo.storage.atomic import check_new, inputs_among, write_whole
from samgeo.storage.locations import RemotePlace

FORMATS = [".parquet", ".gpkg", ".fgb", ".geojson"]
every_format = pytest.mark.parametrize("suffix", FORMATS)
BOX = shapely.box(0, 0, 1, 1)
TWO = shapely.MultiPolygon([shapely.box(2, 0, 3, 1), shapely.box(4, 0, 5, 1)])


def frame(count: int = 2, crs: str | None = "EPSG:32633", **columns) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(columns, geometry=[BOX] * count, crs=crs, index=range(count))


def declared(path: Path) -> str:
    if path.suffix == ".parquet":
        geo = json.loads(pq.read_schema(path).metadata[b"geo"])
        return " and ".join(geo["columns"]["geometry"]["geometry_types"])
    return str(pyogrio.read_info(path)["geometry_type"])


# Declared types of geometry


@every_format
@pytest.mark.parametrize("shapes", [[BOX], [BOX, TWO], [TWO], [BOX, None], [BOX, shapely.Polygon()], []], ids=str)
@pytest.mark.parametrize("joined", [False, True])
def test_polygons_are_declared_as_multipolygons(suffix: str, shapes: list, joined: bool, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    features = gpd.GeoDataFrame({"n": np.arange(len(shapes))}, geometry=gpd.GeoSeries(shapes, dtype="geometry"), crs=32633)
    if joined:
        parts = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
        write_part(features.iloc[:1], parts[0])
        write_part(features.iloc[1:], parts[1])
        assert join_vectors(parts, path) == len(shapes)
    else:
        write_vectors(features, path)
    found = read_vectors(path).sort_values("n")
    if shapes or suffix != ".geojson":  # GeoJSON can declare nothing
        assert declared(path) == "MultiPolygon"
    assert found.crs == "EPSG:32633"
    assert list(found.columns) == ["n", "geometry"]
    empty = [one is None or one.is_empty for one in shapes]
    assert found.geometry.isna().tolist() == empty
    known = found.geometry[found.geometry.notna()]
    assert set(known.geom_type) <= {"MultiPolygon"}
    assert known.geom_equals(
        gpd.GeoSeries([one for one in shapes if one is not None and not one.is_empty], index=known.index, crs=32633)
    ).all()


@every_format
def test_lines_and_points_stay_what_they_are(suffix: str, tmp_path: Path) -> None:
    for shapes, kind in (([shapely.Point(1, 2)], "Point"), ([shapely.Point(1, 2), shapely.MultiPoint([(0, 0)])], "MultiPoint")):
        path = tmp_path / f"{kind}{suffix}"
        write_vectors(gpd.GeoDataFrame(geometry=shapes, crs=32633), path)
        assert set(read_vectors(path).geom_type) == {kind}


# Columns


@every_format
@pytest.mark.parametrize("name", ["fid", "FID", "geom", "GEOM", "ogc_fid", "rowid", "bbox", "select", 'a"b'])
@pytest.mark.parametrize("values", [[1, 1], ["way/1", "way/2"]], ids=["twice", "text"])
def test_a_column_of_any_name_is_an_ordinary_column(suffix: str, name: str, values: list, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write_vectors(frame(**{name: values}), path)
    assert read_vectors(path)[name].tolist() == values


CONVERTED = {
    "nested": ([{"building": "yes"}, {}], {".geojson": [{"building": "yes"}, {}]}, ['{"building": "yes"}', "{}"]),
    "flags": ([True, None], {}, [True, None]),
    "flags as GeoPandas writes them": (["True", None], {}, [True, None]),
    "whole numbers with gaps": (pd.array([2**53 + 1, None], dtype="Int64"), {}, [2**53 + 1, None]),
    "numbers and text": ([2, "2;3"], {}, ["2", "2;3"]),
    "beyond 64 bits": ([2**70, 1], {}, [str(2**70), "1"]),
    "spans": (pd.to_timedelta([90, 1], unit="s"), {}, ["P0DT0H1M30S", "P0DT0H0M1S"]),
    "identifiers": ([uuid.UUID(int=5), None], {}, [str(uuid.UUID(int=5)), None]),
    "nothing": ([None, None], {}, [None, None]),
    "categories": (pd.Categorical(["a", None]), {}, ["a", None]),
    "amounts": ([Decimal("1.5"), Decimal("2.5")], {".geojson": ["1.5", "2.5"]}, [1.5, 2.5]),
}


@every_format
@pytest.mark.parametrize("what", CONVERTED)
def test_values_are_written_without_loss(suffix: str, what: str, tmp_path: Path) -> None:
    given, special, usual = CONVERTED[what]
    path = tmp_path / f"a{suffix}"
    write_vectors(frame(v=given), path)
    # Read with Arrow, which has missing whole numbers and booleans.
    if suffix == ".parquet":
        found = pq.read_table(path, columns=["v"]).column("v").to_pylist()
    elif suffix == ".geojson":
        found = [one["properties"]["v"] for one in json.loads(path.read_text())["features"]]
    else:
        found = pyogrio.read_arrow(path, columns=["v"])[1].column("v").to_pylist()
    assert [float(one) if isinstance(one, Decimal) else one for one in found] == special.get(suffix, usual)


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb"])
def test_dates_and_times_survive(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    when = pd.to_datetime(["2024-01-02T03:04:05.123Z", None])
    write_vectors(frame(day=[datetime.date(2024, 1, 2), None], when=when), path)
    found = read_vectors(path)
    assert found.day[0] == pd.Timestamp("2024-01-02")
    assert pd.isna(found.day[1])
    assert found.when[0] == when[0]
    assert pd.isna(found.when[1])


REFUSED = {
    "twice": lambda: gpd.GeoDataFrame(np.zeros((1, 2)), columns=["a", "a"], geometry=[BOX]),
    "object": lambda: frame(odd=[object(), object()]),
    "half a character": lambda: frame(odd=pd.Series(["\ud800", "b"], dtype=object)),
}


@every_format
@pytest.mark.parametrize("what", REFUSED)
def test_what_no_format_holds_is_refused_before_and_when_it_is_written(suffix: str, what: str, tmp_path: Path) -> None:
    features = REFUSED[what]()
    for attempt in (check_fit, write_vectors):
        with pytest.raises(VectorError):
            attempt(features, tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb"])
def test_names_that_differ_in_case_are_refused_where_they_are_one(suffix: str, tmp_path: Path) -> None:
    features = frame(Name=["a", "b"], name=["c", "d"])
    with pytest.raises(VectorError, match="two columns are named 'Name' and 'name'"):
        check_fit(features, tmp_path / f"a{suffix}")
    write_vectors(features, tmp_path / "a.parquet")
    assert read_vectors(tmp_path / "a.parquet").name.tolist() == ["c", "d"]


def test_values_far_down_are_found_before_the_work(tmp_path: Path) -> None:
    values = np.zeros(2000)
    values[-1] = np.inf
    with pytest.raises(VectorError, match="column v has infinite numbers"):
        check_fit(frame(2000, v=values), tmp_path / "a.geojson")
    assert list(tmp_path.iterdir()) == []


def test_users_columns_get_another_name_and_lose_nothing() -> None:
    table = pd.DataFrame({"Reason": ["survey"], "area_m2": [5.0], "area_m2_given": [6.0], "mine": [1]})
    with pytest.warns(RenamedColumnsWarning, match="Reason is now Reason_given, area_m2 is now area_m2_given_2"):
        found = keep_given(table, ["reason", "area_m2"], "the prompts")
    assert found.to_dict("list") == {"Reason_given": ["survey"], "area_m2_given_2": [5.0], "area_m2_given": [6.0], "mine": [1]}
    assert keep_given(table, ["other"], "the prompts") is table


# Layers


def project(path: Path) -> None:
    """Make a GeoPackage with two layers, and around one of them what a user of QGIS has."""
    for layer in ("roads", "roofs"):
        frame(a=[1, 2]).to_file(path, layer=layer)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            """
            CREATE TABLE mine (x INTEGER); INSERT INTO mine VALUES (1);
            CREATE VIEW seen AS SELECT fid, a FROM roofs;
            CREATE TABLE layer_styles (id INTEGER PRIMARY KEY, f_table_name TEXT, styleQML TEXT);
            INSERT INTO layer_styles VALUES (1, 'roofs', '<qml/>');
            CREATE TRIGGER counted AFTER INSERT ON roofs BEGIN INSERT INTO mine VALUES (2); END;
            CREATE INDEX by_a ON roofs (a);
            """
        )


def contents(path: Path) -> tuple[set, list, list]:
    with closing(sqlite3.connect(path)) as database:
        own = "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'gpkg%' AND name NOT LIKE 'sqlite%'"
        return (
            {(kind, name) for kind, name in database.execute(own)},
            database.execute("SELECT * FROM layer_styles").fetchall(),
            database.execute("SELECT * FROM mine").fetchall(),
        )


@pytest.mark.parametrize("layer", ["roofs", "ROOFS"])
@pytest.mark.parametrize("joined", [False, True])
def test_one_layer_is_replaced_and_everything_else_stays(layer: str, joined: bool, tmp_path: Path) -> None:
    path = tmp_path / "project.gpkg"
    project(path)
    before = contents(path)
    if joined:
        write_part(frame(3, a=[7, 8, 9]), tmp_path / "0.parquet")
        join_vectors([tmp_path / "0.parquet"], path, layer=layer, overwrite=True, provenance={"made": "anew"})
    else:
        write_vectors(frame(3, a=[7, 8, 9]), path, layer=layer, overwrite=True, provenance={"made": "anew"})
    assert contents(path) == before
    assert read_vectors(path, layer="roofs").a.tolist() == [7, 8, 9]
    assert read_vectors(path, layer="roads").a.tolist() == [1, 2]
    assert read_provenance(path, layer="roofs") == {"made": "anew"}
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT a FROM seen").fetchall() == [(7,), (8,), (9,)]
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_new_layer_is_added_without_overwrite_and_an_old_one_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "project.gpkg"
    project(path)
    write_vectors(frame(a=[5, 6]), path, layer="new")
    with pytest.raises(VectorError, match="has a layer roofs; choose another name"):
        write_vectors(frame(), path, layer="roofs")
    with pytest.raises(VectorError, match="exists; choose another name, or allow overwrite"):
        write_vectors(frame(), path)
    write_vectors(frame(a=[3, 4]), path, overwrite=True)  # the layer of the file's name
    assert {"roads", "roofs", "new", "project"} <= set(pyogrio.list_layers(path)[:, 0])


@pytest.mark.parametrize("layer", ["seen", "mine", "layer_styles", "gpkg_contents", "rtree_x", ""])
def test_what_is_no_layer_of_features_is_not_replaced(layer: str, tmp_path: Path) -> None:
    path = tmp_path / "project.gpkg"
    project(path)
    before = path.read_bytes()
    with pytest.raises(VectorError, match=r"layer="):
        check_output(path, True, layer=layer)
    with pytest.raises(VectorError, match=r"layer="):
        write_vectors(frame(), path, overwrite=True, layer=layer)
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", [".parquet", ".fgb", ".geojson"])
def test_other_formats_have_no_layers(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(VectorError, match="omit layer"):
        check_output(tmp_path / f"a{suffix}", layer="roofs")


def test_what_another_program_has_open_is_written_through_it(tmp_path: Path) -> None:
    path = tmp_path / "project.gpkg"
    project(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("INSERT INTO mine VALUES (77)")
        other.commit()  # in the log, not in the file
        write_vectors(frame(a=[5, 6]), path, layer="new")
        assert other.execute("SELECT a FROM new").fetchall() == [(5,), (6,)]
        assert (77,) in other.execute("SELECT x FROM mine").fetchall()
    assert len(read_vectors(path, layer="new")) == 2


def test_a_file_that_changes_meanwhile_is_left_as_it_is(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "project.gpkg"
    project(path)
    original = pyogrio.write_arrow

    def and_another_program_writes(*args, **options) -> None:
        original(*args, **options)
        with closing(sqlite3.connect(path)) as other:
            other.execute("INSERT INTO mine VALUES (5)")
            other.commit()

    monkeypatch.setattr(pyogrio, "write_arrow", and_another_program_writes)
    with pytest.raises(VectorError, match="changed by another program"):
        write_vectors(frame(), path, layer="new")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert "new" not in pyogrio.list_layers(path)[:, 0]


def test_a_layer_of_an_object_in_storage_is_replaced_alone(tmp_path: Path) -> None:
    place = RemotePlace("memory://layers/project.gpkg")
    project(tmp_path / "project.gpkg")
    place.put(tmp_path / "project.gpkg")
    write_vectors(frame(a=[5, 6]), place, layer="roofs", overwrite=True)
    import fsspec

    fsspec.filesystem("memory").get_file("layers/project.gpkg", str(tmp_path / "got.gpkg"))
    assert read_vectors(tmp_path / "got.gpkg", layer="roofs").a.tolist() == [5, 6]
    assert contents(tmp_path / "got.gpkg") == contents(tmp_path / "project.gpkg")


# Inputs


def test_an_output_that_is_an_input_is_refused_by_whatever_path(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.gpkg"
    write_vectors(frame(), path)
    (tmp_path / "soft.gpkg").symlink_to(path)
    (tmp_path / "hard.gpkg").hardlink_to(path)
    monkeypatch.chdir(tmp_path)
    names = [path, Path("a.gpkg"), Path("../") / tmp_path.name / "a.gpkg", Path("soft.gpkg"), Path("hard.gpkg")]
    for output in names:
        for given in (*names, ["x.tif", path], "a.gpkg:a", "GPKG:a.gpkg:a"):
            with pytest.raises(VectorError, match="is also an input"):
                check_output(output, True, layer="a", inputs=(None, given, 5))
    check_output(path, True, inputs=("other.gpkg", frame(), np.zeros(3), "https://example.com/a.gpkg"))
    with pytest.raises(OptionError, match="is also an input"):
        check_new("a.gpkg", ".gpkg", overwrite=True, inputs=[path])
    with pytest.raises(VectorError, match="is also an input"):
        check_output("memory://b/c.parquet", True, inputs=["memory://b/c.parquet"])


def test_another_layer_of_a_geopackage_that_is_read_is_no_input(tmp_path: Path) -> None:
    path = tmp_path / "project.gpkg"
    project(path)
    check_output(path, layer="new", inputs=[path])
    check_output(path, True, layer="roofs", inputs=[f"{path}:roads"])
    for layer, given in (("roofs", path), ("roofs", f"{path}:roofs"), (None, path)):
        with pytest.raises(VectorError, match="is also an input"):
            check_output(path, True, layer=layer, inputs=[given])


def test_parts_of_files_are_found_among_inputs(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.nc").touch()
    (tmp_path / "b:c.gpkg").touch()
    assert "a.nc" in [one.path for one in inputs_among(["NETCDF:a.nc:band"])]
    assert [one.path for one in inputs_among(["b:c.gpkg"])] == ["b:c.gpkg"]


def test_the_file_that_a_link_points_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link, target = tmp_path / "a.parquet", tmp_path / "disk" / "big.parquet"
    link.symlink_to(target)
    write_vectors(frame(), link)
    assert link.is_symlink()
    assert len(read_vectors(target)) == 2
    write_whole(tmp_path / "a.parquet", b"other")
    assert link.is_symlink()
    assert target.read_bytes() == b"other"


# Names, and files that are not whole


@every_format
def test_names_may_be_as_long_as_the_file_system_allows(suffix: str, tmp_path: Path) -> None:
    longest = tmp_path / ("x" * (255 - len(suffix)) + suffix)
    write_vectors(frame(), longest)
    assert len(read_vectors(longest)) == 2
    with pytest.raises(VectorError, match="cannot be used as a path"):
        check_output(tmp_path / ("x" * 300 + suffix))
    with pytest.raises(OptionError, match="cannot be used as a path"):
        check_new(tmp_path / ("x" * 300 + ".png"), ".png")
    write_whole(tmp_path / ("y" * 255), b"content")


def test_a_file_that_is_cut_short_is_an_error_in_every_format(tmp_path: Path) -> None:
    """A child process may write files of some bytes fewer than needed: libraries lose the error when they close a file."""
    script = """
import sys, signal, resource, geopandas, numpy, shapely
from pathlib import Path
from samgeo.errors import VectorError
from samgeo.geo.vector.reading import write_vectors
places = shapely.points(numpy.random.default_rng(0).random((500, 2)))
frame = geopandas.GeoDataFrame({"a": numpy.arange(500)}, geometry=shapely.buffer(places, 1), crs=4326)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for suffix in sys.argv[2:]:
    path = Path(sys.argv[1], "a" + suffix)
    write_vectors(frame, path)
    size = path.stat().st_size
    path.unlink()
    for cut in (1, 100, 1000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - cut, resource.RLIM_INFINITY))
        try:
            write_vectors(frame, path)
            print("whole?")
        except VectorError:
            print("refused")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""
    command = [sys.executable, "-c", script, tmp_path, *FORMATS]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    assert found.stdout.splitlines() == ["refused"] * 3 * len(FORMATS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [1, 2, 16, 17, 256, 257, 300])
@pytest.mark.parametrize("gap", [False, True])
def test_flatgeobuf_is_read_back_to_its_last_byte(count: int, gap: bool, tmp_path: Path) -> None:
    from samgeo.geo.vector.verification import check_flatgeobuf

    features = frame(count, a=np.arange(count))
    if gap:
        features.loc[0, "geometry"] = None
    path = tmp_path / "a.fgb"
    write_vectors(features, path)
    check_flatgeobuf(path, count, indexed=not gap)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(VectorError):
        check_flatgeobuf(path, count, indexed=not gap)


def test_geopackages_have_a_spatial_index_of_every_feature(tmp_path: Path) -> None:
    features = frame(3)
    features.loc[1, "geometry"] = None
    write_vectors(features, tmp_path / "a.gpkg")
    with closing(sqlite3.connect(tmp_path / "a.gpkg")) as database:
        assert database.execute("SELECT count(*) FROM rtree_a_geom").fetchone() == (2,)


# GeoParquet


@pytest.mark.parametrize("joined", [False, True])
def test_geoparquet_has_a_covering_and_groups_of_bounded_size(joined: bool, tmp_path: Path) -> None:
    places = shapely.points(np.random.default_rng(0).uniform(0, 1000, (40_000, 2)))
    features = gpd.GeoDataFrame({"n": np.arange(40_000)}, geometry=shapely.buffer(places, 1, quad_segs=1), crs=32633)
    path = tmp_path / "a.parquet"
    if joined:
        for number, start in enumerate((0, 10_000, 35_000)):
            write_part(features.iloc[start : (10_000, 35_000, 40_000)[number]], tmp_path / f"{number}.parquet")
        join_vectors([tmp_path / f"{number}.parquet" for number in range(3)], path)
    else:
        write_vectors(features, path)
    with pq.ParquetFile(path) as file:
        assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [16_384, 16_384, 7232]
        geo = json.loads(file.schema_arrow.metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["columns"]["geometry"]["bbox"] == features.total_bounds.tolist()
    there = gpd.read_parquet(path, bbox=(0, 0, 10, 10))
    assert set(there.n) == set(features.cx[0:10, 0:10].n)
    assert list(gpd.read_parquet(path).columns) == ["n", "geometry"]
    assert list(read_vectors(path).n) == list(features.n)


def test_a_part_that_is_missing_names_the_remedy(tmp_path: Path) -> None:
    write_part(frame(), tmp_path / "0.parquet")
    with pytest.raises(VectorError, match=r"1\.parquet is missing.*run the same call or command again"):
        join_vectors([tmp_path / "0.parquet", tmp_path / "1.parquet"], tmp_path / "a.gpkg")
    assert [file.name for file in tmp_path.iterdir()] == ["0.parquet"]


# y up


@every_format
@pytest.mark.parametrize("joined", [False, True])
def test_y_runs_up_in_the_file_and_down_in_the_table(suffix: str, joined: bool, tmp_path: Path) -> None:
    features, path = frame(crs=None, n=[1, 2]), tmp_path / f"a{suffix}"
    if joined:
        write_part(features, tmp_path / "0.parquet")
        join_vectors([tmp_path / "0.parquet"], path, provenance={"y_up": True})
    else:
        write_vectors(features, path, provenance={"y_up": True})
    plain = gpd.read_parquet(path) if suffix == ".parquet" else gpd.read_file(path)
    assert plain.total_bounds.tolist() == [0, -1, 1, 0]
    found = read_vectors(path)
    assert found.total_bounds.tolist() == [0, 0, 1, 1]
    # What is made of it is written as it was.
    write_vectors(found, tmp_path / f"b{suffix}", provenance=found.attrs["samgeo"])
    assert (tmp_path / f"b{suffix}").exists()
    assert read_vectors(tmp_path / f"b{suffix}").geometry.geom_equals(found.geometry).all()


# Areas in metadata


def test_areas_are_described_in_few_corners() -> None:
    angles = np.linspace(0, 2 * np.pi, 50_000, endpoint=False)
    radius = 25 + 0.2 * np.cos(5000 * angles)
    coast = shapely.Polygon(np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1))
    many = shapely.union_all([shapely.box(i, j, i + 0.5, j + 0.5) for i in range(20) for j in range(20)])
    for area in (coast, many):
        told = describe_area(area)
        outline = shapely.from_wkt(told["outline"])
        assert shapely.get_num_coordinates(outline) <= MOST_CORNERS
        assert shapely.hausdorff_distance(shapely.convex_hull(outline), shapely.convex_hull(area)) < 2
    exact = describe_area(shapely.box(0.1, 0, 1 / 3, 1))
    assert shapely.from_wkt(exact["outline"]).equals(shapely.box(0.1, 0, 1 / 3, 1))
    nearly = shapely.box(0.1, 0, np.nextafter(1 / 3, 1), 1)
    assert describe_area(nearly)["digest"] != exact["digest"]


def test_the_current_folder_counts_as_a_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_vectors(frame(), "a.gpkg")
    write_vectors(frame(), "a.gpkg", layer="b")
    assert [file.name for file in Path().iterdir()] == ["a.gpkg"]
