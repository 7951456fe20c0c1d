"""The classes of a session: they are added, renamed, and get other colours."""

from __future__ import annotations

from samgeo.arguments import check_types
from samgeo.map.session_parts.core import SessionCore
from samgeo.map.state.actions import AddClass, RenameClass, SetColor
from samgeo.map.state.class_list import check_color, check_name
from samgeo.map.state.live_state import Snapshot

__all__ = ["Classing"]


class Classing(SessionCore):
    """The part of a session that changes its classes. The saved file has the classes and their colours, too."""

    @check_types
    def add_class(self, name: str, color: str | None = None) -> Snapshot:
        """Add a class at the end of the palette.

        Parameters
        ----------
        name : str
        color : str, optional
            Such as ``#ff8800``. By default a colour that differs from those of the other classes.

        Raises
        ------
        OptionError
            If there is a class with this name, the name is empty, or the colour is not written like this.
        """
        added = AddClass(check_name(name), None if color is None else check_color(color))
        return self._live.do(lambda _: added)

    @check_types
    def rename_class(self, name: str, new_name: str) -> Snapshot:
        """Give a class another name. Objects and proposals of the class get the new name, too; undo takes it back.

        Raises
        ------
        OptionError
            If there is no such class, another class has the new name, or the new name is empty.
        """
        renamed = RenameClass(name, check_name(new_name))
        return self._live.do(lambda _: renamed)

    @check_types
    def set_color(self, name: str, color: str) -> Snapshot:
        """Give a class another colour.

        Parameters
        ----------
        name : str
        color : str
            Such as ``#ff8800``.

        Raises
        ------
        OptionError
            If there is no such class, or the colour is not written like this.
        """
        recolored = SetColor(name, check_color(color))
        return self._live.do(lambda _: recolored)
