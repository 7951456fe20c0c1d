"""A provider of Processing algorithms in QGIS that call the command samgeo.

A raster layer and parameters enter; a vector file that samgeo wrote leaves, and is loaded with its style. `command` and
`process` build and run the command line without QGIS; the other modules need QGIS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qgis.gui import QgisInterface

    from .provider import SamgeoPlugin


def classFactory(iface: QgisInterface) -> SamgeoPlugin:
    """Return the plugin; QGIS calls this function when it loads the folder."""
    from .provider import SamgeoPlugin

    return SamgeoPlugin(iface)
