"""Vector files that lie: a result or an error within bounds, and nothing read or written that was not named."""

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hostile_vectors as hostile
import pyogrio
import pytest

from samgeo.errors import VectorError
from samgeo.geo.vector.reading import read_provenance, read_vectors


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Features that nobody named."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    hostile.whole(folder / "secret.gpkg")
    return folder / "secret.gpkg"


def state(folder: Path) -> dict[str, tuple[int, str]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files}


@contextmanager
def nothing_written(folder: Path) -> Iterator[None]:
    before, start = state(folder), time.process_time()
    yield
    assert state(folder) == before
    assert time.process_time() - start < hostile.SECONDS_EACH


def refused(path: Path, **options) -> str:
    with nothing_written(path.parent), pytest.raises(VectorError) as caught:
        read_vectors(path, **options)
    return str(caught.value)


@pytest.mark.parametrize("count", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_mutated_files_of_each_format_are_read_or_refused(tmp_path: Path, count: int) -> None:
    command = [sys.executable, hostile.__file__, str(count), str(tmp_path)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own script
    lines = [json.loads(line) for line in child.stdout.splitlines()]
    assert child.returncode == 0, (lines[-1:], child.returncode, child.stderr[-2000:])
    came = [line for line in lines if "came" in line]
    assert len(came) == 4 * count
    assert 0.01 < sum(line["came"] == "result" for line in came) / len(came) < 0.6
    assert max(line["resident"] for line in came) < 1_000_000_000
    assert list(tmp_path.iterdir()) == []


# What refers to other files


def vrt(secret: Path) -> str:
    layer = f'<OGRVRTLayer name="secret"><SrcDataSource>{secret}</SrcDataSource></OGRVRTLayer>'
    return f"<OGRVRTDataSource>{layer}</OGRVRTDataSource>"


def stream(secret: Path) -> str:
    return json.dumps({"type": "gdal_streamed_alg", "command_line": f"gdal vector pipeline ! read {secret}"})


@pytest.mark.parametrize(
    "name", ["a.geojson", "a.json", "a.gpkg", "a.fgb", "a.parquet", "a.shp", "a.gml", "a.kml", "a.csv", "a"]
)
@pytest.mark.parametrize("text", [vrt, stream])
def test_a_file_that_leads_to_another_is_not_followed(tmp_path: Path, secret: Path, name: str, text) -> None:
    path = tmp_path / name
    path.write_text(text(secret))
    assert name in refused(path)
    with pytest.raises(VectorError):
        read_provenance(path)


def test_gdal_would_have_followed_them(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "a.geojson").write_text(vrt(secret))
    assert len(pyogrio.read_dataframe(tmp_path / "a.geojson")) == 60


def test_a_virtual_file_by_its_name_is_followed(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "a.vrt").write_text(vrt(secret))
    assert len(read_vectors(tmp_path / "a.vrt")) == 60


def test_a_virtual_file_in_an_archive_is_not_followed(tmp_path: Path, secret: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside.vrt", vrt(secret))
    assert "refers to other files" in refused(tmp_path / "a.zip")
    with pytest.raises(VectorError, match="refers to other files"):
        read_vectors(f"/vsizip/{tmp_path / 'a.zip'}")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.write(secret, "inside.gpkg")
    assert len(read_vectors(tmp_path / "b.zip")) == 60


def test_entities_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gml").write_text('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>')
    assert "entities" in refused(tmp_path / "a.gml")


# SQLite


def changed(secret: Path, script: str) -> Path:
    path = secret.parent.parent / "a.gpkg"
    shutil.copy(secret, path)
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()
    return path


REGISTERED = """
INSERT INTO gpkg_contents(table_name, data_type, identifier, srs_id) VALUES('seen', 'features', 'seen', 32631);
INSERT INTO gpkg_geometry_columns VALUES('seen', 'geom', 'MULTIPOLYGON', 32631, 0, 0);
"""


def test_triggers_do_not_fire_and_nothing_is_written(secret: Path) -> None:
    path = changed(
        secret,
        """CREATE TRIGGER t1 AFTER INSERT ON secret BEGIN DELETE FROM secret; END;
        CREATE TRIGGER t2 AFTER UPDATE ON gpkg_contents BEGIN DELETE FROM secret; END;""",
    )
    with nothing_written(path.parent):
        assert len(read_vectors(path)) == 60
        assert read_provenance(path) == {"model": "tiny"}


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS fid, geom FROM n, secret"
LONG = "SELECT a.fid, a.geom FROM secret a, secret b, secret c, secret d, secret e, secret f, secret g"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT fid, geom FROM secret WHERE fid < 10",
        ENDLESS,
        LONG,
        "SELECT fid, geom FROM seen",
        "SELECT fid, geom, load_extension('evil') AS p FROM secret",
        "SELECT fid, geom, ogr_geocode('Paris') AS p FROM secret",
        "SELECT fid, geom, writefile('owned', 'x') AS p FROM secret",
        "SELECT fid, geom, gdal_get_pixel_value('secret.tif', 1, 'pixel', 3, 3) AS p FROM secret",
        "SELECT fid, geom FROM other",
    ],
)
def test_a_view_is_not_computed(secret: Path, sql: str) -> None:
    other = f"CREATE VIRTUAL TABLE other USING VirtualOGR(''{secret}'')"
    table = f"INSERT INTO sqlite_master VALUES('table', 'other', 'other', 0, '{other}');"
    path = changed(
        secret, f"CREATE VIEW seen AS {sql}; PRAGMA writable_schema = 1; {table if 'other' in sql else ''}" + REGISTERED
    )
    assert "seen" in refused(path, layer="seen") or "cannot be read" in refused(path, layer="seen")
    assert "several layers" in refused(path) or "cannot be read" in refused(path)
    if "other" not in sql and "ogr_geocode" not in sql:
        with nothing_written(path.parent):
            assert len(read_vectors(path, layer="secret")) == 60


def test_a_lone_view_is_not_computed(secret: Path) -> None:
    alone = "DELETE FROM gpkg_contents; DELETE FROM gpkg_geometry_columns;"
    path = changed(secret, f"CREATE VIEW seen AS {ENDLESS};" + alone + REGISTERED)
    assert "is a view" in refused(path, layer="seen")
    assert "is a view" in refused(path) or "several layers" in refused(path)


# GeoJSON


def feature(coordinates: str) -> str:
    geometry = f'{{"type": "Point", "coordinates": {coordinates}}}'
    return f'{{"type": "FeatureCollection", "features": [{{"type": "Feature", "properties": {{}}, "geometry": {geometry}}}]}}'


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        '{"type": "FeatureCollection", "features": ' + "[" * 1_000_000,
        feature("[" * 1_000_000),
        '{"a":' * 100_000,
        '{"samgeo_schema": ' + "[" * 1_000_000,
        '{"type": "FeatureCollection", "samgeo_schema": 7, "features": []}',
        '{"type": "FeatureCollection", "samgeo_schema": {"crs": null, "columns": {"a": "no such type"}}, "features": []}',
        feature('["a", {}]'),
        feature("[NaN, 1]"),
        '{"type": "FeatureCollection", "crs": {"type": "link", "properties": {"href": "file:///etc/passwd"}}, "features": [7]}',
    ],
)
def test_hostile_geojson_is_read_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(text)
    with nothing_written(tmp_path):
        assert hostile.read_all(path)


@pytest.mark.parametrize("number", ["1e400", "-1e999", "9" * 400])
def test_a_number_past_all_bounds_is_refused(tmp_path: Path, number: str) -> None:
    (tmp_path / "a.geojson").write_text(feature(f"[{number}, 2]"))
    assert "a.geojson cannot be read" in refused(tmp_path / "a.geojson")
