"""The raster that is edited: its bands, which of them have values where, and the file that has the same grid and bands."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from samgeo.errors import OptionError, RasterError, VectorError
from samgeo.geo.drivers import open_raster
from samgeo.geo.grid import Rect
from samgeo.geo.raster.bands import Band
from samgeo.geo.raster.hints import tell
from samgeo.geo.raster.nodata import check_nodata, has_value
from samgeo.geo.raster.raster import Raster
from samgeo.geo.raster.sources.array_source import ArraySource
from samgeo.geo.raster.sources.band_stack import StackSource
from samgeo.geo.raster.sources.file_source import FileSource
from samgeo.geo.raster.sources.mosaic import MosaicSource
from samgeo.geo.raster.sources.opening import open_source
from samgeo.geo.raster.transparency import check_alpha, settle_alpha, settle_invented
from samgeo.storage.atomic import refuse_inputs, refuse_unwritable
from samgeo.storage.locations import Place, RemotePlace, as_place, is_there

if TYPE_CHECKING:
    import os

    from samgeo.geo.raster.sources.base import Source
    from samgeo.types import RasterLike

__all__ = ["SUFFIXES", "EditedImage", "as_values", "check_edited", "writing"]

SUFFIXES = (".tif", ".tiff")

# Tags that describe the old pixels or the file, and so do not hold for the new one.
_DROPPED = {"samgeo_invented", "samgeo_roi", "samgeo_labels", "samgeo_classes", "NODATA_VALUES"}

Values = NDArray[Any]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class EditedImage:
    """A raster with all of its bands.

    Attributes
    ----------
    source : Source
        Where the pixels are read from. Its mask leaves out transparent and masked pixels, and in a mosaic and a stack of files
        also those that a file marks as invented.
    carried : tuple of int
        Numbers of the bands that the edited file has too. In a mosaic and a stack these are the bands with values alone, and
        the mask of the edited file says what the transparency and the marks of their files hide.
    values : tuple of int
        Places, from 0, of the bands with values among those that are carried.
    nodata : float or None
        The nodata value of these bands.
    marker : int or None
        Place of the band that marks invented pixels.
    """

    source: Source
    carried: tuple[int, ...]
    values: tuple[int, ...]
    nodata: float | None
    marker: int | None

    @classmethod
    def open(cls, image: RasterLike, *, nodata: float | str | None = None, alpha: int | str | None = None) -> EditedImage:
        """Open a raster to edit it.

        Parameters
        ----------
        image : anything that `samgeo.Raster.open` takes
            The raster.
        nodata, alpha : optional
            See `samgeo.Raster.open`.

        Raises
        ------
        RasterError
            If it cannot be opened, its bands have several types, or it has a colour table.
        OptionError
            If an option is malformed.
        """
        empty, transparency = check_nodata(nodata), check_alpha(alpha)
        if empty is None and isinstance(image, Raster) and len({str(value) for value in image.nodata}) == 1:
            empty = image.nodata
        opened = image.source if isinstance(image, Raster) else open_source(image)
        source, hints = settle_alpha(opened, None, transparency)
        tell(hints)
        is_joint = isinstance(source, StackSource | MosaicSource)
        source = settle_invented(source, shows=not is_joint)
        bands = source.bands
        numbers = [number for number, band in enumerate(bands, 1) if not (band.is_alpha or band.is_marker)]
        if not numbers:
            raise RasterError(
                f'all bands of {source.name} are taken for transparency; give alpha="none" if they are image bands.'
            )
        if source.palette is not None:
            raise RasterError(
                f"{source.name} has a colour table, between whose numbers no value can be interpolated; write its colours to "
                "bands first (gdal_translate -expand rgb)."
            )
        carried = tuple(numbers) if is_joint else tuple(range(1, len(bands) + 1))
        types = sorted({bands[number - 1].dtype for number in carried})
        if len(types) > 1:
            raise RasterError(
                f"the bands of {source.name} have the types {', '.join(types)}, and those of a GeoTIFF have one type; write "
                "the bands that you need in one type first (gdal_translate -ot)."
            )
        values = {bands[number - 1].nodata for number in numbers} if empty is None else {empty[0]}
        if len({str(value) for value in values}) > 1:
            raise RasterError(
                f"the bands of {source.name} have several nodata values, and those of a GeoTIFF have one; give it with nodata."
            )
        if isinstance(source, MosaicSource) and empty is not None:
            source = replace(
                source, empty=tuple(empty[0] if number in numbers else None for number in range(1, len(bands) + 1))
            )
        places = tuple(place for place, number in enumerate(carried) if number in numbers)
        marker = next((place for place, number in enumerate(carried) if bands[number - 1].is_marker), None)
        return cls(source, carried, places, next(iter(values)), marker)

    @property
    def name(self) -> str:
        """Name of the raster."""
        return self.source.name

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.source.geobox.shape
        return int(height), int(width)

    @property
    def frame(self) -> Rect:
        """All pixels."""
        return Rect(0, 0, self.shape[1], self.shape[0])

    @property
    def bands(self) -> tuple[Band, ...]:
        """The bands that the edited file has too."""
        return tuple(self.source.bands[number - 1] for number in self.carried)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(self.bands[0].dtype)

    @property
    def has_mask(self) -> bool:
        """Whether a mask hides pixels that neither transparency nor nodata values hide."""
        return _may_mask(self.source)

    def read(self, rect: Rect) -> tuple[Values, Bools]:
        """Read the carried bands of a rectangle within the raster, and which pixels transparency and masks show."""
        return self.source.read(self.carried, rect)

    def measured(self, values: Values, shown: Bools) -> tuple[NDArray[np.bool_], Bools]:
        """Return which values exist, and which pixels are invented.

        Parameters
        ----------
        values : ndarray, shape (carried bands, h, w)
            As `read` returns them.
        shown : ndarray of bool, shape (h, w)
            As `read` returns it.

        Returns
        -------
        exists : ndarray of bool, shape (bands with values, h, w)
            Where a band has a value. False for all bands of a hidden pixel.
        invented : ndarray of bool, shape (h, w)
            Where the raster says that its pixels are invented.
        """
        exists = has_value(values[list(self.values)], (self.nodata,) * len(self.values)) & shown
        invented = np.zeros(shown.shape, dtype=bool) if self.marker is None else values[self.marker] != 0
        return exists, invented

    def tags(self) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        """Return the tags of the file, and those of its other domains that hold for the pixels, such as RPC."""
        if not isinstance(self.source, FileSource):
            return {}, {}
        with _reading(self.name), open_raster(self.source.path, self.name) as file:
            own = {name: value for name, value in file.tags().items() if name not in _DROPPED}
            return own, {"RPC": file.tags(ns="RPC")} if file.tags(ns="RPC") else {}

    def scaling(self) -> list[tuple[float, float, str]]:
        """Return the scale, the offset and the unit of each carried band."""
        if not isinstance(self.source, FileSource):
            return [(1.0, 0.0, "")] * len(self.carried)
        with _reading(self.name), open_raster(self.source.path, self.name) as file:
            return [
                (scale, offset, unit or "") for scale, offset, unit in zip(file.scales, file.offsets, file.units, strict=True)
            ]

    @contextmanager
    def create(
        self,
        path: Path,
        bands: Sequence[tuple[Band, int | None]],
        tags: Mapping[str, str],
        *,
        nodata: float | None,
        **options: object,
    ) -> Iterator[rasterio.io.DatasetWriter]:
        """Create a GeoTIFF on the grid of the raster.

        Parameters
        ----------
        path : Path
            The file.
        bands : sequence of (Band, int or None)
            The bands of the new file, and the place of each among the carried bands, or None for a new band. If one is carried,
            the file has the tags of the raster.
        tags : mapping of str to str
            Tags to add.
        nodata : float, optional
            The nodata value of all bands.
        **options
            Creation options of GDAL.
        """
        geobox, (height, width) = self.source.geobox, self.shape
        own, domains = self.tags() if any(place is not None for _, place in bands) else ({}, {})
        scaling = [self.scaling()[place] if place is not None else (1.0, 0.0, "") for _, place in bands]
        scales, offsets, units = zip(*scaling, strict=True)
        placed: dict[str, Any] = {"crs": None if geobox.crs is None else geobox.crs.proj}
        placed |= {} if geobox.affine.is_identity else {"transform": geobox.affine}
        size: dict[str, Any] = {
            "height": height,
            "width": width,
            "count": len(bands),
            "dtype": bands[0][0].dtype.replace("bool", "uint8"),
        }
        with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            # Without a georeference the grid is that of the pixels, and rasterio would warn of it.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, "w", driver="GTiff", nodata=nodata, **size, **placed, **options) as file:
                if "photometric" not in options:
                    file.colorinterp = [_color(band, number) for number, (band, _) in enumerate(bands)]
                file.descriptions = tuple(band.description or None for band, _ in bands)
                if any(scale != 1 for scale in scales) or any(offsets):
                    file.scales, file.offsets = scales, offsets
                if any(units):
                    file.units = units
                file.update_tags(**own, **tags)
                for domain, content in domains.items():
                    file.update_tags(ns=domain, **content)
                yield file


def check_edited(output: str | os.PathLike[str], tag: str, *, overwrite: bool, inputs: Sequence[object]) -> Place:
    """Check, before any work, that an edited raster can be written.

    Parameters
    ----------
    output : path or address
        The output.
    tag : str
        Tag that files have which samgeo made in this way; no others are replaced.
    overwrite : bool
        Whether such a file may be replaced.
    inputs : sequence
        Inputs of the work, see `samgeo.storage.atomic.refuse_inputs`.

    Raises
    ------
    OptionError
        If the name has another suffix, the folder is missing or not writable, the file exists, or it is one of the inputs.
    StorageError
        If the address cannot be written.
    """
    place = as_place(output)
    if place.suffix.lower() not in SUFFIXES:
        raise OptionError(f"{place} does not end in {' or '.join(SUFFIXES)}; name it so.")
    if isinstance(place, Path):
        refuse_unwritable(place, OptionError)
        refuse_inputs(place, inputs, OptionError)
        # A user who forgets the output on the command line gives the last input in its place, which must not be replaced.
        if place.exists() and not _has_tag(place, tag):
            raise OptionError(
                f"{place} exists and was not made by samgeo in this way, so it is not replaced; choose another name."
            )
    if not overwrite and is_there(place):
        raise OptionError(f"{place} exists; choose another name, or allow overwrite.")
    if isinstance(place, RemotePlace):
        place.check_writable()
    return place


def as_values(values: NDArray[np.float64], dtype: np.dtype[Any], nodata: float | None) -> NDArray[Any]:
    """Convert values to the type of the raster, rounded for integers; none of them becomes its nodata value."""
    has_nodata = nodata is not None and math.isfinite(nodata)
    if dtype.kind == "f":
        found = values.astype(dtype)
        if has_nodata:
            empty = dtype.type(nodata)
            found[found == empty] = np.nextafter(empty, dtype.type(np.inf))
        return found
    if dtype.kind == "b":
        return np.asarray(values >= 0.5)
    limits = np.iinfo(dtype)
    found = np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
    if nodata is not None and has_nodata and float(nodata).is_integer() and limits.min <= nodata <= limits.max:
        number = int(nodata)
        found[found == number] = number - 1 if number == limits.max else number + 1
    return found


@contextmanager
def writing(output: object) -> Iterator[None]:
    """Replace errors of rasterio and of the file system by an `OptionError` that names the output."""
    try:
        yield
    except (RasterioError, OSError, VectorError) as error:
        raise OptionError(f"{output} cannot be written ({error}); check the free space, or choose another folder.") from None


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            yield
    except (RasterioError, OSError) as error:
        raise RasterError(f"the tags of {name} cannot be read ({error}); check the file.") from None


def _has_tag(path: Path, tag: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.open(path, driver="GTiff") as file:
                return tag in file.tags()
        except RasterioError:
            return False


def _color(band: Band, number: int) -> ColorInterp:
    if band.is_marker:
        return ColorInterp.undefined
    known = ColorInterp.__members__.get(band.color)
    return known if known is not None else ColorInterp.gray if number == 0 else ColorInterp.undefined


def _may_mask(source: Source) -> bool:
    if isinstance(source, FileSource):
        return source.has_mask
    if isinstance(source, ArraySource):
        return source.masked is not None
    if isinstance(source, StackSource):
        return any(_may_mask(file) or any(band.hides for band in file.bands) for file in source.files)
    return True
