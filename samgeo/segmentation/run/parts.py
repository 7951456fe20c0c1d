"""The files of an unfinished run: parts with the pieces of windows, and what merging each row of windows has changed.

Both are stored as arrays in npz files, never as pickles.
"""

from __future__ import annotations

import io
import json
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.piece import Piece, Segment
from samgeo.segmentation.merge.open_objects import OpenObject, Step, replayed
from samgeo.segmentation.merge.waiting import WaitingStep, replayed_waiting
from samgeo.segmentation.windows.failures import Failure

if TYPE_CHECKING:
    from samgeo.types import Json

__all__ = ["DamagedError", "Frontier", "MergedRow", "Part"]

Arrays = dict[str, NDArray[Any]]

# A part holds some dozens of windows, and a merged row the pieces of one row of windows. A file that declares more bytes is
# damaged, and a run with more rows is.
MOST_BYTES = 1 << 32
MOST_ROWS = 10**6


# Errors that zipfile, zlib and numpy were seen to raise when bytes of a file are flipped.
_DAMAGES = (
    *(ArithmeticError, EOFError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError),
    *(struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


class DamagedError(Exception):
    """A file of a run is damaged.

    The window or the row is computed again, and the user does not see this error.
    """


@dataclass(frozen=True, slots=True)
class Part:
    """Neighbouring windows of one row, kept in one file.

    Attributes
    ----------
    row, start, stop : int
        The row, its first column, and the column after its last one.
    pieces : dict of int to list of Piece
        The pieces of each window, by column; an empty list for windows that failed.
    failures : tuple of Failure
        The windows that failed.
    """

    row: int
    start: int
    stop: int
    pieces: Mapping[int, Sequence[Piece]]
    failures: tuple[Failure, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the content of the part's file."""
        pieces = [piece for column in sorted(self.pieces) for piece in self.pieces[column]]
        failures = json.dumps([(failure.window[1], failure.reason) for failure in self.failures])
        span = np.array([self.row, self.start, self.stop], dtype=np.int64)
        return _save({"span": span, "failures": _text(failures), **_pack(pieces)})

    @classmethod
    def from_bytes(cls, content: bytes, row: int, start: int, stop: int) -> Part:
        """Read a part from the content of its file.

        Raises
        ------
        DamagedError
            If the content is damaged or belongs to other windows.
        """
        arrays = _load(content)
        if arrays.get("span", np.empty(0)).tolist() != [row, start, stop]:
            raise DamagedError("its windows do not agree with its name")
        pieces: dict[int, list[Piece]] = {column: [] for column in range(start, stop)}
        for piece in _unpack(arrays):
            if piece.window[0] != row or piece.window[1] not in pieces:
                raise DamagedError("it contains a piece of another window")
            pieces[piece.window[1]].append(piece)
        try:
            failures = tuple(Failure((row, int(column)), str(reason)) for column, reason in _json(arrays, "failures"))
        except (ArithmeticError, RecursionError, TypeError, ValueError) as error:
            raise DamagedError(str(error)) from None
        if any(failure.window[1] not in pieces for failure in failures):
            raise DamagedError("it lists a failure of another window")
        return cls(row, start, stop, pieces, failures)


@dataclass(frozen=True, slots=True)
class MergedRow:
    """What merging one row of windows has changed, kept in one file.

    Attributes
    ----------
    count : int
        Number of objects that were settled with the row.
    step : Step
        The changes of the open objects.
    waits : WaitingStep
        The changes of the closed objects that wait, because an open object may turn out to be nearly equal to them.
    """

    count: int
    step: Step = field(default_factory=Step)
    waits: WaitingStep = field(default_factory=WaitingStep)

    def to_bytes(self) -> bytes:
        """Return the content of the row's file."""
        step, waits = self.step, self.waits
        added = _pack_segments(list(waits.added.values()))
        return _save(
            {
                "numbers": np.array([self.count, step.numbered], dtype=np.int64),
                "added": np.array([(number, one) for number, (one, _) in step.added.items()], dtype=np.int64).reshape(-1, 2),
                "joined": np.array(step.joined, dtype=np.int64).reshape(-1, 2),
                "open": np.array(step.open, dtype=np.int64).reshape(-1, 3),
                **_pack([piece for _, piece in step.added.values()]),
                "waiting": np.array(list(waits.added), dtype=np.int64),
                **({f"waiting_{name}": array for name, array in added.items()} if waits.added else {}),
                "gone": np.array(waits.gone, dtype=np.int64),
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> MergedRow:
        """Read what a row has changed from the content of its file.

        Raises
        ------
        DamagedError
            If the content is damaged.
        """
        arrays = _load(content)
        numbers = _integers(arrays, "numbers")
        added, joined, open_ = (_table(arrays, name, width) for name, width in (("added", 2), ("joined", 2), ("open", 3)))
        pieces = _unpack(arrays)
        if len(numbers) != 2 or (numbers < 0).any() or len(added) != len(pieces) or any((np.diff(added[:, 0]) <= 0).tolist()):
            raise DamagedError("its numbers do not agree with each other")
        step = Step(
            {number: (one, piece) for (number, one), piece in zip(added.tolist(), pieces, strict=True)},
            tuple((number, other) for number, other in joined.tolist()),
            tuple((number, counted, area) for number, counted, area in open_.tolist()),
            int(numbers[1]),
        )
        prefix = "waiting_"
        waiting, gone = _integers(arrays, "waiting"), _integers(arrays, "gone")
        of_waiting = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        segments = _unpack_segments(of_waiting) if len(waiting) else []
        if len(segments) != len(waiting):
            raise DamagedError("its numbers do not agree with its waiting objects")
        waits = WaitingStep(dict(zip(waiting.tolist(), segments, strict=True)), tuple(gone.tolist()))
        return cls(int(numbers[0]), step, waits)


@dataclass(frozen=True, slots=True)
class Frontier:
    """The state of merging after some rows of windows; see `MergedRow`.

    Attributes
    ----------
    counts : tuple of int
        Number of objects that were settled with each merged row of windows.
    open_objects : tuple of OpenObject
        The objects that later rows may still change.
    numbered : int
        How many pieces were numbered.
    waiting : dict of int to Segment
        Closed objects that wait because an open object may turn out to be nearly equal to them, by number.
    waited : int
        How many objects that wait were numbered.
    """

    counts: tuple[int, ...] = ()
    open_objects: tuple[OpenObject, ...] = ()
    numbered: int = 0
    waiting: Mapping[int, Segment] = field(default_factory=dict)
    waited: int = 0

    @classmethod
    def of(cls, rows: Iterable[MergedRow]) -> Frontier:
        """Return the state after some rows, from the first on. They are taken one by one, so that only what is open is kept.

        Raises
        ------
        DamagedError
            If the rows do not follow from each other.
        """
        counts: list[int] = []
        waits: list[WaitingStep] = []

        def steps() -> Iterator[Step]:
            for row in rows:
                counts.append(row.count)
                waits.append(row.waits)
                yield row.step

        try:
            open_objects, numbered = replayed(steps())
            waiting, waited = replayed_waiting(waits)
        except LookupError:
            raise DamagedError("its row does not follow from the rows before it") from None
        numbers = [number for one in open_objects for number in one.pieces]
        if len(set(numbers)) < len(numbers) or (numbers and not 0 <= min(numbers) <= max(numbers) < numbered):
            raise DamagedError("its pieces are not numbered one after the other")
        return cls(tuple(counts), open_objects, numbered, waiting, waited)

    @property
    def row(self) -> int:
        """The first row that is not merged yet."""
        return len(self.counts)

    @property
    def pieces(self) -> Iterator[Piece]:
        """The pieces of all open objects."""
        return (piece for one in self.open_objects for piece in one.pieces.values())


def _pack(pieces: Sequence[Piece]) -> Arrays:
    runs, cut_runs = [piece.mask.runs for piece in pieces], [piece.cut_at.runs for piece in pieces]
    nothing = np.empty((0, 3), dtype=np.int32)
    return {
        "window": np.array([piece.window for piece in pieces], dtype=np.int64).reshape(-1, 2),
        "rank": np.array([piece.rank for piece in pieces], dtype=np.int64),
        "scores": np.array([(one.predicted_iou, one.stability_score) for one in pieces], dtype=np.float64).reshape(-1, 2),
        "lengths": np.array([len(one) for one in runs], dtype=np.int64),
        "runs": np.concatenate([nothing, *runs]),
        "cut_lengths": np.array([len(one) for one in cut_runs], dtype=np.int64),
        "cut_runs": np.concatenate([nothing, *cut_runs]),
        **_pack_found(pieces),
    }


def _pack_found(several: Sequence[Piece] | Sequence[Segment]) -> Arrays:
    """Return score and class of masks that a prompt source found; nothing for those of the automatic mode."""
    found = [(one.score, one.kind) for one in several if one.score is not None]
    return {"found": np.array(found, dtype=np.float64).reshape(-1, 2)} if found else {}


def _unpack_found(arrays: Arrays, count: int) -> list[tuple[float | None, int]]:
    if "found" not in arrays:
        return [(None, 0)] * count
    found = arrays["found"]
    if found.shape != (count, 2) or found.dtype.str != "<f8" or not np.isfinite(found).all() or (found[:, 1] < 0).any():
        raise DamagedError("its scores do not fit its masks")
    return [(score, int(kind)) for score, kind in found.tolist()]


def _unpack(arrays: Arrays) -> list[Piece]:
    rank, masks = _integers(arrays, "rank"), _unpack_masks(arrays)
    cut_at = _unpack_masks({name: arrays[f"cut_{name}"] for name in ("lengths", "runs") if f"cut_{name}" in arrays}, least=0)
    window, scores = (arrays.get(name, np.empty(0)) for name in ("window", "scores"))
    count = len(masks)
    shapes_fit = (window.shape, rank.shape, scores.shape, len(cut_at)) == ((count, 2), (count,), (count, 2), count)
    types_fit = [one.dtype.str for one in (window, scores)] == ["<i8", "<f8"]
    if not shapes_fit or not types_fit or not np.isfinite(scores).all():
        raise DamagedError("its arrays are not those of pieces")
    return [
        Piece(mask, predicted_iou, stability, (row, column), place, cut, score, kind)
        for mask, (predicted_iou, stability), (row, column), place, cut, (score, kind) in zip(
            masks, scores.tolist(), window.tolist(), rank.tolist(), cut_at, _unpack_found(arrays, count), strict=True
        )
    ]


def _pack_segments(segments: Sequence[Segment]) -> Arrays:
    runs = [one.mask.runs for one in segments]
    return {
        "scale": np.array([one.scale for one in segments], dtype=np.int64),
        "complete": np.array([one.complete for one in segments], dtype=np.bool_),
        "scores": np.array([(one.predicted_iou, one.stability_score) for one in segments], dtype=np.float64).reshape(-1, 2),
        "lengths": np.array([len(one) for one in runs], dtype=np.int64),
        "runs": np.concatenate([np.empty((0, 3), dtype=np.int32), *runs]),
        **_pack_found(segments),
    }


def _unpack_segments(arrays: Arrays) -> list[Segment]:
    scale, complete, scores = (arrays.get(name, np.empty(0)) for name in ("scale", "complete", "scores"))
    masks = _unpack_masks(arrays)
    count = len(masks)
    if (scale.shape, complete.shape, scores.shape) != ((count,), (count,), (count, 2)) or [
        one.dtype.str for one in (scale, complete, scores)
    ] != ["<i8", "|b1", "<f8"]:
        raise DamagedError("its arrays are not those of objects")
    if (scale < 1).any() or not np.isfinite(scores).all():
        raise DamagedError("its numbers are not those of objects")
    return [
        Segment(mask, predicted_iou, stability, is_complete, factor, score, kind)
        for mask, (predicted_iou, stability), is_complete, factor, (score, kind) in zip(
            masks, scores.tolist(), complete.tolist(), scale.tolist(), _unpack_found(arrays, count), strict=True
        )
    ]


def _unpack_masks(arrays: Arrays, *, least: int = 1) -> list[Mask]:
    lengths, runs = _integers(arrays, "lengths"), arrays.get("runs", np.empty(0))
    if runs.dtype.str != "<i4" or runs.ndim != 2 or runs.shape[1] != 3:
        raise DamagedError("its arrays are not those of masks")
    if (lengths < least).any() or lengths.sum() != len(runs) or not _are_runs(runs, lengths):
        raise DamagedError("its runs do not agree with its masks")
    # Each mask gets a copy. A view would keep the runs of all masks in memory.
    return [Mask(mask.copy()) for mask in (np.split(runs, np.cumsum(lengths)[:-1]) if len(lengths) else [])]


def _are_runs(runs: NDArray[np.int32], lengths: NDArray[np.int64]) -> bool:
    """Whether runs are valid: those of each mask are sorted, separate from each other, and have coordinates from 0 on."""
    if not len(runs):
        return True
    y, start, stop = runs.astype(np.int64).T
    behind = y[1:] * (1 << 32) + start[1:] > y[:-1] * (1 << 32) + stop[:-1]
    begins = np.cumsum(lengths)[:-1]
    behind[begins[(begins > 0) & (begins < len(runs))] - 1] = True  # the next run belongs to another mask
    return bool(runs.min() >= 0 and (start < stop).all() and behind.all())


def _integers(arrays: Arrays, name: str) -> NDArray[np.int64]:
    array = arrays.get(name)
    if array is None or array.ndim != 1 or array.dtype != np.int64:
        raise DamagedError(f"its array {name} is missing or has another type")
    return array


def _table(arrays: Arrays, name: str, width: int) -> NDArray[np.int64]:
    array = arrays.get(name)
    if array is None or array.ndim != 2 or array.shape[1] != width or array.dtype != np.int64:
        raise DamagedError(f"its array {name} is missing or has another type")
    return array


def _text(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def _json(arrays: Arrays, name: str) -> Json:
    return json.loads(arrays[name].tobytes()) if name in arrays else []


def _save(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    save: Any = np.savez_compressed  # its type hints take array names for options of the function
    save(buffer, **arrays)
    return buffer.getvalue()


def _load(content: bytes) -> Arrays:
    """Read arrays. Every member of the archive has a checksum, so that a flipped bit raises an error."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
                raise DamagedError("it is larger than any part")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except _DAMAGES as error:
        raise DamagedError(str(error)) from None
    return {name: array for name, array in found.items() if isinstance(array, np.ndarray)}
