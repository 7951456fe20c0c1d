"""Command lines of the QGIS plugin: what parameters become, and that the command samgeo understands them."""

import ast
import re
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import pytest
from samgeo_qgis.command import (
    CommandError,
    Destination,
    clean_environment,
    command_line,
    extra_options,
    find_program,
    may_be_styled,
    option,
    parse_destination,
    switch,
)
from shapely.geometry import box

from samgeo.cli import main
from samgeo.geo.vector import write_vectors
from samgeo.plot import style_layer

PLUGIN = Path(__file__).parent.parent.parent / "qgis-plugin" / "samgeo_qgis"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, []),
        ("", []),
        ("  ", []),
        (False, []),
        (float("nan"), []),
        ([float("nan"), float("nan")], []),
        (True, ["--x"]),
        (0, ["--x=0"]),
        (0.1, ["--x=0.1"]),
        (20.0, ["--x=20"]),
        (-9999, ["--x=-9999"]),
        ("red, green", ["--x=red, green"]),
        ([0.0, 3000.0], ["--x=0,3000"]),
        ("a b;c", ["--x=a b;c"]),
    ],
)
def test_a_value_becomes_an_option_or_nothing(value, words):
    assert option("--x", value) == words


def test_an_option_that_is_on_or_off():
    assert switch("circles", True) == ["--circles"]
    assert switch("circles", False) == ["--no-circles"]


def test_a_path_that_begins_with_a_hyphen_is_no_option():
    words = command_line("samgeo", "show", ["-image.tif"], [*option("--output", "-picture.png")])
    with main.commands["show"].make_context("show", words[2:]) as context:
        assert (context.params["image"], context.params["output"]) == ("-image.tif", Path("-picture.png"))


def test_typed_options_are_separated_as_in_a_shell():
    assert extra_options(None) == extra_options(" ") == []
    assert extra_options("--min-hole 0 --run-dir 'my run'") == ["--min-hole", "0", "--run-dir", "my run"]
    with pytest.raises(CommandError, match="cannot be read"):
        extra_options("--run-dir 'my run")
    with pytest.raises(CommandError, match="do not begin with an option"):
        extra_options("other.tif --overwrite")


@pytest.mark.parametrize(
    ("text", "path", "layer"),
    [
        ("/a/found.gpkg", "/a/found.gpkg", "found"),
        ("C:/a/found.GPKG", "C:/a/found.GPKG", "found"),
        ("/a/found.fgb", "/a/found.fgb", None),
        ("ogr:dbname='/a b/city.gpkg' table=\"my roofs\" (geom)", "/a b/city.gpkg", "my roofs"),
        ("ogr:dbname='/a/city.gpkg' table=\"roofs\"", "/a/city.gpkg", "roofs"),
    ],
)
def test_a_destination_of_qgis_is_a_file_and_a_layer(text, path, layer):
    assert parse_destination(text) == Destination(path, layer)


def test_a_destination_as_qgis_and_samgeo_name_it():
    roofs = Destination("/a/city.gpkg", "roofs")
    assert (roofs.source, roofs.name) == ("/a/city.gpkg|layername=roofs", "/a/city.gpkg:roofs")
    assert Destination("/a/city.fgb", None).source == "/a/city.fgb"


def program(path):
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_the_program_is_the_chosen_one_or_that_of_the_path(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    own, chosen = program(tmp_path / "bin" / "samgeo"), program(tmp_path / "my samgeo")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_program(None) == find_program("") == own
    assert find_program(chosen) == chosen
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_program("~/my samgeo") == chosen


def test_a_program_that_is_missing_is_refused_with_the_place_of_the_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match=r"was not found. Install samgeo .* Processing > Providers > samgeo\.$"):
        find_program(None)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(CommandError, match=r"notes\.txt is not a program; correct"):
        find_program(str(tmp_path / "notes.txt"))


def test_the_environment_of_qgis_is_not_that_of_samgeo():
    of_qgis = {
        "PYTHONHOME": "C:/QGIS/python",
        "PYTHONPATH": "x",
        "PROJ_LIB": "x",
        "GDAL_DATA": "x",
        "HOME": "/home/a",
        "PATH": "/bin",
    }
    assert clean_environment(of_qgis) == {
        "HOME": "/home/a",
        "PATH": "/bin",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
    }


def test_a_style_of_another_program_is_not_replaced(tmp_path):
    path = tmp_path / "city.gpkg"
    for name in ("roofs", "cars"):
        write_vectors(gpd.GeoDataFrame({"score": [0.5]}, geometry=[box(0, 0, 1, 1)], crs="EPSG:32633"), path, layer=name)
    roofs, cars = (Destination(str(path), name) for name in ("Roofs", "cars"))
    assert may_be_styled(roofs)
    style_layer(path, layer="roofs")
    assert may_be_styled(roofs)
    with closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE layer_styles SET owner = ''")  # as QGIS leaves it where a user saves a style
        file.commit()
    assert not may_be_styled(roofs)
    assert may_be_styled(cars)
    assert not may_be_styled(Destination(str(tmp_path / "city.fgb"), None))


def tables(module):
    """Return the dictionaries of options at the top of a module."""
    found = {}
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def flags(node, known):
    """Return the options that a class names, in shared dictionaries and directly."""
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value.startswith("--"):
            yield one.value
        elif isinstance(one, ast.Dict):
            for key, value in zip(one.keys, one.values, strict=True):
                if key is None and value.id in known:
                    yield from known[value.id].values()
        elif isinstance(one, ast.Call) and getattr(one.func, "id", "") == "switch":
            yield f"--{one.args[0].value}"


def algorithms():
    """Return the options that each algorithm gives to its command, read from the source, which needs QGIS to run."""
    modules = {name: ast.parse((PLUGIN / f"{name}.py").read_text()) for name in ("parameters", "finding", "outlines")}
    shared = tables(modules["parameters"])
    found = {}
    for name in ("finding", "outlines"):
        known, classes = shared | tables(modules[name]), {}
        for node in modules[name].body:
            if not isinstance(node, ast.ClassDef):
                continue
            values = {one.targets[0].id: one.value for one in node.body if isinstance(one, ast.Assign)}
            command, inherited = classes.get(node.bases[0].id, (None, set()))
            command = values["COMMAND"].value if "COMMAND" in values else command
            classes[node.name] = command, inherited | set(flags(node, known))
            if "NAME" in values:
                found[values["NAME"].value] = classes[node.name]
    return found


def test_the_manual_lists_each_algorithm_with_its_command():
    page = (PLUGIN.parent.parent / "docs" / "qgis.md").read_text()
    listed = dict(re.findall(r"^\| ([A-Z][^|]*) \| \[`samgeo (\w+)", page, re.MULTILINE))
    titles = {}
    for name in ("finding", "outlines"):
        titles |= dict(re.findall(r'NAME = "(\w+)"\n    TITLE = "(.*)"', (PLUGIN / f"{name}.py").read_text()))
    assert listed == {title: algorithms()[name][0] for name, title in titles.items()}


def test_the_options_of_each_algorithm_are_those_of_its_command():
    found = algorithms()
    assert set(found) == {"segment", "find", "footprints", "predict_points", "predict_boxes", "regularize", "evaluate"}
    for name, (command, given) in found.items():
        known = {option for one in main.commands[command].params for option in (*one.opts, *one.secondary_opts)}
        assert len(given) > 4, name
        assert given <= known, name
    # Those that all algorithms with an output or an image add.
    for command in ("segment", "find", "footprints", "predict"):
        assert {"--layer", "--y-up"} <= {option for one in main.commands[command].params for option in one.opts}
