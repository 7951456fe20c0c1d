"""Where an array lies: its affine agrees with every coordinate that it carries, and no CRS is lost without a word."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import odc.geo.xr  # noqa: F401
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from samgeo.errors import RasterError
from samgeo.geo.raster.raster import Raster
from samgeo.testing.rasters import write_raster

pytestmark = pytest.mark.filterwarnings("ignore:Use `@`:PendingDeprecationWarning")  # odc-geo's own, in wrap_xr

NORTH_UP = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
ROTATED = Affine.translation(500_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5)
PIXELS = np.zeros((30, 40), np.uint8)


def placed(affine: Affine = NORTH_UP, crs: str | None = "EPSG:32633") -> xr.DataArray:
    return wrap_xr(PIXELS, GeoBox(PIXELS.shape, affine, crs))


def planes(affine: Affine, names: tuple[str, str] = ("xc", "yc"), crs: str | None = "EPSG:32633") -> xr.DataArray:
    """An array as rioxarray reads a rotated raster: the attribute GeoTransform, and x and y of every pixel."""
    rows, columns = np.mgrid[:30, :40] + 0.5
    x, y = affine @ (columns, rows)
    array = xr.DataArray(PIXELS, dims=("y", "x"), coords={names[0]: (("y", "x"), x), names[1]: (("y", "x"), y)})
    if crs is not None:
        array = array.odc.assign_crs(crs)
        a, b, c, d, e, f = affine[:6]
        array.spatial_ref.attrs["GeoTransform"] = " ".join(map(repr, (c, a, b, f, d, e)))
    return array


slices = st.builds(
    lambda start, length, step: slice(start, start + length * step, step),
    st.integers(0, 9),
    st.integers(2, 10),
    st.integers(1, 2),
)


@settings(deadline=None, max_examples=40)
@given(rows=slices, columns=slices)
@pytest.mark.parametrize(
    ("make", "affine"),
    [(placed, NORTH_UP), (placed, ROTATED), (planes, NORTH_UP), (planes, ROTATED)],
    ids=["placed, north up", "placed, rotated", "planes, north up", "planes, rotated"],
)
def test_a_part_of_an_array_lies_where_its_pixels_do(
    make: Callable[[Affine], xr.DataArray], affine: Affine, rows: slice, columns: slice
) -> None:
    box = Raster.open(make(affine)[rows, columns]).geobox
    assert box.crs == "EPSG:32633"
    for row, column in ((0, 0), (1, 1)):
        own = affine @ (columns.start + column * columns.step + 0.5, rows.start + row * rows.step + 0.5)
        assert box.affine @ (column + 0.5, row + 0.5) == pytest.approx(own, abs=1e-6)


@pytest.mark.parametrize("make", [placed, planes])
def test_a_single_row_or_column_keeps_the_pixels_of_its_geotransform(make: Callable[[Affine], xr.DataArray]) -> None:
    assert Raster.open(make(NORTH_UP)[7:8]).geobox.affine.almost_equals(NORTH_UP @ Affine.translation(0, 7))
    assert Raster.open(make(NORTH_UP)[:, 9:10]).geobox.affine.almost_equals(NORTH_UP @ Affine.translation(9, 0))


def test_coordinates_in_single_precision_are_even_as_far_as_it_goes() -> None:
    x, y = (np.linspace(start, start + 3599 * 0.1, 3600).astype(np.float32) for start in (-179.95, -80.0))
    array = xr.DataArray(np.broadcast_to(np.uint8(0), (3600, 3600)), dims=("lat", "lon"), coords={"lat": y, "lon": x})
    affine = Raster.open(array.odc.assign_crs("EPSG:4326"), check=False).geobox.affine
    assert affine @ (3600, 0) == pytest.approx((180.0, -80.05), abs=1e-3)


LINES = {name: placed()[name].drop_vars("spatial_ref").drop_attrs() for name in ("x", "y")}
LAT, LON = np.meshgrid(48 + 1e-5 * np.arange(30), 14 + 1e-5 * np.arange(40), indexing="ij")


def without_transform(array: xr.DataArray) -> xr.DataArray:
    array.spatial_ref.attrs.pop("GeoTransform", None)
    return array


def with_reference(**attributes: str) -> xr.DataArray:
    array = placed()
    array.spatial_ref.attrs.clear()
    array.spatial_ref.attrs.update(attributes)
    return array


def swath(lat: np.ndarray, crs: str | None = None, dims: tuple[str, str] = ("y", "x"), **attributes: str) -> xr.DataArray:
    array = xr.DataArray(PIXELS, dims=dims, coords={"lat": (dims, lat), "lon": (dims, LON)})
    return array if crs is None else array.odc.assign_crs(crs)


REFUSED: dict[str, tuple[Callable[[], xr.DataArray], str]] = {
    "unevenly spaced": (lambda: placed()[:, [0, 1, 2, 5, 9]], "unevenly spaced"),
    "repeated": (lambda: placed()[:, [3, 3, 3]], "not those of a raster|unevenly"),
    "rotated with gaps": (lambda: placed(ROTATED)[:, [0, 1, 5]], "unevenly spaced"),
    "rotated with gaps in planes": (lambda: planes(ROTATED)[:, [0, 1, 5]], "curvilinear"),
    "Gaussian latitudes": (
        lambda: placed().rename(y="lat", x="lon").assign_coords(lat=np.degrees(np.arcsin(np.linspace(0.9, -0.9, 30)))),
        "unevenly spaced",
    ),
    "not finite": (lambda: placed().assign_coords(x=LINES["x"].where(LINES["x"] > 500_002)), "finite"),
    "names": (lambda: xr.DataArray(PIXELS[:, :2], dims=("y", "x"), coords={"x": ["a", "b"]}), "no affine"),
    "single precision": (lambda: placed().assign_coords(y=LINES["y"].astype(np.float32)), "float32, which is not precise"),
    "kilometres": (lambda: placed().assign_coords(x=(LINES["x"] / 1000).assign_attrs(units="km")), "are in km"),
    "radians": (lambda: placed().assign_coords(x=LINES["x"].assign_attrs(units="rad")), "are in rad"),
    "curvilinear": (lambda: swath(LAT + 1e-5 * np.sin(LON * 1e5), "EPSG:4326"), "curvilinear"),
    "curvilinear without CRS": (lambda: swath(LAT + 1e-6 * LON), "no CRS"),
    "curvilinear in a projected CRS": (lambda: swath(LAT, "EPSG:32633"), "no CRS with an affine"),
    "curvilinear in other dimensions": (lambda: swath(LAT, dims=("rows", "cols")), "curvilinear"),
    "one column": (lambda: without_transform(placed()[:, :1]), "single column"),
    "one row": (lambda: without_transform(placed()[:1]), "single row"),
    "one row without CRS": (
        lambda: xr.DataArray(PIXELS[:1], dims=("y", "x"), coords={"y": [5.0], "x": np.arange(40) + 0.5}),
        "single row",
    ),
    "a CRS alone": (lambda: xr.DataArray(PIXELS, dims=("y", "x")).odc.assign_crs("EPSG:32633"), "no affine"),
    "a CRS and numbers of pixels": (
        lambda: xr.DataArray(PIXELS, dims=("y", "x"), coords={"y": range(30), "x": range(40)}).odc.assign_crs("EPSG:32633"),
        "no affine",
    ),
    "a CRS that is none": (lambda: with_reference(spatial_ref="nonsense"), "cannot be read"),
    "a grid mapping by name": (lambda: with_reference(grid_mapping_name="rotated_latitude_longitude"), "cannot be read"),
    "an attribute that is no CRS": (
        lambda: xr.DataArray(PIXELS, dims=("y", "x"), coords=LINES, attrs={"crs": "what"}),
        "attribute crs, cannot be read",
    ),
    "two CRSs": (
        lambda: (
            placed()
            .assign_coords(other=placed(crs="EPSG:32634").spatial_ref.variable)
            .drop_encoding()
        ),
        "several coordinates with a CRS",
    ),
    "cut without coordinates": (lambda: planes(NORTH_UP).drop_vars(["xc", "yc"])[3:, 4:], "may be a part of a larger raster"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_an_array_whose_place_is_not_an_affine_is_refused(case: str) -> None:
    make, words = REFUSED[case]
    with pytest.raises(RasterError, match=words):
        Raster.open(make())


def test_coordinates_of_two_dimensions_that_are_an_affine_are_taken() -> None:
    box = Raster.open(swath(LAT, "EPSG:4326")).geobox
    assert box.crs == "EPSG:4326"
    assert box.affine @ (0.5, 0.5) == pytest.approx((14, 48), abs=1e-9)
    # Beside coordinates of the dimensions they say nothing more.
    more = placed().assign_coords(lat=(placed().dims, LAT), lon=(placed().dims, LON))
    assert Raster.open(more).geobox == Raster.open(placed()).geobox


def test_an_array_as_it_was_read_without_coordinates_is_that_of_its_file(tmp_path: Path) -> None:
    array = planes(NORTH_UP).drop_vars(["xc", "yc"])
    array.encoding["source"] = str(write_raster(tmp_path / "a.tif", PIXELS, transform=NORTH_UP))
    assert Raster.open(array).geobox.affine == NORTH_UP


def test_alpha_of_an_array_is_that_of_the_file_it_was_read_from(tmp_path: Path) -> None:
    values = np.full((30, 40, 4), 90, np.uint8)
    values[..., 3] = 255
    values[:5, :, 3] = 0
    path = write_raster(tmp_path / "a.tif", values, colors=["red", "green", "blue", "alpha"], transform=NORTH_UP)
    bands = np.moveaxis(values, 2, 0)
    array = xr.DataArray(bands, dims=("band", "y", "x"), coords={"band": [1, 2, 3, 4], "y": LINES["y"], "x": LINES["x"]})
    assert Raster.open(array).view(40)[1].all()
    array.encoding["source"] = str(path)
    expected = Raster.open(path).view(40)[1]
    assert not expected.all()
    for own in (array, array.sel(band=[4, 1, 2, 3]), array.assign_coords(band=["red", "green", "blue", "alpha"])):
        raster = Raster.open(own)
        assert (
            raster.provenance()["alpha"] == [own.band.to_numpy().tolist().index(own.band.to_numpy()[-1]) + 1]
            or own is not array
        )
        assert np.array_equal(raster.view(40)[1], expected)
    assert Raster.open(array, alpha="none").view(40)[1].all()
    assert np.array_equal(Raster.open(values, alpha=4).view(40)[1], expected)
