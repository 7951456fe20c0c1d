"""Store of the embeddings of a raster's windows on disk, as a Zarr folder that several processes may fill at once.

A store is a Zarr v3 group in a folder. Each array of an embedding is a Zarr array of shape ``(rows, columns, ...)`` over the
window lattice, in half precision. One window is a chunk, and a block of windows is a shard, which is one file. The array
``digest`` records which windows are in the store. It holds two digests of each window: of the pixels that were encoded, and of
the embedding, so that damage is detected. A shard is replaced as a whole, under a lock, and digests are written after the data.
If a process is killed, windows are missing but never half written.

Windows of coarser scales are in groups inside that group, ``scale-2`` for example, which are stores of the same kind.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.geo.grid import Lattice
from samgeo.models.embedding_packing import Storable
from samgeo.segmentation.windows.store_metadata import (
    BLOCK,
    DIGEST,
    DIGEST_BYTES,
    array_names,
    attributes,
    check_array_names,
    consolidate,
    create,
    describe_part,
    describe_run,
    differences,
    part_name,
    stored_scales,
)
from samgeo.storage.atomic import check_name

if TYPE_CHECKING:
    import filelock
    import zarr

    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter

__all__ = ["BLOCK", "EmbeddingStore", "Index", "describe_run", "pixel_digest"]

Index = tuple[int, int]

# The lock folder is inside an array, because Zarr does not look for members of the group there.
_LOCKS = Path(DIGEST) / ".locks"
_NOT_THERE = b"\0" * DIGEST_BYTES

# Errors that Zarr and its codecs raise if a store is damaged.
_DAMAGES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def pixel_digest(image: NDArray[np.uint8], size: tuple[int, int]) -> bytes:
    """Return a digest of a window as the model sees it: its pixels, and the size of the part without padding."""
    header = np.array([*image.shape, *size], dtype=np.int64).tobytes()
    return blake2b(header + np.ascontiguousarray(image).tobytes(), digest_size=DIGEST_BYTES).digest()


def _content_digest(arrays: Mapping[str, NDArray[Any]] | None) -> bytes:
    """Return a digest of an embedding: names, types, shapes and values of its arrays."""
    state = blake2b(digest_size=DIGEST_BYTES)
    for name, array in sorted((arrays or {}).items()):
        state.update(f"{name} {array.dtype.str} {array.shape}\n".encode() + np.ascontiguousarray(array).tobytes())
    return state.digest()


def _attributes_of_whole(path: Path) -> dict[str, Any]:
    """Return the description of a store; raise an error if the path is that of one coarser scale in a store."""
    found = attributes(path)
    if "scale" in found["lattice"]:
        raise OptionError(
            f"{path} has the windows of scale {found['lattice']['scale']} of a store; give the store, {path.parent}."
        )
    return found


@dataclass(frozen=True, slots=True)
class EmbeddingStore:
    """An open store of embeddings, for the windows of one scale.

    It is picklable, and safe to use from several threads and processes at once. Use `EmbeddingStore.open_or_create` to make
    one, and `at_scale` for the windows of coarser scales.

    Attributes
    ----------
    path : Path
        The folder.
    lattice : Lattice
        The windows.
    scale : int, default 1
        Their scale.
    """

    path: Path
    lattice: Lattice
    scale: int = 1

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> EmbeddingStore:
        """Open a store to see what it has, without its raster and its model.

        Raises
        ------
        OptionError
            If the folder is not a store.
        """
        check_name(path, OptionError)
        path = Path(path).absolute()
        found = _attributes_of_whole(path)
        try:
            height, width = found["grid"]["shape"]
            return cls(path, Lattice((int(height), int(width)), found["lattice"]["window"], found["lattice"]["overlap"]))
        except (LookupError, TypeError, ValueError) as error:
            raise OptionError(f"the store {path} is damaged ({error!r}); encode again into another folder.") from None

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
        """Open the store of a raster and a model, or make an empty one.

        Parameters
        ----------
        path : path
            A folder on this machine, or on a file system with file locks that all writers share.
        raster : Raster
            The raster.
        model : Segmenter
            The model.
        window, overlap : int, optional
            The lattice, in raster pixels. The default is that of the store; for a new store, the model's input size and a
            quarter of it.
        overwrite : bool, default False
            Whether to replace an existing store by an empty one.

        Raises
        ------
        OptionError
            If the folder is not a store, or the store was made from another raster, stretch, model or lattice. The message
            lists the differences.
        """
        check_name(path, OptionError)
        path = Path(path).absolute()  # Workers in other processes may have another working folder.
        if not isinstance(model, Storable):
            raise OptionError(
                f"{path} cannot store embeddings of {model.name!r}: {type(model).__name__} has no methods pack and unpack (see "
                "samgeo.models.embedding_packing.Storable); add them, or omit the store."
            )
        if not path.exists():
            side = model.input_size if window is None else window
            lattice = Lattice(raster.shape, side, side // 8 * 2 if overlap is None else overlap)
            create(path, describe_run(raster, model, lattice), lattice)
            overwrite = False  # The store is new, or another process has just made it.
        found = _attributes_of_whole(path)
        kept = {} if overwrite else found["lattice"]
        side = kept.get("window", model.input_size) if window is None else window
        lattice = Lattice(raster.shape, side, kept.get("overlap", side // 8 * 2) if overlap is None else overlap)
        wanted = describe_run(raster, model, lattice)
        differing = differences(found, wanted)
        if overwrite:
            create(path, wanted, lattice, replace=True)
        elif differing:
            raise OptionError(
                f"the store {path} cannot be used: {'; '.join(differing)}. Use a store of its own for each raster, model and "
                "lattice, or replace this one with overwrite."
            )
        opened = cls(path, lattice)
        for scale in opened.scales[1:]:
            part = opened.at_scale(scale)
            if differing := differences(attributes(part.path), describe_part(wanted, part.lattice, scale)):
                raise OptionError(
                    f"the store {path} is damaged at scale {scale}: {'; '.join(differing)}. Encode the raster again with "
                    "overwrite, or into another store."
                )
        for scale in reversed(opened.scales) if opened.writable else ():
            opened.at_scale(scale).complete_metadata()
        return opened

    @property
    def scales(self) -> tuple[int, ...]:
        """The scales of which the store has windows, or had when they were begun: 1, and coarser ones in ascending order."""
        return (1, *stored_scales(self._whole.path))

    def at_scale(self, scale: int) -> EmbeddingStore:
        """Return the part of this store for the windows of a scale, whose window and overlap are so many times as large.

        It need not exist: until the first window is written, or `make` is called, all its windows are missing.
        """
        whole = self._whole
        if scale == 1:
            return whole
        lattice = Lattice(whole.lattice.shape, whole.lattice.window * scale, whole.lattice.overlap * scale)
        return EmbeddingStore(whole.path / part_name(scale), lattice, scale)

    @property
    def _whole(self) -> EmbeddingStore:
        if self.scale == 1:
            return self
        lattice = Lattice(self.lattice.shape, self.lattice.window // self.scale, self.lattice.overlap // self.scale)
        return EmbeddingStore(self.path.parent, lattice)

    @property
    def exists(self) -> bool:
        """Whether there is a folder for the windows of this scale."""
        return self.scale == 1 or self.path.is_dir()

    def make(self) -> None:
        """Make the folder for the windows of this scale, if there is none.

        Raises
        ------
        OptionError
            If it cannot be written.
        """
        if not self.exists:
            whole = self._whole
            create(self.path, describe_part(attributes(whole.path), self.lattice, self.scale), self.lattice, store=whole.path)
            whole.complete_metadata()

    def complete_metadata(self) -> None:
        """Copy the metadata of the arrays into those of this group and of the store; see `consolidate`.

        A process that is killed may not have done so.
        """
        with self._undamaged(), self._lock("arrays"):
            consolidate(self.path)
        if self.scale > 1:
            self._whole.complete_metadata()

    @property
    def writable(self) -> bool:
        """Whether this user may add windows."""
        return os.access(self.path if self.exists else self.path.parent, os.W_OK)

    def holds(self, index: Index) -> bool:
        """Return whether a window is in the store, whatever its pixels."""
        return self._digests(index)[0] != _NOT_THERE

    def _digests(self, index: Index) -> tuple[bytes, bytes]:
        """Return the digests of a window's pixels and of its embedding."""
        if not self.exists:
            return _NOT_THERE, _NOT_THERE
        with self._undamaged():
            found = np.asarray(self._group()[DIGEST][index], dtype=np.uint8).tobytes()
        return found[:DIGEST_BYTES], found[DIGEST_BYTES:]

    def check(self, index: Index, digest: bytes) -> bool:
        """Return whether a window is in the store.

        Raises
        ------
        OptionError
            If the window is in the store but was made from other pixels.
        """
        return self._kept(index, digest) is not None

    def _kept(self, index: Index, digest: bytes) -> bytes | None:
        """Return the digest of a window's embedding, or None if the window is missing; raise an error if the pixels differ."""
        pixels, embedding = self._digests(index)
        if pixels == _NOT_THERE:
            return None
        if pixels != digest:
            what = "pixels" if self.scale == 1 else "pixels, or the overviews from which they are read,"
            raise OptionError(
                f"the store {self.path} is stale: the {what} of the window at row {index[0]}, column {index[1]} have changed "
                "since it was encoded. Encode the raster again with overwrite, or into another store."
            )
        return embedding

    def read(self, index: Index, digest: bytes) -> dict[str, NDArray[Any]] | None:
        """Return the arrays of a window's embedding; None if the window is missing or has no data.

        Parameters
        ----------
        index : (int, int)
            Row and column of the window.
        digest : bytes
            `pixel_digest` of the window as it is in the raster now.

        Raises
        ------
        OptionError
            If the window was made from other pixels because the raster has changed, or the store is damaged.
        """
        if not self.exists:
            return None
        # The lock is needed because a shard may be replaced between the reading of its index and of its chunks.
        with self._locked(index):
            kept = self._kept(index, digest)
            if kept is None or kept == _content_digest(None):
                return None
            with self._undamaged():
                group = self._group()
                arrays = {name: np.asarray(group[name][index]) for name in self._names()}
        if _content_digest(arrays) != kept:
            raise OptionError(
                f"the store {self.path} is damaged: the window at row {index[0]}, column {index[1]} is not what was written. "
                "Encode the raster again with verify, which repairs the store, or into another store."
            )
        return arrays

    def write(self, windows: Mapping[Index, tuple[bytes, Mapping[str, NDArray[Any]] | None]]) -> None:
        """Write windows of one block. Windows that are in the store already are replaced.

        Parameters
        ----------
        windows : mapping
            For each window, by row and column, its `pixel_digest` and the arrays of its embedding, or None for a window without
            data. All windows are in the same block of ``BLOCK`` x ``BLOCK`` windows.

        Raises
        ------
        OptionError
            If the store is damaged, or cannot be written to.
        """
        with self._undamaged():
            self._write(windows)

    def _write(self, windows: Mapping[Index, tuple[bytes, Mapping[str, NDArray[Any]] | None]]) -> None:
        if not windows:
            return
        self.make()
        first = next(iter(windows))
        group = self._group()
        arrays_of_one = next((arrays for _, arrays in windows.values() if arrays is not None), {})
        check_array_names(arrays_of_one)
        created = [name for name in arrays_of_one if name not in group]
        for name in created:
            self._create_array(name, arrays_of_one[name])
        if created:
            self.complete_metadata()
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
                stored = group[name]
                if len(there) == 1:
                    ((index, arrays),) = there.items()
                    stored[index] = arrays[name]
                    continue
                whole = len(there) == shape[0] * shape[1]
                block = np.empty((*shape, *stored.shape[2:]), stored.dtype) if whole else np.asarray(stored[rows, columns])
                for (row, column), arrays in there.items():
                    block[row - origin[0], column - origin[1]] = arrays[name]
                stored[rows, columns] = block
            digests = np.asarray(group[DIGEST][rows, columns])
            for (row, column), (digest, arrays_or_none) in windows.items():
                both = digest + _content_digest(arrays_or_none)
                digests[row - origin[0], column - origin[1]] = np.frombuffer(both, dtype=np.uint8)
            group[DIGEST][rows, columns] = digests

    def blocks(self) -> list[Index]:
        """Return row and column of the first window of each block of ``BLOCK`` x ``BLOCK`` windows, row by row."""
        return [(row, column) for row in range(0, self.lattice.rows, BLOCK) for column in range(0, self.lattice.columns, BLOCK)]

    def present(self, block: Index) -> list[Index]:
        """Return the windows of a block that are in the store, including those without data."""
        return self._of_block(block, there=True)

    def count(self) -> int:
        """Return how many windows are in the store, including those without data."""
        if not self.exists:
            return 0
        with self._undamaged():
            digests = np.asarray(self._group()[DIGEST][:])
            return int(digests[..., :DIGEST_BYTES].any(axis=2).sum())

    def missing(self, block: Index) -> list[Index]:
        """Return the windows of a block that are not in the store yet."""
        return self._of_block(block, there=False)

    def forget_damaged(self, block: Index, *, verify: bool = False) -> int:
        """Remove all windows of a block if its files are damaged, so that they can be encoded again.

        Parameters
        ----------
        block : (int, int)
            Row and column of its first window.
        verify : bool, default False
            Whether to read every embedding of the block and compare it with its digest. Otherwise only missing or empty files
            are noticed.

        Returns
        -------
        int
            Number of windows that were removed; 0 if nothing is damaged.
        """
        with self._locked(block):
            rows, columns = self._ranges(block)
            with self._undamaged():
                digests = np.asarray(self._group()[DIGEST][rows.start : rows.stop, columns.start : columns.stop])
            there = {
                (row, column): digests[row - rows.start, column - columns.start].tobytes()
                for row in rows
                for column in columns
                if digests[row - rows.start, column - columns.start, :DIGEST_BYTES].any()
            }
            empty = _content_digest(None)
            filled = {index: both[DIGEST_BYTES:] for index, both in there.items() if both[DIGEST_BYTES:] != empty}
            # A missing file is no proof of damage, because Zarr writes no file for an array of zeros.
            is_suspect = bool(filled) and (verify or self._lacks_files(block))
            if not is_suspect or self._fits(filled):
                return 0
            if not self.writable:
                raise OptionError(f"the store {self.path} is damaged and cannot be written to; encode into another store.")
            with self._undamaged():
                self._group()[DIGEST][rows.start : rows.stop, columns.start : columns.stop] = np.zeros_like(digests)
            for name in self._names():
                shutil.rmtree(self._shard(name, block), ignore_errors=True)
            return len(there)

    def _fits(self, kept: Mapping[Index, bytes]) -> bool:
        """Whether the embeddings of some windows have the given digests."""
        try:
            group = self._group()
            return all(
                _content_digest({name: np.asarray(group[name][index]) for name in self._names()}) == digest
                for index, digest in kept.items()
            )
        except _DAMAGES:
            return False

    def _lacks_files(self, block: Index) -> bool:
        """Whether the file of a block is missing or empty for any array."""
        names = self._names()
        files = [[path for path in self._shard(name, block).rglob("*") if path.is_file()] for name in names]
        return not names or any(not some or any(path.stat().st_size == 0 for path in some) for some in files)

    def _shard(self, name: str, block: Index) -> Path:
        """Return the folder that contains the file of a block of an array."""
        return self.path / name / "c" / str(block[0] // BLOCK) / str(block[1] // BLOCK)

    def _ranges(self, block: Index) -> tuple[range, range]:
        """Return the rows and the columns of the windows of a block."""
        rows = range(block[0], min(block[0] + BLOCK, self.lattice.rows))
        return rows, range(block[1], min(block[1] + BLOCK, self.lattice.columns))

    def _of_block(self, block: Index, *, there: bool) -> list[Index]:
        rows, columns = self._ranges(block)
        pixels = np.zeros((len(rows), len(columns), DIGEST_BYTES), dtype=np.uint8)
        if self.exists:
            with self._undamaged():
                digests = np.asarray(self._group()[DIGEST][rows.start : rows.stop, columns.start : columns.stop])
                pixels = digests.reshape(len(rows), len(columns), 2, DIGEST_BYTES)[:, :, 0]
        return [
            (row, column)
            for row in rows
            for column in columns
            if pixels[row - rows.start, column - columns.start].any() == there
        ]

    @contextmanager
    def _undamaged(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGES as error:
            raise OptionError(
                f"the store {self.path} is damaged, or cannot be read or written ({error!r}); check the free space, encode the "
                "raster again with overwrite, or use another store."
            ) from None

    def _group(self) -> Mapping[str, zarr.Array[Any]]:
        """Return the arrays of the store by name."""
        import zarr

        # The metadata of the arrays are read, not their copy in the group, which is old if a process was killed before it
        # copied.
        group = zarr.open_group(self.path, mode="r+" if self.writable else "r", use_consolidated=False)
        return cast("Mapping[str, zarr.Array[Any]]", group)

    def _names(self) -> list[str]:
        """Return the names of the arrays of an embedding."""
        return [name for name in array_names(self.path) if name != DIGEST]

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
                # Shuffling puts the high bytes of the half-precision values together. They compress well; the low ones are
                # noise.
                compressors=[BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=array.dtype.itemsize)],
                fill_value=0,
                dimension_names=["row", "column", *(f"{name}_{axis}" for axis in range(array.ndim))],
            )

    @contextmanager
    def _locked(self, index: Index) -> Iterator[None]:
        """Hold the lock of a window's block. A store that cannot be written to needs no lock."""
        lock = self._lock(f"{index[0] // BLOCK}-{index[1] // BLOCK}") if self.writable else nullcontext()
        with lock:
            yield

    def _lock(self, name: str) -> filelock.BaseFileLock:
        import filelock

        folder = self.path / _LOCKS
        folder.mkdir(exist_ok=True)
        return filelock.FileLock(folder / f"{name}.lock")
