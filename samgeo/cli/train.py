"""The commands train and finetune, which train models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from samgeo.cli.options import (
    ALPHA,
    BANDS,
    DATA,
    DEVICE,
    INVENTED,
    MODEL,
    NODATA,
    OVERWRITE,
    QUIET,
    STRETCH,
    OptionValue,
    imaging,
    parse_bands,
    parse_stretch,
)

__all__ = ["finetune", "train"]


def preset_option(default: str | None, shown: str | bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the option --preset, with the default of a command."""
    return click.option(
        "--preset",
        metavar="NAME",
        default=default,
        show_default=shown,
        help="What is trained: decoder, lora, bitfit, medsam or all; for SAM 1 also adapter or medical-adapter. See the "
        "manual.",
    )


@click.command()
@click.argument("recipe")
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--start",
    metavar="WEIGHTS",
    show_default="as in the recipe",
    help="Weights to start from: a file, tiny for the bundled weights, none for random ones, or a model of SAM 1 or SAM 2.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    show_default="the name of OUTPUT with .run",
    help="Folder of the run, with its state and its log.",
)
@DATA
@click.option("--steps", type=int, show_default="as in the recipe", help="Number of steps; with --minutes, the largest number.")
@click.option("--minutes", type=float, show_default="as in the recipe", help="Length of the training in minutes.")
@click.option(
    "--network",
    metavar="NAME",
    show_default="as in the recipe",
    help="Size of the image encoder: base, deep, deeper or context.",
)
@preset_option(None, "as in the recipe")
@DEVICE
@click.option(
    "--threads",
    type=int,
    show_default="as torch chooses, or as the run was begun",
    help="Number of threads on a CPU; the last digits of the result depend on it.",
)
@click.option(
    "--curve", type=click.Path(path_type=Path), metavar="FILE", help="PNG file into which the log is drawn at the end."
)
@OVERWRITE
@QUIET
def train(recipe: str, output: Path, quiet: bool, **options: OptionValue) -> None:
    """Train a model or a finder by RECIPE and write it to OUTPUT.

    RECIPE is a TOML file, overhead for the recipe of the bundled model, or building for that of the bundled finder. OUTPUT
    is a .safetensors file. It is a model, which other commands take as --model, or a finder if the recipe has a table [finder].
    If training was stopped, the same command continues it, and the result is the same as without the stop.
    """
    from samgeo.training import run_recipe

    say = None if quiet else lambda line: click.echo(line, err=True)
    done = run_recipe(recipe, output, report=say, **options)
    if not quiet:
        click.echo(f"{done.output} after {done.steps:,} steps; the log is {done.folder / 'log.jsonl'}", err=True)


@click.command()
@imaging
@click.argument("outlines")
@click.argument("output", type=click.Path(path_type=Path))
@MODEL
@click.option(
    "--input-size",
    type=int,
    show_default="that of the model",
    help="Side of the input of a model of SAM 2 in pixels: a multiple of 128.",
)
@preset_option("decoder", True)
@click.option("--minutes", type=float, show_default="5, or none if --steps is given", help="Length of the training in minutes.")
@click.option(
    "--steps",
    type=int,
    show_default="as many as the minutes allow",
    help="Number of steps; with --minutes, the largest number.",
)
@click.option("--rate", type=float, show_default="that of the preset", help="Learning rate.")
@click.option("--train-iou", is_flag=True, help="Also train the parts that predict the IoU; a few outlines make them worse.")
@click.option(
    "--holdout", type=float, default=0.3, show_default=True, help="Share of the outlines that is held out, from 0.1 to 0.5."
)
@click.option(
    "--soup",
    type=float,
    default=1.0,
    show_default=True,
    help="Share of the trained weights in the result, above 0; the rest are weights of the start.",
)
@click.option(
    "--check-shift/--no-check-shift",
    default=True,
    show_default=True,
    help="Whether to refuse outlines that are shifted against the edges of the image.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    show_default="the name of OUTPUT with .run",
    help="Folder of the run, with its state and its log.",
)
@click.option(
    "--page",
    type=click.Path(path_type=Path),
    metavar="FILE",
    show_default="report.html in the folder of the run",
    help="HTML file for the report.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the held-out blocks, the crops and the prompts.")
@DEVICE
@click.option(
    "--threads",
    type=int,
    show_default="as torch chooses, or as the run was begun",
    help="Number of threads on a CPU; the last digits of the result depend on it.",
)
@BANDS
@STRETCH
@NODATA
@ALPHA
@INVENTED
@OVERWRITE
@QUIET
def finetune(
    image: OptionValue, outlines: str, output: Path, *, minutes: float | None, steps: int | None, bands: str | None,
    stretch: str | None, quiet: bool, **options: OptionValue,
) -> None:  # fmt: skip
    """Train a model on outlines of one place, if this helps.

    OUTLINES is a vector file with polygons of at least 20 objects in IMAGE. A part of them is held out by blocks of the image.
    OUTPUT, a .safetensors file, has the trained weights if they answer prompts for the held-out objects better, and otherwise
    the weights of --model. A stopped run is continued by the same command.
    """
    from samgeo.training import finetune as run

    if minutes is None and steps is None:
        minutes = 5.0
    options |= {"bands": parse_bands(bands), "stretch": parse_stretch(stretch), "minutes": minutes, "steps": steps}
    done = run(image, outlines, output, report=None if quiet else lambda line: click.echo(line, err=True), **options)
    if not quiet:
        click.echo(f"{done.output} after {done.steps:,} steps; the report is {done.page}", err=True)
