"""Pictures that are drawn in no time."""

from __future__ import annotations

import numpy as np

from samgeo.training.data.pictures import Picture


def squares(name: str, side: int = 96, seed: int = 0) -> Picture:
    """Bright squares on dark ground, one on each cell of a 3 x 3 lattice."""
    rng = np.random.default_rng(seed)
    image = rng.integers(20, 60, (side, side, 3)).astype(np.uint8)
    ids = np.zeros((side, side), dtype=np.uint16)
    cell = side // 3
    for number in range(9):
        top, left = (number // 3) * cell + 6, (number % 3) * cell + 6
        part = slice(top, top + cell - 12), slice(left, left + cell - 12)
        ids[part] = number + 1
        image[part] = rng.integers(150, 250, 3)
    return Picture(name, image, {"building": ids})
