"""Towns of two or more dates: what the truth says changed is what the images show, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import shapely

from samgeo.errors import OptionError
from samgeo.synthetic import Dates, Scene, TwoDates, dates, town, two_dates
from samgeo.synthetic.painting.appearance import Appearance
from samgeo.synthetic.painting.canvas import Streams
from samgeo.synthetic.rendering import PlannedTown

SHAPE = (112, 128)


@pytest.fixture(scope="module")
def planned() -> PlannedTown:
    return PlannedTown.of(SHAPE, 4, 0.5)


@pytest.fixture(scope="module")
def whole() -> Scene:
    return town(SHAPE, seed=4, resolution_m=0.5)


@pytest.fixture(scope="module")
def pair() -> TwoDates:
    return two_dates(SHAPE, seed=4, resolution_m=0.5, vanished=0.2, appeared=0.1)


@pytest.fixture(scope="module")
def series() -> Dates:
    return dates(
        SHAPE, 3, seed=4, resolution_m=0.5, births=0.25, deaths=0.2, gaps=0.2, season=0.5, haze=0.3, shift_px=2, absent_cars=0.3
    )


def changed(one: Scene, other: Scene) -> np.ndarray:
    return np.asarray((one.image != other.image).any(2))


def under(planned: PlannedTown, **options: object) -> Scene:
    """The whole town with another appearance of the first date's light."""
    return planned.render(replace(Appearance.first(planned.streams), **options))  # type: ignore[arg-type]


