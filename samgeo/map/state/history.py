"""The history of states of a session, with undo and redo, and the replay of a log."""

from __future__ import annotations

from dataclasses import dataclass, field

from samgeo.errors import OptionError, SamgeoError
from samgeo.map.state.actions import Action, Merge, Redo, Undo
from samgeo.map.state.log import Recorded
from samgeo.map.state.merging import merged
from samgeo.map.state.reducer import Rules, State, apply

__all__ = ["History", "replay"]

# A linked list of states. Histories share it, so that a step costs the same however long the history is.
_Stack = tuple[State, "_Stack"] | None


@dataclass(frozen=True, slots=True)
class History:
    """The current state, the states before it, and the states that were undone.

    Attributes
    ----------
    state : State
    """

    state: State
    _past: _Stack = field(default=None, repr=False, compare=False)
    _future: _Stack = field(default=None, repr=False, compare=False)

    @property
    def can_undo(self) -> bool:
        """Whether there is something to undo."""
        return self._past is not None

    @property
    def can_redo(self) -> bool:
        """Whether there is something to do again."""
        return self._future is not None

    def after(self, action: Action, rules: Rules) -> History:
        """Return the history after an action; the same history object if the action changes nothing.

        Raises
        ------
        SamgeoError
            If the action cannot be done.
        """
        if isinstance(action, Undo):
            if self._past is None:
                return self
            before, earlier = self._past
            return History(before, earlier, (self.state, self._future))
        if isinstance(action, Redo):
            if self._future is None:
                return self
            again, later = self._future
            return History(again, (self.state, self._past), later)
        if isinstance(action, Merge):
            return self._merged(action)
        state = apply(self.state, action, rules)
        return self if state == self.state else History(state, (self.state, self._past), None)

    def _merged(self, merge: Merge) -> History:
        """Return the history with the changes of others in each state. The number of steps to undo stays the same."""
        past, future = _unstacked(self._past), _unstacked(self._future)
        states = merged([self.state, *past, *future], merge)
        earlier, later = states[1 : len(past) + 1], states[len(past) + 1 :]
        return History(states[0], _stacked(earlier), _stacked(later))


def replay(recorded: Recorded, rules: Rules) -> History:
    """Repeat the actions of the last session of a log.

    Raises
    ------
    OptionError
        If an action cannot be done, because the log was changed. The message names the line.
    """
    opening = recorded.opening
    history = History(opening.state)
    for number, action in recorded.actions:
        try:
            history = history.after(action, rules)
        except SamgeoError as error:
            raise OptionError(f"the action in line {number} of {recorded.path} cannot be repeated: {error}") from None
    return history


def _unstacked(stack: _Stack) -> list[State]:
    states = []
    while stack is not None:
        state, stack = stack
        states.append(state)
    return states


def _stacked(states: list[State]) -> _Stack:
    stack: _Stack = None
    for state in reversed(states):
        stack = state, stack
    return stack
