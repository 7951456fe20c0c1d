"""Prompts from another raster, such as heights above the ground: a point, a box and a mask prompt for each region of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy import ndimage

from samgeo.errors import OptionError, SamgeoWarning, warn
from samgeo.geo.grid import Rect
from samgeo.geo.raster.raster import Raster
from samgeo.geo.warping import WarpedBand
from samgeo.segmentation.prompts.regions import regions_of
from samgeo.segmentation.windows.proposals import Proposals, WindowView
from samgeo.types import RasterLike

if TYPE_CHECKING:
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.asking import Answers
    from samgeo.types import Embedding

__all__ = ["PromptCoverageWarning", "RasterPrompts", "RasterSource"]

SPLITS = ("valleys", "steps")

# Logits of mask prompts are between these limits, as those of a model's answers usually are.
LIMIT = 8.0

# Regions are found on a grid of at most this many cells along a side of a window.
MOST_CELLS = 512

# Regions with fewer cells are noise.
LEAST_CELLS = 4

# The share of the image that the other raster covers is measured on a grid of this size.
COVERAGE_SIDE = 256
LEAST_COVERAGE = 0.95


class PromptCoverageWarning(SamgeoWarning):
    """The raster that prompts come from has no data for a part of the image."""


@dataclass(frozen=True, slots=True, eq=False)
class RasterPrompts:
    """Prompts from another raster of the same place; give it as ``prompts_from`` of `samgeo.segment`.

    Where ``(value - threshold) / scale`` is above 0, there are objects. These places are divided into regions (``split``). Each
    region becomes a point, a box and a mask prompt, whose logits are ``(value - threshold) / scale``. So a model that sees the
    image and the prompt draws masks that agree with both.

    Parameters
    ----------
    values : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The other raster, of which one band is used: the first, or that of a `Raster`. It may have another CRS and resolution.
        It is read and resampled window by window. An array must have the grid of an image without a CRS.
    minus : path or other raster, optional
        A raster that is subtracted, such as a terrain model from a surface model.
    threshold : float, default 2
        Value at which the logits are 0. The default is for heights above the ground in metres.
    scale : float, default 1
        Difference of values that changes the logits by 1. With a negative scale, low values are objects, for example water in
        radar images.
    split : {"valleys", "steps"}, default "valleys"
        How touching objects are separated. "valleys": each peak is an object, if there is a valley between it and the other
        peaks, as between trees. "steps": each place with little change is an object, if there is a step between it and the
        others, as between a roof and a tree above it.
    prominence : float, optional
        Depth of a valley, or height of a step within a pixel of the other raster, that separates two objects, in the unit of
        the values; the absolute ``scale`` by default. A higher value joins more.
    what : str, default "object"
        Class of the objects.

    Raises
    ------
    OptionError
        If an option has an invalid value.

    Examples
    --------
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import samgeo
    >>> from samgeo.segmentation import RasterPrompts
    >>> from samgeo.testing import Oracle, encode_ids, write_raster
    >>> labels = np.zeros((96, 96), dtype=np.int32)
    >>> labels[10:30, 10:30] = 1
    >>> labels[40:80, 45:75] = 2
    >>> image = write_raster(Path("image.tif"), encode_ids(labels))
    >>> heights = write_raster(Path("heights.tif"), np.where(labels == 1, 6, 0).astype(np.float32))
    >>> found = samgeo.segment(image, model=Oracle(64), prompts_from=RasterPrompts(heights, what="house"), progress=False)
    >>> found["class"].tolist(), found["area_m2"].round().tolist()
    (['house'], [100.0])
    """

    values: RasterLike
    minus: RasterLike | None = None
    threshold: float = field(default=2.0, kw_only=True)
    scale: float = field(default=1.0, kw_only=True)
    split: str = field(default="valleys", kw_only=True)
    prominence: float | None = field(default=None, kw_only=True)
    what: str = field(default="object", kw_only=True)

    def __post_init__(self) -> None:
        for name in ("threshold", "scale"):
            if not np.isfinite(getattr(self, name)):
                raise OptionError(f"{name} is {getattr(self, name)}; give a finite number.")
        if self.scale == 0:
            raise OptionError("scale is 0; give the difference of values that changes the logits by 1.")
        if self.split not in SPLITS:
            raise OptionError(f"split is {self.split!r}; give one of {', '.join(SPLITS)}.")
        if self.prominence is not None and not 0 <= self.prominence < np.inf:
            raise OptionError(f"prominence is {self.prominence}; give 0 or more.")
        if not self.what:
            raise OptionError("what is empty; give the name of the class of the objects.")

    @classmethod
    def of(cls, given: RasterPrompts | RasterLike) -> RasterPrompts:
        """Return the prompts of the option ``prompts_from``: a pair of rasters is their difference."""
        if isinstance(given, RasterPrompts):
            return given
        if isinstance(given, tuple):
            if len(given) != 2:
                raise OptionError(
                    f"prompts_from is a tuple of {len(given)}; give a pair of a surface and a terrain model, or a list of "
                    "files that are one raster."
                )
            return cls(*given)
        return cls(given)

    @property
    def inputs(self) -> tuple[RasterLike | None, ...]:
        """The rasters that are read, none of which may be an output."""
        return self.values, self.minus

    def source(self, raster: Raster) -> RasterSource:
        """Open the rasters, and return the prompt source for an image.

        Raises
        ------
        RasterError
            If a raster cannot be read, or cannot be located on the image.
        OptionError
            If the raster has no data on the image.

        Warns
        -----
        PromptCoverageWarning
            If it has data on less than 95 % of the image.
        """
        bands = [WarpedBand.open(one) for one in self.inputs if one is not None]
        for band in bands:
            band.check_grid(raster.geobox, raster.name)
        source = RasterSource(self, bands, raster.geobox)
        if source.coverage == 0:
            raise OptionError(f"{source.name} have no data on {raster.name}; check that both show the same place.")
        if source.coverage < LEAST_COVERAGE:
            share = f"{100 * source.coverage:.0f} % of {raster.name}"
            warn(f"{source.name} have data on {share}; nothing is searched elsewhere.", PromptCoverageWarning)
        return source


class RasterSource:
    """The prompt source of a `RasterPrompts` for one image; see `samgeo.segmentation.windows.proposals.PromptSource`."""

    def __init__(self, prompts: RasterPrompts, bands: list[WarpedBand], grid: GeoBox) -> None:
        self.bands, self.grid = bands, grid
        self.threshold, self.scale, self.split = prompts.threshold, prompts.scale, prompts.split
        self.prominence = abs(prompts.scale) if prompts.prominence is None else prompts.prominence
        self.classes = (prompts.what,)
        self.name = "values of " + " minus ".join(band.name for band in bands)
        height, width = map(int, grid.shape)
        seen = grid.zoom_to((min(height, COVERAGE_SIDE), min(width, COVERAGE_SIDE)))
        self.coverage = round(float(np.isfinite(self._logits(seen)).mean()), 4)
        decides = [[band.digest for band in bands], self.threshold, self.scale, self.split, self.prominence, prompts.what]
        self.digest = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]

    @property
    def options(self) -> dict[str, Any]:
        """What decides the prompts, for provenance."""
        chosen = {name: getattr(self, name) for name in ("name", "digest", "threshold", "scale", "split", "prominence")}
        return chosen | {"coverage": self.coverage}

    def propose(self, model: Segmenter, _embedding: Embedding, window: WindowView) -> tuple[Proposals, None]:
        """Propose the regions of a window; see `samgeo.finding.PromptSource`.

        A region that the window shows completely is proposed at its most interior point, so that it is proposed by one window.
        A region that is cut by an edge of the window is proposed at the most interior point of its part in the core, because
        no window may show it completely; the masks of several windows are merged.
        """
        cells = min(model.input_size, MOST_CELLS)
        step = window.rect.width / cells
        affine = self.grid.affine * self.grid.affine.translation(window.rect.x0, window.rect.y0)
        grid = GeoBox((cells, cells), affine * affine.scale(step), self.grid.crs)
        logits = self._logits(grid)
        # A cell belongs to the window's data if its centre does.
        centres = ((np.arange(cells) + 0.5) * step / window.scale).astype(np.int64)
        valid = window.valid[np.ix_(centres, centres)]
        logits = np.where(valid & np.isfinite(logits), logits, -LIMIT)
        least = self.prominence / abs(self.scale)
        if self.split == "valleys":
            regions = regions_of(logits, least)
        else:
            regions = regions_of(_evenness(logits, self.bands[0].pixel_size(grid)), least)
        side = int(getattr(model, "mask_size", model.input_size // 4))
        return _proposals(logits, regions, window, side, model.input_size), None

    def score(
        self, _model: Segmenter, _embedding: Embedding, proposals: Proposals, answers: Answers, _evidence: None
    ) -> NDArray[np.float32]:
        """Return the geometric mean of the predicted IoU, and of the IoU of the mask with the region."""
        drawn = answers.logits > 0
        given = torch.as_tensor(proposals.mask_prompts).to(drawn.device)
        shape = (drawn.shape[1], drawn.shape[2])
        regions = torch.nn.functional.interpolate(given[:, None], shape, mode="bilinear", align_corners=False)[:, 0] > 0
        shared = (drawn & regions).sum((1, 2)).double()
        iou = shared / (drawn | regions).sum((1, 2)).clamp(min=1)
        scores = (iou * answers.predicted_iou.double().clamp(0, 1)).sqrt()
        found: NDArray[np.float32] = scores.cpu().numpy().astype(np.float32)
        return found

    def _logits(self, grid: GeoBox) -> NDArray[np.float32]:
        """Return the logits on a grid; NaN where a raster has no data."""
        values = self.bands[0].read(grid)
        for band in self.bands[1:]:
            values = values - band.read(grid)
        return ((values - self.threshold) / self.scale).astype(np.float32)


def _evenness(logits: NDArray[np.float32], pixel: float) -> NDArray[np.float32]:
    """Return the negative range of the logits about each cell, raised above 0; NaN where the logits are not above 0.

    The range is that within a pixel of the raster that the logits come from, which is ``pixel`` cells wide.
    """
    width = 2 * max(1, round(pixel)) + 1
    spread = ndimage.maximum_filter(logits, width) - ndimage.minimum_filter(logits, width)
    return np.where(logits > 0, float(spread.max()) + 1 - spread, np.nan).astype(np.float32)


def _proposals(
    logits: NDArray[np.float32], regions: NDArray[np.int32], window: WindowView, side: int, input_size: int
) -> Proposals:
    """Return the proposals of the regions of a window, whose grid of cells covers the whole input."""
    cells = len(regions)
    core = _core_cells(window, cells)
    seen = _seen_cells(window, cells)
    found = []
    frames: Sequence[tuple[slice, ...] | None] = ndimage.find_objects(regions)
    for number, frame in enumerate(frames, start=1):
        if frame is None:
            continue
        inside = regions[frame] == number
        if inside.sum() < LEAST_CELLS:
            continue
        rows, columns = frame
        box = Rect(columns.start, rows.start, columns.stop, rows.stop)
        # The distance is 0 outside the region, so that its maximum is the most interior cell.
        depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        if box not in seen:
            outside = np.ones_like(inside)
            outside[(box & core).slices_in(box)] = False
            depth[outside] = 0
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        if depth[row, column] > 0:
            surety = 1 / (1 + np.exp(-np.clip(logits[frame][inside], -LIMIT, LIMIT).mean(dtype=np.float64)))
            found.append((number, box, columns.start + int(column), rows.start + int(row), float(surety)))
    if not found:
        return Proposals.none()
    found.sort(key=lambda one: -one[4])
    numbers = np.array([one[0] for one in found])
    pixel = input_size / cells
    return Proposals(
        boxes=(np.array([(one[1].x0, one[1].y0, one[1].x1, one[1].y1) for one in found]) * pixel).astype(np.float32),
        points=((np.array([(one[2], one[3]) for one in found]) + 0.5) * pixel).astype(np.float32),
        scores=np.array([one[4] for one in found], dtype=np.float32),
        classes=np.zeros(len(found), dtype=np.int64),
        mask_prompts=_mask_prompts(logits, regions, numbers, side),
    )


def _mask_prompts(
    logits: NDArray[np.float32], regions: NDArray[np.int32], numbers: NDArray[np.int64], side: int
) -> NDArray[np.float32]:
    """Return the logits of each region at the resolution of a model's masks; those of all other regions are negative."""
    cells = len(regions)
    centres = ((np.arange(side) + 0.5) * cells / side).astype(np.int64)
    names = regions[np.ix_(centres, centres)]
    # A mean filter of the width of a pixel of the mask keeps narrow objects.
    smooth = ndimage.uniform_filter(np.clip(logits, -LIMIT, LIMIT), max(1, round(cells / side)), mode="nearest")
    base = smooth[np.ix_(centres, centres)]
    result = np.where(names == numbers[:, None, None], base, -np.abs(base)).astype(np.float32)
    for prompt, number in zip(result, numbers.tolist(), strict=True):
        if not (prompt > 0).any():  # The region lies between the centres of the mask's pixels.
            rows, columns = np.nonzero(regions == number)
            prompt[rows * side // cells, columns * side // cells] = max(float(logits[rows, columns].mean()), 1.0)
    return result


def _core_cells(window: WindowView, cells: int) -> Rect:
    """Return the window's core in cells; cells that are partly in it are in it."""
    scale = cells / window.rect.width
    core = window.core
    x0, y0 = (core.x0 - window.rect.x0) * scale, (core.y0 - window.rect.y0) * scale
    x1, y1 = (core.x1 - window.rect.x0) * scale, (core.y1 - window.rect.y0) * scale
    return Rect(int(np.ceil(x0 - 0.5)), int(np.ceil(y0 - 0.5)), int(np.ceil(x1 - 0.5)), int(np.ceil(y1 - 0.5)))


def _seen_cells(window: WindowView, cells: int) -> Rect:
    """Return the cells in which a region is not cut: all but those at edges beyond which the raster may have more."""
    rect, core = window.rect, window.core
    # The core reaches to the edge of the raster, where nothing is cut.
    return Rect(
        0 if core.x0 <= rect.x0 else 1,
        0 if core.y0 <= rect.y0 else 1,
        cells if core.x1 - rect.x0 >= window.size[1] else cells - 1,
        cells if core.y1 - rect.y0 >= window.size[0] else cells - 1,
    )
