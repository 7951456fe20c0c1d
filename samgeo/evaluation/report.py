"""What a comparison found: figures, a table, JSON, and every object with its verdict."""

from __future__ import annotations

import io
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.storage.atomic import STAGING_PREFIX, check_name, refuse_inputs, write_whole

if TYPE_CHECKING:
    import geopandas as gpd
    from PIL import Image

__all__ = ["LeftOut", "Report", "Scores", "check_folder"]

Verdict = Literal["missed", "false", "matched"]

REPORT_FILES = ("report.md", "report.json", "objects.parquet")
PICTURE_FILES = ("missed.png", "false.png", "matched.png")


@dataclass(frozen=True, slots=True)
class Scores:
    """Figures of some objects; NaN where there is nothing to take one of.

    Attributes
    ----------
    truth, found, matched : int
        True objects, found objects, pairs of the two. Of a size, found objects are those that match a true object of that
        size, and those that match none and have that size.
    precision, recall, f1 : float
        Matched over found, matched over truth, and their harmonic mean.
    mean_iou, boundary_iou, polis : float
        Means over the pairs; PoLiS in metres, or pixels without a CRS.
    area_bias : float
        Area of the found objects of all pairs over that of the true ones, less 1.
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
    boundary_iou: float
    polis: float
    area_bias: float
    ap: float = math.nan
    ap50: float = math.nan
    ap75: float = math.nan
    ar: float = math.nan


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Objects that were not judged.

    Attributes
    ----------
    layer : str
        ``"found"`` or ``"truth"``.
    reason : str
        Why.
    count : int
        How many.
    """

    layer: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Objects judged against the truth.

    Attributes
    ----------
    overall : Scores
        Of everything. Counts and what follows from them are over all objects; average precision and recall are means over
        the classes.
    by_class, by_size : dict of str to Scores
        Of each class (empty without classes), and of small, medium and large objects.
    left_out : tuple of LeftOut
        What was not judged, and why.
    repaired : dict of str to int
        How many geometries of ``found`` and ``truth`` were not valid and were judged as repaired.
    settings : dict
        What was asked: ``min_iou``, ``score`` (the column, or None), ``class_column``, ``sizes`` (two areas), ``boundary_m``,
        ``aoi`` (whether there was one), ``unit`` (``"m"`` or ``"px"``), ``crs``.
    objects : GeoDataFrame
        A row for each object of both layers, in the CRS of the truth: ``layer``, ``row`` (its place in the input, from 0),
        ``verdict`` (matched, missed, false or left out), ``reason``, ``class``, ``score``, ``area`` (square metres, or
        pixels), and of pairs ``partner`` (the row in the other layer), ``iou``, ``boundary_iou`` and ``polis``. The geometry
        of what cannot be judged is missing.
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
            Missed objects, the largest first; false ones, the surest first, and the largest where there are no scores; true
            objects whose match has the least IoU.
        count : int, default 12
            At most so many.

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
        """Return the figures as plain values for JSON; what is NaN is None."""
        return {
            "overall": _plain(self.overall),
            "by_class": {name: _plain(scores) for name, scores in self.by_class.items()},
            "by_size": {name: _plain(scores) for name, scores in self.by_size.items()},
            "left_out": [asdict(one) for one in self.left_out],
            "repaired": self.repaired,
            "settings": self.settings,
        }

    def to_markdown(self) -> str:
        """Return a table of the figures, and what a reader must know of them."""
        return "\n".join(_markdown(self)) + "\n"

    @check_types
    def write(
        self,
        folder: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        pictures: Mapping[str, Image.Image] | None = None,
    ) -> None:
        """Write ``report.md``, ``report.json`` and ``objects.parquet`` into a folder, each whole or not at all.

        Parameters
        ----------
        folder : path
            Made if it is not there; its parent must be.
        overwrite : bool, default False
            Whether a report that is there may be replaced. Other files stay as they are.
        pictures : dict of str to PIL.Image.Image, optional
            Of the worst cases, by verdict; written as ``missed.png`` and so on.

        Raises
        ------
        OptionError
            If the folder cannot be written, or holds a report.
        """
        from samgeo.geo.vector.reading import write_vectors

        path = check_folder(folder, overwrite=overwrite)
        try:
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=STAGING_PREFIX) as made:
                temporary = Path(made)
                write_whole(temporary / "report.md", self.to_markdown().encode())
                write_whole(temporary / "report.json", (json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n").encode())
                write_vectors(self.objects, temporary / "objects.parquet", provenance=self.to_dict())
                for name, picture in (pictures or {}).items():
                    buffer = io.BytesIO()
                    picture.save(buffer, format="PNG")
                    write_whole(temporary / f"{name}.png", buffer.getvalue())
                path.mkdir(exist_ok=True)
                for name in (*REPORT_FILES, *PICTURE_FILES):
                    if (temporary / name).exists():
                        (temporary / name).replace(path / name)
                    else:
                        (path / name).unlink(missing_ok=True)  # of an earlier report
        except OSError as error:
            raise OptionError(
                f"{path} cannot be written ({error.strerror or error}); give a folder that can be written."
            ) from None


@check_types
def check_folder(folder: str | os.PathLike[str], *, overwrite: bool = False, inputs: Iterable[object] = ()) -> Path:
    """Check, before any work, that a report can be written to a folder.

    Parameters
    ----------
    folder : path
    overwrite : bool, default False
        Whether a report that is there may be replaced.
    inputs : iterable
        What is read, see `samgeo.storage.atomic.refuse_inputs`: a file of the report may not be one of them.

    Raises
    ------
    OptionError
        If its parent is missing, it is a file, it cannot be written, it holds a report that may not be replaced, or a file of
        the report is an input.
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
        raise OptionError(f"{path} cannot be made: the folder {path.parent} does not exist; make it first.")
    if there and not overwrite:
        raise OptionError(f"{path / there[0]} exists; choose another folder, or allow overwrite.")
    for place in (path.parent, *([path] if path.exists() else [])):
        if not os.access(place, os.W_OK | os.X_OK):
            raise OptionError(f"{path} cannot be written: this user may not write to the folder {place}.")
    return path


def _plain(scores: Scores) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in asdict(scores).items()}


def _markdown(report: Report) -> Iterator[str]:
    unit, score = report.settings["unit"], report.settings["score"]
    names = [field.name for field in fields(Scores)]
    if score is None:
        names = [name for name in names if name not in {"ap", "ap50", "ap75", "ar"}]
    heads = {
        "f1": "F1", "mean_iou": "mean IoU", "boundary_iou": "boundary IoU", "polis": f"PoLiS ({unit})",
        "area_bias": "area bias", "ap": "AP", "ap50": "AP50", "ap75": "AP75", "ar": "AR",
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
    score, column = report.settings["score"], report.settings["class_column"]
    of_class = "" if column is None else f" with the same {column}"
    return of_class + (", the best IoU first." if score is None else f"; found objects choose in the order of {score}.")


def _figure(name: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    if name in {"truth", "found", "matched"}:
        return f"{value:,}"
    return f"{value:+.1%}" if name == "area_bias" else f"{value:.2f}" if name == "polis" else f"{value:.3f}"


def _cell(text: str) -> str:
    """Make a name safe in a table."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())
