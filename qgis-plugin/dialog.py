"""Draw the dialog of an algorithm of the plugin, without a screen; for the picture in the manual.

Run it with the Python of QGIS, with QT_QPA_PLATFORM=offscreen::

    python3 dialog.py picture.png samgeo:find town.tif
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from qgis.core import QgsApplication, QgsProject, QgsRasterLayer
from qgis.PyQt import sip

WIDTH, HEIGHT = 860, 620


def main() -> None:
    """Draw the dialog that the command line names."""
    parser = argparse.ArgumentParser(description="Draw the dialog of an algorithm of the plugin.")
    parser.add_argument("output", help="PNG file to write")
    parser.add_argument("algorithm", help="id of the algorithm, such as samgeo:find")
    parser.add_argument("image", help="raster that is open in the project")
    chosen = parser.parse_args()
    application = QgsApplication([], True)
    application.initQgis()
    # These modules are found after QGIS has started.
    sys.path[:0] = [str(Path(__file__).parent), str(Path(QgsApplication.pkgDataPath()) / "python" / "plugins")]
    from processing.core.Processing import Processing
    from processing.gui.AlgorithmDialog import AlgorithmDialog

    from samgeo_qgis import classFactory

    Processing.initialize()
    plugin = classFactory(None)
    plugin.initGui()
    QgsProject.instance().addMapLayer(QgsRasterLayer(chosen.image, Path(chosen.image).stem))
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(chosen.algorithm)
    if algorithm is None:
        sys.exit(f"There is no algorithm {chosen.algorithm}.")
    dialog = AlgorithmDialog(algorithm)
    dialog.resize(WIDTH, HEIGHT)
    dialog.show()
    application.processEvents()
    if not dialog.grab().save(chosen.output):
        sys.exit(f"{chosen.output} cannot be written.")
    # The dialog ends before QGIS does.
    dialog.close()
    sip.delete(dialog)
    plugin.unload()
    application.exitQgis()


if __name__ == "__main__":
    main()
