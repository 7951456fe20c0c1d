"""The examples in docstrings of public functions and classes run, and give what they say."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import samgeo

PACKAGES = ["samgeo", *(one.name for one in pkgutil.walk_packages(samgeo.__path__, "samgeo.", onerror=print) if one.ispkg)]


def documented() -> dict[str, object]:
    """Every public function, class and method with an example, once, by its full name."""
    found: dict[str, object] = {}
    for package in map(importlib.import_module, PACKAGES):
        for name in getattr(package, "__all__", ()):
            exported = getattr(package, name)
            if not (inspect.isclass(exported) or inspect.isfunction(exported)):
                continue
            members = vars(exported).values() if inspect.isclass(exported) else ()
            for one in (exported, *(getattr(member, "__func__", member) for member in members)):
                if not hasattr(one, "__qualname__"):
                    continue  # a value of a class, which has the docstring of its own class
                if ">>>" in (inspect.getdoc(one) or "") and getattr(one, "__module__", "").startswith("samgeo."):
                    found[f"{one.__module__}.{one.__qualname__}"] = one  # type: ignore[attr-defined]
    return found


EXAMPLES = documented()


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(EXAMPLES[name]) or "", {"samgeo": samgeo}, name, None, 0)
    told: list[str] = []
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    failed, tried = doctest.DocTestRunner(optionflags=flags).run(example, out=told.append)
    assert tried
    assert not failed, "".join(told)


# They need minutes, or change how the whole process ends.
WITHOUT = {"stop_on_sigterm", "run_recipe", "judge", "train"}

# What users make themselves, by its constructor and not by a function of samgeo.
MADE_BY_USERS = {
    "samgeo.Raster", "samgeo.Predictor", "samgeo.map.Session", "samgeo.segmentation.RasterPrompts", "samgeo.training.Course",
    "samgeo.training.LossWeights", "samgeo.training.TrainOptions", "samgeo.synthetic.Scene", "samgeo.finding.OnnxDetector",
    "samgeo.finding.DetectorSource", "samgeo.testing.Oracle", "samgeo.objects.Selector", "samgeo.objects.Classifier",
}  # fmt: skip


def test_every_public_function_has_an_example() -> None:
    missing = {
        name
        for package in map(importlib.import_module, PACKAGES)
        for name in getattr(package, "__all__", ())
        if inspect.isfunction(one := getattr(package, name)) and ">>>" not in (inspect.getdoc(one) or "")
    }
    assert missing - WITHOUT == set()


@pytest.mark.parametrize("name", sorted(MADE_BY_USERS))
def test_every_class_that_users_make_has_an_example(name: str) -> None:
    package, _, exported = name.rpartition(".")
    assert ">>>" in (inspect.getdoc(getattr(importlib.import_module(package), exported)) or "")
