"""Where a session starts: from nothing, or from what an earlier one saved and logged."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.errors import OptionError, VectorError
from samgeo.geo.vectors import check_output, read_provenance
from samgeo.map.actions import Accept, AcceptProposals, Delete, Edit, Redo, SetClass, Undo
from samgeo.map.annotations import Rules
from samgeo.map.answers import Answers
from samgeo.map.export import from_frame
from samgeo.map.history import replay
from samgeo.map.log import Opening, Recorded, check_same, describe, read_log

if TYPE_CHECKING:
    from samgeo.geo.raster import Raster

__all__ = ["MEMBER", "check_classes", "recorded_at", "start_from"]

MEMBER = "annotation"
"""Of the provenance in a saved file: which session saved it, after how many actions."""

_CHANGING = (Accept, AcceptProposals, Delete, Edit, SetClass, Undo, Redo)
_RASTER = ("grid", "pixels")


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Check a palette.

    Raises
    ------
    OptionError
        If it is empty, a name is empty, or one comes twice.
    """
    names = (classes,) if isinstance(classes, str) else tuple(classes)
    if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) != len(names):
        raise OptionError(f"classes are {names!r}; give one name or more, each once.")
    return names


def start_from(
    answers: Answers, classes: tuple[str, ...], log: str | os.PathLike[str] | None, autosave: str | os.PathLike[str] | None
) -> tuple[Opening, bool]:
    """Find out what a session starts from.

    Objects come from the saved file. Where there is none, or the log tells of a session that went further than its file, they
    come from the last session of the log, which is done again.

    Parameters
    ----------
    answers : Answers
    classes : tuple of str
        Those of objects that are not among them are added.
    log, autosave : path, optional
        They may not be there yet.

    Returns
    -------
    Opening
    is_saved : bool
        Whether the saved file has just these objects.

    Raises
    ------
    SamgeoError
        If a file is of another raster, cannot be read, or cannot be written.
    """
    predictor = answers.predictor
    run = describe(predictor)
    recorded = _recorded(log, run)
    saved = None if autosave is None else _check_autosave(autosave, predictor.raster, log)
    opening, is_saved, note = Opening(run, classes), True, None
    if saved is not None and saved.exists():
        note = (read_provenance(saved) or {}).get(MEMBER)
        if note is not None:
            check_same(str(saved), note["run"], run, _RASTER)
        objects = from_frame(saved, predictor.raster, answers.measure, 1 if note is None else note["next_id"])
        next_id = max([1 if note is None else note["next_id"], *(one.id + 1 for one in objects)])
        opening = Opening(run, classes, objects, next_id, None if note is None else note["session"])
    if recorded is not None and (saved is None or not saved.exists() or _is_ahead(recorded, note)):
        check_same(str(recorded.path), recorded.opening.run, run)
        palette = tuple(dict.fromkeys((*recorded.opening.classes, *classes)))
        state = replay(recorded, Rules(palette, answers.ask, answers.measure)).state
        opening, is_saved = Opening(run, classes, state.objects, state.next_id), not state.objects and not _there(saved)
    palette = tuple(dict.fromkeys((*classes, *(one.class_name for one in opening.objects))))
    return Opening(run, palette, opening.objects, opening.next_id, opening.continues), is_saved


def recorded_at(log: str | os.PathLike[str]) -> Recorded:
    """Read the last session of a log, and say what was lost of it.

    Warns
    -----
    UserWarning
        If its last line was half written when the session died.
    """
    recorded = read_log(log)
    if recorded.torn is not None:
        warnings.warn(
            f"line {recorded.torn} of {recorded.path} was half written when its session died; that action is left out.",
            UserWarning,
            stacklevel=2,
        )
    return recorded


def _recorded(log: str | os.PathLike[str] | None, run: dict[str, Any]) -> Recorded | None:
    if log is None or not Path(log).exists() or not Path(log).stat().st_size:
        return None
    recorded = recorded_at(log)
    check_same(str(log), recorded.opening.run, run, _RASTER)
    return recorded


def _check_autosave(autosave: str | os.PathLike[str], raster: Raster, log: str | os.PathLike[str] | None) -> Path:
    path = check_output(Path(autosave), overwrite=True, crs=raster.geobox.crs, inputs=(raster, log))
    if path.suffix.lower() != ".gpkg":
        raise VectorError(f"autosave is {path}; give a GeoPackage, a name that ends in .gpkg, and export to other formats.")
    return path


def _is_ahead(recorded: Recorded, note: dict[str, Any] | None) -> bool:
    """Whether a log's last session changed objects after the saved file was written: it died in between."""
    if note is None:
        return False
    if note["session"] == recorded.session:
        since = note["actions"]
    elif note["session"] == recorded.opening.continues:
        since = 0
    else:
        return False
    return any(isinstance(action, _CHANGING) for _, action in recorded.actions[since:])


def _there(saved: Path | None) -> bool:
    return saved is not None and saved.exists()
