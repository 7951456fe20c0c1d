"""Options that several commands share, parsers of their values, and formatting of counts."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeAlias

import click

__all__ = [
    "ALPHA",
    "ASSETS",
    "CACHE",
    "LAYER",
    "MASK_NMS",
    "NODATA",
    "OVERWRITE",
    "Y_UP",
    "IouOrOff",
    "OptionValue",
    "cleaning",
    "count",
    "image_of",
    "imaging",
    "looking",
    "parse_bands",
    "parse_scales",
    "parse_stretch",
    "scheduling",
]

#: The value of an option or an argument of the command line, in the type that click or this module converted its text to. The
#: options of a command have different types, and the command passes most of them on together.
OptionValue: TypeAlias = Any

NODATA = click.option("--nodata", help="The value without data, where the file does not say it; none where it says it wrongly.")
ALPHA = click.option("--alpha", help="The band of transparency, where the file does not say it; none where it says it wrongly.")

# Options of every command that applies a model to a raster.
_LOOKING = (
    click.option("--model", default="tiny", show_default=True, help="A name of `samgeo models list`, or a checkpoint file."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps."),
    click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True),
    click.option("--bands", help="One or three bands by number or name, such as 5,3,2 or red,green,blue."),
    click.option("--stretch", help="Values that become black and white, such as 0,3000.  [default: 2nd to 98th percentile]"),
    NODATA,
    ALPHA,
    click.option("--window", type=int, help="Side of a window in pixels.  [default: the model's input]"),
    click.option("--overlap", type=int, help="Pixels that neighbouring windows share.  [default: a quarter of the window]"),
)


# These values repeat those in samgeo.models.registry and samgeo.segmentation.masks.cleaning. Importing them from there would
# load large libraries for every command.
MASK_NMS, MIN_PART, MIN_HOLE = 0.8, 5.0, 5.0

# Options of every command that makes outlines of masks.
_CLEANING = (
    click.option(
        "--min-part",
        type=float,
        default=MIN_PART,
        show_default=True,
        help="Drop smaller parts of objects, in pixels; 0: none.",
    ),
    click.option("--min-hole", type=float, default=MIN_HOLE, show_default=True, help="Fill smaller holes, in pixels; 0: none."),
)

# Options of every command that gives tasks to workers.
_SCHEDULING = (
    click.option("--scheduler", help="threads, processes, synchronous, or the address of a Dask scheduler."),
    click.option("--workers", type=int, help="Threads or processes of a local scheduler.  [default: one for each core]"),
)

CACHE = click.option("--cache", type=click.Path(path_type=Path), help="A store of `samgeo encode`, read and added to.")

OVERWRITE = click.option(
    "--overwrite/--no-overwrite", default=False, show_default=True, help="Whether to replace an existing output."
)

ASSETS = click.option("--assets", help="Of STAC Items: the raster by its key, or those that are its bands: red,green,blue.")

LAYER = click.option("--layer", help="Name of the layer in a GeoPackage; its other layers stay.  [default: OUTPUT's name]")

Y_UP = click.option(
    "--y-up", is_flag=True, help="Of a raster without georeference: write y running up, as QGIS draws such images."
)


def imaging(command: Callable[..., None]) -> Callable[..., None]:
    """Add the argument IMAGE, which may be several paths, to a command; the command gets it as its parameter ``image``."""

    @click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
    @ASSETS
    @wraps(command)
    def opened(images: tuple[str, ...], assets: str | None, **options: OptionValue) -> None:
        command(image=image_of(images, assets), **options)

    return opened


def image_of(images: tuple[str, ...], assets: str | None) -> OptionValue:
    """Return the source of an image: one path, several paths that form one raster, or the chosen assets of STAC Items."""
    from samgeo.geo.raster.sources import open_source

    image = images[0] if len(images) == 1 else list(images)
    return image if assets is None else open_source(image, [key.strip() for key in assets.split(",")])


def looking(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options for the model, the bands and the windows to a command."""
    for option in reversed(_LOOKING):
        command = option(command)
    return command


def cleaning(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that remove small parts and small holes from outlines to a command."""
    for option in reversed(_CLEANING):
        command = option(command)
    return command


def scheduling(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose where tasks are computed to a command."""
    for option in reversed(_SCHEDULING):
        command = option(command)
    return command


class IouOrOff(click.ParamType[float | None]):
    """Type of an option whose value is an IoU or ``off``."""

    name = "IOU|off"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        """Return the number, or None for ``off``."""
        if isinstance(value, str) and value.strip().lower() == "off":
            return None
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number from 0 to 1 nor off.", param, ctx)


def parse_bands(text: str | None) -> list[int | str] | None:
    """Parse a list of bands, given by number or name and separated by commas."""
    if text is None:
        return None
    return [int(part) if part.strip().lstrip("-").isdigit() else part.strip() for part in text.split(",")]


def parse_scales(text: str) -> tuple[int, ...]:
    """Parse whole numbers that are separated by commas."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not whole numbers such as 1,2,4.", param_hint="--scales") from None


def parse_stretch(text: str | None) -> tuple[float, float] | None:
    """Parse the two values that become black and white, separated by a comma."""
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not two numbers such as 0,3000.", param_hint="--stretch") from None
    return low, high


def count(number: int, noun: str) -> str:
    """Format a number with a noun, in the plural unless the number is 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
