"""The command that draws objects as a raster of labels."""

from __future__ import annotations

import click

from samgeo.cli.options import ASSETS, OVERWRITE, OptionValue, count, image_of

__all__ = ["rasterize"]


@click.command()
@click.argument("result")
@click.argument("image")
@click.argument("output")
@ASSETS
@click.option("--class-column", help="Draw the class in this column, as uint8, in place of a number for each object.")
@OVERWRITE
@click.option("--quiet", is_flag=True, help="No summary.")
def rasterize(result: str, image: str, output: str, assets: str | None, quiet: bool, **options: OptionValue) -> None:
    """Draw the objects in RESULT as a raster of labels OUTPUT (.tif) on the grid of IMAGE.

    RESULT is a vector file of polygons in any CRS, such as `samgeo segment` writes. The pixels of the object in row i, counted
    from 0, are i + 1, and 0 is nodata. Where objects overlap, the smaller one has the pixel.
    """
    from samgeo.geo import rasterize as run

    drawn = run(result, image_of((image,), assets), output, **options)
    if not quiet:
        click.echo(f"{count(drawn, 'object')} in {output}", err=True)
