"""Collection of the faults of annotation files, so that one error reports all of them, or faulty records are omitted."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

from samgeo.annotations.parsing.text_files import FileFaultError
from samgeo.errors import AnnotationError

__all__ = ["Faults", "Notes", "OnError"]

OnError = Literal["raise", "skip"]

_MAX_SHOWN = 20
_MAX_KEPT = 10_000


@dataclass(slots=True)
class Notes:
    """A list of messages that keeps the first ten thousand and counts all."""

    messages: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, message: str) -> None:
        """Count a message, and keep it if there is room."""
        self.count += 1
        if len(self.messages) < _MAX_KEPT:
            self.messages.append(message)

    def listed(self) -> tuple[str, ...]:
        """Return the kept messages, followed by the number of others if there are any."""
        more = self.count - len(self.messages)
        return (*self.messages, *([f"{more} more are not listed"] if more else []))


@dataclass(slots=True)
class Faults:
    """Faults of records.

    As a context manager it catches and notes the `AnnotationError` of one record, so that the reader continues with the next
    record and one call reports all faults. It does not catch a `FileFaultError`, after which reading cannot continue.

    Attributes
    ----------
    on_error : {"raise", "skip"}
        Whether `check` raises an error if there are faults.
    notes : Notes
        The messages of the faults.
    """

    on_error: OnError = "raise"
    notes: Notes = field(default_factory=Notes)

    def __enter__(self) -> None:
        """Begin to read a record."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> bool:
        """Note the fault of the record if there is one."""
        if not isinstance(error, AnnotationError) or isinstance(error, FileFaultError):
            return False
        self.notes.add(str(error))
        return True

    def check(self, *, is_anything_left: bool) -> None:
        """Raise an error that reports all faults, unless ``on_error`` is ``"skip"`` and other records are left.

        Parameters
        ----------
        is_anything_left : bool
            Whether anything remains without the faulty records.

        Raises
        ------
        AnnotationError
            If there are faults. The message has their number and the first twenty.
        """
        count = self.notes.count
        if not count or (self.on_error == "skip" and is_anything_left):
            return
        shown = self.notes.messages[:_MAX_SHOWN]
        remedy = "" if self.on_error == "skip" else ' To omit faulty records, use on_error="skip" (--on-error skip).'
        if count == 1:
            raise AnnotationError(shown[0] + remedy)
        some = "" if count == len(shown) else f", of which these are the first {len(shown)}"
        raise AnnotationError(
            f"There are {count} faults{some}:\n- " + "\n- ".join(shown) + (f"\n{remedy[1:]}" if remedy else "")
        )
