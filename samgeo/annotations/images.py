"""Images that annotation files refer to: which image a name means, and how large it is. All readers use this module."""

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
"""Suffixes of the files that count as images."""

# Folders that separate images from annotation files in a data set. Names are compared without them.
_CONTENT_FOLDERS = {"annotations", "labels", "labeltxt", "labelxml", "images", "jpegimages"}


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Images that annotations can belong to, by name.

    Attributes
    ----------
    what : str
        Where the images come from, for messages; empty if no images are given.
    paths : dict of str to Path
        The file of each image. Names are relative to the folder of the images, with ``/`` between folders.
    shapes : dict of str to tuple
        Height and width of images in pixels. `shape` adds those that it reads from files.
    """

    what: str = ""
    paths: dict[str, Path] = field(default_factory=dict)
    shapes: dict[str, tuple[int, int]] = field(default_factory=dict)
    _by_key: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, images: str | os.PathLike[str] | Mapping[str, Sequence[int]] | None) -> ImageFiles:
        """Collect the images that a caller gives.

        Parameters
        ----------
        images : path, mapping or None
            A folder, which is searched with its subfolders; a file; or a mapping of names to (height, width) in pixels.

        Raises
        ------
        AnnotationError
            If ``images`` is none of these, or the path does not exist or has no images.
        """
        if images is None:
            return cls()
        if isinstance(images, Mapping):
            shapes = {Image(safe_name(name), *shape).name: (shape[0], shape[1]) for name, shape in images.items()}
            return cls("the images given", {}, shapes, _names_by_key(shapes))
        if not isinstance(images, str | os.PathLike):
            raise AnnotationError(
                f"images has the type {type(images).__name__}; give a folder, a file, or a mapping of names to (height, width)."
            )
        path = Path(images)
        if path.is_dir():
            found = {
                one.relative_to(path).as_posix(): one
                for one in sorted(path.rglob("*"))
                if one.suffix.lower() in SUFFIXES and one.is_file()
            }
            if not found:
                raise AnnotationError(
                    f"{path} has no images; give a folder of files that end in {', '.join(sorted(SUFFIXES))}."
                )
            return cls(str(path), found, {}, _names_by_key(found))
        if not path.is_file():
            raise AnnotationError(f"{path} does not exist (looked from {Path.cwd()}); give the path of the images.")
        return cls(str(path), {path.name: path}, {}, _names_by_key([path.name]))

    def __bool__(self) -> bool:
        return bool(self.what)

    def find(self, name: str, where: Where) -> str | None:
        """Return the name of the image that a name in an annotation file means; None if there is no such image.

        The image is the one with the same name; or else the one whose name is the same without the suffix and without folders
        such as ``images`` and ``labels``; or else the one whose name has the same last part.

        Parameters
        ----------
        name : str
            The name, with or without a suffix.
        where : Where
            Place of the name in the annotation file, for errors.

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
                fail(
                    where,
                    f"the name {name!r} fits both {found[0]} and {found[1]} of {self.what}",
                    "give a folder that has only one of them",
                )
            if found:
                return found[0]
        return None

    def shape(self, name: str) -> tuple[int, int] | None:
        """Return height and width of an image in pixels; None if there is no such image.

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
        """Return the image that a name in an annotation file means.

        Parameters
        ----------
        name : str
            The name as the file has it. It is checked here.
        shape : tuple of int or None
            Height and width in pixels if the file has them.
        where : Where
            Place of the name in the annotation file, for errors.

        Raises
        ------
        AnnotationError
            If the name would lead out of the folder of images, or the size differs from that of the image.
        """
        try:
            safe = safe_name(name)
            found = self.find(safe, where)
            known = None if found is None else self.shape(found)
            image = Image(found or safe, *(known or shape or (None, None)))
        except AnnotationError as error:
            raise _with_place(error, where) from None
        if known is not None and shape is not None and known != shape:
            what = f"{name} has {shape[1]} x {shape[0]} pixels here, but {known[1]} x {known[0]} in {self.what}"
            fail(where, what, "give the images that were annotated")
        return image

    def of_file(self, file_name: str, stated_name: str, shape: tuple[int, int] | None, where: Where) -> Image:
        """Return the image of an annotation file that belongs to one image.

        This is the image with the name of the annotation file, or else the image that is named in the file. If neither is
        among the known images, the image gets the name of the annotation file and the suffix of the name in the file.

        Parameters
        ----------
        file_name : str
            Name of the annotation file below its folder, without its suffix.
        stated_name : str
            Name of the image in the annotation file; empty if the file has none.
        shape : tuple of int or None
            Height and width in pixels if the file has them.
        where : Where
            Place in the annotation file, for errors.

        Raises
        ------
        AnnotationError
            If a name would lead out of the folder of images, several images fit, or the size differs from that of the image.
        """
        name = file_name
        if stated_name:
            try:
                safe = safe_name(stated_name)
                if self.find(file_name, where) is None:
                    suffix = PurePosixPath(safe).suffix
                    known = suffix.lower() in SUFFIXES and without_suffix(file_name) == file_name
                    name = safe if self.find(safe, where) is not None else file_name + suffix if known else file_name
            except AnnotationError as error:
                raise _with_place(error, where) from None
        return self.image(name, shape, where)


def without_suffix(name: str) -> str:
    """Return a name without its suffix if that is the suffix of an image; else the name itself."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and "." + suffix.lower() in SUFFIXES and not stem.endswith("/") and stem else name


def _with_place(error: AnnotationError, where: Where) -> AnnotationError:
    """Return an error whose message begins with the place in the annotation file."""
    return error if str(error).startswith(str(where)) else AnnotationError(f"{where}: {error}")


def name_below(root: Path, path: Path) -> str:
    """Return the name of a file relative to a folder, without its suffix and without folders such as ``labels``."""
    return _without_content_folders(path.relative_to(root).with_suffix("").as_posix())


def _key(name: str) -> str:
    """Return the form of a name in which names of images and of annotation files are compared."""
    return _without_content_folders(without_suffix(name))


def _without_content_folders(name: str) -> str:
    """Return a name without the folders that separate images from annotation files."""
    parts = PurePosixPath(name).parts or ("",)
    return "/".join([part for part in parts[:-1] if part.lower() not in _CONTENT_FOLDERS] + [parts[-1]])


def _names_by_key(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of images by their key, and by ``*/`` and the last part of their key."""
    keys: dict[str, list[str]] = {}
    for name in names:
        key = _key(name)
        for each in (key, "*/" + PurePosixPath(key).name):
            keys.setdefault(each, []).append(name)
    return keys


def geobox_of(path: Path) -> GeoBox:
    """Return the shape and georeference of an image file.

    Raises
    ------
    AnnotationError
        If the file cannot be opened as a raster.
    """
    try:
        return FileSource.open(path).geobox
    except RasterError as error:
        raise AnnotationError(str(error)) from None
