"""The plugin, and the provider that lists the algorithms in the Processing toolbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from processing.core.ProcessingConfig import ProcessingConfig, Setting
from qgis.core import QgsApplication, QgsProcessingProvider, QgsVectorFileWriter
from qgis.PyQt.QtGui import QIcon

from .base import COMMAND_SETTING, ICON
from .finding import Find, Footprints, Segment
from .outlines import Evaluate, PredictBoxes, PredictPoints, Regularize

if TYPE_CHECKING:
    from qgis.gui import QgisInterface

__all__ = ["SamgeoPlugin", "SamgeoProvider"]

ALGORITHMS = (Segment, Find, Footprints, PredictPoints, PredictBoxes, Regularize, Evaluate)
FORMATS = ("gpkg", "fgb", "geojson", "parquet")


class SamgeoProvider(QgsProcessingProvider):
    """The algorithms of samgeo, and the setting with the path of the command."""

    # The names of the methods are those of QGIS.

    def id(self) -> str:
        return "samgeo"

    def name(self) -> str:
        return "samgeo"

    def longName(self) -> str:
        return "samgeo: objects out of overhead imagery"

    def icon(self) -> QIcon:
        return QIcon(ICON)

    def load(self) -> bool:
        ProcessingConfig.settingIcons[self.name()] = self.icon()
        about = "Path of the command samgeo; if it is empty, the command is looked for on the PATH"
        ProcessingConfig.addSetting(Setting(self.name(), COMMAND_SETTING, about, "", valuetype=Setting.FILE))
        ProcessingConfig.readSettings()
        self.refreshAlgorithms()
        return True

    def unload(self) -> None:
        ProcessingConfig.removeSetting(COMMAND_SETTING)

    def loadAlgorithms(self) -> None:
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())

    def supportsNonFileBasedOutput(self) -> bool:
        return False

    def supportedOutputVectorLayerExtensions(self) -> list[str]:
        # QGIS without the driver of a format could not load the result.
        known = QgsVectorFileWriter.supportedFormatExtensions()
        return [one for one in FORMATS if one in known]

    def defaultVectorFileExtension(self, hasGeometry: bool = True) -> str:  # noqa: ARG002
        return FORMATS[0]


class SamgeoPlugin:
    """The plugin, which adds the provider to QGIS; with `qgis_process` there is no interface."""

    def __init__(self, iface: QgisInterface | None) -> None:
        self.iface = iface
        self._provider: SamgeoProvider | None = None

    def initProcessing(self) -> None:
        """Add the provider; `qgis_process` calls this alone."""
        self._provider = SamgeoProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:
        """Add the provider."""
        self.initProcessing()

    def unload(self) -> None:
        """Take the provider away."""
        QgsApplication.processingRegistry().removeProvider(self._provider)
