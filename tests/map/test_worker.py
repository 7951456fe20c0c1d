"""Work beside callbacks: the last job is always done, those that it overtook are not, and one that fails stops nothing."""

import threading

import pytest

from samgeo.map.ui import latest_worker as worker
from samgeo.map.ui.latest_worker import Latest


def test_the_last_job_is_done_and_those_overtaken_are_not() -> None:
    started, go_on, done = threading.Event(), threading.Event(), []

    def do(job: int) -> None:
        started.set()
        assert go_on.wait(30)
        done.append(job)

    latest = Latest(do)
    latest.put(0)
    assert started.wait(30)
    for job in range(1, 100):
        latest.put(job)
    assert not latest.wait(0.01)
    go_on.set()
    assert latest.wait(30)
    assert done == [0, 99]


def test_many_threads_put_and_the_last_one_wins() -> None:
    done: list[int] = []
    latest = Latest(done.append, settle_s=0.001)
    threads = [threading.Thread(target=latest.put, args=(job,)) for job in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    latest.put(1000)
    assert latest.wait(30)
    assert done[-1] == 1000


def test_its_thread_stays_for_the_next_job_and_ends_when_none_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[threading.Thread] = []
    latest = Latest(lambda _: used.append(threading.current_thread()))
    for job in range(3):
        latest.put(job)
        assert latest.wait(30)
    assert len(set(used)) == 1
    monkeypatch.setattr(worker, "IDLE_S", 0.01)
    latest.put(3)
    assert latest.wait(30)
    used[0].join(30)
    assert not used[0].is_alive()
    latest.put(4)
    assert latest.wait(30)
    assert len(used) == 5


def test_a_job_that_fails_is_told_and_the_next_one_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    told, done = [], []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_type))

    def do(job: str) -> None:
        if job == "bad":
            raise ZeroDivisionError
        done.append(job)

    latest = Latest(do)
    latest.put("bad")
    assert latest.wait(30)
    latest.put("good")
    assert latest.wait(30)
    assert (told, done) == ([ZeroDivisionError], ["good"])
