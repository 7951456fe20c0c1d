"""The command find, which finds the objects of one kind."""

from __future__ import annotations

import click

from samgeo.cli.options import (
    ALPHA,
    AOI_MODE,
    BANDS,
    CACHE,
    DEVICE,
    DTYPE,
    FINDER,
    LAYER,
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

__all__ = ["find"]


@click.command()
@imaging
@click.argument("output")
@click.option("--class", "what", metavar="CLASS", default="building", show_default=True, help="Class of a bundled finder.")
@FINDER
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
@cleaning
@click.option("--min-area", type=float, default=0.0, show_default=True, help=MIN_AREA_HELP)
@click.option("--max-area", type=float, default=float("inf"), show_default=True, help=MAX_AREA_HELP)
@click.option("--aoi", metavar="FILE", help="Vector file with the area in which objects are found, by their centre.")
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
    image: OptionValue, output: str, *, what: str, resolution: str, bands: str | None, stretch: str | None, quiet: bool,
    **options: OptionValue,
) -> None:  # fmt: skip
    """Find the objects of one kind in IMAGE and write them to OUTPUT.

    IMAGE and OUTPUT are as in `samgeo segment`. Each object has a class and a score, which is the estimated probability that
    its outline is right. A stopped run is continued by the same command.
    """
    from samgeo.finding import find as run

    options |= {"bands": parse_bands(bands), "stretch": parse_stretch(stretch), "progress": not quiet}
    found = run(image, what, output, resolution=parse_resolution(resolution), **options)
    if not quiet:
        made = found.attrs["samgeo"]
        chosen = f", with a score of {made['threshold']['min_score']:.2f} or more" if "threshold" in made else ""
        click.echo(f"{count(len(found), 'object')} in {output}, found at zoom {made['options']['zoom']}{chosen}", err=True)
