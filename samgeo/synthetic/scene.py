"""A generated image with its truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError

from samgeo.arguments import check_types
from samgeo.errors import OptionError, RasterError

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from odc.geo.geobox import GeoBox

__all__ = ["Scene"]

_TILE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A generated image and its truth.

    Attributes
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    labels : ndarray of int32, shape (H, W)
        The id of the building at the centre of each pixel; 0 means no building. Ids run from 1 without gaps.
    classes : ndarray of uint8, shape (H, W)
        The class of each pixel, as an index into ``class_names``. A pixel is a building exactly where ``labels`` is above 0.
        Other classes are drawn at half pixels, and are exact to a quarter of a pixel.
    class_names : tuple of str
    footprints : GeoDataFrame
        One row for each building: ``id`` as in ``labels``, ``roof``, ``cover``, ``height_m`` of the eaves, and the polygon of
        the roof in the scene's CRS, clipped to the frame. The polygons rasterised by the pixel-centre rule give exactly
        ``labels``.
    geobox : GeoBox
        Shape, transform and CRS.

    Examples
    --------
    >>> from samgeo.synthetic import town
    >>> scene = town((96, 128), seed=1)
    >>> scene.labels.shape, int(scene.labels.max()) == len(scene.footprints)
    ((96, 128), True)
    >>> scene.save("town.tif").name
    'town.tif'
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.int32]
    classes: NDArray[np.uint8]
    class_names: tuple[str, ...]
    footprints: GeoDataFrame
    geobox: GeoBox

    @check_types
    def save(self, path: str | Path, *, overviews: bool = False) -> Path:
        """Write the image as a tiled GeoTIFF with deflate compression.

        Parameters
        ----------
        path : str or Path
            The file. An existing file is replaced.
        overviews : bool, default False
            Whether to add overviews: reductions by 2, 4, 8 and so on, until one fits a tile.

        Returns
        -------
        Path
            The path of the file.

        Raises
        ------
        OptionError
            If the folder does not exist.
        RasterError
            If the file cannot be written.
        """
        path = Path(path)
        if not path.parent.is_dir():
            raise OptionError(f"{path} cannot be written: {path.parent} is not a folder; create it first.")
        height, width = self.labels.shape
        profile = {
            "driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "uint8", "crs": str(self.geobox.crs),
            "transform": self.geobox.affine, "compress": "deflate", "predictor": 2, "photometric": "rgb", "interleave": "pixel",
            "tiled": True, "blockxsize": _TILE, "blockysize": _TILE,
        }  # fmt: skip
        try:
            with rasterio.open(path, "w", **profile) as dataset:
                dataset.write(np.moveaxis(self.image, -1, 0))
                dataset.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
                factors = [2**level for level in range(1, 16) if max(height, width) / 2**level >= _TILE / 2]
                if overviews and factors:
                    dataset.build_overviews(factors, Resampling.average)
        except (OSError, RasterioError) as error:
            raise RasterError(f"{path} cannot be written ({error}); check the free space and the permissions.") from None
        return path
