"""The commands that write images: show draws objects over an image, remove and compress edit rasters; style, and demo."""

from __future__ import annotations

import math
from pathlib import Path

import click

from samgeo.cli.options import (
    ALPHA,
    ASSETS,
    BANDS,
    INVENTED,
    NODATA,
    OVERWRITE,
    QUIET,
    STRETCH,
    OptionValue,
    count,
    image_of,
    parse_bands,
    parse_stretch,
)

__all__ = ["compress", "demo", "remove", "show", "style"]

COLUMN_HELP = "Column of RESULT that gives the colours: a colour scale for numbers, one colour for each other value."

# The value repeats a default in samgeo.editing. Importing it from there would load large libraries for every command.
GROW_PX = click.option(
    "--grow-px", type=float, default=4.0, show_default=True, help="Width in pixels by which the objects are grown."
)


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
@click.option("--column", metavar="COLUMN", show_default="one colour for each object", help=COLUMN_HELP)
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
@click.argument("result")
@click.option("--column", metavar="COLUMN", show_default="class, or score, or one outline", help=COLUMN_HELP)
@OVERWRITE
def style(result: str, **options: OptionValue) -> None:
    """Give RESULT a style, with which QGIS opens it.

    RESULT is a GeoPackage (.gpkg), such as `samgeo find` writes. A layer of a file with several layers is given as
    city.gpkg:roofs. The style is stored in the file. A style that the layer already has stays, unless --overwrite is given;
    other layers and their styles are not changed.
    """
    from samgeo.plot import style_layer

    column = style_layer(result, **options)
    about = "the same outline for all polygons" if column is None else f"colours by {column}"
    click.echo(f"Gave {result} a style: {about}.", err=True)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("demo"))
@click.option("--size", type=int, default=1024, show_default=True, help="Side of the town in pixels.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the town: another number gives another town.")
@QUIET
def demo(folder: Path, size: int, seed: int, quiet: bool) -> None:
    """Find the buildings of a generated town.

    Then everything in the town is segmented, and the true buildings among both results are counted. The command writes
    town.tif, footprints.parquet, footprints.png, objects.parquet and objects.png into FOLDER, by default the folder demo. It
    needs no data and no network.
    """
    from samgeo.testing import run_demo

    made = run_demo(folder, size=size, seed=seed, progress=not quiet)
    if not quiet:
        click.echo(made.summary())


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

    options |= {"dates": list(options["dates"]), "progress": not quiet}
    done = run(image_of((image,), assets), objects, output, **options)
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

    done = run(image_of((image,), assets), objects, output, progress=not quiet, **options)
    if not quiet:
        click.echo(
            f"{done.bytes:,} bytes in {output}, {done.share:.0%} of the whole image in this codec; PSNR "
            f"{_decibels(done.psnr_inside)} in {count(done.objects, 'object')} (whole image: "
            f"{_decibels(done.plain_psnr_inside)}), {_decibels(done.psnr_outside)} outside",
            err=True,
        )


def _decibels(ratio: float) -> str:
    return "unknown" if math.isnan(ratio) else "exact" if math.isinf(ratio) else f"{ratio:.1f} dB"
