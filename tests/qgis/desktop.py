"""What a user of QGIS does with the plugin; a program for the Python of QGIS, which writes what came out to ``results.json``.

It gets a folder with ``town.tif``, ``bare.tif`` (the same without a georeference), ``points.gpkg`` and ``pixels.gpkg`` (the
same points as QGIS shows them on ``bare.tif``), and the program samgeo.
"""

import json
import sys
import threading
import time
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsFeatureRequest,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
    QgsRenderContext,
    QgsVectorLayer,
)

application = QgsApplication([], True)
application.initQgis()
sys.path.insert(0, str(Path(QgsApplication.pkgDataPath()) / "python" / "plugins"))

import processing  # noqa: E402 - it is found after QGIS has started
from processing.core.Processing import Processing  # noqa: E402
from processing.core.ProcessingConfig import ProcessingConfig  # noqa: E402

FOLDER = Path(sys.argv[1])
PLUGINS, PROGRAM = Path(__file__).parent.parent.parent / "qgis-plugin", sys.argv[2]


class Feedback(QgsProcessingFeedback):
    """Keep what an algorithm reports; cancel it after some seconds, if asked."""

    def __init__(self, seconds=None):
        super().__init__(False)
        if seconds is not None:
            threading.Timer(seconds, self.cancel).start()
        self.commands, self.warnings, self.steps = [], [], []
        self.progressChanged.connect(self.steps.append)

    def pushCommandInfo(self, info):  # noqa: N802 - the name of QGIS
        self.commands.append(info)

    def pushWarning(self, warning):  # noqa: N802 - the name of QGIS
        self.warnings.append(warning)


def load(algorithm, feedback=None, **parameters):
    """Run an algorithm as its dialog does; return the layer that it adds to the project."""
    project = QgsProject.instance()
    before = set(project.mapLayers())
    processing.runAndLoadResults(algorithm, parameters, feedback=feedback or Feedback())
    (added,) = set(project.mapLayers()) - before
    return project.mapLayer(added)


def refusal(algorithm, feedback=None, **parameters):
    """Run an algorithm that fails; return its message."""
    try:
        processing.run(algorithm, parameters, feedback=feedback or Feedback())
    except QgsProcessingException as error:
        return str(error)
    return None


def drawn(name, crs=None):
    """Return features as a user draws them: a layer in memory, in another CRS if one is given."""
    request = QgsFeatureRequest()
    if crs:
        request.setDestinationCrs(QgsCoordinateReferenceSystem(crs), QgsProject.instance().transformContext())
    return QgsProject.instance().addMapLayer(QgsVectorLayer(str(FOLDER / name), name).materialize(request))


def described(layer):
    """Return what the tests ask of a layer."""
    symbols = layer.renderer().symbols(QgsRenderContext())
    return {
        "name": layer.name(),
        "source": layer.source(),
        "renderer": layer.renderer().type(),
        "fill": symbols[0].symbolLayer(0).properties()["style"],
        "columns": layer.fields().names(),
        "rows": [
            {**{name: str(one[name]) for name in layer.fields().names()}, "wkt": one.geometry().asWkt()}
            for one in layer.getFeatures()
        ],
    }


def selected_points():
    """Segment by the selected points of a layer in memory, in degrees."""
    points, feedback = drawn("points.gpkg", "EPSG:4326"), Feedback()
    points.selectByIds(sorted(points.allFeatureIds())[1:3])
    some = QgsProcessingFeatureSourceDefinition(points.id(), selectedFeaturesOnly=True)
    answers = load("samgeo:predict_points", feedback, INPUT=str(FOLDER / "town.tif"), POINTS=some, OUTPUT="TEMPORARY_OUTPUT")
    return described(answers) | {"commands": feedback.commands}


def points_on_pixels():
    """Segment by points on an image without a georeference."""
    feedback = Feedback()
    layers = {"INPUT": str(FOLDER / "bare.tif"), "POINTS": drawn("pixels.gpkg").id()}
    answers = load("samgeo:predict_points", feedback, **layers, OUTPUT=str(FOLDER / "bare.gpkg"))
    return described(answers) | {"commands": feedback.commands}


def found_in_extent():
    """Find buildings in an extent, into a second layer of a GeoPackage that has another one."""
    extent = QgsRasterLayer(str(FOLDER / "town.tif")).extent().buffered(-20)
    output = f"ogr:dbname='{FOLDER / 'bare.gpkg'}' table=\"roofs\" (geom)"
    feedback = Feedback()
    found = load("samgeo:find", feedback, INPUT=str(FOLDER / "town.tif"), EXTENT=extent, OUTPUT=output)
    return described(found) | {"extent": extent.asWktPolygon(), "steps": feedback.steps}


def messages():
    """Return what the plugin says about inputs that it refuses."""
    town = {"INPUT": str(FOLDER / "town.tif")}
    output = {"OUTPUT": str(FOLDER / "bare.gpkg")}
    points = drawn("points.gpkg")
    nothing = QgsProcessingFeatureSourceDefinition(points.id(), selectedFeaturesOnly=True)
    both = {"AOI": str(FOLDER / "points.gpkg"), "EXTENT": QgsRasterLayer(town["INPUT"]).extent()}
    find = QgsApplication.processingRegistry().algorithmById("samgeo:find")
    ProcessingConfig.setSettingValue("SAMGEO_COMMAND", str(FOLDER / "town.tif"))
    missing = find.canExecute()
    ProcessingConfig.setSettingValue("SAMGEO_COMMAND", PROGRAM)
    return {
        "missing": missing,
        "there": find.canExecute(),
        "existing": refusal("samgeo:segment", **town, **output),
        "option": refusal("samgeo:find", **town, EXTRA="--colour red", OUTPUT="TEMPORARY_OUTPUT"),
        "quote": refusal("samgeo:find", **town, EXTRA="--run-dir 'a", OUTPUT="TEMPORARY_OUTPUT"),
        "nothing": refusal("samgeo:predict_points", **town, POINTS=nothing, OUTPUT="TEMPORARY_OUTPUT"),
        "both": refusal("samgeo:segment", **town, **both, OUTPUT="TEMPORARY_OUTPUT"),
    }


def cancelled():
    """Cancel a run after two seconds."""
    begin = time.monotonic()
    output = FOLDER / "cancelled.gpkg"
    message = refusal("samgeo:segment", Feedback(2), INPUT=str(FOLDER / "town.tif"), OUTPUT=str(output))
    return {"message": message, "seconds": time.monotonic() - begin, "output": output.exists()}


Processing.initialize()
sys.path.insert(0, str(PLUGINS))
from samgeo_qgis import classFactory  # noqa: E402

plugin = classFactory(None)
plugin.initGui()
ProcessingConfig.setSettingValue("SAMGEO_COMMAND", PROGRAM)
results = {one.__name__: one() for one in (selected_points, points_on_pixels, found_in_extent, messages, cancelled)}
(FOLDER / "results.json").write_text(json.dumps(results), encoding="utf-8")
plugin.unload()
