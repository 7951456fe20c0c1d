"""The progress bar of all functions that take longer than a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn, TypeVar

from tqdm import tqdm

__all__ = ["counting", "progress_bar"]

T = TypeVar("T")


def progress_bar(total: int, unit: str, what: str, *, progress: bool, initial: int = 0) -> tqdm[NoReturn]:
    """Return a progress bar on standard error, which is used as a context manager.

    Programs that run the command read the bar, such as the plugin of QGIS: a line of it begins with the text, a colon, and the
    percentage.

    Parameters
    ----------
    total : int
        Number of units of all the work.
    unit : str
        Name of one unit, such as "window".
    what : str
        What is done, or the name of the input, as a short text.
    progress : bool
        Whether the bar is shown. If not, it prints nothing.
    initial : int, default 0
        Units that were finished before.

    Examples
    --------
    >>> from samgeo.progress import progress_bar
    >>> with progress_bar(3, "window", "town.tif", progress=False) as bar:
    ...     bar.update(3)
    """
    return tqdm(total=total, initial=initial, unit=unit, desc=what, disable=not progress)


def counting(items: Iterable[T], done: Callable[[int], object]) -> Iterator[T]:
    """Yield items, and call ``done`` with 1 after each, when the next one is asked for; ``done`` is `update` of a bar.

    Examples
    --------
    >>> from samgeo.progress import counting, progress_bar
    >>> with progress_bar(3, "window", "town.tif", progress=False) as bar:
    ...     list(counting("abc", bar.update))
    ['a', 'b', 'c']
    """
    for item in items:
        yield item
        done(1)
