"""The command train, which trains models."""

from __future__ import annotations

from pathlib import Path

import click

from samgeo.cli.options import DATA, DEVICE, OVERWRITE, QUIET, OptionValue

__all__ = ["train"]


@click.command()
@click.argument("recipe")
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--start",
    metavar="WEIGHTS",
    show_default="as in the recipe",
    help="Weights to start from: a file, tiny for the bundled weights, or none for random ones.",
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
