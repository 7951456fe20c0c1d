"""Every command that takes more than a moment shows its progress, and with ``--quiet`` it prints nothing."""

import re
from functools import partial
from pathlib import Path

import click
import geopandas as gpd
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from tqdm import tqdm

import samgeo
from samgeo.cli import main
from samgeo.synthetic import town

SHAPE = (96, 224)

# What each command is called with. A word that begins with a colon is an output, which is a new one for each call.
BARS: dict[str, str] = {
    "find": "town.tif :o.gpkg --zoom 4 --cache town.zarr",
    "change": "town.tif later.tif :o.gpkg --objects roofs.gpkg",
    "track": "town.tif later.tif :o.gpkg --dates 2020,2021 --objects roofs.gpkg",
    "segment": "town.tif :o.gpkg --cache town.zarr --points-per-side 4",
    "predict": "town.tif :o.gpkg --points clicks.gpkg --cache town.zarr",
    "encode": "town.tif :store --window 128",
    "rasterize": "roofs.gpkg town.tif :o.tif",
    "remove": "town.tif some.gpkg :o.tif",
    "compress": "town.tif roofs.gpkg :o.tif",
    "footprints": "town.tif :o.gpkg --zoom 4 --cache town.zarr --dsm heights.tif",
    "regularize": "roofs.gpkg :o.gpkg",
    "refine": "roofs.gpkg town.tif :o.gpkg",
    "classify": "town.tif roofs.gpkg use :o.gpkg --cache town.zarr",
    "oddness": "town.tif roofs.gpkg :o.gpkg --cache town.zarr",
    "dataset samrs": "images roofs.gpkg :set --class-name building",
    "evaluate": "roofs.gpkg roofs.gpkg -o :report",
}
# The inputs are so small that these have one unit of work.
ONE_UNIT = {"change", "track", "encode", "dataset samrs"}
# These tell the progress in lines, with what is learned or measured so far.
LINES = {"train", "finetune", "models evaluate"}
# These take the longest, and had a bar from the beginning.
SLOW = {"find", "change", "track", "encode", "dataset samrs"}
# This calls the functions of footprints and segment.
BOTH = {"demo"}
# These read a file or two and no raster in parts. A download shows its bytes on a terminal.
QUICK = {"status", "show", "style", "thresholds", "models list", "models fetch", "models path", "models info"}

BAR = re.compile(r"^(?P<what>.*?): +\d+%\|.*\| (?P<done>\d+)/(?P<total>\d+) \[")


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> set[str]:
    """Return the names of all commands, without the groups."""
    found: set[str] = set()
    for name, command in group.commands.items():
        words = (*path, name)
        found |= commands(command, words) if isinstance(command, click.Group) else {" ".join(words)}
    return found


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a town, a later image of it, outlines of its roofs, and what other commands read."""
    folder = tmp_path_factory.mktemp("inputs")
    scene = town(SHAPE, seed=1)
    scene.save(folder / "town.tif")
    scene.save(folder / "later.tif")
    (folder / "images").mkdir()
    scene.save(folder / "images" / "town.tif")
    roofs = scene.footprints[["geometry"]].reset_index(drop=True)
    uses = [("house", "shed")[number % 2] if number < 6 else None for number in range(len(roofs))]
    roofs.assign(use=uses).to_file(folder / "roofs.gpkg")
    roofs.iloc[::4].to_file(folder / "some.gpkg")
    roofs.set_geometry(roofs.representative_point()).to_file(folder / "clicks.gpkg")
    profile = {"width": SHAPE[1], "height": SHAPE[0], "count": 1, "dtype": "float32", "crs": scene.geobox.crs.proj}
    with rasterio.open(folder / "heights.tif", "w", transform=scene.geobox.affine, **profile) as file:
        file.write(np.full((1, *SHAPE), 6, np.float32))
    # The windows are encoded once for all commands that take a store.
    samgeo.encode(folder / "town.tif", folder / "town.zarr", window=128, progress=False)
    return folder


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small inputs have several parts, and let bars print every step."""
    for module, name, value in (
        ("samgeo.evaluation.matching", "BATCH", 8),
        ("samgeo.evaluation.judging", "BATCH", 8),
        ("samgeo.editing.removal", "LONGEST_PART", 128),
        ("samgeo.editing.compression", "PART", 128),
        ("samgeo.editing.compression", "TILE", 128),
        ("samgeo.geo.label_drawing", "CHUNK", 64),
    ):
        monkeypatch.setattr(f"{module}.{name}", value)
    monkeypatch.setattr("samgeo.progress.tqdm", partial(tqdm, mininterval=0, miniters=1))


