"""Parameters that several algorithms share, and short ways to declare others; each has a help text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRange,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

__all__ = [
    "AREAS",
    "IMAGE",
    "MODEL",
    "READING",
    "WRITING",
    "area_of_interest",
    "choice",
    "features",
    "file",
    "number",
    "output",
    "raster",
    "text",
    "yes_or_no",
]

Parameter = TypeVar("Parameter", bound=QgsProcessingParameterDefinition)

# The options of samgeo that parameters of these names give.
IMAGE = "INPUT"
MODEL = {"MODEL": "--model", "DEVICE": "--device"}
READING = {"BANDS": "--bands", "STRETCH": "--stretch", "NODATA": "--nodata", "ALPHA": "--alpha"}
AREAS = {"MIN_AREA": "--min-area", "MAX_AREA": "--max-area"}
WRITING = {"OVERWRITE": "--overwrite"}


def _described(parameter: Parameter, about: str, *, advanced: bool = False) -> Parameter:
    parameter.setHelp(about)
    if advanced:
        parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.FlagAdvanced)
    return parameter


def raster(name: str, title: str, about: str, *, optional: bool = False) -> QgsProcessingParameterDefinition:
    """Return a parameter for a raster layer."""
    return _described(QgsProcessingParameterRasterLayer(name, title, optional=optional), about)


def features(
    name: str, title: str, about: str, kinds: Sequence[int], *, optional: bool = False
) -> QgsProcessingParameterDefinition:
    """Return a parameter for the features of a vector layer of some types of geometry."""
    return _described(QgsProcessingParameterFeatureSource(name, title, list(kinds), optional=optional), about)


def text(
    name: str, title: str, about: str, *, default: str | None = None, advanced: bool = False
) -> QgsProcessingParameterDefinition:
    """Return an optional parameter for a text."""
    return _described(QgsProcessingParameterString(name, title, default, optional=True), about, advanced=advanced)


def file(name: str, title: str, about: str, *, filters: str, advanced: bool = False) -> QgsProcessingParameterDefinition:
    """Return an optional parameter for a file with one of the suffixes of a filter of file dialogs."""
    made = QgsProcessingParameterFile(name, title, optional=True, fileFilter=filters)
    return _described(made, about, advanced=advanced)


def number(
    name: str,
    title: str,
    about: str,
    *,
    default: float | None = None,
    least: float = 0,
    greatest: float | None = None,
    whole: bool = False,
    advanced: bool = False,
) -> QgsProcessingParameterDefinition:
    """Return an optional parameter for a number; without a value, samgeo takes its own default."""
    kind = QgsProcessingParameterNumber.Integer if whole else QgsProcessingParameterNumber.Double
    made = QgsProcessingParameterNumber(name, title, kind, default, optional=True, minValue=least)
    if greatest is not None:
        made.setMaximum(greatest)
    return _described(made, about, advanced=advanced)


def yes_or_no(name: str, title: str, about: str, *, default: bool, advanced: bool = False) -> QgsProcessingParameterDefinition:
    """Return a parameter for a tick."""
    return _described(QgsProcessingParameterBoolean(name, title, default), about, advanced=advanced)


def choice(
    name: str, title: str, about: str, values: Sequence[str], *, default: str, advanced: bool = False
) -> QgsProcessingParameterDefinition:
    """Return a parameter for one of a few texts."""
    made = QgsProcessingParameterEnum(name, title, list(values), defaultValue=default, usesStaticStrings=True)
    return _described(made, about, advanced=advanced)


def image() -> QgsProcessingParameterDefinition:
    """Return the parameter for the image."""
    return raster(IMAGE, "Image", "A raster of any size, with any bands, bit depth and CRS: a file or a URL.")


def model() -> list[QgsProcessingParameterDefinition]:
    """Return the parameters for the model and the device, those of `MODEL`."""
    return [
        text(
            "MODEL",
            "Model",
            "A name from the output of the command samgeo models list, a checkpoint file, or hf://OWNER/NAME.",
            default="tiny",
        ),
        choice(
            "DEVICE",
            "Device",
            "The device that runs the model; auto takes a GPU if there is one.",
            ["auto", "cpu", "cuda", "mps"],
            default="auto",
            advanced=True,
        ),
    ]


def reading() -> list[QgsProcessingParameterDefinition]:
    """Return the parameters that say how pixels are read, those of `READING`."""
    stretch = QgsProcessingParameterRange(
        "STRETCH", "Values that become black and white", QgsProcessingParameterNumber.Double, optional=True
    )
    return [
        text(
            "BANDS",
            "Bands",
            "One or three bands, by number from 1 or by name, in the order red, green, blue: 5,3,2. By default, the bands that "
            "are marked as red, green and blue.",
            advanced=True,
        ),
        _described(
            stretch,
            "By default, 8-bit images are not changed, and others use the 2nd and the 98th percentile.",
            advanced=True,
        ),
        text(
            "NODATA",
            "Value without data",
            "If the image does not declare it; none ignores a wrong declaration.",
            advanced=True,
        ),
        text(
            "ALPHA",
            "Transparency band",
            "By number or name, if the image does not declare it; none ignores a wrong declaration.",
            advanced=True,
        ),
    ]


def areas() -> list[QgsProcessingParameterDefinition]:
    """Return the parameters that drop small and large objects, those of `AREAS`."""
    unit = "in square metres; in square pixels without a CRS."
    return [
        number("MIN_AREA", "Smallest area", f"Objects with a smaller area are dropped, {unit}"),
        number("MAX_AREA", "Largest area", f"Objects with a larger area are dropped, {unit}"),
    ]


def area_of_interest() -> list[QgsProcessingParameterDefinition]:
    """Return the parameters AOI and EXTENT, of which one may be given."""
    return [
        features(
            "AOI",
            "Area of interest",
            "Polygons, in which the work is done; by default, the whole image.",
            [QgsProcessing.TypeVectorPolygon],
            optional=True,
        ),
        _described(
            QgsProcessingParameterExtent("EXTENT", "Extent", optional=True),
            "A rectangle, in place of an area of interest.",
        ),
    ]


def output(title: str) -> list[QgsProcessingParameterDefinition]:
    """Return the parameters for a vector file and how it is written."""
    return [
        yes_or_no(
            "STYLE",
            "Give the layer a style",
            "For a GeoPackage: colours by class or score, or one outline, which are kept in the file. A style that another "
            "program wrote there is not changed.",
            default=True,
            advanced=True,
        ),
        yes_or_no(
            "OVERWRITE",
            "Overwrite an existing output",
            "Whether an existing file may be replaced; of a GeoPackage, the layer of that name. Without it, the algorithm "
            "stops before work starts.",
            default=False,
            advanced=True,
        ),
        extra(),
        _described(
            QgsProcessingParameterVectorDestination("OUTPUT", title),
            "A GeoPackage (.gpkg), FlatGeobuf (.fgb) or GeoJSON (.geojson) file; GeoParquet (.parquet), if QGIS can read it.",
        ),
    ]


def extra() -> QgsProcessingParameterDefinition:
    """Return the parameter EXTRA for other options of the command."""
    return text(
        "EXTRA",
        "Additional options of the command",
        "Options of samgeo that have no parameter here, as they are typed on the command line, such as --min-hole 0; "
        "the page Command line of the manual lists them. Paths are written with /.",
        advanced=True,
    )
