"""Warnings about a raster whose image may not be what the user expects, from a small sample before any work."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from samgeo.errors import RasterWarning, SamgeoWarning, warn
from samgeo.geo.raster.bands import ROI_TAG
from samgeo.geo.raster.nodata import has_value
from samgeo.geo.raster.sources.sampling import flatten, sample, thinned
from samgeo.geo.raster.stretch import Stretch

if TYPE_CHECKING:
    from samgeo.geo.grid import Rect
    from samgeo.geo.raster.raster import Raster
    from samgeo.geo.raster.sources.base import Source
    from samgeo.geo.raster.sources.sampling import Sample

__all__ = ["coarse_hints", "picture_hints", "tell"]

# Smaller rasters have too few pixels for hints.
FEWEST_PIXELS = 64 * 64

# An image is flat if, in every band, all but the darkest and the brightest 2 % of the pixels lie within so many of 256 grey
# levels.
FLAT_LEVELS = 12

# A raster with fewer colours than this is a drawing, a map of classes or all of one colour. No option changes that.
FEWEST_FLAT_COLORS = 16

# A value is reported as far from the others if at least this share of the pixels has it, and if there are so many other values.
FAR_SHARE, FEWEST_OTHERS = 0.005, 16

# Least shares of black and white that reach the edge: of the pixels, and of the edge of the raster. The shares for white are
# larger, because snow and clouds are white too.
BLACK_SHARE, BLACK_EDGE = 0.03, 0.05
WHITE_SHARE, WHITE_EDGE = 0.05, 0.2

# In drawings and maps of classes, whose background may be black or white, at least this share of the pixels has exactly the
# colour of a neighbour.
DRAWN_SHARE = 0.8

# A band with two values may be a mask if the share of zeros is in this range.
MASK_SHARES = (0.005, 0.95)


def tell(hints: Iterable[str], kind: type[SamgeoWarning] = RasterWarning) -> None:
    """Issue each hint once as a warning that points to the line outside samgeo from which the call came."""
    for hint in dict.fromkeys(hints):
        warn(hint, kind)


def picture_hints(raster: Raster, samples: Sequence[Sample] | None, given: Set[str]) -> list[str]:
    """Return hints about unusual values in a sample of a raster.

    Parameters
    ----------
    raster : Raster
        The raster.
    samples : sequence of Sample or None
        Samples of the bands of the image, if they were read already. If None, a lazy array is not sampled.
    given : set of str
        Those of the options "stretch", "nodata" and "alpha" that the user gave. There are no hints about these.
    """
    source = raster.source
    is_lazy = not source.files and source.decimation == 1
    if raster.shape[0] * raster.shape[1] <= FEWEST_PIXELS or (samples is None and is_lazy):
        return []
    samples = sample(source, raster.numbers) if samples is None else thinned(samples)
    hints = [_value_hint(raster, samples, given)] if samples else []
    last = len(source.bands)
    if "alpha" not in given and not is_lazy and last in (2, 4) and last not in raster.bands:
        band = source.bands[last - 1]
        is_known = band.is_alpha or band.is_marker or band.transparency is not None
        masks = [] if is_known else sample(source, [last])
        hints += [_mask_hint(raster.name, last, flatten(masks)[0])] if masks else []
    return [hint for hint in hints if hint is not None]


def coarse_hints(source: Source) -> list[str]:
    """Return a hint for each kind of file that `samgeo.compress` wrote, whose pixels outside the objects are coarser."""
    told: dict[str, str] = {}
    for file in source.files:
        note = dict(file.notes).get(ROI_TAG)
        if note is not None:
            try:
                factor = json.loads(note)["factor"]
            except (ValueError, KeyError, TypeError):
                factor = "several"
            told.setdefault(
                note,
                f"the pixels of {file.name} outside the objects for which it was compressed are means of "
                f"{factor} x {factor} pixels, so that small things are missing there; its file .roi.tif has 1 where pixels are "
                "exact.",
            )
    return list(told.values())


def _value_hint(raster: Raster, samples: Sequence[Sample], given: Set[str]) -> str | None:
    """Return the first hint about the values of the image, or None."""
    values, mask = flatten(samples)
    is_bytes = values.dtype == np.uint8
    is_open = "nodata" not in given and raster.source.palette is None
    hint = None
    if is_open and not is_bytes:
        stretch = raster.stretch if "stretch" in given else None
        hint = _far_value_hint(raster.name, raster.numbers, values, has_value(values, raster.nodata) & mask, stretch)
    if hint is None:
        pixels, valid = raster.picture(values[:, np.newaxis], mask[np.newaxis])
        is_drawing = bool(valid.any()) and _has_few_colors(values[:, valid[0]])
        # The windows of a sample may miss all data of a sparse raster.
        is_part = not valid.any() and len(samples) > 1
        if not is_drawing and not is_part:
            hint = _flat_hint(raster.name, pixels[0], valid[0], is_stretched="stretch" in given)
    if hint is None and is_open and (is_bytes or len(values) == 3):
        seen = [(rect, part, has_value(part, raster.nodata).any(axis=0) & shown) for rect, part, shown in samples]
        hint = _edge_hint(raster.name, raster.shape, seen, white=255.0 if is_bytes else None)
    return hint


def _flat_hint(name: str, pixels: NDArray[np.uint8], valid: NDArray[np.bool_], *, is_stretched: bool) -> str | None:
    """Return a hint if nearly all of an image has one value, or if no pixel is valid.

    Parameters
    ----------
    name : str
        Name of the raster.
    pixels : ndarray of uint8, shape (N, 3)
        RGB values for the model.
    valid : ndarray of bool, shape (N,)
        Where pixels are valid.
    is_stretched : bool
        Whether the user gave the stretch.
    """
    seen = pixels[valid]
    if not len(seen):
        return (
            f"no pixel in a sample of {name} has data: all are nodata, masked or transparent. If that is wrong, give "
            'nodata="none" (--nodata none) or alpha="none" (--alpha none).'
        )
    low, high = np.percentile(seen, (2, 98), axis=0)
    if (high - low).max() > FLAT_LEVELS:
        return None
    given = "the given stretch" if is_stretched else "the unchanged values"
    return (
        f"nearly all of {name} has the same grey levels ({low.min():.0f} to {high.max():.0f} of 255) with {given}, so that "
        "objects can hardly be distinguished. Give the values that become black and white with the option stretch, as in "
        "stretch=(0, 3000) (--stretch 0,3000), or the value without data with nodata (--nodata)."
    )


def _far_value_hint(
    name: str, numbers: Sequence[int], values: NDArray[Any], known: NDArray[np.bool_], given: Sequence[Stretch] | None
) -> str | None:
    """Return a hint if the least or the greatest value is far from all others, as a nodata value is.

    Parameters
    ----------
    name : str
        Name of the raster.
    numbers : sequence of int
        Numbers of the bands.
    values : ndarray, shape (n, N)
        Values of the bands, as the raster holds them.
    known : ndarray of bool, shape (n, N)
        Where the values are valid.
    given : sequence of (low, high) or None
        The stretch that the user gave. There is no hint about values within it.
    """
    for index, (number, band, mask) in enumerate(zip(numbers, values, known, strict=True)):
        seen = band[mask].astype(np.float64)
        if not seen.size:
            continue
        for extreme in (seen.min(), seen.max()):
            others = seen[seen != extreme]
            share = 1 - others.size / seen.size
            if given is not None and given[index][0] <= extreme <= given[index][1]:
                continue
            if share < FAR_SHARE or len(np.unique(others)) < FEWEST_OTHERS:
                continue
            low, high = np.percentile(others, (0.5, 99.5))
            if max(low - extreme, extreme - high) > high - low:
                return (
                    f"{share:.1%} of band {number} of {name} is {extreme:g}, far from all other values ({low:g} to {high:g}). "
                    f"If it means no data, give nodata={extreme:g} (--nodata {extreme:g}); otherwise give the "
                    f"values that become black and white, stretch=({low:g}, {high:g}) (--stretch {low:g},{high:g})."
                )
    return None


def _edge_hint(name: str, shape: tuple[int, int], samples: Sequence[Sample], *, white: float | None) -> str | None:
    """Return a hint if much of a raster is black or white up to its edge, as the area outside a mosaic is.

    Parameters
    ----------
    name : str
        Name of the raster.
    shape : (int, int)
        Shape of the raster.
    samples : sequence of Sample
        Samples of the bands of the image.
    white : float or None
        The value of white; None if the data type has none.
    """
    for value, what, least_share, least_edge in (
        (0.0, "black", BLACK_SHARE, BLACK_EDGE),
        (white, "white", WHITE_SHARE, WHITE_EDGE),
    ):
        if value is None:
            continue
        share, edge = _at_the_edge(shape, samples, value)
        if share >= least_share and edge >= least_edge and _drawn_share(samples, value) < DRAWN_SHARE:
            return (
                f"{share:.0%} of {name} is pure {what} ({value:g} in every band) up to its edge, and the raster has no nodata "
                f"value, so that objects may be found in these pixels. If they have no data, give nodata={value:g} "
                f'(--nodata {value:g}); if they show the ground, give nodata="none" (--nodata none).'
            )
    return None


def _mask_hint(name: str, number: int, values: NDArray[Any]) -> str | None:
    """Return a hint if a band outside the image has only two values, 0 and opaque, as transparency has."""
    found = np.unique(values)
    if len(found) != 2 or found[0] != 0 or np.log2(float(found[1]) + 1) % 1:
        return None
    share = float((values == 0).mean())
    if not MASK_SHARES[0] <= share <= MASK_SHARES[1]:
        return None
    return (
        f"band {number} of {name} is 0 in {share:.0%} of the pixels and {found[1]:g} in all others, like transparency, but is "
        f'not tagged as such. Give alpha={number} (--alpha {number}) if it is transparency, or alpha="none" (--alpha none) '
        "if not."
    )


def _at_the_edge(shape: tuple[int, int], samples: Sequence[Sample], value: float) -> tuple[float, float]:
    """Return two shares of the pixels with a value: in regions that reach the edge of a sample, and on the edge of the raster.

    The first is a share of all pixels, the second of the pixels on the edge of the raster.
    """
    pixels = edge = 0
    found = on_edge = 0
    for rect, values, mask in samples:
        is_value = (values == value).all(axis=0) & mask
        labels, _ = label(is_value)
        border = np.zeros(is_value.shape, dtype=bool)
        border[[0, -1]] = border[:, [0, -1]] = True
        reaching = np.unique(labels[border & is_value])
        pixels, found = pixels + is_value.size, found + int(np.isin(labels, reaching[reaching > 0]).sum())
        outer = _outer(rect, shape, is_value.shape)
        edge, on_edge = edge + int(outer.sum()), on_edge + int((outer & is_value).sum())
    return found / max(pixels, 1), on_edge / max(edge, 1)


def _outer(rect: Rect, shape: tuple[int, int], size: tuple[int, int]) -> NDArray[np.bool_]:
    outer = np.zeros(size, dtype=bool)
    outer[0] |= rect.y0 == 0
    outer[-1] |= rect.y1 == shape[0]
    outer[:, 0] |= rect.x0 == 0
    outer[:, -1] |= rect.x1 == shape[1]
    return outer


def _has_few_colors(values: NDArray[Any]) -> bool:
    """Return whether values of shape (n, N) have so few colours that the image is a drawing.

    A part of the pixels is tested first, which is usually enough.
    """
    for step in (max(values.shape[1] // 4096, 1), 1):
        if len(np.unique(values[:, ::step], axis=1)[0]) >= FEWEST_FLAT_COLORS:
            return False
    return True


def _drawn_share(samples: Sequence[Sample], value: float) -> float:
    """Return the share of pixels that have exactly the colour of their right neighbour; pixels of one value are left out."""
    pairs = alike = 0
    for _, values, mask in samples:
        other = mask & (values != value).any(axis=0)
        both = other[:, :-1] & other[:, 1:]
        pairs += int(both.sum())
        alike += int((both & (values[:, :, :-1] == values[:, :, 1:]).all(axis=0)).sum())
    return alike / pairs if pairs else 1.0
