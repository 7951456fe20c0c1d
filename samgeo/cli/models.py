"""The commands of the group models, which list, describe, download, locate and evaluate models."""

from __future__ import annotations

from pathlib import Path

import click

from samgeo.cli.options import DATA, DEVICE, OVERWRITE, QUIET, OptionValue

__all__ = ["models"]


@click.group()
def models() -> None:
    """List, describe, download, locate and evaluate models."""


@models.command("list")
def models_list() -> None:
    """List the models with their sizes and licences.

    The last column says whether the weights are part of samgeo ("bundled"), on this machine ("yes") or not ("no"). Models of
    the kind "text" find boxes for words; the others answer points, boxes and masks.
    """
    from samgeo.models import list_models as known

    rows = [("name", "model", "kind", "input", "parameters", "file", "licence", "here")]
    for info in known():
        here = "bundled" if info.bundled else "yes" if info.local_path() else "no"
        parameters = f"{info.parameters / 1e6:.1f} M"
        columns = (info.name, info.architecture, info.kind, f"{info.input_size} px", parameters, info.size_text())
        rows.append((*columns, info.license_text(), here))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


@models.command("fetch")
@click.argument("name")
def models_fetch(name: str) -> None:
    """Download the weights of the model NAME.

    The licence is printed first. The file is verified, and its path is printed. NAME is one from `samgeo models list`.
    """
    from samgeo.models import model_path

    click.echo(model_path(name))


@models.command("path")
@click.argument("name")
def models_path(name: str) -> None:
    """Print the path of the weights of the model NAME.

    The command fails if the weights are not on this machine. NAME is one from `samgeo models list`.
    """
    from samgeo.models import model_path

    click.echo(model_path(name, download=False))


@models.command("info")
@click.argument("name")
def models_info(name: str) -> None:
    """Print what is recorded of the model NAME.

    These are its use, costs, licence, citation, digest, sources and defaults. NAME is one from `samgeo models list`.
    """
    from samgeo.models import model_info

    click.echo(model_info(name).details())


@models.command("evaluate")
@click.argument("model")
@DATA
@click.option(
    "--recipe",
    metavar="RECIPE",
    default="overhead",
    show_default=True,
    help="Recipe of `samgeo train`, a TOML file or overhead, whose validation pictures are used.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Markdown file (.md) for the report.")
@click.option(
    "--calibration", type=click.Path(path_type=Path), metavar="FILE", help="PNG file for a plot of predicted against true IoU."
)
@click.option(
    "--tile",
    "tile_px",
    type=int,
    default=512,
    show_default=True,
    help="Side of the tiles in pixels; tiles are enlarged to the input size of the model.",
)
@click.option("--max-objects", type=int, show_default="all", help="Largest number of objects of each tile.")
@click.option(
    "--regions/--no-regions",
    default=True,
    show_default=True,
    help="Whether to evaluate regions of even colour as a baseline.",
)
@DEVICE
@OVERWRITE
@QUIET
def models_evaluate(model: str, quiet: bool, **options: OptionValue) -> None:
    """Evaluate MODEL by clicks and boxes, beside baselines.

    MODEL is a name from `samgeo models list`, a checkpoint file, or hf://OWNER/NAME. It is evaluated on the validation pictures
    of a recipe. The report is printed, and with --output it is also written to a file.
    """
    from samgeo.training import judge

    say = None if quiet else lambda line: click.echo(line, err=True)
    click.echo(judge(model, report=say, **options).markdown(), nl=False)
