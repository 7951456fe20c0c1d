"""The windows of one lattice over a raster, each of which is encoded when it is first needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samgeo.segmentation.windows.embedding import EmbeddingCache, Encoded, embed, read_window

if TYPE_CHECKING:
    from samgeo.geo.grid import Lattice
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.store import EmbeddingStore

__all__ = ["EncodedWindows"]


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
        Store of embeddings with this lattice.
    check_same : callable, optional
        Raises an error if a file of the raster has changed. It is called after each window that is read.
    """

    raster: Raster
    model: Segmenter
    lattice: Lattice
    cache: EmbeddingCache
    store: EmbeddingStore | None = None
    check_same: Callable[[], None] | None = None

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
        """

        def make() -> Encoded:
            window = read_window(self.raster, self.lattice, index)
            if self.check_same is not None:
                self.check_same()
            embedding = embed(self.model, window, self.store) if window.valid.any() else None
            return Encoded(embedding, window.rect, window.size, window.known)

        return self.cache.get((self.lattice.window, self.lattice.overlap, *index), make)
