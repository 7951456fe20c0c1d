"""Statistics, chart and data card of a SAMRS data set; `finishing` writes them when all images are done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from samgeo import __version__
from samgeo.samrs.drawing import BACKGROUND, BACKGROUND_COLOR, first_value
from samgeo.samrs.folder import ImagePart
from samgeo.samrs.recipe import SetOptions
from samgeo.samrs.split import PARTS

__all__ = ["card", "chart", "statistics"]


def statistics(
    parts: Sequence[ImagePart],
    classes: Sequence[str],
    colors: Sequence[tuple[int, int, int]],
    part_of: Mapping[str, str] | None,
    failed: int,
    *,
    annotations_complete: bool = False,
) -> dict[str, Any]:
    """Count the instances, pixels and sizes of a data set.

    Parameters
    ----------
    parts : sequence of ImagePart
        Records of the images.
    classes : sequence of str
        Names of the classes.
    colors : sequence of (int, int, int)
        Colour of each class.
    part_of : mapping of str to str, optional
        Part of the split for each picture.
    failed : int
        Number of images that could not be used.
    annotations_complete : bool, default False
        Whether label images have background. Class values then start at 1, and ``background_px`` is counted.

    Returns
    -------
    dict
        The statistics for JSON. ``classes`` has these values for each class:

        - ``id``: the value in the label images.
        - ``instances``: number of masks.
        - ``annotations``: number of annotations with these masks, which is smaller if chips overlap.
        - ``size_px``: sum of the pixels of the instances.
        - ``pixels``: number of pixels in the label images, which is smaller if masks overlap.
        - ``histogram``: number of instances whose number of pixels is at least one of ``size_edges`` and below the next.
    """
    pictures = [picture for part in parts for picture in part.pictures]
    sizes: list[list[int]] = [[] for _ in classes]
    pixels = [0] * len(classes)
    seen: list[set[int]] = [set() for _ in classes]
    for picture in pictures:
        for label, count in picture.pixels:
            pixels[label] += count
        for one in picture.instances:
            sizes[one.label].append(one.size_px)
            seen[one.label].add(one.annotation)
    largest = max((max(some) for some in sizes if some), default=1)
    edges = [1 << power for power in range(largest.bit_length() + 1)]
    background = sum(picture.background_px for picture in pictures)
    first = first_value(annotations_complete)
    total = sum(picture.height * picture.width for picture in pictures)
    result: dict[str, Any] = {
        "pictures": len(pictures),
        "images": sum(bool(part.pictures) for part in parts),
        "instances": sum(map(len, sizes)),
        "total_px": total,
        "labelled_px": sum(pixels),
        **({"background_px": background} if annotations_complete else {}),
        "unlabelled_px": total - sum(pixels) - background,
        "size_edges": edges,
        "classes": [
            {
                "id": number + first,
                "name": name,
                "color": list(colors[number]),
                "instances": len(sizes[number]),
                "annotations": len(seen[number]),
                "size_px": sum(sizes[number]),
                "pixels": pixels[number],
                "median_size_px": float(np.median(sizes[number])) if sizes[number] else None,
                "histogram": np.histogram(sizes[number], edges)[0].tolist(),
            }
            for number, name in enumerate(classes)
        ],
        "rejected": dict(sorted(Counter(one.reason for part in parts for one in part.rejected).items())),
        "failed_images": failed,
    }
    if part_of is not None:
        result["split"] = {
            name or "left out": {
                "pictures": sum(part_of[picture.name] == name for picture in pictures),
                "instances": sum(len(picture.instances) for picture in pictures if part_of[picture.name] == name),
            }
            for name in (*PARTS, "")
        }
    return result


_FONT_PX, _ROW_PX, _PAD_PX = 13, 30, 14
_NAME_PX, _BAR_PX, _NUMBER_PX, _CELL_PX = 190, 190, 78, 16
_PAPER, _INK, _FAINT = (255, 255, 255), (30, 30, 30), (225, 225, 225)


def chart(statistics: dict[str, Any]) -> Image.Image:
    """Draw a chart of the statistics.

    Each class has a row with its colour, name, instances, pixels, and a histogram of its sizes.

    Parameters
    ----------
    statistics : dict
        Result of `statistics`.

    Returns
    -------
    PIL.Image.Image
        The chart.
    """
    classes, edges = statistics["classes"], statistics["size_edges"]
    font = ImageFont.load_default(_FONT_PX)
    bar_step = _BAR_PX + _NUMBER_PX
    first = _PAD_PX + _NAME_PX
    sizes = first + 2 * bar_step
    bins = max(len(edges) - 1, 1)
    width = sizes + max(bins * _CELL_PX, 260) + _PAD_PX
    top = _PAD_PX + 2 * _ROW_PX
    picture = Image.new("RGB", (width, top + _ROW_PX * len(classes) + _ROW_PX + _PAD_PX), _PAPER)
    pen = ImageDraw.Draw(picture)
    title = f"{statistics['instances']:,} instances in {statistics['pictures']:,} pictures"
    pen.text((_PAD_PX, _PAD_PX), title, fill=_INK, font=font)
    heads = ((first, "instances"), (first + bar_step, "pixels"), (sizes, "instances by size (pixels, log scale)"))
    for x, text in heads:
        pen.text((x, _PAD_PX + _ROW_PX), text, fill=_INK, font=font)
    most = [max((one[name] for one in classes), default=0) or 1 for name in ("instances", "pixels")]
    for row, one in enumerate(classes):
        y, color = top + row * _ROW_PX, tuple(one["color"])
        pen.rectangle((_PAD_PX, y + 4, _PAD_PX + 16, y + 20), fill=color, outline=_INK)
        pen.text((_PAD_PX + 24, y + 3), _shortened(one["name"], pen, font, _NAME_PX - 34), fill=_INK, font=font)
        for column, name in enumerate(("instances", "pixels")):
            x = first + column * bar_step
            length = round((_BAR_PX - 8) * one[name] / most[column])
            pen.rectangle((x, y + 4, x + length, y + 20), fill=color, outline=_INK if length else None)
            pen.text((x + length + 5, y + 3), f"{one[name]:,}", fill=_INK, font=font)
        _histogram(pen, one["histogram"], color, (sizes, y))
    y = top + len(classes) * _ROW_PX
    for index in range(0, len(edges), 4):
        pen.text((sizes + index * _CELL_PX, y + 2), f"{edges[index]:,}", fill=_INK, font=font)
    return picture


def _histogram(pen: ImageDraw.ImageDraw, counts: list[int], color: tuple[int, ...], corner: tuple[int, int]) -> None:
    """Draw the histogram of one class; the highest column has the full height."""
    x, y = corner
    bottom, most = y + _ROW_PX - 6, max(counts, default=0) or 1
    pen.line((x, bottom, x + len(counts) * _CELL_PX, bottom), fill=_FAINT)
    for index, count in enumerate(counts):
        if count:
            height = max(round((_ROW_PX - 10) * count / most), 1)
            left = x + index * _CELL_PX
            pen.rectangle((left + 1, bottom - height, left + _CELL_PX - 2, bottom), fill=color, outline=_INK)


def _shortened(text: str, pen: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """Shorten a text, so that it fits into a width in pixels."""
    if pen.textlength(text, font=font) <= width:
        return text
    while text and pen.textlength(text + "...", font=font) > width:
        text = text[:-1]
    return text + "..."


_PROMPTS = {
    "hbox": "horizontal boxes (H-Box)",
    "rhbox": "horizontal bounds of oriented boxes (RH-Box)",
    "rbox": "oriented boxes as soft masks, together with their horizontal bounds (R-Box)",
}
_ON_TOP = {
    "annotation": "the later annotation is on top, as in SAMRS",
    "smallest": "the mask with fewer pixels is on top",
}


def card(
    recipe: SetOptions,
    model: Mapping[str, str],
    statistics: Mapping[str, Any],
    license: str,  # noqa: A002 - the word of the field
    lost: Mapping[str, Sequence[str]],
) -> str:
    """Return the data card of a data set.

    Parameters
    ----------
    recipe : SetOptions
        Options of the data set.
    model : mapping
        ``name`` and ``digest`` of the model.
    statistics : mapping
        Result of `statistics`.
    license : str
        The given licence; empty if none was given.
    lost : mapping of str to sequence of str
        What each export format cannot hold.

    Returns
    -------
    str
        Text in Markdown.
    """
    rows = "\n".join(
        f"| {one['id']} | {_cell(one['name'])} | {one['instances']:,} | {one['annotations']:,} | {one['pixels']:,} | "
        f"#{''.join(f'{value:02x}' for value in one['color'])} |"
        for one in statistics["classes"]
    )
    rejected = sum(statistics["rejected"].values())
    reasons = "".join(f"- {count:,}: {reason}\n" for reason, count in statistics["rejected"].items())
    options = "\n".join(f"| `{name}` | {_cell(repr(value))} |" for name, value in recipe.to_json().items())
    return f"""# Data card

