"""The history of a session with a lock. Actions are done one at a time: each is logged, done, saved, and sent to observers.

Before an action that changes objects, the session takes over the changes of other programs in the saved file. The file stays
locked until the action is saved, so that the action works on the current objects and overwrites nothing that others wrote.
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
from samgeo.map.state.reducer import Rules, State

if TYPE_CHECKING:
    from samgeo.map.state.log import Log

__all__ = ["Live", "Snapshot", "Store"]


class Store(Protocol):
    """A file of saved objects that other programs may change, such as `samgeo.map.files.autosave.Autosave`."""

    def is_behind(self, state: State) -> bool:
        """Whether the objects of a state differ from the objects that were saved last."""

    def locked(self) -> AbstractContextManager[None]:
        """Lock the store against other writers. At the end all writes of `push` are kept; after an error none is kept."""

    def pull(self, state: State) -> Merge | None:
        """Return the changes of others since the last read or write, or None. Call `took_over` once they are applied."""

    def took_over(self) -> None:
        """Record that the state now contains the changes that `pull` returned."""

    def push(self, state: State, actions: int) -> None:
        """Write the objects of a state. ``actions`` is the number of actions that led to it."""


@dataclass(frozen=True, slots=True, repr=False)
class Snapshot:
    """A session at one moment.

    Attributes
    ----------
    revision : int
        Number of changes so far, from 0.
    action : Action or None
        The action that led to this state; None at the start.
    state : State
    can_undo, can_redo : bool
    merge : Merge or None
        The changes that were taken over from the saved file just before the action, if there were any.
    """

    revision: int
    action: Action | None
    state: State
    can_undo: bool
    can_redo: bool
    merge: Merge | None = None

    def __repr__(self) -> str:
        counts = (
            f"{len(self.state.objects)} objects, {len(self.state.proposals)} proposals, {len(self.state.prompt.marks)} marks"
        )
        after = "at the start" if self.action is None else f"after {type(self.action).__name__}"
        return f"Snapshot(revision {self.revision}, {after}: {counts})"


class Live:
    """A history that threads share.

    Parameters
    ----------
    history : History
    rules : Rules
    log : Log or None
        Each action is written to it before it takes effect.
    store : Store or None
        It is written after each action that changes objects. If writing fails, the action still takes effect, and is written
        together with the next one.
    actions : int, default 0
        Number of actions that led to ``history``.
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
        """The latest snapshot. Reading it does not wait for an action in progress."""
        return self._snapshot

    def do(self, make: Callable[[State], Action]) -> Snapshot:
        """Do the action that ``make`` returns for the current state. If the action raises, the state does not change.

        Raises
        ------
        SamgeoError
            If the action cannot be done or logged, or if it was done but could not be saved.
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
        """Save changes that are not saved yet.

        Raises
        ------
        SamgeoError
            If the changes cannot be saved.
        """
        try:
            with self._lock:
                if self._store is not None and self._store.is_behind(self._history.state):
                    self._do_saved(None, self._store)
        finally:
            self._tell()

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
        """Lock the store, take over the changes of others, do the action if one is given, and save."""
        unsaved: SamgeoError | None = None
        merge: Merge | None = None
        with ExitStack() as held:
            try:
                held.enter_context(store.locked())
                merge = store.pull(self._history.state)
            except SamgeoError as error:
                unsaved = error
            if merge:
                self._do(merge)
                store.took_over()
            if make is not None:
                # The action is made from the merged state, because it may refer to objects that others changed.
                self._do(make(self._history.state), merge)
            if unsaved is not None:
                raise unsaved
            store.push(self._history.state, self._snapshot.revision)
        return self._snapshot

    def subscribe(self, observer: Callable[[Snapshot], None]) -> Callable[[], None]:
        """Call an observer after each change; return a function that ends the subscription."""
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
        """Call the observers. If they are being called already, that call also sends the new snapshots, so return at once."""
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
