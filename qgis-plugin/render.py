"""Draw layers with QGIS, without its window; for the pictures of the manual and for tests.

Run it with the Python of QGIS, with QT_QPA_PLATFORM=offscreen where there is no screen::

    python3 render.py picture.png "found.gpkg|layername=found" town.tif --size 640,640

The layers are those of QGIS: a file with the name of a layer where it has several, the uppermost first. A layer is drawn with
the default style that its file has.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

from qgis.core import (
    QgsApplication,
    QgsLayout,
    QgsLayoutExporter,
    QgsLayoutItemLegend,
    QgsLayoutItemMap,
    QgsLayoutPoint,
    QgsLayoutSize,
    QgsLegendStyle,
    QgsMapLayer,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor, QFont

RASTERS = (".tif", ".vrt")
MM_PER_INCH = 25.4
LEGEND_POINTS = 8


class Frame(NamedTuple):
    """What a picture shows: the extent, the size of the map in pixels, and how many of them are an inch."""

    extent: QgsRectangle
    size: QSize
    dpi: int


def open_layer(source: str) -> QgsMapLayer:
    """Return a layer with the default style of its file."""
    path, _, layer = source.partition("|layername=")
    name = layer or path.replace("\\", "/").rpartition("/")[2].partition(".")[0]
    opened = QgsRasterLayer(source, name) if path.endswith(RASTERS) else QgsVectorLayer(source, name, "ogr")
    if not opened.isValid():
        sys.exit(f"QGIS cannot open {source}.")
    return opened


def draw(layers: Sequence[QgsMapLayer], frame: Frame, output: str) -> bool:
    """Draw layers into a picture; return whether it was written."""
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(layers[-1].crs())
    settings.setExtent(frame.extent)
    settings.setOutputSize(frame.size)
    settings.setOutputDpi(frame.dpi)
    settings.setBackgroundColor(QColor("white"))
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    return bool(job.renderedImage().save(output))


def draw_with_legend(layers: Sequence[QgsMapLayer], frame: Frame, legend_mm: float, output: str) -> bool:
    """Draw layers and the legend of the uppermost one into a picture; return whether it was written."""
    project = QgsProject.instance()
    project.setCrs(layers[-1].crs())
    project.addMapLayers(layers)
    layout = QgsLayout(project)
    layout.initializeDefaults()
    width, height = (one * MM_PER_INCH / frame.dpi for one in (frame.size.width(), frame.size.height()))
    layout.pageCollection().page(0).setPageSize(QgsLayoutSize(width + legend_mm, height))
    shown = QgsLayoutItemMap(layout)
    shown.attemptMove(QgsLayoutPoint(0, 0))
    shown.attemptResize(QgsLayoutSize(width, height))
    shown.setLayers(layers)
    shown.zoomToExtent(frame.extent)
    layout.addLayoutItem(shown)
    legend = QgsLayoutItemLegend(layout)
    legend.setAutoUpdateModel(False)
    group = legend.model().rootGroup()
    group.clear()
    group.addLayer(layers[0])
    font = QFont("DejaVu Sans")
    font.setPointSizeF(LEGEND_POINTS)
    for style in (QgsLegendStyle.Subgroup, QgsLegendStyle.SymbolLabel):
        legend.setStyleFont(style, font)
    legend.attemptMove(QgsLayoutPoint(width + 1, 1))
    layout.addLayoutItem(legend)
    legend.adjustBoxSize()
    settings = QgsLayoutExporter.ImageExportSettings()
    settings.dpi = frame.dpi
    return QgsLayoutExporter(layout).exportToImage(output, settings) == QgsLayoutExporter.Success


def main() -> None:
    """Draw the layers that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", help="PNG or JPEG file to write")
    parser.add_argument("layers", nargs="+", help="layers, the uppermost first")
    parser.add_argument("--size", default="640,640", help="width and height of the map in pixels")
    parser.add_argument("--dpi", type=int, default=96, help="pixels for each inch, which widths of lines depend on")
    parser.add_argument("--extent", help="left, lower, right and upper edge, in the CRS of the lowest layer")
    parser.add_argument(
        "--legend", type=float, metavar="MM", help="draw the legend of the uppermost layer, so wide, beside the map"
    )
    chosen = parser.parse_args()
    application = QgsApplication([], False)
    application.initQgis()
    layers = [open_layer(one) for one in chosen.layers]
    size = QSize(*map(int, chosen.size.split(",")))
    extent = QgsRectangle(*map(float, chosen.extent.split(","))) if chosen.extent else layers[-1].extent()
    frame = Frame(extent, size, chosen.dpi)
    if chosen.legend:
        written = draw_with_legend(layers, frame, chosen.legend, chosen.output)
    else:
        written = draw(layers, frame, chosen.output)
    for one in layers:
        if isinstance(one, QgsVectorLayer):
            print(one.name(), one.renderer().type())
    if not written:
        sys.exit(f"{chosen.output} cannot be written.")


if __name__ == "__main__":
    main()
