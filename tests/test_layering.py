"""A folder imports only from folders to its left: geo -> sam -> segment -> dataset | learn | map -> cli."""

import ast
from pathlib import Path

import pytest

import samgeo

ROOT = Path(samgeo.__file__).parent
LEFT_OF = {
    "errors": set(),
    "arguments": set(),
    "geo": set(),
    "sam": {"geo"},
    "segment": {"geo", "sam"},
    "dataset": {"geo", "sam", "segment"},
    "learn": {"geo", "sam", "segment", "testing"},
    "map": {"geo", "sam", "segment"},
    "testing": {"geo", "sam", "segment", "dataset", "map"},
    "cli": {"geo", "sam", "segment", "dataset", "learn", "map", "testing"},
}
# The package itself gives names from every room, when they are first used.
FILES = sorted(set(ROOT.rglob("*.py")) - {ROOT / "__init__.py"})


def room_of(parts):
    """The room that a dotted path below samgeo lies in; the package itself is "samgeo"."""
    return parts[0] if parts else "samgeo"


def imported(source, package):
    """Every module below samgeo that a file imports, at its top or anywhere in it, as the parts below samgeo; and the names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [(alias.name.split("."), None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            targets = [(module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "import_module":
            first = node.args[0]
            targets = [(first.value.split("."), None)] if isinstance(first, ast.Constant) else []
        else:
            continue
        for module, name in targets:
            if module[0] == "samgeo":
                is_submodule = name is not None and len(module) == 1 and name in LEFT_OF
                yield ([name] if is_submodule else module[1:]), name


def breaches(source, room, package):
    """What a file of a room imports and may not."""
    found = []
    for parts, name in imported(source, package):
        target = room_of(parts)
        # The package itself loads every room: it may be asked for its version, and for nothing else.
        asks_version = target == "samgeo" and name == "__version__"
        if not asks_version and target not in LEFT_OF[room] | {room, "errors", "arguments"}:
            found.append(".".join(["samgeo", *parts]))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_to_the_left(path):
    relative = path.relative_to(ROOT)
    package = ["samgeo", *relative.parent.parts]
    room = relative.parts[0].removesuffix(".py")
    assert room in LEFT_OF, f"{room} has no place in the order of rooms; give it one here and in docs/design.md"
    assert breaches(path.read_text(encoding="utf-8"), room, package) == []


@pytest.mark.parametrize(
    "source",
    [
        "import samgeo.map.display",
        "from samgeo.map import display",
        "from samgeo import map",
        "from ..map.display import show",
        "from .. import map",
        "def late():\n    from samgeo.map.display import show",
        "if TYPE_CHECKING:\n    from samgeo.map.display import show",
        "import_module('samgeo.map.display')",
        "from samgeo import show",
        "import samgeo",
    ],
)
def test_a_breach_is_found_in_every_form(source):
    assert breaches(source, "segment", ["samgeo", "segment"])


@pytest.mark.parametrize(
    "source",
    [
        "import numpy",
        "from samgeo import __version__",
        "from samgeo.errors import OptionError",
        "from samgeo.geo.grid import Rect",
        "from samgeo import geo",
        "from . import masks",
        "from .masks import Mask",
        "from ..geo.grid import Rect",
    ],
)
def test_what_is_to_the_left_is_allowed(source):
    assert breaches(source, "segment", ["samgeo", "segment"]) == []


def test_rooms_beside_each_other_and_the_scenes_are_out_of_reach():
    assert breaches("from samgeo.learn import pictures", "dataset", ["samgeo", "dataset"])
    assert breaches("from samgeo.dataset import metrics", "map", ["samgeo", "map"])
    assert breaches("from samgeo.testing import town", "segment", ["samgeo", "segment"])
    assert not breaches("from samgeo.testing import town", "cli", ["samgeo"])
