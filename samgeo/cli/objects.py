"""Commands on objects that are outlined: rasterize draws them, classify gives them classes, oddness says which stand out."""

from __future__ import annotations

import click

from samgeo.cli.options import (
    ASSETS,
    CACHE,
    LAYER,
    OVERWRITE,
    QUIET,
    OptionValue,
    count,
    image_of,
    imaging,
    looking,
    parse_bands,
    parse_stretch,
)

__all__ = ["classify", "oddness", "rasterize"]

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
    from samgeo.objects import oddness as run

    options |= {"bands": parse_bands(bands), "stretch": parse_stretch(stretch), "progress": not quiet}
    result = run(objects, image, output, **options)
    if not quiet:
        made, unknown = result.attrs["samgeo"]["oddness"], int(result["oddness"].isna().sum())
        click.echo(
            f"{count(len(result), 'object')} in {output}; the highest oddness is {result['oddness'].max():.2f}", err=True
        )
        if unknown:
            lost = count(made["without_features"], "object")
            why = f"{lost} without an area or outside the image; the others have no class, or too few objects of their class"
            click.echo(f"{count(unknown, 'object')} without an oddness: {why}", err=True)


@click.command()
@imaging
@click.argument("objects")
@click.argument("examples")
@click.argument("output")
@click.option(
    "--class-column", metavar="COLUMN", default="class", show_default=True, help="Column of EXAMPLES with their classes."
)
@click.option(
    "--join",
    type=click.Choice(["cover", "iou"]),
    default="cover",
    show_default=True,
    help="Which objects get the classes of EXAMPLES: cover, those of which EXAMPLES cover more than half; iou, for each "
    "example the object with the best IoU.",
)
@click.option(
    "--min-score",
    type=float,
    default=0.0,
    show_default=True,
    help="Give no class to objects whose most probable class has a lower probability, from 0 to 1.",
)
@click.option("--probabilities", is_flag=True, help="Add a column with the probability of each class.")
@EMBEDDING
@COLOR
@looking
@CACHE
@OVERWRITE
@LAYER
@QUIET
def classify(
    image: OptionValue,
    objects: str,
    examples: str,
    output: str,
    *,
    bands: str | None,
    stretch: str | None,
    quiet: bool,
    **options: OptionValue,
) -> None:
    """Give each of OBJECTS a class, by a few EXAMPLES of each class.

    OBJECTS is a vector file of polygons on IMAGE, in any CRS. EXAMPLES is a vector file of polygons with a column of classes:
    outlines of single objects, or areas of one class, such as a map of land use; or the name of a column of OBJECTS, in which
    the classes of some objects are given. OUTPUT has the rows of OBJECTS with the columns class and score.
    """
    from samgeo.objects import classify as run

    options |= {"bands": parse_bands(bands), "stretch": parse_stretch(stretch), "progress": not quiet}
    result = run(objects, image, examples, output, **options)
    if not quiet:
        for line in _summary(result.attrs["samgeo"]["classify"], output):
            click.echo(line, err=True)


def _summary(made: dict[str, OptionValue], output: str) -> list[str]:
    shown = ", ".join(f"{number} of {name}" for name, number in made["examples"].items())
    lines = [f"{count(made['objects'], 'object')} in {output}, by examples: {shown}"]
    if made["unclassified"]:
        lost = f"{made['without_features']} of them have no area or lie outside the image"
        lines.append(f"{count(made['unclassified'], 'object')} without a class; {lost}")
    if made["unmatched"]:
        lines.append(f"{count(made['unmatched'], 'example')} without an object, not used")
    return lines


@click.command()
@click.argument("result")
@click.argument("image")
@click.argument("output")
@ASSETS
@click.option(
    "--class-column",
    metavar="COLUMN",
    show_default="one number for each object",
    help="Column of RESULT with the class of each object; the classes are drawn as uint8.",
)
@OVERWRITE
@QUIET
def rasterize(result: str, image: str, output: str, assets: str | None, quiet: bool, **options: OptionValue) -> None:
    """Draw the objects in RESULT as a raster of labels.

    RESULT is a vector file of polygons in any CRS, such as `samgeo segment` writes. A layer of a file with several layers is
    given as city.gpkg:roofs.

    OUTPUT is a GeoTIFF (.tif) on the grid of IMAGE. The object in row i of RESULT, counted from 0, has the value i + 1; 0 is
    nodata. Where objects overlap, the smaller one is drawn.
    """
    from samgeo.geo import rasterize as run

    drawn = run(result, image_of((image,), assets), output, progress=not quiet, **options)
    if not quiet:
        click.echo(f"{count(drawn, 'object')} in {output}", err=True)
