"""Generation of a town of one date."""

from __future__ import annotations

from samgeo.arguments import check_types
from samgeo.synthetic.painting.appearance import Appearance
from samgeo.synthetic.rendering import PlannedTown
from samgeo.synthetic.scene import Scene

__all__ = ["town"]


@check_types
def town(shape: tuple[int, int] = (1024, 1024), seed: int = 0, *, resolution_m: float = 0.3) -> Scene:
    """Generate an overhead image of a town together with its truth.

    Curved streets divide the land into blocks of detached houses, terraces, closed courts, flats, halls and parks. There are
    fields where the town ends, and perhaps a river. The sun lights each roof plane by its slope, and everything that has a
    height casts a shadow. The same arguments give the same scene.

    Parameters
    ----------
    shape : (int, int), default (1024, 1024)
        Height and width in pixels.
    seed : int, default 0
        Seed of the town. Different seeds give different towns.
    resolution_m : float, default 0.3
        Side of a pixel on the ground in metres, from 0.05 to 2.

    Returns
    -------
    Scene
        In EPSG:32734 (UTM zone 34 south).

    Raises
    ------
    OptionError
        If the shape, the seed or the resolution is out of range.

    Examples
    --------
    >>> from samgeo.synthetic import town
    >>> scene = town((128, 128), seed=1)
    >>> scene.image.shape, len(scene.footprints) > 0
    ((128, 128, 3), True)
    """
    planned = PlannedTown.of(shape, seed, resolution_m)
    return planned.render(Appearance.first(planned.streams))
