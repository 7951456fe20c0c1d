"""The command line: each command reads its arguments and calls one public function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from samgeo import __version__
from samgeo.errors import SamgeoError

__all__ = ["main"]

FORMATS = ".parquet, .gpkg, .fgb or .geojson"


class _Group(click.Group):
    """Commands whose `SamgeoError`s become one message on standard error and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SamgeoError as error:
            raise click.ClickException(str(error)) from error


# What every command that looks at a raster with a model takes.
_LOOKING = (
    click.option("--model", default="tiny", show_default=True, help="A name of `samgeo models list`, or a checkpoint file."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps."),
    click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True),
    click.option("--bands", help="One or three bands by number or name, such as 5,3,2 or red,green,blue."),
    click.option("--stretch", help="Values that become black and white, such as 0,3000.  [default: 2nd to 98th percentile]"),
    click.option("--nodata", help="The value without data, where the file does not say it; none, where it says it wrongly."),
    click.option("--window", type=int, help="Side of a window in pixels.  [default: the model's input]"),
    click.option("--overlap", type=int, help="Pixels that neighbouring windows share.  [default: a quarter of the window]"),
)


def _looking(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_LOOKING):
        command = option(command)
    return command


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="samgeo")
def main() -> None:
    """Objects out of overhead imagery of any size.

    Exit codes: 0 done, 1 an input could not be used or the work failed (nothing is left half written), 2 wrong usage.
    """


@main.command()
@click.argument("image")
@click.argument("output", type=click.Path(path_type=Path))
@_looking
@click.option("--points-per-side", type=int, help="Prompts along a window's side.  [default: the model's]")
@click.option("--pred-iou", type=float, help="Drop masks whose predicted IoU is not above this.  [default: the model's]")
@click.option("--stability", type=float, help="Drop masks less stable than this.  [default: the model's]")
@click.option("--min-area", type=float, default=0.0, help="Drop smaller objects, in square metres.")
@click.option("--max-area", type=float, default=float("inf"), help="Drop larger objects, in square metres.")
@click.option("--aoi", type=click.Path(path_type=Path), help="A vector file: segment inside its polygons only.")
@click.option("--scheduler", help="threads, processes, synchronous, or the address of a Dask scheduler.")
@click.option("--workers", type=int, help="Threads or processes of a local scheduler.  [default: 2]")
@click.option("--cache", type=click.Path(path_type=Path), help="A store of `samgeo encode`, read and added to.")
@click.option("--overwrite/--no-overwrite", default=False, show_default=True, help="Whether to replace an existing output.")
@click.option("--quiet", is_flag=True, help="No progress bar and no summary.")
def segment(image: str, output: Path, bands: str | None, stretch: str | None, quiet: bool, **options: Any) -> None:
    """Segment everything in IMAGE into georeferenced polygons in OUTPUT.

    IMAGE is a raster of any kind and size, a path or a URL. The suffix of OUTPUT chooses the format: .parquet, .gpkg, .fgb
    or .geojson.
    """
    from samgeo.segment.pipeline import segment as run

    result = run(image, output, bands=_bands(bands), stretch=_stretch(stretch), progress=not quiet, **options)
    if not quiet:
        without_crs = "" if result.crs is not None else "; the raster has no CRS: areas are in pixels"
        click.echo(f"{_count(len(result), 'object')} in {output}{without_crs}", err=True)


@main.command()
@click.argument("image")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--points", type=click.Path(path_type=Path), help="A vector file: a click each; see below.")
@click.option("--boxes", type=click.Path(path_type=Path), help="A vector file: the box around each feature.")
@click.option("--polygons", type=click.Path(path_type=Path), help="A vector file: a rough outline each.")
@_looking
@click.option("--refine", type=int, default=0, show_default=True, help="Times to ask again, from the answer before.")
@click.option("--cache", type=click.Path(path_type=Path), help="A store of `samgeo encode`, read and added to.")
@click.option("--overwrite/--no-overwrite", default=False, show_default=True, help="Whether to replace an existing output.")
@click.option("--quiet", is_flag=True, help="No summary.")
def predict(image: str, output: Path, bands: str | None, stretch: str | None, quiet: bool, **options: Any) -> None:
    """Segment what is prompted in IMAGE into georeferenced polygons in OUTPUT, a row a prompt.

    Prompts may be in any CRS. A column label of points says 1 for foreground and 0 for background, points with the same value
    in a column prompt are one prompt, and several files go together row by row. Where nothing is found the geometry is empty
    and the column reason says why.
    """
    from samgeo.segment.prompted import predict as run

    result = run(image, output, bands=_bands(bands), stretch=_stretch(stretch), **options)
    if not quiet:
        found = int(result.reason.isna().sum())
        click.echo(f"{_count(found, 'object')} for {_count(len(result), 'prompt')} in {output}", err=True)


