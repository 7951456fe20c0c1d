"""The command footprints, which extracts buildings by examples."""

from __future__ import annotations

import click

from samgeo.cli.options import (
    CACHE,
    LAYER,
    MAX_AREA_HELP,
    MIN_AREA_HELP,
    OVERWRITE,
    QUIET,
    Y_UP,
    OptionValue,
    count,
    imaging,
    looking,
    parse_bands,
    parse_stretch,
)

__all__ = ["footprints"]


@click.command()
@imaging
@click.argument("output")
@click.option(
    "--examples",
    required=True,
    metavar="FILE",
    help="Vector file of a few examples; a column label may say 1 for accepted and 0 for rejected ones.",
)
@click.option(
    "--candidates",
    metavar="FILE",
    show_default="all objects in IMAGE",
    help="Vector file of the objects to choose from, such as `samgeo segment` writes.",
)
@looking
@click.option(
    "--min-score",
    type=float,
    default=0.5,
    show_default=True,
    help="Drop objects with a lower score, from 0 to 1, of similarity to the accepted examples.",
)
@click.option(
    "--max-overlap",
    type=float,
    default=0.3,
    show_default=True,
    help="Of two objects, keep only the better one if the larger covers more than this share of the smaller.",
)
@click.option("--min-area", "min_area_m2", type=float, show_default="no limit", help=MIN_AREA_HELP)
@click.option("--max-area", "max_area_m2", type=float, show_default="no limit", help=MAX_AREA_HELP)
@click.option("--dsm", metavar="FILE", help="Raster of surface heights; of heights above the ground if there is no --dtm.")
@click.option("--dtm", metavar="FILE", help="Raster of terrain heights; needs --dsm.")
@click.option(
    "--min-height",
    "min_height_m",
    type=float,
    default=2.0,
    show_default=True,
    help="Drop objects with a lower median height above the ground, in metres; needs --dsm.",
)
@click.option("--regular/--no-regular", default=True, show_default=True, help="Whether to regularize the outlines.")
@CACHE
@OVERWRITE
@LAYER
@Y_UP
@QUIET
def footprints(
    image: OptionValue, output: str, bands: str | None, stretch: str | None, quiet: bool, **options: OptionValue
) -> None:
    """Extract building footprints from IMAGE by examples.

    All objects in IMAGE are segmented. Those that are similar to the accepted examples and not to the rejected ones are
    selected, filtered by area and height, regularized, and written to OUTPUT. With --no-regular the command is also useful for
    objects other than buildings.

    Vector files may be in any CRS. A layer of a file with several layers is given as city.gpkg:roofs.
    """
    from samgeo.buildings import footprints as run

    result = run(image, output, bands=parse_bands(bands), stretch=parse_stretch(stretch), **options)
    if not quiet:
        made = result.attrs["samgeo"]["select"]
        judged = f"{made['accepted']} accepted and {made['rejected']} rejected examples"
        click.echo(
            f"{count(len(result), 'footprint')} of {count(made['candidates'], 'candidate')} in {output}, by {judged}", err=True
        )
        if made["unmatched"]:
            click.echo(f"{count(made['unmatched'], 'example')} without a candidate of IoU 0.5 or more, not used", err=True)
