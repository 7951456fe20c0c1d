"""The command find, which finds the objects of one kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from samgeo.cli.options import (
    ALPHA,
    AOI_MODE,
    BANDS,
    CACHE,
    CLASS_HELP,
    CLASS_NAMES,
    DETECTOR,
    DEVICE,
    DTYPE,
    FINDER,
    INVENTED,
    LAYER,
    LAYOUT,
    MAX_AREA_HELP,
    MIN_AREA_HELP,
    MIN_SCORE_HELP,
    MODEL,
    NODATA,
    OVERWRITE,
    QUIET,
    RESOLUTION,
    RETRY_FAILED,
    RUN_DIR,
    SCHEDULER,
    STRETCH,
    WORKERS,
    Y_UP,
    ZOOM,
    OptionValue,
    ScoreOrAuto,
    cleaning,
    count,
    imaging,
    parse_bands,
    parse_resolution,
    parse_stretch,
)
from samgeo.errors import OptionError

if TYPE_CHECKING:
    from samgeo.finding import Detector

__all__ = ["chosen_finder", "find"]


def chosen_finder(
    finder: str | None, detector: str | None, class_names: str | None, layout: str, *, boxes: str | None = None
) -> str | Detector | None:
    """Return the finder or the detector of the options of a command; check that there is one at most."""
    from samgeo.finding import OnnxDetector

    sources = {"--finder": finder, "--detector": detector, "--boxes": boxes}
    if len(given := [name for name, value in sources.items() if value is not None]) > 1:
        raise OptionError(f"{' and '.join(given)} are given; give one of them.")
    if detector is not None:
        # The threshold of the boxes follows from the threshold of the objects.
        return OnnxDetector(detector, layout=layout, classes=class_names, min_score=0.0)
    if class_names is not None or layout != "auto":
        raise OptionError("--class-names and --layout belong to --detector; give a detector, or leave them out.")
    return finder


@click.command()
@imaging
@click.argument("output")
@click.option(
    "--class",
    "what",
    metavar="CLASS",
    show_default="building; all classes of a detector",
    help=CLASS_HELP,
)
@click.option("--text", metavar="PHRASES", help="What a text finder looks for: phrases, separated by commas.")
@FINDER
@DETECTOR
@CLASS_NAMES
@LAYOUT
@click.option("--boxes", metavar="FILE", help="Boxes of a detector, as vector file or annotations, in place of a finder.")
@RESOLUTION
@ZOOM
@click.option(
    "--min-score",
    type=ScoreOrAuto(),
    show_default="stored with the finder",
    help=MIN_SCORE_HELP,
)
@click.option("--flips", is_flag=True, help="Also look at mirrored windows: slightly better, and slower.")
@MODEL
@DEVICE
@DTYPE
@BANDS
@STRETCH
@NODATA
@ALPHA
@INVENTED
@cleaning
@click.option("--min-area", type=float, default=0.0, show_default=True, help=MIN_AREA_HELP)
@click.option("--max-area", type=float, default=float("inf"), show_default=True, help=MAX_AREA_HELP)
@click.option(
    "--aoi", metavar="FILE", help="Area of interest, a vector file of polygons: find only objects whose centre is inside it."
)
@AOI_MODE
@SCHEDULER
@WORKERS
@CACHE
@RUN_DIR
@RETRY_FAILED
@OVERWRITE
@LAYER
@Y_UP
@QUIET
def find(
    image: OptionValue, output: str, *, what: str | None, text: str | None, resolution: str, bands: str | None,
    stretch: str | None, quiet: bool, detector: str | None, class_names: str | None, layout: str, boxes: str | None,
    **options: OptionValue,
) -> None:  # fmt: skip
    """Find the objects of one kind in IMAGE and write them to OUTPUT.

    IMAGE and OUTPUT are as in `samgeo segment`. Each object has a class and a score, which is the estimated probability that
    its outline is right. A stopped run is continued by the same command.
    """
    from samgeo.errors import OptionError
    from samgeo.finding import boxes_from
    from samgeo.finding import find as run

    options["finder"] = chosen_finder(options["finder"], detector, class_names, layout, boxes=boxes)
    if boxes is not None:
        options["finder"] = boxes_from(boxes, image, what=what or "object")
    options |= {"bands": parse_bands(bands), "stretch": parse_stretch(stretch), "progress": not quiet}
    if text is not None and what is not None:
        raise OptionError("--text and --class both say what to find; give one of them.")
    sought = what if text is None else text.split(",")
    found = run(image, sought, output, resolution=parse_resolution(resolution), **options)
    if not quiet:
        made = found.attrs["samgeo"]
        chosen = f", with a score of {made['threshold']['min_score']:.2f} or more" if "threshold" in made else ""
        click.echo(f"{count(len(found), 'object')} in {output}, found at zoom {made['options']['zoom']}{chosen}", err=True)
