"""Command lines of samgeo, from the values of parameters; this module needs no QGIS."""

from __future__ import annotations

import math
import re
import shlex
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Union

__all__ = [
    "CommandError",
    "Destination",
    "clean_environment",
    "command_line",
    "extra_options",
    "find_program",
    "may_be_styled",
    "option",
    "parse_destination",
    "switch",
]

Value = Union[str, float, bool, Sequence[Union[str, float]], None]

PROGRAM = "samgeo"
GEOPACKAGE = ".gpkg"
WAIT_SECONDS = 10

# QGIS sets these for its own Python, GDAL, PROJ and Qt. samgeo has others.
_OF_QGIS = (
    "GDAL_DATA",
    "GDAL_DRIVER_PATH",
    "GDAL_PYTHON_DRIVER_PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "OGR_DRIVER_PATH",
    "PROJ_DATA",
    "PROJ_LIB",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "QT_PLUGIN_PATH",
)
# QGIS writes the destination "Save to GeoPackage" so.
_TABLE = re.compile(r"""^ogr:dbname='(?P<path>.*?)'\s+table="(?P<layer>.*?)"(?:\s+\(\w*\))?\s*$""")


class CommandError(Exception):
    """A command line cannot be made; the message says why, and what to do."""


@dataclass(frozen=True)
class Destination:
    """An output of samgeo.

    Attributes
    ----------
    path : str
        The file.
    layer : str or None
        The layer of a GeoPackage; None for a file of another format.
    """

    path: str
    layer: str | None

    @property
    def source(self) -> str:
        """The file and the layer, as QGIS opens them."""
        return self.path if self.layer is None else f"{self.path}|layername={self.layer}"

    @property
    def name(self) -> str:
        """The file and the layer, as samgeo reads them."""
        return self.path if self.layer is None else f"{self.path}:{self.layer}"


def parse_destination(text: str) -> Destination:
    """Return the output that QGIS describes by a path, or by a path and a table of a GeoPackage.

    The layer of a GeoPackage without a table is named after the file, as samgeo names it.
    """
    found = _TABLE.match(text)
    if found:
        return Destination(found["path"], found["layer"])
    path = Path(text)
    return Destination(text, path.stem if path.suffix.lower() == GEOPACKAGE else None)


def find_program(setting: str | None) -> str:
    """Return the path of the program samgeo.

    Parameters
    ----------
    setting : str or None
        The path that the user chose; if it is empty, the program is looked for on the PATH.

    Raises
    ------
    CommandError
        If there is no such program.
    """
    chosen = (setting or "").strip()
    found = shutil.which(str(Path(chosen).expanduser()) if chosen else PROGRAM)
    if found is not None:
        return found
    where = "Settings > Options > Processing > Providers > samgeo"
    if chosen:
        raise CommandError(f"{chosen} is not a program; correct the path of the command samgeo in {where}.")
    raise CommandError(
        "The command samgeo was not found. Install samgeo in a Python environment of its own, and give the path of its command "
        f"in {where}."
    )


def option(name: str, value: Value) -> list[str]:
    """Return an option with its value; nothing where there is no value.

    None, an empty text, an empty list, NaN and False are no values. True gives the option alone. A list is joined by commas.
    """
    if isinstance(value, bool):
        return [name] if value else []
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return []
    if not isinstance(value, str) and isinstance(value, Sequence):
        if any(isinstance(one, float) and math.isnan(one) for one in value):
            return []
        text = ",".join(map(_text, value))
    else:
        text = _text(value).strip()
    # With "=", a value that begins with "-" is not an option.
    return [f"{name}={text}"] if text else []


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.15g}"


def switch(name: str, value: bool) -> list[str]:
    """Return an option that is on or off: ``--circles`` or ``--no-circles``."""
    return [f"--{name}" if value else f"--no-{name}"]


def extra_options(text: str | None) -> list[str]:
    """Return the options that a user typed, separated as a shell separates them.

    Raises
    ------
    CommandError
        If a quotation mark is missing, or the first word is not an option.
    """
    try:
        words = shlex.split(text or "")
    except ValueError as error:
        raise CommandError(f"The additional options {text!r} cannot be read ({error}).") from None
    if words and not words[0].startswith("--"):
        raise CommandError(f"The additional options {text!r} do not begin with an option, such as --min-hole 0.")
    return words


def command_line(program: str, command: str, paths: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return the command line of a command of samgeo with its options and its paths."""
    return [program, command, *options, "--", *paths]


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for samgeo: that of QGIS without what belongs to QGIS, and with text in UTF-8."""
    kept = {name: value for name, value in environment.items() if name not in _OF_QGIS}
    return {**kept, "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}


def may_be_styled(output: Destination) -> bool:
    """Return whether samgeo may give a layer a style: it is in a GeoPackage, and has no style that another program wrote."""
    if output.layer is None:
        return False
    with closing(sqlite3.connect(f"{Path(output.path).absolute().as_uri()}?mode=ro", uri=True, timeout=WAIT_SECONDS)) as file:
        if file.execute("SELECT 1 FROM sqlite_master WHERE name = 'layer_styles'").fetchone() is None:
            return True
        sql = "SELECT 1 FROM layer_styles WHERE lower(f_table_name) = lower(?) AND coalesce(owner, '') <> ?"
        return file.execute(sql, (output.layer, PROGRAM)).fetchone() is None
