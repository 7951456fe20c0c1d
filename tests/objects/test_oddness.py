"""Objects that are unlike the others of their layer have the highest oddness."""

import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from click.testing import CliRunner
from object_scenes import recolored

import samgeo
from samgeo.cli import main
from samgeo.errors import OptionError, VectorError
from samgeo.geo.raster.raster import Raster
from samgeo.geo.vector.columns import RenamedColumnsWarning
from samgeo.geo.vector.reading import read_provenance, read_vectors
from samgeo.geo.vector.writing import write_vectors
from samgeo.objects import describe
from samgeo.objects.oddness import nearest
from samgeo.synthetic import town
from samgeo.testing import write_raster


def ranks_of_recolored(shape: tuple[int, int], seed: int, folder: Path) -> list[int]:
    """Return the ranks by oddness of three roofs of 100 that have another colour."""
    scene = town(shape, seed=seed)
    rng = np.random.default_rng(seed)
    roofs = scene.footprints[scene.footprints.area > 15]
    roofs = roofs.iloc[np.sort(rng.permutation(len(roofs))[:100])].reset_index(drop=True)
    assert len(roofs) == 100
    odd = rng.choice(100, 3, replace=False)
    transform = scene.geobox.affine
    image = write_raster(
        folder / f"{seed}.tif", recolored(scene, roofs["id"].to_numpy()[odd]), crs=str(scene.geobox.crs), transform=transform
    )
    found = samgeo.oddness(roofs, image)["oddness"]
    return found.rank(ascending=False)[odd].astype(int).tolist()


def test_roofs_of_another_color_stand_out_of_a_hundred(tmp_path: Path) -> None:
    assert max(ranks_of_recolored((600, 600), 23, tmp_path)) <= 5


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 30))
def test_roofs_of_another_color_stand_out_in_every_town(seed: int, tmp_path: Path) -> None:
    assert max(ranks_of_recolored((1024, 1024), seed, tmp_path)) <= 5


def painted(colors: list[tuple[int, int, int]]) -> tuple[np.ndarray, gpd.GeoDataFrame]:
    """Return an image with squares in a row that have the given colours, and the squares."""
    image = np.zeros((40, 30 * len(colors) + 10, 3), dtype=np.uint8)
    boxes = []
    for number, color in enumerate(colors):
        x = 10 + 30 * number
        image[10:30, x : x + 20] = color
        boxes.append(shapely.box(x, 10, x + 20, 30))
    return image, gpd.GeoDataFrame(geometry=boxes)


GREY, BLUE = (90, 90, 90), (60, 90, 200)


def test_colors_are_those_of_the_pixels_inside() -> None:
    image, squares = painted([GREY, BLUE, (0, 0, 0)])
    image[10:30, 10:20] = 190
    outside = gpd.GeoDataFrame(geometry=[shapely.box(500, 500, 520, 520)])
    table = describe(image, pd.concat([squares, outside], ignore_index=True), embedding=False, color=True)
    assert table["brightness"].to_numpy()[:3] == pytest.approx([140 / 255, 350 / 3 / 255, 0])
    assert table["brightness_std"].to_numpy()[:3] == pytest.approx([50 / 255, 0, 0])
    assert table["difference_1_2"].to_numpy()[:3] == pytest.approx([0, (60 - 90) / 150, 0])
    assert table["difference_2_3"].to_numpy()[:3] == pytest.approx([0, (90 - 200) / 290, 0])
    assert table.iloc[3].loc["brightness":"difference_2_3"].isna().all()
    # A sliver between pixel centres has the pixels that it touches.
    sliver = gpd.GeoDataFrame(geometry=[shapely.box(12.6, 12.6, 12.9, 12.9)])
    assert describe(image, sliver, embedding=False, color=True)["brightness"][0] == pytest.approx(190 / 255)


def test_an_object_larger_than_a_window_has_the_color_of_all_its_pixels() -> None:
    image = np.zeros((1500, 1600, 3), dtype=np.uint8)
    image[:, 800:] = 200
    whole = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1600, 1500)])
    assert describe(image, whole, embedding=False, color=True)["brightness"][0] == pytest.approx(100 / 255, abs=0.06)


