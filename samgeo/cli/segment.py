"""The commands segment and predict, which segment objects in an image, encode, which computes embeddings, and status."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from samgeo.cli.options import (
    AOI_MODE,
    CACHE,
    LAYER,
    MASK_NMS,
    MAX_AREA_HELP,
    MIN_AREA_HELP,
    OVERWRITE,
    POINTS_PER_SIDE,
    PRED_IOU,
    PROMPT_SCALES,
    PROMPT_ZOOM,
    QUIET,
    RETRY_FAILED,
    RUN_DIR,
    SCALES,
    SCHEDULER,
    SCREEN_POINTS,
    STABILITY,
    WINDOW_ZOOM,
    WORKERS,
    Y_UP,
    IouOrOff,
    OptionValue,
    cleaning,
    count,
    imaging,
    looking,
    parse_bands,
    parse_prompt_scales,
    parse_scales,
    parse_stretch,
    parse_zoom,
)
from samgeo.errors import OptionError, StoppedError

if TYPE_CHECKING:
    from samgeo.segmentation import RasterPrompts, Status, StoreStatus, Summary

__all__ = ["encode", "predict", "segment", "status"]

# Additional exit codes: a result in which windows failed, and, as shells report it, a process ended by signal 15.
HOLES, STOPPED = 3, 143
MOST_SHOWN = 20

# A run has no file of this name, and a store of embeddings has one.
STORE_FILE = "zarr.json"


@click.command()
@imaging
@click.argument("output")
@looking
@WINDOW_ZOOM
@SCALES
@POINTS_PER_SIDE
@SCREEN_POINTS
@PRED_IOU
@STABILITY
@click.option(
    "--mask-nms",
    type=IouOrOff(),
    default=MASK_NMS,
    show_default=True,
    help="If the masks of two objects have an IoU above this, keep only the better object; off keeps both, as SAM does.",
)
@click.option(
    "--prompts-from",
    metavar="FILE",
    help="Raster whose regions are segmented in place of everything: heights above the ground, or another raster with "
    "--prompt-threshold and --prompt-scale.",
)
@click.option(
    "--prompts-minus",
    metavar="FILE",
    help="Raster that is subtracted from that of --prompts-from, such as a terrain model from a surface model.",
)
@click.option("--prompt-threshold", type=float, show_default="2", help="Value of --prompts-from above which there are objects.")
@click.option(
    "--prompt-scale",
    type=float,
    show_default="1",
    help="Difference of values of --prompts-from that changes the logits of mask prompts by 1; negative if low values are "
    "objects.",
)
@click.option(
    "--prompt-split",
    type=click.Choice(["valleys", "steps"]),
    show_default="valleys",
    help="What separates touching objects in --prompts-from: valleys, as between trees, or steps, as between roofs and trees.",
)
@click.option(
    "--prompt-prominence",
    type=float,
    show_default="as --prompt-scale",
    help="Depth of a valley, or height of a step, that separates touching objects in --prompts-from.",
)
@cleaning
@click.option("--min-area", type=float, default=0.0, show_default="no limit", help=MIN_AREA_HELP)
@click.option("--max-area", type=float, default=float("inf"), show_default="no limit", help=MAX_AREA_HELP)
@click.option(
    "--aoi",
    metavar="FILE",
    show_default="the whole image",
    help="Area of interest, a vector file of polygons: segment only inside it.",
)
@AOI_MODE
@SCHEDULER
@WORKERS
@CACHE
@RUN_DIR
@RETRY_FAILED
@OVERWRITE
@LAYER
@Y_UP
@click.option("--profile", is_flag=True, help="Print at the end how long each stage took.")
@QUIET
def segment(
    image: OptionValue, output: str, bands: str | None, stretch: str | None, quiet: bool, **options: OptionValue
) -> None:
    """Segment all objects in IMAGE and write them to OUTPUT.

    IMAGE is a raster of any size, as a path or a URL; a STAC Item (.json); several files on one grid, of which the first has
    priority where they overlap; or a text file (.txt) with one path or URL on each line.

    OUTPUT gets georeferenced polygons. Its suffix gives the format: .parquet, .gpkg, .fgb or .geojson; or .tif for a raster of
    labels, as `samgeo rasterize` writes it.

    Vector files may be in any CRS. A layer of a file with several layers is given as city.gpkg:districts.

    With --prompts-from, the objects that another raster of the same place shows are segmented, and have a class and a score.

    Finished work is kept in the folder OUTPUT.run until the run is complete. After a kill or an error, the same command
    continues the run. Exit code 3 means that some windows failed; they are listed. Exit code 143 means that SIGTERM stopped the
    run.
    """
    from samgeo.segmentation import profiling, segment_to_file
    from samgeo.segmentation.run import stop_on_sigterm

    options |= {"bands": parse_bands(bands), "stretch": parse_stretch(stretch), "progress": not quiet}
    options["scales"] = parse_scales(options["scales"])
    options["prompts_from"] = _prompts(options)
    watching = profiling() if options.pop("profile") else nullcontext()
    try:
        with stop_on_sigterm() as stop, watching as profile:
            done = segment_to_file(image, output, stop=stop, **options)
    except StoppedError as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(STOPPED) from None
    if not quiet:
        without_crs = "" if done.has_crs else "; the image has no CRS, so areas are in pixels"
        click.echo(f"{count(done.objects, 'object')} in {output}{without_crs}", err=True)
    if profile is not None:
        click.echo(profile.table(), err=True)
    if done.failures:
        click.echo(_tell_failures(done), err=True)
        raise click.exceptions.Exit(HOLES)


def _prompts(options: dict[str, OptionValue]) -> RasterPrompts | None:
    """Take the options of prompts from another raster out of those of the command, and return the prompts."""
    from samgeo.segmentation import RasterPrompts

    values = options.pop("prompts_from")
    names = {"minus": "prompts_minus"}
    names |= {name: f"prompt_{name}" for name in ("threshold", "scale", "split", "prominence")}
    given = {name: value for name, option in names.items() if (value := options.pop(option)) is not None}
    if values is not None:
        return RasterPrompts(values, **given)
    if given:
        option = names[next(iter(given))].replace("_", "-")
        raise OptionError(f"--{option} belongs to --prompts-from; give a raster there, or leave --{option} out.")
    return None


def _tell_failures(done: Summary) -> str:
    shown = [f"  {failure}" for failure in done.failures[:MOST_SHOWN]]
    if len(done.failures) > MOST_SHOWN:
        shown.append(f"  and {len(done.failures) - MOST_SHOWN:,} more; `samgeo status {done.folder}` shows them")
    windows = count(len(done.failures), "window")
    head = f"{windows} of {done.windows:,} could not be segmented. The missing areas are in {done.holes}:"
    return "\n".join([head, *shown, "Remove the cause, then run the same command again with --retry-failed."])


@click.command()
@imaging
@click.argument("output")
@click.option("--points", metavar="FILE", help="Vector file of points: each is a click on an object, or on background.")
@click.option("--boxes", metavar="FILE", help="Vector file of any features: the bounding box of each is a prompt.")
@click.option("--polygons", metavar="FILE", help="Vector file of polygons: each is the rough outline of an object.")
@looking
@PROMPT_ZOOM
@PROMPT_SCALES
@click.option(
    "--refine", type=int, default=0, show_default=True, help="How many times the model is asked again with its previous answer."
)
@cleaning
@click.option(
    "--class-column",
    metavar="COLUMN",
    help="For a .tif: column of the prompts with their classes, which are drawn instead of numbers.",
)
@CACHE
@OVERWRITE
@LAYER
@Y_UP
@QUIET
def predict(
    image: OptionValue, output: str, bands: str | None, stretch: str | None, quiet: bool, **options: OptionValue
) -> None:
    """Segment prompted objects in IMAGE and write them to OUTPUT.

    Prompts are points, boxes, polygons or combinations of them: row i of each file belongs to prompt i. Points may have a
    column label, with 1 for foreground and 0 for background. Points with the same value in a column prompt are one prompt.

    Vector files may be in any CRS. A layer of a file with several layers is given as city.gpkg:roofs.

    OUTPUT gets one row for each prompt. If no object is found, the geometry is empty and the column reason says why. The suffix
    gives the format, as for `samgeo segment`.

    With more than 4,096 prompts, finished work is kept in the folder OUTPUT.run until the run is complete. The same command
    continues a stopped run. Exit code 143 means that SIGTERM stopped the run.
    """
    from samgeo.segmentation import predict_to_file
    from samgeo.segmentation.run import stop_on_sigterm

    options |= {"bands": parse_bands(bands), "stretch": parse_stretch(stretch), "progress": not quiet}
    options |= {"zoom": parse_zoom(options["zoom"]), "scales": parse_prompt_scales(options["scales"])}
    try:
        with stop_on_sigterm() as stop:
            done = predict_to_file(image, output, stop=stop, **options)
    except StoppedError as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(STOPPED) from None
    if not quiet:
        click.echo(f"{count(done.objects, 'object')} for {count(done.prompts, 'prompt')} in {output}", err=True)


@click.command()
@imaging
@click.argument("store", type=click.Path(path_type=Path))
@looking
@SCALES
@SCHEDULER
@WORKERS
@OVERWRITE
@click.option("--verify", is_flag=True, help="Read and check all stored embeddings, and compute damaged ones again.")
@QUIET
def encode(
    image: OptionValue, store: Path, bands: str | None, stretch: str | None, quiet: bool, **options: OptionValue
) -> None:
    """Compute the embeddings of IMAGE and write them to STORE.

    STORE is a Zarr folder. The commands segment, predict and footprints take it as --cache, and then do not encode the image
    again. An existing store is continued.

    With --scales auto, STORE gets all coarser windows that prompts on large objects may need.
    """
    from samgeo.segmentation import encode as run

    options |= {"scales": parse_prompt_scales(options["scales"])}
    done = run(image, store, bands=parse_bands(bands), stretch=parse_stretch(stretch), progress=not quiet, **options)
    if not quiet:
        there = f"{done.kept:,} were there, {done.empty:,} have no data"
        mended = f"; {done.mended:,} of them were encoded again because their files were damaged" if done.mended else ""
        scales = "" if len(done.scales) == 1 else f" at scales {', '.join(map(str, done.scales))}"
        click.echo(
            f"{count(done.encoded, 'window')} of {done.windows:,}{scales} encoded into {store}: {there}{mended}", err=True
        )


@click.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def status(run: str, as_json: bool) -> None:
    """Show the progress of a run, or what a store has.

    RUN is the folder of a run of `samgeo segment`, or its output, whose folder lies beside it. The command prints the finished
    and the failed windows, the rate and the remaining time.

    RUN may also be a store of `samgeo encode`. Then the command prints its scales, and how many of their windows are stored.
    """
    from samgeo.segmentation import run_status, store_status

    found: Status | StoreStatus
    try:
        is_store = (Path(run) / STORE_FILE).is_file()
    except OSError:  # a name that is too long, which the status of a run explains
        is_store = False
    if is_store:
        found = store_status(run)
        text = _tell_store(found)
    else:
        found = run_status(run)
        text = _tell_status(found)
    click.echo(json.dumps(asdict(found) | {"path": str(found.path)}, indent=2) if as_json else text)


def _tell_store(found: StoreStatus) -> str:
    scales = (
        f"scale {one.scale:<2} {one.stored:,} of {one.windows:,} windows of {one.window:,} pixels" for one in found.scales
    )
    return "\n".join([f"{found.path}: a store of embeddings", f"raster   {found.raster}", f"model    {found.model}", *scales])


def _tell_status(found: Status) -> str:
    lines = [
        f"{found.path}: {found.state}",
        f"raster   {found.raster}",
        f"model    {found.model}",
        f"windows  {found.done:,} of {found.windows:,} ({found.done / found.windows:.1%}), {found.rows:,} rows merged",
        f"objects  {found.objects:,} so far" if found.state != "complete" else f"objects  {found.objects:,}",
    ]
    if found.windows_per_second:
        lines.append(f"rate     {found.windows_per_second:.2f} windows a second")
    if found.seconds_left is not None:
        lines.append(f"left     {_duration(found.seconds_left)}")
    if found.failures:
        lines.append(f"failed   {count(len(found.failures), 'window')}:")
        for failure in found.failures[:MOST_SHOWN]:
            x0, y0, x1, y1 = failure.bounds_px
            lines.append(
                f"  row {failure.row}, column {failure.column} (pixels x {x0} to {x1}, y {y0} to {y1}) {failure.reason}"
            )
        if len(found.failures) > MOST_SHOWN:
            lines.append(f"  and {len(found.failures) - MOST_SHOWN:,} more; --json lists all")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
