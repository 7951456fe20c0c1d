"""The classes of a session with their colours: the values in the state, and how classes are added, renamed and recoloured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from samgeo.errors import OptionError
from samgeo.plot.colors import palette

__all__ = ["NO_CLASSES", "ClassList", "check_color", "check_name"]

_HEX = re.compile(r"#[0-9a-fA-F]{6}")


def check_name(name: str) -> str:
    """Return the name of a class without spaces around it.

    Raises
    ------
    OptionError
        If nothing is left.
    """
    if not name.strip():
        raise OptionError("the name of the class is empty; give a name with letters or digits.")
    return name.strip()


def check_color(color: str) -> str:
    """Return a colour in small letters.

    Raises
    ------
    OptionError
        If it is not written as ``#rrggbb``.
    """
    if not _HEX.fullmatch(color):
        raise OptionError(f"the colour is {color!r}; give red, green and blue in hexadecimal digits, such as #ff8800.")
    return color.lower()


@dataclass(frozen=True, slots=True)
class ClassList:
    """The classes of a session.

    Attributes
    ----------
    names : tuple of str
        In their order; the first one is the default.
    given : tuple of (str, str)
        Classes with a colour that was set, and this colour. The other classes have a colour by their place in the list.
    """

    names: tuple[str, ...] = ()
    given: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        """Whether there is a class or a colour."""
        return bool(self.names or self.given)

    @property
    def colors(self) -> dict[str, str]:
        """The colour of each class, as ``#rrggbb``."""
        by_place = ("#{:02x}{:02x}{:02x}".format(*color) for color in palette(len(self.names)))
        set_here = dict(self.given)
        return {name: set_here.get(name, color) for name, color in zip(self.names, by_place, strict=True)}

    def check(self, name: str) -> None:
        """Check that a class exists.

        Raises
        ------
        OptionError
            If it does not.
        """
        if name not in self.names:
            raise OptionError(f"{name!r} is not a class of the session; choose one of {', '.join(self.names)}.")

    def added(self, name: str, color: str | None = None) -> ClassList:
        """Return the list with one class more at its end.

        Raises
        ------
        OptionError
            If there is a class with this name.
        """
        self._check_free(name)
        more = replace(self, names=(*self.names, name))
        return more if color is None else more.recolored(name, color)

    def renamed(self, name: str, new_name: str) -> ClassList:
        """Return the list with another name for a class, which keeps its place and its colour.

        Raises
        ------
        OptionError
            If there is no such class, or another class has the new name.
        """
        self.check(name)
        if name == new_name:
            return self
        self._check_free(new_name)
        names = tuple(new_name if one == name else one for one in self.names)
        return ClassList(names, tuple((new_name if one == name else one, color) for one, color in self.given))

    def recolored(self, name: str, color: str) -> ClassList:
        """Return the list with another colour for a class.

        Raises
        ------
        OptionError
            If there is no such class.
        """
        self.check(name)
        return self.with_others((), {name: color})

    def with_others(self, names: Iterable[str], colors: Mapping[str, str] | Sequence[tuple[str, str]]) -> ClassList:
        """Return the list with the classes of others at its end, and with their colours."""
        return ClassList(tuple(dict.fromkeys((*self.names, *names))), tuple((dict(self.given) | dict(colors)).items()))

    def _check_free(self, name: str) -> None:
        if name in self.names:
            raise OptionError(f"there is a class {name!r} already; choose another name, or give objects that class.")


NO_CLASSES = ClassList()
