"""samgeo segment --profile: where the time went, on standard error; refused where the timers see nothing."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from samgeo.cli import main
from samgeo.synthetic import town


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "town.tif"
    town((256, 320), seed=4).save(path)
    return path


def segment(image: Path, *options: str) -> Result:
    output = str(image.with_name("objects.parquet"))
    return CliRunner().invoke(main, ["segment", str(image), output, "--points-per-side", "6", *options])


@pytest.mark.parametrize("options", [["--profile"], ["--profile", "--quiet"]])
def test_a_table_of_stages_is_shown_at_the_end(image: Path, options: list[str]) -> None:
    result = segment(image, *options)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    head = next(place for place, line in enumerate(lines) if line.split() == ["stage", "calls", "seconds", "share"])
    rows = {line.split()[0]: line.split()[1:] for line in lines[head + 1 : -1]}
    assert {"open", "read", "encode", "decode", "masks", "merge", "vectorize", "keep", "write"} <= set(rows)
    assert rows["encode"][0] == "1"  # one window
    assert sum(float(share.removesuffix("%")) for *_, share in rows.values()) == pytest.approx(100, abs=1)
    assert "outside the model" in lines[-1]


def test_without_the_option_nothing_is_shown(image: Path) -> None:
    assert "seconds" not in segment(image).stderr


def test_other_processes_are_refused_before_work_starts(image: Path) -> None:
    result = segment(image, "--profile", "--scheduler", "processes")
    assert result.exit_code == 1
    assert "scheduler 'processes' computes in other processes; use the scheduler threads or synchronous" in result.stderr
    assert sorted(path.name for path in image.parent.iterdir()) == ["town.tif"]
