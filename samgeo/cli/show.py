"""Commands that draw a result over its raster, and that demonstrate a segmentation on a generated town."""

from __future__ import annotations

from pathlib import Path

import click

from samgeo.cli.options import ALPHA, ASSETS, NODATA, OptionValue, image_of, parse_bands, parse_stretch

__all__ = ["demo", "show"]


@click.command()
@click.argument("image")
@click.argument("result", required=False)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The PNG to write.")
@ASSETS
@click.option("--bands", help="One or three bands by number or name, such as 5,3,2.")
@click.option("--stretch", help="Values that become black and white, such as 0,3000.")
@NODATA
@ALPHA
@click.option("--max-side", type=int, default=1600, show_default=True, help="Longer side of the picture in pixels.")
@click.option("--overwrite/--no-overwrite", default=False, show_default=True, help="Whether to replace an existing picture.")
def show(image: str, result: str | None, output: Path, assets: str | None, **options: OptionValue) -> None:
    """Draw RESULT, a vector file or a layer as in city.gpkg:roofs, over IMAGE as a PNG: any CRS, any bit depth.

    IMAGE is a raster, a STAC Item, or a text file that names many rasters, as for `samgeo segment`.
    """
    from samgeo.plot import show as draw

    options |= {"bands": parse_bands(options["bands"]), "stretch": parse_stretch(options["stretch"])}
    draw(image_of((image,), assets), result, output, **options)
    click.echo(f"wrote {output}", err=True)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("demo"))
@click.option("--size", type=int, default=1024, show_default=True, help="Side of the town in pixels.")
@click.option("--seed", type=int, default=1, show_default=True, help="Which town.")
def demo(folder: Path, size: int, seed: int) -> None:
    """Generate a town, segment it, and say how many of its buildings were found.

    Writes town.tif, objects.parquet and objects.png into FOLDER. Needs no data and no network.
    """
    from samgeo.testing import run_demo

    click.echo(run_demo(folder, size=size, seed=seed).summary())
