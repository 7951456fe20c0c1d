"""A history under a lock: one action at a time, logged before it takes effect, saved after it, then told to observers.

Before an action that changes objects, what other programs changed in the saved file is taken over, and the file stays locked
until the action is saved: the action is done to what is there, and nothing that others wrote is overwritten.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from samgeo.errors import SamgeoError
from samgeo.map.state.actions import CHANGING, Action, Merge
from samgeo.map.state.history import History
from samgeo.map.state.merging import palette_of
from samgeo.map.state.reducer import Rules, State

if TYPE_CHECKING:
    from samgeo.map.state.log import Log

__all__ = ["Live", "Snapshot", "Store"]


class Store(Protocol):
    """Where objects are saved, and where other programs may change them: `samgeo.map.files.autosave.Autosave`."""

    def is_behind(self, state: State) -> bool:
        """Whether a state has other objects than the ones that were saved last."""

    def locked(self) -> AbstractContextManager[None]:
        """Keep others from writing; what `push` wrote is kept at the end, or nothing where the end raises."""

    def pull(self, state: State) -> Merge | None:
        """Return what others changed since the store was last read or written, if anything; then call `took_over`."""

    def took_over(self) -> None:
        """Count what `pull` returned as known: the state has it now."""

    def push(self, state: State, actions: int) -> None:
        """Write the objects of a state, which so many actions led to."""


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
    merge : Merge or None
        What was taken over from the saved file just before the action, if anything.
    """

    revision: int
    action: Action | None
    state: State
    can_undo: bool
    can_redo: bool
    merge: Merge | None = None


class Live:
    """A history that threads share.

    Parameters
    ----------
    history : History
    rules : Rules
    log : Log or None
        Each action is written to it before it takes effect.
    store : Store or None
        Written after each action that changes objects. Where that fails, the action is done all the same, and is written with
        the next one.
    actions : int, default 0
        Those that led to ``history``.
    """

    def __init__(self, history: History, rules: Rules, log: Log | None, store: Store | None = None, actions: int = 0) -> None:
        self._history = history
        self._rules = rules
        self._log = log
        self._store = store
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
                if self._store is None:
                    return self._do(action)
                if isinstance(action, CHANGING):
                    return self._do_saved(make, self._store)
                self._do(action)
                self.save()
                return self._snapshot
        finally:
            self._tell()

    def save(self) -> None:
        """Save what is not saved yet.

        Raises
        ------
        SamgeoError
            If it could not be saved.
        """
        try:
            with self._lock:
                if self._store is not None and self._store.is_behind(self._history.state):
                    self._do_saved(None, self._store)
        finally:
            self._tell()

    @property
    def classes(self) -> tuple[str, ...]:
        """The palette, with the classes that came from the saved file."""
        return self._rules.classes

    def _do(self, action: Action, merge: Merge | None = None) -> Snapshot:
        after = self._history.after(action, self._rules)
        if after is not self._history:
            if self._log is not None:
                self._log.append(action)
            self._history = after
            self._snapshot = replace(self._taken(self._snapshot.revision + 1, action), merge=merge)
            self._untold.append(self._snapshot)
        return self._snapshot

    def _do_saved(self, make: Callable[[State], Action] | None, store: Store) -> Snapshot:
        """Take over what others changed, do an action if one is given, and save, while the store is locked."""
        unsaved: SamgeoError | None = None
        merge: Merge | None = None
        with ExitStack() as held:
            try:
                held.enter_context(store.locked())
                merge = store.pull(self._history.state)
            except SamgeoError as error:
                unsaved = error
            if merge is not None and merge.changes:
                self._rules = replace(self._rules, classes=palette_of(self._rules.classes, merge.changes))
                self._do(merge)
                store.took_over()
            if make is not None:
                # Made anew: it may name objects that others changed.
                self._do(make(self._history.state), merge)
            if unsaved is not None:
                raise unsaved
            store.push(self._history.state, self._snapshot.revision)
        return self._snapshot

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
