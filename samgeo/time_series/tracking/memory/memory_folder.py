"""The run folder of objects that the memory follows.

manifest.json        inputs and options, compared with those of the current call
lock                 held by the process that works in the folder
rows/N.parquet       the outlines of the objects of window N at all dates, as GeoParquet
rows/N.json          what became of these objects at each date, and the digest of that file
table.parquet        the rows of all objects, in their order
output.json          path, size and time of the output that was written
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from samgeo.segmentation.run.part_folder import NAMES, PartFolder

__all__ = ["FORMAT", "KIND", "MemoryFolder"]

KIND = "samgeo track with memory"
FORMAT = 1
TABLE = "table.parquet"


@dataclass(frozen=True, slots=True)
class MemoryFolder(PartFolder):
    """A run folder of objects that the memory follows; `opened` prepares it for work."""

    kind: ClassVar[str] = KIND
    names: ClassVar[frozenset[str]] = NAMES | {TABLE}
    holder: ClassVar[str] = "objects followed with memory"

    @property
    def table(self) -> Path:
        """The file with the rows of all objects."""
        return self.path / TABLE
