"""The commands that judge a result: evaluate with the truth, and thresholds with nothing but the scores."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from samgeo.cli.options import (
    ALPHA,
    BANDS,
    INVENTED,
    NODATA,
    OVERWRITE,
    QUIET,
    STRETCH,
    OptionValue,
    parse_bands,
    parse_stretch,
)
from samgeo.errors import OptionError

if TYPE_CHECKING:
    from PIL import Image

    from samgeo.evaluation import Report, Verdict
    from samgeo.geo.raster import Raster
    from samgeo.plot import RGB, SheetEntry

__all__ = ["evaluate", "thresholds"]

# The truth is green and found objects are magenta. Colour-blind users can distinguish these colours, too.
TRUTH, FOUND = (0, 255, 0), (255, 0, 255)
TRUTH_AROUND, FOUND_AROUND = (0, 130, 0), (130, 0, 130)
TITLES: dict[Verdict, str] = {
    "missed": "missed: true objects (green) without a match, the largest first",
    "false": "false: found objects (magenta) without a match, those with the highest score or the largest first",
    "matched": "worst matches: true objects (green) and the objects found for them (magenta), the lowest IoU first",
}


@click.command()
@click.argument("found", metavar="RESULT")
@click.argument("truth")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FOLDER", help="Folder for the report.")
@click.option("--iou", "min_iou", type=float, default=0.5, show_default=True, help="Smallest IoU of a match.")
@click.option(
    "--score-column",
    "score",
    metavar="COLUMN",
    show_default="score or predicted_iou, if there is such a column",
    help="Column of RESULT with the confidence of each object; higher is better.",
)
@click.option(
    "--class-column",
    metavar="COLUMN",
    show_default="one class",
    help="Column of both files with the class of each object; only objects of the same class match.",
)
@click.option(
    "--sizes",
    metavar="MEDIUM,LARGE",
    show_default="50,200 square metres; 1024,9216 square pixels without a CRS",
    help="Smallest areas of medium and of large objects.",
)
@click.option(
    "--boundary-m",
    type=float,
    show_default="1 metre; 2 pixels without a CRS",
    help="Distance of the boundary IoU in metres.",
)
@click.option(
    "--aoi",
    metavar="FILE",
    show_default="everything",
    help="Area of interest, a vector file of polygons: evaluate only inside it.",
)
@click.option("--image", metavar="IMAGE", help="Raster on which the worst cases are drawn; needs --output.")
@BANDS
@STRETCH
@NODATA
@ALPHA
@INVENTED
@click.option(
    "--worst", type=click.IntRange(min=1), default=12, show_default=True, help="Number of cases in a picture of the worst."
)
@OVERWRITE
@QUIET
def evaluate(
    found: str,
    truth: str,
    *,
    output: Path | None,
    image: str | None,
    overwrite: bool,
    quiet: bool,
    **options: OptionValue,
) -> None:
    """Compare the polygons in RESULT with those in TRUTH.

    The report says how many objects were found and how well they are drawn. It is printed as a table. With --output, a folder
    gets report.md, report.json, objects.parquet (every object with its verdict) and, with --image, pictures of the worst cases.

    Vector files may be in any CRS. A layer of a file with several layers is given as city.gpkg:roofs.
    """
    from samgeo.evaluation import check_folder
    from samgeo.evaluation import evaluate as run
    from samgeo.geo.raster import Raster
    from samgeo.geo.vector import read_vectors

    if image is not None and output is None:
        raise click.UsageError("--image writes pictures into a folder; give the folder with --output.")
    if output is not None:
        check_folder(output, overwrite=overwrite, inputs=(found, truth, options["aoi"], image))
    reading: dict[str, Any] = {"bands": parse_bands(options.pop("bands")), "stretch": parse_stretch(options.pop("stretch"))}
    reading |= {name: options.pop(name) for name in ("nodata", "alpha", "invented")}
    raster = None if image is None else Raster.open(image, **reading)
    worst = options.pop("worst")
    # Rows without a geometry are left out of the figures, and listed in the report.
    layers = read_vectors(found, on_invalid="ignore"), read_vectors(truth, on_invalid="ignore")
    if raster is not None:
        _check_placed(layers[1].crs, raster)
    report = run(*layers, sizes=_parse_sizes(options.pop("sizes")), progress=not quiet, **options)
    if output is not None:
        pictures = {} if raster is None else _pictures(report, raster, worst)
        report.write(output, overwrite=overwrite, pictures=pictures)
        if not quiet:
            click.echo(f"Wrote {output}.", err=True)
    click.echo(report.to_markdown(), nl=False)


@click.command()
@click.argument("found", metavar="RESULT")
@click.option(
    "--found-share",
    type=float,
    default=0.75,
    show_default=True,
    help="Estimated share of all objects that are in RESULT with any score; with 1, the estimates are for what was found.",
)
def thresholds(found: str, found_share: float) -> None:
    """Print what each threshold of the score keeps of RESULT.

    RESULT is written by `samgeo find` with a low --min-score, such as 0.05. The estimates come from the scores alone, which are
    taken as probabilities: the number of objects that are kept, the share of them that is right, the share of all objects that
    is kept, and the F1 of both. The last line is the threshold with the highest expected F1.
    """
    from samgeo.finding import suggest_threshold, threshold_curve
    from samgeo.geo.vector import read_vectors

    objects = read_vectors(found)
    curve = threshold_curve(found, found_share=found_share)
    click.echo("| threshold | kept | expected precision | expected recall | expected F1 |\n|---|---|---|---|---|")
    for threshold, kept, *expected in zip(*(curve[name].tolist() for name in curve.columns), strict=True):
        figures = " | ".join("-" if math.isnan(value) else f"{value:.3f}" for value in expected)
        click.echo(f"| {threshold:.2f} | {kept:,} | {figures} |")
    if len(objects):
        click.echo(f"\nSuggested threshold: {suggest_threshold(objects, found_share=found_share):.3f}")


def _parse_sizes(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        small, large = (float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a pair of areas; give them as in 50,200.", param_hint="--sizes") from None
    return small, large


def _pictures(report: Report, raster: Raster, count: int) -> dict[str, Image.Image]:
    """Draw the worst cases of each verdict that has cases, with the objects around them."""
    from samgeo.plot import contact_sheet

    pictures: dict[str, Image.Image] = {}
    for verdict, title in TITLES.items():
        places = [_place(report, index, raster) for index in report.worst(verdict, count).index]
        if places:
            pictures[verdict] = contact_sheet(raster, places, title=title)
    return pictures


def _check_placed(crs: OptionValue, raster: Raster) -> None:
    if (raster.geobox.crs is None) != (crs is None):
        with_crs, without = (raster.name, "the truth") if crs is None else ("the truth", raster.name)
        raise OptionError(f"{with_crs} has a CRS and {without} has none, so no cases can be drawn; give {without} its CRS.")


def _place(report: Report, index: int, raster: Raster) -> SheetEntry:
    """Return the sheet entry of an object: the object and its partner, drawn over the objects around them."""
    from samgeo.geo.coordinates import read_onto
    from samgeo.plot import SheetEntry

    case = report.objects.loc[index]
    x0, y0, x1, y1 = case.geometry.bounds
    around = report.objects.cx[2 * x0 - x1 : 2 * x1 - x0, 2 * y0 - y1 : 2 * y1 - y0]
    around = read_onto(around, raster.geobox, what="the report", raster=raster.name)
    is_truth = around["layer"] == "truth"
    is_case = around.index == index
    if case["verdict"] == "matched":
        is_case |= ~is_truth & (around["row"] == case["partner"])

    def outlines(which: OptionValue, true: RGB, found: RGB) -> tuple[tuple[Any, RGB], ...]:
        rows = zip(around.geometry[which], is_truth[which], strict=True)
        return tuple((geometry, true if true_one else found) for geometry, true_one in rows)

    return SheetEntry(outlines(is_case, TRUTH, FOUND), _caption(case, report), outlines(~is_case, TRUTH_AROUND, FOUND_AROUND))


def _caption(case: OptionValue, report: Report) -> str:
    unit = report.settings["unit"]
    if case["verdict"] == "matched":
        return f"truth {case['row']}, found {case['partner']}: IoU {case['iou']:.2f}, PoLiS {case['polis']:.2f} {unit}"
    sure = "" if math.isnan(case["score"]) else f"{report.settings['score']} {case['score']:.2f}, "
    return f"{case['layer']} {case['row']}: {sure}{case['area']:,.0f} {unit}2"
