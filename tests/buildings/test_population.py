"""The allocation of people to buildings conserves their total number."""

import os
from itertools import pairwise
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from samgeo.buildings import allocate_population
from samgeo.errors import OptionError, RasterError, SamgeoError, VectorError

CRS = "EPSG:32645"
X, Y = 500_000, 3_000_000


def squares(*boxes, crs=CRS, **columns):
    shapes = [shapely.box(X + x0, Y + y0, X + x1, Y + y1) for x0, y0, x1, y1 in boxes]
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=crs)


UNITS = squares((0, 0, 100, 100), (100, 0, 200, 100), (0, 100, 200, 200), population=[90, 40, 7])


def test_people_go_by_area_and_across_borders_by_share():
    buildings = squares((10, 10, 20, 20), (30, 10, 50, 20), (90, 50, 120, 60))
    result = allocate_population(UNITS, buildings)
    # Unit 0 has 100 + 200 + a third of 300 square metres of buildings, unit 1 the other 200 of the third building.
    np.testing.assert_allclose(result.buildings.population, [22.5, 45, 22.5 + 40])
    assert list(result.units.buildings) == [3, 1, 0]
    assert list(result.units.unallocated) == [0, 0, 7]
    assert list(result.without_buildings.population) == [7]
    assert (result.allocated, result.unallocated) == (130, 7)


def test_weights_may_be_volumes_or_any_column():
    buildings = squares((10, 10, 20, 20), (30, 10, 40, 20), height_m=[3.0, 6.0], flats=[0, 5])
    by_volume = allocate_population(UNITS, buildings, weight="volume").buildings.population
    np.testing.assert_allclose(by_volume, [30, 60])
    assert list(allocate_population(UNITS, buildings, weight="flats").buildings.population) == [0, 90]
    empty = allocate_population(UNITS, buildings.assign(flats=0), weight="flats")
    assert empty.unallocated == 137
    assert list(empty.units.buildings) == [2, 0, 0]


def test_what_lies_outside_all_units_gets_nobody_and_keeps_its_row():
    buildings = squares((10, 10, 20, 20), (900, 900, 910, 910), (-10, 30, 10, 40))
    result = allocate_population(UNITS, buildings).buildings
    np.testing.assert_allclose(result.population, [45, 0, 45])


def test_the_crs_does_not_matter():
    buildings = squares((10, 10, 20, 20), (30, 10, 50, 20), (90, 50, 120, 60))
    wanted = allocate_population(UNITS, buildings).buildings.population
    for crs in (4326, 3857):
        result = allocate_population(UNITS.to_crs(crs), buildings.to_crs(crs))
        np.testing.assert_allclose(result.buildings.population, wanted, rtol=1e-4)
        assert result.buildings.crs == crs


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), fraction=st.booleans())
def test_totals_are_conserved_exactly_in_whole_people(seed, fraction):
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.uniform(0, 300, 4))
    people = rng.integers(0, 50, 5) + (rng.uniform(0, 1, 5) if fraction else 0)
    edges = [0, *cuts, 300]
    units = squares(*[(low, 0, high, 100) for low, high in pairwise(edges)], population=people)
    low = rng.uniform(-20, 300, (12, 2)) * (1, 0.3)
    buildings = squares(*np.concatenate([low, low + rng.uniform(1, 60, (12, 2))], axis=1))
    plain = allocate_population(units, buildings)
    assert plain.buildings.population.sum() + plain.unallocated == pytest.approx(people.sum())
    assert plain.allocated + plain.unallocated == pytest.approx(people.sum())
    whole = allocate_population(units, buildings, integers=True)
    assert whole.buildings.population.dtype == np.int64
    assert whole.buildings.population.sum() == whole.allocated
    assert whole.buildings.population.sum() + whole.unallocated == round(people.sum())
    # Rounding changes each unit once, and then each part of a building in a unit once.
    per_unit = np.abs(whole.units.allocated + whole.units.unallocated - people)
    assert (per_unit < 1).all()
    pieces = np.array(
        [(shapely.area(shapely.intersection(one, units.geometry.to_numpy())) > 0).sum() for one in buildings.geometry]
    )
    assert (np.abs(whole.buildings.population - plain.buildings.population) <= 2 * pieces).all()


