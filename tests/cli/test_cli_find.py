"""The command find, as a person runs it: help, a run, and one message for each mistake."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pytest
from click.testing import CliRunner, Result

from samgeo.cli import main
from samgeo.evaluation import match
from samgeo.synthetic import Scene, town


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def scene() -> Scene:
    return town((128, 128), seed=1, resolution_m=1.0)


@pytest.fixture(scope="module")
def image(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scene.save(tmp_path_factory.mktemp("town") / "town.tif")


def test_the_help_tells_what_a_user_decides() -> None:
    result = run("find", "--help")
    assert result.exit_code == 0
    for word in ("--class", "--finder", "--detector", "--boxes", "--resolution", "--zoom", "--min-score", "--aoi", "building"):
        assert word in result.stdout
    assert "find " in run("--help").stdout


def test_a_town_gives_buildings_and_one_line(image: Path, scene: Scene, tmp_path: Path) -> None:
    output = tmp_path / "buildings.gpkg"
    result = run("find", image, output)
    assert result.exit_code == 0, result.output
    found = gpd.read_file(output)
    assert f"{len(found)} objects in {output}, found at zoom 4" in result.stderr
    assert result.stdout == ""
    assert found["class"].eq("building").all()
    assert match(found, scene.footprints).matched > 5
    few = tmp_path / "few.gpkg"
    quiet = run("find", image, few, "--min-score", found["score"].median(), "--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")
    assert len(gpd.read_file(few)) == (found["score"] >= found["score"].median()).sum()


def test_footprints_need_no_examples(image: Path, scene: Scene, tmp_path: Path) -> None:
    output = tmp_path / "footprints.gpkg"
    result = run("footprints", image, output, "--resolution", 1, "--min-area", 20)
    assert result.exit_code == 0, result.output
    found = gpd.read_file(output)
    assert f"{len(found)} footprints in {output}, found at zoom 4" in result.stderr
    assert {"class", "score", "regularized"} <= set(found.columns)
    assert match(found, scene.footprints).matched > 5
    assert (found.area > 15).all()


def test_boxes_of_a_file_are_prompts(image: Path, scene: Scene, tmp_path: Path) -> None:
    boxes, output = tmp_path / "boxes.gpkg", tmp_path / "roofs.gpkg"
    some = scene.footprints.iloc[:4]
    gpd.GeoDataFrame({"score": [1.0] * 4}, geometry=some.envelope, crs=some.crs).to_file(boxes)
    result = run("find", image, output, "--boxes", boxes, "--class", "roof")
    assert result.exit_code == 0, result.output
    found = gpd.read_file(output)
    assert 0 < len(found) <= 4
    assert found["class"].eq("roof").all()


@pytest.mark.parametrize("command", ["find", "footprints"])
@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--zoom", "0"], 1, "zoom is 0"),
        (["--resolution", "fine"], 2, "'fine' is neither auto nor a number"),
        (["--resolution", "-1"], 1, "resolution is -1"),
        (["--min-score", "2"], 1, "min_score is 2"),
        (["--finder", "missing.safetensors"], 1, "there is no finder missing.safetensors"),
    ],
)
def test_a_mistake_gives_one_message(
    command: str, options: list[str], code: int, told: str, image: Path, tmp_path: Path
) -> None:
    result = run(command, image, tmp_path / "found.gpkg", *options)
    assert result.exit_code == code
    assert told in result.stderr
    assert "Traceback" not in result.output
    assert len([line for line in result.stderr.splitlines() if line.startswith("Error")]) == 1
    assert not list(tmp_path.iterdir())


def test_an_unknown_class_names_those_that_are_known(image: Path, tmp_path: Path) -> None:
    result = run("find", image, tmp_path / "found.gpkg", "--class", "castle")
    assert result.exit_code == 1
    assert "castle" in result.stderr
    assert "building" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", [["--zoom", "2"], ["--resolution", "0.3"], ["--finder", "own.safetensors"]])
def test_options_of_the_finder_do_not_go_with_examples(option: list[str], image: Path, tmp_path: Path) -> None:
    result = run("footprints", image, tmp_path / "found.gpkg", "--examples", tmp_path / "examples.gpkg", *option)
    assert result.exit_code == 1
    assert f"{option[0][2:]} is an option of finding" in result.stderr


def test_a_selection_by_examples_has_no_automatic_threshold(image: Path, tmp_path: Path) -> None:
    more = ["--examples", tmp_path / "examples.gpkg", "--min-score", "auto"]
    result = run("footprints", image, tmp_path / "found.gpkg", *more)
    assert result.exit_code == 1
    assert "min_score is 'auto'; give a number" in result.stderr


def test_candidates_need_examples_and_windows_too(image: Path, tmp_path: Path) -> None:
    for option, told in (("--candidates", "candidates need examples"), ("--window", "window needs examples")):
        result = run("footprints", image, tmp_path / "found.gpkg", option, 256)
        assert result.exit_code == 1
        assert told in result.stderr
