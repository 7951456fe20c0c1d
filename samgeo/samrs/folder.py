"""The folder of a data set: the manifest of what is being made, and the parts that are done, with all of their files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from samgeo.annotations.images import without_suffix
from samgeo.errors import OptionError
from samgeo.samrs.parts import ImagePart
from samgeo.storage.atomic import write_whole
from samgeo.storage.integrity import FileRecord, damage, record_file

__all__ = ["Folder"]

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
