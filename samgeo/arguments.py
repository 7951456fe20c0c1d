"""Checks of argument types: a wrong type raises an error with the name of the argument before the work starts."""

from __future__ import annotations

import functools
import inspect
import operator
import os
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from samgeo.errors import OptionError

__all__ = ["check_types", "checked_names"]

P = ParamSpec("P")
R = TypeVar("R")

# Returned by the functions of a kind for a value of another kind.
_NO_FIT = object()


def check_types(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that it checks the types of its arguments against its own annotations.

    Only those parameters are checked whose annotation consists of ``int``, ``float``, ``bool``, ``str``, paths, a device,
    sequences of strings, and ``None``. An int is accepted for ``float``, and a string for a path. A bool is not accepted as a
    number, and a string is not accepted as a sequence of strings. NumPy scalars are converted to Python scalars, so that they
    can be written as JSON.

    Parameters
    ----------
    function : callable
        The function. Its module must have ``from __future__ import annotations``, because annotations are compared as text.

    Returns
    -------
    callable
        The decorated function. It raises an `OptionError` if a type is wrong.

    Examples
    --------
    >>> from __future__ import annotations
    >>> from samgeo.arguments import check_types
    >>> @check_types
    ... def cut(size: int, name: str | None = None): ...
    >>> cut(2.5)
    Traceback (most recent call last):
    samgeo.errors.OptionError: size is 2.5; give a whole number.
    """
    signature = inspect.signature(function)
    kinds = _kinds_of(signature)

    @functools.wraps(function)
    def checking(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # Python's own error message names the function.
        for name, value in bound.arguments.items():
            if name in kinds:
                bound.arguments[name] = _fit(name, value, kinds[name])
        return function(*bound.args, **bound.kwargs)

    return checking


def checked_names(function: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters of a function whose types `check_types` checks."""
    return list(_kinds_of(inspect.signature(function)))


@dataclass(frozen=True, slots=True)
class _Kind:
    """A type that an annotation can name.

    Attributes
    ----------
    told : str
        Description of the type in error messages.
    fit : callable
        Function that returns the converted value, or `_NO_FIT` for a value of another type.
    """

    told: str
    fit: Callable[[Any], Any]


def _whole_number(value: object) -> object:
    if isinstance(value, bool) or not hasattr(value, "__index__") or getattr(value, "ndim", 0) != 0:
        return _NO_FIT
    return operator.index(value)


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, Real):
        return _NO_FIT
    return value.item() if hasattr(value, "item") else value


def _truth_value(value: object) -> object:
    if type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    return value if isinstance(value, bool) else _NO_FIT


def _text(value: object) -> object:
    return value if isinstance(value, str) else _NO_FIT


def _path(value: object) -> object:
    if isinstance(value, str):
        return Path(value)
    return value if isinstance(value, os.PathLike) and not isinstance(value.__fspath__(), bytes) else _NO_FIT


def _device(value: object) -> object:
    return value if (type(value).__module__, type(value).__name__) == ("torch", "device") else _NO_FIT


def _texts(value: object) -> object:
    return value if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value) else _NO_FIT


def _none(value: object) -> object:
    return value if value is None else _NO_FIT


_TEXTS = _Kind("a list of texts", _texts)
_PATH = _Kind("a path", _path)
_KINDS = {
    "int": _Kind("a whole number", _whole_number),
    "float": _Kind("a number", _number),
    "bool": _Kind("True or False", _truth_value),
    "str": _Kind("a text", _text),
    "Path": _PATH,
    "os.PathLike[str]": _PATH,
    "torch.device": _Kind("a torch.device", _device),
    "Sequence[str]": _TEXTS,
    "list[str]": _TEXTS,
    "tuple[str, ...]": _TEXTS,
    "None": _Kind("None", _none),
}


def _kinds_of(signature: inspect.Signature) -> dict[str, tuple[_Kind, ...]]:
    """Return the kinds of each parameter that can be checked."""
    found = {}
    for name, parameter in signature.parameters.items():
        parts = [part.strip() for part in str(parameter.annotation).split("|")]
        is_one = parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        if is_one and isinstance(parameter.annotation, str) and all(part in _KINDS for part in parts):
            found[name] = tuple(_KINDS[part] for part in parts)
    return found


def _fit(name: str, value: object, kinds: tuple[_Kind, ...]) -> object:
    """Return the value converted to the first kind that accepts it, or raise an `OptionError`."""
    for kind in kinds:
        fitting = kind.fit(value)
        if fitting is not _NO_FIT:
            return fitting
    told = list(dict.fromkeys(kind.told for kind in kinds))
    wanted = told[0] if len(told) == 1 else f"{', '.join(told[:-1])} or {told[-1]}"
    raise OptionError(f"{name} is {reprlib.repr(value)}; give {wanted}.")
