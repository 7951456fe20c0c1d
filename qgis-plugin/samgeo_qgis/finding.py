"""Algorithms that find objects in an image: everything, the objects of one kind, and building footprints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterDefinition,
)

from .base import Parameters, SamgeoAlgorithm
from .command import option, switch
from .layers import image_of
from .parameters import (
    AREAS,
    MODEL,
    READING,
    WRITING,
    area_of_interest,
    areas,
    choice,
    features,
    file,
    image,
    model,
    number,
    output,
    raster,
    reading,
    text,
    yes_or_no,
)

__all__ = ["Find", "Footprints", "Segment"]

GROUP = "Find objects"
POLYGONS = (QgsProcessing.TypeVectorPolygon,)

WORKERS = {"WORKERS": "--workers"}


def _workers() -> QgsProcessingParameterDefinition:
    about = "Number of threads. By default one for each core, if memory allows."
    return number("WORKERS", "Threads", about, least=1, whole=True, advanced=True)


def _min_score() -> QgsProcessingParameterDefinition:
    about = (
        "Objects with a lower score, the estimated probability that the outline is right, are dropped. By default, the value "
        "of the finder."
    )
    return number("MIN_SCORE", "Lowest score", about, greatest=1)


def _resolution() -> QgsProcessingParameterDefinition:
    about = "Side of a pixel on the ground in metres, from which the zoom follows. By default, that of the image."
    return number("RESOLUTION", "Resolution in metres", about, advanced=True)


def _zoom() -> QgsProcessingParameterDefinition:
    return number(
        "ZOOM",
        "Zoom",
        "Number of pixels of the model's input for each pixel of the image. By default, it follows from the resolution.",
        least=1 / 16,
        greatest=16,
        advanced=True,
    )


class Segment(SamgeoAlgorithm):
    """Segment everything in an image."""

    COMMAND = "segment"
    NAME = "segment"
    TITLE = "Segment everything"
    GROUP = GROUP
    TAGS = ("objects", "everything", "automatic")
    ABOUT = (
        "Segments all objects in an image into polygons, with predicted_iou, stability_score, area_m2 and complete, which is "
        "false where a window of the image cut the object.\n\nIf the algorithm is cancelled or fails, the same parameters with "
        "the same output file continue the work. Images of any size are read through windows."
    )
    OPTIONS: ClassVar[Mapping[str, str]] = {
        **MODEL,
        **AREAS,
        "ZOOM": "--zoom",
        "SCALES": "--scales",
        "POINTS_PER_SIDE": "--points-per-side",
        "PRED_IOU": "--pred-iou",
        "STABILITY": "--stability",
        "AOI_MODE": "--aoi-mode",
        **WORKERS,
        **READING,
        **WRITING,
    }

    def declared(self) -> Sequence[QgsProcessingParameterDefinition]:
        """Return the parameters."""
        return [
            image(),
            *model(),
            *area_of_interest(),
            *areas(),
            choice(
                "AOI_MODE",
                "Objects that cross the edge of the area",
                "Whether such objects are kept whole or clipped.",
                ["whole", "clip"],
                default="whole",
                advanced=True,
            ),
            number(
                "ZOOM",
                "Zoom",
                "Number of pixels of the model's input for each pixel of the image: with 2, small objects are shown at twice "
                "their size, in four times as many windows.",
                default=1,
                least=1 / 16,
                greatest=16,
                advanced=True,
            ),
            text(
                "SCALES",
                "Sizes of windows",
                "As multiples of the window of the model: with 1,2,4 objects that are larger than a window come out whole.",
                default="1",
                advanced=True,
            ),
            number(
                "POINTS_PER_SIDE",
                "Points along the side of a window",
                "More points find smaller objects, and take longer. By default, the value of the model.",
                least=1,
                whole=True,
                advanced=True,
            ),
            number(
                "PRED_IOU",
                "Lowest predicted IoU",
                "Masks whose predicted IoU is not above this are dropped. By default, the value of the model.",
                greatest=1,
                advanced=True,
            ),
            number(
                "STABILITY",
                "Lowest stability score",
                "Masks that are less stable are dropped. By default, the value of the model.",
                greatest=1,
                advanced=True,
            ),
            _workers(),
            *reading(),
            *output("Objects"),
        ]

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, object]:
        area = self.area(parameters, context, feedback)
        return self.write([self.image.path], area, parameters, context, feedback)


class Find(SamgeoAlgorithm):
    """Find the objects of one kind in an image."""

    COMMAND = "find"
    NAME = "find"
    TITLE = "Find objects of one kind"
    GROUP = GROUP
    TAGS = ("buildings", "detect", "text", "finder", "detector")
    ABOUT = (
        "Finds the objects of one kind in an image, buildings by default, and gives each a class and a score, the estimated "
        "probability that its outline is right.\n\nGive at most one of: the file of a finder for your own classes; phrases and "
        "the name of a text finder, such as owlv2-base; an object detector in an ONNX file; or a layer with the boxes of a "
        "detector. For objects like given examples, use Extract building footprints with examples.\n\nIf the algorithm is "
        "cancelled or fails, the same parameters with the same output file continue the work."
    )
    OPTIONS: ClassVar[Mapping[str, str]] = {
        "CLASS": "--class",
        "TEXT": "--text",
        "FINDER": "--finder",
        "DETECTOR": "--detector",
        "CLASS_NAMES": "--class-names",
        "MIN_SCORE": "--min-score",
        "RESOLUTION": "--resolution",
        "ZOOM": "--zoom",
        "FLIPS": "--flips",
        **MODEL,
        **AREAS,
        **WORKERS,
        **READING,
        **WRITING,
    }

    def declared(self) -> Sequence[QgsProcessingParameterDefinition]:
        """Return the parameters."""
        return [
            image(),
            text("CLASS", "Class", "Class of a bundled finder (building), or classes of a detector, separated by commas."),
            text("TEXT", "Phrases", "What a text finder looks for: phrases, separated by commas, such as swimming pool."),
            text(
                "FINDER",
                "Finder",
                "File of a finder, or a text finder: grounding-dino-tiny, grounding-dino-base, owlv2-base, sam3, "
                "hf://owner/name, or a folder. By default, the bundled finder.",
            ),
            file("DETECTOR", "Object detector", "An ONNX file, in place of a finder.", filters="ONNX files (*.onnx)"),
            file(
                "CLASS_NAMES",
                "Names of the classes of the detector",
                "YAML, JSON or text file. By default, the names in the file of the detector.",
                filters="Names of classes (*.yaml *.yml *.json *.txt)",
                advanced=True,
            ),
            features(
                "BOXES",
                "Boxes of a detector",
                "The bounding boxes of these features are asked, in place of a finder.",
                [QgsProcessing.TypeVectorAnyGeometry],
                optional=True,
            ),
            _min_score(),
            *model(),
            *area_of_interest(),
            *areas(),
            _resolution(),
            _zoom(),
            yes_or_no(
                "FLIPS",
                "Also look at mirrored windows",
                "This finds slightly more, and takes about half as long again.",
                default=False,
                advanced=True,
            ),
            _workers(),
            *reading(),
            *output("Found objects"),
        ]

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, object]:
        options = self.area(parameters, context, feedback)
        options += option("--boxes", self.features(parameters, "BOXES", context, feedback))
        return self.write([self.image.path], options, parameters, context, feedback)


class Footprints(SamgeoAlgorithm):
    """Extract building footprints, or objects like given examples, from an image."""

    COMMAND = "footprints"
    NAME = "footprints"
    TITLE = "Extract building footprints"
    GROUP = GROUP
    TAGS = ("buildings", "examples", "regularize", "height")
    ABOUT = (
        "Finds the buildings in an image, filters them by area and height, and makes their outlines regular.\n\nWith examples, "
        "everything in the image is segmented, and what is like the accepted examples and unlike the rejected ones is "
        "selected: a column label says 1 for accepted and 0 for rejected. Without regular outlines, this serves for objects "
        "of other kinds, too."
    )
    OPTIONS: ClassVar[Mapping[str, str]] = {
        "MIN_SCORE": "--min-score",
        **MODEL,
        **AREAS,
        "MIN_HEIGHT": "--min-height",
        "RESOLUTION": "--resolution",
        "ZOOM": "--zoom",
        **READING,
        **WRITING,
    }
    LAYERS: ClassVar[Mapping[str, str]] = {"EXAMPLES": "--examples", "CANDIDATES": "--candidates"}
    HEIGHTS: ClassVar[Mapping[str, str]] = {"DSM": "--dsm", "DTM": "--dtm"}

    def declared(self) -> Sequence[QgsProcessingParameterDefinition]:
        """Return the parameters."""
        return [
            image(),
            features(
                "EXAMPLES",
                "Examples",
                "Outlines of a few objects; without them, a finder finds the buildings.",
                POLYGONS,
                optional=True,
            ),
            features(
                "CANDIDATES",
                "Candidates",
                "With examples: the objects from which they select, such as the result of Segment everything. By default, "
                "everything in the image is segmented.",
                POLYGONS,
                optional=True,
            ),
            _min_score(),
            *model(),
            *areas(),
            yes_or_no("REGULAR", "Make outlines regular", "Right angles, circles and shared walls.", default=True),
            raster("DSM", "Surface heights", "Of heights above the ground, if there are no terrain heights.", optional=True),
            raster("DTM", "Terrain heights", "They are subtracted from the surface heights.", optional=True),
            number("MIN_HEIGHT", "Smallest height", "With heights: lower objects are dropped, in metres. By default, 2 m."),
            _resolution(),
            _zoom(),
            *reading(),
            *output("Footprints"),
        ]

    def prepareAlgorithm(self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> bool:
        self._heights: dict[str, str] = {}
        for name in self.HEIGHTS:
            layer = self.parameterAsRasterLayer(parameters, name, context)
            if layer is not None:
                self._heights[name] = image_of(layer, feedback).path
            elif parameters.get(name):
                raise QgsProcessingException(self.invalidRasterError(parameters, name))
        return super().prepareAlgorithm(parameters, context, feedback)

    def processAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, object]:
        options = switch("regular", self.parameterAsBoolean(parameters, "REGULAR", context))
        for name, flag in self.LAYERS.items():
            options += option(flag, self.features(parameters, name, context, feedback))
        for name, flag in self.HEIGHTS.items():
            options += option(flag, self._heights.get(name))
        return self.write([self.image.path], options, parameters, context, feedback)
