"""The log of sessions: a file with a line of JSON for every action, to which lines are only appended.

The first line of a session records the raster, the model and the objects that the session started from, so that its lines are
enough to replay it. Each line names its session, so that two sessions can write to one file at the same time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.map.state.actions import Action, from_record, to_record
from samgeo.map.state.class_list import NO_CLASSES, ClassList
from samgeo.map.state.clean_options import AS_DRAWN, CleanOptions
from samgeo.map.state.values import Annotation, State
from samgeo.segmentation.windows.store import describe_run

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster
    from samgeo.segmentation.predictor import Predictor

__all__ = ["Log", "Opening", "Recorded", "check_same", "describe", "differences", "read_log"]

FORMAT = 2

# The digest of a raster uses this many patches along each side, each of this many pixels a side, to tell it from another
# raster with the same grid.
PATCHES, PATCH_PX = 3, 32


@dataclass(frozen=True, slots=True)
class Opening:
    """The start of a session.

    Attributes
    ----------
    run : dict
        The raster, the model and the lattice, which the answers depend on; see `describe`.
    class_list : ClassList
    objects : tuple of Annotation
    next_id : int
    continues : str or None
        The session that saved the file from which the objects were read; None if they were not read from a file.
    clean : CleanOptions
    overlap : str
        See `samgeo.map.state.values.State`.
    """

    run: dict[str, Any]
    class_list: ClassList = NO_CLASSES
    objects: tuple[Annotation, ...] = ()
    next_id: int = 1
    continues: str | None = None
    clean: CleanOptions = AS_DRAWN
    overlap: str = "keep"

    @property
    def state(self) -> State:
        """The first state of the session."""
        return State(
            objects=self.objects,
            next_id=self.next_id,
            class_list=self.class_list,
            clean=self.clean,
            overlap=self.overlap,
        )


@dataclass(frozen=True, slots=True)
class Recorded:
    """The last session of a log.

    Attributes
    ----------
    path : Path
    session : str
    opening : Opening
    actions : tuple of (int, Action)
        Each with the number of its line, from 1.
    torn : int or None
        The number of an incomplete last line, which the session did not finish writing; None if there is none.
    """

    path: Path
    session: str
    opening: Opening
    actions: tuple[tuple[int, Action], ...]
    torn: int | None


class Log:
    """The log of one session.

    Parameters
    ----------
    path : path
        The file, to which lines are appended. It is created if it does not exist.
    session : str
        The session's name.
    opening : Opening
        The start of the session. It is written at once.

    Raises
    ------
    OptionError
        If the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], session: str, opening: Opening) -> None:
        self.path = Path(path)
        self.session = session
        self._broken = False
        record = {
            "log": FORMAT,
            "run": opening.run,
            "classes": opening.class_list.names,
            "colors": dict(opening.class_list.given),
            "objects": [_object_record(one) for one in opening.objects],
            "next_id": opening.next_id,
            "continues": opening.continues,
            "clean": asdict(opening.clean),
            "overlap": opening.overlap,
        }
        try:
            # An incomplete line stays in the file, as a line of its own.
            torn = self.path.exists() and not _ends_whole(self.path)
        except OSError as error:
            raise OptionError(
                f"the log {self.path} cannot be written ({error}); choose a folder that you can write to."
            ) from None
        self._write({"opening": record}, start=b"\n" if torn else b"")

    def append(self, action: Action) -> None:
        """Write an action.

        Raises
        ------
        OptionError
            If the file cannot be written. `read_log` then ignores the incomplete line.
        """
        self._write(to_record(action))

    def _write(self, record: dict[str, Any], start: bytes = b"") -> None:
        stamped = {"session": self.session, "at": datetime.now(UTC).isoformat(timespec="milliseconds"), **record}
        line = start + json.dumps(stamped, allow_nan=False).encode() + b"\n"
        if self._broken:
            raise self._refusal("an earlier line is incomplete, and another one would make the log unreadable")
        try:
            # Without a buffer each line is one write, which reaches the operating system before the action takes effect.
            with self.path.open("ab", buffering=0) as file:
                written = file.write(line)
        except OSError as error:
            raise self._refusal(str(error)) from None
        if written != len(line):
            self._broken = True
            raise self._refusal("a line was not written completely")

    def _refusal(self, why: str) -> OptionError:
        return OptionError(
            f"the log {self.path} cannot be written ({why}), so that the action was not done; check the free space, "
            "and go on in a new session."
        )


