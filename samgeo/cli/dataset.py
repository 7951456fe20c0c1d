"""The commands of the group dataset, which make training data sets."""

from __future__ import annotations

import warnings
from pathlib import Path

import click

from samgeo.cli.find import chosen_finder
from samgeo.cli.options import (
    CLASS_NAMES,
    DETECTOR,
    FINDER,
    LAYOUT,
    QUIET,
    SCHEDULER,
    WORKERS,
    ZOOM,
    OptionValue,
    cleaning,
    count,
    looking,
    parse_bands,
    parse_stretch,
)

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
    """Make training data sets."""


@dataset.command("samrs")
@click.argument("images", type=click.Path(path_type=Path))
@click.argument("annotations", type=click.Path(path_type=Path), nargs=-1, metavar="[ANNOTATIONS]")
@click.argument("output", type=click.Path(path_type=Path))
@FINDER
@DETECTOR
@CLASS_NAMES
@LAYOUT
@click.option(
    "--min-score",
    type=float,
    show_default="stored with the finder",
    help="Drop objects with a lower score, from 0 to 1.",
)
@ZOOM
@click.option(
    "--prompt",
    type=click.Choice(PROMPTS),
    default="hbox",
    show_default=True,
    help="Prompt for each box: hbox, the horizontal box; rhbox, the bounding box of the oriented box; rbox, that bounding "
    "box and the oriented box as a soft mask.",
)
@click.option(
    "--format",
    metavar="FORMAT",
    show_default="detected from the files",
    help="Format of ANNOTATIONS, such as coco, dota, voc, yolo or vectors.",
)
@click.option(
    "--class-column",
    metavar="COLUMN",
    show_default="class",
    help="Column of a vector file, or attribute of VIA, with the class of each object.",
)
@click.option(
    "--class-name", metavar="NAME", help="One class for all objects of a vector file, CSV or VIA, instead of a column."
)
@click.option(
    "--pixels",
    type=click.Choice(PIXELS),
    default="inclusive",
    show_default=True,
    help="What the numbers of bndbox in XML are: inclusive, numbers of pixels, which start at 1 and include the last pixel; "
    "edges, positions of edges, which start at 0.",
)
@click.option(
    "--on-error",
    type=click.Choice(ON_ERROR),
    default="raise",
    show_default=True,
    help="Faulty annotation records: raise stops and lists them; skip leaves them out and lists them in reading.csv.",
)
@click.option(
    "--classes",
    metavar="CLASSES",
    show_default="all",
    help="Classes to use, in the order of their values in the label images, such as plane,ship.",
)
@click.option(
    "--min-box-iou",
    type=float,
    default=0.5,
    show_default=True,
    help="Leave out masks whose bounding box has a lower IoU with the box of the prompt.",
)
@click.option(
    "--on-top",
    type=click.Choice(ON_TOP),
    default="annotation",
    show_default=True,
    help="Which mask is drawn where masks overlap: annotation, that of the later annotation; smallest, the smallest one.",
)
@click.option("--chip", type=int, show_default="images are not cut", help="Side of the chips in pixels.")
@click.option(
    "--chip-overlap",
    type=int,
    default=0,
    show_default=True,
    help="Smallest number of pixels that neighbouring chips share.",
)
@click.option(
    "--min-visible",
    type=float,
    default=0.7,
    show_default=True,
    help="Smallest share of an object that a chip must show to include it.",
)
@click.option("--keep-empty", is_flag=True, help="Keep pictures without masks.")
@click.option(
    "--annotations-complete",
    is_flag=True,
    help="Every object of the classes is annotated: write 0 for background in label images.",
)
@click.option("--copy-images", is_flag=True, help="Copy images that are not cut into OUTPUT.")
@click.option("--polygons", is_flag=True, help="Write the whole objects to polygons.parquet.")
@click.option(
    "--export",
    "exports",
    type=click.Choice(EXPORTS),
    multiple=True,
    help="Format to write in addition to COCO; may be given several times.",
)
@click.option(
    "--split",
    metavar="TRAIN,VAL,TEST",
    show_default="no split",
    help="Shares of the training, validation and test parts, such as 0.8,0.1,0.1.",
)
@click.option(
    "--block-m",
    type=float,
    show_default="up to four pictures",
    help="Side in metres of the blocks of ground that are assigned to the parts.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the split.")
@click.option("--license", metavar="LICENSE", default="", help="Licence for the data card.")
@looking
@cleaning
@SCHEDULER
@WORKERS
@click.option("--verify", is_flag=True, help="Compare the digests of finished files, not only their sizes and times.")
@QUIET
def samrs(
    images: Path, annotations: tuple[Path, ...], output: Path, *, quiet: bool, finder: str | None, detector: str | None,
    class_names: str | None, layout: str, **options: OptionValue,
) -> None:  # fmt: skip
    """Make a segmentation data set from boxes, as SAMRS does.

    IMAGES is a file or a folder, and ANNOTATIONS is a file or a folder in any format that samgeo reads. OUTPUT is the folder of
    the data set, with a mask for every box.

    Without ANNOTATIONS, a finder or a detector finds the boxes; --finder building is the bundled finder.

    Vector files may be in any CRS. A layer of a file with several layers is given as city.gpkg:roofs.

    After a stop, the same command continues the work. Images that cannot be used are listed in failed.csv, and the exit code is
    then 1.
    """
    from samgeo.samrs import SplitWarning, make_samrs

    if len(annotations) > 1:
        raise click.UsageError("there are more than three arguments; give IMAGES, ANNOTATIONS and OUTPUT.")
    options["finder"] = chosen_finder(finder, detector, class_names, layout)
    options["classes"] = None if options["classes"] is None else [name.strip() for name in options["classes"].split(",")]
    options["split"] = _parse_split(options["split"])
    options |= {"bands": parse_bands(options["bands"]), "stretch": parse_stretch(options["stretch"])}
    with warnings.catch_warnings():
        # The summary contains the content of this warning.
        warnings.simplefilter("ignore", SplitWarning)
        made = make_samrs(images, annotations[0] if annotations else None, output, progress=not quiet, **options)
    for name, why in list(made.remade.items())[:MOST_TOLD]:
        click.echo(f"{name} was made again: {why}", err=True)
    if len(made.remade) > MOST_TOLD:
        click.echo(f"{count(len(made.remade), 'image')} had to be made again in all", err=True)
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
        raise click.BadParameter(
            f"{text!r} is not a list of three shares; give them as in 0.8,0.1,0.1.", param_hint="--split"
        ) from None