def test_oddness_is_the_distance_relative_to_the_median() -> None:
    image, squares = painted([GREY] * 6 + [BLUE])
    found = samgeo.oddness(squares, image, neighbours=2, embedding=False)
    assert found["oddness"].argmax() == 6
    # Six squares are equal, so that the median is 0, and the mean is the unit.
    assert found["oddness"].tolist() == pytest.approx([0] * 6 + [7])
    assert found.attrs["samgeo"]["oddness"]["without_features"] == 0


def test_nearest_distances_are_exact_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    places = np.random.default_rng(0).normal(size=(200, 7))
    places[7] = places[3]
    expected = np.sqrt(((places[:, None] - places) ** 2).sum(axis=2))
    np.fill_diagonal(expected, np.inf)
    monkeypatch.setattr(sys.modules["samgeo.objects.oddness"], "DISTANCES", 1000)
    found = np.sort(nearest(places, 4), axis=1)
    np.testing.assert_allclose(found, np.sort(expected, axis=1)[:, :4], atol=1e-7)
    assert found[7, 0] == 0


def test_classes_are_compared_within_themselves() -> None:
    image, squares = painted([GREY] * 3 + [BLUE] + [BLUE] * 4 + [GREY, GREY])
    squares["kind"] = ["house"] * 4 + ["pool"] * 4 + ["car", None]
    together = samgeo.oddness(squares, image, neighbours=2, embedding=False)["oddness"]
    assert together.max() == together.min()
    found = samgeo.oddness(squares, image, neighbours=2, class_column="kind", embedding=False)
    assert found["oddness"].argmax() == 3
    assert found["oddness"].isna().tolist() == [False] * 8 + [True] * 2
    assert found.attrs["samgeo"]["oddness"]["classes_too_small"] == ["car"]


def test_objects_without_features_are_counted_and_have_no_oddness(tmp_path: Path) -> None:
    image, squares = painted([GREY] * 4 + [BLUE])
    squares.loc[5] = [shapely.box(900, 900, 910, 910)]
    squares.index = [3, 3, 1, 0, 9, 9]
    with pytest.warns(RenamedColumnsWarning):
        found = samgeo.oddness(squares.assign(Oddness="mine"), image, tmp_path / "odd.parquet", neighbours=3, embedding=False)
    assert np.isnan(found["oddness"].iloc[5])
    assert found["oddness"].iloc[:5].notna().all()
    assert found.index.tolist() == [3, 3, 1, 0, 9, 9]
    assert found["Oddness_given"].eq("mine").all()
    assert found.attrs["samgeo"]["oddness"]["without_features"] == 1
    written = read_vectors(tmp_path / "odd.parquet")
    np.testing.assert_array_equal(written["oddness"], found["oddness"])
    assert (read_provenance(tmp_path / "odd.parquet") or {})["oddness"]["neighbours"] == 3
    with pytest.raises(VectorError, match="exists"):
        samgeo.oddness(squares, image, tmp_path / "odd.parquet", neighbours=3, embedding=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbours": 0}, "neighbours is 0"),
        ({"neighbours": 5}, "the layer has 5, not more than 5 objects"),
        ({"class_column": "kind"}, "no column 'kind'"),
        ({"class_column": "each", "neighbours": 1}, "no class has more than 1"),
        ({"layer": "odd"}, "layer"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    image, squares = painted([GREY] * 5)
    with pytest.raises(OptionError, match=message):
        samgeo.oddness(squares.assign(each=range(5)), image, embedding=False, **options)  # type: ignore[arg-type]


def test_the_command_writes_the_same(tmp_path: Path) -> None:
    image, squares = painted([GREY] * 6 + [BLUE])
    path = write_raster(tmp_path / "image.tif", image)
    raster = Raster.open(path)
    placed = squares.set_geometry(
        [shapely.transform(one, lambda xy: np.stack(raster.geobox.affine @ tuple(xy.T), axis=1)) for one in squares.geometry],
        crs=str(raster.geobox.crs),
    )
    write_vectors(placed.assign(kind="roof"), tmp_path / "roofs.gpkg")
    arguments = ["oddness", path, tmp_path / "roofs.gpkg", tmp_path / "odd.gpkg", "--neighbours", "2", "--class-column", "kind"]
    run = CliRunner().invoke(main, [*map(str, arguments), "--no-embedding"])
    assert run.exit_code == 0, run.output
    assert "7 objects in" in run.output
    expected = samgeo.oddness(placed, path, neighbours=2, embedding=False)["oddness"]
    np.testing.assert_allclose(read_vectors(tmp_path / "odd.gpkg")["oddness"], expected)
