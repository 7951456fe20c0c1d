"""Faulty records of files of annotations: all are gathered, and then refused together or left out and listed."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

from samgeo.annotations.parsing.text_files import FileFaultError
from samgeo.errors import AnnotationError

__all__ = ["Faults", "Notes", "OnError"]

OnError = Literal["raise", "skip"]

_MOST_SHOWN = 20
_MOST_KEPT = 10_000


@dataclass(slots=True)
class Notes:
    """Messages, of which the first ten thousand are kept and all are counted."""

    messages: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, message: str) -> None:
        """Add a message."""
        self.count += 1
        if len(self.messages) < _MOST_KEPT:
            self.messages.append(message)

    def listed(self) -> tuple[str, ...]:
        """Return the messages, and the number of those that were not kept."""
        more = self.count - len(self.messages)
        return (*self.messages, *([f"and {more} more"] if more else []))


@dataclass(slots=True)
class Faults:
    """Faults of records. As a context, it notes the `AnnotationError` of one record, so that the reader goes on with the next.

    A `FileFaultError` is not noted: it ends the reading.

    Attributes
    ----------
    on_error : {"raise", "skip"}
        Whether `check` refuses what has faults.
    """

    on_error: OnError = "raise"
    notes: Notes = field(default_factory=Notes)

    def __enter__(self) -> None:
        """Begin a record."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> bool:
        """Note the fault of a record."""
        if not isinstance(error, AnnotationError) or isinstance(error, FileFaultError):
            return False
        self.notes.add(str(error))
        return True

    def check(self, *, is_anything_left: bool) -> None:
        """Refuse what has faults, unless these may be left out and something else is left.

        Raises
        ------
        AnnotationError
            With the first twenty faults, and their number.
        """
        count = self.notes.count
        if not count or (self.on_error == "skip" and is_anything_left):
            return
        shown = self.notes.messages[:_MOST_SHOWN]
        remedy = "" if self.on_error == "skip" else ' Or leave such records out with on_error="skip" (--on-error skip).'
        if count == 1:
            raise AnnotationError(shown[0] + remedy)
        some = "" if count == len(shown) else f", of which these are the first {len(shown)}"
        raise AnnotationError(
            f"There are {count} faults{some}:\n- " + "\n- ".join(shown) + (f"\n{remedy[1:]}" if remedy else "")
        )
