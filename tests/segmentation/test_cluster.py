"""Clusters whose workers and schedulers die, and come back or not."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster
from killing import OPTIONS, Slow

import samgeo
import samgeo.segmentation.execution.dask_cluster
from samgeo.errors import OptionError, WindowError
from samgeo.segmentation.execution.tasks import run_ordered
from samgeo.segmentation.windows.worker import ModelReference, load_referenced
from samgeo.testing import encode_ids, scattered
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import write_raster

HERE = Path(__file__).parent


@contextmanager
def local(**options) -> Iterator[Client]:
    with (
        LocalCluster(**{"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0"} | options) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def add(number: int, task: int) -> int:
    return number + task


def die_at_five(trace: Path, task: int) -> int:
    """Take the process away, the first time."""
    if task == 5 and not trace.exists():
        trace.touch()
        os._exit(9)
    return -task


def test_the_only_worker_dies_with_the_arguments_and_they_are_sent_again(tmp_path: Path) -> None:
    finished: list[int] = []
    with local(processes=True) as client:
        found = run_ordered(die_at_five, (tmp_path / "trace",), range(12), scheduler=client, done=finished.append)
        assert list(found) == [-task for task in range(12)]
    assert (tmp_path / "trace").exists()
    assert len(finished) >= 12


def test_workers_that_come_later_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samgeo.segmentation.execution.dask_cluster, "COUNT_SECONDS", 0.0)
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for task in range(40):
            taken.append(task)
            yield task

    with local(processes=False) as client:
        results = run_ordered(add, (1,), tasks(), scheduler=client)
        next(results)
        assert len(taken) == samgeo.segmentation.execution.dask_cluster.TASKS_PER_THREAD
        client.cluster.scale(3)
        client.wait_for_workers(3, timeout=20)
        assert [1, *results] == [1 + task for task in range(40)]


def test_a_cluster_without_workers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samgeo.segmentation.execution.dask_cluster, "PATIENCE_SECONDS", 1.0)
    with local(n_workers=0, processes=False) as client, pytest.raises(WindowError, match="no scheduler or no worker for 1 sec"):
        list(run_ordered(add, (1,), range(3), scheduler=client))


def test_a_client_that_is_closed_says_so() -> None:
    with local(processes=False) as client:
        client.close()
        with pytest.raises(WindowError, match="client is closed"):
            list(run_ordered(add, (1,), range(3), scheduler=client))


def test_no_scheduler_at_an_address_is_told_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samgeo.segmentation.execution.dask_cluster, "CONNECT_SECONDS", 0.5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OptionError, match="no Dask scheduler answers at"):
            list(run_ordered(add, (1,), range(3), scheduler=f"tcp://127.0.0.1:{taken.getsockname()[1]}"))


def load(reference: ModelReference, _: int) -> int:
    return id(load_referenced(reference))


def test_a_worker_of_several_threads_loads_a_model_once() -> None:
    with local(processes=False, threads_per_worker=4) as client:
        assert len(set(run_ordered(load, (ModelReference("tiny", "cpu", "float32"),), range(8), scheduler=client))) == 1


def where(_: None, task: int) -> str:
    from distributed import get_worker

    return str(get_worker().name)


def test_annotations_choose_the_workers_with_a_device() -> None:
    with local(n_workers=2, processes=False, resources={"GPU": 0}) as client:
        client.cluster.scale(2)
        cluster = client.cluster
        cluster.new_spec["options"]["resources"] = {"GPU": 1}
        cluster.scale(3)
        client.wait_for_workers(3, timeout=20)
        with dask.annotate(resources={"GPU": 1}):
            names = set(run_ordered(where, (None,), range(20), scheduler=client))
    assert names == {"2"}


# Both in one process, because each start of Python with its imports takes seconds.
SCHEDULER_AND_WORKER = """
import asyncio, sys
from distributed import Scheduler, Worker

async def serve():
    async with Scheduler(host="127.0.0.1", port=int(sys.argv[1]), dashboard=False) as scheduler:
        async with Worker(scheduler.address, nthreads=1):
            await scheduler.finished()

asyncio.run(serve())
"""


class Daemons:
    """A scheduler at an address and its worker, in a process that can be killed."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address, self.log = f"tcp://127.0.0.1:{self.port}", folder / "log"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        with self.log.open("a") as log:
            command = [sys.executable, "-c", SCHEDULER_AND_WORKER, str(self.port)]
            environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)  # noqa: S603

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                with Client(self.address, timeout="5s", set_as_default=False) as client:
                    return client.wait_for_workers(1, timeout=30)
            except OSError:
                assert time.monotonic() < deadline, self.log.read_text()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemons]:
    made = Daemons(tmp_path_factory.mktemp("cluster"))
    yield made
    made.kill()


@pytest.fixture
def daemons(started: Daemons) -> Daemons:
    """The shared scheduler and worker, started again where a test has killed them."""
    if started.process is None:
        started.start()
    started.wait()
    return started


@pytest.fixture
def image(tmp_path: Path) -> Path:
    labels = scattered(12, (350, 350), seed=4, min_size=20, max_size=60)
    return write_raster(tmp_path / "image.tif", encode_ids(labels))


def wait_for_work(run: Path) -> None:
    """Wait until the first of five rows of windows is done."""
    while not list(run.glob("parts/*.npz")):
        time.sleep(0.01)


@pytest.mark.parametrize("pause", [0, pytest.param(12, marks=pytest.mark.slow)])  # the client gives up after 10 seconds
def test_a_scheduler_that_is_started_anew_changes_nothing(image: Path, tmp_path: Path, daemons: Daemons, pause: int) -> None:
    samgeo.segment(image, tmp_path / "undisturbed.parquet", model=Oracle(128), **OPTIONS)
    restarted = threading.Event()

    def restart() -> None:
        wait_for_work(tmp_path / "out.parquet.run")
        daemons.kill()
        time.sleep(pause)
        daemons.start()
        restarted.set()

    thread = threading.Thread(target=restart, daemon=True)
    thread.start()
    samgeo.segment(image, tmp_path / "out.parquet", model=Slow(128), scheduler=daemons.address, **OPTIONS)
    assert restarted.is_set()
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "undisturbed.parquet").read_bytes()


def test_a_scheduler_that_stays_away_ends_the_run_which_goes_on_elsewhere(
    image: Path, tmp_path: Path, daemons: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samgeo.segmentation.execution.dask_cluster, "PATIENCE_SECONDS", 1.0)
    samgeo.segment(image, tmp_path / "undisturbed.parquet", model=Oracle(128), **OPTIONS)

    def kill() -> None:
        wait_for_work(tmp_path / "out.parquet.run")
        daemons.kill()

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    with pytest.raises(WindowError, match="continue with the same"):
        samgeo.segment(image, tmp_path / "out.parquet", model=Slow(128), scheduler=daemons.address, **OPTIONS)
    thread.join()
    assert not (tmp_path / "out.parquet").exists()
    samgeo.segment(image, tmp_path / "out.parquet", model=Oracle(128), **OPTIONS)
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "undisturbed.parquet").read_bytes()
