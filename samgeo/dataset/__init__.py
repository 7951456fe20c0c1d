"""Data sets and objects against the truth: annotations, training sets out of boxes, footprints, metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samgeo.dataset.samrs import make_samrs

__all__ = ["make_samrs"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from samgeo.dataset.samrs import make_samrs

    globals()[name] = make_samrs
    return make_samrs


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
