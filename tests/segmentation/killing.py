"""Runs in processes that are killed without a word: at a given rename, or after a time; for test_run_kills."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

# All that a run loads, so that forked children need not.
import dask.delayed  # noqa: F401
import geopandas  # noqa: F401
import pyarrow.parquet  # noqa: F401
import rasterio.windows  # noqa: F401
import torch  # noqa: F401
import tqdm  # noqa: F401

import samgeo
import samgeo.geo.vector.joining
import samgeo.segmentation.api
import samgeo.segmentation.masks.vectorize
import samgeo.segmentation.windows.automatic
from samgeo.segmentation.run.folder import RunFolder
from samgeo.testing.oracle import Oracle

OPTIONS = {"window": 128, "overlap": 64, "points_per_side": 16, "progress": False}


class Slow(Oracle):
    """An oracle that takes a while, so that a kill meets it at work."""

    def embed(self, images, sizes=None):
        time.sleep(0.1)
        return super().embed(images, sizes)


def segment(image: Path, output: Path, model: type[Oracle] = Oracle, **options) -> None:
    samgeo.segment(image, output, model=model(128), **OPTIONS, **options)


def in_child(work) -> int:
    """Do something in a forked process; return how it ended."""
    return os.waitpid(begin(work), 0)[1]


def begin(work) -> int:
    """Do something in a forked process, with a group of its own."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - a child must not go on as its parent
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return child


def die_at_rename(number: int) -> None:
    """Have this process killed before its rename of a number, from 0, with what it would rename left behind."""
    count, replace = 0, Path.replace

    def deadly(path: Path, target: Path) -> Path:
        nonlocal count
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1
        result = replace(path, target)
        if target.name.startswith("at-") and number == 1000:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    Path.replace = deadly


def at_every_rename(image: Path, folder: Path, expected: bytes, scales: tuple[int, ...]) -> int:
    """Kill a run before each of its renames, and after the last; finish it; return how many there were."""
    survived = None
    for number in [1000, *range(1000)]:
        output = folder / f"at-{number}.parquet"

        def work(number=number, output=output) -> None:
            die_at_rename(number)
            segment(image, output, scheduler="synchronous", scales=scales)

        ended = in_child(work)
        survived = number if ended == 0 else None
        if survived is None:
            assert os.WIFSIGNALED(ended), f"rename {number}"
            again = in_child(lambda output=output: segment(image, output, scheduler="synchronous", scales=scales))
            assert again == 0, f"rename {number}"
        assert output.read_bytes() == expected, f"rename {number}"
        if survived is not None:
            return survived
    raise AssertionError("it never ended")


def at_random(place: Path, kills: int, scheduler: str) -> int:
    """Kill runs after random times, all their processes, until they are through; return how often they were met at work."""
    rng, met, runs = random.Random(5), 0, 0
    while met < kills:
        output = place / f"random-{runs}.parquet"
        runs += 1
        while not output.exists() or output.with_name(f"{output.name}.run").exists():
            command = [sys.executable, __file__, str(place), "once", output.name, scheduler]
            with subprocess.Popen(command, start_new_session=True) as process:  # noqa: S603
                while process.poll() is None and not at_work(output, process.pid):
                    time.sleep(0.01)
                try:
                    assert process.wait(rng.uniform(0, 2 if scheduler == "threads" else 12)) == 0
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    met += 1
        assert output.read_bytes() == (place / "undisturbed.parquet").read_bytes(), f"after {met} kills"
    return met


def at_work(output: Path, pid: int) -> bool:
    """Whether a process has begun with its windows."""
    return RunFolder(output.with_name(f"{output.name}.run")).session().get("pid") == pid


if __name__ == "__main__":
    work, mode = Path(sys.argv[1]), sys.argv[2]
    if mode == "once":
        segment(work / "image.tif", work / sys.argv[3], Slow, scheduler=sys.argv[4])
        sys.exit(0)
    if mode == "renames":
        scales = tuple(int(scale) for scale in sys.argv[3].split(","))
        done = at_every_rename(work / "image.tif", work, (work / "undisturbed.parquet").read_bytes(), scales)
    else:
        done = at_random(work, int(sys.argv[3]), mode)
    left = sorted(path.name for path in work.iterdir() if path.suffix not in {".tif", ".parquet"})
    assert left == [], left
    sys.stdout.write(str(done))
