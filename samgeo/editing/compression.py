"""Compression of a raster that is exact inside objects and coarser elsewhere, in files that any reader opens."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from samgeo.arguments import check_types
from samgeo.editing.coarsening import Coarsener, Mixed
from samgeo.editing.edited_image import EditedImage, as_values, check_edited, writing
from samgeo.editing.objects_px import Holes, ObjectsPx
from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.bands import ROI_TAG, Band
from samgeo.geo.vector.outputs import atomic_output
from samgeo.progress import counting, progress_bar
from samgeo.storage.staging import staging_folder
from samgeo.types import FeaturesLike, RasterLike

__all__ = ["CODECS", "Compression", "compress"]

MASK_SUFFIX = ".roi.tif"
MASK_TAG = "samgeo_roi_mask"

# Side of the tiles of the file, and of the parts that are made at a time, in pixels.
TILE, PART = 256, 1024

MOST_COARSE = 256
DEFAULT_QUALITY = 90

LOSSY = {"jpeg": "jpeg_quality", "webp": "webp_level"}
CODECS = (*LOSSY, "deflate", "zstd", "lzw")
"""Codecs of GeoTIFF that `compress` takes; the first two are lossy."""


@dataclass(frozen=True, slots=True)
class Compression:
    """What a compression gained, and what it cost.

    Attributes
    ----------
    output, mask : str
        The compressed raster, and the raster of its exact pixels.
    objects : int
        Number of objects that touch the raster.
    exact_share : float
        Share of the pixels that are exact before the codec: those of the objects, grown.
    bytes : int
        Size of the output.
    mask_bytes : int
        Size of the raster of the exact pixels.
    plain_bytes : int
        Size of the whole image in the same codec, quality and tiles.
    psnr_inside, psnr_outside : float
        Peak signal-to-noise ratio in dB of the output against the image, at the exact pixels and at the others; infinite
        where they are equal, NaN where there is no pixel. The peak is the largest value of the type for integers, and the
        range of the values for floating-point numbers.
    plain_psnr_inside : float
        The same for the whole image in the codec, at the exact pixels.
    digest : str
        Digest of the outlines of the objects in pixels.
    """

    output: str
    mask: str
    objects: int
    exact_share: float
    bytes: int
    mask_bytes: int
    plain_bytes: int
    psnr_inside: float
    psnr_outside: float
    plain_psnr_inside: float
    digest: str

    @property
    def share(self) -> float:
        """Size of the output as a share of the size of the whole image in the same codec."""
        return self.bytes / self.plain_bytes


@check_types
def compress(
    image: RasterLike,
    objects: FeaturesLike,
    output: str | os.PathLike[str],
    *,
    factor: int = 8,
    codec: str = "jpeg",
    quality: int | None = None,
    grow_px: float = 4.0,
    feather_px: float = 8.0,
    smooth: bool = True,
    nodata: float | str | None = None,
    alpha: int | str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Compression:
    """Compress a raster so that objects keep their pixels, and everything else becomes coarser.

    Outside the objects, the pixels are replaced by the means of squares of ``factor`` pixels a side, interpolated with cubic
    convolution (Keys 1981), and around each object the two are blended. Then one common codec encodes the whole image, so that
    any reader of the codec opens the file. This is region-of-interest coding, as JPEG 2000 has it inside its codec (Maxshift);
    here it comes before the codec. With a lossless codec the pixels of the objects are those of the image; with a lossy one
    they have the same quality as in the whole image in this codec.

    The coarse pixels are not measurements of single pixels. The tag ``samgeo_roi`` of the file has the factor, the options and
    a digest of the objects, and `samgeo.Raster.open` warns of them. The file ``NAME.roi.tif`` beside the output is 1 where
    pixels are exact and 0 elsewhere. It is a file of its own, because readers take a mask inside a raster, and one named
    ``.msk``, for the pixels that have data.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The raster, with bands of one type, which may be larger than memory. Of a `Raster`, all bands are used.
    objects : path, GeoDataFrame, GeoSeries, geometry or list of geometries
        Polygons in any CRS; at least one must touch the raster. Geometries without a table are in the CRS of the image.
    output : path or address
        Ends in ``.tif`` or ``.tiff``: a tiled GeoTIFF with the grid and the CRS of the image. It and the raster of its exact
        pixels are written whole or not at all. While they are written, the whole image in the codec is beside them, for the
        comparison.
    factor : int, default 8
        Side of the squares in pixels, from 2 to 256.
    codec : {"jpeg", "webp", "deflate", "zstd", "lzw"}, default "jpeg"
        "jpeg" and "webp" are lossy, need 8-bit values, and "webp" needs three bands. With them, pixels without data,
        transparent pixels and invented pixels (`samgeo.remove`) become an internal mask, because a codec changes the values
        that mark them. The others are lossless, take any type, and keep nodata, transparency and marks.
    quality : int, optional
        Quality of a lossy codec, from 1 to 100; 90 by default.
    grow_px : float, default 4
        Width in pixels by which the objects are grown, because outlines are not exact.
    feather_px : float, default 8
        Width in pixels of the transition around the grown objects.
    smooth : bool, default True
        Whether the means are interpolated outside the objects. Without it, each square has one value: the file is smaller by
        another tenth to half, and looks like a mosaic of tiles there.
    nodata, alpha : optional
        See `samgeo.Raster.open`.
    overwrite : bool, default False
        Whether existing outputs of this function may be replaced. Any other file is never replaced.
    progress : bool, default True
        Whether to show progress bars on standard error: of the compression, and of the comparison with the image.

    Returns
    -------
    Compression
        Sizes and peak signal-to-noise ratios, also of the whole image in the same codec.

    Raises
    ------
    OptionError
        If an option is invalid or does not fit the image, the output cannot be written, or there is no object on the raster.
    VectorError
        If the objects cannot be read or placed, or are no polygons.
    RasterError
        If the raster cannot be read, or its bands have several types or a colour table.

    Examples
    --------
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import samgeo
    >>> from samgeo.testing import write_raster
    >>> from shapely.geometry import box
    >>> image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    >>> city = write_raster(Path("city.tif"), image)  # pixels of 0.5 m
    >>> roof = box(500_020, 5_399_940, 500_060, 5_399_980)
    >>> result = samgeo.compress(city, roof, "small.tif", codec="deflate", progress=False)
    >>> result.share < 0.6, result.psnr_inside
    (True, inf)
    """
    _check(factor, codec, quality, grow_px, feather_px)
    place = check_edited(output, ROI_TAG, overwrite=overwrite, inputs=(image, objects))
    mask = place.with_name(f"{place.stem}{MASK_SUFFIX}")
    check_edited(str(mask), MASK_TAG, overwrite=overwrite, inputs=(image, objects))
    edited = EditedImage.open(image, nodata=nodata, alpha=alpha)
    used = (DEFAULT_QUALITY if quality is None else quality) if codec in LOSSY else None
    _check_fits(edited, codec)
    found = ObjectsPx.read(objects, edited.source.geobox, name=edited.name)
    if not len(found.polygons):
        raise OptionError("there are no objects, so that all of the image would become coarser; give at least one polygon.")
    note: dict[str, Any] = {
        "factor": factor,
        "codec": codec,
        "quality": used,
        "grow_px": grow_px,
        "feather_px": feather_px,
        "smooth": smooth,
    }
    note |= {"objects": found.digest(), "count": len(found.polygons), "mask": mask.name}
    coarsener = Coarsener(edited, Holes.of(found, grow_px=grow_px), factor, feather_px, smooth)
    with (
        writing(place),
        atomic_output(place) as whole,
        atomic_output(mask) as beside,
        staging_folder(whole.parent) as folder,
    ):
        work = _Work(edited, coarsener, codec, used, progress)
        plain = folder / "plain.tif"
        work.write(whole, plain, beside, note)
        exact_share, inside, outside, plain_inside = work.measured(whole, plain)
        size, mask_size, plain_size = (path.stat().st_size for path in (whole, beside, plain))
    return Compression(
        output=str(place),
        mask=str(mask),
        objects=len(found.polygons),
        exact_share=exact_share,
        bytes=size,
        mask_bytes=mask_size,
        plain_bytes=plain_size,
        psnr_inside=inside,
        psnr_outside=outside,
        plain_psnr_inside=plain_inside,
        digest=found.digest(),
    )


def _check(factor: int, codec: str, quality: int | None, grow_px: float, feather_px: float) -> None:
    if not 2 <= factor <= MOST_COARSE:
        raise OptionError(f"factor is {factor}; give a number of pixels from 2 to {MOST_COARSE}.")
    if codec not in CODECS:
        raise OptionError(f"codec is {codec!r}; give one of {', '.join(CODECS)}.")
    if quality is not None and codec not in LOSSY:
        raise OptionError(f"quality applies to {' and '.join(LOSSY)}, and {codec} is lossless; omit quality.")
    if quality is not None and not 1 <= quality <= 100:
        raise OptionError(f"quality is {quality}; give a number from 1 to 100.")
    for name, value in (("grow_px", grow_px), ("feather_px", feather_px)):
        if not 0 <= value <= PART:
            raise OptionError(f"{name} is {value:g}; give a number of pixels from 0 to {PART}.")


def _check_fits(image: EditedImage, codec: str) -> None:
    """Refuse a lossy codec for other values than it takes."""
    bands = len(image.values)
    if codec in LOSSY and image.dtype != np.uint8:
        raise OptionError(f"{codec} takes 8-bit values, and {image.name} has {image.dtype}; give codec deflate or zstd.")
    if codec == "webp" and bands != 3:
        raise OptionError(f"webp takes three bands, and {image.name} has {bands}; give codec jpeg, deflate or zstd.")


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    image: EditedImage
    coarsener: Coarsener
    codec: str
    quality: int | None
    progress: bool

    def write(self, whole: Path, plain: Path, mask: Path, note: dict[str, Any]) -> None:
        """Write the compressed raster, the whole image in the same codec, and the raster of exact pixels."""
        image, is_lossy = self.image, self.codec in LOSSY
        places = image.values if is_lossy else range(len(image.carried))
        bands: list[tuple[Band, int | None]] = [(image.bands[place], place) for place in places]
        nodata = None if is_lossy else image.nodata
        options = self._options(len(bands))
        one: dict[str, Any] = {"tiled": True, "blockxsize": TILE, "blockysize": TILE, "compress": "deflate", "NBITS": 1}
        with (
            image.create(whole, bands, {ROI_TAG: json.dumps(note)}, nodata=nodata, **options) as first,
            image.create(plain, bands, {}, nodata=nodata, **options) as second,
            image.create(
                mask, [(Band("uint8", None, "exact"), None)], {MASK_TAG: json.dumps(note)}, nodata=None, **one
            ) as third,
        ):
            for core in self._cores("compressing"):
                part = self.coarsener.part(core)
                window = Window(core.x0, core.y0, core.width, core.height)
                # Where there are no values, those of the coarse image cost the fewest bytes; they are masked.
                kept = part.original[list(image.values)]
                coarse = np.where(part.exact & part.exists, kept, as_values(part.values, image.dtype, image.nodata))
                if is_lossy:
                    filled = np.where(part.exists, kept, as_values(part.values, image.dtype, None))
                    layers = ((first, coarse), (second, filled))
                else:
                    changed = part.original.copy()
                    changed[list(image.values)] = np.where(part.exists, coarse, kept)
                    layers = ((first, changed), (second, part.original))
                for file, values in layers:
                    file.write(values.astype("uint8") if values.dtype == bool else values, window=window)
                    if self._has_mask:
                        file.write_mask(self._shown(part), window=window)
                third.write(part.exact.astype(np.uint8), 1, window=window)

    def measured(self, whole: Path, plain: Path) -> tuple[float, float, float, float]:
        """Return the share of exact pixels, and the ratios of `Compression`, from the files as they are read."""
        values_only = self.codec in LOSSY
        rows = [number if values_only else place + 1 for number, place in enumerate(self.image.values, start=1)]
        # Of the output inside and outside, and of the whole image inside: sum of squares, and number of values.
        sums, counts, exact = np.zeros(3), np.zeros(3), 0
        low, high = math.inf, -math.inf
        with warnings.catch_warnings(), ExitStack() as stack:
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            first, second = (stack.enter_context(rasterio.open(path)) for path in (whole, plain))
            for core in self._cores("comparing"):
                original, shown = self.image.read(core)
                exists, invented = self.image.measured(original, shown)
                exact_here = self.coarsener.objects.draw(core) > 0
                exact += int(exact_here.sum())
                values = original[list(self.image.values)].astype(np.float64)
                there = exists & ~invented
                if there.any():
                    low, high = min(low, float(values[there].min())), max(high, float(values[there].max()))
                window = Window(core.x0, core.y0, core.width, core.height)
                for number, (file, pixels) in enumerate(
                    ((first, there & exact_here), (first, there & ~exact_here), (second, there & exact_here))
                ):
                    error = file.read(rows, window=window).astype(np.float64)[pixels] - values[pixels]
                    sums[number] += float((error**2).sum())
                    counts[number] += int(pixels.sum())
        kind = self.image.dtype.kind
        peak = float(np.iinfo(self.image.dtype).max) if kind in "iu" else 1.0 if kind == "b" else high - low
        inside, outside, plain_inside = (_psnr(total, count, peak) for total, count in zip(sums, counts, strict=True))
        height, width = self.image.shape
        return exact / (height * width), inside, outside, plain_inside

    @property
    def _has_mask(self) -> bool:
        """Whether the file needs a mask: a lossy codec changes nodata values and transparency."""
        hides = self.image.nodata is not None or any(band.is_alpha or band.is_marker for band in self.image.bands)
        return self.image.has_mask or (self.codec in LOSSY and hides)

    def _shown(self, part: Mixed) -> NDArray[np.bool_]:
        return part.exists.any(axis=0) & ~part.invented if self.codec in LOSSY else part.shown

    def _options(self, bands: int) -> dict[str, Any]:
        options: dict[str, Any] = {"tiled": True, "blockxsize": TILE, "blockysize": TILE, "compress": self.codec}
        options |= {"BIGTIFF": "IF_SAFER", "interleave": "pixel" if bands <= 4 else "band"}
        if self.codec not in LOSSY:
            predictor = 1 if self.image.dtype.kind == "b" else 3 if self.image.dtype.kind == "f" else 2
            return options | {"ALPHA": "NO", "predictor": predictor}
        options[LOSSY[self.codec]] = self.quality
        if bands == 3:
            return options | {"photometric": "ycbcr" if self.codec == "jpeg" else "rgb"}
        # JPEG has one or three colours; of other images, each band is an image of its own.
        return options | {"photometric": "minisblack", "interleave": "band"}

    def _cores(self, what: str) -> Iterator[Rect]:
        """Give the parts of the raster in the order of its tiles, with a progress bar that says what is done with them."""
        height, width = self.image.shape
        side = PART
        while side > TILE and side**2 * len(self.image.carried) > 1 << 23:
            side //= 2
        corners = [(left, top) for top in range(0, height, side) for left in range(0, width, side)]
        with progress_bar(len(corners), "part", what, progress=self.progress) as bar:
            for left, top in counting(corners, bar.update):
                yield Rect(left, top, left + side, top + side) & self.image.frame


def _psnr(total: float, count: float, peak: float) -> float:
    """Return the peak signal-to-noise ratio in dB: 10 log10(peak^2 / mean squared error)."""
    if not count:
        return math.nan
    return math.inf if total == 0 else 10 * math.log10(peak**2 * count / total)
