"""Bring polygons from outside a session, in any CRS, to the raster's CRS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.errors import OptionError, VectorError
from samgeo.geo.coordinates.overlay import in_raster_crs, read_onto, repaired_polygons
from samgeo.geo.coordinates.pixel_coordinates import PIXELS
from samgeo.map.files.export import check_polygons, is_complete
from samgeo.map.state.acceptance import cut_by
from samgeo.map.state.actions import PROMPTS, Propose, Proposed
from samgeo.map.state.values import Annotation, Proposal, Rules, State, label_of
from samgeo.segmentation.masks.vectorize import georeference

if TYPE_CHECKING:
    import geopandas as gpd
    from odc.geo.geobox import GeoBox
    from shapely.geometry.base import BaseGeometry

    from samgeo.types import CRSLike, FeaturesLike

__all__ = ["on_raster", "place_geometry", "read_proposals", "without_known"]

# Two outlines are the same object if they differ by at most this share of the square root of the area.
SAME = 1e-4
GIVEN = "given"


def place_geometry(geometry: shapely.Geometry, geobox: GeoBox, crs: CRSLike = None) -> shapely.Geometry:
    """Bring one polygon, with its edges, to the raster's CRS. Coordinates that are in this CRS already stay exact.

    Parameters
    ----------
    geometry : Polygon or MultiPolygon
    geobox : GeoBox
        The grid of the raster.
    crs : anything that pyproj takes, or "pixels", optional
        The CRS of the polygon; that of the raster by default.

    Raises
    ------
    VectorError
        If the geometry is not a valid polygon.
    OptionError
        If the CRS is unknown, the raster has none, or the polygon lies outside the raster.
    """
    placed = _placed(geometry, geobox, crs)
    if not on_raster([placed], geobox)[0]:
        raise OptionError("the polygon lies outside the raster; check its coordinates and their CRS.")
    return placed


def _placed(geometry: shapely.Geometry, geobox: GeoBox, crs: CRSLike) -> shapely.Geometry:
    if not isinstance(geometry, shapely.Geometry):
        raise VectorError(f"the geometry is a {type(geometry).__name__}; give a shapely polygon.")
    check_polygons([cast("BaseGeometry", geometry)], "what was drawn")
    flat: shapely.Geometry = shapely.force_2d(geometry)
    if isinstance(crs, str) and crs == PIXELS:
        (flat,) = georeference(np.array([flat]), geobox.affine)
        return flat
    placed, lost = in_raster_crs(np.array([flat], dtype=object), geobox, crs)
    if lost.any():
        raise VectorError("a part of the polygon lies outside the domain of the raster's CRS; check the CRS of the polygon.")
    repaired: shapely.Geometry = repaired_polygons(placed, "what was drawn")[0]
    return repaired


def on_raster(geometries: Sequence[shapely.Geometry], geobox: GeoBox) -> NDArray[np.bool_]:
    """Return for each geometry, in the raster's CRS, whether a part of its area lies on the raster."""
    height, width = geobox.shape
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float64)
    (extent,) = georeference(np.array([shapely.Polygon(corners)]), geobox.affine)
    shapely.prepare(extent)
    given = np.array(geometries, dtype=object)
    return np.asarray(shapely.intersects(extent, given) & ~shapely.touches(extent, given), dtype=np.bool_)


def read_proposals(features: FeaturesLike, geobox: GeoBox) -> Propose:
    """Read polygons to accept or reject, with their scores and classes if they have them.

    Polygons outside the raster are left out and counted.

    Raises
    ------
    VectorError
        If they cannot be read, have no CRS where one is needed, are not valid polygons, or all lie outside the raster.
    """
    frame = read_onto(features, geobox, what="the layer of proposals")
    check_polygons(frame.geometry, "the proposals")
    _check_finite(frame.geometry)
    rows = zip(
        shapely.force_2d(frame.geometry.to_numpy()),
        *(frame[name].tolist() if name in frame else [None] * len(frame) for name in ("predicted_iou", "stability_score")),
        frame["class"].tolist() if "class" in frame else [None] * len(frame),
        frame["complete"].tolist() if "complete" in frame else [True] * len(frame),
        frame["model"].tolist() if "model" in frame else [_model_of(features)] * len(frame),
        frame["prompt"].tolist() if "prompt" in frame else [GIVEN] * len(frame),
        strict=True,
    )
    proposals = [
        Proposed(
            geometry,
            _known(iou),
            _known(stability),
            _class_name(class_name),
            is_complete(complete),
            model if isinstance(model, str) else None,
            prompt if prompt in PROMPTS else GIVEN,
        )
        for geometry, iou, stability, class_name, complete, model, prompt in rows
    ]
    inside = on_raster([one.geometry for one in proposals], geobox)
    if proposals and not inside.any():
        where = "its pixels" if frame.crs is None else frame.crs.to_string()
        raise VectorError(
            f"all {len(proposals)} features lie outside the raster; check that they belong to this raster, and that their "
            f"coordinates are in {where}."
        )
    kept = tuple(one for one, is_inside in zip(proposals, inside, strict=True) if is_inside)
    return Propose(kept, outside=len(proposals) - len(kept))


