"""Pseudo-labels for images without labels: regions of even colour and texture at three scales."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.training.data.examples import Layer
from samgeo.training.data.pictures import Picture, renumber

__all__ = ["LAYERS", "LEVELS", "Level", "regions", "with_regions"]

MIN_AREA_PX, MAX_SHARE = 40, 0.4
SIGMA = 0.7


@dataclass(frozen=True, slots=True)
class Level:
    """Options for the size of regions.

    Attributes
    ----------
    scale : float
        Felzenszwalb's k for an image of 0 to 255. Larger values make larger regions.
    min_size : int
        Smallest size in pixels. Smaller regions are joined to a neighbour.
    """

    scale: float
    min_size: int


LEVELS: Mapping[str, Level] = {"fine": Level(60, 40), "middle": Level(200, 100), "coarse": Level(600, 250)}
"""Levels of the regions: parts of a tree, then crowns and roofs, then plots. `with_regions` makes a layer for each level."""

# Trust is low, because a region of even colour need not be the object that a user wants.
LAYERS: Mapping[str, Layer] = {"fine": Layer(0.3, trust=0.1), "middle": Layer(0.4, trust=0.1), "coarse": Layer(0.3, trust=0.1)}
"""Layers of regions, with the share and the trust that training gives to each."""


def regions(image: NDArray[np.uint8], level: Level) -> NDArray[np.int64]:
    """Split an image into regions by the graph-based method of Felzenszwalb and Huttenlocher (2004).

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    level : Level

    Returns
    -------
    ndarray of int, shape (H, W)
        Region ids from 1. The id is 0 where the image is (0, 0, 0), which means no data.

    Raises
    ------
    OptionError
        If scikit-image is not installed.
    """
    ids: NDArray[np.int64] = felzenszwalb()(image, scale=level.scale, sigma=SIGMA, min_size=level.min_size).astype(np.int64) + 1
    ids[~image.any(2)] = 0
    return ids


def with_regions(name: str, image: NDArray[np.uint8]) -> Picture:
    """Return a picture of an image with its regions as the layers fine, middle and coarse.

    Parameters
    ----------
    name : str
    image : ndarray of uint8, shape (H, W, 3)

    Returns
    -------
    Picture
        Without regions of fewer than 40 pixels or of more than 40 % of the image.

    Raises
    ------
    OptionError
        If scikit-image is not installed.
    """
    layers = {}
    for layer, level in LEVELS.items():
        ids = regions(image, level)
        sizes = np.bincount(ids.ravel())
        ids[sizes[ids] >= MAX_SHARE * ids.size] = 0
        layers[layer] = renumber(ids, MIN_AREA_PX, name)
    return Picture(name, image, layers)


def felzenszwalb() -> Callable[..., NDArray[np.int64]]:
    """Return the function ``skimage.segmentation.felzenszwalb``.

    Raises
    ------
    OptionError
        If scikit-image is not installed.
    """
    try:
        from skimage.segmentation import felzenszwalb as function
    except ImportError:
        raise OptionError("regions need scikit-image, which is not installed; pip install 'samgeo[train]'.") from None
    found: Callable[..., NDArray[np.int64]] = function
    return found
