"""Commands that make polygons of a raster, and that encode it for them."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from samgeo.cli.options import (
    CACHE,
    LAYER,
    MASK_NMS,
    OVERWRITE,
    Y_UP,
    IouOrOff,
    OptionValue,
    cleaning,
    count,
    imaging,
    looking,
    parse_bands,
    parse_scales,
    parse_stretch,
    scheduling,
)
from samgeo.errors import StoppedError

if TYPE_CHECKING:
    from samgeo.segmentation import Summary

__all__ = ["encode", "predict", "segment"]

# Additional exit codes: a result in which windows failed, and, as shells report it, a process ended by signal 15.
HOLES, STOPPED = 3, 143
MOST_SHOWN = 20


@click.command()
@imaging
@click.argument("output")
@looking
@click.option("--scales", default="1", show_default=True, help="Windows so many times as large too: 1,2,4 for large objects.")
@click.option("--points-per-side", type=int, help="Prompts along a window's side.  [default: the model's]")
@click.option("--pred-iou", type=float, help="Drop masks whose predicted IoU is not above this.  [default: the model's]")
@click.option("--stability", type=float, help="Drop masks less stable than this.  [default: the model's]")
@click.option(
    "--mask-nms",
    type=IouOrOff(),
    default=MASK_NMS,
    show_default=True,
    help="Of objects whose masks have a higher IoU, only the best stays; off keeps all, as SAM does.",
)
@cleaning
@click.option("--min-area", type=float, default=0.0, help="Drop smaller objects, in square metres.")
@click.option("--max-area", type=float, default=float("inf"), help="Drop larger objects, in square metres.")
@click.option("--aoi", help="A vector file, or a layer as in city.gpkg:districts: segment inside its polygons only.")
@click.option(
    "--aoi-mode",
    type=click.Choice(["whole", "clip"]),
    default="whole",
    show_default=True,
    help="Whether objects that cross the edge of the area are kept whole or clipped to it.",
)
@scheduling
@CACHE
@click.option("--run-dir", type=click.Path(path_type=Path), help="Folder of the run, which stays.  [default: OUTPUT.run]")
@click.option("--retry-failed", is_flag=True, help="Try windows again that failed before in this run.")
@OVERWRITE
@LAYER
@Y_UP
@click.option("--profile", is_flag=True, help="Show at the end where the time went, stage by stage.")
@click.option("--quiet", is_flag=True, help="No progress bar and no summary.")
def segment(
    image: OptionValue, output: str, bands: str | None, stretch: str | None, quiet: bool, **options: OptionValue
) -> None:
    """Segment everything in IMAGE into georeferenced polygons in OUTPUT.

    IMAGE is a raster of any kind and size, a path or a URL; a STAC Item (.json); several files on one grid, the first one on
    top; or a text file (.txt) that names them, one a line. The suffix of OUTPUT chooses the format: .parquet, .gpkg, .fgb or
    .geojson; or .tif for a raster of labels, as `samgeo rasterize` draws it.

    What is done is kept in the folder OUTPUT.run until all is done: the same command goes on after a kill or a fault. Exit code
    3 says that windows failed, which are listed; 143 that SIGTERM stopped it.
    """
    from samgeo.segmentation import profiling, segment_to_file
    from samgeo.segmentation.run import stop_on_sigterm

    options |= {"bands": parse_bands(bands), "stretch": parse_stretch(stretch), "progress": not quiet}
    options["scales"] = parse_scales(options["scales"])
    watching = profiling() if options.pop("profile") else nullcontext()
    try:
        with stop_on_sigterm() as stop, watching as profile:
            done = segment_to_file(image, output, stop=stop, **options)
    except StoppedError as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(STOPPED) from None
    if not quiet:
        without_crs = "" if done.has_crs else "; the raster has no CRS: areas are in pixels"
        click.echo(f"{count(done.objects, 'object')} in {output}{without_crs}", err=True)
    if profile is not None:
        click.echo(profile.table(), err=True)
    if done.failures:
        click.echo(_tell_failures(done), err=True)
        raise click.exceptions.Exit(HOLES)


def _tell_failures(done: Summary) -> str:
    shown = [f"  {failure}" for failure in done.failures[:MOST_SHOWN]]
    if len(done.failures) > MOST_SHOWN:
        shown.append(f"  and {len(done.failures) - MOST_SHOWN:,} more: samgeo status {done.folder}")
    windows = count(len(done.failures), "window")
    head = f"{windows} of {done.windows:,} could not be segmented; the ground that is missing is in {done.holes}:"
    return "\n".join([head, *shown, "Repair the cause, and give the same command with --retry-failed."])


@click.command()
@imaging
@click.argument("output")
@click.option("--points", help="A vector file: a click each; see below.")
@click.option("--boxes", help="A vector file: the box around each feature.")
@click.option("--polygons", help="A vector file: a rough outline each.")
@looking
@click.option("--refine", type=int, default=0, show_default=True, help="Times to ask again, from the answer before.")
@cleaning
@click.option("--class-column", help="For .tif: draw the class in this column of the prompts, in place of a number for each.")
@CACHE
@OVERWRITE
@LAYER
@Y_UP
@click.option("--quiet", is_flag=True, help="No summary.")
def predict(
    image: OptionValue, output: str, bands: str | None, stretch: str | None, quiet: bool, **options: OptionValue
) -> None:
    """Segment what is prompted in IMAGE into georeferenced polygons in OUTPUT, a row a prompt.

    Prompts may be in any CRS; one layer of a file with several is named after a colon: city.gpkg:roofs. A column label of
    points says 1 for foreground and 0 for background, points with the same value in a column prompt are one prompt, and several
    files go together row by row. Where nothing is found the geometry is empty and the column reason says why.
    """
    from samgeo.segmentation import predict as run

    result = run(image, output, bands=parse_bands(bands), stretch=parse_stretch(stretch), **options)
    if not quiet:
        found = int(result.reason.isna().sum())
        click.echo(f"{count(found, 'object')} for {count(len(result), 'prompt')} in {output}", err=True)


@click.command()
@imaging
@click.argument("store", type=click.Path(path_type=Path))
@looking
@scheduling
@click.option("--overwrite/--no-overwrite", default=False, show_default=True, help="Whether to start the store anew.")
@click.option("--verify", is_flag=True, help="Read what is there, and encode what is damaged again.")
@click.option("--quiet", is_flag=True, help="No progress bar and no summary.")
def encode(
    image: OptionValue, store: Path, bands: str | None, stretch: str | None, quiet: bool, **options: OptionValue
) -> None:
    """Encode IMAGE ahead of time into STORE, a Zarr folder that predict and segment take as --cache.

    A store that is there is continued.
    """
    from samgeo.segmentation import encode as run

    done = run(image, store, bands=parse_bands(bands), stretch=parse_stretch(stretch), progress=not quiet, **options)
    if not quiet:
        there = f"{done.kept:,} were there, {done.empty:,} have no data"
        mended = f"; {done.mended:,} of them again, as their files were damaged" if done.mended else ""
        click.echo(f"{count(done.encoded, 'window')} of {done.windows:,} encoded into {store}: {there}{mended}", err=True)