These masks of instances were made from boxes by the recipe of SAMRS (Wang et al. 2023). Nobody has corrected them, and objects
without a box have no mask.{_found_by(recipe)}

| images | pictures | instances |
|---|---|---|
| {statistics["images"]:,} | {statistics["pictures"]:,} | {statistics["instances"]:,} |

Licence: {license.strip() or "not stated. The licences of the images and of the annotations apply."}

## Classes

| value | class | instances | annotations | pixels | colour |
|---|---|---|---|---|---|
{_background_row(statistics)}{rows}
| 255 | unlabelled | | | {statistics["unlabelled_px"]:,} | #000000 |

{_unlabelled(recipe)}

## How it was made

- Model `{model["name"]}`, digest `{model["digest"]}`; samgeo {__version__}.
- Prompts: {_PROMPTS[recipe.prompt]}, with one mask for each prompt.
- A mask was kept if its bounding box has an IoU of {recipe.min_box_iou:g} or more with the box of the prompt.
- Where masks overlap in a picture of the classes, {_ON_TOP[recipe.on_top]}.
- {_chips(recipe)}

Annotations, or their parts in a picture, that have no mask: {rejected:,}. `rejected.csv` lists them.

{reasons}{_failed_images(statistics)}{_split(statistics, recipe)}
## Files

