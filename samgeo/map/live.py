"""A history under a lock: one action at a time, logged before it takes effect, saved after it, then told to observers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samgeo.map.actions import Action
from samgeo.map.annotations import Rules, State
from samgeo.map.history import History

if TYPE_CHECKING:
    from samgeo.map.log import Log

__all__ = ["Live", "Snapshot"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A session at one moment.

    Attributes
    ----------
    revision : int
        Counts changes, from 0.
    action : Action or None
        What led here; None at the start.
    state : State
    can_undo, can_redo : bool
    """

    revision: int
    action: Action | None
    state: State
    can_undo: bool
    can_redo: bool


class Live:
    """A history that threads share.

    Parameters
    ----------
    history : History
    rules : Rules
    log : Log or None
        Each action is written to it before it takes effect.
    save : callable
        Called within the lock after each action, with the state and the number of actions so far. Where it raises, the action
        is done all the same.
    actions : int, default 0
        Those that led to ``history``.
    """

    def __init__(
        self, history: History, rules: Rules, log: Log | None, save: Callable[[State, int], None], actions: int = 0
    ) -> None:
        self._history = history
        self._rules = rules
        self._log = log
        self._save = save
        self._lock = threading.RLock()
        self._snapshot = self._taken(actions, None)
        self._observers: list[Callable[[Snapshot], None]] = []
        self._untold: deque[Snapshot] = deque()
        self._telling = False

    @property
    def snapshot(self) -> Snapshot:
        """The last one; it waits for nobody."""
        return self._snapshot

    def do(self, make: Callable[[State], Action]) -> Snapshot:
        """Do an action made of the state at its turn: all of it or, where it raises, nothing.

        Raises
        ------
        SamgeoError
            If the action cannot be done or logged; or if it is done and could not be saved.
        """
        try:
            with self._lock:
                action = make(self._history.state)
                after = self._history.after(action, self._rules)
                if after is not self._history:
                    if self._log is not None:
                        self._log.append(action)
                    self._history = after
                    self._snapshot = self._taken(self._snapshot.revision + 1, action)
                    self._untold.append(self._snapshot)
                    self._save(after.state, self._snapshot.revision)
                return self._snapshot
        finally:
            self._tell()

    def subscribe(self, observer: Callable[[Snapshot], None]) -> Callable[[], None]:
        """Have an observer called after each change; return what ends it."""
        with self._lock:
            self._observers.append(observer)

        def unsubscribe() -> None:
            with self._lock:
                if observer in self._observers:
                    self._observers.remove(observer)

        return unsubscribe

    def _taken(self, revision: int, action: Action | None) -> Snapshot:
        now = self._history
        return Snapshot(revision, action, now.state, now.can_undo, now.can_redo)

    def _tell(self) -> None:
        """Call the observers, unless another thread, or a caller of this one, is at it and will go on with what is new."""
        while True:
            with self._lock:
                if self._telling or not self._untold:
                    return
                self._telling = True
                snapshot, observers = self._untold.popleft(), tuple(self._observers)
            try:
                for observer in observers:
                    observer(snapshot)
            finally:
                with self._lock:
                    self._telling = False