def run(command: str, inputs: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> tuple[str, str]:
    """Run a command in the folder of the inputs; return what it writes to standard output and to standard error."""
    monkeypatch.chdir(inputs)
    outputs.mkdir()
    words = [str(outputs / word[1:]) if word.startswith(":") else word for word in BARS[command].split()]
    done = CliRunner().invoke(main, [*command.split(), *words, *more])
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


def bars_of(text: str) -> list[list[tuple[int, int]]]:
    """Return the numbers of finished units and of all units that each bar showed; a bar begins with 0."""
    bars: list[list[tuple[int, int]]] = []
    for line in re.split(r"[\r\n]+", text):
        if found := BAR.match(line):
            step = int(found["done"]), int(found["total"])
            if not bars or (step[0] == 0 and bars[-1][-1][0] > 0):
                bars.append([])
            bars[-1].append(step)
    return bars


def test_every_command_has_its_place_here() -> None:
    assert sorted([*BARS, *LINES, *BOTH, *QUICK]) == sorted(commands())


@pytest.mark.filterwarnings("ignore::samgeo.errors.SamgeoWarning")
@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("command", [pytest.param(one, marks=[pytest.mark.slow] if one in SLOW else []) for one in BARS])
def test_progress_rises_to_its_total_and_quiet_prints_nothing(
    command: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed, told = run(command, inputs, tmp_path / "shown", monkeypatch)
    bars = bars_of(told)
    assert bars
    for steps in bars:
        done, totals = zip(*steps, strict=True)
        assert list(done) == sorted(done)
        assert len(set(totals)) == 1
        assert done[-1] == totals[0]
    assert (command in ONE_UNIT) != any(0 < done < total for steps in bars for done, total in steps)

    quiet_printed, quiet_told = run(command, inputs, tmp_path / "quiet", monkeypatch, "--quiet")
    # Warnings are neither progress nor summary.
    assert [line for line in quiet_told.splitlines() if not line.startswith("Note: ")] == []
    # What is printed to standard output is the result of the command.
    assert quiet_printed == printed


@pytest.mark.parametrize("command", sorted([*BARS, *LINES, *BOTH]))
def test_progress_can_be_turned_off(command: str) -> None:
    found: click.Command = main
    for word in command.split():
        assert isinstance(found, click.Group)
        found = found.commands[word]
    assert "quiet" in {one.name for one in found.params}


@pytest.mark.parametrize("quiet", [False, True])
def test_the_demonstration_shows_the_progress_of_both_steps(
    quiet: bool, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def stand_in(image: Path, objects: Path, *, overwrite: bool, progress: bool) -> gpd.GeoDataFrame:
        asked.append((Path(image).name, overwrite, progress))
        roofs = gpd.read_file(inputs / "roofs.gpkg")[["geometry"]].to_crs(32734)
        roofs.to_parquet(objects)
        return roofs

    monkeypatch.setattr("samgeo.testing.demo.footprints", stand_in)
    monkeypatch.setattr("samgeo.testing.demo.segment", stand_in)
    done = CliRunner().invoke(main, ["demo", str(tmp_path / "demo"), "--size", "128", *(["--quiet"] if quiet else [])])
    assert done.exit_code == 0, done.output
    assert asked == [("town.tif", True, not quiet)] * 2
    assert bool(done.stdout) != quiet
