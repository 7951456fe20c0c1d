"""Observers of an annotation session, and threads that read it while others act."""

import threading

import pytest
from map_scene import LABELS, POINTS, accept_object

import samgeo
from samgeo.map.session import Session, Snapshot
from samgeo.testing import encode_ids
from samgeo.testing.oracle import Oracle


def test_observers_get_each_change_once_in_order_until_they_unsubscribe(session: Session) -> None:
    told: list[Snapshot] = []
    unsubscribe = session.subscribe(told.append)
    accept_object(session, 0)
    session.undo()
    assert [(one.revision, type(one.action).__name__, one.can_redo) for one in told] == [
        (1, "AddPoint", False),
        (2, "Accept", False),
        (3, "Undo", True),
    ]
    assert told[-1] is session.snapshot
    unsubscribe()
    unsubscribe()
    session.redo()
    assert len(told) == 3


def test_observers_are_called_outside_the_lock_and_may_act(session: Session) -> None:
    revisions: list[int] = []
    read: list[int] = []

    def accept_what_is_found(snapshot: Snapshot) -> None:
        other = threading.Thread(target=lambda: read.append(session.select(None).revision))
        other.start()
        other.join(timeout=20)
        assert not other.is_alive()
        if snapshot.state.candidate is not None:
            session.accept()

    session.subscribe(accept_what_is_found)
    session.subscribe(lambda snapshot: revisions.append(snapshot.revision))
    session.add_point(*POINTS[0])
    assert len(session.state.objects) == 1
    assert revisions == [1, 2]
    assert read == [1, 2]


def test_an_observer_that_fails_does_not_stop_those_to_come(session: Session) -> None:
    told: list[int] = []

    def fail_once(snapshot: Snapshot) -> None:
        if snapshot.revision == 1:
            raise ZeroDivisionError

    session.subscribe(fail_once)
    session.subscribe(lambda snapshot: told.append(snapshot.revision))
    with pytest.raises(ZeroDivisionError):
        session.add_point(*POINTS[0])
    session.accept()
    assert told == [2]


def test_a_state_can_be_read_while_another_thread_waits_for_the_model() -> None:
    entered, release = threading.Event(), threading.Event()

    class Slow(Oracle):
        def embed(self, images, sizes=None):
            entered.set()
            assert release.wait(timeout=20)
            return super().embed(images, sizes)

    session = Session(samgeo.Predictor(encode_ids(LABELS), model=Slow(128)))
    before = session.state
    thread = threading.Thread(target=session.add_point, args=POINTS[0])
    thread.start()
    assert entered.wait(timeout=20)
    assert session.state == before
    release.set()
    thread.join(timeout=20)
    assert session.state.candidate is not None
