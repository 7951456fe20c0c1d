"""The folder of a data set: its manifest, and the records of finished images with all of their files.

The record of an image has its instances, its files, and its rejected annotations. It is stored as JSON with a digest.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from samgeo.annotations.images import without_suffix
from samgeo.errors import OptionError
from samgeo.storage.atomic import write_whole
from samgeo.storage.integrity import FileRecord, damage, record_file

__all__ = ["Folder", "ImagePart", "Instance", "PictureRecord", "Rejected"]


FORMAT = 2
_HIDDEN = ".samgeo"
_MOST_SHOWN = 8


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
        return self._manifest.is_file() or {"lock", "temporary"}.issuperset(one.name for one in hidden.iterdir())

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
        import filelock

        try:
            self.temporary.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"{self.path} cannot be created ({error}); give another folder.") from None
        lock = filelock.FileLock(self.path / _HIDDEN / "lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise OptionError(f"another process is writing {self.path}; wait until it ends, or give another folder.") from None
        try:
            self._begin(json.loads(json.dumps(manifest | {"format": FORMAT})))
            yield
        finally:
            shutil.rmtree(self.temporary, ignore_errors=True)
            lock.release()

    def _begin(self, manifest: dict[str, Any]) -> None:
        # A killed process may have left files here.
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir()
        if self._manifest.is_file():
            try:
                begun = json.loads(self._manifest.read_bytes())
            except (OSError, ValueError) as error:
                raise OptionError(f"{self._manifest} cannot be read ({error}); remove {self.path} and start again.") from None
            self._compare(begun, manifest)
        write_whole(self._manifest, json.dumps(manifest, indent=1).encode())

    def _compare(self, begun: dict[str, Any], manifest: dict[str, Any]) -> None:
        """Raise an error that lists the differences of two manifests."""
        before, now = _flat(begun), _flat(manifest)
        different = [
            f"{key}: {before.get(key, 'none')} then, {now.get(key, 'none')} now"
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key) and not self._may_differ(key, before, now)
        ]
        if different:
            shown = "; ".join(different[:_MOST_SHOWN])
            more = f"; and {len(different) - _MOST_SHOWN} more" if len(different) > _MOST_SHOWN else ""
            raise OptionError(
                f"{self.path} was started with other inputs or options ({shown}{more}); give the same images, annotations "
                "and options to continue, or give another folder."
            )

    def _may_differ(self, key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
        """Return whether a value of the manifest may differ.

        It may if it belongs to an image without results, because that image may have been repaired.
        """
        image = key.removeprefix(_IMAGES)
        return image != key and key in before and key in now and not self._part(image).is_file()

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
        if not path.is_file() or path.is_symlink() or path.stat().st_size == 0:
            return
        kept = self.path / _HIDDEN / "replaced" / record.name
        number = 1
        while kept.exists():
            kept = kept.with_name(f"{Path(record.name).stem}-{number}{Path(record.name).suffix}")
            number += 1
        kept.parent.mkdir(parents=True, exist_ok=True)
        path.replace(kept)


_IMAGES = "images, "


def _flat(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a nested manifest with joined keys."""
    flat: dict[str, Any] = {}
    for key, value in manifest.items():
        if isinstance(value, dict):
            flat |= {f"{key}, {name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return flat


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
        return _digest(content) + b"\n" + content

    @classmethod
    def from_json(cls, content: bytes) -> ImagePart:
        """Read the content of a record's file.

        Raises
        ------
        ValueError
            If the content is not a record, because the file is damaged or was changed.
        """
        digest, _, content = content.partition(b"\n")
        if digest != _digest(content):
            raise ValueError("its content does not match its digest")
        value = json.loads(content)
        try:
            pictures = tuple(_picture(one) for one in value["pictures"])
            rejected = tuple(_read(Rejected, one) for one in value["rejected"])
            files = tuple(_read(FileRecord, one) for one in value["files"])
            return cls(value["image"], value["digest"], pictures, rejected, files)
        except (KeyError, TypeError) as error:
            raise ValueError(f"it is not a part of a data set ({error!r})") from error


def _digest(content: bytes) -> bytes:
    """Return the digest of a record."""
    return blake2b(content, digest_size=16).hexdigest().encode()


def _picture(value: dict[str, Any]) -> PictureRecord:
    """Return the record of a picture from its JSON value."""
    instances = tuple(_read(Instance, one) for one in value["instances"])
    pixels = tuple((label, count) for label, count in value["pixels"])
    picture: PictureRecord = _read(PictureRecord, value | {"instances": instances, "pixels": pixels})
    return picture


def _read(kind: Any, value: dict[str, Any]) -> Any:
    """Return a dataclass from its JSON value."""
    return kind(**{field.name: value[field.name] for field in fields(kind)})
