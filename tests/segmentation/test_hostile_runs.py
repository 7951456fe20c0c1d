"""Folders of runs in which anything was changed: the right result or an error, in time, and nothing outside is touched."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import hostile_runs as hostile
import numpy as np
import pytest

from samgeo.errors import OptionError
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.piece import Piece
from samgeo.segmentation.merge.open_objects import Step
from samgeo.segmentation.run.folder import RunFolder
from samgeo.segmentation.run.parts import DamagedError, Frontier, MergedRow

SECONDS = 20


def use_seeds(first: int, last: int, folder: Path) -> list[dict]:
    """What came of each seed; a process that dies is told with the seed that it used."""
    command = [sys.executable, "-W", "ignore", hostile.__file__, str(first), str(last), str(folder)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own script
    lines = [json.loads(line) for line in child.stdout.splitlines()]
    assert child.returncode == 0, (lines[-1:], child.returncode, child.stderr[-2000:])
    return [line for line in lines if "came" in line]


def check(came: list[dict], count: int) -> None:
    assert len(came) == count
    results = sum(line["came"] == "result" for line in came)
    slack = count**0.5  # the share varies when there are few
    assert 0.4 * count - slack < results < min(0.95 * count + slack, count)
    for line in came:
        assert line["came"] != "another result" or line["may_fit"], line
        assert not line["touched"], line
        assert not line["outside"], line
        assert line["seconds"] < SECONDS, line


def test_25_changed_runs_go_on_or_say_why_not(tmp_path: Path) -> None:
    check(use_seeds(0, 25, tmp_path), 25)


PIECE = Piece(Mask(np.array([[0, 0, 9]], np.int32)), 0.5, 0.5, (0, 0), 0, Mask(np.empty((0, 3), np.int32)))


@pytest.mark.slow
def test_3000_changed_runs_go_on_or_say_why_not(tmp_path: Path) -> None:
    for first in range(0, 3000, 500):
        (tmp_path / str(first)).mkdir()
        check(use_seeds(first, first + 500, tmp_path / str(first)), 500)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> hostile.Scene:
    return hostile.Scene(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("name", ["manifest.json", "lock", "session.json", "output.json", "merged", "parts", "rows"])
def test_a_run_with_a_link_in_it_is_refused_and_what_it_leads_to_stays(scene: hostile.Scene, name: str) -> None:
    outside, linked = scene.folder / f"mine-{name}", scene.folder / "whole" / name
    linked.replace(outside)
    if outside.is_dir():
        (outside / ".mine-12345678").mkdir()
    linked.symlink_to(outside)
    before = sorted((path, path.stat().st_mtime_ns) for path in (outside, *outside.rglob("*")))
    try:
        with pytest.raises(OptionError, match=f"{name} is a link"):
            scene.go_on("whole")
        assert sorted((path, path.stat().st_mtime_ns) for path in (outside, *outside.rglob("*"))) == before
    finally:
        linked.unlink()
        outside.replace(linked)
    assert scene.go_on("whole") == "result"


def test_hidden_folders_of_others_are_left_alone(scene: hostile.Scene) -> None:
    mine = scene.folder / "new" / ".my-things"
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("mine")
    scene.segment("new", "new.parquet")
    assert (mine / "thesis.txt").read_text() == "mine"


def test_a_flipped_byte_of_a_row_is_seen_and_the_row_is_made_again(scene: hostile.Scene) -> None:
    """Parquet itself reads other coordinates without a word."""
    path = scene.folder / "whole" / "rows" / "000001.parquet"
    whole = path.read_bytes()
    for place in np.random.default_rng(0).integers(4, len(whole) // 2, size=10):  # the data, before the footer
        content = bytearray(whole)
        content[place] ^= 1 << 3
        path.write_bytes(content)
        assert scene.go_on("whole") == "result"
        assert path.read_bytes() == whole


def test_a_frontier_of_other_windows_is_none(scene: hostile.Scene, tmp_path: Path) -> None:
    folder = RunFolder(scene.folder / "half")
    frontier = folder.read_frontier()
    assert frontier.row == 2
    assert len(frontier.open_objects) > 0
    assert folder.sound_frontier([3, 3, 3]) == frontier
    for columns in ([2, 3, 3], [3, 4, 3], [3], []):
        copy = RunFolder(tmp_path / f"{len(columns)}-{columns[:1]}")
        shutil.copytree(folder.path, copy.path)
        assert copy.sound_frontier(columns) == Frontier()
        assert copy.read_frontier() == Frontier()


@pytest.mark.parametrize(
    "runs",
    [
        [[0, -1, 5]],
        [[-1, 0, 5]],
        [[0, 5, 5]],
        [[0, 5, 4]],
        [[0, 0, 5], [0, 5, 7]],
        [[0, 0, 5], [0, 3, 7]],
        [[1, 0, 5], [0, 0, 5]],
        [[0, 5, 9], [0, 0, 3]],
    ],
)
def test_runs_that_are_no_mask_are_damage(runs: list[list[int]]) -> None:
    def merged(runs: list[list[int]]) -> MergedRow:
        pieces = [
            Piece(Mask(np.array(one, np.int32)), 0.5, 0.5, (0, 0), 0, Mask(np.empty((0, 3), np.int32)))
            for one in ([[0, 0, 2], [0, 3, 4]], runs)
        ]
        return MergedRow(0, Step({number: (0, piece) for number, piece in enumerate(pieces)}, (), ((0, -1, 0),), 2))

    sound = merged([[0, 0, 9]])  # masks may overlap each other
    assert MergedRow.from_bytes(sound.to_bytes()) == sound
    with pytest.raises(DamagedError, match="its runs do not agree with its masks"):
        MergedRow.from_bytes(merged(runs).to_bytes())


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        ([Step(open=((0, -1, 0),), numbered=1)], "follow"),
        ([Step(joined=((1, 0),), numbered=2)], "follow"),
        ([Step({0: (0, PIECE)}, (), ((0, -1, 0),), 1), Step({0: (1, PIECE)}, (), ((0, -1, 0), (1, -1, 0)), 1)], "numbered"),
        ([Step({4: (4, PIECE)}, (), ((4, -1, 0),), 2)], "numbered"),
    ],
)
def test_rows_that_do_not_follow_from_each_other_are_damage(steps: list[Step], what: str) -> None:
    with pytest.raises(DamagedError, match=what):
        Frontier.of([MergedRow(0, step) for step in steps])
