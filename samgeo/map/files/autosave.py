"""The file that a session saves itself to, which other sessions and other programs may change at the same time.

What was last read or written is kept, and compared with what is there, row by row, under the file's lock. Only rows and
columns that differ from it are written. `samgeo.map.state.merging` says what becomes of what others changed.
"""

from __future__ import annotations

import os
import tempfile
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
from samgeo.map.state.merging import differences, reconciled
from samgeo.map.state.reducer import Annotation, State
from samgeo.storage.atomic import STAGING_PREFIX

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

__all__ = ["MEMBER", "Autosave", "check_autosave"]

SUFFIX = ".gpkg"
MOST_SESSIONS = 50


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the file: what was last read from it or written to it.

    Attributes
    ----------
    stored : dict of int to Stored
        By the object's id, in the order of the file.
    note : dict or None
        What the session said that saved it.
    stale : frozenset of int
        Objects whose row has another id or area than they have.
    left : int
        Rows that cannot be objects.
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
        If it is no path, has another suffix, or its folder is missing or not writable.
    """
    if not isinstance(path, str | os.PathLike) or Path(os.fsdecode(path)).suffix.lower() != SUFFIX:
        raise VectorError(
            f"autosave is {path!r}; give a GeoPackage, a name that ends in {SUFFIX}, and export to other formats."
        )
    return check_output(Path(os.fsdecode(path)), overwrite=True)


class Autosave:
    """The saved objects of a session.

    Parameters
    ----------
    path : path
        A GeoPackage; it may not be there yet.
    geobox : GeoBox
        Of the raster.
    measure : callable
        Geometries in the raster's CRS to their areas.
    describe : callable
        A state, and the number of actions that led to it, to what the file tells of its making.

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
        """Return the objects of the file and what the session that saved it said, or None where there is no file.

        Raises
        ------
        VectorError
            If it cannot be read, is no file of annotations, or has objects that cannot go on as such.
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
        """Whether a state has other objects than the ones that were read or saved last."""
        return state.objects is not self._pushed and bool(state.objects or self._known.stored)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other programs from writing, until the end; then all that was written is kept, or nothing where it raises.

        A file that is not there is made, without objects.

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
        """Return what others changed in the file since it was last read or written, None if nothing; see `took_over`.

        Raises
        ------
        VectorError
            If the file cannot be read, or has no annotations any more.
        """
        table = self._table(self._locked_file())
        rows = table.rows()
        known = self._known
        if not self._is_new and not known.left and [stored.raw for stored in known.stored.values()] == rows:
            return None
        now = self._understood(table, rows, state.next_id)
        # A session removes on purpose; another program may have written back what it had read before.
        wait = now.note is None or known.note is None or _stamp(now.note) == _stamp(known.note)
        next_id = max([state.next_id, *(number + 1 for number in now.stored)])
        changes = reconciled(known.objects, now.objects, state.objects, next_id, wait=wait)
        self._pulled = now
        if not changes:
            self.took_over()
        return Merge(tuple(changes), now.left, self._is_new) if changes or now.left != known.left or self._is_new else None

    def took_over(self) -> None:
        """Count what `pull` returned as known: the state has it now."""
        if self._pulled is not None:
            self._known, self._pulled = self._pulled, None

    def push(self, state: State, actions: int) -> None:
        """Write what a state has that the file has not, within `locked`.

        Raises
        ------
        VectorError
            If it cannot be written: then nothing is.
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
        behind = 0
        for number, one in now.items():
            if number in fids:
                behind = fids.pop(number)
                if number in changed or number in self._known.stale:
                    drawn.extend(objects.update(stored[number], one))
            else:
                # Rows have the order of the objects: one that was deleted comes back to its place, if it is between the others.
                before = self._deleted.get(number, {})
                fid = before.get(table.fid)
                fits = isinstance(fid, int) and behind < fid < min(fids.values(), default=fid + 1)
                restored = {name: value for name, value in before.items() if name != table.fid or fits}
                geometry, behind = objects.insert(one, restored)
                drawn.append(geometry)
        note = self._with_others(self._describe(state, actions), self._known.note)
        file.write_note(table, note)
        file.declare(table, drawn)
        rows = objects.rows()
        owners = _owners(rows, {one.fid: number for number, one in stored.items()})
        kept = {
            given: Stored(row, now[given])
            for row in rows
            if (given := number_of(row)) is not None and given in now and owners[given] == row[0]
        }
        self._written = _Known(kept, member_of(note), frozenset(), self._known.left), state.objects

    def _table(self, file: Layers) -> ObjectTable:
        return ObjectTable.find(file, self._geobox, self._measure)

    def _locked_file(self) -> Layers:
        if self._file is None:
            raise AssertionError("the file is read and written within `locked`")
        return self._file

    def _create(self) -> None:
        """Make the file, without objects, unless another session has just made it."""
        frame = to_frame((), self._geobox)
        with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=STAGING_PREFIX) as folder:
            whole = Path(folder) / self.path.name
            write_vectors(frame, whole)
            try:
                with opened(whole, write=True) as file:
                    file.set_kind(self._table(file).table, "MULTIPOLYGON")
                with suppress(FileExistsError):
                    _place_new(whole, self.path)
            except OSError as error:
                raise VectorError(f"{self.path} cannot be saved ({error}); check the free space, and the folder.") from None

    def _understood(self, table: ObjectTable, rows: Sequence[Row], next_id: int) -> _Known:
        """Return what rows are for the session; one that cannot be an object is left as it is, or stays what it was."""
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
        """Add to a note how far each session had come when it saved."""
        own = note[MEMBER]
        saved = {} if before is None else dict(before.get("saved", {before["session"]: before["actions"]}))
        saved.pop(own["session"], None)
        latest = dict(list(saved.items())[-MOST_SESSIONS:])
        return {**note, MEMBER: own | {"saved": latest | {own["session"]: own["actions"]}}}


def _owners(rows: Sequence[Row], by_fid: Mapping[Value, int]) -> dict[int, Value]:
    """Return by id the key of the row that has it: of several, the one that had it before, or the first."""
    owners: dict[int, Value] = {}
    for row in rows:
        number = number_of(row)
        if number is not None and (number not in owners or by_fid.get(row[0]) == number):
            owners[number] = row[0]
    return owners


def _stamp(note: Mapping[str, Any]) -> tuple[Any, Any]:
    return note["session"], note["actions"]


def _place_new(whole: Path, path: Path) -> None:
    """Move a file to its place, where no other may be.

    Raises
    ------
    FileExistsError
        If another is there.
    """
    try:
        os.link(whole, path)
    except FileExistsError:
        raise
    except OSError:
        # File systems without links: another session could come between the two lines.
        if path.exists():
            raise FileExistsError(f"{path} was made by another program meanwhile") from None
        whole.replace(path)