def grid(path, counts, nodata=-1.0, crs=CRS, dtype="float32"):
    profile = {
        "driver": "GTiff",
        "height": counts.shape[0],
        "width": counts.shape[1],
        "count": 1,
        "dtype": dtype,
        "nodata": nodata,
    }
    transform = rasterio.Affine(100, 0, X, 0, -100, Y + 200)
    with rasterio.open(path, "w", **profile, crs=crs, transform=transform) as dataset:
        dataset.write(counts.astype(dtype), 1)
    return path


def test_the_cells_of_a_raster_are_units(tmp_path):
    path = grid(tmp_path / "count.tif", np.array([[3.0, 0.0], [10.0, -1.0]]))
    buildings = squares((10, 10, 20, 20), (95, 50, 105, 60))
    result = allocate_population(path, buildings)
    # The left half of the second building, 50 of its 100 square metres, is in the left cell.
    np.testing.assert_allclose(result.buildings.population, [10 * 2 / 3, 10 / 3])
    assert sorted(result.units.population) == [3, 10]
    assert result.unallocated == 3


@pytest.mark.parametrize(
    ("census", "buildings", "options", "message"),
    [
        (UNITS.assign(population=[1, -1, 0]), UNITS, {}, "row 1"),
        (UNITS.assign(population=[1, np.nan, 0]), UNITS, {}, "row 1"),
        (UNITS.drop(columns="population"), UNITS, {}, "no column 'population'"),
        (UNITS, UNITS, {"weight": "volume"}, "no column 'height_m'"),
        (UNITS, UNITS.assign(rooms="many"), {"weight": "rooms"}, "does not hold numbers"),
        (UNITS, UNITS.set_crs(None, allow_override=True), {}, "buildings have no CRS"),
        ("nowhere.tif", UNITS, {}, "nowhere.tif"),
    ],
)
def test_what_cannot_be_shared_is_refused(census, buildings, options, message):
    with pytest.raises(SamgeoError, match=message) as raised:
        allocate_population(census, buildings, **options)
    assert isinstance(raised.value, OptionError | VectorError)


def test_a_raster_without_crs_or_with_untagged_nodata_is_refused(tmp_path):
    with pytest.raises(RasterError, match="no CRS"):
        allocate_population(grid(tmp_path / "plain.tif", np.ones((2, 2)), crs=None), UNITS)
    with pytest.raises(OptionError, match="tag"):
        allocate_population(grid(tmp_path / "untagged.tif", np.full((2, 2), -9.0)), UNITS)


def test_without_buildings_everybody_is_said():
    result = allocate_population(UNITS, squares())
    assert result.unallocated == 137
    assert len(result.buildings) == 0


def test_sao_miguel():
    folder = Path(os.environ.get("SAMGEO_DATA", "")) / "population-sao-miguel"
    if not folder.is_dir():
        pytest.skip("needs population-sao-miguel: SAMGEO_DATA is not set to its folder")
    count = folder / "gpw_v411_2020_count_2020.tif"
    with rasterio.open(count) as dataset:
        total = float(dataset.read(1, masked=True).astype(np.float64).sum())
    towns = gpd.read_file(folder / "concelhos.gpkg")
    result = allocate_population(count, towns)
    assert result.buildings.population.sum() + result.unallocated == pytest.approx(total, rel=1e-9)
    # The island had 133,000 people in 2021; the projection of GPWv4 is similar.
    assert 120_000 < result.allocated < 150_000
    assert result.unallocated < 0.02 * total
    whole = allocate_population(count, towns, integers=True)
    assert whole.buildings.population.sum() + whole.unallocated == round(total)
    # There are six complete towns, and the largest is the capital.
    assert len(towns) == 6
    assert result.buildings.population.max() > 0.45 * result.allocated
    # With the towns as the census and the cells as buildings, the people of the towns are conserved.
    back = allocate_population(result.buildings, result.units[["geometry"]], integers=True)
    assert back.buildings.population.sum() == round(float(result.buildings.population.sum()))
