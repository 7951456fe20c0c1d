"""The folder of a data set: the manifest of what is being made, and the parts that are done, with all of their files.

What is kept of an image when it is done: its instances, its files, and what was kept out; as JSON with a digest.
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
    """Where a data set is made.

    Attributes
    ----------
    path : Path
    """

    path: Path

    @property
    def temporary(self) -> Path:
        """Where files are until they are whole."""
        return self.path / _HIDDEN / "temporary"

    @property
    def _manifest(self) -> Path:
        return self.path / _HIDDEN / "manifest.json"

    def polygons_name(self, image: str) -> str:
        """Return the name below the folder of the file with an image's polygons."""
        return f"{_HIDDEN}/parts/{without_suffix(image)}.parquet"

    def check(self, images: Path) -> None:
        """Refuse a folder that could not be made, or that holds something else.

        Raises
        ------
        OptionError
            With what to do.
        """
        inside = images.resolve() if images.is_dir() else None
        here = self.path.resolve()
        if inside is not None and (inside == here or inside in here.parents):
            raise OptionError(f"{self.path} lies in the folder of the images, {images}, and would be taken for more of them.")
        if not self.path.exists():
            if not self.path.parent.is_dir():
                raise OptionError(f"{self.path} cannot be made: {self.path.parent} is not a folder; make it first.")
        elif not self.path.is_dir() or (any(self.path.iterdir()) and not self._is_begun()):
            raise OptionError(f"{self.path} exists and is no data set that was begun by this; give another folder.")

    def _is_begun(self) -> bool:
        """Whether the hidden folder is that of a data set, or of one that was about to be begun."""
        hidden = self.path / _HIDDEN
        if not hidden.is_dir() or hidden.is_symlink():
            return False
        return self._manifest.is_file() or {"lock", "temporary"}.issuperset(one.name for one in hidden.iterdir())

    @contextmanager
    def opened(self, manifest: dict[str, Any]) -> Iterator[None]:
        """Begin a data set, or go on with one that was begun in the same way; for this process alone.

        Parameters
        ----------
        manifest : dict
            All that the result depends on, for JSON.

        Raises
        ------
        OptionError
            If the one that was begun differs; the message says where. If another process is at it.
        """
        import filelock

        try:
            self.temporary.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"{self.path} cannot be made ({error}); give another folder.") from None
        lock = filelock.FileLock(self.path / _HIDDEN / "lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise OptionError(f"another process is making {self.path}; wait for it, or give another folder.") from None
        try:
            self._begin(json.loads(json.dumps(manifest | {"format": FORMAT})))
            yield
        finally:
            shutil.rmtree(self.temporary, ignore_errors=True)
            lock.release()

    def _begin(self, manifest: dict[str, Any]) -> None:
        # Whatever a killed process left.
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir()
        if self._manifest.is_file():
            try:
                begun = json.loads(self._manifest.read_bytes())
            except (OSError, ValueError) as error:
                raise OptionError(f"{self._manifest} cannot be read ({error}); remove {self.path}, and begin again.") from None
            self._compare(begun, manifest)
        write_whole(self._manifest, json.dumps(manifest, indent=1).encode())

    def _compare(self, begun: dict[str, Any], manifest: dict[str, Any]) -> None:
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
                f"{self.path} was begun in another way ({shown}{more}); give the same images, annotations and options to go "
                "on, or another folder."
            )

    def _may_differ(self, key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
        """Whether it is an image of which there is nothing yet, so that it may have been mended."""
        image = key.removeprefix(_IMAGES)
        return image != key and key in before and key in now and not self._part(image).is_file()

    def _part(self, image: str) -> Path:
        return self.path / _HIDDEN / "parts" / f"{without_suffix(image)}.json"

    def write_part(self, part: ImagePart) -> None:
        """Say that an image is done."""
        path = self._part(part.image)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, part.to_json())

    def read_part(self, image: str, *, verify: bool = False) -> tuple[ImagePart | None, str]:
        """Return what is kept of an image, if it is done and its files are what they were when they were written.

        Parameters
        ----------
        image : str
        verify : bool, default False
            Whether to compare the digests of all files. Otherwise they are compared by size and time of modification.

        Returns
        -------
        ImagePart or None
            None where the image is to be made, or to be made again.
        str
            Why it is to be made again: what is missing or damaged. Files that are damaged have then been moved to ``replaced``
            in the hidden folder of the set, as somebody may have edited them; what was done is forgotten.
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
        """Remember the times of files that are whole but newer, as in a copy of the folder."""
        if any((self.path / one.name).stat().st_mtime_ns != one.modified_ns for one in part.files):
            self.write_part(replace(part, files=tuple(record_file(self.path / one.name, one.name) for one in part.files)))

    def _keep_aside(self, record: FileRecord) -> None:
        """Move a file that is not what was written out of the way of what will be, without replacing one that lies there."""
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
    """Return the manifest's values by place."""
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
        The mask as COCO's compressed runs.
    size_px : int
        Its pixels, whether others lie on them or not.
    predicted_iou, box_iou : float
        Of the whole object: what the model thinks of it, and the IoU of its box with the one that was asked.
    """

    annotation: int
    label: int
    counts: str
    size_px: int
    predicted_iou: float
    box_iou: float


@dataclass(frozen=True, slots=True)
class PictureRecord:
    """A picture of the set: an image, or a chip of it.

    Attributes
    ----------
    name : str
        Of the image's file.
    x0, y0, height, width : int
        Where it lies in the image that was annotated.
    pixels : tuple of (int, int)
        Class and number of pixels in the picture of classes, for those that it has.
    background_px : int
        Pixels of background; 0 unless the annotations are said to be complete.
    instances : tuple of Instance
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
    """An annotation without a mask in the set, or in one of its pictures.

    Attributes
    ----------
    annotation : int
    picture : str
        The one that lacks it; empty where it is in none.
    reason : str
    box_iou : float or None
        As in `Instance`, where there was a mask.
    """

    annotation: int
    picture: str
    reason: str
    box_iou: float | None


