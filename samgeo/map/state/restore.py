"""Find the objects with which a session starts: none, or those that an earlier session saved and logged."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from samgeo.errors import OptionError, warn
from samgeo.map.files.autosave import Autosave, check_autosave, class_list_of
from samgeo.map.state.actions import CHANGING
from samgeo.map.state.class_list import NO_CLASSES, ClassList
from samgeo.map.state.history import replay
from samgeo.map.state.log import Opening, Recorded, check_same, describe, read_log
from samgeo.map.state.merging import differences, with_changes
from samgeo.map.state.reducer import Rules, State
from samgeo.map.suggestions import Answers
from samgeo.storage.atomic import refuse_unwritable

__all__ = ["check_classes", "check_files", "recorded_at", "rules_of", "start_from"]

_RASTER = ("grid", "pixels")


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Check a palette.

    Raises
    ------
    OptionError
        If the palette is empty, or a name is empty or occurs twice.
    """
    # A mapping would lose its values, and a set has no order.
    is_listed = isinstance(classes, Iterable) and not isinstance(classes, Mapping | Set)
    names = (classes,) if isinstance(classes, str) else tuple(classes) if is_listed else ()
    if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) != len(names):
        raise OptionError(f"classes are {classes!r}; give one name or more, each only once.")
    return names


def check_files(log: object, autosave: object, cache: object = None) -> None:
    """Check the paths of the files of a session, before any work starts.

    Raises
    ------
    SamgeoError
        If a value is not a path, or the file cannot be written there.
    """
    for name, path in (("log", log), ("cache", cache)):
        if path is not None and (not isinstance(path, str | os.PathLike) or not os.fspath(path)):
            raise OptionError(f"{name} is {path!r}; give a path, or None.")
    if log is not None:
        refuse_unwritable(Path(str(log)), OptionError)
    if autosave is not None:
        check_autosave(autosave)


def start_from(
    answers: Answers, classes: tuple[str, ...], log: str | os.PathLike[str] | None, store: Autosave | None
) -> Opening:
    """Return the start of a session.

    The objects are read from the saved file. If there is no file, the last session of the log is replayed. If the log has
    actions that were not saved to the file, the changes of these actions are applied to the file's objects.

    Parameters
    ----------
    answers : Answers
    classes : tuple of str
        The palette. Classes of the saved file are added to it, and its colours are taken.
    log : path, optional
        The log; it need not exist yet.
    store : Autosave, optional
        The saved file; it need not exist yet.

    Raises
    ------
    SamgeoError
        If a file is of another raster, cannot be read, or cannot be written.
    """
    run = describe(answers.start)
    recorded = _recorded(log, run)
    saved = None if store is None else store.read()
    opening = Opening(run, ClassList(classes))
    if store is not None and saved is not None:
        objects, note = saved
        if note is not None:
            check_same(str(store.path), note["run"], run, _RASTER)
        next_id = max([1 if note is None else note["next_id"], *(one.id + 1 for one in objects)])
        saved_list = NO_CLASSES if note is None else class_list_of(note)
        class_list = ClassList(classes).with_others(saved_list.names, saved_list.given)
        opening = Opening(run, class_list, objects, next_id, None if note is None else note["session"])
    since = 0 if saved is None else None if recorded is None else _unsaved(recorded, saved[1])
    if recorded is not None and since is not None:
        check_same(str(recorded.path), recorded.opening.run, run)
        opening = _ahead(opening, recorded, since, answers, is_all=saved is None)
    named = (one.class_name for one in opening.objects)
    return replace(opening, class_list=opening.class_list.with_others(named, ()))


def rules_of(answers: Answers) -> Rules:
    """Return the rules of a session by its answers."""
    start = answers.start
    pixel_area = abs(float(start.raster.geobox.affine.determinant))
    return Rules(answers.ask, answers.measure, answers.clean, pixel_area, float(start.min_part))


def _ahead(opening: Opening, recorded: Recorded, since: int, answers: Answers, *, is_all: bool) -> Opening:
    """Return an opening with the changes that a log has after ``since`` actions; if there is no file, with all objects."""
    rules = rules_of(answers)
    mine, classes = recorded.opening.class_list, opening.class_list
    after = replay(recorded, rules).state
    changed = dict(after.class_list.given).items() - dict(mine.given).items()
    class_list = classes.with_others((one for one in after.class_list.names if one not in mine.names), sorted(changed))
    if is_all:
        class_list = classes.with_others(after.class_list.names, after.class_list.given)
        return Opening(opening.run, class_list, after.objects, after.next_id)
    before = replay(replace(recorded, actions=recorded.actions[:since]), rules).state
    changes = differences(before.objects, after.objects).values()
    taken = {one.id for one in opening.objects}
    unused = count(max([opening.next_id, after.next_id, *(number + 1 for number in taken)]))
    # Another session may have given the same id to a different object.
    free = [replace(one, id=next(unused)) if one.kind == "added" and one.id in taken else one for one in changes]
    state = with_changes(State(objects=opening.objects), free)
    return replace(opening, class_list=class_list, objects=state.objects, next_id=next(unused), continues=None)


def recorded_at(log: str | os.PathLike[str]) -> Recorded:
    """Read the last session of a log, and warn of an incomplete last line.

    Warns
    -----
    SamgeoWarning
        If the last line is incomplete because the session ended while writing it.
    """
    recorded = read_log(log)
    if recorded.torn is not None:
        warn(f"line {recorded.torn} of {recorded.path} is incomplete, because its session was killed; this action is ignored.")
    return recorded


def _recorded(log: str | os.PathLike[str] | None, run: dict[str, Any]) -> Recorded | None:
    if log is None or not Path(log).exists() or not Path(log).stat().st_size:
        return None
    recorded = recorded_at(log)
    check_same(str(log), recorded.opening.run, run, _RASTER)
    return recorded


def _unsaved(recorded: Recorded, note: Mapping[str, Any] | None) -> int | None:
    """Return how many actions of the log's last session the file contains; None if no action with changes is missing."""
    if note is None:
        return None
    saved = note.get("saved", {note["session"]: note["actions"]})
    if recorded.session in saved:
        since = int(saved[recorded.session])
    elif note["session"] == recorded.opening.continues:
        since = 0
    else:
        return None
    return since if any(isinstance(action, CHANGING) for _, action in recorded.actions[since:]) else None
