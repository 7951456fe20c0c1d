"""Time by stage: nothing counts twice, threads add up, and the model's idle share is that of the wall clock."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path

import numpy as np
import pytest
import torch

import samgeo
from samgeo.errors import OptionError
from samgeo.segmentation.profile import Profile, profiling, stage, timed
from samgeo.testing import encode_ids, scattered
from samgeo.testing.oracle import Oracle


class Clock:
    """A clock that stands still unless it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr("samgeo.segmentation.profile.time.perf_counter", clock)
    return clock


def seconds(profile: Profile) -> dict[str, float]:
    return {one.name: one.seconds for one in profile.stages}


def test_a_stage_inside_another_interrupts_it(clock: Clock) -> None:
    with profiling() as profile, stage("merge"):
        clock.wait(1)
        with stage("write"):
            clock.wait(2)
        clock.wait(4)
    assert seconds(profile) == {"write": 2, "merge": 5}
    assert profile.wall == 7


def test_the_model_is_idle_while_no_thread_uses_it(clock: Clock) -> None:
    with profiling() as profile:
        clock.wait(1)
        with stage("encode"):
            clock.wait(2)
            with profile.stage("decode"):  # as if of another thread: both are the model
                clock.wait(1)
        with stage("masks"):
            clock.wait(4)
    assert profile.model_idle == 5 / 8
    assert profile.outside_model == 4 / 7


def test_the_clock_stops_at_the_end_and_nothing_is_timed_after(clock: Clock) -> None:
    with profiling() as profile:
        clock.wait(3)
    clock.wait(5)
    with stage("read"):
        clock.wait(1)
    assert profile.wall == 3
    assert profile.stages == []
    assert (profile.outside_model, profile.model_idle) == (0, 1)


def test_threads_add_up() -> None:
    @timed("masks")
    def work(go: threading.Barrier) -> None:
        go.wait()

    with profiling() as profile:
        go = threading.Barrier(4)
        threads = [threading.Thread(target=copy_context().run, args=(work, go)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [(one.name, one.calls) for one in profile.stages] == [("masks", 4)]


def test_an_error_passes_and_its_time_counts(clock: Clock) -> None:
    @timed("read")
    def breaks() -> None:
        clock.wait(2)
        raise ValueError("broken")

    with profiling() as profile, pytest.raises(ValueError, match="broken"):
        breaks()
    assert seconds(profile) == {"read": 2}


def test_one_run_at_a_time() -> None:
    with profiling(), pytest.raises(OptionError, match="profiled already"), profiling():
        pass
    with profiling() as profile:
        assert profile.stages == []


def test_the_table_has_the_longest_first(clock: Clock) -> None:
    with profiling() as profile:
        for name, length in (("read", 1.0), ("decode", 6.0), ("masks", 1.0)):
            with stage(name):
                clock.wait(length)
    lines = profile.table().splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["decode", "read", "masks"]
    assert lines[1].split() == ["decode", "1", "6.00", "75.0%"]
    assert lines[-1].startswith("8.00 s in all; the model idle for 25.0% of them; 25.0%")


class Event:
    """Of a CUDA device whose clock is the test's, and which is done with all but the last of what it was given."""

    clock: Clock
    waited: list[Event]

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing

    def record(self, stream: object) -> None:
        assert stream == "stream of cuda:0"
        self.at = self.clock.now

    def query(self) -> bool:
        return self.at < self.clock.now

    def synchronize(self) -> None:
        self.waited.append(self)

    def elapsed_time(self, end: Event) -> float:
        return 1000 * (end.at - self.at)


def test_a_gpu_is_idle_while_it_has_no_work_of_the_model(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    Event.clock, Event.waited = clock, []
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    gpu = torch.device("cuda:0")
    with profiling() as profile:
        for wait in (3, 2):
            with stage("decode", gpu):
                clock.wait(wait)
        with stage("masks"):
            clock.wait(1)
        with stage("encode", gpu):
            clock.wait(4)
        assert len(Event.waited) == 2  # what is done is added up on the way, and what is not is not waited for
    assert profile.device_idle == pytest.approx(0.1)
    assert profile.to_dict()["device_idle"] == profile.device_idle
    assert "the GPU for 10.0%" in profile.table()


def test_without_a_gpu_nothing_is_said_of_one(clock: Clock) -> None:
    with profiling() as profile, stage("decode", torch.device("cpu")):
        clock.wait(1)
    assert profile.device_idle is None
    assert "GPU" not in profile.table()


@pytest.mark.parametrize("scheduler", ["processes", "tcp://somewhere:8786"])
def test_processes_that_the_timers_do_not_see_are_refused(scheduler: str) -> None:
    oracle = Oracle(64)
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    with profiling(), pytest.raises(OptionError, match="covers only this process"):
        samgeo.segment(image, model=oracle, progress=False, scheduler=scheduler)
    assert oracle.embedded == 0


def test_the_threads_of_a_run_are_timed_and_those_of_another_run_are_not() -> None:
    image = encode_ids(scattered(6, (96, 96), seed=1, min_size=10, max_size=24))
    other = threading.Thread(target=samgeo.segment, args=(image,), kwargs={"model": Oracle(64), "progress": False})
    with profiling() as profile:
        other.start()
        other.join()
        assert profile.stages == []
        samgeo.segment(image, model=Oracle(64), progress=False, scheduler="threads", workers=2)
    assert {one.name: one.calls for one in profile.stages}["encode"] == 4


def test_a_run_is_timed_from_reading_to_polygons() -> None:
    image = encode_ids(scattered(6, (96, 96), seed=1, min_size=10, max_size=24))
    with profiling() as profile:
        found = samgeo.segment(image, model=Oracle(64), progress=False, scheduler="synchronous")
    calls = {one.name: one.calls for one in profile.stages}
    assert len(found)
    assert {"read", "encode", "decode", "masks", "suppress", "merge", "vectorize"} <= set(calls)
    assert calls["read"] >= calls["encode"] == 4
    assert 0 < sum(seconds(profile).values()) <= profile.wall  # in one thread


def test_nearly_all_of_the_time_of_a_run_is_in_a_stage(tmp_path: Path) -> None:
    image = encode_ids(scattered(60, (700, 900), seed=1))
    output = tmp_path / "objects.parquet"
    options = {"model": Oracle(256), "points_per_side": 16, "progress": False, "scheduler": "synchronous"}
    samgeo.segment(image, output, **options)  # what is loaded when it is first needed is no stage
    with profiling() as profile:
        samgeo.segment(image, output, overwrite=True, **options)
    assert {"open", "keep", "table", "pieces", "write", "collect"} <= set(seconds(profile))
    assert 0.9 * profile.wall < sum(seconds(profile).values()) <= profile.wall
