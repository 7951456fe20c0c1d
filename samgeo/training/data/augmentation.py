"""Augmentation of overhead imagery: random changes that imitate seasons, sensors and weather."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

__all__ = ["ODDS", "augment"]

# Probability of each change, in the order in which the changes are made.
ODDS = {
    "expose": 0.85, "gamma": 0.3, "mix_bands": 0.3, "lose_band": 0.08, "panchromatic": 0.24, "haze": 0.15, "shade": 0.15,
    "blur": 0.25, "noise": 0.25,
}  # fmt: skip
Pixels = NDArray[np.float32]


def augment(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change the appearance of an image at random; objects stay in place.

    The changes are exposure and colour, gamma, mixed or lost bands, panchromatic imagery with a percentile stretch, haze,
    shadows of clouds, blur and noise. Each has its own probability.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        Pixels of (0, 0, 0) hold no data and stay so.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    valid = np.asarray(image.any(2))
    if not valid.any():
        return image
    pixels: Pixels = image.astype(np.float32)
    for name, probability in ODDS.items():
        if rng.random() < probability:
            change = _CHANGES[name]
            pixels = change(pixels, valid, rng)
    return np.asarray((np.clip(pixels, 0, 255) * valid[..., None]).astype(np.uint8))


def _expose(pixels: Pixels, valid: NDArray[np.bool_], rng: np.random.Generator) -> Pixels:
    pixels = _float(pixels * (rng.uniform(0.75, 1.3) * (1 + rng.normal(0, 0.05, 3))))
    mean = pixels[valid].mean(0)
    return _float((pixels - mean) * rng.uniform(0.7, 1.4) + mean + rng.normal(0, 9))


def _gamma(pixels: Pixels, _: NDArray[np.bool_], rng: np.random.Generator) -> Pixels:
    return _float(255 * (np.clip(pixels, 0, 255) / 255) ** np.exp(rng.normal(0, 0.3)))


def _mix_bands(pixels: Pixels, _: NDArray[np.bool_], rng: np.random.Generator) -> Pixels:
    mix = np.eye(3) + rng.normal(0, 0.08, (3, 3))
    return _float(pixels @ (mix / mix.sum(1, keepdims=True)).T)


def _lose_band(pixels: Pixels, _: NDArray[np.bool_], rng: np.random.Generator) -> Pixels:
    changed = pixels.copy()
    changed[..., rng.integers(3)] = pixels[..., rng.integers(3)]
    return changed


def _panchromatic(pixels: Pixels, valid: NDArray[np.bool_], rng: np.random.Generator) -> Pixels:
    grey = pixels @ rng.dirichlet((2, 2, 2))
    if rng.random() < 0.6:
        low, high = np.percentile(grey[valid], [rng.uniform(0.2, 3), rng.uniform(97, 99.8)])
        grey = (grey - low) / max(high - low, 8) * 255
    return _float(np.repeat(grey[..., None], 3, axis=2))


def _haze(pixels: Pixels, valid: NDArray[np.bool_], rng: np.random.Generator) -> Pixels:
    share = np.clip(_smooth(rng.uniform(0, 1, (3, 3)), valid.shape), 0, 1)[..., None] * rng.uniform(0.1, 0.55)
    return _float(pixels * (1 - share) + share * rng.uniform(170, 240))


def _shade(pixels: Pixels, valid: NDArray[np.bool_], rng: np.random.Generator) -> Pixels:
    cloud = _smooth(rng.normal(0, 1, (5, 5)), valid.shape) > rng.uniform(0.3, 1.2)
    return _float(pixels * np.where(cloud, rng.uniform(0.45, 0.8), 1)[..., None])


def _blur(pixels: Pixels, _: NDArray[np.bool_], rng: np.random.Generator) -> Pixels:
    sigma = rng.uniform(0.4, 1.3)
    return _float(ndimage.gaussian_filter(pixels, (sigma, sigma, 0), truncate=2.5))


def _noise(pixels: Pixels, valid: NDArray[np.bool_], rng: np.random.Generator) -> Pixels:
    channels = 1 if rng.random() < 0.5 else 3
    return _float(pixels + rng.normal(0, rng.uniform(2, 10), (*valid.shape, channels)))


def _smooth(coarse: NDArray[np.float64], shape: tuple[int, int]) -> Pixels:
    small = Image.fromarray(coarse.astype(np.float32))
    return _float(np.asarray(small.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)))


def _float(pixels: NDArray[np.floating]) -> Pixels:
    return np.asarray(pixels, dtype=np.float32)


_CHANGES: dict[str, Callable[[Pixels, NDArray[np.bool_], np.random.Generator], Pixels]] = {
    "expose": _expose,
    "gamma": _gamma,
    "mix_bands": _mix_bands,
    "lose_band": _lose_band,
    "panchromatic": _panchromatic,
    "haze": _haze,
    "shade": _shade,
    "blur": _blur,
    "noise": _noise,
}
