"""The command that trains models."""

from __future__ import annotations

from pathlib import Path

import click

from samgeo.cli.options import OptionValue

__all__ = ["train"]


@click.command()
@click.argument("recipe")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--start", help="Weights to start from: a file, tiny for the bundled ones, or none.  [default: the recipe's]")
@click.option("--folder", type=click.Path(path_type=Path), help="Of the run: state and log.  [default: OUTPUT's name, .run]")
@click.option("--data", type=click.Path(path_type=Path), help="The folder with the open data sets, if the recipe uses them.")
@click.option("--steps", type=int, help="Steps of the optimiser.  [default: the recipe's]")
@click.option("--minutes", type=float, help="Let the clock end training after so many minutes.  [default: the recipe's]")
@click.option("--network", help="Blocks of the image encoder: base, deep, deeper or context.  [default: the recipe's]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--threads", type=int, help="Threads of a CPU to compute in.  [default: torch's choice, or as the run was begun]")
@click.option("--curve", type=click.Path(path_type=Path), help="A PNG to draw the log to, at the end.")
@click.option("--overwrite/--no-overwrite", default=False, show_default=True, help="Whether to replace existing outputs.")
@click.option("--quiet", is_flag=True, help="No lines of the log.")
def train(recipe: str, output: Path, quiet: bool, **options: OptionValue) -> None:
    """Train a small model by RECIPE, a TOML file, and write its weights to OUTPUT, a .safetensors for --model.

    RECIPE may be overhead: the bundled model's own. A run that was stopped goes on when the command is given again, exactly
    as if it had not been stopped.
    """
    from samgeo.training import run_recipe

    say = None if quiet else lambda line: click.echo(line, err=True)
    done = run_recipe(recipe, output, report=say, **options)
    if not quiet:
        click.echo(f"{done.output} after {done.steps:,} steps; the log is {done.folder / 'log.jsonl'}", err=True)
