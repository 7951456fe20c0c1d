"""Embeddings of a raster's windows on disk: a Zarr store that several processes may fill, and that knows its raster.

A store is a Zarr v3 group in a folder. Each array of an embedding is a Zarr array of shape ``(rows, columns, ...)`` over the
window lattice, in half precision: one window is a chunk, and blocks of windows are a shard, a file. The array ``digest`` says
which windows are there, by a digest of the pixels that each was made of. A shard is replaced whole, under a lock, the digests
after the data: a process that is killed leaves windows out, never half written.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.geo.grid import Lattice

if TYPE_CHECKING:
    import filelock

    from samgeo.geo.raster import Raster
    from samgeo.sam.segmenter import Segmenter

__all__ = ["BLOCK", "EmbeddingStore", "Index", "describe_run", "pixel_digest"]

Index = tuple[int, int]

FORMAT = 1
ATTRIBUTE = "samgeo"
DIGEST = "digest"
DIGEST_BYTES = 16

# Windows along a side of a shard: files of some 10 MB, and a sixteenth of as many as there are windows.
BLOCK = 4

# Inside an array, where Zarr looks for no other members.
_LOCKS = Path(DIGEST) / ".locks"
_METADATA = "zarr.json"
_NOT_THERE = b"\0" * DIGEST_BYTES


def pixel_digest(image: NDArray[np.uint8], size: tuple[int, int]) -> bytes:
    """Return a digest of what a model sees of a window: its pixels, and how many of its rows and columns are real."""
    header = np.array([*image.shape, *size], dtype=np.int64).tobytes()
    return blake2b(header + np.ascontiguousarray(image).tobytes(), digest_size=DIGEST_BYTES).digest()


def describe_run(raster: Raster, model: Segmenter, lattice: Lattice) -> dict[str, Any]:
    """Return what embeddings depend on, for JSON: the raster's grid, bands and stretch, the model, the window lattice."""
    made = raster.provenance()
    return {
        "format": FORMAT,
        "grid": {name: made[name] for name in ("shape", "crs", "transform")},
        "pixels": {name: made[name] for name in ("bands", "stretch", "nodata")},
        "model": {"name": model.name, "digest": model.digest, "input_size": model.input_size},
        "lattice": {"window": lattice.window, "overlap": lattice.overlap},
        "raster": raster.name,
    }


