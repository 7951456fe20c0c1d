"""The command that turns outlines of masks into building footprints."""

from __future__ import annotations

import click

from samgeo.cli.options import LAYER, OVERWRITE, OptionValue, count

__all__ = ["regularize"]


@click.command()
@click.argument("features")
@click.argument("output")
@click.option("--angles", type=click.Choice(["right", "45"]), default="right", show_default=True, help="Of walls.")
@click.option(
    "--tolerance", "tolerance_m", type=float, help="In metres; what is smaller is noise.  [default: 1 m, or 2 pixels]"
)
@click.option("--circles/--no-circles", default=True, show_default=True, help="Whether what is round becomes a circle.")
@click.option("--shared-walls/--no-shared-walls", default=True, show_default=True, help="Whether neighbours share walls.")
@click.option("--min-iou", type=float, default=0.85, show_default=True, help="Keep an outline that its footprint fits less.")
@OVERWRITE
@LAYER
@click.option("--quiet", is_flag=True, help="No summary.")
def regularize(features: str, output: str, quiet: bool, **options: OptionValue) -> None:
    """Turn the outlines in FEATURES into building footprints in OUTPUT: right angles, circles, shared walls.

    FEATURES is a vector file of polygons in any CRS, such as `samgeo segment` writes, or a layer as in city.gpkg:roofs.
    Outlines that a footprint would not fit stay, simplified, and the columns regularized and kept_because say so.
    """
    from samgeo.buildings import regularize as run

    result = run(features, output, **options)
    if not quiet:
        done = int(result["regularized"].sum())
        click.echo(f"{count(done, 'footprint')} of {count(len(result), 'outline')} in {output}; the others stay", err=True)
