"""The pictures of the manual: which function makes which file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

__all__ = ["PICTURES", "Picture", "SkippedError", "picture"]

MOST_KB = 120
"""Largest size of a picture, so that pages load quickly and the repository stays small."""


class SkippedError(Exception):
    """A picture cannot be made here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the manual.

    Attributes
    ----------
    name : str
        File in ``docs/images``, a ``.jpg`` or ``.png``.
    make : callable
        Return the picture.
    by_name : bool
        Whether it is made only if it is named: it needs data, or shows the time that this machine takes.
    """

    name: str
    make: Callable[[], Image.Image]
    by_name: bool = False


PICTURES: dict[str, Picture] = {}


def picture(name: str, *, by_name: bool = False) -> Callable[[Callable[[], Image.Image]], Callable[[], Image.Image]]:
    """Register a function as the one that makes a picture."""

    def register(make: Callable[[], Image.Image]) -> Callable[[], Image.Image]:
        if name in PICTURES:
            raise ValueError(f"two functions make {name}")
        PICTURES[name] = Picture(name, make, by_name)
        return make

    return register
