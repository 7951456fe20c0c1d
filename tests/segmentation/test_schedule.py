"""Tasks on the workers of this machine: results in order, workers that do not wait for them, one core each."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import samgeo
from samgeo.errors import OptionError, WindowError
from samgeo.geo.grid import Lattice
from samgeo.geo.levels import Levels
from samgeo.segmentation.execution.pools import TASKS_PER_WORKER, default_workers
from samgeo.segmentation.execution.tasks import Work, run_ordered
from samgeo.segmentation.run.window_stream import describe_task
from samgeo.synthetic import town
from samgeo.testing.oracle import Oracle

LOCAL = ["threads", "synchronous", pytest.param("processes", marks=pytest.mark.slow)]


@pytest.fixture
def three_threads():
    """Torch computes on three cores, as far as it is left alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def square(offset: int, task: int) -> int:
    return offset + task * task


@pytest.mark.parametrize("scheduler", LOCAL)
def test_results_come_in_the_order_of_the_tasks_and_each_is_told_once(scheduler: str) -> None:
    told = []
    results = run_ordered(square, (5,), range(30), scheduler=scheduler, workers=3, done=told.append)
    assert list(results) == [5 + task * task for task in range(30)]
    assert len(told) == 30


def test_workers_go_on_while_a_slow_task_is_not_done() -> None:
    begun = threading.Event()

    def wait(task: int) -> bool:
        if task == TASKS_PER_WORKER * 2 - 1:  # the last of those under way at the start: the next begins when one is taken
            return begun.wait(timeout=60)
        if task == TASKS_PER_WORKER * 2:
            begun.set()
        return True

    assert all(run_ordered(wait, (), range(20), workers=2))


def test_no_more_is_under_way_than_fits_the_workers() -> None:
    taken = 0

    def tasks():
        for task in range(100):
            assert task - taken <= TASKS_PER_WORKER * 2
            yield task

    for _ in run_ordered(square, (0,), tasks(), workers=2):
        taken += 1
    assert taken == 100


def test_an_error_ends_the_run_and_what_has_not_begun_never_does() -> None:
    begun = []

    def fail(task: int) -> int:
        begun.append(task)
        time.sleep(0.01)
        if task == 2:
            raise OSError("the disk is gone")
        return task

    results = run_ordered(fail, (), range(1000), workers=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OSError, match="disk is gone"):
        next(results)
    count = len(begun)
    time.sleep(0.1)
    assert len(begun) == count <= 2 + TASKS_PER_WORKER * 2 + 1


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_a_stop_keeps_what_was_under_way(scheduler: str) -> None:
    done = []

    def work(task: int) -> int:
        done.append(task)
        return task

    results = list(run_ordered(work, (), range(1000), scheduler=scheduler, workers=2, stop=lambda: len(done) >= 5))
    assert results == list(range(len(results)))
    assert 5 <= len(results) <= 7
    assert sorted(done) == results


def cores(_: object) -> int:
    return torch.get_num_threads()


