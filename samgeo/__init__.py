"""Objects out of overhead imagery of any size with the Segment Anything family.

The public names are loaded when they are first used, so that importing samgeo stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samgeo.dataset import footprints as footprints
    from samgeo.errors import SamgeoError
    from samgeo.geo.label_raster import rasterize
    from samgeo.geo.raster import Raster
    from samgeo.map.display import show
    from samgeo.map.widget import Map
    from samgeo.sam.registry import load_model, models
    from samgeo.segment.encoding import encode
    from samgeo.segment.pipeline import segment as segment
    from samgeo.segment.predictor import Predictor

__version__ = "0.1.0"

__all__ = [
    "Map",
    "Predictor",
    "Raster",
    "SamgeoError",
    "__version__",
    "encode",
    "footprints",
    "load_model",
    "models",
    "rasterize",
    "segment",
    "show",
]

# Public name to its module, and its name there; no name means the module itself.
_HOMES = {
    "Map": ("samgeo.map.widget", "Map"),
    "Predictor": ("samgeo.segment.predictor", "Predictor"),
    "Raster": ("samgeo.geo.raster", "Raster"),
    "SamgeoError": ("samgeo.errors", "SamgeoError"),
    "encode": ("samgeo.segment.encoding", "encode"),
    "footprints": ("samgeo.dataset.footprints", None),  # a package that can be called, as segment is
    "load_model": ("samgeo.sam.registry", "load_model"),
    "models": ("samgeo.sam.registry", "models"),
    "rasterize": ("samgeo.geo.label_raster", "rasterize"),
    "segment": ("samgeo.segment", None),  # a package that can be called: see samgeo/segment/__init__.py
    "show": ("samgeo.map.display", "show"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module_name, attribute = _HOMES[name]
    module = import_module(module_name)
    value = module if attribute is None else getattr(module, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
