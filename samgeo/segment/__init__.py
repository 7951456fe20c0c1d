"""From masks to polygons: a package that is also the function ``samgeo.segment``."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable


class _CallablePackage(ModuleType):
    """The package ``samgeo.segment``, which answers a call as :func:`samgeo.segment.pipeline.segment` does.

    ``samgeo.segment`` is what a user calls and where the code lives. Python keeps one object under that name, and sets it to
    the package as soon as any module of it is imported; so the package must be able to take the call.
    """

    @property
    def _function(self) -> Callable[..., Any]:
        function: Callable[..., Any] = import_module("samgeo.segment.pipeline").segment
        return function

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return self._function.__doc__

    @property
    def __signature__(self) -> inspect.Signature:
        import inspect

        return inspect.signature(self._function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __reduce__(self) -> tuple[Callable[[str], ModuleType], tuple[str]]:
        return import_module, (self.__name__,)


sys.modules[__name__].__class__ = _CallablePackage
