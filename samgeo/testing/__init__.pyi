from .demo import Demo as Demo
from .demo import DemoStep as DemoStep
from .demo import run_demo as run_demo
from .id_scenes import decode_ids as decode_ids
from .id_scenes import encode_ids as encode_ids
from .id_scenes import road as road
from .id_scenes import scattered as scattered
from .id_scenes import touching_grid as touching_grid
from .oracle import Oracle as Oracle
from .rasters import TRANSFORMS as TRANSFORMS
from .rasters import write_raster as write_raster
from .strategies import geoboxes as geoboxes
from .strategies import grid_polygons as grid_polygons
from .strategies import label_arrays as label_arrays
from .strategies import mask_arrays as mask_arrays
from .strategies import transforms as transforms
from .strategies import windows as windows

__all__ = [
    "TRANSFORMS",
    "Demo",
    "DemoStep",
    "Oracle",
    "decode_ids",
    "encode_ids",
    "geoboxes",
    "grid_polygons",
    "label_arrays",
    "mask_arrays",
    "road",
    "run_demo",
    "scattered",
    "touching_grid",
    "transforms",
    "windows",
    "write_raster",
]
