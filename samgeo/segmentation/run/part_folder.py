"""A run folder whose work has numbered parts: rows of windows, or groups of prompts.

manifest.json        inputs and options, compared with those of the current call
lock                 held by the process that works in the folder
rows/R.parquet       the results of part R, as GeoParquet
rows/R.json          their counts, and the digest of that file
output.json          path, size and time of the output that was written
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from samgeo.errors import OptionError, RunError
from samgeo.geo.vector.joining import write_part
from samgeo.storage.atomic import check_name
from samgeo.storage.integrity import digest_of_file
from samgeo.storage.locations import Place, RemotePlace, as_place
from samgeo.storage.run_folder import beside, differences, listed, locked, read_json, write_json
from samgeo.storage.staging import remove_staging

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["ABOUT", "LOCK", "MANIFEST", "NAMES", "OUTPUT", "ROWS", "PartFolder", "folder_of"]

# The part of a manifest that is not compared: rasters may be moved.
ABOUT = "about"

MANIFEST, LOCK, OUTPUT, ROWS = "manifest.json", "lock", "output.json", "rows"
NAMES: frozenset[str] = frozenset({MANIFEST, LOCK, OUTPUT, ROWS})
LOCK_SECONDS = 2.0

_Folder = TypeVar("_Folder", bound="PartFolder")


@dataclass(frozen=True, slots=True)
class PartFolder:
    """A run folder whose work has numbered parts, such as rows of windows; `opened` prepares it for work.

    Attributes
    ----------
    path : Path
        The folder.
    kind : str
        What made the folder, as its manifest says it.
    names : frozenset of str
        Names of all files and folders in it.
    holder : str
        What the folder belongs to, for messages.
    """

    path: Path

    kind: ClassVar[str] = ""
    names: ClassVar[frozenset[str]] = NAMES
    holder: ClassVar[str] = ""

    def check(self) -> None:
        """Raise an `OptionError` if the folder cannot be made, or holds files of something else."""
        check_name(self.path, OptionError, "give a shorter name of the output, or name another folder with run_dir")
        if not self.path.exists():
            if not self.path.parent.is_dir():
                raise OptionError(
                    f"the run {self.path} cannot be created: {self.path.parent} is not a folder; create it first."
                )
            return
        names = {inner.name for inner in self.path.glob("[!.]*")} if self.path.is_dir() else {""}
        is_ours = names <= {LOCK} or self._manifest().get("kind") == self.kind
        if not names <= self.names or not is_ours or any((self.path / name).is_symlink() for name in names):
            raise OptionError(f"{self.path} exists and is not the folder of {self.holder}; give another one with run_dir.")

    @contextmanager
    def opened(self, manifest: Mapping[str, Any]) -> Iterator[None]:
        """Start a run, or continue one that was started with the same manifest, and lock the folder for this process.

        Raises
        ------
        OptionError
            If the folder cannot be made, or belongs to something else.
        RunError
            If another process works in it, or the run was started with another manifest. The message lists the differences.
        """
        self.check()

        def busy() -> RunError:
            return RunError(f"another process works on the run {self.path}; wait for it, or name another run_dir.")

        def failed(error: OSError) -> OptionError:
            return OptionError(f"the run {self.path} cannot be made ({error}); name another folder with run_dir.")

        with locked(self.path / LOCK, busy=busy, failed=failed, wait_s=LOCK_SECONDS):
            (self.path / ROWS).mkdir(exist_ok=True)
            for folder in (self.path, self.path / ROWS):
                remove_staging(folder)
            if not (self.path / MANIFEST).exists():
                write_json(self.path / MANIFEST, manifest)
            elif lines := differences(self._manifest(), manifest, may_differ=lambda keys: keys[0] == ABOUT):
                raise RunError(
                    f"the run {self.path} was started with other inputs or options: {listed(lines)}. Give the same inputs, "
                    "model and options to continue it, remove the folder to start again, or give another one with run_dir."
                )
            yield

    @contextmanager
    def working(self, manifest: Mapping[str, Any]) -> Iterator[None]:
        """Work in the folder as `opened` says; if the work fails before it has brought anything, a new folder is removed."""
        existed = self.path.exists()
        with self.opened(manifest):
            try:
                yield
            except BaseException:
                if not existed and not self.has_work():
                    self.remove()
                raise

    def has_work(self) -> bool:
        """Whether the folder holds results of a finished row."""
        return any((self.path / ROWS).glob("*.json"))

    def _manifest(self) -> dict[str, Any]:
        try:
            return read_json(self.path / MANIFEST)
        except (OSError, ValueError):
            return {}

    def row_path(self, row: int) -> Path:
        """Return the path of the results of a row of windows; it exists only if there are any."""
        return self.path / ROWS / f"{row:06d}.parquet"

    def write_row(self, row: int, results: gpd.GeoDataFrame, counts: Mapping[str, Any]) -> None:
        """Write the results of a row of windows, and then their counts, which say that the row is finished."""
        path, digest = self.row_path(row), None
        if len(results):
            write_part(results, path)
            digest = digest_of_file(path)
        write_json(path.with_suffix(".json"), {"digest": digest, **counts})

    def read_row(self, row: int) -> dict[str, Any] | None:
        """Return the counts of a finished row; None if the row is not finished or damaged."""
        path = self.row_path(row)
        try:
            counts = read_json(path.with_suffix(".json"))
            digest = counts.pop("digest")
            return counts if digest is None or digest == digest_of_file(path) else None
        except (OSError, ValueError, KeyError):
            return None

    def row_paths(self, rows: int) -> list[Path]:
        """Return the files with results of the first rows, in their order."""
        return [path for path in map(self.row_path, range(rows)) if path.exists()]

    def forget_rows(self) -> None:
        """Remove the results of all rows, so that they are computed again."""
        for inner in [*(self.path / ROWS).glob("*.json"), *(self.path / ROWS).glob("*.parquet")]:
            inner.unlink(missing_ok=True)

    def mark_output(self, output: Place, content: Path) -> None:
        """Record that a file is about to become the output."""
        write_json(self.path / OUTPUT, _stamp(output, content))

    def wrote(self, output: Place) -> bool:
        """Whether this run wrote the output that is there."""
        try:
            told = read_json(self.path / OUTPUT)
            if isinstance(output, RemotePlace):
                return told == {"path": str(output), "bytes": output.size()}
            return told == _stamp(output, output)
        except (OSError, ValueError):
            return False

    def remove(self) -> None:
        """Remove the files that the run made, and the folder if nothing else is in it. What cannot be removed is kept."""
        for name in sorted(self.names - {MANIFEST, LOCK}):
            inner = self.path / name
            if inner.is_dir() and not inner.is_symlink():
                shutil.rmtree(inner, ignore_errors=True)
            else:
                inner.unlink(missing_ok=True)
        for name in (LOCK, MANIFEST):
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):
            remove_staging(self.path)
            self.path.rmdir()


@contextmanager
def folder_of(kind: type[_Folder], arguments: Mapping[str, Any]) -> Iterator[tuple[_Folder, Place | None]]:
    """Give the run folder for arguments, and the output. Without both of them the folder is removed afterwards.

    Raises
    ------
    OptionError
        If windows are to be tried again and there is no run.
    """
    output = None if arguments["output"] is None else as_place(arguments["output"])
    if arguments["run_dir"] is not None:
        yield kind(Path(arguments["run_dir"])), output
    elif output is not None:
        yield kind(beside(output)), output
    else:
        if arguments["retry_failed"]:
            raise OptionError("retry_failed needs a run; give its output or its run_dir.")
        with tempfile.TemporaryDirectory(prefix="samgeo-") as place:
            yield kind(Path(place) / "run"), None


def _stamp(output: Place, content: Path) -> dict[str, Any]:
    status = content.stat()
    if isinstance(output, RemotePlace):
        return {"path": str(output), "bytes": status.st_size}
    return {"path": str(output.absolute()), "bytes": status.st_size, "modified_ns": status.st_mtime_ns}
