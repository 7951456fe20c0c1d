"""The data card: what a data set is, how it was made, and what may be done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from samgeo.samrs.drawing import BACKGROUND, BACKGROUND_COLOR
from samgeo.samrs.recipe import SetOptions

__all__ = ["card"]

_PROMPTS = {
    "hbox": "horizontal boxes (H-Box)",
    "rhbox": "horizontal hulls of oriented boxes (RH-Box)",
    "rbox": "oriented boxes as soft masks, with their hulls (R-Box)",
}
_ON_TOP = {
    "annotation": "the annotation that comes later has it, as in SAMRS",
    "smallest": "the mask with fewer pixels has it",
}


def card(
    recipe: SetOptions,
    model: Mapping[str, str],
    statistics: Mapping[str, Any],
    licence: str,
    lost: Mapping[str, Sequence[str]],
) -> str:
    """Write the card.

    Parameters
    ----------
    recipe : SetOptions
    model : mapping
        ``name`` and ``digest``.
    statistics : mapping
        From `statistics`.
    licence : str
        As given; empty where it was not.
    lost : mapping of str to sequence of str
        What the formats besides cannot hold.

    Returns
    -------
    str
        Markdown.
    """
    from samgeo import __version__

    rows = "\n".join(
        f"| {one['id']} | {_cell(one['name'])} | {one['instances']:,} | {one['annotations']:,} | {one['pixels']:,} | "
        f"#{''.join(f'{value:02x}' for value in one['color'])} |"
        for one in statistics["classes"]
    )
    rejected = sum(statistics["rejected"].values())
    reasons = "".join(f"- {count:,}: {reason}\n" for reason, count in statistics["rejected"].items())
    options = "\n".join(f"| `{name}` | {_cell(repr(value))} |" for name, value in recipe.to_json().items())
    return f"""# Data card

Masks of instances, made of boxes by the recipe of SAMRS (Wang et al. 2023). Nobody has corrected them: what the boxes lack,
this lacks too.

| images | pictures | instances |
|---|---|---|
| {statistics["images"]:,} | {statistics["pictures"]:,} | {statistics["instances"]:,} |

Licence: {licence.strip() or "not stated; that of the images and of the annotations holds."}

## Classes

| value | class | instances | annotations | pixels | colour |
|---|---|---|---|---|---|
{_background_row(statistics)}{rows}
| 255 | unlabelled | | | {statistics["unlabelled_px"]:,} | #000000 |

{_unlabelled(recipe)}

## How

- Model `{model["name"]}`, digest `{model["digest"]}`; samgeo {__version__}.
- Prompts: {_PROMPTS[recipe.prompt]}, one mask each.
- A mask stays where the box around it has an IoU of {recipe.min_box_iou:g} or more with the box that was asked.
- Where masks overlap, {_ON_TOP[recipe.on_top]}.
- {_chips(recipe)}

Annotations, or their parts in a picture, without a mask: {rejected:,}, listed in `rejected.csv`.

{reasons}{_images(statistics)}{_split(statistics, recipe)}
## Files

| file | what |
|---|---|
| `gray/*.png` | class of each pixel (8 bits with a palette){_zero(recipe)}, 255 unlabelled |
| `color/*.png` | the same in colours |
| `instances/*.json` | COCO: masks as runs, the boxes that were annotated; `category_id` is {_category(recipe)} |
| `statistics.json`, `statistics.png` | instances, pixels and sizes by class |
| `rejected.csv`, `failed.csv` | annotations without masks, and images that could not be used, with the reasons |
| `reading.csv` | faulty records of the annotations that were left out, and what was repaired or assumed in reading them |
{_files(recipe)}
{_lost(lost)}## Options

| option | value |
|---|---|
{options}
"""


def _background_row(statistics: Mapping[str, Any]) -> str:
    if "background_px" not in statistics:
        return ""
    color = "".join(f"{value:02x}" for value in BACKGROUND_COLOR)
    return f"| {BACKGROUND} | background | | | {statistics['background_px']:,} | #{color} |\n"


def _zero(recipe: SetOptions) -> str:
    return f", {BACKGROUND} background" if recipe.annotations_complete else ""


def _category(recipe: SetOptions) -> str:
    return "the value in `gray`" if recipe.annotations_complete else "the value in `gray` plus 1"


def _unlabelled(recipe: SetOptions) -> str:
    if not recipe.annotations_complete:
        return "Unlabelled is not background: there may be objects that have no annotation, or whose masks were kept out."
    return (
        "The annotations were said to be complete: background is what has data and belongs to no annotation. Unlabelled are "
        "pixels without data, and the ground of annotations that have no mask in a picture."
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _chips(recipe: SetOptions) -> str:
    if recipe.chip is None:
        return "Images are not cut."
    return (
        f"Chips of {recipe.chip} pixels that share {recipe.chip_overlap} or more. A chip has an annotation of which it shows "
        f"{recipe.min_visible:.0%} or more of what the image shows; the pixels of others stay unlabelled. Objects "
        "were segmented on the whole image and cut then."
    )


def _images(statistics: Mapping[str, Any]) -> str:
    failed = statistics["failed_images"]
    return f"\nImages that could not be used: {failed:,}, listed in `failed.csv`.\n" if failed else ""


def _split(statistics: Mapping[str, Any], recipe: SetOptions) -> str:
    if "split" not in statistics:
        return ""
    rows = "\n".join(f"| {name} | {one['pictures']:,} | {one['instances']:,} |" for name, one in statistics["split"].items())
    return f"""
## Split

By blocks of ground (images without a georeference: by image), drawn with seed {recipe.seed}. No two parts show the same ground:
pictures of train, and then of val, that would are left out.

| part | pictures | instances |
|---|---|---|
{rows}
"""


def _files(recipe: SetOptions) -> str:
    rows = []
    if recipe.chip is not None or recipe.copy_images:
        rows.append("| `images/*` | the pictures |")
    if recipe.split is not None:
        rows.append("| `train.txt`, `val.txt`, `test.txt` | names of the pictures of each part |")
    if recipe.polygons:
        rows.append("| `polygons.parquet` | the whole objects, each once, georeferenced |")
    if "torchgeo" in recipe.exports:
        rows.append("| `masks/*.tif` | as `gray`, georeferenced |")
    rows += [f"| `exports/{name}` | the same instances |" for name in sorted(recipe.exports) if name != "torchgeo"]
    return "\n".join(rows) + "\n" if rows else ""


def _lost(lost: Mapping[str, Sequence[str]]) -> str:
    lines = [f"- `{name}`: {sentence}\n" for name, sentences in lost.items() for sentence in sentences]
    return "Beside what COCO holds, these lack:\n\n" + "".join(lines) + "\n" if lines else ""
