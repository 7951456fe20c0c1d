"""What a package exports is public, and only that: the manual, notebooks, README and command line use nothing else."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import samgeo

ROOT = Path(samgeo.__file__).parent.parent
PACKAGES = sorted(
    ["samgeo", *(one.name for one in pkgutil.walk_packages(samgeo.__path__, "samgeo.", onerror=lambda _: None) if one.ispkg)]
)
FACADES = [name for name in PACKAGES if name != "samgeo.cli" and hasattr(importlib.import_module(name), "__all__")]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "notebooks").glob("*.ipynb"))]
# Decisions and the design tell where things are in the code; the changelog tells what had other names before.
ABOUT_CODE = {"design.md", "decisions"}
DOTTED = re.compile(r"(?<![\w/\\.@-])samgeo(?:\.[A-Za-z_]\w*)+")
IMPORTED = re.compile(r"from (samgeo[\w.]*) import ([\w, ]+)")


def text_of(path: Path) -> str:
    """The text of a page; of a notebook, what a reader sees of it."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    return "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])


def is_public(dotted: str) -> bool:
    """Whether a name is a package, or can be reached from packages through what they export."""
    found: object = samgeo
    for part in dotted.split(".")[1:]:
        if isinstance(found, ModuleType):
            name = f"{found.__name__}.{part}"
            if part in getattr(found, "__all__", ()) or part.startswith("__"):
                found = getattr(found, part)
            elif name in PACKAGES or name == "samgeo.errors":
                found = importlib.import_module(name)
            elif found.__name__ == "samgeo.errors":
                found = getattr(found, part, None)
            else:
                return False
        else:
            found = getattr(found, part, None)
        if found is None:
            return False
    return True


@pytest.mark.parametrize("name", FACADES)
def test_every_exported_name_is_there_and_no_module(name: str) -> None:
    package = importlib.import_module(name)
    assert package.__all__, name
    for exported in package.__all__:
        assert not isinstance(getattr(package, exported), ModuleType), exported
        assert exported in dir(package)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_package_says_what_it_does_what_enters_and_what_leaves(name: str) -> None:
    text = importlib.import_module(name).__doc__ or ""
    assert text.count(".") >= 2, f"{name} needs a description"


@pytest.mark.parametrize("page", [page for page in PAGES if not ABOUT_CODE & set(page.parts)], ids=lambda page: page.name)
def test_pages_use_public_names_alone(page: Path) -> None:
    text = text_of(page)
    used = [name.rstrip(".") for name in DOTTED.findall(text)]
    for package, names in IMPORTED.findall(text):
        used += [f"{package}.{name.split(' as ')[0].strip()}" for name in names.split(",") if name.strip()]
    assert [name for name in dict.fromkeys(used) if not is_public(name)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "samgeo" / "cli").glob("*.py")), ids=lambda path: path.name)
def test_the_command_line_uses_public_names_alone(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("samgeo"):
            if node.module.startswith("samgeo.cli"):
                continue
            for alias in node.names:
                assert is_public(f"{node.module}.{alias.name}"), f"{node.module}.{alias.name}"


@pytest.mark.parametrize(
    "private", ["samgeo.segmentation.api", "samgeo.geo.raster.raster.Raster", "samgeo.nothing", "samgeo.Map.no"]
)
def test_what_is_not_exported_is_not_public(private: str) -> None:
    assert not is_public(private)


MOST_MODULES = 13  # with __init__.py


def test_no_folder_is_crowded() -> None:
    crowded = {
        folder.relative_to(ROOT): count
        for folder in (ROOT / "samgeo").rglob("*")
        if folder.is_dir() and (count := len(list(folder.glob("*.py")))) > MOST_MODULES
    }
    assert crowded == {}
