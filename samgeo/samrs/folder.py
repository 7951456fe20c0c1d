"""The folder of a data set: its manifest, and the records of finished images with all of their files.

The record of an image has its instances, its files, and its rejected annotations. It is stored as JSON with a digest.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from samgeo.annotations.images import without_suffix
from samgeo.errors import OptionError, warn
from samgeo.storage.atomic import write_whole
from samgeo.storage.integrity import FileRecord, damage, digest_of_content, record_file, stamps_in
from samgeo.storage.run_folder import differences, listed, locked, plain_json, read_json, write_json
from samgeo.storage.staging import STAGING_PREFIX, remove_staging, staging_folder

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["Folder", "ImagePart", "Instance", "PictureRecord", "Rejected"]

Record = TypeVar("Record", bound="DataclassInstance")

FORMAT = 2
_HIDDEN = ".samgeo"
_IMAGES = "images"


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder in which a data set is made.

    Attributes
    ----------
    path : Path
        The folder.
    """

    path: Path

    @property
    def temporary(self) -> Path:
        """Folder for files until they are complete."""
        return self.path / _HIDDEN / "temporary"

    @property
    def found(self) -> Path:
        """Folder for the objects that a finder found in each image."""
        return self.path / _HIDDEN / "found"

    @property
    def _manifest(self) -> Path:
        return self.path / _HIDDEN / "manifest.json"

    def polygons_name(self, image: str) -> str:
        """Return the name, relative to the folder, of the file with an image's polygons."""
        return f"{_HIDDEN}/parts/{without_suffix(image)}.parquet"

    def check(self, images: Path) -> None:
        """Raise an error if the folder cannot be made, or holds something else.

        Raises
        ------
        OptionError
            The message says what the user can do.
        """
        inside = images.resolve() if images.is_dir() else None
        here = self.path.resolve()
        if inside is not None and (inside == here or inside in here.parents):
            raise OptionError(
                f"{self.path} lies in the folder of the images, {images}, where its files would be read as images; give "
                "another folder."
            )
        if not self.path.exists():
            if not self.path.parent.is_dir():
                raise OptionError(f"{self.path} cannot be created: {self.path.parent} is not a folder; create it first.")
        elif not self.path.is_dir() or (any(self.path.iterdir()) and not self._is_begun()):
            raise OptionError(f"{self.path} exists and is not a data set that samgeo made; give another folder.")

    def _is_begun(self) -> bool:
        """Return whether the folder is that of a data set, or of one that a stopped process was about to begin."""
        hidden = self.path / _HIDDEN
        if not hidden.is_dir() or hidden.is_symlink():
            return False
        inside = (one.name for one in hidden.iterdir() if not one.name.startswith(STAGING_PREFIX))
        return self._manifest.is_file() or {"lock", "temporary", "found"}.issuperset(inside)

    @contextmanager
    def opened(self, manifest: dict[str, Any]) -> Iterator[None]:
        """Begin a data set, or continue one with the same manifest, while a lock keeps other processes out.

        Parameters
        ----------
        manifest : dict
            Everything that the result depends on, for JSON.

        Raises
        ------
        OptionError
            If the existing data set has another manifest (the message names the differences), or another process works on it.
        """
        lock = self.path / _HIDDEN / "lock"
        with locked(lock, busy=self._busy, failed=self._not_made):
            try:
                self._begin(plain_json(manifest | {"format": FORMAT}))
                yield
            finally:
                shutil.rmtree(self.temporary, ignore_errors=True)

    def _busy(self) -> OptionError:
        return OptionError(f"another process is making {self.path}; wait for it, or give another folder.")

    def _not_made(self, error: OSError) -> OptionError:
        return OptionError(f"{self.path} cannot be made ({error}); give another folder.")

    def _begin(self, manifest: dict[str, Any]) -> None:
        # A killed process may have left files here.
        shutil.rmtree(self.temporary, ignore_errors=True)
        remove_staging(self.path / _HIDDEN)
        try:
            self.temporary.mkdir()
        except OSError as error:
            raise self._not_made(error) from None
        if self._manifest.is_file():
            try:
                begun = read_json(self._manifest)
            except (OSError, ValueError) as error:
                raise OptionError(f"{self._manifest} cannot be read ({error}); remove {self.path} and start again.") from None
            self._compare(begun, manifest)
        # The digest of an image without results may have changed, so that the manifest is written again.
        write_json(self._manifest, manifest)

    def _compare(self, begun: dict[str, Any], manifest: dict[str, Any]) -> None:
        """Raise an error that lists the differences of two manifests."""
        before, now = begun.get(_IMAGES), manifest.get(_IMAGES, {})
        common = before.keys() & now.keys() if isinstance(before, dict) else set()

        def may_differ(keys: tuple[str, ...]) -> bool:
            # An image without results may have been repaired.
            return keys[0] == _IMAGES and keys[-1] in common and not self._part(keys[-1]).is_file()

        if different := differences(begun, manifest, may_differ=may_differ):
            raise OptionError(
                f"{self.path} was started with other inputs or options: {listed(different)}. Give the same images, "
                "annotations and options to continue, or give another folder."
            )

    def _part(self, image: str) -> Path:
        """Return the path of an image's record."""
        return self.path / _HIDDEN / "parts" / f"{without_suffix(image)}.json"

    def write_part(self, part: ImagePart) -> None:
        """Write the record of an image, which marks it as finished."""
        path = self._part(part.image)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, part.to_json())

    def read_part(self, image: str, *, verify: bool = False) -> tuple[ImagePart | None, str]:
        """Return the record of an image, if it is finished and its files have not changed since they were written.

        Parameters
        ----------
        image : str
            Name of the image.
        verify : bool, default False
            Whether to compare the digests of all files. Otherwise only sizes and modification times are compared.

        Returns
        -------
        ImagePart or None
            The record; None if the image must be made, or made again.
        str
            Reason why the image must be made again: the file that is missing or damaged. Damaged files have then been moved to
            ``replaced`` in the hidden folder of the data set, because a user may have edited them, and the record has been
            deleted.
        """
        path = self._part(image)
        if not path.is_file():
            return None, ""
        try:
            part = ImagePart.from_json(path.read_bytes())
        except (OSError, ValueError) as error:
            path.unlink()
            return None, f"{path.relative_to(self.path)} is damaged ({error})"
        wrong = [(record, why) for record in part.files if (why := damage(self.path / record.name, record, verify=verify))]
        if not wrong:
            self._refresh(part)
            return part, ""
        path.unlink()
        for record, _ in wrong:
            self._keep_aside(record)
        record, why = wrong[0]
        others = f", and {len(wrong) - 1} more of its files" if len(wrong) > 1 else ""
        return None, f"{record.name} {why}{others}"

    def _refresh(self, part: ImagePart) -> None:
        """Update the modification times of files that are complete but newer, as in a copy of the folder."""
        if any((self.path / one.name).stat().st_mtime_ns != one.modified_ns for one in part.files):
            self.write_part(replace(part, files=tuple(record_file(self.path / one.name, one.name) for one in part.files)))

    def _keep_aside(self, record: FileRecord) -> None:
        """Move a changed file to ``replaced``, so that the file that is made again does not overwrite it.

        Files that are already in ``replaced`` are kept.
        """
        path = self.path / record.name
        if path.is_file() and not path.is_symlink() and path.stat().st_size:
            path.replace(self._name_aside(record.name))

    def _name_aside(self, name: str) -> Path:
        """Return an unused path in ``replaced`` for a file or a folder of the data set, and make its parent folder."""
        kept = self.path / _HIDDEN / "replaced" / name
        number = 1
        while os.path.lexists(kept):
            kept = kept.with_name(f"{Path(name).stem}-{number}{Path(name).suffix}")
            number += 1
        kept.parent.mkdir(parents=True, exist_ok=True)
        return kept

    @contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """Give an empty temporary folder, and put it in the place of a folder of the data set when the block ends.

        Nothing is replaced if the block ends with an error. If the old folder has a file that samgeo did not write, or that
        was changed since, the old folder is moved to ``replaced`` in the hidden folder of the data set, and a warning says so.

        Parameters
        ----------
        name : str
            Name of the folder, relative to the data set.

        Raises
        ------
        OptionError
            If the folder cannot be moved to its place.
        """
        target, record = self.path / name, self.path / _HIDDEN / "folders" / f"{name}.json"
        with staging_folder(self.temporary) as place:
            made = place / "content"
            made.mkdir()
            yield made
            try:
                target.parent.mkdir(exist_ok=True)
                kept = None
                if os.path.lexists(target):
                    kept = None if self._is_as_written(target, record) else self._name_aside(name)
                    target.rename(kept or place / "old")
                record.parent.mkdir(parents=True, exist_ok=True)
                write_json(record, stamps_in(made))
                made.rename(target)
            except OSError as error:
                raise OptionError(f"{target} cannot be replaced ({error}); move it elsewhere, and run it again.") from None
        if kept is not None:
            warn(f"{target} had files that were not written here, or were changed since; it is now {kept}.")

    @staticmethod
    def _is_as_written(folder: Path, record: Path) -> bool:
        """Return whether a folder has no file that is not in its record, or that differs from it."""
        try:
            written = read_json(record)
            return all(written.get(name) == stamp for name, stamp in stamps_in(folder).items())
        except (OSError, ValueError):
            return False


