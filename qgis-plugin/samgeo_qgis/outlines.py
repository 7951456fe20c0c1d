"""Algorithms that need outlines or prompts: answers to points, boxes and outlines, regular footprints, and evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterField,
    QgsProcessingParameterFolderDestination,
)

from .base import Parameters, SamgeoAlgorithm
from .command import option, switch
from .parameters import (
    IMAGE,
    MODEL,
    READING,
    WRITING,
    choice,
    extra,
    features,
    image,
    model,
    number,
    output,
    raster,
    reading,
    text,
    yes_or_no,
)

__all__ = ["Evaluate", "PredictBoxes", "PredictPoints", "Regularize"]

GROUP_PROMPTS = "Segment by prompts"
GROUP_OUTLINES = "Outlines"
POLYGONS = (QgsProcessing.TypeVectorPolygon,)

_ANSWERS = (
    "The output has one row for each prompt, in their order and with their columns. Where nothing was found, the row has no "
    "geometry, and the column reason says why. Objects that are larger than a window of the model are found in coarser "
    "windows."
)


def _of_prompts() -> list[QgsProcessingParameterDefinition]:
    """Return the parameters that both algorithms with prompts have after the prompts."""
    return [
        *model(),
        text(
            "ZOOM",
            "Zoom",
            "Number of pixels of the model's input for each pixel of the image, or auto, which shows small objects at twice "
            "their size.",
            default="1",
            advanced=True,
        ),
        number(
            "REFINE",
            "Times to ask again",
            "How many times the model is asked again with its previous answer.",
            default=0,
            whole=True,
            advanced=True,
        ),
        *reading(),
        *output("Answers"),
    ]


class _Predict(SamgeoAlgorithm):
    COMMAND = "predict"
    GROUP = GROUP_PROMPTS
    OPTIONS: ClassVar[Mapping[str, str]] = {**MODEL, "ZOOM": "--zoom", "REFINE": "--refine", **READING, **WRITING}


class PredictPoints(_Predict):
    """Segment the objects under points."""

    NAME = "predict_points"
    TITLE = "Segment by points"
    TAGS = ("prompt", "click", "predict")
    ABOUT = (
        "Segments the object under each point of a layer.\n\nPoints with the same value in a column prompt are one prompt. A "
        f"column label says 1 for a point on the object and 0 for a point on the background.\n\n{_ANSWERS}"
    )

    def declared(self) -> Sequence[QgsProcessingParameterDefinition]:
        """Return the parameters."""
        about = "Points, or multipoints for several points of one prompt, in any CRS."
        return [image(), features("POINTS", "Points", about, [QgsProcessing.TypeVectorPoint]), *_of_prompts()]

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, object]:
        options = option("--points", self.features(parameters, "POINTS", context, feedback))
        return self.write([self.image.path], options, parameters, context, feedback)


class PredictBoxes(_Predict):
    """Segment the objects in boxes or in rough outlines."""

    NAME = "predict_boxes"
    TITLE = "Segment by boxes or outlines"
    TAGS = ("prompt", "box", "polygon", "predict")
    ABOUT = (
        "Segments the object in the bounding box of each feature of a layer, or the object of which each polygon is a rough "
        f"outline.\n\n{_ANSWERS}"
    )
    KINDS: ClassVar[Mapping[str, str]] = {"boxes": "--boxes", "outlines": "--polygons"}

    def declared(self) -> Sequence[QgsProcessingParameterDefinition]:
        """Return the parameters."""
        about = "Any features for boxes, polygons for outlines, in any CRS."
        return [
            image(),
            features("FEATURES", "Boxes or outlines", about, [QgsProcessing.TypeVectorAnyGeometry]),
            choice(
                "PROMPT",
                "What the features are",
                "boxes: the bounding box of each feature is asked; outlines: the box, the innermost point and a soft mask of "
                "each polygon.",
                list(self.KINDS),
                default="boxes",
            ),
            *_of_prompts(),
        ]

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, object]:
        kind = self.KINDS[self.parameterAsEnumString(parameters, "PROMPT", context)]
        options = option(kind, self.features(parameters, "FEATURES", context, feedback))
        return self.write([self.image.path], options, parameters, context, feedback)


class Regularize(SamgeoAlgorithm):
    """Turn outlines into building footprints."""

    COMMAND = "regularize"
    NAME = "regularize"
    TITLE = "Make footprints regular"
    GROUP = GROUP_OUTLINES
    TAGS = ("regularise", "buildings", "orthogonalize", "simplify")
    ABOUT = (
        "Turns outlines of buildings into footprints with right angles and shared walls, or circles. An outline that no "
        "regular footprint fits is kept and simplified; the columns regularized and kept_because tell which, and why."
    )
    OPTIONS: ClassVar[Mapping[str, str]] = {
        "ANGLES": "--angles",
        "TOLERANCE": "--tolerance",
        "MIN_IOU": "--min-iou",
        **WRITING,
    }

    def declared(self) -> Sequence[QgsProcessingParameterDefinition]:
        """Return the parameters."""
        return [
            features("FEATURES", "Outlines", "Polygons in any CRS, such as those of the other algorithms.", POLYGONS),
            choice(
                "ANGLES",
                "Angles between walls",
                "right: right angles; 45: diagonal walls, too.",
                ["right", "45"],
                default="right",
            ),
            number(
                "TOLERANCE",
                "Tolerance",
                "Walls nearer to one another than this are one, in metres; in pixels without a CRS. By default, 1 m or 2 "
                "pixels.",
            ),
            yes_or_no("CIRCLES", "Circles", "Whether round outlines become circles.", default=True),
            yes_or_no("SHARED_WALLS", "Shared walls", "Whether neighbours get shared walls.", default=True),
            number(
                "MIN_IOU",
                "Smallest IoU",
                "An outline is kept if the IoU of its footprint with it is lower than this.",
                default=0.85,
                greatest=1,
            ),
            *output("Footprints"),
        ]

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, object]:
        path = self.features(parameters, "FEATURES", context, feedback)
        circles = self.parameterAsBoolean(parameters, "CIRCLES", context)
        walls = self.parameterAsBoolean(parameters, "SHARED_WALLS", context)
        options = [*switch("circles", circles), *switch("shared-walls", walls)]
        return self.write([str(path)], options, parameters, context, feedback)


class Evaluate(SamgeoAlgorithm):
    """Compare results with the truth."""

    COMMAND = "evaluate"
    NAME = "evaluate"
    TITLE = "Evaluate objects"
    GROUP = GROUP_OUTLINES
    TAGS = ("accuracy", "precision", "recall", "IoU", "f1")
    ABOUT = (
        "Compares found objects with true ones: precision, recall, F1, IoU and average precision. The table is shown in the "
        "log, and written to a folder, with every object and its verdict.\n\nIf the layers have no CRS, choose the image on "
        "which they lie."
    )
    OPTIONS: ClassVar[Mapping[str, str]] = {
        "IOU": "--iou",
        "CLASS_FIELD": "--class-column",
        "SCORE_FIELD": "--score-column",
        **WRITING,
    }
    FIGURES: ClassVar[Mapping[str, tuple[str, str]]] = {
        "PRECISION": ("precision", "Precision"),
        "RECALL": ("recall", "Recall"),
        "F1": ("f1", "F1"),
        "MEAN_IOU": ("mean_iou", "Mean IoU of matched objects"),
        "TRUE_COUNT": ("truth", "Number of true objects"),
        "FOUND_COUNT": ("found", "Number of found objects"),
        "MATCHED_COUNT": ("matched", "Number of matched objects"),
    }

    def declared(self) -> Sequence[QgsProcessingParameterDefinition]:
        """Return the parameters."""
        fields = [
            QgsProcessingParameterField(name, title, None, "RESULT", optional=True)
            for name, title in (("CLASS_FIELD", "Column of classes"), ("SCORE_FIELD", "Column of scores"))
        ]
        fields[0].setHelp("Column of both layers; only objects of the same class match. By default, there is one class.")
        fields[1].setHelp("Higher is surer. By default score or predicted_iou, if there is such a column.")
        folder = QgsProcessingParameterFolderDestination("FOLDER", "Folder for the report")
        folder.setHelp("It gets report.md, report.json, objects.parquet, and pictures of the worst cases if there is an image.")
        return [
            features("RESULT", "Found objects", "Polygons in any CRS.", POLYGONS),
            features("TRUTH", "True objects", "Polygons in any CRS.", POLYGONS),
            number("IOU", "Smallest IoU of a match", "Objects match if their IoU is at least this.", default=0.5, greatest=1),
            *fields,
            features("AOI", "Area of interest", "Objects outside these polygons do not count.", POLYGONS, optional=True),
            raster(IMAGE, "Image", "The worst cases are drawn on it.", optional=True),
            yes_or_no(
                "OVERWRITE",
                "Overwrite an existing report",
                "Whether an existing report in the folder may be replaced.",
                default=False,
                advanced=True,
            ),
            extra(),
            folder,
        ]

    def initAlgorithm(self, configuration: object = None) -> None:
        super().initAlgorithm(configuration)
        for name, (_, title) in self.FIGURES.items():
            self.addOutput(QgsProcessingOutputNumber(name, title))

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, object]:
        folder = self.parameterAsString(parameters, "FOLDER", context)
        # samgeo makes the folder, but not the folders in which it lies; QGIS names one in a new temporary folder.
        Path(folder).absolute().parent.mkdir(parents=True, exist_ok=True)
        layers = [str(self.features(parameters, name, context, feedback)) for name in ("RESULT", "TRUTH")]
        options = [*self.options(parameters, context), *option("--output", folder)]
        options += option("--aoi", self.features(parameters, "AOI", context, feedback))
        options += option("--image", self.image.path if self.has_image else None)
        table = self.call(self.COMMAND, layers, [*options, *self.typed_options(parameters, context)], feedback)
        feedback.pushInfo(table)
        report = Path(folder) / "report.json"
        try:
            overall = json.loads(report.read_text(encoding="utf-8"))["overall"]
        except (OSError, ValueError, KeyError) as error:
            raise QgsProcessingException(f"{report} cannot be read ({error!r}).") from None
        # A figure is None if there are no objects from which it can be computed.
        figures = {name: overall[key] for name, (key, _) in self.FIGURES.items() if overall[key] is not None}
        return {"FOLDER": folder, **figures}
