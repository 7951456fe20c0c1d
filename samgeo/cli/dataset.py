"""Commands that make training sets."""

from __future__ import annotations

import warnings
from pathlib import Path

import click

from samgeo.cli.options import OptionValue, cleaning, count, looking, parse_bands, parse_stretch, scheduling

__all__ = ["dataset"]

# These values repeat those in samgeo.samrs.recipe. Importing them from there would load large libraries for every command.
PROMPTS = ("hbox", "rhbox", "rbox")
ON_TOP = ("annotation", "smallest")
PIXELS = ("inclusive", "edges")
ON_ERROR = ("raise", "skip")
EXPORTS = ("dota", "torchgeo", "voc", "yolo-boxes", "yolo-obb", "yolo-segments")


MOST_TOLD = 10


@click.group()
def dataset() -> None:
    """Make training sets."""


@dataset.command("samrs")
@click.argument("images", type=click.Path(path_type=Path))
@click.argument("annotations", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--prompt", type=click.Choice(PROMPTS), default="hbox", show_default=True, help="What is asked; see below.")
@click.option("--format", help="Of ANNOTATIONS, such as coco, dota, voc, yolo or vectors.  [default: seen by the files]")
@click.option("--class-column", help="Of a vector layer or VIA.  [default: class]")
@click.option("--class-name", help="The class of all of a vector layer, CSV or VIA, instead of a column.")
@click.option(
    "--pixels", type=click.Choice(PIXELS), default="inclusive", show_default=True, help="Of bndbox in xml; see below."
)
@click.option("--on-error", type=click.Choice(ON_ERROR), default="raise", show_default=True, help="Of faulty records.")
@click.option("--classes", help="Classes to take, in the order of their values: plane,ship.  [default: all]")
@click.option("--min-box-iou", type=float, default=0.5, show_default=True, help="Least IoU of a mask's box with the one asked.")
@click.option("--on-top", type=click.Choice(ON_TOP), default="annotation", show_default=True, help="Where masks overlap.")
@click.option("--chip", type=int, help="Side of chips in pixels.  [default: images are not cut]")
@click.option("--chip-overlap", type=int, default=0, show_default=True, help="Pixels that neighbouring chips share.")
@click.option("--min-visible", type=float, default=0.7, show_default=True, help="Share of an object that a chip must show.")
@click.option("--keep-empty", is_flag=True, help="Keep pictures without masks.")
@click.option("--annotations-complete", is_flag=True, help="Write 0 for background: every object of the classes is annotated.")
@click.option("--copy-images", is_flag=True, help="Copy images that are not cut.")
@click.option("--polygons", is_flag=True, help="Write the whole objects as GeoParquet too.")
@click.option("--export", "exports", type=click.Choice(EXPORTS), multiple=True, help="A format besides COCO; may be repeated.")
@click.option("--split", help="Shares of train, val and test, such as 0.8,0.1,0.1.  [default: no parts]")
@click.option("--block-m", type=float, help="Side of the split's blocks in metres.  [default: up to four pictures]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split.")
@click.option("--license", default="", help="For the data card.")
@looking
@cleaning
@scheduling
@click.option("--verify", is_flag=True, help="Compare the digests of all files that are done, not their sizes and times alone.")
@click.option("--quiet", is_flag=True, help="No progress bar and no summary.")
def samrs(images: Path, annotations: Path, output: Path, quiet: bool, **options: OptionValue) -> None:
    """Make a segmentation data set of the boxes in ANNOTATIONS on IMAGES, a folder or a file, in the folder OUT, as SAMRS.

    Prompts are horizontal boxes (hbox), the hulls of oriented ones (rhbox), or these with the oriented box as a soft mask
    (rbox). The numbers of bndbox in xml are pixels from 1, the last one included, or edges from 0. Faulty records of
    ANNOTATIONS are refused, all together, or skipped and listed in reading.csv. The same command goes on after a stop. Images
    that cannot be used are listed, and then the exit code is 1.
    """
    from samgeo.samrs import SplitWarning, make_samrs

    options["classes"] = None if options["classes"] is None else [name.strip() for name in options["classes"].split(",")]
    options["split"] = _parse_split(options["split"])
    options |= {"bands": parse_bands(options["bands"]), "stretch": parse_stretch(options["stretch"])}
    with warnings.catch_warnings():
        # The summary contains the content of this warning.
        warnings.simplefilter("ignore", SplitWarning)
        made = make_samrs(images, annotations, output, progress=not quiet, **options)
    for name, why in list(made.remade.items())[:MOST_TOLD]:
        click.echo(f"{name} was made again: {why}", err=True)
    if len(made.remade) > MOST_TOLD:
        click.echo(f"{count(len(made.remade), 'image')} in all had to be made again", err=True)
    if not quiet:
        kept_out = f"; {made.rejected:,} without a mask, see rejected.csv" if made.rejected else ""
        kept_out += f"; {count(len(made.left_out), 'faulty record')} left out, see reading.csv" if made.left_out else ""
        click.echo(f"{count(made.instances, 'mask')} in {count(made.pictures, 'picture')} in {output}{kept_out}", err=True)
        if made.advice:
            click.echo(made.advice, err=True)
    if made.failed:
        raise click.ClickException(f"{count(len(made.failed), 'image')} could not be used; see {output / 'failed.csv'}.")


def _parse_split(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not three shares such as 0.8,0.1,0.1.", param_hint="--split") from None