@dataclass(frozen=True, slots=True)
class Instance:
    """A mask in a picture.

    Attributes
    ----------
    annotation : int
        Row of the table of annotations.
    label : int
        Class, from 0.
    counts : str
        The mask in COCO's compressed run-length encoding.
    size_px : int
        Number of its pixels, including those that other masks cover in the label image.
    predicted_iou, box_iou : float
        Values of the whole object: the model's prediction of the IoU, and the IoU of the mask's bounding box with the box of
        the prompt.
    """

    annotation: int
    label: int
    counts: str
    size_px: int
    predicted_iou: float
    box_iou: float


@dataclass(frozen=True, slots=True)
class PictureRecord:
    """Record of one picture of the data set: an image, or a chip.

    Attributes
    ----------
    name : str
        Name of the image's or the chip's file.
    x0, y0, height, width : int
        Position in the annotated image, in pixels.
    pixels : tuple of (int, int)
        Class and number of pixels in the label image, for each class in it.
    background_px : int
        Number of background pixels; 0 unless the annotations are complete.
    instances : tuple of Instance
        Masks in the picture.
    """

    name: str
    x0: int
    y0: int
    height: int
    width: int
    pixels: tuple[tuple[int, int], ...]
    background_px: int
    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """An annotation without a mask in the data set, or in one of its pictures.

    Attributes
    ----------
    annotation : int
        Row of the table of annotations.
    picture : str
        The picture in which the mask is missing; empty if it is missing in the whole data set.
    reason : str
        Reason why there is no mask.
    box_iou : float or None
        As in `Instance`, if there was a mask.
    """

    annotation: int
    picture: str
    reason: str
    box_iou: float | None


