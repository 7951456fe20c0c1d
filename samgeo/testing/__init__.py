"""Scenes that know their own truth, an oracle model, rasters of every kind."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samgeo.testing.demo import Demo, run_demo
    from samgeo.testing.oracle import Oracle
    from samgeo.testing.scenes import Scene, decode_ids, encode_ids, road, scattered, touching_grid, town

__all__ = [
    "Demo",
    "Oracle",
    "Scene",
    "decode_ids",
    "encode_ids",
    "road",
    "run_demo",
    "scattered",
    "touching_grid",
    "town",
]

_HOMES = {
    "Demo": "demo",
    "Oracle": "oracle",
    "run_demo": "demo",
    **dict.fromkeys(("Scene", "decode_ids", "encode_ids", "road", "scattered", "touching_grid", "town"), "scenes"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
