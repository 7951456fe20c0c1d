"""Errors and warnings of samgeo, each under one root class.

A message says what is wrong, where it is wrong, and what the user can do.
"""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from types import FrameType

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
    "StorageError",
    "VectorError",
    "WindowError",
    "warn",
]


class SamgeoError(Exception):
    """Root of all errors that samgeo raises on purpose.

    The message contains all that the user needs. So a traceback shows only this error, and not the error of another library
    that was being handled. Debuggers still find the other error in ``__context__``.

    Examples
    --------
    >>> import samgeo
    >>> from samgeo.errors import SamgeoError
    >>> try:
    ...     samgeo.load_model("no-such-model")
    ... except SamgeoError as error:
    ...     print(type(error).__name__)
    ModelError
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.__suppress_context__ = True


class OptionError(SamgeoError):
    """An argument or an option has an invalid value."""


class RasterError(SamgeoError):
    """A raster cannot be opened, read or interpreted."""


class VectorError(SamgeoError):
    """A vector file cannot be read or written."""


class StorageError(SamgeoError):
    """An address is not of object storage, or an object there cannot be looked up, read, written or removed."""


class AnnotationError(SamgeoError):
    """An annotation file cannot be read, interpreted or written; the message has the file and the line or the element."""


class ModelError(SamgeoError):
    """A model is unknown, is not available, or cannot run with the given options."""


class CheckpointError(ModelError):
    """A checkpoint file is corrupt, unsafe, or does not contain a model that samgeo supports."""


class WindowError(SamgeoError):
    """Windows of a raster could not be segmented."""


class RunError(SamgeoError):
    """A run cannot be started, continued or finished, because another process uses it or its input has changed."""


class StoppedError(SamgeoError):
    """A run was stopped by request; it can be continued."""


class SamgeoWarning(UserWarning):
    """Root of all warnings that samgeo issues on purpose; the command line prints their text to standard error."""


class RasterWarning(SamgeoWarning):
    """A raster can be read, but the image that the model gets may differ from the one that the user expects."""


def warn(message: str, category: type[SamgeoWarning] = SamgeoWarning) -> None:
    """Issue a warning that points to the line outside samgeo from which the call came."""
    level = 1
    frame: FrameType | None = inspect.currentframe()
    inside = str(Path(__file__).parent)
    while frame is not None and frame.f_code.co_filename.startswith(inside):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
