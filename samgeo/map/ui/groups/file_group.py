"""The part of the group "File" in which a file is chosen, and masks or prompts are read from it."""

from __future__ import annotations

import os
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.errors import OptionError
from samgeo.geo.vector.reading import SUFFIXES
from samgeo.map.ui.browser_part import library
from samgeo.map.ui.groups.rows import button, note, row, show_or_hide

if TYPE_CHECKING:
    import ipywidgets

__all__ = ["FileGroup", "entries"]

SHOWN = (*SUFFIXES, ".json", ".shp")
"""Suffixes of the files that are listed."""
MOST = 500
UP = "../"
TIPS = {
    "browse": "show or hide the files of the kernel's machine, to choose one; and the buttons that read a file",
    "files": "click a folder to open it, or a file to choose it",
    "masks": "show the polygons of the file as masks that wait to be accepted or rejected",
    "prompts": "ask the model for each point, box and polygon of the file; the masks wait to be accepted or rejected",
}


def entries(folder: Path) -> list[str]:
    """Return what is listed of a folder: the way up, its folders, and its vector files, without hidden ones.

    Raises
    ------
    OptionError
        If the folder cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            there = sorted((one.is_dir(), one.name) for one in found if not one.name.startswith("."))
    except OSError as error:
        raise OptionError(f"the folder {folder} cannot be read ({error.strerror}); choose another one.") from None
    folders = [f"{name}/" for is_folder, name in there if is_folder]
    files = [name for is_folder, name in there if not is_folder and Path(name).suffix.lower() in SHOWN]
    return [UP, *folders, *files][:MOST]


class FileGroup:
    """The chooser of files, hidden until it is asked for.

    Parameters
    ----------
    path : Text
        The field of the path. A file that is chosen is written into it.
    guarded : callable
        Calls a function, and shows errors in the status line.
    act : callable
        Called with "masks-of-file" or "prompts-of-file".

    Attributes
    ----------
    toggle : ToggleButton
        Shows and hides ``box``.
    box : VBox
    """

    def __init__(
        self, path: ipywidgets.Text, guarded: Callable[[Callable[[], object]], None], act: Callable[[str], None]
    ) -> None:
        w = library("ipywidgets")
        self._path, self._guarded = path, guarded
        self.folder = Path.cwd()
        self._is_listing = False
        self.toggle = w.ToggleButton(False, icon="folder-open", description="choose, read", tooltip=TIPS["browse"])
        self.toggle.add_class("samgeo-in-heading")
        self.toggle.add_class("samgeo-browse")
        self._where = note("")
        self.files = w.Select(options=[], rows=6, tooltip=TIPS["files"], layout={"width": "auto"})
        self.files.add_class("samgeo-files")
        self.masks = button("masks from file", TIPS["masks"], "masks-of-file")
        self.prompts = button("prompts from file", TIPS["prompts"], "prompts-of-file")
        self.masks.on_click(lambda _: act("masks-of-file"))
        self.prompts.on_click(lambda _: act("prompts-of-file"))
        self.box: ipywidgets.VBox = w.VBox([self._where, self.files, row(self.masks, self.prompts)], layout={"display": "none"})
        self.box.add_class("samgeo-group")
        self.toggle.observe(self._fold, "value")
        self.files.observe(self._chosen, "value")

    def show_folder(self, folder: Path) -> None:
        """List a folder.

        Raises
        ------
        OptionError
            If it cannot be read.
        """
        listed = entries(folder)
        self.folder = folder
        self._where.value = escape(str(folder))
        self._is_listing = True  # a new list chooses its first entry by itself
        try:
            self.files.options = listed
            self.files.value = None
        finally:
            self._is_listing = False

    def _fold(self, change: dict[str, Any]) -> None:
        if change["new"]:
            start = Path(self._path.value.strip() or ".").expanduser().absolute().parent
            self._guarded(lambda: self.show_folder(start if start.is_dir() else Path.cwd()))
        show_or_hide(self.box, change["new"])

    def _chosen(self, change: dict[str, Any]) -> None:
        chosen = change["new"]
        if chosen is None or self._is_listing:
            return
        if chosen == UP:
            self._guarded(lambda: self.show_folder(self.folder.parent))
        elif chosen.endswith("/"):
            self._guarded(lambda: self.show_folder(self.folder / chosen.rstrip("/")))
        else:
            self._path.value = str(self.folder / chosen)
