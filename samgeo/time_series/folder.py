"""The run folder of a comparison of two dates.

manifest.json        inputs and options, compared with those of the current call
lock                 held by the process that works in the folder
before.run, after.run      runs that find the objects of each date
before.parquet, after.parquet     the objects that they found
before.zarr, after.zarr    embeddings of each date
before.geometry.parquet, after.geometry.parquet    outlines that are compared
rows/R.parquet       the results of row R of windows, as GeoParquet
rows/R.json          their counts, and the digest of that file
output.json          path, size and time of the output that was written
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from samgeo.segmentation.run.part_folder import NAMES, PartFolder

__all__ = ["FORMAT", "KIND", "ChangeFolder"]

KIND, FORMAT = "samgeo change", 1

_DATES = {f"{date}{ending}" for date in ("before", "after") for ending in (".run", ".parquet", ".zarr", ".geometry.parquet")}
_HOLES = {"before.holes.gpkg", "after.holes.gpkg"}


@dataclass(frozen=True, slots=True)
class ChangeFolder(PartFolder):
    """A run folder of a comparison; see `PartFolder`."""

    kind: ClassVar[str] = KIND
    names: ClassVar[frozenset[str]] = NAMES | _DATES | _HOLES
    holder: ClassVar[str] = "a comparison"

    def has_work(self) -> bool:
        """Whether the folder holds objects of a date, or results of a row."""
        runs = [self.file(date, ending) for date in ("before", "after") for ending in (".run", ".parquet")]
        return any(one.exists() for one in runs) or self.read_row(0) is not None

    def file(self, date: str, ending: str) -> Path:
        """Return the path of a file or folder of a date, "before" or "after"."""
        return self.path / f"{date}{ending}"