def read_log(path: str | os.PathLike[str]) -> Recorded:
    """Read the last session of a log.

    An incomplete line is accepted where a session ended while writing it: as the last line, or before the start of another
    session.

    Raises
    ------
    OptionError
        If the file cannot be read, is not a log, or is damaged in another way; the message names the line.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise OptionError(f"the log {path} cannot be read ({error}); check the path.") from None
    if lines[-1] == b"":
        lines.pop()
    records: list[tuple[int, dict[str, Any]]] = []
    torn: int | None = None
    for number, line in enumerate(lines, 1):
        record = _parsed(line)
        if torn is not None and (record is None or "opening" not in record):
            raise OptionError(f"line {torn} of {path} is not a record of a session; give a log that has not been changed.")
        torn = number if record is None else None
        if record is not None:
            records.append((number, record))
    opened = [(number, record) for number, record in records if "opening" in record]
    if not opened:
        raise OptionError(f"{path} contains no session; give a log that a session wrote.")
    first, start = opened[-1]
    own = [(number, record) for number, record in records if number > first and record["session"] == start["session"]]
    actions = tuple((number, _at_line(path, number, record)) for number, record in own)
    return Recorded(path, start["session"], _opening(path, first, start["opening"]), actions, torn)


def describe(predictor: Predictor) -> dict[str, Any]:
    """Return, as values for JSON, the raster, the model and the window lattice, which a predictor's answers depend on."""
    run = describe_run(predictor.raster, predictor.model, predictor.lattice)
    run["pixels"]["digest"] = _digest(predictor.raster)
    if isinstance(predictor.zoom, str):
        run["lattice"]["zoom"] = predictor.zoom
    if not isinstance(predictor.scales, str):
        run["lattice"]["scales"] = list(predictor.scales)
    return run


def differences(recorded: dict[str, Any], now: dict[str, Any], kinds: Sequence[str]) -> list[str]:
    """Return in which members of ``kinds`` (grid, pixels, model, lattice) two descriptions differ."""
    return [
        f"{kind} {name} is {now[kind].get(name)}, and was {recorded[kind].get(name)}"
        for kind in kinds
        for name in {**recorded[kind], **now[kind]}
        if recorded[kind].get(name) != now[kind].get(name)
    ]


def check_same(
    what: str, recorded: dict[str, Any], now: dict[str, Any], kinds: Sequence[str] = ("grid", "pixels", "model", "lattice")
) -> None:
    """Check that a file was recorded with the same raster, model and lattice.

    Raises
    ------
    OptionError
        If they differ; the message names each difference.
    """
    found = differences(recorded, now, kinds)
    if found:
        raise OptionError(
            f"{what} was made with {recorded['raster']} and {recorded['model']['name']}, which differ from the open ones: "
            f"{'; '.join(found)}. Open the same raster and model, or choose another file."
        )


def _digest(raster: Raster) -> str:
    """Return a digest of sample patches of a raster, to tell it from another raster without reading all pixels."""
    height, width = raster.shape
    digest = blake2b(digest_size=16)
    for y in np.linspace(0, max(height - PATCH_PX, 0), PATCHES).astype(int).tolist():
        for x in np.linspace(0, max(width - PATCH_PX, 0), PATCHES).astype(int).tolist():
            pixels, valid = raster.read(Rect(x, y, x + PATCH_PX, y + PATCH_PX))
            digest.update(pixels.tobytes())
            digest.update(valid.tobytes())
    return digest.hexdigest()


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        return file.read() in (b"", b"\n")


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "session" in record else None


def _at_line(path: Path, number: int, record: dict[str, Any]) -> Action:
    try:
        return from_record(record)
    except OptionError as error:
        raise OptionError(f"line {number} of {path}: {error}") from None


def _object_record(one: Annotation) -> dict[str, Any]:
    plain = {field.name: getattr(one, field.name) for field in fields(one)}
    return plain | {"geometry": shapely.to_wkb(one.geometry, hex=True)}


def _opening(path: Path, number: int, record: dict[str, Any]) -> Opening:
    if record.get("log") != FORMAT:
        raise OptionError(
            f"line {number} of {path} has the log format {record.get('log')!r}, but this version of samgeo reads {FORMAT}; "
            "use the version that wrote the log."
        )
    try:
        objects = tuple(Annotation(**one | {"geometry": shapely.from_wkb(one["geometry"])}) for one in record["objects"])
        class_list = ClassList(tuple(record["classes"]), tuple(record["colors"].items()))
        clean = CleanOptions(**record["clean"])
        return Opening(record["run"], class_list, objects, record["next_id"], record["continues"], clean, record["overlap"])
    except (AttributeError, KeyError, TypeError, ValueError, OptionError, shapely.errors.ShapelyError) as error:
        raise OptionError(
            f"line {number} of {path} cannot be read ({type(error).__name__}: {error}); the log may have been changed."
        ) from None
