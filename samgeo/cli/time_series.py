"""The commands change and track: what changed between two rasters of one place, and objects over several dates."""

from __future__ import annotations

import click

from samgeo.cli.find import chosen_finder
from samgeo.cli.options import (
    ALPHA,
    AOI_MODE,
    BANDS,
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
    POINTS_PER_SIDE,
    PRED_IOU,
    QUIET,
    RESOLUTION,
    RETRY_FAILED,
    RUN_DIR,
    SCALES,
    SCHEDULER,
    SCREEN_POINTS,
    STABILITY,
    STRETCH,
    WORKERS,
    Y_UP,
    ZOOM,
    OptionValue,
    ScoreOrAuto,
    adding,
    cleaning,
    count,
    parse_bands,
    parse_resolution,
    parse_scales,
    parse_stretch,
)
from samgeo.errors import OptionError, StoppedError

__all__ = ["change", "track"]

# Exit codes of a result in which windows failed, and of a process that was ended by signal 15.
HOLES, STOPPED = 3, 143

OBJECTS = click.option(
    "--objects",
    metavar="FILE",
    multiple=True,
    help="Vector file with the objects, for all dates; or given once for each image, in the same order.",
)
CLASS = click.option("--class", "what", metavar="CLASS", help=CLASS_HELP)
MAX_SHIFT = click.option(
    "--max-shift",
    "max_shift_px",
    metavar="PIXELS",
    type=float,
    default=5.0,
    show_default=True,
    help="Largest shift between the images that is corrected, in pixels of the first; a larger one is an error.",
)

# The options that both commands share, in the order in which their help lists them.
searching = adding(
    OBJECTS,
    CLASS,
    click.option("--text", metavar="PHRASES", help="What a text finder looks for: phrases, separated by commas."),
    FINDER,
    DETECTOR,
    CLASS_NAMES,
    LAYOUT,
    RESOLUTION,
    ZOOM,
    click.option("--min-score", type=ScoreOrAuto(), show_default="stored with the finder", help=MIN_SCORE_HELP),
)
computing = adding(
    MAX_SHIFT,
    MODEL,
    DEVICE,
    DTYPE,
    BANDS,
    STRETCH,
    NODATA,
    ALPHA,
    INVENTED,
    SCALES,
    POINTS_PER_SIDE,
    SCREEN_POINTS,
    PRED_IOU,
    STABILITY,
    cleaning,
    click.option("--min-area", type=float, default=0.0, show_default=True, help=MIN_AREA_HELP),
    click.option("--max-area", type=float, default=float("inf"), show_default=True, help=MAX_AREA_HELP),
)
running = adding(
    AOI_MODE,
    SCHEDULER,
    WORKERS,
    RUN_DIR,
    RETRY_FAILED,
    OVERWRITE,
    LAYER,
    Y_UP,
    QUIET,
)


