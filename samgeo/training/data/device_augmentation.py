"""The augmentation of `samgeo.training.data.augmentation` for many crops at once, as tensors on the training device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional

from samgeo.training.data.augmentation import ODDS

__all__ = ["augment_crops"]

# Percentiles are computed from about this number of pixels of a crop.
PERCENTILE_PIXELS = 4096
BLUR_RADIUS_PX = 3


def augment_crops(images: Tensor, generator: Generator) -> Tensor:
    """Change the appearance of crops at random; objects stay in place. Each crop changes independently.

    Parameters
    ----------
    images : tensor of float32, shape (B, S, S, 3)
        From 0 to 255. Pixels of (0, 0, 0) hold no data and stay so.
    generator : torch.Generator
        On the device of the images; the same state makes the same changes.

    Returns
    -------
    tensor of float32, shape (B, S, S, 3)
        Whole numbers from 0 to 255.
    """
    chance = _Chance(generator, len(images))
    valid = (images > 0).any(3, keepdim=True)
    pixels = images
    for name, probability in ODDS.items():
        changed = _CHANGES[name](pixels, valid, chance)
        pixels = torch.where(chance.uniform(0, 1) < probability, changed, pixels)
    return pixels.clamp(0, 255).floor() * valid


class _Chance:
    """Random numbers of shape (B, 1, 1, n), one row for each crop."""

    def __init__(self, generator: Generator, count: int) -> None:
        self.generator, self.count = generator, count

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * self._rand(*(shape or (1, 1, 1)))

    def normal(self, spread: float, *shape: int) -> Tensor:
        size = (self.count, *(shape or (1, 1, 1)))
        return spread * torch.randn(size, generator=self.generator, device=self.generator.device)

    def _rand(self, *shape: int) -> Tensor:
        return torch.rand((self.count, *shape), generator=self.generator, device=self.generator.device)


def _mean(pixels: Tensor, valid: Tensor) -> Tensor:
    return (pixels * valid).sum((1, 2), keepdim=True) / valid.sum((1, 2), keepdim=True).clamp(min=1)


def _expose(pixels: Tensor, valid: Tensor, chance: _Chance) -> Tensor:
    pixels = pixels * (chance.uniform(0.75, 1.3) * (1 + chance.normal(0.05, 1, 1, 3)))
    mean = _mean(pixels, valid)
    return (pixels - mean) * chance.uniform(0.7, 1.4) + mean + chance.normal(9)


def _gamma(pixels: Tensor, _: Tensor, chance: _Chance) -> Tensor:
    # Values stay a little above 0, because the slope of a power with an exponent below 1 is infinite at 0.
    return 255 * (pixels.clamp(1e-3, 255) / 255) ** chance.normal(0.3).exp()


def _mix_bands(pixels: Tensor, _: Tensor, chance: _Chance) -> Tensor:
    mix = torch.eye(3, device=pixels.device) + chance.normal(0.08, 3, 3)
    mix = mix / mix.sum(2, keepdim=True)
    return (pixels.flatten(1, 2) @ mix.transpose(1, 2)).view_as(pixels)


def _lose_band(pixels: Tensor, _: Tensor, chance: _Chance) -> Tensor:
    lost, kept = (chance.uniform(0, 3).long().clamp(max=2) for _ in range(2))
    copied = pixels.gather(3, kept.expand(*pixels.shape[:3], 1))
    return torch.where(torch.arange(3, device=pixels.device) == lost, copied, pixels)


def _panchromatic(pixels: Tensor, valid: Tensor, chance: _Chance) -> Tensor:
    # Gamma variables of shape 2, whose shares are those of a Dirichlet distribution, are sums of two exponential ones.
    parts = -(chance.uniform(1e-6, 1, 1, 1, 3).log() + chance.uniform(1e-6, 1, 1, 1, 3).log())
    grey = (pixels * (parts / parts.sum(3, keepdim=True))).sum(3, keepdim=True)
    step = max(grey[0].numel() // PERCENTILE_PIXELS, 1)
    flat, real = grey.flatten(1)[:, ::step], valid.flatten(1)[:, ::step]
    ordered = torch.where(real, flat, torch.inf).sort(1).values
    last = (real.sum(1, keepdim=True) - 1).clamp(min=0)

    def percentile(share: Tensor) -> Tensor:
        found = ordered.gather(1, (share.view(-1, 1) * last).long())
        return torch.where(found.isfinite(), found, 0.0).view(-1, 1, 1, 1)

    low, high = percentile(chance.uniform(0.002, 0.03)), percentile(chance.uniform(0.97, 0.998))
    stretched = (grey - low) / (high - low).clamp(min=8) * 255
    return torch.where(chance.uniform(0, 1) < 0.6, stretched, grey).expand_as(pixels)


def _haze(pixels: Tensor, valid: Tensor, chance: _Chance) -> Tensor:
    share = _smooth(chance.uniform(0, 1, 3, 3), valid).clamp(0, 1) * chance.uniform(0.1, 0.55)
    return pixels * (1 - share) + share * chance.uniform(170, 240)


def _shade(pixels: Tensor, valid: Tensor, chance: _Chance) -> Tensor:
    cloud = _smooth(chance.normal(1, 5, 5), valid) > chance.uniform(0.3, 1.2)
    return torch.where(cloud, pixels * chance.uniform(0.45, 0.8), pixels)


def _blur(pixels: Tensor, _: Tensor, chance: _Chance) -> Tensor:
    offsets = torch.arange(-BLUR_RADIUS_PX, BLUR_RADIUS_PX + 1, device=pixels.device)
    kernel = torch.exp(-0.5 * (offsets / chance.uniform(0.4, 1.3, 1)) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)[:, None, None]
    count, side = len(pixels), pixels.shape[1]
    rows = pixels.permute(0, 3, 1, 2).reshape(1, 3 * count, side, side)
    radius = BLUR_RADIUS_PX
    rows = functional.conv2d(functional.pad(rows, (radius, radius, 0, 0), mode="replicate"), kernel, groups=3 * count)
    rows = functional.conv2d(functional.pad(rows, (0, 0, radius, radius), mode="replicate"), kernel.mT, groups=3 * count)
    return rows.view(count, 3, side, side).permute(0, 2, 3, 1)


def _noise(pixels: Tensor, _: Tensor, chance: _Chance) -> Tensor:
    noise = chance.normal(1, *pixels.shape[1:])
    noise = torch.where(chance.uniform(0, 1) < 0.5, noise[..., :1], noise)
    return pixels + noise * chance.uniform(2, 10)


def _smooth(coarse: Tensor, valid: Tensor) -> Tensor:
    """Enlarge ``(B, n, n)`` values to the size of the crops, shape (B, S, S, 1)."""
    size = (valid.shape[1], valid.shape[2])
    fine = functional.interpolate(coarse[:, None], size=size, mode="bicubic", align_corners=False)
    return fine.permute(0, 2, 3, 1)


_CHANGES: dict[str, Callable[[Tensor, Tensor, _Chance], Tensor]] = {
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
