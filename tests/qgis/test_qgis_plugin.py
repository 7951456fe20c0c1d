"""The folder of the QGIS plugin: its metadata, its ZIP file, and that old Pythons of QGIS can read it."""

import ast
import sys
import tomllib
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pack_plugin
import pytest

import samgeo

ROOT = Path(__file__).parent.parent.parent
PLUGIN = ROOT / "qgis-plugin" / "samgeo_qgis"
MODULES = sorted(PLUGIN.glob("*.py"))
WITHOUT_QGIS = ("command", "process", "__init__")


def metadata():
    read = ConfigParser(interpolation=None)
    read.read(PLUGIN / "metadata.txt", encoding="utf-8")
    return read["general"]


def test_the_metadata_has_what_qgis_needs_and_the_version_of_the_package():
    found = metadata()
    assert found["version"] == samgeo.__version__
    assert found["hasProcessingProvider"] == "yes"  # otherwise qgis_process does not load it
    assert found["qgisMinimumVersion"] == "3.22"
    assert (PLUGIN / found["icon"]).is_file()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert found["author"] == project["project"]["authors"][0]["name"]
    assert all(found[name] for name in ("name", "description", "about"))
    assert PLUGIN.parent.name in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_is_python_3_9_and_imports_only_qgis_and_the_standard_library(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    imports = [one for one in ast.walk(tree) if isinstance(one, (ast.Import, ast.ImportFrom))]
    assert any(isinstance(one, ast.ImportFrom) and one.module == "__future__" for one in imports)
    found = set()
    for one in imports:
        if isinstance(one, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in one.names}
        elif not one.level:
            found.add(one.module.partition(".")[0])
    # processing is a plugin that is part of QGIS.
    of_qgis = {"qgis", "processing"}
    assert found <= set(sys.stdlib_module_names) | of_qgis
    if path.stem in WITHOUT_QGIS:
        at_the_top = {one.module for one in tree.body if isinstance(one, ast.ImportFrom)}
        assert not any((name or "").partition(".")[0] in of_qgis for name in at_the_top)


def test_the_zip_file_has_one_folder_with_all_that_the_plugin_is(tmp_path):
    names = pack_plugin.pack(tmp_path / "new" / "plugin.zip")
    with zipfile.ZipFile(tmp_path / "new" / "plugin.zip") as archive:
        assert archive.namelist() == names
        assert archive.testzip() is None
        for path in (*MODULES, PLUGIN / "metadata.txt", PLUGIN / "icon.svg"):
            assert archive.read(f"samgeo_qgis/{path.name}") == path.read_bytes()
        assert archive.read("samgeo_qgis/LICENSE") == (ROOT / "LICENSE").read_bytes()
        assert len(names) == len(MODULES) + 3
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["plugin.zip"]


def test_the_same_files_give_the_same_zip_file(tmp_path):
    for name in ("a.zip", "b.zip"):
        pack_plugin.pack(tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
