"""The run of `samgeo.predict` with many prompts: groups are answered and kept, and at the end put in the order of the prompts.

The run folder is that of `samgeo.segmentation.run.part_folder`, where part R is group R of the prompts, and has two more names:

answers/A-B.parquet  the answers to the prompts A to B (exclusive), in any order, while they are sorted
ordered/B.parquet    the same in the order of the prompts, with the columns of the prompts
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from samgeo.errors import StoppedError
from samgeo.geo.vector.columns import keep_given
from samgeo.geo.vector.joining import join_vectors, read_parts, write_part
from samgeo.progress import progress_bar
from samgeo.segmentation.prompts.assignment import GROUP, groups
from samgeo.segmentation.run.manifest import describe
from samgeo.segmentation.run.part_folder import NAMES, PartFolder
from samgeo.segmentation.tables import AnswerColumns

if TYPE_CHECKING:
    import pyarrow.parquet as pq

    from samgeo.segmentation.predictor import Predictor
    from samgeo.segmentation.prompts.assignment import Prompts
    from samgeo.storage.locations import Place

__all__ = ["AnswersFolder", "PredictionSummary", "Run"]

KIND, FORMAT = "samgeo predict", 1
ANSWERS, ORDERED = "answers", "ordered"
# Column with the number of the prompt, in the parts of the run folder only.
NUMBER = "samgeo_prompt"

# So many answers are sorted in memory; more are divided into so many files first.
MOST_SORTED, FAN_OUT = 8 * GROUP, 16


@dataclass(frozen=True, slots=True)
class PredictionSummary:
    """What `samgeo.segmentation.predict_to_file` did.

    Attributes
    ----------
    prompts : int
        Number of prompts.
    objects : int
        Number of prompts for which an object was found.
    output : Path, RemotePlace or None
        The file.
    """

    prompts: int
    objects: int
    output: Place | None


@dataclass(frozen=True, slots=True)
class AnswersFolder(PartFolder):
    """A run folder of answers to prompts; see `PartFolder`."""

    kind: ClassVar[str] = KIND
    names: ClassVar[frozenset[str]] = NAMES | {ANSWERS, ORDERED}
    holder: ClassVar[str] = "answers to prompts"


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Many prompts that are read and checked, and how they are answered.

    Attributes
    ----------
    predictor : Predictor
        The raster, the model and the windows.
    prompts : Prompts
        The prompts.
    table : DataFrame or None
        Other columns of the prompts.
    how : mapping
        The options ``multimask`` and ``refine``.
    folder : AnswersFolder
        The run folder.
    """

    predictor: Predictor
    prompts: Prompts
    table: pd.DataFrame | None
    how: Mapping[str, Any]
    folder: AnswersFolder

    def manifest(self) -> dict[str, Any]:
        """Return the manifest of the run."""
        made = self.predictor.provenance()
        options = made["options"] | dict(self.how) | {"prompts": _digest(self.prompts)}
        return describe(self.predictor.raster, self.predictor.model, options) | {"kind": KIND, "format": FORMAT}

    def write(
        self,
        output: Place,
        *,
        overwrite: bool,
        layer: str | None,
        axes: Mapping[str, Any],
        collect: bool,
        progress: bool,
        stop: Callable[[], bool] | None,
    ) -> tuple[PredictionSummary, gpd.GeoDataFrame | None]:
        """Answer the groups that are not answered yet, and write the output.

        Parameters
        ----------
        output, overwrite, layer
            As in `samgeo.predict`.
        axes : mapping
            What is told of the axes of the file; see `samgeo.geo.vector.axes.describe_axes`.
        collect : bool
            Whether the table is returned too.
        progress : bool
            Whether a progress bar is shown.
        stop : callable, optional
            Called before each group. If it returns true, the run ends.

        Raises
        ------
        StoppedError
            If ``stop`` returned true. Finished groups are kept.
        SamgeoError
            As `samgeo.predict`.
        """
        with self.folder.working(self.manifest()):
            found = self._answer(stop, progress=progress)
            self.predictor.check_same(now=True)
            paths = self._ordered(len(found))
            scales: Counter[str] = Counter()
            for of_group in found:
                scales.update(of_group)
            made = self.predictor.provenance() | {"scales": dict(sorted(scales.items(), key=lambda one: int(one[0])))}
            made["options"] |= dict(self.how)
            frame: gpd.GeoDataFrame | None = None
            if collect:
                frame = _as_answered(read_parts(paths))
                frame.attrs["samgeo"] = made
            join_vectors(
                paths,
                output,
                overwrite=overwrite,
                provenance=made | dict(axes),
                layer=layer,
                about_to_place=partial(self.folder.mark_output, output),
            )
            self.folder.remove()
            return PredictionSummary(len(self.prompts), sum(scales.values()), output), frame

    def _answer(self, stop: Callable[[], bool] | None, *, progress: bool) -> list[Mapping[str, int]]:
        """Answer the groups that are not finished, and return for each group how many objects were found at each scale."""
        found: list[Mapping[str, int]] = []
        name = Path(self.predictor.raster.name).name
        with progress_bar(len(self.prompts), "prompt", name, progress=progress) as bar:
            for part, numbers in enumerate(groups(self.prompts, self.predictor.lattice)):
                known = self.folder.read_row(part)
                if known is not None:
                    found.append(known["scales"])
                    bar.update(len(numbers))
                    continue
                if stop is not None and stop():
                    raise StoppedError(
                        "the run was asked to stop; finished prompts are kept. Run the same call again to continue."
                    )
                columns = AnswerColumns(len(numbers), self.predictor.raster.geobox)
                answers = self.predictor.answer(self.prompts.some(numbers), **self.how, done=bar.update)
                columns.add(np.arange(len(numbers)), answers)
                self.predictor.check_same()
                frame = columns.frame(None)
                # A column of texts has one type in all parts, also where it has no value.
                frame["reason"] = frame["reason"].astype("string")
                scales = {str(scale): count for scale, count in columns.scales.items()}
                self.folder.write_row(part, frame.assign(**{NUMBER: numbers}), {"scales": scales})
                found.append(scales)
        return found

    def _ordered(self, parts: int) -> list[Path]:
        """Put the answers of all groups in the order of the prompts, and return the files, each with `GROUP` prompts."""
        answers, ordered = self.folder.path / ANSWERS, self.folder.path / ORDERED
        for folder in (answers, ordered):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        table: pd.DataFrame | None = None
        paths: list[Path] = []
        parts_of_all = [self.folder.row_path(part) for part in range(parts)]
        for sorted_answers in _in_order(parts_of_all, 0, len(self.prompts), answers):
            found, begin = sorted_answers, len(paths) * GROUP
            if self.table is not None:
                table = _typed(keep_given(self.table, found.columns, "the prompts")) if table is None else table
                own = table.iloc[begin : begin + GROUP].reset_index(drop=True)
                found = gpd.GeoDataFrame(pd.concat([own, found], axis=1), geometry="geometry", crs=found.crs)
            paths.append(ordered / f"{len(paths):06d}.parquet")
            write_part(found, paths[-1])
        answers.rmdir()
        return paths


