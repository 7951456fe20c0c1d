"""A detector in an ONNX file."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import CheckpointError, ModelError, OptionError
from samgeo.finding.detectors.detection import Detections
from samgeo.finding.detectors.layouts import LAYOUTS, Output, identify
from samgeo.finding.detectors.letterbox import NORMALIZATIONS, PADDING, normalized, placed
from samgeo.finding.detectors.onnx_file import check_content, class_names, parsed, read_names

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["DEVICES", "SUFFIX", "OnnxDetector"]

_log = logging.getLogger(__name__)

AUTO, SUFFIX = "auto", ".onnx"
DEVICES = (AUTO, "cpu", "cuda")
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
DEFAULT_SIDE, MOST_SIDE = 640, 8192
KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
# Inputs besides the image: the size to which boxes are scaled, and where the image is not padding.
TARGET_SIZE, PIXEL_MASK = "orig_target_sizes", "pixel_mask"


class OnnxDetector:
    """A detector in an ONNX file, such as exports of YOLO, YOLOX and DETR models. It needs ``samgeo[detect]``.

    The layout of the output, the size of the input and the names of the classes are read from the file, as far as it has them.
    Boxes that overlap are returned too; `DetectorSource` suppresses them. Masks and key points of the network are not used, and
    oriented boxes become the upright boxes around them. Copies in other processes are sent by path: each process loads the file
    once.

    Parameters
    ----------
    path : path
        The file. It has all weights; a batch of one image, or of any number; and an input of red, green and blue.
    layout : str, default "auto"
        What the outputs are. "yolov5": rows of centre, size, objectness and classes (YOLOv5, v6, v7). "yolov8": columns of
        centre, size and classes (YOLOv8, v9, v11, v12). "yolov8-obb": with an angle after the classes. "yolov10": rows of
        corners, score and class (YOLOv10, and exports of others with suppression). "yolov10-obb": rows of centre, size, score,
        class and angle. "yolox": rows like those of "yolov5", in pixels or relative to cells. "detr": boxes from 0 to 1, and
        logits with a last column for no object. "rtdetr": the same without this column, in one or two outputs; or labels, boxes
        and scores. "auto" tells them apart by shapes, names and metadata.
    classes : path or sequence of str, optional
        Names of the classes, or a file with them: YAML or JSON with ``names`` or ``id2label``, or text with one name in a line.
        By default the names in the metadata; without these, "class 0" and so on, where the number of classes is known.
    min_score : float, default 0.25
        Boxes with a lower score are left out.
    input_size : int or (int, int), optional
        Height and width of the input, for files that leave them open. By default those in the metadata, or 640.
    normalization : str, default "auto"
        Values of the input. "unit": red, green and blue from 0 to 1, the default of YOLO and "rtdetr". "imagenet": the same
        with the mean and standard deviation of ImageNet, the default of "detr". "bgr": blue, green and red from 0 to 255, the
        default of YOLOX.
    device : {"auto", "cpu", "cuda"}, default "auto"
        "auto" uses a CUDA device if onnxruntime has support for it. On a CPU, one image is computed on one core, as windows
        are.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged or not in a known layout, or has other weights than before.
    ModelError
        If onnxruntime is not installed or does not know the device.
    OptionError
        If an option has no valid value, or class names are needed.

    Examples
    --------
    >>> from samgeo.errors import SamgeoError
    >>> from samgeo.finding import OnnxDetector
    >>> try:
    ...     OnnxDetector("no-such-file.onnx")
    ... except SamgeoError as error:
    ...     print(error)
    there is no detector no-such-file.onnx; check the path.
    """

    @check_types
    def __init__(
        self,
        path: str | Path,
        *,
        layout: str = AUTO,
        classes: str | Path | Sequence[str] | None = None,
        min_score: float = 0.25,
        input_size: int | tuple[int, int] | None = None,
        normalization: str = AUTO,
        device: str = AUTO,
    ) -> None:
        for name, value, known in (
            ("layout", layout, (AUTO, *LAYOUTS)),
            ("normalization", normalization, (AUTO, *NORMALIZATIONS)),
            ("device", device, DEVICES),
        ):
            if value not in known:
                raise OptionError(f"{name} is {value!r}; give one of {', '.join(known)}.")
        if not 0 <= min_score <= 1:
            raise OptionError(f"min_score is {min_score}; give a number from 0 to 1.")
        self.path, self.device, self.min_score = Path(path), device, min_score
        self._file = hashlib.sha256(_read(self.path)).hexdigest()
        session = self._session()
        metadata = session.get_modelmeta().custom_metadata_map
        self.input_size = _input_size(session, input_size, parsed(metadata.get("imgsz")), self.path)
        names = class_names(parsed(metadata.get("names"))) if classes is None else _names(classes)
        grey = np.full((*self.input_size, 3), PADDING, dtype=np.uint8)
        self.layout = identify(
            self._run(normalized(grey, "unit")), self.input_size,
            names=names, layout=layout, task=metadata.get("task"), name=str(self.path),
        )  # fmt: skip
        self.normalization = self.layout.normalization if normalization == AUTO else normalization
        self.classes = self.layout.classes
        _log.info("%s has the layout %s with %d classes.", self.path, self.layout.name, len(self.classes))

    @property
    def name(self) -> str:
        """Name of the file and of the layout, for provenance."""
        return f"{self.path.name} ({self.layout.name})"

    @property
    def digest(self) -> str:
        """Digest of the file and of the options."""
        layout = [self.layout.name, list(self.classes), list(self.layout.strides)]
        options = [self._file, layout, list(self.input_size), self.normalization, self.min_score]
        return hashlib.sha256(json.dumps(options).encode()).hexdigest()[:16]

    @check_types
    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Find objects in one image.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, 3)
            RGB, of any size.

        Returns
        -------
        Detections
            Boxes with a score of at least ``min_score``, in pixels of the image, before suppression of overlapping boxes.

        Raises
        ------
        OptionError
            If the image has another type or shape.
        ModelError
            If the network cannot be run.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise OptionError(f"the image is {image.dtype} of shape {image.shape}; give uint8 of shape (H, W, 3).")
        fitted, placement = placed(image, self.input_size, self.layout.fit)
        boxes, scores, kinds = self.layout.decode(self._run(normalized(fitted, self.normalization)), self.input_size)
        rows = scores >= self.min_score
        if not rows.any():
            return Detections.none()
        return Detections(placement.to_image(boxes[rows]).astype(np.float32), scores[rows].astype(np.float32), kinds[rows])

    def _session(self) -> onnxruntime.InferenceSession:
        with _opening:
            return _open(_Source(self.path, self._file, self.device))

    def _run(self, batch: NDArray[np.float32]) -> list[Output]:
        """Return all outputs for a batch of one image, shape (1, 3, H, W)."""
        session = self._session()
        feeds: dict[str, NDArray[Any]] = {}
        for number, one in enumerate(session.get_inputs()):
            if number == 0:
                feeds[one.name] = batch.astype(KINDS[one.type])
            elif one.name == TARGET_SIZE:
                feeds[one.name] = np.array([[batch.shape[3], batch.shape[2]]], dtype=np.int64)
            else:
                sides = [
                    side if isinstance(side, int) else given for side, given in zip(one.shape[1:], batch.shape[2:], strict=True)
                ]
                feeds[one.name] = np.ones((1, *sides), dtype=np.int64)
        try:
            values = session.run(None, feeds)
        except Exception as error:  # noqa: BLE001 - the runtime's errors have no common class
            raise ModelError(f"the detector {self.path} cannot be run: {_short(error)}.") from None
        return [(one.name, np.asarray(value)) for one, value in zip(session.get_outputs(), values, strict=True)]


class _Source(NamedTuple):
    """What a process opens: a file with a digest, on a device."""

    path: Path
    digest: str
    device: str


# Threads that start together would each load the file.
_opening = threading.Lock()


@lru_cache(maxsize=2)
def _open(source: _Source) -> onnxruntime.InferenceSession:
    """Load a file, once in a process."""
    try:
        import onnxruntime
    except ImportError:
        raise ModelError("detectors in ONNX files need onnxruntime; pip install 'samgeo[detect]'.") from None
    path, digest, device = source
    content = _read(path)
    if hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(f"the detector {path} has changed since it was opened; open it again.")
    available = onnxruntime.get_available_providers()
    if device == "cuda" and CUDA not in available:
        raise ModelError('device is "cuda", and onnxruntime has no support for it; install onnxruntime-gpu, or give "cpu".')
    providers = [CUDA, CPU] if device != "cpu" and CUDA in available else [CPU]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # noqa: BLE001 - the runtime's errors have no common class
        raise CheckpointError(f"the detector {path} cannot be loaded: {_short(error)}.") from None
    _check_inputs(session, path)
    return session


def _read(path: Path) -> bytes:
    """Read and check a file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"there is no detector {path}; check the path.") from None
    except OSError as error:
        raise CheckpointError(f"the detector {path} cannot be read: {error}.") from None
    check_content(content, path)
    return content


