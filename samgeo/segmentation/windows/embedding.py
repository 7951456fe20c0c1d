"""Windows as the model sees them: reading, encoding, and caching of embeddings in memory and in a store."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.geo.grid import Lattice, Rect
from samgeo.models.embedding_packing import Storable, nbytes, pack, rounded, unpack
from samgeo.segmentation.profile import timed
from samgeo.segmentation.windows.automatic import embed_windows
from samgeo.segmentation.windows.store import pixel_digest

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.store import EmbeddingStore
    from samgeo.types import Embedding

__all__ = [
    "MEMORY_BYTES",
    "EmbeddingCache",
    "Encoded",
    "EncodedWindows",
    "NotEncodedError",
    "WindowImage",
    "check_fresh",
    "embed",
    "embed_together",
    "only_encoded",
    "read_square",
    "read_window",
]

MEMORY_BYTES = 1 << 30

_ONLY_ENCODED: ContextVar[bool] = ContextVar("only_encoded", default=False)


class NotEncodedError(Exception):
    """A window is needed that is not encoded, where none may be encoded; see `only_encoded`."""


@contextmanager
def only_encoded() -> Iterator[None]:
    """Encode no window in this thread within a ``with`` block: `EncodedWindows.get` raises `NotEncodedError` instead.

    Windows that are in memory or in the store are used.
    """
    before = _ONLY_ENCODED.set(True)
    try:
        yield
    finally:
        _ONLY_ENCODED.reset(before)


@dataclass(frozen=True, slots=True, eq=False)
class WindowImage:
    """One window of a raster, read as an image.

    Attributes
    ----------
    index : (int, int)
        Row and column in the lattice.
    rect : Rect
        The window in raster pixels. It may reach beyond the raster.
    size : (int, int)
        Height and width of the part in the raster, which is at the top left of the window, in pixels of ``image``.
    image : ndarray of uint8, shape (W, W, 3)
        RGB; zero where there is no data. In a window of a coarser scale, each pixel is a square of raster pixels.
    known : ndarray of bool, shape (W + 2, W + 2)
        Where the raster has data, in the window and one more pixel on every side. The additional pixels show beyond which edges
        of the window the raster has data.
    """

    index: tuple[int, int]
    rect: Rect
    size: tuple[int, int]
    image: NDArray[np.uint8]
    known: NDArray[np.bool_]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Where the window has data, shape (W, W)."""
        return self.known[1:-1, 1:-1]


@timed("read")
def read_window(raster: Raster, lattice: Lattice, index: tuple[int, int], scale: int = 1) -> WindowImage:
    """Read one window of the lattice. With a scale above 1, ``scale`` x ``scale`` raster pixels are read as one.

    Raises
    ------
    RasterError
        If the window cannot be read.
    """
    return read_square(raster, lattice.rect(*index), scale, index)


