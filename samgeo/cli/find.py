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
    LAYER,
    MAX_AREA_HELP,
    MIN_AREA_HELP,
    MODEL,
    NODATA,
    OVERWRITE,
    QUIET,
    SCHEDULER,
    STRETCH,
    WORKERS,
    Y_UP,
    OptionValue,
    cleaning,
    count,
    imaging,
    parse_bands,
    parse_stretch,
)

__all__ = ["find"]


@click.command()
@imaging
@click.argument("output")
@click.option("--class", "what", metavar="CLASS", default="building", show_default=True, help="Class of a bundled finder.")
@click.option("--finder", metavar="FILE", help="File of a finder for your own classes, as `samgeo train` writes it.")
@click.option(
    "--resolution",
    metavar="METRES",
    default="auto",
    show_default=True,
    help="Side of a pixel on the ground in metres, from which the zoom follows; auto takes it from the image.",
)
@click.option(
    "--zoom",
    type=float,
    show_default="as the resolution needs",
    help="Number of pixels of the model's input for each pixel of the image.",
)
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
    help="Whether objects that cross the edge of the area are kept whole or clipped to it.",
)
@SCHEDULER
@WORKERS
@CACHE
@click.option("--run-dir", type=click.Path(path_type=Path), metavar="FOLDER", help="Folder of the run, which is kept.")
@click.option("--retry-failed", is_flag=True, help="Try windows again that failed before in this run.")
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

    try:
        ground = resolution if resolution == "auto" else float(resolution)
    except ValueError:
        raise click.BadParameter(f"{resolution!r} is neither auto nor a number.", param_hint="--resolution") from None
    options |= {"bands": parse_bands(bands), "stretch": parse_stretch(stretch), "progress": not quiet}
    found = run(image, what, output, resolution=ground, **options)
    if not quiet:
        zoom = found.attrs["samgeo"]["options"]["zoom"]
        click.echo(f"{count(len(found), 'object')} in {output}, found at zoom {zoom}", err=True)