def _check_inputs(session: onnxruntime.InferenceSession, path: Path) -> None:
    inputs = session.get_inputs()
    image = inputs[0] if inputs else None
    if image is None or len(image.shape) != 4 or image.type not in KINDS or image.shape[1] not in {3, None} | _names_of(image):
        told = "no input" if image is None else f"an input {image.name} of {image.type} {image.shape}"
        raise CheckpointError(f"{path} has {told}; a detector has an input of floats of shape (1, 3, H, W). Export it so.")
    if isinstance(image.shape[0], int) and image.shape[0] != 1:
        raise CheckpointError(f"{path} takes {image.shape[0]} images at once; export it for one image, or for any number.")
    if more := [one for one in inputs[1:] if one.name not in {TARGET_SIZE, PIXEL_MASK}]:
        raise CheckpointError(f"{path} has the input {more[0].name} besides the image, which is not known; export it without.")


def _names_of(image: onnxruntime.NodeArg) -> set[str]:
    """Return the names of the sides of an input that the file leaves open."""
    return {side for side in image.shape if isinstance(side, str)}


def _input_size(
    session: onnxruntime.InferenceSession, given: int | tuple[int, int] | None, stored: object, path: Path
) -> tuple[int, int]:
    """Return height and width of the input: those of the file, else as given, else as in the metadata, else 640."""
    sides = session.get_inputs()[0].shape[2:]
    fixed = tuple(side for side in sides if isinstance(side, int) and side > 0)
    asked = (given, given) if isinstance(given, int) else given
    if asked is not None and (len(asked) != 2 or not all(type(side) is int and 32 <= side <= MOST_SIDE for side in asked)):
        raise OptionError(f"input_size is {given!r}; give whole numbers of pixels from 32 to {MOST_SIDE}.")
    if len(fixed) == 2:
        if asked is not None and asked != fixed:
            raise OptionError(f"input_size is {given!r}, and {path} has an input of {fixed[0]} x {fixed[1]} pixels; omit it.")
        return int(fixed[0]), int(fixed[1])
    if asked is not None:
        return asked
    pair = (stored, stored) if isinstance(stored, int) else stored
    if (
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and all(type(side) is int and 32 <= side <= MOST_SIDE for side in pair)
    ):
        return int(pair[0]), int(pair[1])
    return DEFAULT_SIDE, DEFAULT_SIDE


def _names(classes: str | Path | Sequence[str]) -> tuple[str, ...]:
    if isinstance(classes, str | Path):
        return read_names(Path(classes))
    if isinstance(classes, Mapping) or not classes or not all(isinstance(name, str) for name in classes):
        raise OptionError("classes is not a sequence of names; give the name of each class in order, or a file with them.")
    return tuple(classes)


def _short(error: Exception) -> str:
    """Return the first line of an error."""
    return str(error).strip().splitlines()[0][:300].rstrip(".") if str(error).strip() else type(error).__name__
