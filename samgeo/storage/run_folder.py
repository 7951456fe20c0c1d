"""What all run folders share: a lock for one process, and a manifest that is compared when the run is continued.

A manifest is a JSON file that says on what the result of a run depends. A run is continued only if its manifest equals that of
the current call; otherwise the error names each difference.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.errors import SamgeoError
from samgeo.storage.atomic import write_whole
from samgeo.storage.locations import Place

if TYPE_CHECKING:
    from samgeo.types import Json

__all__ = ["beside", "differences", "is_locked", "listed", "locked", "plain_json", "read_json", "write_json"]

# An error message lists at most so many differences, and shows longer values in part.
MOST_SHOWN = 8
MOST_CHARACTERS = 80

POLL_SECONDS = 0.05


def beside(output: Place) -> Path:
    """Return the path of the run folder of an output.

    A run folder is always local. If the output is an object in storage, the folder is in the current folder.
    """
    path = output if isinstance(output, Path) else Path(output.name)
    return path.parent / f"{path.name}.run"


@contextmanager
def locked(
    path: Path, *, busy: Callable[[], SamgeoError], failed: Callable[[OSError], SamgeoError], wait_s: float = 0.0
) -> Iterator[None]:
    """Hold a lock for this process. The operating system releases it when the process ends, however it ends.

    Parameters
    ----------
    path : Path
        The lock file; it and its folder are made if they do not exist. The file stays when the lock is released.
    busy : callable
        Returns the error that is raised if another process, or another call in this process, holds the lock.
    failed : callable
        Returns the error that is raised if the file or its folder cannot be made.
    wait_s : float, default 0
        Longest time to wait for the lock, in seconds.

    Raises
    ------
    SamgeoError
        From ``busy`` or ``failed``.
    """
    import filelock

    lock = filelock.FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=wait_s, poll_interval=POLL_SECONDS)
    except filelock.Timeout:
        raise busy() from None
    except OSError as error:
        raise failed(error) from None
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Return whether a process holds a lock now; True too if the lock file cannot be opened.

    The lock is held for a moment to find out, so that `locked` needs a short ``wait_s`` where this function is used.
    """
    import filelock

    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except (filelock.Timeout, OSError):
        return True
    lock.release()
    return False


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If its content is not a JSON object.
    """
    try:
        found = json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__} instead of an object")  # noqa: TRY004  the type is the file's
    return found


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file completely or not at all. A link in its place is replaced itself.

    Raises
    ------
    OptionError
        If the file cannot be written. An existing file is then unchanged.
    """
    write_whole(path, json.dumps(value, indent=1).encode(), follow_links=False)


def plain_json(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest as it is read back from a file, for example with lists for tuples, so that both can be compared.

    Raises
    ------
    TypeError
        If a value cannot be written as JSON.
    """
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], *, may_differ: Callable[[tuple[str, ...]], bool] = lambda _: False
) -> list[str]:
    """Return one line of text for each difference between two manifests, in the order of their keys.

    Parameters
    ----------
    before, now : mapping
        Manifests. Nested mappings are compared value by value.
    may_differ : callable, optional
        Returns for a path of keys whether the values there may differ.

    Examples
    --------
    >>> from samgeo.storage.run_folder import differences
    >>> differences({"seed": 1, "model": {"name": "a"}}, {"seed": 1, "model": {"name": "b"}})
    ['model.name was "a" and is now "b"']
    """
    old, new = _flat(before), _flat(now)
    return [
        f"{'.'.join(keys)} was {_short(old.get(keys))} and is now {_short(new.get(keys))}"
        for keys in sorted(old.keys() | new.keys())
        if not _is_equal(old.get(keys), new.get(keys)) and not may_differ(keys)
    ]


def listed(lines: Sequence[str]) -> str:
    """Join lines to one text; only the first ones if there are many."""
    more = f"; and {len(lines) - MOST_SHOWN} more" if len(lines) > MOST_SHOWN else ""
    return "; ".join(lines[:MOST_SHOWN]) + more


def _flat(values: Mapping[str, Any], parents: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    flat: dict[tuple[str, ...], Any] = {}
    for key, value in values.items():
        flat |= _flat(value, (*parents, key)) if isinstance(value, dict) else {(*parents, key): value}
    return flat


def _is_equal(old: Json, new: Json) -> bool:
    # NaN, such as a raster's nodata, is not equal to itself, and has the same text.
    return bool(old == new) or json.dumps(old) == json.dumps(new)


def _short(value: Json) -> str:
    text = json.dumps(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:60]}... ({len(text)} characters)"
