"""The output layouts of exported detectors: which one a file has, and how boxes are read from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import CheckpointError, OptionError

__all__ = ["LAYOUTS", "Layout", "Output", "identify"]

#: One output of a network: its name and its value.
Output = tuple[str, NDArray[np.float32]]

LAYOUTS = ("yolov5", "yolov8", "yolov8-obb", "yolov10", "yolov10-obb", "yolox", "detr", "rtdetr")
#: Levels of the networks, as the number of input pixels for each cell.
STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
ANCHORS = 3
# Values of one output after suppression or of an end-to-end network: box, score and class.
CHOSEN = 6
# Outputs are something else if scores for a grey image are not from 0 to 1, most boxes are very far outside of the input, or
# all boxes are in its first two pixels.
ROUNDING, MOST_FAR, LEAST_FAR = 1e-2, 4.0, 2.0

Decoded = tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Layout:
    """How the outputs of a network are read.

    Attributes
    ----------
    name : str
        One of `LAYOUTS`.
    outputs : tuple of int
        Numbers of the outputs that are read: one, boxes and logits, or labels, boxes and scores.
    classes : tuple of str
        Names of the classes.
    fit, normalization : str
        How the input is made; see `samgeo.finding.detectors.letterbox`.
    strides : tuple of int
        For YOLOX whose boxes are relative to cells, the input pixels for each cell; empty for boxes in pixels.
    """

    name: str
    outputs: tuple[int, ...]
    classes: tuple[str, ...]
    fit: str
    normalization: str
    strides: tuple[int, ...] = ()

    def decode(self, outputs: Sequence[Output], size: tuple[int, int]) -> Decoded:
        """Return boxes x0, y0, x1, y1 in pixels of the input, shape (K, 4), scores, and class numbers of all candidates.

        Parameters
        ----------
        outputs : sequence of (str, ndarray)
            All outputs of the network for one image.
        size : (int, int)
            Height and width of the input.
        """
        values = [np.asarray(outputs[number][1][0], dtype=np.float32) for number in self.outputs]
        count = len(self.classes)
        if len(values) == 3:
            return values[1].astype(np.float64), values[2], values[0].astype(np.int64)
        if len(values) == 2:
            return _best(_corners(_scaled(values[0], size)), _probabilities(values[1], count, softmax=self.name == "detr"))
        if self.name in {"yolov10", "yolov10-obb"}:
            return _chosen(values[0], oriented=self.name == "yolov10-obb")
        rows = values[0].T if self.name.startswith("yolov8") else values[0]
        if self.name == "rtdetr":
            return _best(_corners(_scaled(rows[:, :4], size)), rows[:, 4 : 4 + count])
        if self.name.startswith("yolov8"):
            boxes = _upright(rows) if self.name == "yolov8-obb" else _corners(rows)
            return _best(boxes, rows[:, 4 : 4 + count])
        if self.strides:
            rows = _from_cells(rows, size, self.strides)
        return _best(_corners(rows), rows[:, 4:5] * rows[:, 5 : 5 + count])


def identify(
    outputs: Sequence[Output],
    size: tuple[int, int],
    *,
    names: tuple[str, ...] | None,
    layout: str = "auto",
    task: str | None = None,
    name: str = "the model",
) -> Layout:
    """Return the layout of the outputs of a network.

    Parameters
    ----------
    outputs : sequence of (str, ndarray)
        The outputs for a grey image.
    size : (int, int)
        Height and width of the input.
    names : tuple of str or None
        Names of the classes, as far as they are known.
    layout : str, default "auto"
        One of `LAYOUTS`, or "auto" to find it out.
    task : str, optional
        The task that the metadata of the file give: "detect", "obb", "segment" or "pose".
    name : str, optional
        Name of the file, for messages.

    Raises
    ------
    CheckpointError
        If the layout is not known, or the outputs do not fit it or the number of names.
    OptionError
        If class names are needed.
    """
    shapes = {one: value.shape for one, value in outputs}
    found = _guess(outputs, size, names, task) if layout == "auto" else layout
    if found is None:
        raise CheckpointError(
            f"{name} has outputs of shapes {_told(shapes)}, in none of the layouts that are known; give layout, one of "
            f"{', '.join(LAYOUTS)}."
        )
    read = _read(found, outputs)
    if read is None:
        raise CheckpointError(f"{name} has outputs of shapes {_told(shapes)}, which do not fit the layout {found}.")
    columns = _class_columns(found, [outputs[number][1] for number in read], outputs, names, task)
    if columns is None and names is None:
        raise OptionError(f"{name} does not say which classes it has; give classes, the name of each class in order.")
    if columns is not None and names is not None and len(names) != columns:
        raise CheckpointError(
            f"the number of classes of {name} in the layout {found} is {columns} (outputs of shapes {_told(shapes)}), and "
            f"there are {len(names)} class names; give classes, one name for each, or another layout."
        )
    if columns is not None and columns < 1:
        raise CheckpointError(f"{name} has outputs of shapes {_told(shapes)}, which leave no class in the layout {found}.")
    classes = names if names is not None else tuple(f"class {number}" for number in range(columns or 0))
    fit = {"yolox": "corner", "detr": "stretch", "rtdetr": "stretch"}.get(found, "center")
    is_dets = {one.lower() for one in shapes} >= {"dets", "labels"}
    normalization = "bgr" if found == "yolox" else "imagenet" if found == "detr" or is_dets else "unit"
    strides = _cell_strides(outputs[read[0]][1][0], size, name) if found == "yolox" else ()
    layout_found = Layout(found, read, classes, fit, normalization, strides)
    _check_values(layout_found, outputs, size, name)
    return layout_found


def _guess(outputs: Sequence[Output], size: tuple[int, int], names: tuple[str, ...] | None, task: str | None) -> str | None:
    """Return the layout that fits the names and shapes of the outputs; None if none does."""
    lower = {one.lower() for one, _ in outputs}
    tables = [value for _, value in outputs if value.ndim == 3]
    if lower >= {"labels", "boxes", "scores"}:
        return "rtdetr"
    if len(tables) == 2:
        if lower >= {"dets", "labels"}:
            return "rtdetr"
        logits = next((value for value in tables if value.shape[-1] != 4), tables[1])
        if names is None:
            raise OptionError(
                f"an output of shape {logits.shape} may have a column for no object, or not; give classes, or the layout: detr "
                "with such a column, and rtdetr without."
            )
        return "detr" if logits.shape[-1] == len(names) + 1 else "rtdetr"
    return _guess_table(tables[0], _mask_count(outputs), size, names, task) if len(tables) == 1 else None


def _guess_table(
    table: NDArray[np.float32], masks: int, size: tuple[int, int], names: tuple[str, ...] | None, task: str | None
) -> str | None:
    """Return the layout of a network with one table of boxes, of shape (1, A, B); None if none fits."""
    _, first, second = table.shape
    cells = {_cells(size, strides) for strides in STRIDES}
    anchors = {ANCHORS * count for count in cells}
    oriented = task == "obb"
    found = None
    if second in cells | anchors:
        more = 0 if names is None or task is not None else first - 4 - masks - len(names)
        found = "yolov8-obb" if oriented or more == 1 else "yolov8"
    elif first in anchors:
        found = "yolov5"
    elif first in cells:
        # YOLOv6 has this shape too. Its column of objectness is 1, and its input is like that of YOLOv5.
        found = "yolov5" if second > 5 and bool((table[0, :, 4] == 1).all()) else "yolox"
    elif second - masks == CHOSEN + oriented or task == "pose":
        found = "yolov10-obb" if oriented else "yolov10"
    elif names is not None and second == 4 + len(names):
        found = "rtdetr"
    return found


def _read(layout: str, outputs: Sequence[Output]) -> tuple[int, ...] | None:
    """Return the numbers of the outputs that a layout reads; None if they are not there."""
    by_name = {one.lower(): number for number, (one, _) in enumerate(outputs)}
    if layout == "rtdetr" and {"labels", "boxes", "scores"} <= by_name.keys():
        return by_name["labels"], by_name["boxes"], by_name["scores"]
    tables = [number for number, (_, value) in enumerate(outputs) if value.ndim == 3 and value.shape[0] == 1]
    if layout in {"detr", "rtdetr"} and len(tables) == 2:
        boxes = [number for number in tables if outputs[number][1].shape[-1] == 4]
        named = [number for number in boxes if "box" in outputs[number][0].lower() or "det" in outputs[number][0].lower()]
        if not boxes:
            return None
        first = (named or boxes)[0]
        return first, next(number for number in tables if number != first)
    if layout == "detr" or len(tables) != 1:
        return None
    width = outputs[tables[0]][1].shape[1 if layout.startswith("yolov8") else 2]
    least = {"yolov5": 6, "yolov8": 5, "yolov8-obb": 6, "yolov10": 6, "yolov10-obb": 7, "yolox": 6, "rtdetr": 5}[layout]
    return (tables[0],) if width >= least else None


def _class_columns(
    layout: str, read: Sequence[NDArray[np.float32]], outputs: Sequence[Output], names: tuple[str, ...] | None, task: str | None
) -> int | None:
    """Return the number of classes of the outputs; None if the outputs do not have a column for each class."""
    if len(read) == 3 or layout.startswith("yolov10"):
        return None
    if len(read) == 2:
        columns = int(read[1].shape[-1]) - (layout == "detr")
        # Some networks have one more column, which is not used.
        return len(names) if layout == "rtdetr" and names is not None and columns == len(names) + 1 else columns
    if layout == "rtdetr":
        return int(read[0].shape[2]) - 4
    if layout in {"yolov5", "yolox"}:
        return int(read[0].shape[2]) - 5 - _mask_count(outputs)
    columns = int(read[0].shape[1]) - 4 - _mask_count(outputs) - (layout == "yolov8-obb")
    # Key points follow the classes.
    return len(names) if task == "pose" and names is not None and columns > len(names) else columns


def _check_values(layout: Layout, outputs: Sequence[Output], size: tuple[int, int], name: str) -> None:
    """Check that the values for a grey image are boxes of its size and probabilities.

    Raises
    ------
    CheckpointError
        If they are not, so that the outputs are something else.
    """
    boxes, scores, _ = layout.decode(outputs, size)
    if not len(boxes):
        return
    least, most = float(scores.min()), float(scores.max())
    told = f"read as the layout {layout.name}. It probably has another layout; give layout, one of {', '.join(LAYOUTS)}."
    if not (least >= -ROUNDING and most <= 1 + ROUNDING):
        raise CheckpointError(f"{name} gives scores from {least:g} to {most:g}, {told}")
    far = float(np.median(np.abs(boxes)))
    if not far <= MOST_FAR * max(size):
        raise CheckpointError(f"{name} gives boxes at some {far:.0f} pixels in an input of {size[1]} x {size[0]}, {told}")
    if layout.name.startswith(("yolov5", "yolov8")) and float(np.abs(boxes).max()) <= LEAST_FAR:
        raise CheckpointError(
            f"{name} gives boxes from 0 to 1; export it with boxes in pixels, as the layout {layout.name} has."
        )


def _mask_count(outputs: Sequence[Output]) -> int:
    """Return the number of columns with coefficients of masks: there is an output with as many maps."""
    return next((value.shape[1] for _, value in outputs if value.ndim == 4), 0)


def _cells(size: tuple[int, int], strides: Sequence[int]) -> int:
    return sum(-(-size[0] // stride) * -(-size[1] // stride) for stride in strides)


def _told(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def _cell_strides(rows: NDArray[np.float32], size: tuple[int, int], name: str) -> tuple[int, ...]:
    """Return the strides of boxes that are relative to cells; none if the boxes are in pixels of the input.

    In pixels, the boxes of a grey image are spread over the whole input, because each cell predicts a box near itself.
    """
    low, high = np.quantile(rows[:, 0], (0.05, 0.95))
    if high - low > size[1] / 2:
        return ()
    strides = next((one for one in STRIDES if _cells(size, one) == len(rows)), None)
    if strides is None:
        raise CheckpointError(
            f"{name} has {len(rows)} boxes for an input of {size[0]} x {size[1]} pixels, which YOLOX does not."
        )
    return strides


def _from_cells(rows: NDArray[np.float32], size: tuple[int, int], strides: Sequence[int]) -> NDArray[np.float32]:
    """Return rows whose first four values are centre and size in pixels instead of relative to cells."""
    places, steps = [], []
    for stride in strides:
        y, x = np.mgrid[: -(-size[0] // stride), : -(-size[1] // stride)]
        places.append(np.stack([x.ravel(), y.ravel()], axis=1))
        steps.append(np.full(x.size, stride))
    step = np.concatenate(steps)[:, None].astype(np.float32)
    moved = rows.copy()
    moved[:, :2] = (rows[:, :2] + np.concatenate(places).astype(np.float32)) * step
    moved[:, 2:4] = np.exp(np.minimum(rows[:, 2:4], 30)) * step
    return moved


def _scaled(boxes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return boxes from 0 to 1 in pixels of the input."""
    return boxes * np.array([size[1], size[0], size[1], size[0]], dtype=np.float32)


