"""The command find, which finds the objects of one kind."""

from __future__ import annotations

from pathlib import Path

import click

from samgeo.cli.options import (
    ALPHA,
    BANDS,
    CACHE,
    DEVICE,
    DTYPE,
    FINDER,
    LAYER,
    MAX_AREA_HELP,
    MIN_AREA_HELP,
    MODEL,
    NODATA,
    OVERWRITE,
    QUIET,
    RESOLUTION,
    SCHEDULER,
    STRETCH,
    WORKERS,
    Y_UP,
    ZOOM,
    OptionValue,
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
    type=float,
    show_default="stored with the finder",
    help="Drop objects with a lower score, from 0 to 1.",
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
@click.option(
    "--aoi-mode",
    type=click.Choice(["whole", "clip"]),
    default="whole",
    show_default=True,
    help="Whether objects that cross the edge of the area of interest are kept whole or clipped to it.",
)
@SCHEDULER
@WORKERS
@CACHE
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    show_default="OUTPUT.run, removed at the end",
    help="Folder that keeps finished work, so that the run can be continued; a folder given here is not removed.",
)
@click.option("--retry-failed", is_flag=True, help="Try windows again that failed earlier in this run.")
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
        zoom = found.attrs["samgeo"]["options"]["zoom"]
        click.echo(f"{count(len(found), 'object')} in {output}, found at zoom {zoom}", err=True)
