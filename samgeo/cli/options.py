"""Options that several commands share, parsers of their values, and formatting of counts.

The help text of a shared option is written here once, so that it is the same for all commands.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeAlias

import click

__all__ = [
    "ALPHA",
    "AOI_MODE",
    "ASSETS",
    "BANDS",
    "CACHE",
    "CLASS_HELP",
    "CLASS_NAMES",
    "DATA",
    "DETECTOR",
    "DEVICE",
    "FINDER",
    "INVENTED",
    "LAYER",
    "LAYOUT",
    "MASK_NMS",
    "MAX_AREA_HELP",
    "MIN_AREA_HELP",
    "MIN_SCORE_HELP",
    "NODATA",
    "OVERWRITE",
    "POINTS_PER_SIDE",
    "PRED_IOU",
    "PROMPT_SCALES",
    "PROMPT_ZOOM",
    "QUIET",
    "RESOLUTION",
    "RETRY_FAILED",
    "RUN_DIR",
    "SCALES",
    "SCHEDULER",
    "SCREEN_POINTS",
    "STABILITY",
    "STRETCH",
    "WINDOW_ZOOM",
    "WORKERS",
    "Y_UP",
    "ZOOM",
    "IouOrOff",
    "OptionValue",
    "ScoreOrAuto",
    "adding",
    "cleaning",
    "count",
    "image_of",
    "imaging",
    "looking",
    "parse_bands",
    "parse_prompt_scales",
    "parse_resolution",
    "parse_scales",
    "parse_stretch",
    "parse_zoom",
]

#: The value of an option or an argument of the command line, in the type that click or this module converted its text to. The
#: options of a command have different types, and the command passes most of them on together.
OptionValue: TypeAlias = Any

ASSETS = click.option(
    "--assets",
    metavar="KEYS",
    show_default="the visual asset, else the only data asset, else the only raster",
    help="Which assets of STAC Items to read: the key of one, or the keys of its bands, such as red,green,blue.",
)
MODEL = click.option(
    "--model",
    metavar="MODEL",
    default="tiny",
    show_default=True,
    help="Model: a name from `samgeo models list`, a checkpoint file, or hf://OWNER/NAME.",
)
DEVICE = click.option(
    "--device",
    metavar="DEVICE",
    default="auto",
    show_default=True,
    help="Device that runs the model: auto, cpu, cuda, cuda:N or mps.",
)
DTYPE = click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="Number type in which the model computes.",
)
BANDS = click.option(
    "--bands",
    metavar="BANDS",
    show_default="red, green and blue",
    help="One or three bands of the image, by number from 1 or by name, such as 5,3,2 or red,green,blue.",
)
STRETCH = click.option(
    "--stretch",
    metavar="LOW,HIGH",
    show_default="8-bit images are not changed, others use the 2nd and the 98th percentile",
    help="Values of the image that become black and white, such as 0,3000.",
)
NODATA = click.option(
    "--nodata",
    metavar="VALUE",
    show_default="as the image declares",
    help="Value of pixels without data, if the image does not declare it; none ignores a wrong declaration.",
)
ALPHA = click.option(
    "--alpha",
    metavar="BAND",
    show_default="as the image declares",
    help="Transparency band, by number or name, if the image does not declare it; none ignores a wrong declaration.",
)
INVENTED = click.option(
    "--invented",
    type=click.Choice(["nodata", "data"]),
    show_default="nodata",
    help="Whether pixels that `samgeo remove` invented are left out, or used as if they were measured.",
)
WINDOW = click.option(
    "--window",
    type=int,
    show_default="the input size of the model",
    help="Side of a window in pixels of the image.",
)
OVERLAP = click.option(
    "--overlap",
    type=int,
    show_default="a quarter of the window",
    help="Number of pixels that neighbouring windows share: even, and at most half a window.",
)

# These values repeat those in samgeo.models.registry and samgeo.segmentation.masks.cleaning. Importing them from there would
# load large libraries for every command.
MASK_NMS, MIN_PART, MIN_HOLE = 0.8, 5.0, 5.0

MIN_PART_OPTION = click.option(
    "--min-part",
    type=float,
    default=MIN_PART,
    show_default=True,
    help="Drop separate parts of an object that are smaller than this, in pixels of the model's input; 0 keeps all parts.",
)
MIN_HOLE_OPTION = click.option(
    "--min-hole",
    type=float,
    default=MIN_HOLE,
    show_default=True,
    help="Fill holes that are smaller than this, in pixels of the model's input; 0 fills none.",
)
MIN_AREA_HELP = "Drop objects with a smaller area, in square metres; in square pixels without a CRS."
MAX_AREA_HELP = "Drop objects with a larger area, in square metres; in square pixels without a CRS."

CLASS_HELP = "Class of a bundled finder, or classes of a detector, separated by commas."
MIN_SCORE_HELP = (
    "Drop objects with a lower score, from 0 to 1; auto chooses the score with the best expected F1 when a finder has found "
    "all objects."
)

SCALES_HELP = "Sizes of windows as multiples of --window; with 1,2,4 objects larger than a window come out whole."
SCALES = click.option("--scales", metavar="SCALES", default="1", show_default=True, help=SCALES_HELP)
POINTS_PER_SIDE = click.option(
    "--points-per-side", type=int, show_default="depends on the model", help="Number of point prompts along a window's side."
)
SCREEN_POINTS = click.option(
    "--screen-points/--no-screen-points",
    default=True,
    show_default=True,
    help="Whether points are left out that are unlikely to give a mask above --pred-iou; the bundled model can tell.",
)
PRED_IOU = click.option(
    "--pred-iou",
    type=float,
    show_default="depends on the model",
    help="Drop masks whose predicted IoU is not above this.",
)
STABILITY = click.option(
    "--stability",
    type=float,
    show_default="depends on the model",
    help="Drop masks whose stability score is lower than this.",
)
SCHEDULER = click.option(
    "--scheduler",
    metavar="SCHEDULER",
    show_default="threads",
    help="Where the work is done: threads, processes, synchronous, or the address of a Dask scheduler.",
)
WORKERS = click.option(
    "--workers",
    type=int,
    show_default="one for each core, if memory allows",
    help="Number of threads or processes, unless a Dask scheduler is given.",
)
CACHE = click.option(
    "--cache",
    type=click.Path(path_type=Path),
    metavar="STORE",
    help="Store of `samgeo encode`: its embeddings are used, and new ones are added to it.",
)
AOI_MODE = click.option(
    "--aoi-mode",
    type=click.Choice(["whole", "clip"]),
    default="whole",
    show_default=True,
    help="Whether objects that cross the edge of the area of interest are kept whole or clipped to it.",
)
RUN_DIR = click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    show_default="OUTPUT.run, removed at the end",
    help="Folder that keeps finished work, so that the run can be continued; a folder given here is not removed.",
)
RETRY_FAILED = click.option("--retry-failed", is_flag=True, help="Try windows again that failed earlier in this run.")
OVERWRITE = click.option(
    "--overwrite/--no-overwrite",
    default=False,
    show_default=True,
    help="Whether an existing output may be replaced.",
)
LAYER = click.option(
    "--layer",
    metavar="NAME",
    show_default="the file name of OUTPUT without its suffix",
    help="Name of the layer to write in a GeoPackage; its other layers are kept.",
)
Y_UP = click.option(
    "--y-up",
    is_flag=True,
    help="For an image without a georeference: write y increasing upwards, as QGIS draws such images.",
)
DATA = click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder with the open data sets, for a recipe that uses them.",
)
QUIET = click.option("--quiet", is_flag=True, help="Print no progress and no summary.")

# Options of every command that applies a model to an image.

# Options of every command that makes outlines from masks.
FINDER = click.option(
    "--finder",
    metavar="FILE|NAME",
    show_default="the bundled finder",
    help="File of a finder for your own classes, as `samgeo train` writes it; in `samgeo find` also a text finder, which is "
    "grounding-dino-tiny, grounding-dino-base, owlv2-base, sam3, hf://owner/name, or a folder.",
)
DETECTOR = click.option("--detector", metavar="FILE", help="Object detector in an ONNX file, in place of a finder.")
CLASS_NAMES = click.option(
    "--class-names",
    metavar="FILE",
    show_default="the names in the file of the detector",
    help="YAML, JSON or text file with the names of the classes of the detector.",
)
LAYOUT = click.option(
    "--layout", metavar="NAME", default="auto", show_default=True, help="Output layout of the detector; see the manual."
)
RESOLUTION = click.option(
    "--resolution",
    metavar="METRES",
    default="auto",
    show_default=True,
    help="Side of a pixel on the ground in metres, from which the zoom follows; auto takes it from the image.",
)
ZOOM_HELP = "Number of pixels of the model's input for each pixel of the image."
ZOOM = click.option("--zoom", type=float, metavar="ZOOM", show_default="as the resolution needs", help=ZOOM_HELP)
WINDOW_ZOOM = click.option("--zoom", type=float, metavar="ZOOM", default=1.0, show_default=True, help=ZOOM_HELP)
PROMPT_SCALES = click.option(
    "--scales", metavar="SCALES", default="auto", show_default='"auto" for 1,2,4,8,16 as needed', help=SCALES_HELP
)
PROMPT_ZOOM = click.option(
    "--zoom", metavar="ZOOM", default="1", show_default='1; "auto" enlarges small objects', help=ZOOM_HELP
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


def adding(*options: Callable[..., Callable[..., None]]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds options to a command; its help lists them in this order."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


# The options for the model, the image and the windows, and those that remove small parts and small holes from outlines.
looking = adding(MODEL, DEVICE, DTYPE, BANDS, STRETCH, NODATA, ALPHA, INVENTED, WINDOW, OVERLAP)
cleaning = adding(MIN_PART_OPTION, MIN_HOLE_OPTION)


class IouOrOff(click.ParamType[float | None]):
    """Type of an option whose value is an IoU or ``off``."""

    name = "IOU|off"

    def convert(self, value: OptionValue, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        """Return the number, or None for ``off``."""
        if isinstance(value, str) and value.strip().lower() == "off":
            return None
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor off; give a number from 0 to 1, or off.", param, ctx)


class ScoreOrAuto(click.ParamType[float | str]):
    """Type of an option whose value is a score or ``auto``."""

    name = "SCORE|auto"

    def convert(self, value: OptionValue, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        """Return the number, or "auto"."""
        if isinstance(value, str) and value.strip().lower() == "auto":
            return "auto"
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor auto; give a number from 0 to 1, or auto.", param, ctx)


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
        raise click.BadParameter(
            f"{text!r} is not a list of whole numbers; give them as in 1,2,4.", param_hint="--scales"
        ) from None


def parse_prompt_scales(text: str) -> str | tuple[int, ...]:
    """Return "auto" or the numbers that `parse_scales` returns."""
    return text if text == "auto" else parse_scales(text)


def parse_resolution(text: str) -> str | float:
    """Return "auto" or the number that a ground resolution says."""
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither auto nor a number.", param_hint="--resolution") from None


def parse_zoom(text: str) -> str | float:
    """Return "auto" or the number that a zoom says."""
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither auto nor a number.", param_hint="--zoom") from None


def parse_stretch(text: str | None) -> tuple[float, float] | None:
    """Parse the two values that become black and white, separated by a comma."""
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a pair of numbers; give them as in 0,3000.", param_hint="--stretch"
        ) from None
    return low, high


def count(number: int, noun: str) -> str:
    """Format a number with a noun, in the plural unless the number is 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
