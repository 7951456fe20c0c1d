"""The file to which a session saves its objects. Other sessions and programs may change it at the same time.

The module keeps the rows that were last read or written, and compares them with the current rows under the file's lock. It
writes only the rows and columns that differ. `samgeo.map.state.merging` merges the changes of others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely

from samgeo.errors import VectorError
from samgeo.geo.vector.reading import check_output, write_vectors
from samgeo.map.files.export import from_frame, to_frame
from samgeo.map.files.geopackage_rows import Layers, Row, Value, opened
from samgeo.map.files.object_table import MEMBER, ObjectTable, Stored, member_of, number_of
from samgeo.map.state.actions import Merge
from samgeo.map.state.class_list import NO_CLASSES, ClassList, check_color
from samgeo.map.state.merging import differences, reconciled
from samgeo.map.state.values import Annotation, State
from samgeo.storage.staging import place_new, staging_folder

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

__all__ = ["MEMBER", "Autosave", "check_autosave", "class_list_of"]

SUFFIX = ".gpkg"
MOST_SESSIONS = 50


@dataclass(frozen=True, slots=True)
class _Known:
    """The content of the file as it was last read or written.

    Attributes
    ----------
    stored : dict of int to Stored
        The rows by the id of the object, in the order of the file.
    note : dict or None
        The note of the session that saved the file.
    stale : frozenset of int
        Ids of objects whose row has an outdated id or area.
    left : int
        Number of rows that cannot be objects.
    """

    stored: Mapping[int, Stored] = field(default_factory=dict)
    note: Mapping[str, Any] | None = None
    stale: frozenset[int] = frozenset()
    left: int = 0

    @property
    def objects(self) -> list[Annotation]:
        return [stored.one for stored in self.stored.values()]


def check_autosave(path: object) -> Path:
    """Check, before any work, that a session can save itself to a path.

    Raises
    ------
    VectorError
        If the value is not a path, the suffix is wrong, or the folder is missing or not writable.
    """
    if not isinstance(path, str | os.PathLike) or Path(os.fsdecode(path)).suffix.lower() != SUFFIX:
        raise VectorError(
            f"autosave is {path!r}; give the name of a GeoPackage, which ends in {SUFFIX}. Use export for other formats."
        )
    return check_output(Path(os.fsdecode(path)), overwrite=True)


class Autosave:
    """The file with the saved objects of a session.

    Parameters
    ----------
    path : path
        A GeoPackage; it need not exist yet.
    geobox : GeoBox
        The grid of the raster.
    measure : callable
        Returns the areas of geometries in the raster's CRS.
    describe : callable
        Returns the provenance to write to the file, given a state and the number of actions that led to it.

    Raises
    ------
    VectorError
        If the name has another suffix, or the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        geobox: GeoBox,
        measure: Callable[[Sequence[shapely.Geometry]], list[float]],
        describe: Callable[[State, int], dict[str, Any]],
    ) -> None:
        self.path = check_autosave(path)
        self._geobox, self._measure, self._describe = geobox, measure, describe
        self._known = _Known()
        self._pulled: _Known | None = None
        self._written: tuple[_Known, tuple[Annotation, ...]] | None = None
        self._pushed: tuple[Annotation, ...] | None = None
        self._deleted: dict[int, dict[str, Value]] = {}
        self._file: Layers | None = None
        self._is_new = False

    def read(self) -> tuple[tuple[Annotation, ...], Mapping[str, Any] | None] | None:
        """Return the objects of the file and the note of the session that saved it, or None if there is no file.

        Raises
        ------
        VectorError
            If the file cannot be read, is not a file of annotations, or has rows that cannot be objects.
        """
        if not self.path.exists():
            return None
        with opened(self.path, write=False) as file:
            table = self._table(file)
            note, rows = table.note(), table.rows()
            frame, is_stale = table.frame(rows), table.stale
        objects = from_frame(frame, str(self.path), self._measure, 1 if note is None else int(note["next_id"]))
        stored = {one.id: Stored(row, one) for row, one in zip(rows, objects, strict=True)}
        self._known = _Known(stored, note, is_stale(stored))
        self._pushed = objects
        return objects, note

    def is_behind(self, state: State) -> bool:
        """Whether the objects of a state differ from the objects that were read or saved last."""
        return state.objects is not self._pushed and bool(state.objects or self._known.stored)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the file against other writers. At the end all writes are kept; after an error none is kept.

        A missing file is created, without objects.

        Raises
        ------
        VectorError
            If the file cannot be made, locked or written.
        """
        self._is_new = not self.path.exists()
        if self._is_new:
            self._create()
            self._is_new, self._known = bool(self._known.stored), _Known()
        try:
            with opened(self.path, write=True) as self._file:
                yield
            if self._written is not None:
                self._known, self._pushed = self._written
        finally:
            self._file = self._pulled = self._written = None

    def pull(self, state: State) -> Merge | None:
        """Return the changes of others in the file since the last read or write, or None; see `took_over`.

        Raises
        ------
        VectorError
            If the file cannot be read, or no longer has a layer of annotations.
        """
        table = self._table(self._locked_file())
        rows = table.rows()
        known = self._known
        noted = _noted(known.note, table.note())
        if not noted and not self._is_new and not known.left and [stored.raw for stored in known.stored.values()] == rows:
            return None
        now = self._understood(table, rows, state.next_id)
        # Another session removes rows on purpose. Another program may only have written back rows that it read earlier, so
        # objects that it removes become proposals.
        wait = now.note is None or known.note is None or _stamp(now.note) == _stamp(known.note)
        next_id = max([state.next_id, *(number + 1 for number in now.stored)])
        changes = reconciled(known.objects, now.objects, state.objects, next_id, wait=wait)
        self._pulled = now
        if not changes and not noted:
            self.took_over()
        is_told = noted or changes or now.left != known.left or self._is_new
        return Merge(tuple(changes), now.left, self._is_new, noted.names, noted.given) if is_told else None

    def took_over(self) -> None:
        """Record that the state now contains the changes that `pull` returned."""
        if self._pulled is not None:
            self._known, self._pulled = self._pulled, None

    def push(self, state: State, actions: int) -> None:
        """Write the differences between a state and the file. Call it within `locked`.

        Raises
        ------
        VectorError
            If the file cannot be written; it then stays unchanged.
        """
        file = self._locked_file()
        objects = self._table(file).with_columns()
        table = objects.table
        stored, now = self._known.stored, {one.id: one for one in state.objects}
        drawn: list[shapely.Geometry] = []
        changed = differences(self._known.objects, state.objects)
        for number in sorted({*changed, *self._known.stale} - now.keys()):
            self._deleted[number] = file.row(table, stored[number].fid)
            file.delete(table, stored[number].fid)
        fids = {number: stored[number].fid for number in now if number in stored}
        written: dict[int, int] = {}
        behind = 0
        for number, one in now.items():
            if number in fids:
                behind = fids.pop(number)
                if number in changed or number in self._known.stale:
                    drawn.extend(objects.update(stored[number], one))
                    written[number] = behind
            else:
                # Rows are in the order of the objects. A restored object gets its old row number back
                # if that number is still between those of its neighbours.
                before = self._deleted.get(number, {})
                fid = before.get(table.fid)
                fits = isinstance(fid, int) and behind < fid < min(fids.values(), default=fid + 1)
                restored = {name: value for name, value in before.items() if name != table.fid or fits}
                geometry, behind = objects.insert(one, restored)
                drawn.append(geometry)
                written[number] = behind
        note = self._with_others(self._describe(state, actions), self._known.note)
        file.write_note(table, note)
        file.declare(table, drawn)
        # The file is locked since `pull`, so that the other rows are those that are known.
        read = {number: Stored(objects.row(fid), now[number]) for number, fid in written.items()}
        same = {number: _with(stored[number], one) for number, one in now.items() if number not in read}
        kept = dict(sorted((same | read).items(), key=lambda item: item[1].fid))
        self._written = _Known(kept, member_of(note), frozenset(), self._known.left), state.objects

    def _table(self, file: Layers) -> ObjectTable:
        return ObjectTable.find(file, self._geobox, self._measure)

    def _locked_file(self) -> Layers:
        if self._file is None:
            raise AssertionError("the file is read and written within `locked`")
        return self._file

    def _create(self) -> None:
        """Create the file, without objects, unless another session has just created it."""
        frame = to_frame((), self._geobox)
        with staging_folder(self.path.parent) as folder:
            whole = folder / self.path.name
            write_vectors(frame, whole)
            try:
                with opened(whole, write=True) as file:
                    file.set_kind(self._table(file).table, "MULTIPOLYGON")
                with suppress(FileExistsError):
                    place_new(whole, self.path)
            except OSError as error:
                raise VectorError(f"{self.path} cannot be saved ({error}); check the free space and the folder.") from None

    def _understood(self, table: ObjectTable, rows: Sequence[Row], next_id: int) -> _Known:
        """Return the rows as objects. A row that cannot be an object is ignored, or its last known object is kept."""
        before = self._known.stored
        same = {stored.raw: number for number, stored in before.items()}
        by_fid: dict[Value, int] = {stored.fid: number for number, stored in before.items()}
        owners = _owners(rows, by_fid)
        unused = count(max([next_id, *(number + 1 for number in (*owners, *before))]))
        new: dict[int, Row] = {}
        order: dict[int, Row] = {}
        for row in rows:
            given, fid = number_of(row), row[0]
            if row in same:
                number = same[row]
            elif given is None and fid in by_fid:
                number = by_fid[fid]
            elif given is None or owners[given] != fid:
                number = next(unused)
            else:
                number = given
            order[number] = row
            if row not in same:
                new[number] = row
        objects = table.objects(new)
        stored, left = {}, 0
        for number, row in order.items():
            one = before[number].one if number not in new else objects.get(number)
            if one is None:
                left += 1
                if number not in before:
                    continue
                one = before[number].one
            elif number in before and not differences([before[number].one], [one]):
                one = before[number].one
            stored[number] = Stored(row, one)
        return _Known(stored, table.note(), table.stale(stored), left)

    def _with_others(self, note: dict[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
        """Add to a note the number of actions that each session had done when it saved."""
        own = note[MEMBER]
        saved = {} if before is None else dict(before.get("saved", {before["session"]: before["actions"]}))
        saved.pop(own["session"], None)
        latest = dict(list(saved.items())[-MOST_SESSIONS:])
        return {**note, MEMBER: own | {"saved": latest | {own["session"]: own["actions"]}}}


def class_list_of(note: Mapping[str, Any]) -> ClassList:
    """Return the classes and the colours in the note of a session."""
    names, colors = note.get("classes", []), note.get("colors", {})
    return ClassList(tuple(map(str, names)), tuple((str(name), check_color(str(color))) for name, color in colors.items()))


def _noted(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> ClassList:
    """Return the classes that another session added since, and the colours that it gave."""
    if now is None or before is None:
        return NO_CLASSES
    old, new = class_list_of(before), class_list_of(now)
    names = tuple(one for one in new.names if one not in old.names)
    return ClassList(names, tuple(one for one in new.given if one not in old.given))


def _with(stored: Stored, one: Annotation) -> Stored:
    return stored if stored.one is one else Stored(stored.raw, one)


def _owners(rows: Sequence[Row], by_fid: Mapping[Value, int]) -> dict[int, Value]:
    """Return for each id the key of its row. Of several rows, the one that had the id before, or else the first."""
    owners: dict[int, Value] = {}
    for row in rows:
        number = number_of(row)
        if number is not None and (number not in owners or by_fid.get(row[0]) == number):
            owners[number] = row[0]
    return owners


def _stamp(note: Mapping[str, Any]) -> tuple[Any, Any]:
    return note["session"], note["actions"]
