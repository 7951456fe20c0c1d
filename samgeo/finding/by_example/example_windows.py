"""Examples as outlines in a raster, and the windows in which they are read."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import affinity

from samgeo.errors import OptionError
from samgeo.finding.by_example.example_finder import describing
from samgeo.finding.by_example.pixel_classifier import WindowCells, covered_shares, usable_cells, valid_cells
from samgeo.geo.coordinates.pixel_coordinates import crs_of
from samgeo.geo.coordinates.prompt_geometry import read_polygons
from samgeo.segmentation.prompts.example_reading import read_labelled_features
from samgeo.segmentation.windows.embedding import EmbeddingCache, EncodedWindows

if TYPE_CHECKING:
    from samgeo.geo.grid import Lattice
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.embedding import Encoded
    from samgeo.types import FeaturesLike

__all__ = ["Outlines", "example_cells", "owners", "read_outlines", "zoom_for"]

# Zoom by the size of the examples in raster pixels: pairs of the least size and the zoom.
ZOOMS = ((32.0, 1.0), (14.0, 2.0), (0.0, 4.0))


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """Outlines of examples in raster pixels, in an order that does not depend on the order in which they were given.

    Attributes
    ----------
    accepted, rejected : ndarray of (multi)polygons
        At least one is accepted.
    """

    accepted: NDArray[np.object_]
    rejected: NDArray[np.object_]

    @property
    def size(self) -> float:
        """Median of the square roots of the areas of the accepted examples, in pixels."""
        return float(np.median(np.sqrt(shapely.area(self.accepted))))

    @property
    def digest(self) -> str:
        """Digest of the outlines."""
        whole = hashlib.sha256()
        for outlines in (self.accepted, self.rejected):
            whole.update(len(outlines).to_bytes(8, "little"))
            for one in shapely.to_wkb(outlines):
                whole.update(one)
        return whole.hexdigest()


def read_outlines(examples: FeaturesLike, raster: Raster) -> Outlines:
    """Read examples as outlines in pixels of a raster. Those whose middle is outside the raster are left out.

    Raises
    ------
    OptionError
        If no accepted example is left.
    VectorError
        If the examples cannot be read, are not polygons, or cannot be placed on the raster.
    """
    frame, labels = read_labelled_features(examples, crs_of(raster.geobox))
    frame, labels = frame[~np.isnan(labels)], labels[~np.isnan(labels)]
    placed, _ = read_polygons(frame.reset_index(drop=True), geobox=raster.geobox)
    drawn = shapely.area(placed) > 0
    if not (drawn & (labels == 1)).any():
        raise OptionError(
            f"none of the {len(labels)} examples is an accepted polygon; give the outline of at least one object, without a "
            "label or with label 1."
        )
    middle = shapely.get_coordinates(shapely.point_on_surface(placed[drawn]))
    inside = ((middle >= 0) & (middle < raster.shape[::-1])).all(1)
    kept, wanted = placed[drawn][inside], labels[drawn][inside] == 1
    if not wanted.any():
        raise OptionError(
            f"all accepted examples are outside of {raster.name}; give outlines in this raster, or the raster of the examples "
            "as example_image."
        )
    return Outlines(_ordered(kept[wanted]), _ordered(kept[~wanted]))


def _ordered(outlines: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return outlines in normal form without duplicates, in an order of their own."""
    known = {bytes(shapely.to_wkb(one)): one for one in shapely.normalize(outlines)}
    ordered = np.empty(len(known), dtype=object)
    ordered[:] = [known[key] for key in sorted(known)]
    return ordered


def zoom_for(size: float, input_size: int) -> float:
    """Return the zoom for examples of a size in raster pixels.

    Small objects are enlarged. Objects that are larger than half a window are reduced to at most half a window.
    """
    if size > input_size / 2:
        return float(2.0 ** math.ceil(math.log2(input_size / 4 / size)))
    return next(zoom for least, zoom in ZOOMS if size >= least)


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    index: tuple[int, int]
    accepted: list[int]
    rejected: list[int]


def owners(outlines: NDArray[np.object_], lattice: Lattice) -> list[tuple[int, int]]:
    """Return the window of each outline: the one whose core contains the middle of the outline, as it has most context."""
    (height, width), bounds = lattice.shape, shapely.bounds(outlines)
    middles = np.floor((bounds[:, :2] + bounds[:, 2:]) / 2).astype(np.int64)
    return [lattice.owner(x, y) for x, y in np.clip(middles, 0, (width - 1, height - 1)).tolist()]


def example_cells(
    raster: Raster,
    model: Segmenter,
    lattice: Lattice,
    outlines: Outlines,
    encoded: Callable[[tuple[int, int]], Encoded] | None = None,
) -> Iterator[WindowCells]:
    """Return the feature vectors that the examples use in each window with examples; see `owners`.

    Parameters
    ----------
    raster : Raster
        The raster of the examples.
    model : Segmenter
        A model that gives feature vectors.
    lattice : Lattice
        The windows.
    outlines : Outlines
        The examples.
    encoded : callable, optional
        Returns an encoded window of the lattice by its row and column. Without it, windows are read and encoded here.

    Raises
    ------
    ModelError
        If the model gives no feature vectors.
    """
    describe = describing(model)
    places: dict[tuple[int, int], _Cut] = {}
    for name in ("accepted", "rejected"):
        for number, index in enumerate(owners(getattr(outlines, name), lattice)):
            getattr(places.setdefault(index, _Cut(index, [], [])), name).append(number)
    zoom = model.input_size / lattice.window
    if encoded is None:
        encoded = EncodedWindows(raster, model, lattice, EmbeddingCache(0)).get
    for index in sorted(places):
        cut = places[index]
        window = encoded(index)
        if window.embedding is None:
            continue
        features = describe.features(window.embedding)
        grid = len(features)
        rect = window.rect

        def to_input(outline: shapely.Geometry, x0: int = rect.x0, y0: int = rect.y0) -> shapely.Geometry:
            return affinity.affine_transform(outline, [zoom, 0, 0, zoom, -x0 * zoom, -y0 * zoom])

        frame = shapely.box(rect.x0, rect.y0, rect.x1, rect.y1)
        touching = set(np.flatnonzero(shapely.intersects(outlines.accepted, frame)).tolist())
        mine = [to_input(outlines.accepted[number]) for number in cut.accepted]
        others = [to_input(outlines.accepted[number]) for number in sorted(touching - set(cut.accepted))]
        refused = [to_input(outlines.rejected[number]) for number in cut.rejected]
        known = window.known
        beyond = np.array([known[0].any(), known[-1].any(), known[:, 0].any(), known[:, -1].any()])
        usable = usable_cells(valid_cells(window.valid, grid), beyond)
        stride = model.input_size // grid
        accepted, other, rejected = ([covered_shares(one, grid, stride) for one in some] for some in (mine, others, refused))
        yield WindowCells.of(features, usable, accepted, other, rejected)
