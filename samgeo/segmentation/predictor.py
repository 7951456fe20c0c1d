"""The `Predictor`: it segments the objects that points, boxes, polygons or masks point at, anywhere on a raster of any size.

A window is encoded once and then answers any number of prompts.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from samgeo.arguments import check_types
from samgeo.errors import OptionError, RasterError
from samgeo.geo.grid import Lattice, Rect
from samgeo.geo.html_summary import html_summary
from samgeo.geo.raster.identity import SourceWatch
from samgeo.geo.vector.axes import describe_axes
from samgeo.models.device import check_threads, computing_in
from samgeo.progress import progress_bar
from samgeo.segmentation.masks.cleaning import MIN_HOLE, MIN_PART
from samgeo.segmentation.masks.piece import Segment
from samgeo.segmentation.options import CleaningOptions, ModelOptions, ReadingOptions, WindowOptions
from samgeo.segmentation.prompts.answering import Answering
from samgeo.segmentation.prompts.assignment import Prompts, SoftMask, groups
from samgeo.segmentation.prompts.decoding import Candidate
from samgeo.segmentation.prompts.prompt_reading import read_prompts
from samgeo.segmentation.prompts.prompt_scales import ScaledAnswering, levels_of
from samgeo.segmentation.prompts.prompt_zoom import AUTO, answers, candidates, finer_lattices, read_zoom
from samgeo.segmentation.prompts.snapping import as_given, keep_or_snap
from samgeo.segmentation.tables import AnswerColumns
from samgeo.segmentation.windows.embedding import MEMORY_BYTES, EmbeddingCache, EncodedWindows
from samgeo.segmentation.windows.zoom import check_zoom, window_of
from samgeo.storage.provenance import made_with
from samgeo.types import (
    BandsLike,
    BoxesLike,
    CRSLike,
    FeaturesLike,
    LabelsLike,
    MasksLike,
    PointsLike,
    PromptArguments,
    RasterLike,
    StretchLike,
)

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    import torch

    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.store import EmbeddingStore

__all__ = ["Candidate", "Predictor", "check_how"]

SNAP_IOU = 0.5
# Windows of a zoom that differs by less than this factor serve a search, so that embeddings are used again.
SAME_ZOOM = 1.4


class Predictor:
    """Segments objects from prompts anywhere on a raster.

    Each prompt is answered by the window that shows most context around it. A window is encoded when a prompt first needs it.
    Its embedding is then kept in memory, and in a store if one is given. Embeddings are always rounded to half precision, so
    that an answer does not depend on whether its embedding was computed now or read from the store. A predictor may be used
    from several threads at once.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        See `samgeo.Raster.open`.
    model, device, dtype, bands, stretch, nodata, alpha, invented, window, overlap, cache, min_part, min_hole
        See `samgeo.segment`. Here ``min_part`` and ``min_hole`` apply to answers.
    zoom : float or "auto", default 1
        Number of pixels of the model's input for each pixel of the raster; see `samgeo.segment`. With "auto", an object whose
        longest side has at most 32 pixels is shown at twice its size, in windows of half the size. The side is that of the box,
        outline or mask; for clicks it is that of their first answer, so that they are asked twice.
    scales : sequence of int or "auto", default "auto"
        Sizes of windows as multiples of ``window``, from which the scale of each prompt is chosen. "auto" means 1, 2, 4, 8 and
        16, as far as the raster is larger than a window. An object that fits into a window of scale 1 does not depend on this
        option. A larger one is found in a coarser window, in which the model sees the mean of k x k pixels as one, and drawn by
        finer windows along its outline. A box, outline or mask goes to the finest scale of which one window contains it. A
        click goes to the next coarser scale as long as the model finds nothing or no window shows the whole object, and also if
        its answer has a predicted IoU below 0.3; then a coarser answer is used that is larger than a window and has at least
        0.5. With ``(1,)`` the answers of several windows of one scale are joined.
    memory : int, default 2**30
        Bytes of embeddings to keep in memory. The least recently used ones are dropped first.
    threads : int, optional
        Number of threads in which torch computes on a CPU. The default is torch's own. On a machine that is shared with others,
        1 is faster than more. It must be 1 if embeddings have to equal those of `samgeo.encode` to the bit.

    Raises
    ------
    SamgeoError
        If the raster, the model or an option is invalid, or the store was made from something else.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.testing import Oracle, encode_ids
    >>> labels = np.zeros((96, 96), dtype=np.int32)
    >>> labels[40:80, 45:75] = 2
    >>> predictor = samgeo.Predictor(encode_ids(labels), model=Oracle(64))
    >>> predictor.predict(points=[[60, 60], [5, 5]]).area_px.tolist()
    [1200.0, 0.0]
    """

    @check_types
    def __init__(
        self,
        image: RasterLike,
        *,
        model: str | Path | Segmenter = "tiny",
        device: str | torch.device = "auto",
        dtype: str = "auto",
        bands: BandsLike = None,
        stretch: StretchLike = None,
        nodata: float | str | None = None,
        alpha: int | str | None = None,
        invented: str | None = None,
        zoom: float | str = 1.0,
        scales: str | Sequence[int] = "auto",
        window: int | None = None,
        overlap: int | None = None,
        cache: str | os.PathLike[str] | None = None,
        memory: int = MEMORY_BYTES,
        min_part: float = MIN_PART,
        min_hole: float = MIN_HOLE,
        threads: int | None = None,
    ) -> None:
        arguments = locals()
        cleaning, windows = CleaningOptions.of(arguments), WindowOptions.of(arguments)
        cleaning.check()
        self.zoom, fixed = read_zoom(zoom)
        windows.check_zoom(fixed)
        self.min_part, self.min_hole = cleaning.min_part, cleaning.min_hole
        self.threads = check_threads(threads)
        self.raster = ReadingOptions.of(arguments).open(image)
        self.model: Segmenter = ModelOptions.of(arguments).load()
        windows = windows.at_zoom(fixed, self.model)
        self.store = windows.store(self.raster, self.model)
        self.lattice = windows.lattice(self.raster, self.model) if self.store is None else self.store.lattice
        self._windows = EmbeddingCache(memory)
        self._watch = SourceWatch(self.raster)
        finer = finer_lattices(self.lattice, self.model.input_size) if self.zoom == AUTO else ()
        self._levels = levels = levels_of(self.lattice, scales)
        self.scales: str | tuple[int, ...] = scales if isinstance(scales, str) else levels.scales
        encoded = {0: self._encoded(self.lattice, self.store)}
        encoded |= {level: self._encoded(one, None) for level, one in enumerate(finer, 1)}
        coarser = zip(levels.scales[1:], levels.lattices[1:], strict=True)
        for level, (scale, one) in enumerate(coarser, 1):
            encoded[-level] = self._encoded(one, None if self.store is None else self.store.at_scale(scale), scale)
        # Earlier answers name their windows by these levels: finer windows are above 0, coarser ones below.
        self._by_level = {level: Answering(one, self.min_part, self.min_hole, level) for level, one in encoded.items()}
        scaled = ScaledAnswering(levels, tuple(self._by_level[-level] for level in range(len(levels.scales))))
        self._answering: tuple[Answering | ScaledAnswering, ...] = (
            scaled,
            *(self._by_level[level] for level in range(1, len(finer) + 1)),
        )

    def __repr__(self) -> str:
        parts = f"model={self.model.name!r}, window={self.lattice.window}, overlap={self.lattice.overlap}, zoom={self.zoom!r}"
        return f"Predictor({self.raster.name!r}, {parts})"

    def _repr_html_(self) -> str:
        height, width = self.raster.shape
        rows = {
            "raster": f"{self.raster.name}, {width:,} x {height:,} pixels",
            "model": f"{self.model.name}, weights {self.model.digest[:16]}",
            "windows": f"{self.lattice.rows} x {self.lattice.columns} of {self.lattice.window} pixels",
            "overlap": f"{self.lattice.overlap} pixels",
            "zoom": self.zoom,
            "embeddings": "in memory" if self.store is None else "in memory and in a store",
        }
        return html_summary("Predictor", rows)

    @check_types
    def check_same(self, *, now: bool = False) -> None:
        """Raise an error if a file that the raster is read from has changed since it was opened.

        Every prediction calls this method. Files at an address are checked every few seconds.

        Parameters
        ----------
        now : bool, default False
            Whether to check even if the last check was a moment ago.

        Raises
        ------
        RasterError
            If a file has changed, or ``now`` is true and a server does not answer.
        """
        change = self._watch.look(now=now)
        if change is not None:
            raise RasterError(
                f"{change} since {self.raster.name} was opened, so that answers would mix two versions; open it again, in a "
                "new Predictor or Map, when it no longer changes."
            )

    @check_types
    def predict(
        self,
        points: PointsLike = None,
        labels: LabelsLike = None,
        boxes: BoxesLike = None,
        masks: MasksLike = None,
        polygons: FeaturesLike | None = None,
        *,
        crs: CRSLike = None,
        multimask: bool | str = "auto",
        refine: int = 0,
        progress: bool = False,
    ) -> gpd.GeoDataFrame:
        """Segment the objects that prompts point at.

        Kinds of prompts may be combined: row i of each kind belongs to prompt i. A box that reaches beyond the raster is
        clipped. Objects that are larger than a window are found at a coarser scale; see ``scales`` of `samgeo.Predictor`. If
        there is no coarser scale, or the object is too thin for it, as roads are, a box or polygon is sent to all windows that
        it reaches into, and their answers are joined as automatic segmentation joins pieces; the object under a click is
        continued in up to 16 neighbouring windows.

        Parameters
        ----------
        points : array-like of shape (P, 2) or (P, N, 2), path, GeoDataFrame or GeoSeries, optional
            x and y. Features are points, or multipoints for several points per prompt. Features with the same value in a column
            ``prompt`` form one prompt.
        labels : array-like of shape (P,) or (P, N), optional
            1 foreground, 0 background, -1 padding. By default the column ``label`` of the points, or 1 if there is no such
            column.
        boxes : array-like of shape (P, 4), path, GeoDataFrame or GeoSeries, optional
            x0, y0, x1, y1; or features, whose bounding boxes are used. A box in another CRS than the raster's becomes the
            bounding box, in pixels, of the transformed region.
        masks : sequence of SoftMask or None, path, GeoDataFrame, GeoSeries or geometries, optional
            Masks to start from: earlier answers (`Candidate.earlier`), or polygons, which become soft masks.
        polygons : path, GeoDataFrame, GeoSeries or sequence of geometries, optional
            Rough outlines. Each becomes a prompt of its box, its innermost point and a soft mask.
        crs : anything that pyproj takes, or "pixels", optional
            CRS of arrays and bare geometries. The raster's own by default. Features have their own CRS.
        multimask : {"auto", True, False}, default "auto"
            Whether the model proposes three masks, of which the best is taken, or one mask. "auto" means three for a single
            point without other prompts, and one otherwise.
        refine : int, default 0
            How many times to decode again with the logits of the previous answer.
        progress : bool, default False
            Whether to show a progress bar on standard error.

        Returns
        -------
        GeoDataFrame
            One row for each prompt, in the order of the prompts and in the raster's CRS: the other columns of the prompts'
            features (if such a column has the name of one of the following, it is renamed by appending ``_given``, with a
            warning), ``predicted_iou``, ``stability_score``, ``area_m2`` (``area_px`` if there is no CRS), ``complete``, which
            is false if the edge of a window cut the object, ``reason`` and ``geometry``. If nothing was found, the geometry is
            empty and ``reason`` says why; otherwise ``reason`` is missing. ``attrs["samgeo"]["scales"]`` says how many objects
            were found at each scale.

        Raises
        ------
        OptionError
            If there is no prompt, the kinds of prompts have different lengths, or an option is invalid.
        VectorError
            If features cannot be read.
        RasterError
            If a window cannot be read, or the raster has changed since it was opened.

        Examples
        --------
        >>> import numpy as np
        >>> from samgeo.testing import Oracle, encode_ids
        >>> labels = np.zeros((96, 96), dtype=np.int32)
        >>> labels[40:80, 45:75] = 2
        >>> predictor = samgeo.Predictor(encode_ids(labels), model=Oracle(64))
        >>> predictor.predict(boxes=[[45, 40, 75, 80]]).area_px.tolist()
        [1200.0]
        """
        check_how(multimask, refine)
        prompts, table = self.read(points=points, labels=labels, boxes=boxes, masks=masks, polygons=polygons, crs=crs)
        result = self._frame(prompts, table, multimask, refine, progress=progress)
        result.attrs["samgeo"]["options"] |= {"multimask": multimask, "refine": refine}
        return result

    @check_types
    def predict_masks(
        self, *, multimask: bool | str = "auto", refine: int = 0, **prompts: Unpack[PromptArguments]
    ) -> list[Segment | str]:
        """Segment the objects that prompts point at, and return masks instead of polygons.

        Parameters
        ----------
        multimask, refine, **prompts
            As in `predict`. All parameters are given by name.

        Returns
        -------
        list
            One item for each prompt, in the order of the prompts: a `Segment`, whose mask holds runs in raster pixels, or a
            text that says why nothing was found.

        Raises
        ------
        SamgeoError
            As in `predict`.

        Examples
        --------
        >>> import numpy as np
        >>> from samgeo.testing import Oracle, encode_ids
        >>> labels = np.zeros((96, 96), dtype=np.int32)
        >>> labels[40:80, 45:75] = 2
        >>> predictor = samgeo.Predictor(encode_ids(labels), model=Oracle(64))
        >>> found, nothing = predictor.predict_masks(points=[[60, 60], [200, 5]])
        >>> found.mask.area, nothing
        (1200, 'outside the raster')
        """
        check_how(multimask, refine)
        return self.answer(self.read(**prompts)[0], multimask=multimask, refine=refine)

    @check_types
    def candidates(
        self,
        points: PointsLike = None,
        labels: LabelsLike = None,
        boxes: BoxesLike = None,
        masks: MasksLike = None,
        polygons: FeaturesLike | None = None,
        *,
        crs: CRSLike = None,
        multimask: bool | str = "auto",
    ) -> list[Candidate]:
        """Return all masks that the model proposes for one prompt, the best first.

        Parameters
        ----------
        points, labels, boxes, masks, polygons, crs, multimask
            As in `predict`, for one prompt.

        Returns
        -------
        list of Candidate
            Empty if nothing was found. If several windows are needed for the prompt, the candidates of the middle one.

        Raises
        ------
        SamgeoError
            As in `predict`, and if there is more than one prompt.

        Examples
        --------
        >>> import numpy as np
        >>> from samgeo.testing import Oracle, encode_ids
        >>> labels = np.zeros((96, 96), dtype=np.int32)
        >>> labels[40:80, 45:75] = 2
        >>> predictor = samgeo.Predictor(encode_ids(labels), model=Oracle(96))
        >>> [candidate.mask.area for candidate in predictor.candidates(points=[[60, 50]])]
        [1200]
        """
        check_how(multimask, 0)
        prompts, _ = self.read(points=points, labels=labels, boxes=boxes, masks=masks, polygons=polygons, crs=crs)
        if len(prompts) != 1:
            raise OptionError(f"there are {len(prompts)} prompts; give one, or use predict.")
        with computing_in(self.threads):
            return candidates(self._answering, prompts, multimask=multimask)

    def rect_of(self, earlier: SoftMask) -> Rect:
        """Return the window, in raster pixels, of an earlier answer.

        Parameters
        ----------
        earlier : SoftMask
            The logits of an answer of this predictor; see `Candidate.earlier`.

        Examples
        --------
        >>> import numpy as np
        >>> from samgeo.testing import Oracle, encode_ids
        >>> labels = np.zeros((96, 96), dtype=np.int32)
        >>> labels[:20, 70:] = 1
        >>> predictor = samgeo.Predictor(encode_ids(labels), model=Oracle(64))
        >>> predictor.rect_of(predictor.candidates(points=[[90, 5]])[0].earlier)
        Rect(x0=48, y0=0, x1=112, y1=64)
        """
        return self._by_level[earlier.level].windows.lattice.rect(*earlier.window)

    def clean(self, segments: Sequence[Segment]) -> list[Segment]:
        """Return objects without parts and holes that are smaller than ``min_part`` and ``min_hole``.

        Parameters
        ----------
        segments : sequence of Segment
            Whole objects, in raster pixels.

        Examples
        --------
        >>> import numpy as np
        >>> from samgeo.segmentation.masks.mask import Mask
        >>> from samgeo.segmentation.merge import Segment
        >>> from samgeo.testing import Oracle, encode_ids
        >>> pixels = np.zeros((64, 64), dtype=bool)
        >>> pixels[20:40, 25:50] = True
        >>> pixels[2, 2] = True  # a speck of one pixel
        >>> predictor = samgeo.Predictor(encode_ids(pixels.astype(np.int32)), model=Oracle(64))
        >>> predictor.clean([Segment(Mask.from_array(pixels), 0.9, 0.9, True)])[0].mask.area
        500
        """
        return self._answering[0].clean(segments)

    @check_types
    def snap(
        self, polygons: FeaturesLike, *, min_iou: float = SNAP_IOU, crs: CRSLike = None, refine: int = 0
    ) -> gpd.GeoDataFrame:
        """Replace rough polygons by the objects that they outline.

        Each polygon becomes a prompt of its box, its innermost point and a soft mask. If the IoU of the answer with the polygon
        is below ``min_iou``, or there is no answer, the polygon is kept as it was.

        Parameters
        ----------
        polygons : path, GeoDataFrame, GeoSeries or sequence of geometries
            The rough polygons.
        min_iou : float, default 0.5
            Smallest IoU of an answer with its polygon, from 0 to 1.
        crs, refine
            As in `predict`.

        Returns
        -------
        GeoDataFrame
            As from `predict`, with two more columns: ``snapped`` says whether the geometry is the answer, and ``snap_iou`` is
            the IoU of polygon and answer (NaN without an answer). ``reason`` says why a polygon was kept.

        Raises
        ------
        SamgeoError
            As in `predict`.

        Examples
        --------
        >>> import numpy as np
        >>> import shapely
        >>> from samgeo.testing import Oracle, encode_ids
        >>> labels = np.zeros((96, 96), dtype=np.int32)
        >>> labels[40:80, 45:75] = 2
        >>> predictor = samgeo.Predictor(encode_ids(labels), model=Oracle(64))
        >>> snapped = predictor.snap([shapely.box(43, 38, 76, 81)], crs="pixels")
        >>> snapped.geometry[0].bounds, bool(snapped.snapped[0])
        ((45.0, 40.0, 75.0, 80.0), True)
        """
        if not 0 <= min_iou <= 1:
            raise OptionError(f"min_iou is {min_iou}; give a number from 0 to 1.")
        check_how("auto", refine)
        prompts, table = self.read(polygons=polygons, crs=crs)
        found = self._frame(prompts, table, "auto", refine, also=("snapped", "snap_iou"))
        rough = as_given(polygons, crs, self.raster.geobox)
        return keep_or_snap(found, rough, prompts.shapes, self.raster.geobox, min_iou)

    @check_types
    def windows_at(self, zoom: float) -> EncodedWindows:
        """Return windows for a zoom, whose embeddings are kept in the memory of this predictor.

        These are windows that the predictor has, and with the store, if their zoom differs from the given one by less than a
        factor of 1.4; otherwise windows of exactly this zoom, which are not stored.

        Examples
        --------
        >>> import numpy as np
        >>> from samgeo.testing import Oracle, encode_ids
        >>> predictor = samgeo.Predictor(encode_ids(np.ones((96, 96), dtype=np.int32)), model=Oracle(64))
        >>> [predictor.windows_at(zoom).lattice.window for zoom in (0.5, 1, 1.3, 2)]
        [128, 64, 64, 32]
        """
        check_zoom(zoom)
        there = min((one.windows for one in self._answering), key=lambda one: abs(math.log(one.zoom / zoom)))
        if max(there.zoom / zoom, zoom / there.zoom) < SAME_ZOOM:
            return there
        window, overlap = window_of(zoom, self.model.input_size)
        return self._encoded(Lattice(self.raster.shape, window, overlap), None)

    def _encoded(self, lattice: Lattice, store: EmbeddingStore | None, scale: int = 1) -> EncodedWindows:
        return EncodedWindows(self.raster, self.model, lattice, self._windows, store, self.check_same, scale)

    @check_types
    def read(self, **given: Unpack[PromptArguments]) -> tuple[Prompts, pd.DataFrame | None]:
        """Read prompts once, to answer some of them at a time with `answer`.

        Parameters
        ----------
        **given
            The prompts, as in `predict`.

        Returns
        -------
        prompts : Prompts
            The prompts in raster pixels.
        table : DataFrame or None
            The other columns of the first kind of prompts that was given as features.

        Raises
        ------
        SamgeoError
            As in `predict`.
        """
        self.check_same()
        lattices = {level: one.windows.lattice for level, one in self._by_level.items()}
        return read_prompts(self.raster.geobox, lattices, **given)

    @check_types
    def answer(
        self,
        prompts: Prompts,
        *,
        multimask: bool | str = "auto",
        refine: int = 0,
        done: Callable[[int], object] | None = None,
    ) -> list[Segment | str]:
        """Return the object of each of some prompts, or a text that says why nothing was found; see `predict_masks`.

        Parameters
        ----------
        prompts : Prompts
            Prompts from `read`.
        multimask, refine
            As in `predict`.
        done : callable, optional
            Called from time to time with the number of prompts that are answered since the last call.
        """
        with computing_in(self.threads):
            return answers(self._answering, prompts, multimask=multimask, refine=refine, done=done)

    def provenance(self) -> dict[str, Any]:
        """Return versions, model, raster and options of the answers as a dict that can be written as JSON.

        Examples
        --------
        >>> import numpy as np
        >>> from samgeo.testing import Oracle, encode_ids
        >>> predictor = samgeo.Predictor(encode_ids(np.ones((64, 64), dtype=np.int32)), model=Oracle(64))
        >>> predictor.provenance()["options"]
        {'window': 64, 'overlap': 16, 'min_part': 5, 'min_hole': 5, 'scales': [1]}
        """
        options: dict[str, Any] = {
            "window": self.lattice.window,
            "overlap": self.lattice.overlap,
            "min_part": self.min_part,
            "min_hole": self.min_hole,
            "scales": list(self._levels.scales),
        }
        if self.zoom != 1:
            options["zoom"] = self.zoom
        made = made_with(self.model, self.raster.provenance())
        return made | {"options": options} | describe_axes(self.raster.geobox)

    def _frame(
        self,
        prompts: Prompts,
        table: pd.DataFrame | None,
        multimask: bool | str,
        refine: int,
        also: tuple[str, ...] = (),
        *,
        progress: bool = False,
    ) -> gpd.GeoDataFrame:
        columns = AnswerColumns(len(prompts), self.raster.geobox)
        with progress_bar(len(prompts), "prompt", Path(self.raster.name).name, progress=progress) as bar:
            for numbers in groups(prompts, self.lattice):
                answered = self.answer(prompts.some(numbers), multimask=multimask, refine=refine, done=bar.update)
                columns.add(numbers, answered)
        frame = columns.frame(table, also=also)
        found = {str(scale): columns.scales[scale] for scale in sorted(columns.scales)}
        frame.attrs["samgeo"] = self.provenance() | {"scales": found}
        return frame


def check_how(multimask: bool | str, refine: int) -> None:
    """Raise an `OptionError` if an option of `Predictor.predict` is invalid."""
    if multimask not in (True, False, "auto"):
        raise OptionError(f'multimask is {multimask!r}; give "auto", True or False.')
    if refine < 0:
        raise OptionError(f"refine is {refine}; give 0 or more.")
