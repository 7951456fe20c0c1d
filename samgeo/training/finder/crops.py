"""Random crops of pictures with all objects of some classes, for training a finder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.training.data.augmentation import augment
from samgeo.training.data.examples import MAX_EMPTY, TRIES, Source, cut_crop

__all__ = ["Crop", "draw_crop"]

# Share of the crops without any object that are used.
EMPTY_SHARE = 0.3
# Probability that a crop is made as coarse as an image of a lower resolution, and the range of the factor.
COARSE, COARSE_FACTORS = 0.2, (1.5, 4.5)


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A square crop with the objects of each class.

    Attributes
    ----------
    source : str
        Name of the source.
    image : ndarray of uint8, shape (S, S, 3)
    layers : tuple of ndarray of uint16, shape (S, S)
        For each class, the number of the object at each pixel, or 0.
    """

    source: str
    image: NDArray[np.uint8]
    layers: tuple[NDArray[np.uint16], ...]


def draw_crop(sources: Sequence[Source], classes: Sequence[str], side: int, rng: np.random.Generator) -> Crop:
    """Draw a random crop. All objects of the classes must be in the layers of the pictures: what is in no layer is background.

    Parameters
    ----------
    sources : sequence of Source
        A picture of a source is drawn in proportion to the square root of its area. Layers that a source does not name are not
        used.
    classes : sequence of str
        Names of the layers. A picture that lacks a layer has no object of this class.
    side : int
        Side of the crop in pixels.
    rng : numpy.random.Generator
        The same state draws the same crop.

    Returns
    -------
    Crop

    Raises
    ------
    OptionError
        If no crop with data is found in many tries.
    """
    weights = np.array([source.weight for source in sources])
    for _ in range(TRIES):
        source = sources[int(rng.choice(len(sources), p=weights / weights.sum()))]
        areas = np.array([math.sqrt(picture.image.size) for picture in source.pictures])
        picture = source.pictures[int(rng.choice(len(areas), p=areas / areas.sum()))]
        there = [name for name in classes if name in source.layers and name in picture.layers]
        image, found = cut_crop(picture, there, side, source.scales, rng)
        empty = not any(ids.any() for ids in found.values())
        if (~image.any(2)).mean() > MAX_EMPTY or (empty and rng.random() > EMPTY_SHARE):
            continue
        nothing = np.zeros((side, side), np.uint16)
        layers = tuple(found.get(name, nothing) for name in classes)
        if rng.random() < COARSE:
            image = _coarsened(image, math.exp(rng.uniform(*np.log(COARSE_FACTORS))))
        return Crop(source.name, augment(image, rng), layers)
    names = ", ".join(source.name for source in sources)
    raise OptionError(f"{TRIES} crops of {side} px had no data or no object; check the labels and the scales of {names}.")


def _coarsened(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Return an image as a sensor with pixels that are larger by a factor would see it; pixels without data stay so."""
    from PIL import Image

    side = len(image)
    small = max(round(side / factor), 8)
    picture = Image.fromarray(image).resize((small, small), Image.Resampling.BOX)
    again = np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))
    return np.asarray(np.where(image.any(2)[..., None], np.maximum(again, 1), 0), dtype=np.uint8)
