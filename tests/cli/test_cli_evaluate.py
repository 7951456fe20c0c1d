"""`samgeo evaluate`, as a person runs it: the table, the folder, the pictures, and what is refused."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from samgeo.cli import main
from samgeo.synthetic import town


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """What was found (one building missing, one moved, one too many), the truth, and the image."""
    folder = tmp_path_factory.mktemp("files")
    scene = town((256, 320), seed=4)
    scene.save(folder / "town.tif")
    truth = scene.footprints[["geometry"]].assign(kind="roof")
    step = 0.2 * float(np.sqrt(truth.area.iloc[1]))
    found = truth.drop(index=0).assign(score=0.5)
    found.loc[1, "geometry"] = truth.geometry[1].buffer(step)
    found.loc[len(truth), ["geometry", "kind", "score"]] = [truth.geometry[0].centroid.buffer(0.5), "roof", 0.9]
    found.set_crs(truth.crs).to_crs(4326).to_file(folder / "found.gpkg")
    truth.to_file(folder / "truth.geojson")
    return folder / "found.gpkg", folder / "truth.geojson", folder / "town.tif"


def test_the_table_goes_to_standard_output(files: tuple[Path, Path, Path]) -> None:
    found, truth, _ = files
    count = len(gpd.read_file(truth))
    result = run(found, truth, "--class-column", "kind", "--sizes", "20,300", "--quiet")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[2].startswith(f"| all | {count} | {count} | {count - 1} |")
    assert [line.split("|")[1].strip() for line in lines[3:7]] == [
        "class roof",
        "small (below 20 m²)",
        "medium (20 to 300 m²)",
        "large (300 and more m²)",
    ]
    assert result.stderr == ""


def test_the_folder_has_figures_objects_and_pictures(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    found, truth, image = files
    folder = tmp_path / "report"
    result = run(found, truth, "-o", folder, "--image", image, "--worst", 3)
    assert result.exit_code == 0, result.output
    assert (folder / "report.md").read_text() == result.stdout
    figures = json.loads((folder / "report.json").read_text())
    count = len(gpd.read_file(truth))
    assert figures["overall"]["matched"] == count - 1
    assert figures["overall"]["area_bias"] > 0
    assert figures["settings"]["score"] == "score"
    verdicts = gpd.read_parquet(folder / "objects.parquet").verdict.value_counts()
    assert verdicts.to_dict() == {"matched": 2 * (count - 1), "missed": 1, "false": 1}
    pictures = {}
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            pictures[path.stem] = np.asarray(picture)
    assert set(pictures) == {"missed", "false", "matched"}
    assert pictures["matched"].shape[1] > 2 * pictures["missed"].shape[1]
    green, magenta = ((pictures["missed"] == color).all(axis=2).sum() for color in ((0, 255, 0), (255, 0, 255)))
    assert green > 100
    assert magenta == 0
    refused = run(found, truth, "-o", folder)
    assert refused.exit_code == 1
    assert "overwrite" in refused.stderr
    assert run(truth, truth, "-o", folder, "--overwrite").exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["objects.parquet", "report.json", "report.md"]


def test_an_area_of_interest_limits_what_counts(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    found, truth, _ = files
    gpd.read_file(truth).iloc[2:4].to_crs(4326).to_file(tmp_path / "aoi.geojson")
    result = run(found, truth, "--aoi", tmp_path / "aoi.geojson")
    assert result.exit_code == 0, result.output
    assert "| all | 2 | 2 | 2 |" in result.stdout


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--image", "town.tif"], 2, "--output"),
        (["--sizes", "many"], 2, "--sizes"),
        (["--iou", "2"], 1, "min_iou"),
        (["--boundary-m", "-1"], 1, "boundary_m"),
        (["--score-column", "sureness"], 1, "sureness"),
        (["--class-column", "sureness"], 1, "sureness"),
        (["--aoi", "nothing.geojson"], 1, "nothing.geojson"),
        (["-o", "no/such/folder"], 1, "no/such"),
        (["-o", "report", "--image", "nothing.tif"], 1, "nothing.tif"),
    ],
)
def test_what_cannot_work_is_refused_and_nothing_is_left(
    options: list[str], code: int, message: str, files: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(files[0], files[1], *options)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_an_image_without_crs_cannot_be_drawn_on(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "plain.png")
    result = run(files[0], files[1], "-o", tmp_path / "report", "--image", tmp_path / "plain.png")
    assert result.exit_code == 1
    assert "CRS" in result.stderr
    assert not (tmp_path / "report").exists()


@pytest.mark.filterwarnings("ignore:Non closed ring:RuntimeWarning")  # of GDAL
def test_a_feature_that_is_no_geometry_is_left_out_and_listed(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    collection = json.loads(files[1].read_text())
    broken = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}
    collection["features"].append({"type": "Feature", "properties": {"kind": "roof"}, "geometry": broken})
    (tmp_path / "broken.geojson").write_text(json.dumps(collection))
    result = run(tmp_path / "broken.geojson", files[1])
    assert result.exit_code == 0, result.output
    count = len(collection["features"]) - 1
    assert f"| all | {count} | {count} | {count} |" in result.output
    assert "Of the found layer, 1 left out: no geometry." in result.output
