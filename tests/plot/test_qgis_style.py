"""Styles of QGIS in a GeoPackage: what they draw, and that nothing else in the file changes."""

import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
from click.testing import CliRunner
from shapely.geometry import Point, box

from samgeo.cli import main
from samgeo.errors import OptionError, SamgeoWarning, VectorError
from samgeo.geo.vector import read_vectors, write_vectors
from samgeo.plot import style_layer
from samgeo.plot.colors import colors_of

USER_QML = "<qgis version='3.40'><renderer-v2 type='nullSymbol'/></qgis>"


def write(path, layer=None, **columns):
    count = len(next(iter(columns.values()))) if columns else 3
    squares = [box(10 * index, 0, 10 * index + 5, 5) for index in range(count)]
    write_vectors(gpd.GeoDataFrame(columns, geometry=squares, crs="EPSG:32633"), path, layer=layer)
    return path


def rows(path, sql="SELECT * FROM layer_styles"):
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql)]


def dump(path):
    """Return all statements that make a file, but those about the table of styles."""
    with closing(sqlite3.connect(path)) as connection:
        # Functions that GDAL adds to SQLite, and the virtual tables of the spatial index, are not needed to read the tables.
        return [line for line in connection.iterdump() if "layer_styles" not in line]


def qgis_default(path, layer):
    """Return the style that QGIS loads, by the query of its provider (QgsOgrProviderMetadata::loadStyle)."""
    geometry = pyogrio.read_info(path, layer=layer)["geometry_name"] or "geom"
    sql = (
        "SELECT styleQML FROM layer_styles WHERE f_table_schema='' AND f_table_name=? AND f_geometry_column=? "
        "ORDER BY CASE WHEN useAsDefault THEN 1 ELSE 2 END, update_time DESC LIMIT 1"
    )
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql, (layer, geometry)).fetchone()[0]


def renderer(path, layer):
    text = qgis_default(path, layer)
    assert text.startswith("<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n")
    root = ET.fromstring(text)  # noqa: S314 - written by samgeo
    assert root.attrib["styleCategories"] == "Symbology"
    assert root.findtext("layerGeometryType") == "2"
    found = root.find("renderer-v2")
    symbols = {one.attrib["name"]: one for one in found.iter("symbol")}
    assert all(one.attrib["type"] == "fill" for one in symbols.values())
    for item in (*found.iter("category"), *found.iter("range")):
        assert item.attrib["symbol"] in symbols
    return found, {name: properties(one) for name, one in symbols.items()}


def properties(symbol):
    layer = symbol.find("layer")
    assert layer.attrib["class"] == "SimpleFill"
    new = {one.attrib["name"]: one.attrib["value"] for one in layer.find("Option")}
    assert new == {one.attrib["k"]: one.attrib["v"] for one in layer.iter("prop")}  # for QGIS before and since 3.18
    return new


def rgb(text):
    return tuple(map(int, text.split(",")[:3]))


def test_classes_get_the_colours_of_a_picture(tmp_path):
    names = ["roof & <shed>", "car", 'a "b"', "car", None]
    path = write(tmp_path / "city.gpkg", **{"class": names, "score": [0.1, 0.2, 0.3, 0.4, 0.5]})
    assert style_layer(path) == "class"
    found, symbols = renderer(path, "city")
    assert (found.attrib["type"], found.attrib["attr"]) == ("categorizedSymbol", "class")
    categories = {one.attrib["value"]: one.attrib for one in found.iter("category")}
    assert set(categories) == {"roof & <shed>", "car", 'a "b"', ""}  # the empty text stands for all other values
    colors = dict(zip(names, colors_of(read_vectors(path), "class"), strict=True))
    for value, category in categories.items():
        assert rgb(symbols[category["symbol"]]["outline_color"]) == colors[value or None]


