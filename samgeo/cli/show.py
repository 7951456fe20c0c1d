"""The commands show, which draws objects over an image, and demo, which finds the objects of a generated town."""

from __future__ import annotations

from pathlib import Path

import click

from samgeo.cli.options import (
    ALPHA,
    ASSETS,
    BANDS,
    INVENTED,
    NODATA,
    OVERWRITE,
    STRETCH,
    OptionValue,
    image_of,
    parse_bands,
    parse_stretch,
)

__all__ = ["demo", "show"]


@click.command()
@click.argument("image")
@click.argument("result", required=False)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE", help="PNG file to write.")
@ASSETS
@BANDS
@STRETCH
@NODATA
@ALPHA
@INVENTED
@click.option(
    "--max-side",
    type=int,
    default=1600,
    show_default=True,
    help="Longer side of the picture in pixels; a smaller image keeps its size.",
)
@click.option(
    "--column",
    metavar="COLUMN",
    show_default="one colour for each object",
    help="Column of RESULT that gives the colours: a colour scale for numbers, one colour for each other value.",
)
@click.option("--fill/--no-fill", default=True, show_default=True, help="Whether to tint the polygons.")
@click.option("--outline/--no-outline", default=True, show_default=True, help="Whether to draw the edges of the polygons.")
@OVERWRITE
def show(image: str, result: str | None, output: Path, assets: str | None, **options: OptionValue) -> None:
    """Draw IMAGE, with the objects in RESULT, as a picture.

    IMAGE is a raster, a STAC Item, or a text file that names several rasters, as for `samgeo segment`.

    RESULT is a vector file of polygons in any CRS, such as `samgeo segment` writes. A layer of a file with several layers is
    given as city.gpkg:roofs. Without RESULT, only the image is drawn.
    """
    from samgeo.plot import show as draw

    options |= {"bands": parse_bands(options["bands"]), "stretch": parse_stretch(options["stretch"])}
    draw(image_of((image,), assets), result, output, **options)
    click.echo(f"Wrote {output}.", err=True)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("demo"))
@click.option("--size", type=int, default=1024, show_default=True, help="Side of the town in pixels.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the town: another number gives another town.")
def demo(folder: Path, size: int, seed: int) -> None:
    """Find the buildings of a generated town.

    Then everything in the town is segmented, and the true buildings among both results are counted. The command writes
    town.tif, footprints.parquet, footprints.png, objects.parquet and objects.png into FOLDER, by default the folder demo. It
    needs no data and no network.
    """
    from samgeo.testing import run_demo

    click.echo(run_demo(folder, size=size, seed=seed).summary())
