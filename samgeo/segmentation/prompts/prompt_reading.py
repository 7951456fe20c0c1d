"""Conversion of prompts from features and arrays in any CRS to raster pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from samgeo.errors import OptionError
from samgeo.geo.coordinates.prompt_geometry import read_boxes, read_points, read_polygons
from samgeo.geo.grid import Lattice
from samgeo.segmentation.prompts.assignment import Prompts, SoftMask

if TYPE_CHECKING:
    import pandas as pd
    from odc.geo.geobox import GeoBox

    from samgeo.types import BoxesLike, CRSLike, FeaturesLike, LabelsLike, MasksLike, PointsLike

__all__ = ["read_prompts"]


def read_prompts(
    geobox: GeoBox,
    lattices: Mapping[int, Lattice],
    *,
    points: PointsLike = None,
    labels: LabelsLike = None,
    boxes: BoxesLike = None,
    masks: MasksLike = None,
    polygons: FeaturesLike | None = None,
    crs: CRSLike = None,
) -> tuple[Prompts, pd.DataFrame | None]:
    """Read prompts of every kind, and convert them to raster pixels.

    Parameters
    ----------
    geobox : GeoBox
        Grid of the raster.
    lattices : dict of int to Lattice
        The windows, by level, to which earlier answers belong.
    points, labels, boxes, masks, polygons, crs
        As in `Predictor.predict`.

    Returns
    -------
    prompts : Prompts
        The prompts in raster pixels.
    table : DataFrame or None
        The other columns of the first kind of prompts that was given as features.

    Raises
    ------
    OptionError
        If there is no prompt, or the kinds of prompts have different lengths.
    VectorError
        If features cannot be read.
    """
    where: dict[str, Any] = {"geobox": geobox, "crs": crs}
    parts: dict[str, Any] = {}
    tables = []
    if labels is not None and points is None:
        raise OptionError("labels need points; give both.")
    if masks is not None and polygons is not None:
        raise OptionError("masks and polygons cannot be combined; give only one of them.")
    if points is not None:
        parts["points"], parts["labels"], table = read_points(points, labels, **where)
        tables.append(table)
    if boxes is not None:
        parts["boxes"], table = read_boxes(boxes, **where)
        tables.append(table)
    if _are_earlier(masks):
        parts["earlier"] = tuple(masks)
    elif masks is not None or polygons is not None:
        parts["shapes"], table = read_polygons(masks if polygons is None else polygons, **where)
        tables.append(table)
    counts = {name: len(part) for name, part in parts.items() if name != "labels"}
    if len(set(counts.values())) != 1:
        raise OptionError(
            "there is no prompt; give points, boxes, masks or polygons."
            if not counts
            else f"the numbers of prompts differ: {counts}; give as many of each, because row i of each belongs to prompt i."
        )
    count = next(iter(counts.values()))
    _check_earlier(parts.get("earlier", ()), lattices)
    prompts = Prompts(
        points=parts.get("points", np.empty((count, 0, 2))),
        labels=parts.get("labels", np.empty((count, 0), dtype=np.int64)),
        boxes=parts.get("boxes", np.full((count, 4), np.nan)),
        shapes=parts.get("shapes", np.full(count, None)),
        outlined=polygons is not None,
        earlier=parts.get("earlier", (None,) * count),
    )
    return prompts, next((table for table in tables if table is not None), None)


def _check_earlier(earlier: Sequence[SoftMask | None], lattices: Mapping[int, Lattice]) -> None:
    def is_there(one: SoftMask) -> bool:
        lattice = lattices.get(one.level)
        return lattice is not None and 0 <= one.window[0] < lattice.rows and 0 <= one.window[1] < lattice.columns

    for one in earlier:
        if one is not None and not is_there(one):
            raise OptionError(
                f"a mask belongs to window {one.window}, which this predictor does not have; give masks of its own answers."
            )


def _are_earlier(masks: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(masks, list | tuple) and any(isinstance(one, SoftMask) for one in masks)
