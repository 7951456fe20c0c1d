"""Building footprints: selection by examples, filters, regularisation; also the function ``samgeo.footprints``.

``samgeo.footprints(raster, examples=...)`` does the whole, as :func:`samgeo.dataset.footprints.chain.footprints` says. The
steps are names here, loaded when they are first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable

    from samgeo.dataset.footprints.chain import footprints
    from samgeo.dataset.footprints.classifier import Selector
    from samgeo.dataset.footprints.describing import describe
    from samgeo.dataset.footprints.height import filter_by_height
    from samgeo.dataset.footprints.overlaps import keep_best
    from samgeo.dataset.footprints.population import Allocation, allocate_population
    from samgeo.dataset.footprints.regularize import regularize as regularize
    from samgeo.dataset.footprints.selection import more_like, select
    from samgeo.dataset.footprints.shapes import filter_by_shape, measure_shapes
    from samgeo.dataset.footprints.simplify import simplify as simplify

__all__ = [
    "Allocation",
    "Selector",
    "allocate_population",
    "describe",
    "filter_by_height",
    "filter_by_shape",
    "footprints",
    "keep_best",
    "measure_shapes",
    "more_like",
    "regularize",
    "select",
    "simplify",
]

_HOMES = {
    "Allocation": "population",
    "Selector": "classifier",
    "allocate_population": "population",
    "describe": "describing",
    "filter_by_height": "height",
    "filter_by_shape": "shapes",
    "footprints": "chain",
    "keep_best": "overlaps",
    "measure_shapes": "shapes",
    "more_like": "selection",
    "select": "selection",
}

# Functions whose modules have their names: importing such a module would put it in the function's place.
_NAMESAKES = frozenset({"regularize", "simplify"})


class _CallablePackage(ModuleType):
    """The package as a function, as ``samgeo.segment`` is; see docs/decisions/0005-a-package-that-can-be-called.md."""

    @property
    def _function(self) -> Callable[..., Any]:
        function: Callable[..., Any] = import_module(f"{self.__name__}.chain").footprints
        return function

    @property
    def __signature__(self) -> inspect.Signature:
        import inspect

        return inspect.signature(self._function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _NAMESAKES and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __reduce__(self) -> tuple[Callable[[str], ModuleType], tuple[str]]:
        return import_module, (self.__name__,)


def __getattr__(name: str) -> Any:
    if name in _NAMESAKES:
        try:
            return getattr(import_module(f"{__name__}.{name}"), name)
        except ModuleNotFoundError as error:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from error
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


sys.modules[__name__].__class__ = _CallablePackage