def test_scores_get_intervals_without_a_gap(tmp_path):
    path = write(tmp_path / "city.gpkg", score=[0.1, 0.83, 0.3])
    assert style_layer(path) == "score"
    found, symbols = renderer(path, "city")
    assert (found.attrib["type"], found.attrib["attr"]) == ("graduatedSymbol", "score")
    edges = [(float(one.attrib["lower"]), float(one.attrib["upper"])) for one in found.iter("range")]
    assert (edges[0][0], edges[-1][1]) == (0.1, 0.83)
    assert [upper for _, upper in edges[:-1]] == [lower for lower, _ in edges[1:]]
    np.testing.assert_allclose([upper - lower for lower, upper in edges], 0.73 / 5)
    assert rgb(symbols["0"]["color"]) == (68, 1, 84)
    assert rgb(symbols["4"]["color"]) == (253, 231, 37)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.1, 0.83], ["0.10 - 0.25", "0.25 - 0.39", "0.39 - 0.54", "0.54 - 0.68", "0.68 - 0.83"]),
        ([12.3, 1234.5], ["12 - 257", "257 - 501", "501 - 746", "746 - 990", "990 - 1234"]),
        ([-1.0, 1.0], ["-1.00 - -0.60", "-0.60 - -0.20", "-0.20 - 0.20", "0.20 - 0.60", "0.60 - 1.00"]),
        ([0.0, 5e-12], ["0 - 1e-12", "1e-12 - 2e-12", "2e-12 - 3e-12", "3e-12 - 4e-12", "4e-12 - 5e-12"]),
        ([0.5], ["0.5 - 0.5"]),
    ],
)
def test_legends_have_the_decimals_that_intervals_need(tmp_path, values, labels):
    path = write(tmp_path / "city.gpkg", score=values)
    style_layer(path)
    assert [one.attrib["label"] for one in renderer(path, "city")[0].iter("range")] == labels


def test_equal_scores_are_one_interval(tmp_path):
    path = write(tmp_path / "city.gpkg", score=[0.5, 0.5])
    style_layer(path)
    assert [one.attrib["lower"] for one in renderer(path, "city")[0].iter("range")] == ["0.5"]


@pytest.mark.parametrize("columns", [{}, {"class": [None, None], "score": [np.nan, np.nan]}])
def test_without_classes_and_scores_there_is_one_outline(tmp_path, columns):
    path = write(tmp_path / "city.gpkg", **columns)
    assert style_layer(path) is None
    found, symbols = renderer(path, "city")
    assert found.attrib["type"] == "singleSymbol"
    assert [one["style"] for one in symbols.values()] == ["no"]


@pytest.mark.parametrize(
    ("values", "texts", "kind"),
    [([True, False], ["false", "true"], "bool"), (["b", "a"], ["a", "b"], "string")],
)
def test_a_column_can_be_chosen(tmp_path, values, texts, kind):
    path = write(tmp_path / "city.gpkg", **{"class": ["x", "y"], "whole": values})
    assert style_layer(path, column="whole") == "whole"
    categories = list(renderer(path, "city")[0].iter("category"))[:-1]
    assert [(one.attrib["value"], one.attrib["type"]) for one in categories] == [(one, kind) for one in texts]


def test_numbers_of_classes_are_no_scale(tmp_path):
    path = write(tmp_path / "city.gpkg", **{"class": [3, 1]})
    style_layer(path)
    found, _ = renderer(path, "city")
    assert [(one.attrib["value"], one.attrib["type"]) for one in found.iter("category")][:2] == [("1", "long"), ("3", "long")]


def test_features_without_a_number_are_reported(tmp_path):
    path = write(tmp_path / "city.gpkg", score=[0.1, np.nan, np.inf])
    with pytest.warns(SamgeoWarning, match=r"2 of 3 features have no number in the column score"):
        style_layer(path)
    assert [one.attrib["upper"] for one in renderer(path, "city")[0].iter("range")] == ["0.1"]


def test_all_else_in_the_file_stays(tmp_path):
    path = write(tmp_path / "city.gpkg", layer="roofs", score=[0.1, 0.2])
    write(path, layer="cars", score=[0.3])
    before = dump(path)
    style_layer(f"{path}:roofs")
    roofs = rows(path)
    assert dump(path) == before
    style_layer(path, layer="CARS")  # SQLite does not distinguish case
    assert dump(path) == before
    assert rows(path)[:1] == roofs
    assert [one["f_table_name"] for one in rows(path)] == ["roofs", "cars"]
    assert [one["f_geometry_column"] for one in rows(path)] == ["geom", "geom"]
    assert read_vectors(path, layer="roofs").score.tolist() == [0.1, 0.2]


