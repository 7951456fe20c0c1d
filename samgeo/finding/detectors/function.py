"""A Python function as a detector."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from types import CodeType, FunctionType
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import ModelError, OptionError
from samgeo.finding.detectors.detection import Detections, Detector

__all__ = ["FunctionDetector", "detector_from"]

#: Numbers as a library returns them: an array, a tensor on any device, or a list.
Numbers: TypeAlias = "NDArray[Any] | torch.Tensor | Sequence[Any]"
#: A function that gets an image and returns boxes, scores and classes, in this order, and possibly mask logits.
DetectFunction: TypeAlias = (
    "Callable[[NDArray[np.uint8]], Detections | tuple[Numbers, Numbers, Numbers] | tuple[Numbers, Numbers, Numbers, Numbers]]"
)
# Values of these types that a function refers to are part of its digest.
PLAIN = (bool, int, float, complex, str, bytes, type(None))


class FunctionDetector:
    """A detector that calls a function; see `samgeo.finding.detector_from`."""

    def __init__(self, function: DetectFunction, classes: tuple[str, ...], name: str, digest: str) -> None:
        self.function, self.classes, self.name, self.digest = function, classes, name, digest
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[FunctionDetector], tuple[DetectFunction, tuple[str, ...], str, str]]:
        return type(self), (self.function, self.classes, self.name, self.digest)

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Call the function with an image of shape (H, W, 3); one thread at a time."""
        with self._lock:
            found = self.function(image)
        if isinstance(found, Detections):
            return found
        if not isinstance(found, tuple | list) or len(found) not in {3, 4}:
            raise ModelError(
                f"the function {self.name} returned {type(found).__name__}; a detector returns boxes, scores and classes."
            )
        boxes, scores = (_array(part, np.float32) for part in found[:2])
        logits = None if len(found) == 3 or found[3] is None else _array(found[3], np.float32)
        if not boxes.size:
            return Detections.none()
        return Detections(boxes, scores, self._numbers(found[2]), logits)

    def _numbers(self, classes: Numbers) -> NDArray[np.int64]:
        """Return class numbers from numbers or names."""
        given = _array(classes, None)
        if given.dtype.kind not in "UO":
            return given.astype(np.int64)
        names = [str(name) for name in given.ravel().tolist()]
        if unknown := sorted(set(names) - set(self.classes)):
            raise ModelError(f"the function {self.name} returned the class {unknown[0]!r}; its classes are {self.classes}.")
        return np.array([self.classes.index(name) for name in names], dtype=np.int64)


@check_types
def detector_from(
    function: DetectFunction, *, classes: Sequence[str], name: str | None = None, version: str | None = None
) -> Detector:
    """Make a detector of a Python function.

    Parameters
    ----------
    function : callable
        Gets an image, uint8 of shape (H, W, 3), and returns boxes (K, 4), x0, y0, x1, y1 in pixels of the image; scores (K,)
        from 0 to 1; classes (K,), by number or by name; and, if it draws masks, their logits (K, h, w) over the whole image.
        Arrays, tensors and lists are accepted. It is called by one thread at a time. For ``scheduler="processes"`` it must be
        possible to pickle it.
    classes : sequence of str
        Names of the classes, by number.
    name : str, optional
        Name of the detector, for provenance. The name of the function by default.
    version : str, optional
        Identifies the function and its weights: a stopped run is only continued with the same name, classes and version. By
        default it is a hash of the code of the function, with the numbers and strings that it refers to. Such a hash does not
        notice other weights or other code that the function calls, and it differs between versions of Python; give a version
        if these may change.

    Returns
    -------
    Detector

    Raises
    ------
    OptionError
        If there are no classes, or there is no version and the function has no Python code.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.finding import detector_from
    >>> def left_half(image):
    ...     return [[0, 0, image.shape[1] / 2, image.shape[0]]], [0.9], ["field"]
    >>> detector = detector_from(left_half, classes=["field"], version="1")
    >>> detector.detect(np.zeros((10, 20, 3), dtype=np.uint8)).boxes.tolist()
    [[0.0, 0.0, 10.0, 10.0]]
    """
    if not callable(function):
        raise OptionError(f"the detector is {type(function).__name__}; give a function that gets an image.")
    names = tuple(classes)
    if not names:
        raise OptionError("classes is empty; give the name of each class of the detector.")
    called = name or str(getattr(function, "__name__", type(function).__name__))
    total = hashlib.sha256(repr((called, names)).encode())
    total.update(repr(_code_of(function) if version is None else version).encode())
    return FunctionDetector(function, names, called, total.hexdigest()[:16])


def _array(values: Numbers, dtype: type[np.float32] | None) -> NDArray[Any]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=dtype)


def _code_of(function: object) -> tuple[object, ...]:
    """Return the code of a function, a bound method or the method ``__call__`` of an object, as values with a stable repr.

    Raises
    ------
    OptionError
        If the function is not written in Python.
    """
    found = function if isinstance(function, FunctionType) else getattr(function, "__func__", type(function).__call__)
    if not isinstance(found, FunctionType):
        raise OptionError("the function of a detector has no Python code to identify it; give a version.")
    cells = [cell.cell_contents for cell in found.__closure__ or ()]
    defaults = [*(found.__defaults__ or ()), *sorted((found.__kwdefaults__ or {}).items())]
    outer = {name: found.__globals__.get(name) for name in found.__code__.co_names}
    return (
        _values(found.__code__),
        _values(tuple(defaults)),
        _values(tuple(cells)),
        _values(tuple(item for item in outer.items() if isinstance(item[1], PLAIN) and item[1] is not None)),
    )


def _values(value: object) -> object:
    """Return a value with a stable repr: code as its instructions, plain values as they are, others by their type."""
    if isinstance(value, CodeType):
        return value.co_code, value.co_names, value.co_varnames, _values(value.co_consts)
    if isinstance(value, tuple):
        return tuple(_values(item) for item in value)
    if isinstance(value, frozenset):
        return tuple(sorted(repr(_values(item)) for item in value))
    return value if isinstance(value, PLAIN) else type(value).__qualname__
