"""Everything samgeo raises on purpose, under one root.

A message says what is wrong, where, and what to do about it.
"""

__all__ = [
    "AnnotationError",
    "CheckpointError",
    "ModelError",
    "OptionError",
    "RasterError",
    "RasterWarning",
    "RunError",
    "SamgeoError",
    "SamgeoWarning",
    "StoppedError",
    "VectorError",
    "WindowError",
]


class SamgeoError(Exception):
    """Root of every error that samgeo raises on purpose.

    Its message says all that the user needs, so that a traceback shows it alone, without the error of a library that was being
    handled. Debuggers still find that one in ``__context__``.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.__suppress_context__ = True


class OptionError(SamgeoError):
    """An argument or an option has a value that cannot work."""


class RasterError(SamgeoError):
    """A raster cannot be opened, read, or understood."""


class VectorError(SamgeoError):
    """A vector file cannot be read or written."""


class AnnotationError(SamgeoError):
    """A file of annotations cannot be read, understood or written; the message has the file and the line or the element."""


class ModelError(SamgeoError):
    """A model is unknown, cannot be had, or cannot run as asked."""


class CheckpointError(ModelError):
    """A checkpoint file is corrupt, unsafe, or not a model that samgeo knows."""


class WindowError(SamgeoError):
    """Windows of a raster could not be segmented."""


class RunError(SamgeoError):
    """A run cannot be begun, continued or finished: another process works on it, or its input has changed."""


class StoppedError(SamgeoError):
    """A run was asked to stop, and did; it can be continued."""


class SamgeoWarning(UserWarning):
    """Root of every warning that samgeo gives on purpose; the command line shows its text on standard error."""


class RasterWarning(SamgeoWarning):
    """A raster can be read, but the picture that the model sees is perhaps not the one that is meant."""