def read_square(raster: Raster, rect: Rect, scale: int = 1, index: tuple[int, int] = (0, 0)) -> WindowImage:
    """Read a square of a raster as a window. Its corner and its side are multiples of ``scale``.

    Raises
    ------
    RasterError
        If the square cannot be read.
    """
    grown = Rect(rect.x0 - scale, rect.y0 - scale, rect.x1 + scale, rect.y1 + scale)
    pixels, known = raster.read(grown) if scale == 1 else raster.read_coarse(grown, scale)
    height, width = (rect & Rect(0, 0, raster.shape[1], raster.shape[0])).shape
    size = (-(-height // scale), -(-width // scale))
    return WindowImage(index, rect, size, np.ascontiguousarray(pixels[1:-1, 1:-1]), known)


def embed(model: Segmenter, window: WindowImage, store: EmbeddingStore | None = None) -> Embedding:
    """Encode one window, or read its embedding from a store. New embeddings are written to the store.

    The embedding is rounded to half precision with and without a store, so that both give exactly the same masks.

    Raises
    ------
    OptionError
        If the store holds the window, but made from other pixels.
    """
    return embed_together(model, {0: window}, 1, store)[0]


def embed_together(
    model: Segmenter, windows: Mapping[int, WindowImage], places: int, store: EmbeddingStore | None = None
) -> dict[int, Embedding]:
    """Encode several windows like `embed`, those that are not in the store in one batch; see `automatic.embed_windows`.

    Raises
    ------
    OptionError
        If the store holds one of the windows, but made from other pixels.
    """
    digests, kept = {}, {}
    if store is not None:
        digests = {place: pixel_digest(one.image, one.size) for place, one in windows.items()}
        there = {place: store.read(one.index, digests[place]) for place, one in windows.items()}
        kept = {place: arrays for place, arrays in there.items() if arrays is not None}
    missing = {place: (one.image, one.size) for place, one in windows.items() if place not in kept}
    fresh = embed_windows(model, missing, places) if missing else {}
    if store is None:
        return {place: rounded(model, one) for place, one in fresh.items()}
    made = {place: pack(model, one) for place, one in fresh.items()}
    if made and store.writable:
        store.write({windows[place].index: (digests[place], arrays) for place, arrays in made.items()})
    return {place: unpack(model, arrays) for place, arrays in (kept | made).items()}


def check_fresh(raster: Raster, store: EmbeddingStore, scales: Iterable[int] = ()) -> None:
    """Compare some windows of a store with the raster, to notice before the work starts that the raster was replaced.

    Parameters
    ----------
    raster : Raster
        The raster.
    store : EmbeddingStore
        The store.
    scales : iterable of int, optional
        Coarser scales of which one window each is compared, if the store has any: their pixels also change with overviews.

    Raises
    ------
    OptionError
        If the raster has changed since it was encoded.
    """
    blocks = store.blocks()
    for block in {blocks[0], blocks[len(blocks) // 2], blocks[-1]}:
        _check_block(raster, store, block)
    for scale in scales:
        part = store.at_scale(scale)
        if scale > 1 and part.exists:
            any(_check_block(raster, part, block) for block in part.blocks())


def _check_block(raster: Raster, store: EmbeddingStore, block: tuple[int, int]) -> bool:
    """Compare the first window of a block that is in the store with the raster; return whether there is one."""
    for index in store.present(block)[:1]:
        window = read_window(raster, store.lattice, index, store.scale)
        return store.check(index, pixel_digest(window.image, window.size))
    return False


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """An encoded window, which can answer prompts.

    Attributes
    ----------
    embedding
        Embedding of the model; None if the window has no data.
    rect, size, known
        As in `WindowImage`.
    scale : int, default 1
        Side of a pixel of ``size`` and ``known``, in raster pixels.
    """

    embedding: Embedding
    rect: Rect
    size: tuple[int, int]
    known: NDArray[np.bool_]
    scale: int = 1

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Where the window has data, shape (W, W)."""
        return self.known[1:-1, 1:-1]

    @property
    def nbytes(self) -> int:
        """Memory of the window in bytes."""
        return nbytes(self.embedding) + self.known.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class _Packed:
    """An embedding as half-precision arrays, or unchanged if its model cannot pack it."""

    arrays: Mapping[str, NDArray[Any]] | None
    other: Embedding

    @classmethod
    def of(cls, model: Segmenter, embedding: Embedding) -> _Packed:
        return cls(pack(model, embedding), None) if isinstance(model, Storable) else cls(None, embedding)

    @property
    def nbytes(self) -> int:
        """Memory of the embedding in bytes."""
        return nbytes(self.other) if self.arrays is None else sum(array.nbytes for array in self.arrays.values())

    def unpacked(self, model: Segmenter) -> Embedding:
        return self.other if self.arrays is None else unpack(model, self.arrays)


class _Turn:
    """A lock for the threads that need one window, and their number."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads = 0


class EmbeddingCache:
    """Cache of the most recently used windows, limited in bytes. It may be used from several threads.

    Parameters
    ----------
    max_bytes : int
        Limit in bytes. The window used last is always kept, even if it is larger.

    Raises
    ------
    OptionError
        If ``max_bytes`` is negative.
    """

    def __init__(self, max_bytes: int = MEMORY_BYTES) -> None:
        if max_bytes < 0:
            raise OptionError(f"the memory for embeddings is {max_bytes} bytes; give 0 or more.")
        self.max_bytes = max_bytes
        self._windows: OrderedDict[tuple[int, ...], Encoded] = OrderedDict()
        self._bytes = 0
        self._making: dict[tuple[int, ...], _Turn] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[EmbeddingCache], tuple[int]]:
        return type(self), (self.max_bytes,)

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def nbytes(self) -> int:
        """Memory of all windows in bytes."""
        with self._lock:
            return self._bytes

    def get(self, index: tuple[int, ...], make: Callable[[], Encoded]) -> Encoded:
        """Return a window; call ``make`` if it is not in the cache.

        Threads that need the same window wait for one call. If the call raises, its thread gets the error, and the next thread
        calls its own ``make``.
        """
        with self._lock:
            turn = self._making.setdefault(index, _Turn())
            turn.threads += 1
        try:
            with turn.lock:
                window = self._use(index)
                if window is None:
                    window = make()
                    self._keep(index, window)
                return window
        finally:
            with self._lock:
                turn.threads -= 1
                if not turn.threads:
                    del self._making[index]

    def put(self, index: tuple[int, ...], window: Encoded, model: Segmenter) -> None:
        """Add a window. Its embedding is packed to half precision in main memory if the model can do so; see `take`."""
        self._keep(index, replace(window, embedding=_Packed.of(model, window.embedding)))

    def take(self, index: tuple[int, ...], model: Segmenter, make: Callable[[], Encoded]) -> Encoded:
        """Return a window that `put` added; call ``make`` if it is not in the cache."""
        kept = self._use(index)
        return make() if kept is None else replace(kept, embedding=kept.embedding.unpacked(model))

    def _use(self, index: tuple[int, ...]) -> Encoded | None:
        with self._lock:
            if index in self._windows:
                self._windows.move_to_end(index)
            return self._windows.get(index)

    def _keep(self, index: tuple[int, ...], window: Encoded) -> None:
        with self._lock:
            if index in self._windows:
                self._bytes -= self._windows.pop(index).nbytes
            self._windows[index] = window
            self._bytes += window.nbytes
            while self._bytes > self.max_bytes and len(self._windows) > 1:
                self._bytes -= self._windows.popitem(last=False)[1].nbytes


@dataclass(frozen=True, slots=True, eq=False)
class EncodedWindows:
    """The windows of one lattice, which are kept in memory, and in a store if there is one.

    Attributes
    ----------
    raster : Raster
        The raster.
    model : Segmenter
        The model.
    lattice : Lattice
        The windows.
    cache : EmbeddingCache
        Memory for embeddings. Several lattices may share it.
    store : EmbeddingStore, optional
        Store of embeddings with this lattice and scale.
    check_same : callable, optional
        Raises an error if a file of the raster has changed. It is called after each window that is read.
    scale : int, default 1
        ``scale`` x ``scale`` raster pixels are read as one pixel.
    """

    raster: Raster
    model: Segmenter
    lattice: Lattice
    cache: EmbeddingCache
    store: EmbeddingStore | None = None
    check_same: Callable[[], None] | None = None
    scale: int = 1

    @property
    def zoom(self) -> float:
        """Number of pixels of the model's input for each pixel of the raster."""
        return self.model.input_size / self.lattice.window

    def get(self, index: tuple[int, int]) -> Encoded:
        """Return a window by its row and column. Its embedding is None if it has no data.

        Raises
        ------
        RasterError
            If the window cannot be read, or the raster has changed since it was opened.
        NotEncodedError
            If the window is not encoded, within a block of `only_encoded`.
        """

        def make() -> Encoded:
            # Reading a coarse window may take long, so that one that is not encoded is noticed before.
            if _ONLY_ENCODED.get() and (self.store is None or (self.scale > 1 and not self.store.holds(index))):
                raise NotEncodedError
            window = read_window(self.raster, self.lattice, index, self.scale)
            if self.check_same is not None:
                self.check_same()
            if _ONLY_ENCODED.get() and window.valid.any() and not self._is_stored(window):
                raise NotEncodedError
            embedding = embed(self.model, window, self.store) if window.valid.any() else None
            return Encoded(embedding, window.rect, window.size, window.known, self.scale)

        return self.cache.get((self.lattice.window, self.lattice.overlap, self.scale, *index), make)

    def _is_stored(self, window: WindowImage) -> bool:
        return self.store is not None and self.store.check(window.index, pixel_digest(window.image, window.size))
