"""The run folder of a series of dates.

manifest.json        inputs and options, compared with those of the current call
lock                 held by the process that works in the folder
dates/D.run          run that finds the objects of date D
dates/D.parquet      the objects that it found
dates/D.zarr         embeddings of date D
dates/D.geometry.parquet   outlines of the objects
dates/D.npy          vectors of the objects: what the image shows in them
dates/D.json         the digest of that file, and what failed
rows/N.parquet       part N of the results, in the order of the dates, as GeoParquet
output.json          path, size and time of the output that was written
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import RunError
from samgeo.segmentation.run.part_folder import NAMES, PartFolder
from samgeo.storage.integrity import digest_of_file
from samgeo.storage.run_folder import read_json, write_json
from samgeo.storage.staging import remove_staging

__all__ = ["FORMAT", "KIND", "TrackFolder"]

KIND, FORMAT = "samgeo track", 1
DATES = "dates"


@dataclass(frozen=True, slots=True)
class TrackFolder(PartFolder):
    """A run folder of a series of dates; `opened` prepares it for work."""

    kind: ClassVar[str] = KIND
    names: ClassVar[frozenset[str]] = NAMES | {DATES}
    holder: ClassVar[str] = "a series of dates"

    @contextmanager
    def opened(self, manifest: Mapping[str, Any]) -> Iterator[None]:
        """Start or continue a run, and lock the folder for this process; see `PartFolder.opened`."""
        with PartFolder.opened(self, manifest):
            (self.path / DATES).mkdir(exist_ok=True)
            remove_staging(self.path / DATES)
            yield

    def file(self, date: str, ending: str) -> Path:
        """Return the path of a file or folder of a date, which is named by its number."""
        return self.path / DATES / f"{date}{ending}"

    def of_date(self, date: int, ending: str) -> Path:
        """Return the path of a file or folder of a date by its number in the series."""
        return self.file(f"{date:04d}", ending)

    def has_work(self) -> bool:
        """Whether the folder holds anything of a date."""
        return any((self.path / DATES).glob("*.*"))

    def write_vectors(self, date: int, vectors: NDArray[np.float32], failures: Sequence[str]) -> None:
        """Record that the vectors of a date, which are in its file, are finished."""
        path = self.of_date(date, ".npy")
        if not path.exists():
            raise RunError(f"{path} is missing, although {len(vectors)} objects were described; run the same call again.")
        write_json(self.of_date(date, ".json"), {"digest": digest_of_file(path), "failures": list(failures)})

    def read_vectors(self, date: int) -> tuple[NDArray[np.float32], tuple[str, ...]] | None:
        """Return the vectors of a date, which stay on disk, and what failed; None if they are not finished or damaged."""
        path = self.of_date(date, ".npy")
        try:
            told = read_json(self.of_date(date, ".json"))
            if told["digest"] != digest_of_file(path):
                return None
            return np.load(path, mmap_mode="r", allow_pickle=False), tuple(map(str, told["failures"]))
        except (OSError, ValueError, KeyError):
            return None

    def forget_vectors(self, date: int) -> None:
        """Remove the vectors of a date, so that its objects are described again."""
        for ending in (".json", ".npy"):
            self.of_date(date, ending).unlink(missing_ok=True)
