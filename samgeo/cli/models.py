"""Commands about the models that samgeo knows by name."""

from __future__ import annotations

from pathlib import Path

import click

from samgeo.cli.options import OptionValue

__all__ = ["models"]


@click.group()
def models() -> None:
    """List, fetch and find the models that samgeo knows by name."""


@models.command("list")
def models_list() -> None:
    """List the models: name, size, licence, whether the weights are here."""
    from samgeo.models import list_models as known

    for info in known():
        click.echo(info.describe())


@models.command("fetch")
@click.argument("name")
def models_fetch(name: str) -> None:
    """Download the weights of NAME, verify them, and print where they are."""
    from samgeo.models import model_path

    click.echo(model_path(name))


@models.command("path")
@click.argument("name")
def models_path(name: str) -> None:
    """Print where the weights of NAME are; fail if they are not here."""
    from samgeo.models import model_path

    click.echo(model_path(name, download=False))


@models.command("evaluate")
@click.argument("model")
@click.option("--data", type=click.Path(path_type=Path), help="The folder with the open data sets, if the recipe uses them.")
@click.option("--recipe", default="overhead", show_default=True, help="A recipe of `samgeo train`: its [[validation]].")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A .md to write the report to, beside printing it.")
@click.option("--calibration", type=click.Path(path_type=Path), help="A PNG to draw predicted against true IoU to.")
@click.option(
    "--tile", "tile_px", type=int, default=512, show_default=True, help="Side of tiles, enlarged to the model's input."
)
@click.option("--max-objects", type=int, help="At most so many of each tile.  [default: all]")
@click.option("--regions/--no-regions", default=True, show_default=True, help="Whether to measure regions as a baseline.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--overwrite/--no-overwrite", default=False, show_default=True, help="Whether to replace existing outputs.")
def models_evaluate(model: str, **options: OptionValue) -> None:
    """Judge MODEL, a name or a checkpoint, with clicks and boxes on what a recipe holds back, beside baselines."""
    from samgeo.training import judge

    click.echo(judge(model, report=lambda line: click.echo(line, err=True), **options).markdown(), nl=False)
