"""The command that selects objects by examples."""

from __future__ import annotations

import click

from samgeo.cli.options import CACHE, LAYER, OVERWRITE, Y_UP, OptionValue, count, imaging, looking, parse_bands, parse_stretch

__all__ = ["footprints"]


@click.command()
@imaging
@click.argument("output")
@click.option("--examples", required=True, help="A vector file of a few objects; a column label says 1 accepted, 0 rejected.")
@click.option("--candidates", help="What to choose from.  [default: everything in IMAGE]")
@looking
@click.option("--min-score", type=float, default=0.5, show_default=True, help="Drop what is less like the accepted examples.")
@click.option("--max-overlap", type=float, default=0.3, show_default=True, help="Share of a part that its whole may cover.")
@click.option("--min-area", "min_area_m2", type=float, help="Drop smaller objects, in square metres.")
@click.option("--max-area", "max_area_m2", type=float, help="Drop larger objects, in square metres.")
@click.option("--dsm", help="A raster of surface heights; of heights above the ground without --dtm.")
@click.option("--dtm", help="A raster of terrain heights.")
@click.option("--min-height", "min_height_m", type=float, default=2.0, show_default=True, help="Drop lower objects, in metres.")
@click.option("--regular/--no-regular", default=True, show_default=True, help="Whether to regularise the outlines.")
@CACHE
@OVERWRITE
@LAYER
@Y_UP
@click.option("--quiet", is_flag=True, help="No summary.")
def footprints(
    image: OptionValue, output: str, bands: str | None, stretch: str | None, quiet: bool, **options: OptionValue
) -> None:
    """Extract the buildings of IMAGE into OUTPUT, given a few of them.

    Everything is segmented, what is like the accepted examples and unlike the rejected ones is selected, filtered by area and
    height, and regularised. One layer of a vector file with several is named after a colon: city.gpkg:roofs. It does for other
    things than buildings too, with --no-regular.
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
            click.echo(f"{count(made['unmatched'], 'example')} without a candidate of IoU 0.5 or more went unused", err=True)