@dataclass(frozen=True, slots=True)
class EmbeddingStore:
    """An open store; picklable, and safe to use from several threads and processes at once.

    It is made with `EmbeddingStore.open` or `EmbeddingStore.open_or_create`.

    Attributes
    ----------
    path : Path
        The folder.
    lattice : Lattice
        The windows.
    """

    path: Path
    lattice: Lattice

    @classmethod
    def open_or_create(
        cls,
        path: str | os.PathLike[str],
        raster: Raster,
        model: Segmenter,
        *,
        window: int | None = None,
        overlap: int | None = None,
        overwrite: bool = False,
    ) -> EmbeddingStore:
        """Open a store for a raster and a model, or make an empty one.

        Parameters
        ----------
        path : path
            A folder on this machine or on a file system that all writers share and that has file locks.
        raster : Raster
            The raster.
        model : Segmenter
            The model.
        window, overlap : int, optional
            The lattice, in raster pixels. By default that of the store; for a new one, the model's input size and a quarter of
            it.
        overwrite : bool, default False
            Whether to put an empty store in the place of one that is there.

        Raises
        ------
        OptionError
            If the folder is something else, or was made of another raster, stretch, model or lattice; the message says which.
        """
        from samgeo.sam.packing import Storable

        path = Path(path).absolute()  # Workers in other processes may have another working folder.
        if not isinstance(model, Storable):
            raise OptionError(
                f"{path} cannot keep embeddings of {model.name!r}: {type(model).__name__} has no pack and unpack, as "
                "samgeo.sam.packing.Storable says; add them, or leave the store away."
            )
        if not path.exists():
            side = model.input_size if window is None else window
            lattice = Lattice(raster.shape, side, side // 8 * 2 if overlap is None else overlap)
            _create(path, describe_run(raster, model, lattice), lattice)
            overwrite = False  # It is new, or another process has just made it.
        found = _attributes(path)
        kept = {} if overwrite else found["lattice"]
        side = kept.get("window", model.input_size) if window is None else window
        lattice = Lattice(raster.shape, side, kept.get("overlap", side // 8 * 2) if overlap is None else overlap)
        wanted = describe_run(raster, model, lattice)
        differences = _differences(found, wanted)
        if overwrite:
            _create(path, wanted, lattice, replace=True)
        elif differences:
            raise OptionError(
                f"the store {path} cannot be used: {'; '.join(differences)}. Use a store of its own for each raster, model and "
                "lattice, or make this one anew with overwrite."
            )
        return cls(path, lattice)

    @property
    def writable(self) -> bool:
        """Whether this user may add windows."""
        return os.access(self.path, os.W_OK)

    def check(self, index: Index, digest: bytes) -> bool:
        """Return whether a window is there.

        Raises
        ------
        OptionError
            If it is, made of pixels with another digest.
        """
        found = np.asarray(self._group()[DIGEST][index], dtype=np.uint8).tobytes()
        if found == _NOT_THERE:
            return False
        if found != digest:
            raise OptionError(
                f"the store {self.path} is stale: the pixels of the window at row {index[0]}, column {index[1]} have changed "
                "since it was encoded. Encode the raster again with overwrite, or into another store."
            )
        return True

    def read(self, index: Index, digest: bytes) -> dict[str, NDArray[Any]] | None:
        """Return the arrays of a window's embedding, None if it is not there.

        Parameters
        ----------
        index : (int, int)
            Row and column of the window.
        digest : bytes
            `pixel_digest` of the window as it is in the raster now.

        Raises
        ------
        OptionError
            If the window is there but was made of other pixels: the raster has changed since.
        """
        # Locked, because a shard that is replaced between reading its index and its chunks would give neither state.
        with self._locked(index):
            if not self.check(index, digest):
                return None
            group = self._group()
            return {name: np.asarray(group[name][index]) for name in self._names()}

    def write(self, windows: Mapping[Index, tuple[bytes, Mapping[str, NDArray[Any]] | None]]) -> None:
        """Keep windows of one block; those that are there already are written again.

        Parameters
        ----------
        windows : mapping
            Row and column of each window to its `pixel_digest` and the arrays of its embedding; None for a window without data.
            All lie in the same block of ``BLOCK`` x ``BLOCK`` windows.
        """
        if not windows:
            return
        first = next(iter(windows))
        group = self._group()
        for name, array in next((arrays for _, arrays in windows.values() if arrays is not None), {}).items():
            if name not in group:
                self._create_array(name, array)
        with self._locked(first):
            origin = (first[0] // BLOCK * BLOCK, first[1] // BLOCK * BLOCK)
            rows, columns = (
                slice(low, min(low + BLOCK, count))
                for low, count in zip(origin, (self.lattice.rows, self.lattice.columns), strict=True)
            )
            shape = (rows.stop - rows.start, columns.stop - columns.start)
            group = self._group()
            there = {index: arrays for index, (_, arrays) in windows.items() if arrays is not None}
            for name in self._names() if there else ():
                array = group[name]
                if len(there) == 1:
                    ((index, arrays),) = there.items()
                    array[index] = arrays[name]
                    continue
                whole = len(there) == shape[0] * shape[1]
                block = np.empty((*shape, *array.shape[2:]), array.dtype) if whole else np.asarray(array[rows, columns])
                for (row, column), arrays in there.items():
                    block[row - origin[0], column - origin[1]] = arrays[name]
                array[rows, columns] = block
            digests = np.asarray(group[DIGEST][rows, columns])
            for (row, column), (digest, _) in windows.items():
                digests[row - origin[0], column - origin[1]] = np.frombuffer(digest, dtype=np.uint8)
            group[DIGEST][rows, columns] = digests

    def blocks(self) -> list[Index]:
        """Return the row and column of the first window of each block, row by row."""
        return [(row, column) for row in range(0, self.lattice.rows, BLOCK) for column in range(0, self.lattice.columns, BLOCK)]

    def present(self, block: Index) -> list[Index]:
        """Return the windows of a block that are there, or are known to hold no data."""
        return self._of_block(block, there=True)

    def missing(self, block: Index) -> list[Index]:
        """Return the windows of a block that are not there yet."""
        return self._of_block(block, there=False)

    def _of_block(self, block: Index, *, there: bool) -> list[Index]:
        rows = range(block[0], min(block[0] + BLOCK, self.lattice.rows))
        columns = range(block[1], min(block[1] + BLOCK, self.lattice.columns))
        digests = np.asarray(self._group()[DIGEST][rows.start : rows.stop, columns.start : columns.stop])
        return [
            (row, column)
            for row in rows
            for column in columns
            if digests[row - rows.start, column - columns.start].any() == there
        ]

    def _group(self) -> Any:
        import zarr

        return zarr.open_group(self.path, mode="r+" if self.writable else "r")

    def _names(self) -> list[str]:
        """Return the names of the arrays of an embedding."""
        return sorted(name for file in self.path.glob(f"*/{_METADATA}") if (name := file.parent.name) != DIGEST)

    def _create_array(self, name: str, array: NDArray[Any]) -> None:
        import zarr
        from zarr.codecs import BloscCodec

        with self._lock("arrays"):
            if name in self._group():
                return
            grid = (self.lattice.rows, self.lattice.columns)
            zarr.create_array(
                self.path,
                name=name,
                shape=(*grid, *array.shape),
                dtype=array.dtype,
                chunks=(1, 1, *array.shape),
                shards=(BLOCK, BLOCK, *array.shape),
                # Halves side by side, high bytes together: those repeat, the low ones are noise.
                compressors=[BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=array.dtype.itemsize)],
                fill_value=0,
                dimension_names=["row", "column", *(f"{name}_{axis}" for axis in range(array.ndim))],
            )

    @contextmanager
    def _locked(self, index: Index) -> Iterator[None]:
        """Hold the lock of a window's block; a store that cannot be written to needs none."""
        lock = self._lock(f"{index[0] // BLOCK}-{index[1] // BLOCK}") if self.writable else nullcontext()
        with lock:
            yield

    def _lock(self, name: str) -> filelock.BaseFileLock:
        import filelock

        folder = self.path / _LOCKS
        folder.mkdir(exist_ok=True)
        return filelock.FileLock(folder / f"{name}.lock")


def _create(path: Path, attributes: dict[str, Any], lattice: Lattice, *, replace: bool = False) -> None:
    """Make an empty store beside its place, and move it there at once; another process may have been quicker."""
    import zarr

    if not path.parent.is_dir():
        raise OptionError(f"the store {path} cannot be made: the folder {path.parent} does not exist; make it first.")
    token = uuid.uuid4().hex
    fresh, old = path.with_name(f".{path.name}-{token}"), path.with_name(f".{path.name}-{token}-old")
    try:
        group = zarr.open_group(fresh, mode="w", zarr_format=3, attributes={ATTRIBUTE: attributes})
        group.create_array(
            DIGEST,
            shape=(lattice.rows, lattice.columns, DIGEST_BYTES),
            dtype=np.uint8,
            chunks=(BLOCK, BLOCK, DIGEST_BYTES),
            fill_value=0,
            dimension_names=["row", "column", "byte"],
        )
        if replace:
            with suppress(FileNotFoundError):  # Another process is replacing it too.
                path.rename(old)
        # A folder replaces an empty one only: if another process was quicker, its store stays.
        fresh.rename(path)
    except OSError as error:
        if not (path / _METADATA).is_file():
            raise OptionError(f"the store {path} cannot be made ({error}); choose a folder that can be written to.") from error
    finally:
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _attributes(path: Path) -> dict[str, Any]:
    """Read what a store says of itself."""
    try:
        metadata = json.loads((path / _METADATA).read_text(encoding="utf-8"))
        found = metadata["attributes"][ATTRIBUTE]
        if found["format"] != FORMAT:
            raise OptionError(
                f"the store {path} has format {found['format']}, this samgeo knows {FORMAT}: encode again into another folder."
            )
        return dict(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(f"{path} is not a store of embeddings ({error!r}); give a folder made by `samgeo encode`.") from error


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Say in what two descriptions differ; where the raster lies may differ, what it is may not."""
    whats = {"grid": "grid", "pixels": "raster's reading", "model": "model", "lattice": "window lattice"}
    return [
        f"its {what} has {name} {found.get(part, {}).get(name)!r}, and now it is {value!r}"
        for part, what in whats.items()
        for name, value in wanted[part].items()
        if found.get(part, {}).get(name) != value
    ]
