"""The examples in a session: accepted objects of one class, and rejected proposals that show what the class is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd

from samgeo.errors import OptionError
from samgeo.segmentation.tables import without

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from samgeo.map.state.reducer import Annotation, Proposal, State

__all__ = ["class_of_examples", "examples_of", "without_seen"]

# The newest accepted and the newest rejected shapes are the examples. More would hardly change the result, and the windows of
# older ones may have to be encoded again.
MOST_EXAMPLES = 50


def class_of_examples(state: State, classes: tuple[str, ...], class_name: str | None = None) -> str:
    """Return the class whose objects are examples: the given one, that of the selected object, or that of the newest object.

    Raises
    ------
    OptionError
        If the class is not one of the session, or no object of it is accepted.
    """
    if class_name is not None and class_name not in classes:
        raise OptionError(f"{class_name!r} is not a class of the session; choose one of {', '.join(classes)}.")
    if class_name is None and state.objects:
        class_name = (state.objects[-1] if state.selected is None else state.object(state.selected)).class_name
    if class_name is None or all(one.class_name != class_name for one in state.objects):
        which = "" if class_name is None else f" of the class {class_name!r}"
        raise OptionError(f"no object{which} is accepted, and a search needs examples; accept one or more objects first.")
    return class_name


def examples_of(state: State, class_name: str, geobox: GeoBox, *, rejected: bool) -> gpd.GeoDataFrame:
    """Return the accepted objects of a class with label 1, and rejected proposals of the class or without a class with label 0.

    Of each, the newest 50 are returned. A rejected proposal that is an accepted object of the class meanwhile, with an IoU of
    0.5 or more, is left out.
    """
    crs = None if geobox.crs is None else geobox.crs.proj
    accepted = [one.geometry for one in state.objects if one.class_name == class_name]
    refused = [one.geometry for one in state.rejected if one.class_name in (None, class_name)] if rejected else []
    left = without(gpd.GeoDataFrame(geometry=refused, crs=crs), accepted).geometry.tolist()[-MOST_EXAMPLES:]
    accepted = accepted[-MOST_EXAMPLES:]
    labels = [1] * len(accepted) + [0] * len(left)
    return gpd.GeoDataFrame({"label": labels}, geometry=[*accepted, *left], crs=crs)


def without_seen(found: gpd.GeoDataFrame, state: State) -> gpd.GeoDataFrame:
    """Leave out what is accepted, proposed or rejected already, with an IoU of 0.5 or more."""
    seen: list[Annotation | Proposal] = [*state.objects, *state.proposals, *state.rejected]
    return without(found, [one.geometry for one in seen])
