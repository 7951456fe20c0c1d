"""Removal of objects from a raster: their pixels are filled from other dates or from their neighbours, and marked."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.windows import Window

from samgeo.arguments import check_types
from samgeo.editing.dates import OtherDate, median_of
from samgeo.editing.edited_image import EditedImage, as_values, check_edited, writing
from samgeo.editing.filling import APART_PX, MARGIN, Filler, Part
from samgeo.editing.objects_px import Holes, ObjectsPx
from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.bands import INVENTED, INVENTED_TAG, Band
from samgeo.geo.vector.outputs import atomic_output
from samgeo.progress import counting, progress_bar
from samgeo.storage.staging import staging_folder
from samgeo.types import FeaturesLike, RasterLike

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Removal", "remove"]

# Longest side of the part of the raster that is filled at a time, and the number of values that may be in memory then.
LONGEST_PART, VALUES_IN_PART = 1024, 1 << 25

# Limits for the blocks of the file.
BLOCK, BLOCK_BYTES = 512, 1 << 25

# The value that marks an invented pixel. A coarse overview of a part with any such pixel is not 0.
MARK = 255


@dataclass(frozen=True, slots=True)
class Removal:
    """What was removed from a raster.

    Attributes
    ----------
    output : str
        Path or address of the edited raster.
    objects : int
        Number of objects that touch the raster.
    pixels : int
        Number of pixels that were invented for them.
    from_dates : int
        How many of these come from other dates.
    from_neighbours : int
        How many of these come from the pixels around them.
    all_invented : int
        Number of invented pixels in the output, with those that were invented before.
    digest : str
        Digest of the outlines of the objects in pixels.
    """

    output: str
    objects: int
    pixels: int
    from_dates: int
    from_neighbours: int
    all_invented: int
    digest: str


@check_types
def remove(
    image: RasterLike,
    objects: FeaturesLike,
    output: str | os.PathLike[str],
    *,
    dates: Sequence[RasterLike] = (),
    grow_px: float = 4.0,
    nodata: float | str | None = None,
    alpha: int | str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Removal:
    """Remove objects from a raster, such as vehicles, people or clouds, and mark the pixels that are invented for them.

    A pixel under an object gets the median of the rasters of other dates, where one of them has a measured value there. Other
    pixels are filled from their neighbours: a small hole by the biharmonic function that continues the values and the slopes
    around it (Chui and Mhaskar 2010; Damelin and Hoang 2018), a larger one from coarse to fine by the same method. The result
    is smooth: it has no texture, and does not show what is under the object.

    The pixels are not measurements, so that the file always says which they are: the band with the description ``invented`` is
    255 there and 0 elsewhere, and the tag ``samgeo_invented`` has their number, the methods and a digest of the objects.
    `samgeo.Raster.open`, and so every function of samgeo, treats them as pixels without data unless ``invented="data"`` is
    given. Other programs show the filled pixels. Pixels without data are not filled, and pixels that were invented before are
    neither filled nor used again; they stay marked.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The raster, with bands of one type, which may be larger than memory. Of a `Raster`, all bands are used.
    objects : path, GeoDataFrame, GeoSeries, geometry or list of geometries
        Polygons in any CRS. Geometries without a table are in the CRS of the image. Objects that reach over the edge of the
        raster are clipped. If there are no objects at all, nothing is filled, and no pixel is marked.
    output : path or address
        Ends in ``.tif`` or ``.tiff``: a cloud-optimized GeoTIFF with the bands, the type, the grid, the CRS, the nodata value
        and the mask of the image, and the band ``invented``. It is written whole or not at all. While it is written, a
        compressed copy is beside it.
    dates : sequence of rasters, optional
        Rasters of other dates with the same bands and type, each as ``image``. They are used where all of their bands have a
        value that is not invented. If the grid of a date differs, it is interpolated linearly on the grid of the image.
    grow_px : float, default 4
        Width in pixels by which the objects are grown, because their edges and shadows reach into the pixels around them, and
        would be continued into the hole.
    nodata, alpha : optional
        See `samgeo.Raster.open`.
    overwrite : bool, default False
        Whether an existing output of this function may be replaced. Any other file is never replaced.
    progress : bool, default True
        Whether to show a progress bar on standard error.

    Returns
    -------
    Removal
        The number of objects, and of pixels by their origin.

    Raises
    ------
    OptionError
        If an option is invalid, the output cannot be written, there are objects and none touches the raster, or a date cannot
        be placed on the image.
    VectorError
        If the objects cannot be read or placed, or are no polygons.
    RasterError
        If a raster cannot be read, its bands have several types or a colour table, a date has other bands, or objects cover
        everything that has data near them.

    Examples
    --------
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import samgeo
    >>> from samgeo.testing import write_raster
    >>> from shapely.geometry import box
    >>> image = np.full((64, 64, 3), 120, np.uint8)
    >>> image[20:26, 30:42] = 250  # a white car
    >>> street = write_raster(Path("street.tif"), image)  # pixels of 0.5 m
    >>> car = box(500_015, 5_399_987, 500_021, 5_399_990)
    >>> removal = samgeo.remove(street, car, "empty.tif", grow_px=0, progress=False)
    >>> removal.pixels, removal.from_neighbours
    (72, 72)
    >>> pixels, valid = samgeo.Raster.open("empty.tif", check=False).view()
    >>> int((~valid).sum())
    72
    >>> int(samgeo.Raster.open("empty.tif", invented="data", check=False).view()[0].max())
    120
    """
    if not 0 <= grow_px <= MARGIN:
        raise OptionError(f"grow_px is {grow_px:g}; give a number of pixels from 0 to {MARGIN}.")
    if isinstance(dates, str | os.PathLike) or not isinstance(dates, list | tuple):
        raise OptionError(f"dates is {dates!r}; give a list of rasters.")
    place = check_edited(output, INVENTED_TAG, overwrite=overwrite, inputs=(image, objects, *dates))
    edited = EditedImage.open(image, nodata=nodata, alpha=alpha)
    others = [OtherDate.open(date, edited) for date in dates]
    found = ObjectsPx.read(objects, edited.source.geobox, name=edited.name)
    holes = Holes.of(found, grow_px=grow_px, apart_px=APART_PX)
    with writing(place), atomic_output(place) as temporary, staging_folder(temporary.parent) as folder:
        work = _Work(edited, others, holes, folder)
        counts = work.write(temporary, found, grow_px, progress=progress)
    return Removal(str(place), len(found.polygons), *counts, found.digest())


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    image: EditedImage
    dates: Sequence[OtherDate]
    holes: Holes
    folder: Path

    def write(self, path: Path, objects: ObjectsPx, grow_px: float, *, progress: bool) -> tuple[int, int, int, int]:
        """Write the edited raster; return the numbers of pixels as in `Removal`."""
        image = self.image
        bands: list[tuple[Band, int | None]] = [(band, place) for place, band in enumerate(image.bands)]
        marker = len(bands) if image.marker is None else image.marker
        if image.marker is None:
            bands.append((Band(str(image.dtype), image.nodata, INVENTED), None))
        side = _block(len(bands), image.dtype)
        plain, mark = self.folder / "plain.tif", _mark(image)
        layout: dict[str, Any] = {"tiled": True, "blockxsize": side, "blockysize": side, "BIGTIFF": "IF_SAFER", "ALPHA": "NO"}
        layout |= {"compress": "deflate", "zlevel": 1, "interleave": "pixel" if len(bands) <= 4 else "band"}
        of_dates = of_neighbours = total = 0
        filler = Filler(self.read, self.holes, image.frame, self.folder, image.name)
        cores = list(self._cores(len(bands)))
        with (
            image.create(plain, bands, {}, nodata=image.nodata, **layout) as file,
            progress_bar(len(cores), "part", "removing", progress=progress) as bar,
        ):
            for core in counting(cores, bar.update):
                values, shown = image.read(core)
                exists, invented = image.measured(values, shown)
                wanted = (self.holes.draw(core) > 0) & exists.any(axis=0) & ~invented
                if wanted.any():
                    part = filler.filled(core)
                    known_now = part.known & wanted
                    of_dates += int(known_now.sum())
                    of_neighbours += int((wanted & ~known_now).sum())
                    for row, place in enumerate(image.values):
                        # A band without a value in a pixel keeps its nodata.
                        into = wanted & exists[row]
                        values[place][into] = as_values(part.values[row][into], image.dtype, image.nodata)
                invented |= wanted
                total += int(invented.sum())
                marked = np.where(invented, mark, np.zeros((), dtype=image.dtype)).astype(values.dtype)
                layers = np.concatenate([values[:marker], marked[np.newaxis], values[marker + 1 :]])
                window = Window(core.x0, core.y0, core.width, core.height)
                file.write(layers.astype("uint8") if layers.dtype == bool else layers, window=window)
                if image.has_mask:
                    file.write_mask(shown, window=window)
            note = {
                "pixels": total,
                "steps": [
                    *self._earlier(),
                    {
                        "objects": objects.digest(),
                        "count": len(objects.polygons),
                        "grow_px": grow_px,
                        "median_of_dates": of_dates,
                        "biharmonic": of_neighbours,
                        "dates": [date.source.name for date in self.dates],
                    },
                ],
            }
            file.update_tags(**{INVENTED_TAG: json.dumps(note)})
        options: dict[str, Any] = {"COMPRESS": "DEFLATE", "PREDICTOR": "YES", "BLOCKSIZE": side, "BIGTIFF": "IF_SAFER"}
        rasterio.shutil.copy(plain, path, driver="COG", OVERVIEW_RESAMPLING="AVERAGE", **options)
        return of_dates + of_neighbours, of_dates, of_neighbours, total

    def read(self, rect: Rect) -> Part:
        """Read a rectangle, which may reach past the raster, with holes that other dates cover filled."""
        image, inside = self.image, rect & self.image.frame
        values = np.zeros((len(image.values), *rect.shape))
        known, holes = np.zeros(rect.shape, dtype=bool), np.zeros(rect.shape, dtype=np.int32)
        if inside.is_empty:
            return Part(values, known, holes)
        read, shown = image.read(inside)
        exists, invented = image.measured(read, shown)
        drawn = np.where(exists.any(axis=0) & ~invented, self.holes.draw(inside), 0)
        usable = exists.all(axis=0) & ~invented & (drawn == 0)
        own = np.where(usable, read[list(image.values)], 0).astype(np.float64)
        if self.dates and drawn.any():
            rows, columns = np.nonzero(drawn)
            medians, valid = median_of(self.dates, columns + inside.x0, rows + inside.y0)
            own[:, rows[valid], columns[valid]] = medians[:, valid]
            usable[rows[valid], columns[valid]] = True
            drawn[rows[valid], columns[valid]] = 0
        where = inside.slices_in(rect)
        values[(slice(None), *where)], known[where], holes[where] = own, usable, drawn
        return Part(values, known, holes)

    def _earlier(self) -> list[Any]:
        """Return what the tag of the image says about its invented pixels."""
        steps: list[Any] = []
        for file in self.image.source.files:
            try:
                content = json.loads(dict(file.notes).get(INVENTED_TAG, "{}"))
            except ValueError:
                continue
            steps += content.get("steps", []) if isinstance(content, dict) and self.image.marker is not None else []
        return steps

    def _cores(self, bands: int) -> Iterator[Rect]:
        """Give the parts of the raster in the order of its blocks."""
        values = bands + len(self.image.values) * (len(self.dates) + 4)
        side = LONGEST_PART
        while side > 2 * MARGIN and (side + 2 * MARGIN) ** 2 * values > VALUES_IN_PART:
            side //= 2
        height, width = self.image.shape
        for top in range(0, height, side):
            for left in range(0, width, side):
                yield Rect(left, top, left + side, top + side) & self.image.frame


def _block(bands: int, dtype: np.dtype[Any]) -> int:
    """Return the side of the blocks of the file; with many bands they are smaller."""
    side = BLOCK
    while side > MARGIN and side**2 * bands * dtype.itemsize > BLOCK_BYTES:
        side //= 2
    return side


def _mark(image: EditedImage) -> NDArray[Any]:
    """Return the value that marks invented pixels, which is not the nodata value."""
    top = MARK if image.dtype.kind in "fb" else min(MARK, int(np.iinfo(image.dtype).max))
    return np.asarray(top - 1 if image.nodata == top else top)