@dataclass(frozen=True, slots=True)
class ImagePart:
    """All that is kept of an image, and what its files were when they were written.

    Attributes
    ----------
    image : str
    digest : str
        SHA-256 of its file.
    pictures : tuple of PictureRecord
    rejected : tuple of Rejected
    files : tuple of FileRecord
        Every file that the image has in the data set; names are below its folder.
    """

    image: str
    digest: str
    pictures: tuple[PictureRecord, ...]
    rejected: tuple[Rejected, ...]
    files: tuple[FileRecord, ...] = ()

    def to_json(self) -> bytes:
        """Return the content of its file: a line with the digest of what follows, and the part."""
        content = json.dumps(asdict(self), allow_nan=False).encode()
        return _digest(content) + b"\n" + content

    @classmethod
    def from_json(cls, content: bytes) -> ImagePart:
        """Read the content of its file.

        Raises
        ------
        ValueError
            If it is not one: a file that is damaged, or that something else has changed.
        """
        digest, _, content = content.partition(b"\n")
        if digest != _digest(content):
            raise ValueError("its content does not fit its digest")
        value = json.loads(content)
        try:
            pictures = tuple(_picture(one) for one in value["pictures"])
            rejected = tuple(_read(Rejected, one) for one in value["rejected"])
            files = tuple(_read(FileRecord, one) for one in value["files"])
            return cls(value["image"], value["digest"], pictures, rejected, files)
        except (KeyError, TypeError) as error:
            raise ValueError(f"it is no part of a data set ({error!r})") from error


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).hexdigest().encode()


def _picture(value: dict[str, Any]) -> PictureRecord:
    instances = tuple(_read(Instance, one) for one in value["instances"])
    pixels = tuple((label, count) for label, count in value["pixels"])
    picture: PictureRecord = _read(PictureRecord, value | {"instances": instances, "pixels": pixels})
    return picture


def _read(kind: Any, value: dict[str, Any]) -> Any:
    return kind(**{field.name: value[field.name] for field in fields(kind)})
