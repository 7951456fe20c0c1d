"""Appearance of a town at one date: sun, season, air, camera, and the position of the image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import shift

from samgeo.synthetic.painting.canvas import CLASSES, Canvas, Streams, Sun

__all__ = ["Appearance", "displace", "turn_season"]

_VEIL = np.array((206, 212, 220), dtype=np.float32)  # colour of haze
_BRIGHTNESS = np.array([0.299, 0.587, 0.114], dtype=np.float32)

# For each class of plants: colour at the end of the dry season and of the rainy season, and the largest share of that colour.
_PLANTS = {
    "grass": ((186, 164, 116), (92, 114, 62), 0.8),
    "field": ((184, 158, 108), (92, 114, 62), 0.5),
    "tree": ((148, 112, 62), (60, 86, 44), 0.5),
}


@dataclass(frozen=True, slots=True)
class Appearance:
    """What makes images of one town differ from date to date, although no object changed.

    Attributes
    ----------
    sun : Sun
    date : int, default 0
        Number of the date, which decides which cars are absent.
    exposure : int, default 0
        Number of the exposure: images with the same number have the same noise.
    gain : float, default 1
        Factor of the brightness.
    tint : (float, float, float), default (1, 1, 1)
        Factors of red, green and blue.
    season : float, default 0
        From -1, at the end of the rainy season, to 1, at the end of the dry season.
    haze : float, default 0
        Share of the light that haze replaces, from 0 to 1.
    shift_px : (float, float), default (0, 0)
        Displacement of the image to the right and down, in pixels.
    absent_cars : float, default 0
        Probability of each car to be absent.
    """

    sun: Sun
    date: int = 0
    exposure: int = 0
    gain: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    season: float = 0.0
    haze: float = 0.0
    shift_px: tuple[float, float] = (0.0, 0.0)
    absent_cars: float = 0.0

    @classmethod
    def first(cls, streams: Streams) -> Appearance:
        """Return the appearance of a town of one date."""
        return cls(_sun(streams.of("scene"), (44, 56)))

    def develop(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the image of the light that reaches the camera through haze, with the gain and tint of the camera."""
        if self.haze > 0:
            image = image * np.float32(1 - self.haze) + np.float32(self.haze) * _VEIL
        if self.gain != 1 or self.tint != (1, 1, 1):
            image = image * np.array([self.gain * one for one in self.tint], dtype=np.float32)
        return image

    def under_other_light(self, streams: Streams) -> Appearance:
        """Return the appearance with a sun, gain, tint and noise of its date; at odd dates the sun is on the other side."""
        rng = streams.of("light", self.date)
        sun = _sun(rng, (36, 64))
        if self.date % 2 and (sun.x > 0) == (self.sun.x > 0):
            sun = Sun(-sun.x, sun.y, sun.z)
        red, green, blue = rng.normal(1, 0.025, 3).tolist()
        return replace(self, sun=sun, exposure=self.date, gain=float(rng.uniform(0.8, 1.2)), tint=(red, green, blue))


def _sun(rng: np.random.Generator, elevation_deg: tuple[float, float]) -> Sun:
    return Sun.at(int(rng.integers(3, 9)), float(rng.uniform(*elevation_deg)), east=bool(rng.random() < 0.6))


def turn_season(canvas: Canvas, season: float) -> None:
    """Change the colours of grass, fields and trees to those of a season from -1 (rainy) to 1 (dry); their texture stays."""
    for name, (dry, rainy, share) in _PLANTS.items():
        inside = canvas.classes == CLASSES.index(name)
        if season == 0 or not inside.any():
            continue
        colour = canvas.colour[inside]
        bright = colour @ _BRIGHTNESS
        target = (bright / max(float(bright.mean()), 1e-6))[:, None] * np.array(dry if season > 0 else rainy, np.float32)
        canvas.colour[inside] = colour + np.float32(share * abs(season)) * (target - colour)


def displace(image: NDArray[np.float32], shift_px: tuple[float, float]) -> NDArray[np.float32]:
    """Move an image to the right and down by cubic splines. What comes in from outside repeats the pixels of the edge."""
    if not any(shift_px):
        return image
    moved = [shift(image[..., band], shift_px[::-1], order=3, mode="nearest") for band in range(image.shape[2])]
    return np.asarray(np.stack(moved, axis=-1), dtype=np.float32)
