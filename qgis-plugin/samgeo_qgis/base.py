"""What all algorithms share: inputs as files, a run of the command samgeo, and the output with its style."""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from processing.core.ProcessingConfig import ProcessingConfig
from qgis.core import (
    QgsMapLayer,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRange,
)
from qgis.PyQt.QtCore import QVariant
from qgis.PyQt.QtGui import QIcon

from .command import (
    CommandError,
    Destination,
    Value,
    clean_environment,
    command_line,
    extra_options,
    find_program,
    may_be_styled,
    option,
    parse_destination,
)
from .layers import Image, image_of, vector_file, write_geometry, write_source
from .parameters import IMAGE
from .process import DONE_WITH_HOLES, Cancelled, explain, run

__all__ = ["COMMAND_SETTING", "ICON", "SamgeoAlgorithm"]

COMMAND_SETTING = "SAMGEO_COMMAND"
ICON = str(Path(__file__).parent / "icon.svg")
_NOTE = "Note: "

Parameters = Mapping[str, object]


class _StyleLoader(QgsProcessingLayerPostProcessorInterface):
    """Give a layer that was loaded the style that is kept in its file; Processing leaves it out."""

    # QGIS has only a pointer to the object until it deletes it; Python must not delete it before.
    latest: ClassVar[_StyleLoader]

    @classmethod
    def for_one_layer(cls) -> _StyleLoader:
        """Return a new object, which serves one layer."""
        cls.latest = cls()
        return cls.latest

    def postProcessLayer(
        self,
        layer: QgsMapLayer,
        context: QgsProcessingContext,  # noqa: ARG002 - the interface of QGIS
        feedback: QgsProcessingFeedback,  # noqa: ARG002 - the interface of QGIS
    ) -> None:
        layer.loadDefaultStyle()
        layer.triggerRepaint()


