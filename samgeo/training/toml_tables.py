"""Reading of TOML tables key by key: the type of each value is checked, and unknown keys are errors."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Union

from samgeo.errors import OptionError

if TYPE_CHECKING:
    from samgeo.types import Json

__all__ = ["Table", "fill"]

T = TypeVar("T")

#: The annotation of a value: a class, a union such as ``str | None``, or a generic such as ``tuple[int, ...]``. Python's type
#: system has no type for annotations that are values (PEP 747 proposes one).
TypeForm: TypeAlias = Any

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list", dict: "a table"}
_REQUIRED = object()


class Table:
    """A TOML table, with its place in the file for messages.

    Parameters
    ----------
    values : mapping
    where : str
        Names of the file and of the table.
    """

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.where = where
        self._values = dict(values)
        self._asked: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def take(self, key: str, kind: TypeForm, default: object = _REQUIRED) -> Json:
        """Return the value of a key.

        Parameters
        ----------
        key : str
        kind : type
            Expected type: bool, int, float or str; tuples, mappings and unions of these; or a dataclass, whose fields are the
            keys of an inner table.
        default : any, optional
            Value if the key is missing. Without a default, the key is required.

        Raises
        ------
        OptionError
            If the key is required and missing, or its value has another type.
        """
        self._asked.add(key)
        if key in self._values:
            return _convert(self._values[key], kind, key, self.where)
        if default is _REQUIRED:
            raise OptionError(f"{self.where} has no {key}; add {key} = ...")
        return default

    def tables(self, key: str) -> list[tuple[int, Mapping[str, Any]]]:
        """Return the tables of ``[[key]]`` with their numbers from 1."""
        self._asked.add(key)
        values = self._values.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise OptionError(f"{self.where}: {key} is a single value; write a table [[{key}]] for each.")
        return list(enumerate(values, start=1))

    def done(self) -> None:
        """Raise an `OptionError` if the table has a key that was never taken."""
        for key in self._values:
            if key not in self._asked:
                close = get_close_matches(key, self._asked, n=1)
                hint = f"did you mean {close[0]}?" if close else f"it may have {', '.join(sorted(self._asked))}."
                raise OptionError(f"{self.where} has the unknown key {key}; {hint}")


def fill(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Make a dataclass from a table; check each value against the annotation of its field.

    Raises
    ------
    OptionError
        If a field is unknown, missing, of another type, or refused by the dataclass.
    """
    hints = typing.get_type_hints(kind)
    table = Table(values, where)
    given = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed or field.name in table:
            given[field.name] = table.take(field.name, hints[field.name])
        else:
            table.take(field.name, Any, None)
    table.done()
    try:
        return kind(**given)
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None


def _convert(value: Json, kind: TypeForm, key: str, where: str) -> Json:
    origin: Any = typing.get_origin(kind)
    parts = typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return fill(kind, _expect(value, dict, key, where), f"{where}, {key}")  # type: ignore[arg-type]
    if origin in {types.UnionType, Union}:
        return _first(value, parts, key, where)
    if origin is tuple:
        items = _expect(value, list, key, where)
        kinds = [parts[0]] * len(items) if parts[-1] is ... else parts
        if len(items) != len(kinds):
            raise OptionError(f"{where}: {key} has {len(items)} values; give {len(kinds)}.")
        return tuple(_convert(item, each, key, where) for item, each in zip(items, kinds, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        return {
            name: _convert(item, parts[1], f"{key}.{name}", where) for name, item in _expect(value, dict, key, where).items()
        }
    return value if kind is Any else _expect(value, kind, key, where)


def _first(value: Json, kinds: tuple[TypeForm, ...], key: str, where: str) -> Json:
    """Convert the value to the first of several types that fits."""
    refusals = []
    for kind in (kind for kind in kinds if kind is not types.NoneType):
        try:
            return _convert(value, kind, key, where)
        except OptionError as error:
            refusals.append(error)
    # If the value is a table, the last refusal names the wrong key in it. Otherwise the first refusal names the expected type.
    raise refusals[-1] if isinstance(value, dict) else refusals[0]


def _expect(value: Json, kind: type, key: str, where: str) -> Json:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise OptionError(f"{where}: {key} is {value!r}; give {WORDS[kind]}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise OptionError(f"{where}: {key} is {value}; give a finite number.")
    return value