def test_readers_find_the_table_as_one_without_geometry(tmp_path):
    path = write(tmp_path / "city.gpkg", score=[0.1, 0.2])
    style_layer(path)
    assert pyogrio.list_layers(path).tolist() == [["city", "MultiPolygon"], ["layer_styles", None]]
    assert read_vectors(path).score.tolist() == [0.1, 0.2]
    table = pyogrio.read_dataframe(path, layer="layer_styles")  # as QGIS reads it
    assert table[["f_table_name", "styleName", "useAsDefault"]].to_numpy().tolist() == [["city", "samgeo", True]]
    assert str(table.update_time.dtype).startswith("datetime64")


def test_a_style_of_the_user_is_never_lost(tmp_path):
    path = write(tmp_path / "city.gpkg", score=[0.1, 0.2])
    style_layer(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE layer_styles SET styleQML = ?, owner = ''", (USER_QML,))  # as QGIS saves it
        connection.commit()
    saved = path.read_bytes()
    with pytest.raises(VectorError, match=r"has a style already \(samgeo\)"):
        style_layer(path)
    assert path.read_bytes() == saved
    for _ in range(2):
        assert style_layer(path, overwrite=True) == "score"
        assert [one["styleQML"] == USER_QML for one in rows(path)] == [True, False]
        assert [one["useAsDefault"] for one in rows(path)] == [0, 1]
        assert renderer(path, "city")[0].attrib["type"] == "graduatedSymbol"


def test_the_style_stays_when_the_layer_is_written_again(tmp_path):
    path = write(tmp_path / "city.gpkg", score=[0.1, 0.2])
    style_layer(path)
    before = rows(path)
    write_vectors(read_vectors(path), path, overwrite=True)
    assert rows(path) == before


def test_what_cannot_have_a_style_is_refused(tmp_path):
    path = write(tmp_path / "city.gpkg", layer="roofs", score=[0.1], note=["\x01"], when=np.array(["2024-01-01"], "M8[ms]"))
    points = gpd.GeoDataFrame({"score": [0.1]}, geometry=[Point(0, 0)], crs="EPSG:32633")
    write_vectors(points, path, layer="points")
    write(tmp_path / "city.fgb", score=[0.1])
    many = write(tmp_path / "many.gpkg", name=[f"{index}" for index in range(201)])
    saved = path.read_bytes()
    for call, error, message in (
        ((path, None, None), VectorError, "has not one layer with geometry"),
        ((path, "points", None), VectorError, "polygons only"),
        ((path, "absent", None), VectorError, "has no layer absent"),
        ((f"{path}:roofs", "points", None), OptionError, "names the layer roofs"),
        ((path, "roofs", "absent"), OptionError, "no column 'absent'"),
        ((path, "roofs", "geom"), OptionError, "no column 'geom'"),
        ((path, "roofs", "note"), VectorError, "a character that a style cannot hold"),
        ((path, "roofs", "when"), OptionError, "gives no colours"),
        ((many, None, "name"), OptionError, "more than 200 values"),
        ((tmp_path / "city.fgb", None, None), VectorError, "not a GeoPackage"),
        ((tmp_path / "absent.gpkg", None, None), VectorError, "does not exist"),
        (("s3://bucket/city.gpkg", None, None), VectorError, "not a file of this machine"),
    ):
        with pytest.raises(error, match=message):
            style_layer(call[0], layer=call[1], column=call[2])
    assert path.read_bytes() == saved


def test_a_file_that_another_program_writes_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr("samgeo.plot.qgis_style.WAIT_SECONDS", 0.01)
    path = write(tmp_path / "city.gpkg", score=[0.1])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(VectorError, match=r"cannot get a style \(database is locked\)"):
            style_layer(path)
        other.execute("ROLLBACK")
    assert style_layer(path) == "score"


def test_the_command_says_what_gives_the_colours(tmp_path):
    path = write(tmp_path / "city.gpkg", layer="roofs", score=[0.1], change=["new"])
    done = CliRunner().invoke(main, ["style", f"{path}:roofs", "--column", "change"])
    assert (done.exit_code, done.stderr) == (0, f"Gave {path}:roofs a style: colours by change.\n")
    again = CliRunner().invoke(main, ["style", f"{path}:roofs"])
    assert again.exit_code == 1
    assert "allow overwrite" in again.stderr
    assert CliRunner().invoke(main, ["style", f"{path}:roofs", "--overwrite"]).exit_code == 0
    assert [Path(one).name for one in tmp_path.iterdir()] == ["city.gpkg"]
