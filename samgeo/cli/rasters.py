"""The commands that write rasters: rasterize, remove and compress."""

from __future__ import annotations

import math

import click

from samgeo.cli.options import ALPHA, ASSETS, NODATA, OVERWRITE, QUIET, OptionValue, count, image_of

__all__ = ["compress", "rasterize", "remove"]

# The value repeats a default in samgeo.editing. Importing it from there would load large libraries for every command.
GROW_PX = click.option(
    "--grow-px", type=float, default=4.0, show_default=True, help="Width in pixels by which the objects are grown."
)


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


@click.command()
@click.argument("image")
@click.argument("objects")
@click.argument("output")
@click.option(
    "--date",
    "dates",
    multiple=True,
    metavar="IMAGE",
    show_default="the pixels around each object",
    help="Raster of another date, from which the pixels under objects are taken; may be given several times.",
)
@GROW_PX
@ASSETS
@NODATA
@ALPHA
@OVERWRITE
@QUIET
def remove(image: str, objects: str, output: str, assets: str | None, quiet: bool, **options: OptionValue) -> None:
    """Remove the objects in OBJECTS from IMAGE.

    The pixels under them are filled from other dates, or from the pixels around them.

    OBJECTS is a vector file of polygons in any CRS, such as vehicles or clouds.

    OUTPUT is a GeoTIFF (.tif) like IMAGE with one band more, which is 255 where pixels are invented. Other commands leave these
    pixels out, unless --invented data is given.
    """
    from samgeo.editing import remove as run

    done = run(image_of((image,), assets), objects, output, dates=list(options.pop("dates")), **options)
    if not quiet:
        click.echo(
            f"{count(done.objects, 'object')} removed; {count(done.pixels, 'pixel')} invented in {output}, {done.from_dates:,} "
            f"from other dates and {done.from_neighbours:,} from neighbours",
            err=True,
        )


@click.command()
@click.argument("image")
@click.argument("objects")
@click.argument("output")
@click.option("--factor", type=int, default=8, show_default=True, help="Side in pixels of the squares outside the objects.")
@click.option(
    "--codec",
    type=click.Choice(["jpeg", "webp", "deflate", "zstd", "lzw"]),
    default="jpeg",
    show_default=True,
    help="Codec of the file; jpeg and webp are lossy.",
)
@click.option("--quality", type=int, show_default="90", help="Quality of a lossy codec, from 1 to 100.")
@GROW_PX
@click.option(
    "--feather-px", type=float, default=8.0, show_default=True, help="Width in pixels of the transition around the objects."
)
@click.option(
    "--smooth/--no-smooth",
    default=True,
    show_default=True,
    help="Whether the squares are interpolated; without it, the file is smaller and looks like tiles outside the objects.",
)
@ASSETS
@NODATA
@ALPHA
@OVERWRITE
@QUIET
def compress(image: str, objects: str, output: str, assets: str | None, quiet: bool, **options: OptionValue) -> None:
    """Compress IMAGE, but keep the objects in OBJECTS.

    The objects keep their pixels, and the rest becomes coarser.

    OBJECTS is a vector file of polygons in any CRS.

    OUTPUT is a GeoTIFF (.tif) that any reader of the codec opens. The file .roi.tif beside it is 1 where pixels are exact.
    """
    from samgeo.editing import compress as run

    done = run(image_of((image,), assets), objects, output, **options)
    if not quiet:
        click.echo(
            f"{done.bytes:,} bytes in {output}, {done.share:.0%} of the whole image in this codec; PSNR "
            f"{_decibels(done.psnr_inside)} in {count(done.objects, 'object')} (whole image: "
            f"{_decibels(done.plain_psnr_inside)}), {_decibels(done.psnr_outside)} outside",
            err=True,
        )


def _decibels(ratio: float) -> str:
    return "unknown" if math.isnan(ratio) else "exact" if math.isinf(ratio) else f"{ratio:.1f} dB"