@click.command()
@click.argument("before")
@click.argument("after")
@click.argument("output")
@searching
@click.option(
    "--min-angle",
    type=float,
    default=45.0,
    show_default=True,
    help="An object has changed if the angle between its features at both dates is at least this, in degrees.",
)
@computing
@click.option("--aoi", metavar="FILE", help="Area of interest, a vector file of polygons: compare objects only inside it.")
@running
def change(before: str, after: str, output: str, *, objects: tuple[str, ...], quiet: bool, **options: OptionValue) -> None:
    """Find what changed between the images BEFORE and AFTER.

    The images are of one place, in any CRS and resolution. AFTER is laid on BEFORE, and the shift between them is corrected.
    OUTPUT gets the objects, each with a kind: appeared, vanished, changed, same or unknown. Without --objects, --class, --text,
    --finder and --detector, everything in both images is segmented and compared.

    The suffix of OUTPUT is .parquet, .gpkg, .fgb or .geojson. A stopped run is continued by the same command.
    """
    from samgeo.segmentation.run import stop_on_sigterm
    from samgeo.time_series import change_to_file

    if len(objects) > 2:
        raise OptionError("--objects is given more than twice; give one file for both dates, or one for each date.")
    options = _parsed(objects, **options) | {"progress": not quiet}
    try:
        with stop_on_sigterm() as stop:
            done = change_to_file(before, after, output, stop=stop, **options)
    except StoppedError as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(STOPPED) from None
    if not quiet:
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in done.counts.items() if number or kind != "unknown")
        unit = "m2" if done.has_crs else "square pixels"
        click.echo(f"{count(sum(done.counts.values()), 'object')} in {output}: {kinds}", err=True)
        click.echo(f"{done.changed_area:,.0f} {unit} appeared, vanished or changed", err=True)
        if done.above_angle == done.above_angle:  # not NaN
            click.echo(f"{done.above_angle:.1%} of the compared objects have an angle above --min-angle", err=True)
        if done.shift is not None:
            what_was_done = "corrected" if done.is_corrected else "too small to be corrected"
            click.echo(f"shift: {done.shift.x_px:+.2f} px right, {done.shift.y_px:+.2f} px down, {what_was_done}", err=True)
    if done.failures:
        click.echo(f"{count(len(done.failures), 'window')} could not be searched; `--retry-failed` tries them again.", err=True)
        raise click.exceptions.Exit(HOLES)


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.argument("output")
@click.option(
    "--dates", metavar="DATES", required=True, help="Date of each image, separated by commas, such as 2019-05-01,2021."
)
@searching
@click.option(
    "--min-iou", type=float, default=0.5, show_default=True, help="IoU above which objects of two dates are the same object."
)
@click.option(
    "--max-angle",
    type=float,
    default=35.0,
    show_default=True,
    help="Largest angle between the features of objects that overlap less and are the same object, in degrees.",
)
@click.option(
    "--max-gap",
    metavar="DATES",
    type=int,
    default=1,
    show_default=True,
    help="Largest number of dates in a row at which an object may be missing.",
)
@click.option("--memory", is_flag=True, help="Follow the objects of --objects by the memory of SAM 2.")
@click.option("--prompt-date", metavar="DATE", help="With --memory: date on which the objects are shown; by default the first.")
@click.option("--as-boxes", is_flag=True, help="With --memory: use the bounding boxes of polygons as prompts.")
@computing
@click.option("--aoi", metavar="FILE", help="Area of interest, a vector file of polygons: follow objects only inside it.")
@running
def track(
    images: tuple[str, ...], output: str, *, dates: str, objects: tuple[str, ...], quiet: bool, **options: OptionValue
) -> None:
    """Follow objects over several dates.

    A row for each object and date of the IMAGEs is written to OUTPUT, with an id that is the same at all dates.

    The images are of one place, in any CRS and resolution. All are laid on the image of the first date. The objects of
    successive dates are matched by their outlines and by what the images show in them. Without --objects, --class, --text,
    --finder and --detector, everything in all images is segmented. With --memory, SAM 2 follows a few objects, which points or
    polygons show on one date; --model is then a model with the weights for videos, such as hf://facebook/sam2.1-hiera-tiny.

    OUTPUT is a .parquet, .gpkg, .fgb or .geojson file. A stopped run is continued by the same command.
    """
    from samgeo.segmentation.run import stop_on_sigterm
    from samgeo.time_series import track_to_file

    options = _parsed(objects, **options) | {"dates": [one.strip() for one in dates.split(",")], "progress": not quiet}
    try:
        with stop_on_sigterm() as stop:
            done = track_to_file(list(images), output, stop=stop, **options)
    except StoppedError as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(STOPPED) from None
    if not quiet:
        click.echo(f"{count(done.objects, 'object')} at {len(done.counts)} dates in {output}", err=True)
        click.echo(", ".join(f"{date}: {number:,}" for date, number in done.counts.items()), err=True)
        gaps = f"{count(done.missed, 'gap')} of one date bridged"
        click.echo(f"{gaps}; {done.unseen:,} dates of objects without data" if done.unseen else gaps, err=True)
    if done.failures:
        click.echo(f"{count(len(done.failures), 'window')} failed; `--retry-failed` tries them again.", err=True)
        raise click.exceptions.Exit(HOLES)


def _parsed(
    objects: tuple[str, ...], *, what: str | None, text: str | None, finder: str | None, detector: str | None,
    class_names: str | None, layout: str, resolution: str, scales: str, bands: str | None, stretch: str | None,
    **options: OptionValue,
) -> dict[str, OptionValue]:  # fmt: skip
    """Return the arguments of the functions for the options that both commands share."""
    if text is not None and what is not None:
        raise OptionError("--text and --class both say what to find; give one of them.")
    return options | {
        "objects": None if not objects else objects[0] if len(objects) == 1 else list(objects),
        "what": what if text is None else text.split(","),
        "finder": chosen_finder(finder, detector, class_names, layout),
        "resolution": parse_resolution(resolution),
        "scales": parse_scales(scales),
        "bands": parse_bands(bands),
        "stretch": parse_stretch(stretch),
    }