@main.command()
@click.argument("image")
@click.argument("store", type=click.Path(path_type=Path))
@_looking
@click.option("--scheduler", help="threads, processes, synchronous, or the address of a Dask scheduler.")
@click.option("--workers", type=int, help="Threads or processes of a local scheduler.  [default: 2]")
@click.option("--overwrite/--no-overwrite", default=False, show_default=True, help="Whether to start the store anew.")
@click.option("--quiet", is_flag=True, help="No progress bar and no summary.")
def encode(image: str, store: Path, bands: str | None, stretch: str | None, quiet: bool, **options: Any) -> None:
    """Encode IMAGE ahead of time into STORE, a Zarr folder that predict and segment take as --cache.

    A store that is there is continued.
    """
    from samgeo.segment.encoding import encode as run

    done = run(image, store, bands=_bands(bands), stretch=_stretch(stretch), progress=not quiet, **options)
    if not quiet:
        there = f"{done.kept:,} were there, {done.empty:,} have no data"
        click.echo(f"{_count(done.encoded, 'window')} of {done.windows:,} encoded into {store}: {there}", err=True)


@main.group()
def models() -> None:
    """List, fetch and find the models that samgeo knows by name."""


@models.command("list")
def models_list() -> None:
    """List the models: name, size, licence, whether the weights are here."""
    from samgeo.sam.registry import models as known

    for info in known():
        click.echo(info.describe())


@models.command("fetch")
@click.argument("name")
def models_fetch(name: str) -> None:
    """Download the weights of NAME, verify them, and print where they are."""
    from samgeo.sam.registry import model_path

    click.echo(model_path(name))


@models.command("path")
@click.argument("name")
def models_path(name: str) -> None:
    """Print where the weights of NAME are; fail if they are not here."""
    from samgeo.sam.registry import model_path

    click.echo(model_path(name, download=False))


@main.command()
@click.argument("image")
@click.argument("result", required=False)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The PNG to write.")
@click.option("--bands", help="One or three bands by number or name, such as 5,3,2.")
@click.option("--stretch", help="Values that become black and white, such as 0,3000.")
@click.option("--max-side", type=int, default=1600, show_default=True, help="Longer side of the picture in pixels.")
@click.option("--overwrite/--no-overwrite", default=False, show_default=True, help="Whether to replace an existing picture.")
def show(image: str, result: str | None, output: Path, bands: str | None, stretch: str | None, **options: Any) -> None:
    """Draw RESULT, a vector file, over IMAGE as a PNG: any CRS, any bit depth."""
    from samgeo.geo.raster import Raster
    from samgeo.map.display import show as draw

    draw(Raster.open(image, bands=_bands(bands), stretch=_stretch(stretch)), result, output, **options)
    click.echo(f"wrote {output}", err=True)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("demo"))
@click.option("--size", type=int, default=1024, show_default=True, help="Side of the town in pixels.")
@click.option("--seed", type=int, default=1, show_default=True, help="Which town.")
def demo(folder: Path, size: int, seed: int) -> None:
    """Generate a town, segment it, and say how many of its buildings were found.

    Writes town.tif, objects.parquet and objects.png into FOLDER. Needs no data and no network.
    """
    from samgeo.testing.demo import run_demo

    click.echo(run_demo(folder, size=size, seed=seed).summary())


def _bands(text: str | None) -> list[int | str] | None:
    if text is None:
        return None
    return [int(part) if part.strip().lstrip("-").isdigit() else part.strip() for part in text.split(",")]


def _stretch(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not two numbers such as 0,3000.", param_hint="--stretch") from error
    return low, high


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


if __name__ == "__main__":
    sys.exit(main())
