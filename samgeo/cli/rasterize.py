"""The command rasterize, which draws objects as a raster of labels."""

from __future__ import annotations

import click

from samgeo.cli.options import ASSETS, OVERWRITE, QUIET, OptionValue, count, image_of

__all__ = ["rasterize"]


@click.command()
@click.argument("result")
@click.argument("image")
@click.argument("output")
@ASSETS
@click.option(
    "--class-column",
    metavar="COLUMN",
    show_default="one number for each object",
    help="Column of RESULT with the class of each object; the classes are drawn as uint8.",
)
@OVERWRITE
@QUIET
def rasterize(result: str, image: str, output: str, assets: str | None, quiet: bool, **options: OptionValue) -> None:
    """Draw the objects in RESULT as a raster of labels.

    RESULT is a vector file of polygons in any CRS, such as `samgeo segment` writes. A layer of a file with several layers is
    given as city.gpkg:roofs.

    OUTPUT is a GeoTIFF (.tif) on the grid of IMAGE. The object in row i of RESULT, counted from 0, has the value i + 1; 0 is
    nodata. Where objects overlap, the smaller one is drawn.
    """
    from samgeo.geo import rasterize as run

    drawn = run(result, image_of((image,), assets), output, **options)
    if not quiet:
        click.echo(f"{count(drawn, 'object')} in {output}", err=True)
