"""The pictures of the manual: which function makes which file."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

__all__ = ["PICTURES", "Picture", "SkippedError", "folder", "picture"]

MOST_KB = 120
"""Largest size of a picture, so that pages load quickly and the repository stays small."""


_HOME: ContextVar[Path] = ContextVar("home")


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
    """Register a function as the one that makes a picture. What it writes into `folder` is removed when the picture is made."""

    def register(make: Callable[[], Image.Image]) -> Callable[[], Image.Image]:
        @functools.wraps(make)
        def made() -> Image.Image:
            with tempfile.TemporaryDirectory(prefix="samgeo-pictures-", ignore_cleanup_errors=True) as home:
                before = _HOME.set(Path(home))
                try:
                    shown = make()
                    # Pillow may read a file only when the pixels are needed.
                    shown.load()
                finally:
                    _HOME.reset(before)
            return shown

        if name in PICTURES:
            raise ValueError(f"two functions make {name}")
        PICTURES[name] = Picture(name, made, by_name)
        return made

    return register


def folder() -> Path:
    """Return a new folder for the files of the picture that is made."""
    return Path(tempfile.mkdtemp(dir=_HOME.get()))