def _corners(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return x0, y0, x1, y1 of centre and size."""
    centre, half = rows[:, :2].astype(np.float64), rows[:, 2:4].astype(np.float64) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _upright(rows: NDArray[np.float32], angle: int = -1) -> NDArray[np.float64]:
    """Return the upright boxes around oriented boxes: centre, size, and a column with the angle in radians."""
    centre, half = rows[:, :2].astype(np.float64), rows[:, 2:4].astype(np.float64) / 2
    cosine, sine = np.abs(np.cos(rows[:, angle])), np.abs(np.sin(rows[:, angle]))
    reach = np.stack([half[:, 0] * cosine + half[:, 1] * sine, half[:, 0] * sine + half[:, 1] * cosine], axis=1)
    return np.concatenate([centre - reach, centre + reach], axis=1)


def _chosen(rows: NDArray[np.float32], *, oriented: bool) -> Decoded:
    """Return boxes, scores and classes of rows that have them; rows that pad the table have score 0."""
    boxes = _upright(rows, CHOSEN) if oriented else rows[:, :4].astype(np.float64)
    return boxes, rows[:, 4], np.round(rows[:, 5]).astype(np.int64)


def _best(boxes: NDArray[np.float64], scores: NDArray[np.float32]) -> Decoded:
    """Return each box with its class of the highest score."""
    kind = scores.argmax(1)
    return boxes, scores[np.arange(len(scores)), kind], kind.astype(np.int64)


def _probabilities(logits: NDArray[np.float32], count: int, *, softmax: bool) -> NDArray[np.float32]:
    """Return the probability of each class; with softmax, the last column is that no object is there."""
    if softmax:
        raised = np.exp(logits - logits.max(1, keepdims=True))
        shares: NDArray[np.float32] = (raised / raised.sum(1, keepdims=True))[:, :count]
        return shares
    return (1 / (1 + np.exp(-np.clip(logits, -80, 80))))[:, :count].astype(np.float32)