| file | content |
|---|---|
| `gray/*.png` | class of each pixel (8 bits with a palette){_background_value(recipe)}, 255 unlabelled |
| `color/*.png` | the same in colours |
| `instances/*.json` | COCO: masks as run lengths, and the annotated boxes; `category_id` is {_category_id(recipe)} |
| `statistics.json`, `statistics.png` | numbers of instances and pixels, and sizes of instances, for each class |
| `rejected.csv`, `failed.csv` | annotations without a mask, and images that could not be used, with the reasons |
| `reading.csv` | faulty records of the annotations, which were omitted, and what was repaired or assumed when they were read |
{_files(recipe)}
{_export_losses(lost)}## Options

| option | value |
|---|---|
{options}
"""


def _found_by(recipe: SetOptions) -> str:
    """Return the sentence about boxes that nobody annotated."""
    by = recipe.found_by
    return (
        "" if by is None else f" The boxes were found by `{by['name']}`, digest `{by['digest']}`, and nobody has checked them."
    )


def _background_row(statistics: Mapping[str, Any]) -> str:
    """Return the row of the background in the table of classes."""
    if "background_px" not in statistics:
        return ""
    color = "".join(f"{value:02x}" for value in BACKGROUND_COLOR)
    return f"| {BACKGROUND} | background | | | {statistics['background_px']:,} | #{color} |\n"


def _background_value(recipe: SetOptions) -> str:
    """Return the part of a phrase that names the value of the background."""
    return f", {BACKGROUND} background" if recipe.annotations_complete else ""


def _category_id(recipe: SetOptions) -> str:
    """Return the part of a sentence that explains ``category_id``."""
    return "the value in `gray`" if recipe.annotations_complete else "the value in `gray` plus 1"


def _unlabelled(recipe: SetOptions) -> str:
    """Return the sentences that explain the value for unlabelled."""
    if not recipe.annotations_complete:
        return (
            "Unlabelled does not mean background: these pixels can show objects that have no annotation or whose mask was "
            "rejected."
        )
    return (
        "The annotations were declared to be complete, so that pixels with data that belong to no annotation are background. "
        "Unlabelled are pixels without data, and pixels of annotations that have no mask in a picture."
    )


def _cell(text: str) -> str:
    """Escape a text for a Markdown table."""
    return text.replace("|", "\\|")


def _chips(recipe: SetOptions) -> str:
    """Return the sentences about chips."""
    if recipe.chip is None:
        return "Images were not cut into chips."
    return (
        f"Images were cut into chips of {recipe.chip} x {recipe.chip} pixels that overlap by {recipe.chip_overlap} pixels or "
        f"more. A chip has an annotation if it shows {recipe.min_visible:.0%} or more of the area that the image shows; the "
        "pixels of other annotations stay unlabelled. Objects were segmented in the whole image, and their masks were then cut."
    )


def _failed_images(statistics: Mapping[str, Any]) -> str:
    """Return the sentence about images that could not be used."""
    failed = statistics["failed_images"]
    return f"\nImages that could not be used: {failed:,}. `failed.csv` lists them.\n" if failed else ""


def _split(statistics: Mapping[str, Any], recipe: SetOptions) -> str:
    """Return the section about the split."""
    if "split" not in statistics:
        return ""
    rows = "\n".join(f"| {name} | {one['pictures']:,} | {one['instances']:,} |" for name, one in statistics["split"].items())
    return f"""
## Split

The pictures were divided by blocks of ground, and those of images without a georeference by image, in a random order with the
seed {recipe.seed}. No two parts show the same ground: where pictures of two parts did, that of train was left out, or that of
val if none was of train.

| part | pictures | instances |
|---|---|---|
{rows}
"""


def _files(recipe: SetOptions) -> str:
    """Return the rows of the table of files that depend on the options."""
    rows = []
    if recipe.chip is not None or recipe.copy_images:
        rows.append("| `images/*` | the pictures: chips, or copies of the images |")
    if recipe.split is not None:
        rows.append("| `train.txt`, `val.txt`, `test.txt` | names of the pictures of each part |")
    if recipe.polygons:
        rows.append("| `polygons.parquet` | the whole objects, each once, with georeference |")
    if "torchgeo" in recipe.exports:
        rows.append("| `masks/*.tif` | the same as `gray`, with georeference |")
    rows += [
        f"| `exports/{name}` | the same instances in this format |" for name in sorted(recipe.exports) if name != "torchgeo"
    ]
    return "\n".join(rows) + "\n" if rows else ""


def _export_losses(lost: Mapping[str, Sequence[str]]) -> str:
    """Return the list of what the export formats cannot hold, in Markdown."""
    lines = [f"- `{name}`: {sentence}\n" for name, sentences in lost.items() for sentence in sentences]
    return "The exports do not hold all that the COCO files hold:\n\n" + "".join(lines) + "\n" if lines else ""
