"""A package imports only from packages below it; `BELOW` is the order, which docs/design.md draws."""

import ast
from pathlib import Path

import pytest

import samgeo

ROOT = Path(samgeo.__file__).parent
BELOW = {
    "errors": set(),
    "arguments": set(),
    "progress": set(),
    "types": {"geo"},
    "storage": set(),
    "geo": {"storage"},
    "models": {"storage", "geo"},
    "segmentation": {"storage", "geo", "models"},
    "finding": {"storage", "geo", "models", "segmentation", "annotations"},
    "plot": {"storage", "geo"},
    "editing": {"storage", "geo"},
    "objects": {"storage", "geo", "models", "segmentation", "evaluation"},
    "time_series": {"storage", "geo", "models", "segmentation", "evaluation", "finding", "objects"},
    "buildings": {"storage", "geo", "models", "segmentation", "evaluation", "finding", "objects"},
    "annotations": {"storage", "geo", "segmentation"},
    "samrs": {"storage", "geo", "models", "segmentation", "annotations", "plot", "finding"},
    "evaluation": {"storage", "geo", "segmentation", "plot"},
    "synthetic": {"storage", "geo", "segmentation"},
    "training": {"storage", "geo", "models", "segmentation", "finding", "synthetic"},
    "map": {"storage", "geo", "models", "segmentation", "finding", "annotations", "plot", "training", "buildings"},
    "testing": {
        *("storage", "geo", "models", "segmentation", "finding", "objects", "buildings", "evaluation", "plot", "synthetic"),
    },
    "cli": {
        *("storage", "geo", "models", "segmentation", "plot", "buildings", "annotations", "samrs", "evaluation", "synthetic"),
        *("training", "map", "testing", "finding", "objects", "editing", "time_series"),
    },
}
# The order inside segmentation, from the lowest: a folder or module imports only from those before it.
SEGMENTATION = (
    *(
        "execution",
        "profile",
        "masks",
        "tables",
        "windows",
        "merge",
        "prompts",
        "options",
        "output_checks",
        "predictor",
    ),
    *("encoding", "run", "prediction_run", "prediction", "request", "api"),
)
# The package itself gives names from every package, when they are first used.
FILES = sorted(set(ROOT.rglob("*.py")) - {ROOT / "__init__.py"})


def package_of(parts):
    """The package that a dotted path below samgeo lies in; the package itself is "samgeo"."""
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
                is_submodule = name is not None and len(module) == 1 and name in BELOW
                yield ([name] if is_submodule else module[1:]), name


def breaches(source, name, package):
    """What a file of a package imports and may not."""
    found = []
    for parts, imported_name in imported(source, package):
        target = package_of(parts)
        # The package itself loads every package: it may be asked for its version, and for nothing else.
        asks_version = target == "samgeo" and imported_name == "__version__"
        if not asks_version and target not in BELOW[name] | {name, "errors", "arguments", "progress", "types"}:
            found.append(".".join(["samgeo", *parts]))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_to_packages_below(path):
    relative = path.relative_to(ROOT)
    package = ["samgeo", *relative.parent.parts]
    name = relative.parts[0].removesuffix(".py")
    assert name in BELOW, f"{name} has no place in the order of packages; give it one here and in docs/design.md"
    assert breaches(path.read_text(encoding="utf-8"), name, package) == []


def breaches_in_segmentation(source, name, package):
    """What a file of a part of segmentation imports from a part that is not below it."""
    targets = [parts for parts, _ in imported(source, package) if parts[:1] == ["segmentation"]]
    below = {name, *SEGMENTATION[: SEGMENTATION.index(name)]}
    return [".".join(parts) for parts in targets if len(parts) < 2 or parts[1] not in below]


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.is_relative_to(ROOT / "segmentation") and path != ROOT / "segmentation" / "__init__.py"],
    ids=lambda path: str(path.relative_to(ROOT / "segmentation")),
)
def test_imports_inside_segmentation_point_down(path):
    name = path.relative_to(ROOT / "segmentation").parts[0].removesuffix(".py")
    assert name in SEGMENTATION, f"{name} has no place in the order of segmentation; give it one here"
    package = ["samgeo", *path.relative_to(ROOT).parent.parts]
    assert breaches_in_segmentation(path.read_text(encoding="utf-8"), name, package) == []


@pytest.mark.parametrize(
    "source",
    [
        "from samgeo.segmentation.run.parts import Part",
        "from samgeo.segmentation import segment",
        "from ..merge.merger import Merger",
        "def late():\n    from samgeo.segmentation.merge.merger import Merger",
    ],
)
def test_a_breach_inside_segmentation_is_found(source):
    package = ["samgeo", "segmentation", "windows"]
    assert breaches_in_segmentation(source, "windows", package)
    assert not breaches_in_segmentation("from samgeo.segmentation.masks.piece import Piece", "windows", package)


@pytest.mark.parametrize(
    "source",
    [
        "import samgeo.map.widget",
        "from samgeo.map import widget",
        "from samgeo import map",
        "from ..map.widget import Map",
        "from .. import map",
        "def late():\n    from samgeo.map.widget import Map",
        "if TYPE_CHECKING:\n    from samgeo.map.widget import Map",
        "import_module('samgeo.map.widget')",
        "from samgeo import show",
        "import samgeo",
    ],
)
def test_a_breach_is_found_in_every_form(source):
    assert breaches(source, "segmentation", ["samgeo", "segmentation"])


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
def test_what_is_below_is_allowed(source):
    assert breaches(source, "segmentation", ["samgeo", "segmentation"]) == []


def test_packages_beside_each_other_and_the_scenes_are_out_of_reach():
    assert breaches("from samgeo.training import loop", "samrs", ["samgeo", "samrs"])
    assert breaches("from samgeo.evaluation import report", "map", ["samgeo", "map"])
    assert breaches("from samgeo.synthetic import town", "segmentation", ["samgeo", "segmentation"])
    assert not breaches("from samgeo.synthetic import town", "cli", ["samgeo"])
