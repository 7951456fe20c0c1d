"""Windows of several scales on Dask clusters: the same bytes as in threads and with one worker, also after stops and kills."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from distributed import Client, LocalCluster
from killing import Slow
from scaled import Sharp, paint

import samgeo
from samgeo.errors import StoppedError
from samgeo.segmentation import segment_to_file, store_status
from samgeo.testing.rasters import write_raster

HERE = Path(__file__).parent
OPTIONS = {"overlap": 64, "points_per_side": 16, "scales": (1, 2, 4), "progress": False}


@contextmanager
def cluster(**options) -> Iterator[Client]:
    with (
        LocalCluster(**{"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"} | options) as made,
        Client(made, set_as_default=False) as client,
    ):
        yield client


def scene() -> np.ndarray:
    """A lake with an island, larger than a window of scale 2, a river as tall as the raster, and houses."""
    labels = np.zeros((500, 330), dtype=np.int32)
    labels[30:470, 20:230] = 1
    labels[200:230, 100:140] = 2
    labels[:, 250:285] = 3
    labels[100:150, 255:280] = 4
    labels[40:70, 295:320] = 5
    return labels


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the raster, and the objects as one worker of this process writes them."""
    folder = tmp_path_factory.mktemp("cluster")
    image = write_raster(folder / "image.tif", paint(scene()))
    segment_to_file(image, folder / "undisturbed.parquet", model=Sharp(128), scheduler="synchronous", **OPTIONS)
    return folder


def same(place: Path, output: Path) -> bool:
    return output.read_bytes() == (place / "undisturbed.parquet").read_bytes()


def test_a_cluster_of_threads_gives_the_same_bytes_also_when_it_is_stopped_and_from_a_store(
    place: Path, tmp_path: Path
) -> None:
    image, output, stops, calls = place / "image.tif", tmp_path / "out.parquet", 0, iter(range(100))
    segment_to_file(image, tmp_path / "threads.parquet", model=Sharp(128), workers=2, **OPTIONS)
    assert same(place, tmp_path / "threads.parquet")
    with cluster(processes=False) as client:
        while not output.exists():
            left = iter(range(12 + next(calls)))
            try:
                segment_to_file(
                    image,
                    output,
                    model=Sharp(128),
                    scheduler=client,
                    stop=lambda left=left: next(left, None) is None,
                    **OPTIONS,
                )
            except StoppedError:
                stops += 1
        assert stops > 1
        assert same(place, output)
        store = tmp_path / "store.zarr"
        model = Sharp(128)
        done = samgeo.encode(image, store, model=model, overlap=64, scales=(1, 2, 4), scheduler=client, progress=False)
        assert done.encoded == done.windows == sum(one.stored for one in store_status(store).scales)
        segment_to_file(image, tmp_path / "stored.parquet", model=model, cache=store, scheduler=client, **OPTIONS)
        assert same(place, tmp_path / "stored.parquet")


class Deadly(Sharp):
    """An oracle that takes its process away, so many times."""

    def __init__(self, side: int, trace: Path, times: int) -> None:
        super().__init__(side)
        self.trace, self.times = trace, times

    def __reduce__(self):
        return type(self), (self.input_size, self.trace, self.times)

    def embed(self, images, sizes=None):
        calls = len(list(self.trace.iterdir()))
        if calls < 12 * self.times:
            (self.trace / f"{os.getpid()}-{time.monotonic_ns()}").touch()
            if calls % 12 == 11:
                os._exit(9)
        return super().embed(images, sizes)


@pytest.mark.slow
def test_a_cluster_of_processes_gives_the_same_bytes_also_when_workers_are_killed(place: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.mkdir()
    with cluster(processes=True) as client:
        segment_to_file(place / "image.tif", tmp_path / "out.parquet", model=Sharp(128), scheduler=client, **OPTIONS)
        assert same(place, tmp_path / "out.parquet")
        deadly = Deadly(128, trace, 2)
        segment_to_file(place / "image.tif", tmp_path / "killed.parquet", model=deadly, scheduler=client, **OPTIONS)
        assert len(list(trace.iterdir())) >= 24
        assert same(place, tmp_path / "killed.parquet")
        store = tmp_path / "store.zarr"
        options = {"cache": store, "scheduler": client, **OPTIONS}
        segment_to_file(place / "image.tif", tmp_path / "filling.parquet", model=Sharp(128), **options)
        segment_to_file(place / "image.tif", tmp_path / "filled.parquet", model=Sharp(128), **options)
        assert [one.scale for one in store_status(store).scales] == [1, 2, 4]
        assert same(place, tmp_path / "filling.parquet")
        assert same(place, tmp_path / "filled.parquet")
    segment_to_file(
        place / "image.tif", tmp_path / "processes.parquet", model=Sharp(128), scheduler="processes", workers=2, **OPTIONS
    )
    assert same(place, tmp_path / "processes.parquet")


RUN = textwrap.dedent(
    """
    import sys
    from distributed import Client, LocalCluster
    from samgeo.segmentation import segment_to_file
    import test_scales_on_cluster as tests

    if __name__ == "__main__":
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            segment_to_file(sys.argv[1], sys.argv[2], model=tests.SlowAndSharp(128), scheduler=client, **tests.OPTIONS)
    """
)


class SlowAndSharp(Slow, Sharp):
    """A model that takes a while, so that a kill meets it at work."""


@pytest.mark.slow
@pytest.mark.parametrize("after", ["a cluster", "threads"])
def test_a_run_on_a_cluster_that_is_killed_goes_on_to_the_same_bytes(place: Path, tmp_path: Path, after: str) -> None:
    image, output = tmp_path / "image.tif", tmp_path / "out.parquet"
    shutil.copy2(place / "image.tif", image)
    script = tmp_path / "run.py"
    script.write_text(RUN)
    search = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": search}
    command = [sys.executable, script, image, output]
    kills = 0
    for parts in (2, 6):
        with subprocess.Popen(command, env=environment, start_new_session=True) as run:  # noqa: S603
            found: list[Path] = []
            while run.poll() is None and len(found) < parts:
                time.sleep(0.02)
                found = list((tmp_path / "out.parquet.run").glob("merged/*.npz"))
            os.killpg(run.pid, signal.SIGKILL)
            kills += run.wait() == -signal.SIGKILL
    assert kills == 2
    assert not output.exists()
    if after == "threads":
        segment_to_file(image, output, model=Sharp(128), workers=2, **OPTIONS)
    else:
        assert subprocess.run(command, env=environment, check=False, timeout=300).returncode == 0  # noqa: S603
    segment_to_file(image, tmp_path / "undisturbed.parquet", model=Sharp(128), scheduler="synchronous", **OPTIONS)
    assert output.read_bytes() == (tmp_path / "undisturbed.parquet").read_bytes()
