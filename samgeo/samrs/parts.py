"""What is kept of an image when it is done: its instances, its files, and what was kept out; as JSON with a digest."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from typing import Any

from samgeo.storage.integrity import FileRecord

__all__ = ["ImagePart", "Instance", "PictureRecord", "Rejected"]


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
