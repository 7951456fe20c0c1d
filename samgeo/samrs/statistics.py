"""What a data set has: instances, pixels and sizes by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from samgeo.samrs.drawing import first_value
from samgeo.samrs.parts import ImagePart
from samgeo.samrs.split import PARTS

__all__ = ["statistics"]


def statistics(
    parts: Sequence[ImagePart],
    classes: Sequence[str],
    colors: Sequence[tuple[int, int, int]],
    part_of: Mapping[str, str] | None,
    failed: int,
    *,
    annotations_complete: bool = False,
) -> dict[str, Any]:
    """Count.

    Parameters
    ----------
    parts : sequence of ImagePart
    classes : sequence of str
    colors : sequence of (int, int, int)
    part_of : mapping of str to str, optional
        ImagePart of the split by picture.
    failed : int
        Images that could not be used.
    annotations_complete : bool, default False
        Whether pictures have background: their classes then begin at 1, and ``background_px`` is counted too.

    Returns
    -------
    dict
        For JSON. ``classes`` has for each ``id``, its value in the pictures, ``instances``, ``annotations`` (of which these
        show the masks: fewer where chips overlap), ``size_px``, the sum of the instances' pixels, ``pixels``, those in the
        pictures of classes (fewer where masks
        overlap), and ``histogram``, the number of instances with at least as many pixels as each of ``size_edges`` and fewer
        than the next.
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
