"""Every warning of samgeo is a `SamgeoWarning`, so that the command line prints its text and a user can filter all of them."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import samgeo
from samgeo.errors import SamgeoWarning

SOURCE = Path(samgeo.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))


def module_of(path: Path) -> str:
    return ".".join(["samgeo", *path.relative_to(SOURCE).with_suffix("").parts]).removesuffix(".__init__")


def nodes(kind: type[ast.AST]) -> Iterator[tuple[Path, ast.AST]]:
    """Every part of a kind of the source of the package, with its file."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, kind):
                yield path, node


def warning_classes() -> Iterator[type]:
    """Every class that is defined in the package and is a warning."""
    for path, node in nodes(ast.ClassDef):
        if any(ast.unparse(base).endswith("Warning") for base in node.bases):
            yield getattr(importlib.import_module(module_of(path)), node.name)


def test_every_class_of_warnings_is_a_warning_of_samgeo() -> None:
    found = list(warning_classes())
    assert [one for one in found if not issubclass(one, SamgeoWarning)] == []
    assert len(found) > 5


def test_warnings_are_issued_by_one_function_with_these_classes() -> None:
    issued = []
    for path, node in nodes(ast.Call):
        name = ast.unparse(node.func)
        if name == "warnings.warn":
            assert path.name == "errors.py"
        if name == "warn" and len(node.args) > 1:
            category = ast.unparse(node.args[1])
            # hints.py passes its parameter on, whose annotation mypy checks.
            if category != "kind":
                issued.append(getattr(importlib.import_module(module_of(path)), category))
    assert issued
    assert [one for one in issued if not issubclass(one, SamgeoWarning)] == []