class SamgeoAlgorithm(QgsProcessingAlgorithm):
    """An algorithm that is one command of samgeo.

    Children say what they are in the attributes, declare their parameters in `declared`, and call the command in
    `processAlgorithm`.
    """

    COMMAND: ClassVar[str]
    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    GROUP: ClassVar[str]
    ABOUT: ClassVar[str]
    TAGS: ClassVar[Sequence[str]] = ()
    OPTIONS: ClassVar[Mapping[str, str]] = {}
    """Options of the command by the names of the parameters that give their values."""

    # The names of the following methods are those of QGIS.

    def declared(self) -> Sequence[QgsProcessingParameterDefinition]:
        """Return the parameters."""
        raise NotImplementedError

    def createInstance(self) -> SamgeoAlgorithm:
        return type(self)()

    def name(self) -> str:
        return self.NAME

    def displayName(self) -> str:
        return self.TITLE

    def group(self) -> str:
        return self.GROUP

    def groupId(self) -> str:
        return self.GROUP.lower().replace(" ", "_")

    def tags(self) -> list[str]:
        return ["samgeo", "segment anything", *self.TAGS]

    def icon(self) -> QIcon:
        return QIcon(ICON)

    def shortHelpString(self) -> str:
        return self.ABOUT

    def initAlgorithm(self, configuration: object = None) -> None:  # noqa: ARG002
        for parameter in self.declared():
            self.addParameter(parameter)

    def canExecute(self) -> tuple[bool, str]:
        try:
            find_program(ProcessingConfig.getSetting(COMMAND_SETTING))
        except CommandError as error:
            return False, str(error)
        return True, ""

    def prepareAlgorithm(self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> bool:
        # Layers belong to the thread of this method.
        given = [one.name() for one in self.parameterDefinitions()]
        self._image: Image | None = None
        if IMAGE in given:
            layer = self.parameterAsRasterLayer(parameters, IMAGE, context)
            if layer is not None or not self._is_optional(IMAGE) or parameters.get(IMAGE):
                self._image = image_of(layer, feedback)
        self._files = {
            one.name(): vector_file(parameters.get(one.name()), self.parameterAsVectorLayer(parameters, one.name(), context))
            for one in self.parameterDefinitions()
            if isinstance(one, QgsProcessingParameterFeatureSource)
        }
        return True

    def _is_optional(self, name: str) -> bool:
        return bool(self.parameterDefinition(name).flags() & QgsProcessingParameterDefinition.FlagOptional)

    # What children use.

    @property
    def image(self) -> Image:
        """The image; an error if it is optional and was not given."""
        if self._image is None:
            raise QgsProcessingException("There is no image; choose one.")
        return self._image

    @property
    def has_image(self) -> bool:
        """Whether an image was given."""
        return self._image is not None

    @property
    def _turns(self) -> bool:
        return self._image is not None and self._image.y_up

    def features(
        self, parameters: Parameters, name: str, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> str | None:
        """Return the file with the features of a parameter, which may be a temporary one; None if it has no value."""
        path = self._files[name]
        # samgeo marks the files that it writes with y up; features that were drawn in QGIS have no mark.
        if path is not None and not self._turns:
            return path
        source = self.parameterAsSource(parameters, name, context)
        if source is None:
            if self._is_optional(name):
                return None
            raise QgsProcessingException(self.invalidSourceError(parameters, name))
        return write_source(source, name.lower(), context, feedback, turn=self._turns)

    def area(self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> list[str]:
        """Return the option with the area of interest of the parameters AOI and EXTENT."""
        path = self.features(parameters, "AOI", context, feedback)
        if self.parameterAsExtent(parameters, "EXTENT", context).isEmpty():
            return option("--aoi", path)
        if path is not None:
            raise QgsProcessingException("An area of interest and an extent are given; give one of them.")
        extent = self.parameterAsExtentGeometry(parameters, "EXTENT", context, self.image.crs)
        return option("--aoi", write_geometry(extent, self.image.crs, "extent", context, turn=self._turns))

    def value(self, parameters: Parameters, name: str, context: QgsProcessingContext) -> Value:
        """Return the value of a parameter as an option takes it; None if it has none."""
        definition = self.parameterDefinition(name)
        given = parameters.get(name, definition.defaultValue())
        if given is None or given == "" or (isinstance(given, QVariant) and given.isNull()):
            return None
        if isinstance(definition, QgsProcessingParameterBoolean):
            return bool(self.parameterAsBoolean(parameters, name, context))
        if isinstance(definition, QgsProcessingParameterNumber):
            whole = definition.dataType() == QgsProcessingParameterNumber.Integer
            read = self.parameterAsInt if whole else self.parameterAsDouble
            return read(parameters, name, context)
        if isinstance(definition, QgsProcessingParameterEnum):
            return str(self.parameterAsEnumString(parameters, name, context))
        if isinstance(definition, QgsProcessingParameterRange):
            return list(self.parameterAsRange(parameters, name, context))
        return str(self.parameterAsString(parameters, name, context))

    def options(self, parameters: Parameters, context: QgsProcessingContext) -> list[str]:
        """Return the options of `OPTIONS` that have values."""
        return [word for name, flag in self.OPTIONS.items() for word in option(flag, self.value(parameters, name, context))]

    def typed_options(self, parameters: Parameters, context: QgsProcessingContext) -> list[str]:
        """Return the options that the user typed."""
        try:
            return extra_options(self.parameterAsString(parameters, "EXTRA", context))
        except CommandError as error:
            raise QgsProcessingException(str(error)) from None

    def call(self, command: str, paths: Sequence[str], options: Sequence[str], feedback: QgsProcessingFeedback) -> str:
        """Run a command of samgeo, and return what it prints to standard output.

        Raises
        ------
        QgsProcessingException
            If the command fails, with its message, or was cancelled.
        """
        try:
            program = find_program(ProcessingConfig.getSetting(COMMAND_SETTING))
            arguments = command_line(program, command, paths, options)
            feedback.pushCommandInfo(shlex.join(arguments))
            done = run(
                arguments,
                environment=clean_environment(os.environ),
                on_progress=feedback.setProgress,
                on_message=lambda line: _tell(line, feedback),
                is_cancelled=feedback.isCanceled,
            )
        except CommandError as error:
            raise QgsProcessingException(str(error)) from None
        except OSError as error:
            raise QgsProcessingException(f"{program} cannot be started: {error}.") from None
        except Cancelled:
            raise QgsProcessingException("samgeo was stopped, because the algorithm was cancelled.") from None
        if done.code == DONE_WITH_HOLES:
            feedback.pushWarning("Some windows of the image failed; the messages above list them.")
        elif done.code != 0:
            raise QgsProcessingException(explain(done))
        return done.output

    def write(
        self,
        inputs: Sequence[str],
        options: Sequence[str],
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, object]:
        """Run the command of the algorithm with an output, give the output its style, and let QGIS load it."""
        chosen = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        output = parse_destination(chosen)
        words = [*self.options(parameters, context), *options, *option("--layer", output.layer)]
        if self._turns:
            words.append("--y-up")
        self.call(self.COMMAND, [*inputs, output.path], [*words, *self.typed_options(parameters, context)], feedback)
        if self.parameterAsBoolean(parameters, "STYLE", context):
            self._style(output, feedback)
        waiting = context.layersToLoadOnCompletion()
        if chosen in waiting:
            details = waiting.pop(chosen)
            # QGIS would open the first layer of a GeoPackage with several layers.
            waiting[output.source] = details
            context.setLayersToLoadOnCompletion(waiting)
            context.layerToLoadOnCompletionDetails(output.source).setPostProcessor(_StyleLoader.for_one_layer())
        return {"OUTPUT": output.source}

    def _style(self, output: Destination, feedback: QgsProcessingFeedback) -> None:
        try:
            if may_be_styled(output):
                self.call("style", [output.name], ["--overwrite"], feedback)
        except (QgsProcessingException, sqlite3.Error) as error:
            feedback.pushWarning(f"The layer has no style: {error}")


def _tell(line: str, feedback: QgsProcessingFeedback) -> None:
    if line.startswith(_NOTE):
        feedback.pushWarning(line[len(_NOTE) :])
    else:
        feedback.pushConsoleInfo(line)
