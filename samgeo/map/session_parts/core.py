"""What all parts of a session use: its history, its answers and its state."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.map.state.live_state import Live, Snapshot
from samgeo.map.state.values import Rules, State
from samgeo.map.suggestions import Answers

if TYPE_CHECKING:
    from samgeo.segmentation.predictor import Predictor

__all__ = ["SessionCore", "now"]


def now() -> str:
    """Return the present time in ISO 8601 and UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


class SessionCore:
    """The attributes of a session that its parts use. `samgeo.map.session.Session` sets them.

    Attributes
    ----------
    id : str
        Name of the session in logs and files.
    autosave : Path or None
        The file to which the objects are saved after each change.
    """

    id: str
    autosave: Path | None
    _live: Live
    _answers: Answers
    _rules: Rules
    _run: dict[str, Any]

    @property
    def predictor(self) -> Predictor:
        """The raster, and the model that answers the next prompt: that of the start, or the one of `use_model`."""
        return self._answers.predictor(self.state.weights)

    @property
    def classes(self) -> tuple[str, ...]:
        """The palette: the given classes, the classes of saved objects, and classes that other programs added."""
        return self.state.class_list.names

    @property
    def colors(self) -> dict[str, str]:
        """The colour of each class, as ``#rrggbb``."""
        return self.state.class_list.colors

    @property
    def state(self) -> State:
        """The current state. Reading it does not wait for an action in progress."""
        return self._live.snapshot.state

    @property
    def snapshot(self) -> Snapshot:
        """The current state, and whether undo and redo are possible. Reading it does not wait for an action in progress."""
        return self._live.snapshot
