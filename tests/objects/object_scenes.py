"""Generated towns in which some roofs have another colour."""

import numpy as np
from numpy.typing import NDArray

from samgeo.synthetic import Scene

TINTS = ((0.35, 0.5, 1.0), (0.4, 0.9, 0.45), (0.9, 0.35, 0.8))


def recolored(scene: Scene, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the image of a town in which the roofs with the given ids are blue, green and magenta."""
    image = scene.image.copy()
    for tint, number in zip(TINTS, ids.tolist(), strict=True):
        roof = scene.labels == number
        image[roof] = np.clip(1.3 * image[roof].mean(axis=1, keepdims=True) * np.array(tint), 0, 255).astype(np.uint8)
    return image