def without_known(proposals: Propose, state: State, rules: Rules) -> Propose:
    """Leave out polygons that exist in a state as an object or a proposal, and count them.

    Two polygons are the same if their outlines differ by less than a ten-thousandth of their size, as after a conversion to
    another CRS and back, and their classes do not differ. A missing class equals every class. A polygon is compared as it is
    given and as it would be cleaned. If overlaps are cut, it exists also if an object of its class is a part of it, and
    accepted objects leave nothing of it.
    """
    given = proposals.proposals
    if not given or not (state.objects or state.proposals):
        return proposals
    outlines = [one.geometry for one in given]
    waiting = [replace(one, geometry=one.geometry if one.raw is None else one.raw) for one in state.proposals]
    known = _same(given, outlines, [*state.objects, *waiting])
    if state.clean:
        outlines = rules.clean(outlines, state.clean)
        known |= _same(given, outlines, state.objects)
    if state.overlap == "cut":
        left = [number for number in range(len(given)) if number not in known]
        cut_away = _cut_before([given[one] for one in left], [outlines[one] for one in left], state, rules)
        known |= {left[number] for number in cut_away}
    new = tuple(one for number, one in enumerate(given) if number not in known)
    return replace(proposals, proposals=new, already=len(known))


def _same(given: Sequence[Proposed], outlines: Sequence[shapely.Geometry], others: Sequence[Annotation | Proposal]) -> set[int]:
    """Return the numbers of the polygons that are among others, with outlines in place of their own."""
    known: set[int] = set()
    if not others:
        return known
    there, drawn = (np.array(some, dtype=object) for some in ([one.geometry for one in others], outlines))
    there_bounds, bounds = shapely.bounds(there), shapely.bounds(drawn)
    tree = shapely.STRtree([shapely.Point(*middle) for middle in (there_bounds[:, :2] + there_bounds[:, 2:]) / 2])
    tolerances = SAME * np.sqrt(shapely.area(drawn))
    middles = shapely.points((bounds[:, :2] + bounds[:, 2:]) / 2)
    for number, other in tree.query(middles, predicate="dwithin", distance=tolerances).T.tolist():
        tolerance = float(tolerances[number])
        is_near = np.abs(there_bounds[other] - bounds[number]).max() <= tolerance
        if is_near and _may_be(given[number], others[other]) and _same_outline(there[other], outlines[number], tolerance):
            known.add(number)
    return known


def _cut_before(given: Sequence[Proposed], outlines: Sequence[shapely.Geometry], state: State, rules: Rules) -> Iterator[int]:
    """Yield the numbers of polygons that were accepted before, and were cut by other objects then."""
    if not given or not state.objects:
        return
    tree = shapely.STRtree([one.geometry for one in state.objects])
    least = rules.min_part * rules.pixel_area
    for number, outline in enumerate(outlines):
        near = [state.objects[other] for other in tree.query(outline, predicate="intersects").tolist()]
        tolerance = SAME * np.sqrt(shapely.area(outline)) * shapely.length(outline)
        remains = any(
            _may_be(given[number], one) and shapely.area(shapely.difference(one.geometry, outline)) <= tolerance for one in near
        )
        if remains and cut_by(outline, [one.geometry for one in near], least) is None:
            yield number


def _may_be(one: Proposed, other: Annotation | Proposal) -> bool:
    """Whether the classes do not differ."""
    return other.class_name is None or one.class_name in (None, other.class_name)


def _same_outline(one: shapely.Geometry, other: shapely.Geometry, tolerance: float) -> bool:
    if shapely.equals_exact(one, other):
        return True
    apart = shapely.area(shapely.symmetric_difference(one, other))
    return bool(apart <= tolerance * shapely.length(other))


def _class_name(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if value is not None and value == value:  # noqa: PLR0124 - a missing value is NaN, which differs from itself
        raise VectorError(f"the class of a proposal is {value!r}; give the names of classes.")
    return None


def _model_of(features: FeaturesLike) -> str | None:
    """Return the name and the digest of the model of a result of `samgeo.segment`, `samgeo.find` or a predictor."""
    made = getattr(features, "attrs", {}).get("samgeo")
    model = made.get("model") if isinstance(made, dict) else None
    if not isinstance(model, dict) or not {"name", "digest"} <= model.keys():
        return None
    return label_of(str(model["name"]), str(model["digest"]))


def _known(score: float | None) -> float | None:
    return None if score is None or np.isnan(score) else float(score)


def _check_finite(geometries: gpd.GeoSeries) -> None:
    if not np.isfinite(shapely.bounds(np.asarray(geometries, dtype=object))).all():
        raise VectorError("a corner of a polygon lies outside the domain of the raster's CRS; check the CRS of the polygon.")
