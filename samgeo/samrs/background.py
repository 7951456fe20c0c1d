"""Which pixels of a picture are background, where the annotations are said to show every object of the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.geo.grid import Rect
from samgeo.samrs.asking import BoxMask
from samgeo.samrs.planning import ImageJob

__all__ = ["background_of"]


def background_of(
    valid: NDArray[np.bool_], rect: Rect, job: ImageJob, others: Sequence[int], answers: Mapping[int, BoxMask]
) -> NDArray[np.bool_]:
    """Return the pixels of a chip that are background unless one of its masks covers them.

    These have data and belong to no annotation without a mask in the chip. Such an annotation is an object all the same: where
    its mask was accepted, but the chip shows too little of it, the mask is not background; where there is no good mask, no
    pixel that its box touches is.

    Parameters
    ----------
    valid : ndarray of bool, shape (H, W)
        Where the chip has data.
    rect : Rect
        The chip in pixels of the image.
    job : ImageJob
        The image.
    others : sequence of int
        The annotations of the job that have no mask in the chip.
    answers : mapping of int to BoxMask
        Of the annotations that were asked.

    Returns
    -------
    ndarray of bool, shape (H, W)
    """
    background = np.array(valid, dtype=np.bool_, copy=True)
    boxes: list[shapely.Geometry] = []
    for number in others:
        answer = answers.get(number)
        if answer is None or answer.segment is None or answer.reason:
            boxes.append(job.outlines_px[number])
            continue
        mask = answer.segment.mask.clip(rect)
        if not mask.is_empty:
            part = mask.shift(-rect.x0, -rect.y0)
            inner = part.rect
            background[inner.y0 : inner.y1, inner.x0 : inner.x1][part.to_array(inner)] = False
    return background & ~_touched(boxes, rect)


def _touched(outlines: Sequence[shapely.Geometry], rect: Rect) -> NDArray[np.bool_]:
    """Return the pixels of a chip that polygons in pixels of the image touch."""
    from affine import Affine
    from rasterio.features import rasterize

    inside = shapely.clip_by_rect(np.array(outlines, dtype=np.object_), rect.x0, rect.y0, rect.x1, rect.y1)
    shapes = [(one, 1) for one in np.atleast_1d(inside) if shapely.area(one) > 0]
    if not shapes:
        return np.zeros(rect.shape, dtype=np.bool_)
    place = Affine.translation(rect.x0, rect.y0)
    drawn = rasterize(shapes, out_shape=rect.shape, transform=place, all_touched=True, dtype="uint8")
    return np.asarray(drawn == 1, dtype=np.bool_)
