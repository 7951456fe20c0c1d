"""Light and camera: shadows of the sun, light of the sky, and the exposure of the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from samgeo.synthetic.painting.appearance import Appearance, displace
from samgeo.synthetic.painting.canvas import SUB, Canvas, noise

__all__ = ["expose", "shadows"]

# Shares of red, green and blue light on level ground. The light of the sky in shadows is bluish; sunlight is reddish.
_SKY = np.array([0.33, 0.375, 0.45], dtype=np.float32)
_SUN = np.array([0.71, 0.665, 0.585], dtype=np.float32)


def shadows(canvas: Canvas, reach_m: float = 24.0) -> NDArray[np.bool_]:
    """Return the sub-pixels in shadow: where an object towards the sun is higher than the ray to the sun.

    The shadow's height over a sub-pixel is a maximum over the steps towards the sun. The maximum over 2n steps is the larger
    of two maxima over n steps, one of them shifted by n steps. A few doublings therefore suffice for any length of shadow.

    Parameters
    ----------
    canvas : Canvas
    reach_m : float, default 24
        Length of the longest shadow.
    """
    sun = canvas.sun
    # One step is one sub-pixel to the north, and at least an eighth of a sub-pixel to the side.
    side = sun.x / -sun.y
    fall = float(np.hypot(1, side) / canvas.scale * sun.z / np.hypot(sun.x, sun.y))
    rays = _moved(canvas.height, 1, side) - fall
    steps = 1
    while steps < reach_m * canvas.scale:
        np.maximum(rays, _moved(rays, steps, side) - steps * fall, out=rays)
        steps *= 2
    return np.asarray(rays > canvas.height + 0.05)


def _moved(height: NDArray[np.float32], steps: int, side: float) -> NDArray[np.float32]:
    """Return the heights shifted by a number of steps towards the sun; beyond the frame, the height is 0."""
    dx = round(steps * side)
    moved = np.zeros_like(height)
    h, w = height.shape
    if steps >= h or abs(dx) >= w:
        return moved
    columns = (slice(0, w - dx), slice(dx, w)) if dx >= 0 else (slice(-dx, w), slice(0, w + dx))
    moved[steps:, columns[0]] = height[: h - steps, columns[1]]
    return moved


def expose(canvas: Canvas, appearance: Appearance, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Compute the image from the canvas: light, haze, blur of the lens, noise of the sensor, and its lower colour resolution.

    Parameters
    ----------
    canvas : Canvas
    appearance : Appearance
        Haze, gain, tint and displacement of the image. The sun is that of the canvas.
    rng : Generator
        For uneven light and the noise of the sensor.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    shade = gaussian_filter(shadows(canvas).astype(np.float32), 0.8)
    direct = canvas.facing * (1 - shade)
    # Narrow places get less light from the sky. The height of a place is therefore compared with the mean height around it.
    coarse = canvas.height[::4, ::4]
    around = gaussian_filter(coarse, 2.2 * canvas.scale / 4) - coarse
    open_sky = np.repeat(np.repeat(1 - 0.4 * np.clip(around / 5, 0, 1), 4, 0), 4, 1)[: shade.shape[0], : shade.shape[1]]
    lit = [_shrink(canvas.colour[..., band] * (_SKY[band] * open_sky + _SUN[band] * direct)) for band in range(3)]
    image = np.stack(lit, axis=-1)
    image *= 1 + 0.025 * noise(rng, image.shape[:2], image.shape[0] / 3)[..., None]
    image = displace(appearance.develop(8 + image * np.float32(0.965)), appearance.shift_px)
    bright = image @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    chroma = gaussian_filter(image - bright[..., None], (1.0, 1.0, 0))
    bright = gaussian_filter(bright, 0.5)
    bright += 0.3 * (bright - gaussian_filter(bright, 1.2))  # the camera's own sharpening
    bright += gaussian_filter(rng.standard_normal(bright.shape, dtype=np.float32), 0.5) * 3.2
    return np.clip(np.rint(bright[..., None] + chroma), 0, 255).astype(np.uint8)


def _shrink(layer: NDArray[np.float32]) -> NDArray[np.float32]:
    h, w = layer.shape
    return np.asarray(layer.reshape(h // SUB, SUB, w // SUB, SUB).mean(axis=(1, 3)))
