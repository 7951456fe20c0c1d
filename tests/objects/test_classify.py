"""Objects get the class of the examples that they are like."""

import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from click.testing import CliRunner

import samgeo
from samgeo.cli import main
from samgeo.errors import OptionError, VectorError
from samgeo.geo.vector.columns import RenamedColumnsWarning
from samgeo.geo.vector.reading import read_provenance, read_vectors
from samgeo.geo.vector.writing import write_vectors
from samgeo.objects import Classifier, Selector, describe
from samgeo.synthetic import town
from samgeo.testing import write_raster

CRS, WEST, NORTH = "EPSG:32633", 500_000.0, 5_400_000.0
COLORS = {"red": (200, 70, 60), "green": (60, 160, 70), "blue": (60, 90, 200)}
PATTERN = ["red", "green", "blue", "blue", "red", "green", "green", "red", "blue"]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a raster with squares of 20 pixels of three colours, in the order of PATTERN, and noise."""
    pixels = np.random.default_rng(0).integers(0, 30, (40, 30 * len(PATTERN) + 10, 3))
    for number, name in enumerate(PATTERN):
        pixels[10:30, 10 + 30 * number : 30 + 30 * number] += np.array(COLORS[name]) - 15
    return write_raster(tmp_path_factory.mktemp("squares") / "squares.tif", pixels.clip(0, 255).astype(np.uint8), crs=CRS)


def rect(x0: float, y0: float, x1: float, y1: float) -> shapely.Polygon:
    """Return a rectangle of pixels in the CRS of the raster, whose pixels have half a metre."""
    return shapely.box(WEST + x0 / 2, NORTH - y1 / 2, WEST + x1 / 2, NORTH - y0 / 2)


def squares(**columns: list[object]) -> gpd.GeoDataFrame:
    shapes = [rect(10 + 30 * number, 10, 30 + 30 * number, 30) for number in range(len(PATTERN))]
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=CRS)


def test_examples_in_a_column_give_the_others_their_classes(image: Path) -> None:
    layer = squares(kind=[*PATTERN[:3], *[None] * 6])
    found = samgeo.classify(layer, image, "kind", embedding=False, probabilities=True)
    assert found["class"].tolist() == PATTERN
    assert found["example"].tolist() == [True] * 3 + [False] * 6
    chances = found[[f"probability_{name}" for name in ("blue", "green", "red")]]
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    np.testing.assert_allclose(found["score"], chances.max(axis=1))
    assert found["score"].gt(1 / 3).all()
    note = found.attrs["samgeo"]["classify"]
    assert note["examples"] == {"blue": 1, "green": 1, "red": 1}
    assert (note["objects"], note["unclassified"], note["without_features"], note["unmatched"]) == (9, 0, 0, 0)


def test_areas_cover_objects_and_outlines_match_them(image: Path) -> None:
    # The first area covers the first square, and less than half of the second one, which the next covers in two parts.
    areas = gpd.GeoDataFrame(
        {"class": ["red", "green", "green", "blue", "none there", None]},
        geometry=[
            rect(0, 0, 45, 40),
            rect(45, 0, 55, 40),
            rect(55, 0, 62, 40),
            rect(65, 0, 125, 40),
            rect(61, 0, 68, 40),
            rect(130, 0, 150, 40),
        ],
        crs=CRS,
    ).to_crs(4326)
    found = samgeo.classify(squares(), image, areas, embedding=False)
    assert found["example"].tolist() == [True] * 4 + [False] * 5
    assert found["class"].tolist() == PATTERN
    assert found.attrs["samgeo"]["classify"]["unmatched"] == 1
    # By IoU, the area over two squares is none of them, and a part of a square does not have the class of the whole.
    outlines = gpd.GeoDataFrame(
        {"class": ["red", "green", "blue", "blue"]},
        geometry=[rect(9, 9, 31, 31), rect(40, 10, 60, 29), rect(70, 10, 88, 30), rect(100, 10, 240, 30)],
        crs=CRS,
    )
    found = samgeo.classify(squares(), image, outlines, join="iou", embedding=False)
    assert found["example"].tolist() == [True] * 3 + [False] * 6
    assert found["class"].tolist() == PATTERN
    assert found.attrs["samgeo"]["classify"]["unmatched"] == 1


def test_examples_keep_their_class_and_a_low_score_shows_a_wrong_one(image: Path) -> None:
    layer = squares(kind=["red", "green", "blue", "blue", "red", "green", "green", "blue", None])
    found = samgeo.classify(layer, image, "kind", embedding=False, min_score=0.9)
    assert found["class"].tolist()[:8] == layer["kind"].tolist()[:8]
    assert found["score"].iloc[:8].argmin() == 7
    assert found["class"].isna().tolist() == [False] * 8 + [True]
    assert np.isfinite(found["score"]).all()


def test_objects_without_features_stay_unclassified_and_are_counted(image: Path, tmp_path: Path) -> None:
    layer = squares(kind=[*PATTERN[:3], *[None] * 6])
    layer.loc[9] = ["red", rect(5000, 10, 5020, 30)]
    layer.loc[10] = [None, rect(5000, 10, 5020, 30)]
    layer.index = [1] * 11
    path = tmp_path / "classes.gpkg"
    with pytest.warns(RenamedColumnsWarning, match="score_given"):
        found = samgeo.classify(layer.assign(score=2), image, "kind", path, embedding=False, probabilities=True)
    assert found["class"].tolist()[:9] == PATTERN
    assert found["class"].iloc[9:].isna().all()
    assert found["score"].iloc[9:].isna().all()
    assert not found["example"].iloc[9]
    assert found["score_given"].eq(2).all()
    assert found.attrs["samgeo"]["classify"]["without_features"] == 2
    written = read_vectors(path)
    assert written["class"].fillna("").tolist() == found["class"].fillna("").tolist()
    np.testing.assert_allclose(written["probability_red"], found["probability_red"])
    assert (read_provenance(path) or {})["classify"]["examples"] == {"blue": 1, "green": 1, "red": 1}
    with pytest.raises(VectorError, match="exists"):
        samgeo.classify(layer, image, "kind", path, embedding=False)


def test_numbers_are_class_names(image: Path) -> None:
    layer = squares(code=[1.0, 2.0, 3.0, *[np.nan] * 6])
    found = samgeo.classify(layer, image, "code", embedding=False)
    names = dict(zip(PATTERN[:3], "123", strict=True))
    assert found["class"].tolist() == [names[name] for name in PATTERN]


@pytest.mark.parametrize(
    ("examples", "options", "message"),
    [
        ("kind", {"join": "nearest"}, "join is 'nearest'"),
        ("kind", {"min_score": 2}, "min_score is 2"),
        ("same", {}, "the examples are of 1 class; give"),
        ("none", {}, "the examples are of 0 classes"),
        (gpd.GeoDataFrame({"kind": ["red"]}, geometry=[rect(10, 10, 30, 30)], crs=CRS), {}, "no column 'class'.*one of kind"),
        (gpd.GeoDataFrame({"class": ["red"]}, geometry=[rect(26, 10, 50, 30)], crs=CRS), {}, "none of the 1 examples covers"),
        (
            gpd.GeoDataFrame({"class": ["red"]}, geometry=[rect(0, 10, 90, 30)], crs=CRS),
            {"join": "iou"},
            "none of the 1 examples has an IoU",
        ),
        (gpd.GeoDataFrame({"class": ["red"]}, geometry=[rect(0, 0, 9, 9)]), {}, "CRS"),
    ],
)
def test_bad_examples_and_options_are_refused(
    image: Path, examples: str | gpd.GeoDataFrame, options: dict[str, object], message: str
) -> None:
    layer = squares(kind=[*PATTERN[:3], *[None] * 6], same=["red"] * 9, none=[None] * 9)
    if isinstance(examples, gpd.GeoDataFrame) and "covers" in message:
        layer = layer.iloc[1:]
    with pytest.raises(OptionError, match=message):
        samgeo.classify(layer, image, examples, embedding=False, **options)  # type: ignore[arg-type]


def test_the_command_writes_the_same(image: Path, tmp_path: Path) -> None:
    layer = squares(kind=[*PATTERN[:3], *[None] * 6])
    write_vectors(layer.drop(columns="kind"), tmp_path / "squares.gpkg")
    write_vectors(layer.dropna(subset="kind"), tmp_path / "examples.geojson")
    arguments = ["classify", image, tmp_path / "squares.gpkg", tmp_path / "examples.geojson", tmp_path / "classes.parquet"]
    run = CliRunner().invoke(main, [*map(str, arguments), "--class-column", "kind", "--no-embedding", "--probabilities"])
    assert run.exit_code == 0, run.output
    assert "9 objects in" in run.output
    assert "1 of blue, 1 of green, 1 of red" in run.output
    expected = samgeo.classify(layer, image, "kind", embedding=False, probabilities=True).drop(columns="kind")
    written = read_vectors(tmp_path / "classes.parquet")
    assert written["class"].tolist() == PATTERN
    np.testing.assert_allclose(written["probability_red"], expected["probability_red"])


def test_the_selector_is_the_classifier_of_two_classes() -> None:
    rng = np.random.default_rng(1)
    features = pd.DataFrame(rng.normal(size=(60, 12)), columns=[f"embedding_mean_{n}" for n in range(8)] + list("abcd"))
    features.iloc[5] = np.nan
    labels = np.where(features["a"] + features["embedding_mean_0"] > 0, 1.0, 0.0)
    labels[20:] = np.nan
    labels[5] = np.nan
    names = [None if np.isnan(one) else ("wanted" if one else "other") for one in labels]
    scores = Selector.fit(features, labels).score(features)
    np.testing.assert_array_equal(scores, Classifier.fit(features, names).probabilities(features)["wanted"])
    assert np.isnan(scores[5])


def accuracy(shape: tuple[int, int], seed: int, count: int, folder: Path) -> tuple[float, float]:
    """Return the accuracy of the covers of roofs by some examples of each, and the share of the most frequent cover."""
    scene = town(shape, seed=seed)
    roofs = scene.footprints[(scene.footprints.area > 15) & (scene.footprints.geom_type == "Polygon")]
    frequent = roofs["cover"].value_counts()
    roofs = roofs[roofs["cover"].isin(frequent.index[frequent >= count + 5])].reset_index(drop=True)
    rng = np.random.default_rng(seed)
    rows = np.concatenate(
        [rng.permutation(np.flatnonzero(roofs["cover"] == name))[:count] for name in sorted(roofs["cover"].unique())]
    )
    roofs["known"] = roofs["cover"].where(roofs.index.isin(rows))
    found = samgeo.classify(roofs, scene.save(folder / f"{seed}.tif"), "known")
    others = ~found["example"]
    right = found["class"][others] == roofs["cover"][others]
    return float(right.mean()), float(roofs["cover"][others].value_counts(normalize=True).iloc[0])


def test_covers_of_roofs_are_classified_by_ten_examples_of_each(tmp_path: Path) -> None:
    right, most = accuracy((600, 600), 23, 10, tmp_path)
    assert right > most + 0.15


@pytest.mark.slow
def test_covers_of_roofs_are_classified_in_several_towns(tmp_path: Path) -> None:
    right, most = np.mean([accuracy((1024, 1024), seed, 20, tmp_path) for seed in range(20, 23)], axis=0)
    assert right > most + 0.15


def test_scikit_learn_is_an_optional_dependency(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    features = describe(image, squares(), embedding=False)
    with pytest.raises(OptionError, match="install samgeo\\[footprints\\]"):
        Classifier.fit(features, PATTERN)
