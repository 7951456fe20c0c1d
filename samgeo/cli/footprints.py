"""The command regularize, which turns outlines into regular building footprints."""

from __future__ import annotations

import click

from samgeo.cli.options import LAYER, OVERWRITE, QUIET, OptionValue, count

__all__ = ["regularize"]


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
    help="Tolerance in metres, or in pixels without a CRS: smaller details are noise.",
)
@click.option("--circles/--no-circles", default=True, show_default=True, help="Whether round outlines become circles.")
@click.option("--shared-walls/--no-shared-walls", default=True, show_default=True, help="Whether neighbours get shared walls.")
@click.option(
    "--min-iou",
    type=float,
    default=0.85,
    show_default=True,
    help="Keep an outline, only simplified, if the IoU of its footprint with it is lower than this.",
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

    result = run(features, output, **options)
    if not quiet:
        done = int(result["regularized"].sum())
        click.echo(
            f"{count(done, 'footprint')} of {count(len(result), 'outline')} in {output}; the other outlines are kept", err=True
        )
