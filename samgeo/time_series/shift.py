"""How far one raster is shifted against another: phase correlation of image gradients in blocks all over the rasters.

Gradients are compared instead of colours, and each frequency counts alike, so that another light, season or sensor changes the
result little. The correlations of all blocks are added up first, which shows a common shift even if no single block does. The
shift is then measured in each block near the common one, to a part of a pixel, and the median over the blocks is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from samgeo.geo.grid import Rect

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster

__all__ = ["Shift", "estimate_shift"]

# Sides of the blocks, and how many of them are compared along each side of the raster at most.
BLOCK_PX, BLOCKS_A_SIDE = 256, 6
LEAST_BLOCK_PX = 32
# Least share of a block with data at both dates.
LEAST_VALID = 0.5
SIGMA_PX = 1.0
# Correlations are smoothed by a Gaussian with this standard deviation, in pixels: peaks of noise are narrower than true ones.
SMOOTH_PX = 0.8
# A peak of the correlation is a shift if it is so many standard deviations of the correlation high.
LEAST_PEAK, LEAST_BLOCK_PEAK = 8.0, 5.0
# Each block's own shift is looked for within so many pixels of the common one, in steps of this share of a pixel.
REACH_PX, STEPS = 3, 16


@dataclass(frozen=True, slots=True)
class Shift:
    """A shift of a second raster against a first one on the same grid.

    Attributes
    ----------
    x_px, y_px : float
        How far the content of the second raster lies to the right and down of where the first one has it, in pixels.
    spread_px : float
        Median distance of the shifts of single blocks from this one.
    blocks : int
        Number of blocks that showed a shift.
    """

    x_px: float
    y_px: float
    spread_px: float
    blocks: int

    @property
    def length_px(self) -> float:
        """Length in pixels."""
        return float(np.hypot(self.x_px, self.y_px))


def estimate_shift(first: Raster, second: Raster) -> Shift | None:
    """Measure the shift of a raster against another one on the same grid.

    Up to 6 x 6 blocks of 256 x 256 pixels are read from both, evenly all over the grid. In rasters that are smaller, blocks are
    as large as the raster. Shifts up to half a block can be seen.

    Returns
    -------
    Shift or None
        None if no common shift stands out, for example because there is nothing to see in one of the rasters.

    Raises
    ------
    RasterError
        If a block cannot be read.

    References
    ----------
    Kuglin and Hines, The phase correlation image alignment method, 1975; Fitch et al., Orientation correlation, BMVC 2002, for
    the correlation of gradients as complex numbers; Guizar-Sicairos et al., Optics Letters 33 (2008), for the peak to a part
    of a pixel by a Fourier transform with a matrix.
    """
    side = min(BLOCK_PX, *first.shape)
    if side < LEAST_BLOCK_PX:
        return None
    spectra = [spectrum for rect in _blocks(first.shape, side) if (spectrum := _cross(first, second, rect)) is not None]
    if not spectra:
        return None
    together = np.sum(spectra, axis=0)
    common = _peak(fft.ifft2(together).real, LEAST_PEAK)
    if common is None:
        return None
    # If no single block shows the shift, it is measured in all of them together.
    found = [place for spectrum in spectra if (place := _near(spectrum, common)) is not None]
    found = found or [place for place in [_near(together, common, least=0.0)] if place is not None]
    if not found:
        return None
    shifts = np.array(found)
    y, x = np.median(shifts, axis=0).tolist()
    spread = float(np.median(np.hypot(shifts[:, 0] - y, shifts[:, 1] - x)))
    return Shift(x, y, spread, len(found))


def _blocks(shape: tuple[int, int], side: int) -> list[Rect]:
    """Return blocks evenly all over a raster, from top to bottom."""
    starts = []
    for length in shape:
        count = min(max(length // side, 1), BLOCKS_A_SIDE)
        starts.append(((np.arange(count) + 0.5) * length / count - side / 2).astype(int).tolist())
    return [Rect(x, y, x + side, y + side) for y in starts[0] for x in starts[1]]


def _cross(first: Raster, second: Raster, rect: Rect) -> NDArray[np.complex128] | None:
    """Return the spectrum of the phase correlation of a block; None if too little of it has data."""
    gradients = []
    for raster in (first, second):
        pixels, valid = raster.read(rect)
        if valid.mean() < LEAST_VALID:
            return None
        gradients.append(_gradient(pixels, valid))
    one, other = (fft.fft2(gradient) for gradient in gradients)
    product = other * one.conj()
    strength = np.abs(product)
    if not strength.any():
        return None
    whitened = np.divide(product, strength, out=np.zeros_like(product), where=strength > strength.max() * 1e-12)
    frequencies = [fft.fftfreq(length) for length in rect.shape]
    damping = np.exp(-2 * (np.pi * SMOOTH_PX) ** 2 * (frequencies[0][:, None] ** 2 + frequencies[1][None, :] ** 2))
    return np.asarray(whitened * damping)


def _gradient(pixels: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.complex128]:
    """Return the gradient of the grey image as complex numbers of length 1 at most, which fade to 0 towards the edges."""
    grey = pixels.mean(axis=-1, dtype=np.float64)
    grey[~valid] = grey[valid].mean()
    across, down = (ndimage.gaussian_filter(grey, SIGMA_PX, order=order, mode="nearest") for order in ((0, 1), (1, 0)))
    gradient = across + 1j * down
    length = np.abs(gradient)
    # Strong edges count alike, and weak ones, which are mostly noise, count less.
    usual = float(np.percentile(length, 75))
    known = ndimage.binary_erosion(valid, iterations=3, border_value=1)
    window = np.hanning(pixels.shape[0] + 2)[1:-1, None] * np.hanning(pixels.shape[1] + 2)[None, 1:-1]
    return np.asarray(gradient / np.maximum(length, max(usual, 1e-9)) * window * known)


def _peak(correlation: NDArray[np.float64], least: float) -> tuple[int, int] | None:
    """Return the highest place of a correlation, as shifts down and right; None if it does not stand out."""
    spread = float(correlation.std())
    row, column = np.unravel_index(int(correlation.argmax()), correlation.shape)
    if spread == 0 or (correlation[row, column] - correlation.mean()) / spread < least:
        return None
    down, right = (
        int(at) - length if at > length // 2 else int(at) for at, length in zip((row, column), correlation.shape, strict=True)
    )
    return down, right


def _near(
    spectrum: NDArray[np.complex128], centre: tuple[int, int], least: float = LEAST_BLOCK_PEAK
) -> tuple[float, float] | None:
    """Return the shift of a block near a common one, down and right, in parts of a pixel; None if it does not stand out."""
    offsets = np.arange(-REACH_PX * STEPS, REACH_PX * STEPS + 1) / STEPS
    axes = []
    for length, middle in zip(spectrum.shape, centre, strict=True):
        axes.append(np.exp(2j * np.pi * np.outer(middle + offsets, fft.fftfreq(length))))
    fine = (axes[0] @ spectrum @ axes[1].T).real / spectrum.size
    row, column = np.unravel_index(int(fine.argmax()), fine.shape)
    # The correlation of all places has a mean of about 0, and this standard deviation, by Parseval's theorem.
    spread = float(np.sqrt((np.abs(spectrum) ** 2).sum())) / spectrum.size
    is_inside = 0 < row < len(offsets) - 1 and 0 < column < len(offsets) - 1
    if not is_inside or spread == 0 or fine[row, column] < least * spread:
        return None
    return centre[0] + _vertex(offsets, fine[:, column], int(row)), centre[1] + _vertex(offsets, fine[row], int(column))


def _vertex(places: NDArray[np.float64], values: NDArray[np.float64], at: int) -> float:
    """Return the place of the vertex of the parabola through the highest value and its neighbours."""
    before, here, after = values[at - 1 : at + 2].tolist()
    curvature = before - 2 * here + after
    return float(places[at] + (0.0 if curvature == 0 else (before - after) / (2 * curvature)) * (places[1] - places[0]))
