"""The command oddness, which measures how different objects are from the others of their layer."""

from __future__ import annotations

import click

from samgeo.cli.options import (
    CACHE,
    LAYER,
    OVERWRITE,
    QUIET,
    OptionValue,
    count,
    imaging,
    looking,
    parse_bands,
    parse_stretch,
)

__all__ = ["oddness"]

EMBEDDING = click.option(
    "--embedding/--no-embedding",
    default=True,
    show_default=True,
    help="Whether objects are compared by the model's embedding.",
)
COLOR = click.option(
    "--color/--no-color", default=True, show_default=True, help="Whether objects are compared by the colours of their pixels."
)


@click.command()
@imaging
@click.argument("objects")
@click.argument("output")
@click.option(
    "--neighbours", type=int, default=5, show_default=True, help="Number of the most similar objects that count as neighbours."
)
@click.option(
    "--class-column",
    metavar="COLUMN",
    show_default="all objects are of one class",
    help="Column of OBJECTS with their classes; each object is compared with objects of its class.",
)
@EMBEDDING
@COLOR
@looking
@CACHE
@OVERWRITE
@LAYER
@QUIET
def oddness(
    image: OptionValue,
    objects: str,
    output: str,
    *,
    bands: str | None,
    stretch: str | None,
    quiet: bool,
    **options: OptionValue,
) -> None:
    """Measure how different each of OBJECTS is from the others.

    OBJECTS is a vector file of polygons on IMAGE, in any CRS. OUTPUT has its rows with a column oddness: the distance to the
    most similar other objects, by the model's embedding, the colour and the shape. The distance is divided by its median, so
    that 1 is usual. Objects that stand out have the highest values.
    """
    from samgeo import oddness as run

    result = run(objects, image, output, bands=parse_bands(bands), stretch=parse_stretch(stretch), **options)
    if not quiet:
        made, unknown = result.attrs["samgeo"]["oddness"], int(result["oddness"].isna().sum())
        click.echo(
            f"{count(len(result), 'object')} in {output}; the highest oddness is {result['oddness'].max():.2f}", err=True
        )
        if unknown:
            lost = count(made["without_features"], "object")
            why = f"{lost} without an area or outside the image; the others have no class, or too few objects of their class"
            click.echo(f"{count(unknown, 'object')} without an oddness: {why}", err=True)
