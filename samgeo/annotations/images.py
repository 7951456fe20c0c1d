"""The images that annotations speak of: which file a name means, and how large it is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from samgeo.annotations.parsing.text_files import Where, fail
from samgeo.annotations.table import Image, safe_name
from samgeo.errors import AnnotationError, RasterError
from samgeo.geo.raster.sources.file_source import FileSource

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

__all__ = ["SUFFIXES", "ImageFiles", "geobox_of", "name_below", "without_suffix"]

SUFFIXES = {".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
"""Of what counts as an image."""

# Folders that data sets put between their root and their files, on either side.
_HALVES = {"annotations", "labels", "labeltxt", "labelxml", "images", "jpegimages"}


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Images by name.

    Attributes
    ----------
    what : str
        Where they come from, for messages; empty where there are none.
    paths : dict of str to Path
        Name below the folder to file.
    shapes : dict of str to tuple
        Name to height and width; filled as images are asked for.
    """

    what: str = ""
    paths: dict[str, Path] = field(default_factory=dict)
    shapes: dict[str, tuple[int, int]] = field(default_factory=dict)
    _by_key: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, images: str | os.PathLike[str] | Mapping[str, Sequence[int]] | None) -> ImageFiles:
        """Take a folder, a file, a mapping of names to (height, width), or nothing.

        Raises
        ------
        AnnotationError
            If it is none of them, does not exist, or has no images.
        """
        if images is None:
            return cls()
        if isinstance(images, Mapping):
            shapes = {Image(safe_name(name), *shape).name: (shape[0], shape[1]) for name, shape in images.items()}
            return cls("the images given", {}, shapes, _keys(shapes))
        if not isinstance(images, str | os.PathLike):
            raise AnnotationError(
                f"images are a {type(images).__name__}; give a folder, a file, or a mapping of names to (height, width)."
            )
        path = Path(images)
        if path.is_dir():
            found = {
                one.relative_to(path).as_posix(): one
                for one in sorted(path.rglob("*"))
                if one.suffix.lower() in SUFFIXES and one.is_file()
            }
            if not found:
                raise AnnotationError(f"{path} has no images; give a folder with any of {', '.join(sorted(SUFFIXES))}.")
            return cls(str(path), found, {}, _keys(found))
        if not path.is_file():
            raise AnnotationError(f"{path} does not exist (looked from {Path.cwd()}); give the images' folder or file.")
        return cls(str(path), {path.name: path}, {}, _keys([path.name]))

    def __bool__(self) -> bool:
        return bool(self.what)

    def find(self, name: str, where: Where) -> str | None:
        """Return the name of the image that a name, with or without a suffix, means; None if there is none.

        The whole name counts first; then the name without its suffix and without folders such as ``images`` and ``labels``;
        then the last part alone.

        Raises
        ------
        AnnotationError
            If several images fit equally well.
        """
        if name in self.paths or name in self.shapes:
            return name
        key = _key(name)
        for wanted in (key, "*/" + PurePosixPath(key).name):
            found = self._by_key.get(wanted, [])
            if len(found) > 1:
                fail(where, f"{name!r} may be {found[0]} or {found[1]} of {self.what}", "give the folder of one of them")
            if found:
                return found[0]
        return None

    def shape(self, name: str) -> tuple[int, int] | None:
        """Return height and width of an image in pixels, None if there is no such image.

        Raises
        ------
        AnnotationError
            If the image cannot be opened.
        """
        if name not in self.shapes and name in self.paths:
            height, width = geobox_of(self.paths[name]).shape
            self.shapes[name] = int(height), int(width)
        return self.shapes.get(name)

    def image(self, name: str, shape: tuple[int, int] | None, where: Where) -> Image:
        """Return the image that a file of annotations means.

        Parameters
        ----------
        name : str
            As the file says; made safe here.
        shape : tuple of int or None
            Height and width, where the file says.
        where : Where

        Raises
        ------
        AnnotationError
            If the name would lead out of the folder, or the sizes differ.
        """
        try:
            safe = safe_name(name)
            found = self.find(safe, where)
            known = None if found is None else self.shape(found)
            image = Image(found or safe, *(known or shape or (None, None)))
        except AnnotationError as error:
            raise _placed(error, where) from None
        if known is not None and shape is not None and known != shape:
            what = f"{name} has {shape[1]} x {shape[0]} pixels here"
            fail(where, f"{what}, and {known[1]} x {known[0]} in {self.what}", "give the images that were annotated")
        return image

    def of_file(self, own: str, said: str, shape: tuple[int, int] | None, where: Where) -> Image:
        """Return the image of a file of annotations: the one with the file's own name, or else the one that the file names.

        Where neither is known, the name is the file's own, with the suffix of the one that it names.

        Parameters
        ----------
        own, said : str
            The file's own name below its folder, without its suffix, and the name that it gives, empty where it gives none.
        shape : tuple of int or None
            Height and width, where the file says.
        where : Where

        Raises
        ------
        AnnotationError
            As `image`; also where the name that the file gives would lead out of the folder.
        """
        name = own
        if said:
            try:
                safe = safe_name(said)
                if self.find(own, where) is None:
                    suffix = PurePosixPath(safe).suffix
                    known = suffix.lower() in SUFFIXES and without_suffix(own) == own
                    name = safe if self.find(safe, where) is not None else own + suffix if known else own
            except AnnotationError as error:
                raise _placed(error, where) from None
        return self.image(name, shape, where)


def without_suffix(name: str) -> str:
    """Return a name without the suffix of an image."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and "." + suffix.lower() in SUFFIXES and not stem.endswith("/") and stem else name


def _placed(error: AnnotationError, where: Where) -> AnnotationError:
    """Return an error with the place, if it does not have it yet."""
    return error if str(error).startswith(str(where)) else AnnotationError(f"{where}: {error}")


def name_below(root: Path, path: Path) -> str:
    """Return the name of a file below a folder without its suffix and without folders such as ``labels``."""
    return _plain(path.relative_to(root).with_suffix("").as_posix())


def _key(name: str) -> str:
    return _plain(without_suffix(name))


def _plain(name: str) -> str:
    parts = PurePosixPath(name).parts or ("",)
    return "/".join([part for part in parts[:-1] if part.lower() not in _HALVES] + [parts[-1]])


def _keys(names: Iterable[str]) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = {}
    for name in names:
        key = _key(name)
        for each in (key, "*/" + PurePosixPath(key).name):
            keys.setdefault(each, []).append(name)
    return keys


def geobox_of(path: Path) -> GeoBox:
    """Return shape and georeference of an image.

    Raises
    ------
    AnnotationError
        If it cannot be opened.
    """
    try:
        return FileSource.open(path).geobox
    except RasterError as error:
        raise AnnotationError(str(error)) from None
