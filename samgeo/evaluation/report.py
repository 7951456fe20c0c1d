"""Results of an evaluation: figures, a table of all objects, and reports in JSON and Markdown."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.geo.vector.reading import write_vectors
from samgeo.storage.atomic import check_name, refuse_inputs, write_whole
from samgeo.storage.staging import staged_files

if TYPE_CHECKING:
    import geopandas as gpd
    from PIL import Image

__all__ = ["LeftOut", "Report", "Scores", "check_folder"]

Verdict = Literal["missed", "false", "matched"]

REPORT_FILES = ("report.md", "report.json", "objects.parquet")
PICTURE_FILES = ("missed.png", "false.png", "matched.png")


@dataclass(frozen=True, slots=True)
class Scores:
    """Figures of a set of objects. A figure is NaN if there are no objects from which it can be computed.

    Attributes
    ----------
    truth, found, matched : int
        Numbers of true objects, found objects, and matched pairs. In the figures of a size, found objects are those that match
        a true object of that size, and those that have that size and match none.
    precision, recall, f1 : float
        ``matched / found``, ``matched / truth``, and their harmonic mean.
    mean_iou, mean_dice, boundary_iou, polis : float
        Means over the pairs. The Dice coefficient is ``2 IoU / (1 + IoU)``. PoLiS is in metres, or in pixels without a CRS.
    area_bias : float
        Total area of the found objects of all pairs, divided by that of the true objects, minus 1.
    ap, ap50, ap75, ar : float
        COCO's average precision and recall; NaN without scores.
    """

    truth: int
    found: int
    matched: int
    precision: float
    recall: float
    f1: float
    mean_iou: float
    mean_dice: float
    boundary_iou: float
    polis: float
    area_bias: float
    ap: float = math.nan
    ap50: float = math.nan
    ap75: float = math.nan
    ar: float = math.nan


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Number of objects of a layer that were not evaluated for the same reason.

    Attributes
    ----------
    layer : str
        ``"found"`` or ``"truth"``.
    reason : str
        Reason why the objects were not evaluated.
    count : int
        Number of objects.
    """

    layer: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Result of `evaluate`.

    Attributes
    ----------
    overall : Scores
        Figures of all objects. Counts, and figures computed from counts, are over all objects; average precision and recall are
        means over the classes.
    by_class, by_size : dict of str to Scores
        Figures of each class (empty without classes), and of small, medium and large objects.
    left_out : tuple of LeftOut
        Objects that were not evaluated, with the reasons.
    repaired : dict of str to int
        Numbers of geometries of ``found`` and ``truth`` that were invalid, and were repaired before the evaluation.
    settings : dict
        Options of the evaluation: ``min_iou``, ``score`` (the column, or None), ``class_column``, ``sizes`` (two areas),
        ``boundary_m``, ``aoi`` (whether there was one), ``unit`` (``"m"`` or ``"px"``), ``crs``.
    objects : GeoDataFrame
        One row for each object of both layers, in the CRS of the truth. The columns are ``layer``, ``row`` (position in the
        input, from 0), ``verdict`` (matched, missed, false or left out), ``reason``, ``class``, ``score``, ``area`` (square
        metres, or square pixels), and for matched objects ``partner`` (the row in the other layer), ``iou``, ``boundary_iou``
        and ``polis``. Objects that cannot be evaluated have no geometry.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from shapely.geometry import box
    >>> from samgeo.evaluation import evaluate
    >>> truth = gpd.GeoDataFrame(geometry=[box(0, 0, 10, 10), box(20, 0, 30, 10)])
    >>> report = evaluate(truth[:1], truth)
    >>> report.to_dict()["overall"]["recall"]
    0.5
    >>> report.write("evaluation")
    >>> from pathlib import Path
    >>> sorted(path.name for path in Path("evaluation").iterdir())
    ['objects.parquet', 'report.json', 'report.md']
    """

    overall: Scores
    by_class: dict[str, Scores]
    by_size: dict[str, Scores]
    left_out: tuple[LeftOut, ...]
    repaired: dict[str, int]
    settings: dict[str, Any]
    objects: gpd.GeoDataFrame

    @check_types
    def worst(self, verdict: Verdict, count: int = 12) -> gpd.GeoDataFrame:
        """Return the worst cases of a verdict.

        Parameters
        ----------
        verdict : "missed", "false" or "matched"
            "missed" gives missed objects, the largest first. "false" gives false objects, those with the highest scores first,
            or the largest first if there are no scores. "matched" gives the true objects of pairs, those with the lowest IoU
            first.
        count : int, default 12
            Largest number of objects.

        Returns
        -------
        GeoDataFrame
            Rows of ``objects``.
        """
        columns = {"missed": ["area"], "false": ["score", "area"], "matched": ["iou"]}
        if verdict not in columns:
            raise OptionError(f"verdict is {verdict!r}; give one of {', '.join(columns)}.")
        layer = "found" if verdict == "false" else "truth"
        some = self.objects[(self.objects.layer == layer) & (self.objects.verdict == verdict)]
        return some.sort_values(columns[verdict], ascending=verdict == "matched", kind="stable").head(count)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values for JSON; NaN becomes None."""
        return {
            "overall": _plain(self.overall),
            "by_class": {name: _plain(scores) for name, scores in self.by_class.items()},
            "by_size": {name: _plain(scores) for name, scores in self.by_size.items()},
            "left_out": [asdict(one) for one in self.left_out],
            "repaired": self.repaired,
            "settings": self.settings,
        }

    def to_markdown(self) -> str:
        """Return a Markdown table of the figures, with notes that explain them."""
        return "\n".join(_markdown(self)) + "\n"

    @check_types
    def write(
        self,
        folder: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        pictures: Mapping[str, Image.Image] | None = None,
    ) -> None:
        """Write ``report.md``, ``report.json`` and ``objects.parquet`` into a folder.

        Each file is written completely or not at all.

        Parameters
        ----------
        folder : path
            The folder. It is made if it does not exist; its parent must exist.
        overwrite : bool, default False
            Whether an existing report may be replaced. Other files in the folder are not changed.
        pictures : dict of str to PIL.Image.Image, optional
            Pictures of the worst cases by verdict. They are written as ``missed.png``, ``false.png`` and ``matched.png``.

        Raises
        ------
        OptionError
            If the folder cannot be written, or holds a report that may not be replaced.
        """
        path = check_folder(folder, overwrite=overwrite)
        try:
            # Pictures that are not written again belong to an earlier report, and are removed.
            with staged_files(path, (*REPORT_FILES, *PICTURE_FILES)) as temporary:
                write_whole(temporary / "report.md", self.to_markdown().encode())
                write_whole(temporary / "report.json", (json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n").encode())
                write_vectors(self.objects, temporary / "objects.parquet", provenance=self.to_dict())
                for name, picture in (pictures or {}).items():
                    buffer = io.BytesIO()
                    picture.save(buffer, format="PNG")
                    write_whole(temporary / f"{name}.png", buffer.getvalue())
        except OSError as error:
            raise OptionError(
                f"{path} cannot be written ({error.strerror or error}); give a folder that can be written."
            ) from None


@check_types
def check_folder(folder: str | os.PathLike[str], *, overwrite: bool = False, inputs: Iterable[object] = ()) -> Path:
    """Check, before the work starts, that a report can be written to a folder.

    Parameters
    ----------
    folder : path
        The folder.
    overwrite : bool, default False
        Whether an existing report may be replaced.
    inputs : iterable
        Inputs of the evaluation, see `samgeo.storage.atomic.refuse_inputs`. No file of the report may be one of them.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OptionError
        If the parent is missing, the folder is a file or cannot be written, it holds a report that may not be replaced, or a
        file of the report is an input.

    Examples
    --------
    >>> from samgeo.evaluation import check_folder
    >>> check_folder("evaluation").name
    'evaluation'
    >>> check_folder("missing/evaluation")
    Traceback (most recent call last):
    samgeo.errors.OptionError: missing/evaluation cannot be created: the folder missing does not exist; create it first.
    """
    path = Path(folder)
    check_name(path, OptionError)
    given = list(inputs)
    for name in (*REPORT_FILES, *PICTURE_FILES):
        refuse_inputs(path / name, given, OptionError)
    there = [name for name in (*REPORT_FILES, *PICTURE_FILES) if (path / name).exists()]
    if path.exists() and not path.is_dir():
        raise OptionError(f"{path} is a file; give the name of a folder.")
    if not path.parent.is_dir():
        raise OptionError(f"{path} cannot be created: the folder {path.parent} does not exist; create it first.")
    if there and not overwrite:
        raise OptionError(f"{path / there[0]} exists; choose another folder, or allow overwrite.")
    for place in (path.parent, *([path] if path.exists() else [])):
        if not os.access(place, os.W_OK | os.X_OK):
            raise OptionError(f"{path} cannot be written: you have no permission to write to {place}; choose another folder.")
    return path


def _plain(scores: Scores) -> dict[str, float | None]:
    """Return figures as a dict for JSON; NaN becomes None."""
    return {name: None if math.isnan(value) else value for name, value in asdict(scores).items()}


def _markdown(report: Report) -> Iterator[str]:
    """Yield the lines of the Markdown report."""
    unit, score = report.settings["unit"], report.settings["score"]
    names = [field.name for field in fields(Scores)]
    if score is None:
        names = [name for name in names if name not in {"ap", "ap50", "ap75", "ar"}]
    heads = {
        "f1": "F1", "mean_iou": "mean IoU", "mean_dice": "mean Dice", "boundary_iou": "boundary IoU",
        "polis": f"PoLiS ({unit})", "area_bias": "area bias", "ap": "AP", "ap50": "AP50", "ap75": "AP75", "ar": "AR",
    }  # fmt: skip
    yield "| | " + " | ".join(heads.get(name, name) for name in names) + " |"
    yield "|---" + "|---:" * len(names) + "|"
    small, large = report.settings["sizes"]
    ranges = {"small": f"below {small:g}", "medium": f"{small:g} to {large:g}", "large": f"{large:g} and more"}
    rows = {"all": report.overall, **{f"class {_cell(name)}": scores for name, scores in report.by_class.items()}}
    rows |= {f"{name} ({ranges[name]} {unit}²)": scores for name, scores in report.by_size.items()}
    for name, scores in rows.items():
        yield f"| {name} | " + " | ".join(_figure(column, getattr(scores, column)) for column in names) + " |"
    yield ""
    yield f"A match is a pair of IoU {report.settings['min_iou']:g} or more{_rule(report)}"
    yield f"Boundary IoU is within {report.settings['boundary_m']:g} {unit} of the outlines."
    if score is None:
        yield "Without scores there is no average precision."
    for layer in ("found", "truth"):
        notes = [f"{one.count:,} left out: {one.reason}" for one in report.left_out if one.layer == layer]
        if report.repaired[layer]:
            notes.append(f"{report.repaired[layer]:,} not valid and judged as repaired")
        yield f"Of the {layer} layer, {'; '.join(notes) if notes else 'all objects were judged as they are'}."


def _rule(report: Report) -> str:
    """Return the end of the sentence that explains the rule of matching."""
    score, column = report.settings["score"], report.settings["class_column"]
    of_class = "" if column is None else f" with the same {column}"
    return of_class + (", the best IoU first." if score is None else f"; found objects choose in the order of {score}.")


def _figure(name: str, value: float) -> str:
    """Format a figure for the table."""
    if math.isnan(value):
        return "-"
    if name in {"truth", "found", "matched"}:
        return f"{value:,}"
    return f"{value:+.1%}" if name == "area_bias" else f"{value:.2f}" if name == "polis" else f"{value:.3f}"


def _cell(text: str) -> str:
    """Escape a name for a Markdown table."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())
