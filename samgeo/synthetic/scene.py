"""A picture that knows its own truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError, RasterError

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from odc.geo.geobox import GeoBox

__all__ = ["Scene"]

_TILE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """An image and everything that is true about it.

    Attributes
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    labels : ndarray of int32, shape (H, W)
        The building at each pixel's centre, 0 where there is none; ids run from 1 without gaps.
    classes : ndarray of uint8, shape (H, W)
        What is at each pixel, as an index into ``class_names``; a building wherever ``labels`` has one. Other classes are
        drawn at half pixels, and hold to a quarter of a pixel.
    class_names : tuple of str
    footprints : GeoDataFrame
        One row a building: ``id`` as in ``labels``, ``roof``, ``cover``, ``height_m`` of the eaves, and the polygon of the
        roof in the scene's CRS, cut at the frame. Rasterised by the pixel-centre rule it is ``labels`` exactly.
    geobox : GeoBox
        Shape, transform and CRS.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.int32]
    classes: NDArray[np.uint8]
    class_names: tuple[str, ...]
    footprints: GeoDataFrame
    geobox: GeoBox

    @check_types
    def save(self, path: str | Path, *, overviews: bool = False) -> Path:
        """Write the image as a GeoTIFF: tiled, deflate.

        Parameters
        ----------
        path : str or Path
            Replaced if it is there.
        overviews : bool, default False
            Whether to add halves, quarters... down to one tile.

        Returns
        -------
        Path
            Where it is.

        Raises
        ------
        OptionError
            If the folder does not exist.
        RasterError
            If the file cannot be written.
        """
        import rasterio
        from rasterio.enums import ColorInterp, Resampling
        from rasterio.errors import RasterioError

        path = Path(path)
        if not path.parent.is_dir():
            raise OptionError(f"{path} cannot be written: {path.parent} is not a folder; make it first.")
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
            raise RasterError(f"{path} cannot be written ({error}); give a place with room that can be written.") from None
        return path
