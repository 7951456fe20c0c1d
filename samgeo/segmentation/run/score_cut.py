"""The least score that is chosen when all objects are found, and the objects that reach it.

A prompt source may leave the choice of the least score to the end of the run, because the choice needs the scores of all
objects. The scores are read from the files of the rows first, and then the objects that are kept are written to files of the
same kind, a row at a time. Memory holds one number for each object, and the objects of one row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from samgeo.geo.vector.formats import file_errors
from samgeo.geo.vector.joining import read_parts, write_part
from samgeo.segmentation.run.folder_layout import KEPT, remove_kept

__all__ = ["ChooseCut", "ScoreCut", "kept_objects", "kept_parts", "stored_scores"]

SCORE = "score"
_REMEDY = "run the same call or command again"


@dataclass(frozen=True, slots=True)
class ScoreCut:
    """A least score that was chosen from the scores of all objects.

    Attributes
    ----------
    score : float
        Objects with a lower score are dropped.
    kept : int
        Number of objects that are kept.
    about : dict
        How it was chosen, for the provenance, as values that can be written as JSON.
    """

    score: float
    kept: int
    about: dict[str, Any]


#: Chooses the cut from the scores of all objects, shape (N,), in any order.
ChooseCut: TypeAlias = Callable[[NDArray[np.float64]], ScoreCut]


def stored_scores(rows: Sequence[Path]) -> NDArray[np.float64]:
    """Return the scores of all objects in the files of rows, shape (N,).

    Raises
    ------
    VectorError
        If a file cannot be read.
    """
    import pyarrow.parquet as pq

    found = []
    for path in rows:
        with file_errors(f"{path} cannot be read", _REMEDY):
            found.append(pq.read_table(path, columns=[SCORE]).column(0).to_numpy())
    return np.concatenate(found) if found else np.empty(0)


def kept_objects(objects: gpd.GeoDataFrame, cut: ScoreCut | None) -> gpd.GeoDataFrame:
    """Return the objects that reach the score of a cut; all objects without one."""
    return objects if cut is None else objects[objects[SCORE] >= cut.score].reset_index(drop=True)


def kept_parts(run: Path, rows: Sequence[Path], cut: ScoreCut) -> list[Path]:
    """Write the objects that are kept to the folder ``kept`` of a run, and return the files that have objects.

    Parameters
    ----------
    run : Path
        The run folder.
    rows : sequence of Path
        Files of rows of the run.
    cut : ScoreCut
        Chooses the objects.

    Raises
    ------
    VectorError
        If a file cannot be read or written.
    """
    remove_kept(run)
    keep, written = partial(kept_objects, cut=cut), []
    for path in rows:
        kept = read_parts([path], keep)
        if len(kept):
            place = run / KEPT / path.name
            with file_errors(f"{place} cannot be written", _REMEDY):
                place.parent.mkdir(exist_ok=True)
            write_part(kept, place)
            written.append(place)
    return written
