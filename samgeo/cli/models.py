"""Commands about the models that samgeo knows by name."""

from __future__ import annotations

import click

__all__ = ["models"]


@click.group()
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
