"""A run that is killed, at any moment and as often as you like, comes to the same bytes as one that is left alone."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import samgeo
from samgeo.testing import encode_ids, scattered
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import write_raster

DRIVER = Path(__file__).with_name("killing.py")
OPTIONS = {"window": 128, "overlap": 64, "points_per_side": 16, "progress": False}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    labels = scattered(9, (190, 220), seed=4, min_size=20, max_size=60)
    labels[:, 140:150] = 99  # a road through all rows of windows: an object that is open until the end
    write_raster(tmp_path / "image.tif", encode_ids(labels))
    samgeo.segment(tmp_path / "image.tif", tmp_path / "undisturbed.parquet", model=Oracle(128), **OPTIONS)
    return tmp_path


def drive(place: Path, *arguments: object) -> int:
    done = subprocess.run(  # noqa: S603
        [sys.executable, str(DRIVER), str(place), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_killed_at_every_rename_before_and_after_it(place: Path) -> None:
    # The manifest, the session, and for each of two rows a part, its objects and what it changed, then the output.
    assert drive(place, "renames", "1") > 6


@pytest.mark.slow
def test_killed_at_every_rename_with_windows_of_several_scales(place: Path) -> None:
    undisturbed = place / "undisturbed.parquet"
    alone = undisturbed.read_bytes()
    samgeo.segment(place / "image.tif", undisturbed, model=Oracle(128), scales=(1, 2), overwrite=True, **OPTIONS)
    assert undisturbed.read_bytes() != alone
    assert drive(place, "renames", "1,2") > 12


@pytest.mark.slow
@pytest.mark.parametrize(("scheduler", "kills"), [("threads", 20), ("processes", 5)])
def test_killed_at_random_moments_with_all_its_processes(place: Path, scheduler: str, kills: int) -> None:
    assert drive(place, scheduler, kills) >= kills


class Deadly(Oracle):
    """An oracle that takes its process with it, the first times that it sees a certain window."""

    def __init__(self, input_size: int, trace: Path, times: int) -> None:
        super().__init__(input_size)
        self.trace, self.times = trace, times

    def __reduce__(self):
        return type(self), (self.input_size, self.trace, self.times)

    def embed(self, images, sizes=None):
        ids = super().embed(images, sizes)
        deaths = len(list(self.trace.iterdir()))
        if np.isin(7, ids) and deaths < self.times:
            (self.trace / str(deaths)).touch()
            os._exit(9)
        return ids


def test_a_worker_process_that_dies_is_replaced_and_its_windows_done_once(place: Path) -> None:
    trace = place / "trace"
    trace.mkdir()
    output = place / "out.parquet"
    samgeo.segment(place / "image.tif", output, model=Deadly(128, trace, 1), scheduler="processes", workers=2, **OPTIONS)
    assert len(list(trace.iterdir())) >= 1
    assert output.read_bytes() == (place / "undisturbed.parquet").read_bytes()


@pytest.mark.slow
def test_a_window_that_kills_every_worker_is_a_hole(place: Path) -> None:
    trace = place / "trace"
    trace.mkdir()
    options = {"model": Deadly(128, trace, 1000), "scheduler": "processes", "workers": 2, **OPTIONS}
    with pytest.warns(samgeo.segmentation.api.HolesWarning, match="worker process died"):
        found = samgeo.segment(place / "image.tif", place / "out.parquet", **options)
    assert 0 < len(found.attrs["samgeo"]["failed_windows"]) < 9
    assert len(found) > 4


@pytest.mark.slow
def test_a_worker_killed_in_a_cluster_of_processes_changes_nothing(place: Path) -> None:
    from distributed import Client, LocalCluster

    trace = place / "trace"
    trace.mkdir()
    output = place / "out.parquet"
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        samgeo.segment(place / "image.tif", output, model=Deadly(128, trace, 2), scheduler=client, **OPTIONS)
    assert len(list(trace.iterdir())) == 2
    assert output.read_bytes() == (place / "undisturbed.parquet").read_bytes()
