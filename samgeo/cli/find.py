"""The command find, which finds the objects of one kind."""

from __future__ import annotations

import click
from click.core import ParameterSource

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
@click.option("--text", metavar="PHRASES", help="What a text finder looks for: phrases, separated by commas.")
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
    image: OptionValue, output: str, *, what: str, text: str | None, finder: str | None, resolution: str, bands: str | None,
    stretch: str | None, quiet: bool, **options: OptionValue,
) -> None:  # fmt: skip
    """Find the objects of one kind in IMAGE and write them to OUTPUT.

    IMAGE and OUTPUT are as in `samgeo segment`. Each object has a class and a score, which is the estimated probability that
    its outline is right. A stopped run is continued by the same command.
    """
    from samgeo.finding import find as run

    options |= {"bands": parse_bands(bands), "stretch": parse_stretch(stretch), "progress": not quiet}
    sought = _sought(what, text, finder)
    found = run(image, sought, output, finder=finder, resolution=parse_resolution(resolution), **options)
    if not quiet:
        zoom = found.attrs["samgeo"]["options"]["zoom"]
        click.echo(f"{count(len(found), 'object')} in {output}, found at zoom {zoom}", err=True)


def _sought(what: str, text: str | None, finder: str | None) -> str | list[str] | None:
    """Return what is looked for: the phrases of ``--text`` as a list, or a class; None if a finder brings its own."""
    chosen = click.get_current_context().get_parameter_source("what") is not ParameterSource.DEFAULT
    if text is not None:
        if chosen:
            raise click.UsageError("--text and --class both say what to find; give one of them.")
        return text.split(",")
    return what if chosen or finder is None else None