@pytest.mark.parametrize("scheduler", LOCAL)
def test_a_task_computes_on_one_core(three_threads: None, monkeypatch: pytest.MonkeyPatch, scheduler: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert set(run_ordered(cores, (), range(6), scheduler=scheduler, workers=2)) == {1}
    assert torch.get_num_threads() == 3


def test_the_bundled_models_result_is_the_same_to_the_byte_for_any_workers_and_cores(three_threads: None) -> None:
    image = town((512, 640), seed=2).image
    model = samgeo.load_model("tiny", device="cpu")

    def canonical(**options: object) -> bytes:
        found = samgeo.segment(image, model=model, points_per_side=6, progress=False, **options)
        assert len(found) > 10
        return found.to_wkb().to_csv().encode()

    expected = canonical(workers=1)
    assert canonical(workers=3) == expected
    torch.set_num_threads(1)
    assert canonical(scheduler="synchronous") == expected


class Deadly:
    """Takes its process with it at certain tasks, the first times."""

    def __init__(self, trace: Path, times: dict[int, int]) -> None:
        self.trace, self.times = trace, times

    def __call__(self, task: int) -> int:
        time.sleep(0.01)
        deaths = len(list(self.trace.glob(f"{task}-*")))
        if deaths < self.times.get(task, 0):
            (self.trace / f"{task}-{deaths}").touch()
            os._exit(9)
        return task


@pytest.mark.slow
def test_a_task_that_always_kills_its_worker_is_told_and_no_other_is_lost(tmp_path: Path) -> None:
    deadly = Deadly(tmp_path, {3: 1, 12: 1000, 20: 2})
    lost = lambda task, reason: (task, reason)  # noqa: E731 - it stays in this process
    results = list(run_ordered(deadly, (), range(24), scheduler="processes", workers=2, lost=lost))
    told = results[12]
    assert told[0] == 12
    assert "worker process died" in told[1]
    assert [one for one in results if one != told] == [task for task in range(24) if task != 12]


def test_a_lost_task_is_called_what_it_is() -> None:
    work = Work(square, (5,), lambda _: None, None, None, lambda task: f"the image {task}.tif")
    with pytest.raises(
        WindowError, match=r"^the image 3\.tif could not be computed: its worker died; give workers more memory"
    ):
        work.replace(3, "its worker died")


@pytest.mark.parametrize(
    ("scale", "row", "columns", "told"),
    [
        (1, 0, (0,), "the window at row 0, column 0"),
        (1, 2, (1, 2), "the window at row 2, column 1 and 1 more to the right of it"),
        (2, 1, (0,), "the window of scale 2 at row 1, column 0"),
    ],
)
def test_windows_are_called_by_scale_row_and_column(scale: int, row: int, columns: tuple[int, ...], told: str) -> None:
    levels = Levels.of(Lattice((300, 300), 128, 32), (1, 2))
    number = next(one for one in range(5) if levels.locate(one)[0::2] == (scale, row))
    assert describe_task(levels, tuple((number, column) for column in columns)) == told


def test_there_is_a_worker_for_each_core_as_far_as_memory_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask.system
    import distributed.system

    for count, gib, expected in ((1, 64, 1), (2, 1, 2), (16, 64, 16), (16, 9, 4), (16, 1, 2)):
        monkeypatch.setattr(dask.system, "CPU_COUNT", count)
        monkeypatch.setattr(distributed.system, "MEMORY_LIMIT", gib << 30)
        assert default_workers() == expected


UNGUARDED = """
import numpy as np
import samgeo
from samgeo.testing.oracle import Oracle

ids = np.ones((64, 64, 3), np.uint8)
{call}
"""


@pytest.mark.parametrize(
    "call",
    [
        'samgeo.segment(ids, model=Oracle(64), scheduler="processes", workers=1, progress=False)',
        pytest.param(
            'samgeo.encode(ids, "ids.zarr", model=Oracle(64), scheduler="processes", workers=1, progress=False)',
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_script_without_a_main_guard_is_told_what_it_needs(call: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(UNGUARDED.format(call=call))
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "ended while they started" in last
    assert 'below a line `if __name__ == "__main__":`' in last
    assert 'OptionError: scheduler is "processes", but each worker process runs this script again' in done.stderr
    assert "want of memory" not in done.stderr


@pytest.mark.parametrize("scheduler", ["nowhere", "thread", 5, True, ["threads"], b"threads"])
def test_a_scheduler_that_is_none_is_refused_before_work(scheduler: object, tmp_path: Path) -> None:
    raster = np.ones((64, 64, 3), np.uint8)
    with pytest.raises(OptionError, match=r"^scheduler is .*; give one of threads, processes, synchronous"):
        samgeo.segment(raster, model=Oracle(64), scheduler=scheduler)
    with pytest.raises(OptionError, match=r"^scheduler is .*; give one of threads, processes, synchronous"):
        samgeo.encode(raster, tmp_path / "ids.zarr", model=Oracle(64), scheduler=scheduler)
    assert not list(tmp_path.iterdir())