@dataclass(frozen=True, slots=True)
class ImagePart:
    """Record of a finished image, with the state of its files when they were written.

    Attributes
    ----------
    image : str
        Name of the image.
    digest : str
        SHA-256 of its file.
    pictures : tuple of PictureRecord
        Its pictures.
    rejected : tuple of Rejected
        Its annotations without masks.
    files : tuple of FileRecord
        All files of the image in the data set; names are relative to the folder of the data set.
    """

    image: str
    digest: str
    pictures: tuple[PictureRecord, ...]
    rejected: tuple[Rejected, ...]
    files: tuple[FileRecord, ...] = ()

    def to_json(self) -> bytes:
        """Return the content of the record's file: a line with a digest, followed by the record."""
        content = json.dumps(asdict(self), allow_nan=False).encode()
        return digest_of_content(content).encode() + b"\n" + content

    @classmethod
    def from_json(cls, content: bytes) -> ImagePart:
        """Read the content of a record's file.

        Raises
        ------
        ValueError
            If the content is not a record, because the file is damaged or was changed.
        """
        digest, _, content = content.partition(b"\n")
        if digest != digest_of_content(content).encode():
            raise ValueError("its content does not match its digest")
        value = json.loads(content)
        try:
            pictures = tuple(_picture(one) for one in value["pictures"])
            rejected = tuple(_read(Rejected, one) for one in value["rejected"])
            files = tuple(_read(FileRecord, one) for one in value["files"])
            return cls(value["image"], value["digest"], pictures, rejected, files)
        except (KeyError, TypeError) as error:
            raise ValueError(f"it is not a part of a data set ({error!r})") from error


def _picture(value: dict[str, Any]) -> PictureRecord:
    """Return the record of a picture from its JSON value."""
    instances = tuple(_read(Instance, one) for one in value["instances"])
    pixels = tuple((label, count) for label, count in value["pixels"])
    picture: PictureRecord = _read(PictureRecord, value | {"instances": instances, "pixels": pixels})
    return picture


def _read(kind: type[Record], value: dict[str, Any]) -> Record:
    """Return a dataclass from its JSON value."""
    return kind(**{field.name: value[field.name] for field in fields(kind)})