def _in_order(parts: Sequence[Path], first: int, stop: int, folder: Path) -> Iterator[gpd.GeoDataFrame]:
    """Give the answers with the numbers ``first`` to ``stop`` (exclusive), sorted by number, `GROUP` at a time.

    The parts hold these answers in any order. If there are many, they are divided into `FAN_OUT` files by their numbers, and
    each of these is sorted in the same way, so that memory does not grow with their number, and few files are open at a time.
    """
    if stop - first <= MOST_SORTED:
        answers = read_parts(parts).sort_values(NUMBER, ignore_index=True).drop(columns=NUMBER)
        for begin in range(0, len(answers), GROUP):
            yield answers.iloc[begin : begin + GROUP].reset_index(drop=True)
        return
    step = -(-(stop - first) // (FAN_OUT * GROUP)) * GROUP
    for begin, path in _divided(parts, first, stop, step, folder):
        yield from _in_order([path], begin, min(begin + step, stop), folder)
        path.unlink()


def _divided(parts: Sequence[Path], first: int, stop: int, step: int, folder: Path) -> list[tuple[int, Path]]:
    """Write the answers of the parts to files for ``step`` numbers each; return the first number and the path of each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    begins = range(first, stop, step)
    paths = [folder / f"{begin}-{min(begin + step, stop)}.parquet" for begin in begins]
    with ExitStack() as stack:
        writers: list[pq.ParquetWriter] = []
        waiting: list[pa.Table] = []

        def write() -> None:
            table = pa.concat_tables(waiting)
            waiting.clear()
            if not writers:
                writers.extend(stack.enter_context(pq.ParquetWriter(path, table.schema)) for path in paths)
            owner = (table[NUMBER].to_numpy() - first) // step
            table = table.take(pa.array(np.argsort(owner, kind="stable")))
            ends = np.cumsum(np.bincount(owner, minlength=len(paths)))
            for writer, begin, end in zip(writers, [0, *ends[:-1].tolist()], ends.tolist(), strict=True):
                if end > begin:
                    writer.write_table(table.slice(begin, end - begin))

        for part in parts:
            with pq.ParquetFile(part) as file:
                for batch in file.iter_batches(batch_size=GROUP):
                    waiting.append(pa.Table.from_batches([batch]))
                    if sum(one.num_rows for one in waiting) >= MOST_SORTED:
                        write()
        if waiting:
            write()
    return list(zip(begins, paths, strict=True))


def _as_answered(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return a table from the parts as `samgeo.Predictor.predict` gives it: an empty geometry where nothing was found."""
    reason = frame["reason"].astype(object)
    geometry = frame.geometry.where(frame.geometry.notna(), shapely.Polygon())
    return frame.assign(reason=reason.where(reason.notna(), None)).set_geometry(geometry)


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose columns have one type of Arrow each, so that parts of it have it too where they have no value."""
    import pyarrow as pa

    made: dict[str, pd.Series[Any]] = {}
    for name, column in table.items():
        if pd.api.types.is_object_dtype(column):
            kind = pa.Array.from_pandas(column).type
            is_text = pa.types.is_null(kind) or pa.types.is_string(kind)
            made[str(name)] = column.astype("string" if is_text else pd.ArrowDtype(kind))
    return table.assign(**made) if made else table


def _digest(prompts: Prompts) -> str:
    """Return a digest of all that decides the answers to prompts."""
    found = hashlib.sha256(str(prompts.outlined).encode())
    for array in (prompts.points, prompts.labels, prompts.boxes):
        found.update(str(array.shape).encode())
        found.update(np.ascontiguousarray(array).tobytes())
    for begin in range(0, len(prompts), GROUP):
        for shape in shapely.to_wkb(prompts.shapes[begin : begin + GROUP]).tolist():
            found.update(b"" if shape is None else shape)
    return found.hexdigest()