def test_without_one_building_a_town_differs_there_and_in_its_shadow_alone(planned: PlannedTown, whole: Scene) -> None:
    first = Appearance.first(planned.streams)
    towards_sun = np.array([first.sun.x, first.sun.y]) / np.hypot(first.sun.x, first.sun.y)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    for gone in (3, len(planned.ids) // 2):
        building = planned.buildings[gone - 1]
        without = planned.render(first, planned.ids[planned.ids != gone])
        differs = changed(whole, without)
        # The longest shadow of the highest roof, and the sky that the building hides from places beside it, up to 9 m away.
        high = building.wings[0].eave_m + building.wings[0].pitch * max(building.wings[0].half_size) + 1.5
        reach = min(high * np.hypot(first.sun.x, first.sun.y) / first.sun.z, 48)
        thrown = shapely.transform(building.polygon, lambda xy, reach=reach: xy - towards_sun * reach)
        near = shapely.transform(shapely.union(building.polygon, thrown).convex_hull.buffer(11), lambda xy: xy / 0.5)
        assert differs[planned.labels == gone].mean() > 0.9
        assert not differs[~shapely.contains_xy(near, x, y)].any()
        assert not differs.all()


def test_nothing_changes_where_nothing_shall_change(whole: Scene) -> None:
    same = two_dates(SHAPE, seed=4, resolution_m=0.5, vanished=0, appeared=0)
    for scene in (same.before, same.after):
        assert scene.image.tobytes() == whole.image.tobytes()
        assert np.array_equal(scene.labels, whole.labels)
        assert scene.footprints.equals(whole.footprints)
    assert same.truth.kind.tolist() == ["same"] * len(whole.footprints)
    assert same.truth.before.tolist() == same.truth.after.tolist() == same.truth.id.tolist()


def test_the_same_arguments_give_the_same_dates_and_another_seed_others() -> None:
    options = {"seed": 4, "vanished": 0.2, "appeared": 0.3, "light": "other", "absent_cars": 0.5, "shift_px": 0.5}
    one, again = (two_dates((40, 40), **options) for _ in range(2))  # type: ignore[arg-type]
    assert again.before.image.tobytes() == one.before.image.tobytes()
    assert again.after.image.tobytes() == one.after.image.tobytes()
    assert again.truth.equals(one.truth)
    assert not np.array_equal(town((40, 40), seed=5).image, town((40, 40), seed=4).image)


def test_the_truth_of_two_dates_is_that_of_the_scenes(pair: TwoDates, whole: Scene) -> None:
    number = len(whole.footprints)
    kinds = pair.truth.kind.value_counts()
    assert pair.truth.id.tolist() == list(range(1, number + 1))
    assert (kinds["vanished"], kinds["appeared"]) == (round(0.2 * number), round(0.1 * number))
    assert (pair.truth.before == 0).tolist() == (pair.truth.kind == "appeared").tolist()
    assert (pair.truth.after == 0).tolist() == (pair.truth.kind == "vanished").tolist()
    for scene, column in ((pair.before, "before"), (pair.after, "after")):
        shown = pair.truth[pair.truth[column] > 0]
        rows = scene.footprints.set_index("id").loc[shown[column]]
        assert len(rows) == len(scene.footprints)
        assert rows.geometry.geom_equals(shown.geometry, align=False).all()
        assert rows.cover.tolist() == shown.cover.tolist()
        known = np.zeros(number + 1, dtype=int)
        known[shown.id] = shown[column]
        assert np.array_equal(scene.labels, known[whole.labels])


def test_images_of_one_light_differ_at_the_buildings_that_changed(pair: TwoDates, whole: Scene) -> None:
    differs = changed(pair.before, pair.after)
    for row in pair.truth.itertuples():
        if row.kind != "same":
            assert differs[whole.labels == row.id].mean() > 0.9
    assert differs.mean() < 0.7


def test_another_light_comes_from_the_other_side_and_other_noise_is_seen_everywhere(planned: PlannedTown, whole: Scene) -> None:
    for seed in range(5):
        first = Appearance.first(Streams(seed))
        assert (Appearance(first.sun, date=1).under_other_light(Streams(seed)).sun.x > 0) != (first.sun.x > 0)
    lit = planned.render(Appearance(Appearance.first(planned.streams).sun, date=1).under_other_light(planned.streams))
    assert np.array_equal(lit.labels, whole.labels)
    assert np.array_equal(lit.classes, whole.classes)
    assert changed(lit, whole).mean() > 0.9


def test_seasons_colour_plants_and_leave_roofs_alone(planned: PlannedTown, whole: Scene) -> None:
    grass = whole.classes == whole.class_names.index("grass")
    rainy, dry = under(planned, season=-1.0), under(planned, season=1.0)
    roofs = (whole.labels > 0) & ~changed(rainy, whole) & ~changed(dry, whole)
    redness = [np.mean(scene.image[grass] @ (1.0, -1.0, 0.0)) for scene in (rainy, whole, dry)]
    assert redness[0] < redness[1] - 8 < redness[2] - 16
    assert roofs.sum() > 0.5 * (whole.labels > 0).sum()


def test_haze_takes_contrast(planned: PlannedTown, whole: Scene) -> None:
    hazy = under(planned, haze=0.5)
    assert hazy.image.std() == pytest.approx(0.5 * whole.image.std(), rel=0.1)
    assert hazy.image.mean() > whole.image.mean() + 20


def test_a_displaced_image_has_its_objects_elsewhere_but_its_truth_in_place(planned: PlannedTown, whole: Scene) -> None:
    moved = under(planned, shift_px=(4.0, -3.0))
    assert np.array_equal(moved.labels, whole.labels)
    inside = (slice(10, -10), slice(10, -10))
    back = np.roll(moved.image, (3, -4), (0, 1))[inside].astype(float)
    # Two exposures of one scene differ by the noise of the sensor alone, which stays at its pixels.
    assert np.abs(back - whole.image[inside]).mean() < 6
    assert np.abs(moved.image[inside].astype(float) - whole.image[inside]).mean() > 12


def test_cars_come_and_go(planned: PlannedTown, whole: Scene) -> None:
    first, second = (under(planned, date=date, absent_cars=0.5) for date in range(2))
    car = whole.class_names.index("car")
    seen = [scene.classes == car for scene in (whole, first, second)]
    assert not (seen[1] & ~seen[0]).any()
    assert 0.2 < seen[1].sum() / seen[0].sum() < 0.8
    assert (seen[1] ^ seen[2]).sum() > 0.1 * seen[0].sum()
    assert np.array_equal(second.labels, whole.labels)


def test_a_series_keeps_ids_through_births_deaths_and_gaps(series: Dates, whole: Scene) -> None:
    truth, number = series.truth, len(whole.footprints)
    assert len(series.scenes) == len(series.ids) == len(series.shifts_px) == 3
    assert (truth.first_date > 0).sum() == round(0.25 * number)
    assert (truth.last_date < 2).sum() == round(0.2 * number)
    away = truth[truth.gap_date >= 0]
    assert len(away) == round(0.2 * number)
    assert ((away.first_date < away.gap_date) & (away.gap_date < away.last_date)).all()
    for date, (scene, ids) in enumerate(zip(series.scenes, series.ids, strict=True)):
        alive = truth[(truth.first_date <= date) & (date <= truth.last_date) & (truth.gap_date != date)]
        assert ids.tolist() == alive.id.tolist()
        assert scene.footprints.geometry.geom_equals(alive.geometry, align=False).all()
        assert np.array_equal(np.concatenate([[0], ids])[scene.labels], np.where(np.isin(whole.labels, ids), whole.labels, 0))
    assert series.shifts_px[0] == (0, 0)
    assert all(0 < abs(one) <= 2 for shift in series.shifts_px[1:] for one in shift)


def test_gaps_are_taken_from_long_lives_alone() -> None:
    short = dates((96, 96), 2, seed=1, births=0.3, deaths=0.3, gaps=1.0, light="same")
    assert (short.truth.gap_date == -1).all()
    assert not (short.truth.first_date > short.truth.last_date).any()


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (two_dates, {"vanished": 1.2}, "vanished is 1.2; give a share"),
        (two_dates, {"vanished": 0.6, "appeared": 0.6}, "vanished \\+ appeared is 1.2"),
        (two_dates, {"light": "dark"}, "light is 'dark'; give one of same, other"),
        (two_dates, {"season": 2.0}, "season is 2; give a number from -1"),
        (two_dates, {"haze": 1.0}, "haze is 1; give a share from 0 to 0.9"),
        (two_dates, {"shift_px": 100.0}, "at most 32 pixels"),
        (two_dates, {"shift_px": (float("nan"), 0.0)}, "at most 32 pixels"),
        (two_dates, {"shape": (8, 8)}, "at least 16 pixels"),
        (dates, {"count": 1}, "count is 1; give at least 2"),
        (dates, {"gaps": -0.1}, "gaps is -0.1"),
        (dates, {"births": 0.7, "deaths": 0.5}, "births \\+ deaths is 1.2"),
        (dates, {"season": -0.5}, "season is -0.5; give the largest deviation"),
        (dates, {"shift_px": -1.0}, "shift_px is -1"),
        (dates, {"seed": -1}, "seed is -1"),
    ],
)
def test_dates_that_cannot_be_are_refused(function, arguments: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        function(**arguments)
