"""Cut pixels of hand-made pieces, in rasters that have data everywhere."""

import numpy as np

from samgeo.geo.grid import Rect
from samgeo.geo.levels import Levels
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.windows.cut_edges import cut_pixels, edge_px

NOTHING = Mask(np.empty((0, 3), dtype=np.int32))


def cut_at(mask: Mask, levels: Levels, window: tuple[int, int], *, cut: bool = True) -> Mask:
    """Return the cut pixels of a piece of a window; none where ``cut`` says that the piece is to count as whole."""
    if not cut:
        return NOTHING
    scale, lattice, _ = levels.locate(window[0])
    rect, (height, width) = levels.rect(*window), levels.shape
    data = Mask.from_array(np.ones((height, width), dtype=np.bool_))
    grown = Rect(rect.x0 - scale, rect.y0 - scale, rect.x1 + scale, rect.y1 + scale)
    known = data.to_array(grown)[::scale, ::scale]
    (found,) = cut_pixels([mask.shift(-rect.x0, -rect.y0)], known, edge_px(lattice.overlap // scale), scale)
    assert not found.is_empty, "a piece that is cut reaches an edge of its window behind which there is data"
    return found.shift(rect.x0, rect.y0)
