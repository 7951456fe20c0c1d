"""One generated town at two or more dates, with the exact truth about what changed between them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.synthetic.painting.appearance import Appearance
from samgeo.synthetic.rendering import PlannedTown
from samgeo.synthetic.scene import Scene

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = ["Dates", "TwoDates", "dates", "two_dates"]

_LIGHTS = ("same", "other")
_MAX_SHIFT_PX = 32.0


@dataclass(frozen=True, slots=True, eq=False)
class TwoDates:
    """Two images of one town and the truth about its buildings.

    Attributes
    ----------
    before, after : Scene
        Both have the same grid. The ids in ``labels`` and ``footprints`` of a scene are those of its own date.
    truth : GeoDataFrame
        One row for each building of both dates: ``id``, from 1; ``kind``, which is "same", "vanished" (at the first date only)
        or "appeared" (at the second date only); ``before`` and ``after``, its ids in the two scenes, 0 where it is absent;
        ``roof``, ``cover``, ``height_m``; and the polygon of its roof, clipped to the frame.
    """

    before: Scene
    after: Scene
    truth: GeoDataFrame


@dataclass(frozen=True, slots=True, eq=False)
class Dates:
    """Images of one town at several dates and the truth about its buildings.

    Attributes
    ----------
    scenes : tuple of Scene
        All have the same grid. The ids in ``labels`` and ``footprints`` of a scene are those of its own date.
    ids : tuple of ndarray of int32
        For each date, the id in ``truth`` of each row of the scene's ``footprints``.
    truth : GeoDataFrame
        One row for each building of all dates: ``id``, from 1; ``first_date`` and ``last_date``, the first and the last date
        that shows it, counted from 0; ``gap_date``, a date between them at which it is absent, or -1; ``roof``, ``cover``,
        ``height_m``; and the polygon of its roof, clipped to the frame.
    shifts_px : tuple of (float, float)
        Displacement of each image to the right and down, in pixels.
    """

    scenes: tuple[Scene, ...]
    ids: tuple[NDArray[np.int32], ...]
    truth: GeoDataFrame
    shifts_px: tuple[tuple[float, float], ...]


@check_types
def two_dates(
    shape: tuple[int, int] = (512, 512),
    *,
    seed: int = 0,
    resolution_m: float = 0.3,
    vanished: float = 0.15,
    appeared: float = 0.15,
    light: str = "same",
    season: float = 0.0,
    haze: float = 0.0,
    shift_px: float | tuple[float, float] = 0.0,
    absent_cars: float = 0.0,
) -> TwoDates:
    """Generate two images of a town of which some buildings vanish and others appear, together with the truth.

    Each object has its own random numbers. With the same light, season and position, the images are therefore equal except at
    the buildings that changed and in their shadows, and equal to the byte if nothing changed. The same arguments give the same
    images.

    Parameters
    ----------
    shape : (int, int), default (512, 512)
        Height and width in pixels.
    seed : int, default 0
        Seed of the town, which is that of `samgeo.synthetic.town` without the buildings that are absent.
    resolution_m : float, default 0.3
        Side of a pixel on the ground in metres, from 0.05 to 2.
    vanished, appeared : float, default 0.15
        Shares of the buildings of both dates that only the first date shows, and that only the second date shows. Their sum is
        at most 1.
    light : str, default "same"
        "same", or "other": at the second date the sun has another height and shines from the other side, and the brightness,
        the colours and the noise of the image differ.
    season : float, default 0
        Season of the second date: -1 is the end of the rainy season, 1 the end of the dry season, 0 the season of the first.
    haze : float, default 0
        Share of the light that haze replaces at the second date, from 0 to 0.9.
    shift_px : float or (float, float), default 0
        Displacement of the second image against its georeference, to the right and down, in pixels; one number is both. The
        truth stays where the objects are on the ground. Pixels that come in from outside repeat the edge.
    absent_cars : float, default 0
        Share of the cars that are absent at a date, drawn anew for each date.

    Returns
    -------
    TwoDates

    Raises
    ------
    OptionError
        If an argument is out of range.

    Examples
    --------
    >>> from samgeo.synthetic import two_dates
    >>> pair = two_dates((112, 128), seed=4, resolution_m=0.5, vanished=0.2, appeared=0.1)
    >>> sorted(pair.truth.kind.unique())
    ['appeared', 'same', 'vanished']
    >>> bool((pair.before.image != pair.after.image).any())
    True
    """
    _check_shares(vanished=vanished, appeared=appeared, absent_cars=absent_cars)
    if vanished + appeared > 1:
        raise OptionError(f"vanished + appeared is {vanished + appeared:g}; give shares with a sum of at most 1.")
    moves = shift_px if isinstance(shift_px, tuple) else (shift_px, shift_px)
    _check_appearance(light, season, haze, moves)
    town = PlannedTown.of(shape, seed, resolution_m)
    order = town.streams.of("changes", 0).permutation(town.ids)
    gone, new = round(vanished * len(order)), round(appeared * len(order))
    new = min(new, len(order) - gone)
    kinds = np.full(len(order) + 1, "same", dtype=object)
    kinds[order[:gone]], kinds[order[gone : gone + new]] = "vanished", "appeared"
    first = replace(Appearance.first(town.streams), absent_cars=absent_cars)
    second = replace(first, date=1, season=season, haze=haze, shift_px=moves)
    if light == "other":
        second = second.under_other_light(town.streams)
    truth = town.table(town.ids)
    truth.insert(1, "kind", kinds[1:].astype(str).astype(object))
    shown = [town.ids[kinds[1:] != absent] for absent in ("appeared", "vanished")]
    for place, (name, ids) in enumerate(zip(("before", "after"), shown, strict=True), start=2):
        truth.insert(place, name, _rows(ids, len(order)))
    return TwoDates(town.render(first, shown[0]), town.render(second, shown[1]), truth)


@check_types
def dates(
    shape: tuple[int, int] = (512, 512),
    count: int = 4,
    *,
    seed: int = 0,
    resolution_m: float = 0.3,
    births: float = 0.15,
    deaths: float = 0.15,
    gaps: float = 0.05,
    light: str = "other",
    season: float = 0.0,
    haze: float = 0.0,
    shift_px: float = 0.0,
    absent_cars: float = 0.0,
) -> Dates:
    """Generate images of a town at several dates, while buildings are built and demolished, together with the truth.

    Parameters
    ----------
    shape : (int, int), default (512, 512)
        Height and width in pixels.
    count : int, default 4
        Number of dates, at least 2.
    seed : int, default 0
        Seed of the town, which is that of `samgeo.synthetic.town` without the buildings that are absent.
    resolution_m : float, default 0.3
        Side of a pixel on the ground in metres, from 0.05 to 2.
    births, deaths : float, default 0.15
        Shares of all buildings that appear after the first date, and that vanish before the last date. Their sum is at most 1.
    gaps : float, default 0.05
        Share of all buildings that one date between their first and their last does not show. They are taken from the buildings
        that at least three dates show.
    light : str, default "other"
        "other": each date after the first has its own sun, brightness, colours and noise. "same": all have those of the first.
    season : float, default 0
        Largest deviation of the season from that of the first date, from 0 to 1; each further date draws its own in both
        directions: -1 is the end of the rainy season, 1 the end of the dry season.
    haze : float, default 0
        Largest share of the light that haze replaces, from 0 to 0.9; each date after the first draws its own.
    shift_px : float, default 0
        Largest displacement of an image against its georeference to each side, in pixels; each date after the first draws its
        own. The truth stays where the objects are on the ground. Pixels that come in from outside repeat the edge.
    absent_cars : float, default 0
        Share of the cars that are absent at a date, drawn anew for each date.

    Returns
    -------
    Dates

    Raises
    ------
    OptionError
        If an argument is out of range.

    Examples
    --------
    >>> from samgeo.synthetic import dates
    >>> series = dates((112, 128), 3, seed=4, resolution_m=0.5, births=0.2, deaths=0.2)
    >>> len(series.scenes), [len(ids) == len(scene.footprints) for scene, ids in zip(series.scenes, series.ids)]
    (3, [True, True, True])
    >>> bool((series.truth.first_date > 0).any() and (series.truth.last_date < 2).any())
    True
    """
    if count < 2:
        raise OptionError(f"count is {count}; give at least 2 dates.")
    _check_shares(births=births, deaths=deaths, gaps=gaps, absent_cars=absent_cars)
    if births + deaths > 1:
        raise OptionError(f"births + deaths is {births + deaths:g}; give shares with a sum of at most 1.")
    if season < 0:
        raise OptionError(f"season is {season:g}; give the largest deviation, from 0 to 1.")
    if shift_px < 0:
        raise OptionError(f"shift_px is {shift_px:g}; give the largest displacement, which is 0 or more.")
    _check_appearance(light, season, haze, (shift_px, shift_px))
    town = PlannedTown.of(shape, seed, resolution_m)
    first, last, gap = _lives(town, count, (births, deaths, gaps))
    truth = town.table(town.ids)
    for place, (name, values) in enumerate((("first_date", first), ("last_date", last), ("gap_date", gap)), start=1):
        truth.insert(place, name, values)
    looks = [replace(Appearance.first(town.streams), absent_cars=absent_cars)]
    for date in range(1, count):
        rng = town.streams.of("position", date)
        moves = tuple(float(one) * shift_px for one in rng.uniform(-1, 1, 2))
        look = replace(
            looks[0],
            date=date,
            season=season * float(rng.uniform(-1, 1)),
            haze=haze * float(rng.random()),
            shift_px=(moves[0], moves[1]),
        )
        looks.append(look.under_other_light(town.streams) if light == "other" else look)
    ids = tuple(town.ids[(first <= date) & (date <= last) & (gap != date)] for date in range(count))
    scenes = tuple(town.render(look, shown) for look, shown in zip(looks, ids, strict=True))
    return Dates(scenes, ids, truth, tuple(look.shift_px for look in looks))


def _lives(
    town: PlannedTown, count: int, shares: tuple[float, float, float]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Draw the first date, the last date and the date of absence (or -1) of each building, from the shares of the three."""
    rng = town.streams.of("changes", 1)
    number = len(town.ids)
    born, died, away = (round(share * number) for share in shares)
    died = min(died, number - born)
    order = rng.permutation(number)
    first, last = np.zeros(number, dtype=np.int32), np.full(number, count - 1, dtype=np.int32)
    gap = np.full(number, -1, dtype=np.int32)
    first[order[:born]] = rng.integers(1, count, born)
    last[order[born : born + died]] = rng.integers(0, count - 1, died)
    long = np.flatnonzero(last - first >= 2)
    chosen = rng.permutation(long)[:away]
    gap[chosen] = rng.integers(first[chosen] + 1, last[chosen])
    return first, last, gap


def _rows(ids: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """Return for each of ``count`` buildings its id in a scene that shows buildings of these ids, or 0."""
    rows = np.zeros(count, dtype=np.int32)
    rows[ids - 1] = np.arange(1, len(ids) + 1)
    return rows


def _check_shares(**shares: float) -> None:
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise OptionError(f"{name} is {share:g}; give a share from 0 to 1.")


def _check_appearance(light: str, season: float, haze: float, shift_px: tuple[float, float]) -> None:
    if light not in _LIGHTS:
        raise OptionError(f"light is {light!r}; give one of {', '.join(_LIGHTS)}.")
    if not -1 <= season <= 1:
        raise OptionError(f"season is {season:g}; give a number from -1 (rainy) to 1 (dry).")
    if not 0 <= haze <= 0.9:
        raise OptionError(f"haze is {haze:g}; give a share from 0 to 0.9.")
    if not all(abs(one) <= _MAX_SHIFT_PX for one in shift_px):
        raise OptionError(f"shift_px is {shift_px}; give at most {_MAX_SHIFT_PX:g} pixels to each side.")
