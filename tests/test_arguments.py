"""Arguments of a wrong Python type are told by name, before any work, by every public function."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import numpy as np
import pytest
import torch

import samgeo
from samgeo.arguments import check_types, checked_names
from samgeo.errors import OptionError

PACKAGES = ["samgeo", *(one.name for one in pkgutil.walk_packages(samgeo.__path__, "samgeo.", onerror=print) if one.ispkg)]
# Protocols, models that the engine calls, and what has checks of its own.
OF_OTHERS = {"Segmenter", "Describing", "Gating", "Profile", "TrainOptions", "Tiny", "Sam2", "Oracle"}


def public_functions():
    """Every public function, and public method of a public class, once, with its name."""
    exported = {}
    for package in map(importlib.import_module, PACKAGES):
        for name in getattr(package, "__all__", ()):
            if package.__name__ != "samgeo.cli" and name not in OF_OTHERS:
                exported[id(getattr(package, name))] = name, getattr(package, name)
    for name, found in exported.values():
        if inspect.isclass(found):
            for key, value in vars(found).items():
                method = getattr(value, "__func__", value)
                if inspect.isfunction(method) and (key == "__init__" or not key.startswith("_")):
                    yield f"{name}.{key}", method
        elif inspect.isfunction(found):
            yield name, found


FUNCTIONS = [
    pytest.param(function, name, id=f"{full}-{name}")
    for full, function in public_functions()
    if not inspect.unwrap(function).__code__.co_filename.startswith("<")  # of dataclasses
    for name in checked_names(function)
]


class Strange:
    """Nothing that any parameter takes."""

    def __repr__(self) -> str:
        return "<strange>"


@pytest.mark.parametrize(("function", "name"), FUNCTIONS)
def test_every_public_function_refuses_a_wrong_type_by_name(function, name):
    parameters = inspect.signature(function).parameters
    sound = {"int": 1, "float": 1.0, "bool": True, "str": "a", "tuple[str, ...]": ("a",), "str | os.PathLike[str]": "a"}
    given = {
        key: sound.get(str(one.annotation), "a")
        for key, one in parameters.items()
        if one.default is inspect.Parameter.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    }
    with pytest.raises(OptionError, match=f"^{name} is <strange>; give "):
        function(**(given | {name: Strange()}))


def test_there_are_many_of_them():
    assert len(FUNCTIONS) > 250


@check_types
def sample(
    whole: int = 1,
    number: float | None = None,
    yes: bool = False,
    text: str | None = None,
    path: str | Path = "a",
    device: str | torch.device = "auto",
    names: tuple[str, ...] | list[str] = (),
):
    return whole, number, yes, text, path, device, names


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"whole": 2.5}, "whole is 2.5; give a whole number."),
        ({"whole": 2.0}, "whole is 2.0; give a whole number."),
        ({"whole": "2"}, "whole is '2'; give a whole number."),
        ({"whole": True}, "whole is True; give a whole number."),
        ({"whole": None}, "whole is None; give a whole number."),
        ({"whole": np.array([2])}, "give a whole number."),
        ({"number": "5"}, "number is '5'; give a number or None."),
        ({"number": True}, "number is True; give a number or None."),
        ({"number": 1j}, "give a number or None."),
        ({"yes": 1}, "yes is 1; give True or False."),
        ({"yes": "no"}, "yes is 'no'; give True or False."),
        ({"text": b"a"}, "text is b'a'; give a text or None."),
        ({"path": None}, "path is None; give a text or a path."),
        ({"device": 5}, "device is 5; give a text or a torch.device."),
        ({"names": None}, "names is None; give a list of texts."),
        ({"names": "ab"}, "names is 'ab'; give a list of texts."),
        ({"names": ["a", 1]}, "give a list of texts."),
        ({"text": ["x" * 1000] * 1000}, "give a text or None."),
    ],
)
def test_wrong_types(given, told):
    with pytest.raises(OptionError) as caught:
        sample(**given)
    assert str(caught.value).endswith(told)
    assert len(str(caught.value)) < 300


def test_scalars_of_numpy_become_pythons_own():
    found = sample(np.int64(3), np.float32(0.5), np.bool_(True), np.str_("b"), Path("c"), torch.device("cpu"), ["d"])
    assert found == (3, 0.5, True, "b", Path("c"), torch.device("cpu"), ["d"])
    assert [type(one) for one in found[:3]] == [int, float, bool]
    assert sample(3, 2)[:2] == (3, 2)


def test_pythons_own_message_stays_for_a_wrong_name():
    with pytest.raises(TypeError, match=r"sample.* unexpected keyword argument 'colour'"):
        sample(colour=1)
