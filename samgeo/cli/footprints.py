"""The commands footprints, which extracts buildings, and regularize and refine, which change outlines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from samgeo.cli.options import (
    ALPHA,
    BANDS,
    CACHE,
    FINDER,
    INVENTED,
    LAYER,
    MAX_AREA_HELP,
    MIN_AREA_HELP,
    MIN_SCORE_HELP,
    NODATA,
    OVERWRITE,
    QUIET,
    RESOLUTION,
    STRETCH,
    Y_UP,
    ZOOM,
    OptionValue,
    ScoreOrAuto,
    count,
    imaging,
    looking,
    parse_bands,
    parse_resolution,
    parse_stretch,
)

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["footprints", "refine", "regularize"]


@click.command()
@imaging
@click.argument("output")
@click.option(
    "--examples",
    metavar="FILE",
    show_default="a finder finds the buildings",
    help="Vector file of a few examples; a column label may say 1 for accepted and 0 for rejected ones.",
)
@click.option(
    "--candidates",
    metavar="FILE",
    show_default="all objects in IMAGE",
    help="Vector file of the objects from which the examples select, such as `samgeo segment` writes.",
)
@FINDER
@RESOLUTION
@ZOOM
@looking
@click.option(
    "--min-score",
    type=ScoreOrAuto(),
    show_default="stored with the finder; 0.5 with --examples",
    help=MIN_SCORE_HELP,
)
@click.option(
    "--max-overlap",
    type=float,
    default=0.3,
    show_default=True,
    help="Of two objects that examples select, keep only the one with the higher score if the larger covers more than this "
    "share of the smaller.",
)
@click.option("--min-area", "min_area_m2", type=float, show_default="no limit", help=MIN_AREA_HELP)
@click.option("--max-area", "max_area_m2", type=float, show_default="no limit", help=MAX_AREA_HELP)
@click.option("--dsm", metavar="FILE", help="Raster of surface heights; of heights above the ground if there is no --dtm.")
@click.option("--dtm", metavar="FILE", help="Raster of terrain heights; needs --dsm.")
@click.option(
    "--min-height",
    "min_height_m",
    type=float,
    default=2.0,
    show_default=True,
    help="Drop objects with a lower median height above the ground, in metres; needs --dsm.",
)
@click.option("--regular/--no-regular", default=True, show_default=True, help="Whether to regularize the outlines.")
@CACHE
@OVERWRITE
@LAYER
@Y_UP
@QUIET
def footprints(
    image: OptionValue, output: str, bands: str | None, stretch: str | None, quiet: bool, **options: OptionValue
) -> None:
    """Extract building footprints from IMAGE.

    A finder finds the buildings, as in `samgeo find`. They are filtered by area and height, regularized, and written to OUTPUT.

    With --examples, all objects in IMAGE are segmented instead, and those that are similar to the accepted examples and not to
    the rejected ones are selected. With --no-regular this is also useful for objects other than buildings. The options
    --finder, --resolution and --zoom belong to the finder, and cannot be given with --examples.

    Vector files may be in any CRS. A layer of a file with several layers is given as city.gpkg:roofs.
    """
    from samgeo.buildings import footprints as run

    options |= {"resolution": parse_resolution(options["resolution"]), "progress": not quiet}
    result = run(image, output, bands=parse_bands(bands), stretch=parse_stretch(stretch), **options)
    if not quiet:
        for line in _summary(result, output):
            click.echo(line, err=True)


def _summary(result: gpd.GeoDataFrame, output: str) -> list[str]:
    provenance, footprints = result.attrs["samgeo"], count(len(result), "footprint")
    if "select" not in provenance:
        return [f"{footprints} in {output}, found at zoom {provenance['options']['zoom']}"]
    made = provenance["select"]
    judged = f"{made['accepted']} accepted and {made['rejected']} rejected examples"
    lines = [f"{footprints} of {count(made['candidates'], 'candidate')} in {output}, by {judged}"]
    if made["unmatched"]:
        lines.append(f"{count(made['unmatched'], 'example')} without a candidate of IoU 0.5 or more, not used")
    return lines


@click.command()
@click.argument("features")
@click.argument("output")
@click.option(
    "--angles",
    type=click.Choice(["right", "45"]),
    default="right",
    show_default=True,
    help="Angles between walls: right angles, or also diagonal walls at 45 degrees.",
)
@click.option(
    "--tolerance",
    "tolerance_m",
    type=float,
    show_default="1 metre, or 2 pixels without a CRS",
    help="Tolerance in metres, or in pixels without a CRS: smaller details are taken for noise and removed.",
)
@click.option("--circles/--no-circles", default=True, show_default=True, help="Whether round outlines become circles.")
@click.option("--shared-walls/--no-shared-walls", default=True, show_default=True, help="Whether neighbours get shared walls.")
@click.option(
    "--min-iou",
    type=float,
    default=0.85,
    show_default=True,
    help="If the IoU of a footprint with its outline is lower than this, keep the outline and only simplify it.",
)
@OVERWRITE
@LAYER
@QUIET
def regularize(features: str, output: str, quiet: bool, **options: OptionValue) -> None:
    """Turn the outlines in FEATURES into building footprints.

    Footprints have right angles and shared walls, or are circles. FEATURES is a vector file of polygons in any CRS, such as
    `samgeo segment` writes. A layer of a file with several layers is given as city.gpkg:roofs.

    OUTPUT has the rows of FEATURES. An outline that no regular footprint fits is kept and simplified; the columns regularized
    and kept_because tell which and why.
    """
    from samgeo.buildings import regularize as run

    result = run(features, output, progress=not quiet, **options)
    if not quiet:
        done = int(result["regularized"].sum())
        click.echo(
            f"{count(done, 'footprint')} of {count(len(result), 'outline')} in {output}; the other outlines are kept", err=True
        )


@click.command()
@click.argument("objects")
@click.argument("image")
@click.argument("output")
@click.option(
    "--band",
    "band_px",
    type=int,
    default=3,
    show_default=True,
    help="Largest distance from an outline at which a pixel can change, in pixels from 1 to 16.",
)
@click.option(
    "--radius",
    "radius_px",
    type=int,
    default=6,
    show_default=True,
    help="Radius of the squares in which colours are compared, in pixels from 2 to 32.",
)
@click.option(
    "--certainty",
    type=float,
    default=0.15,
    show_default=True,
    help="How certain a change must be, from 0 (most pixels change) to 0.5 (nearly none).",
)
@BANDS
@STRETCH
@NODATA
@ALPHA
@INVENTED
@OVERWRITE
@LAYER
@QUIET
def refine(
    objects: str, image: str, output: str, *, bands: str | None, stretch: str | None, quiet: bool, **options: OptionValue
) -> None:
    """Move the outlines in OBJECTS to edges of colour in IMAGE.

    This is for outlines with coarse steps, such as those of a label image with larger pixels than IMAGE. OBJECTS is a vector
    file of polygons in any CRS. A layer of a file with several layers is given as city.gpkg:roofs.

    OUTPUT has the rows and columns of OBJECTS. The column refined tells which outlines changed.
    """
    from samgeo.buildings import refine as run

    options |= {"bands": parse_bands(bands), "stretch": parse_stretch(stretch), "progress": not quiet}
    result = run(objects, image, output, **options)
    if not quiet:
        done = int(result["refined"].sum())
        click.echo(f"{count(done, 'outline')} of {count(len(result), 'object')} changed; {output}", err=True)
