"""The run folder of a training.

It has a lock for one process, a state that is verified when it is read, and a log that names each step once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch

from samgeo.errors import CheckpointError, OptionError, RunError
from samgeo.storage import run_folder as storage
from samgeo.storage.atomic import write_whole
from samgeo.storage.staging import remove_staging, staged_file

__all__ = [
    "CROPS",
    "LOG",
    "STATE",
    "FileState",
    "StateStore",
    "append_log",
    "digest_of_values",
    "locked",
    "read_state",
    "trim_log",
    "write_state",
]

STATE, LOG, CROPS = "state.pt", "log.jsonl", "crops"
_LOCK = "lock"
_DIGEST = "digest"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the run folder for this process, and make it if it does not exist.

    Raises
    ------
    RunError
        If another process, or another call in this process, trains in the folder.
    OptionError
        If the folder cannot be made.
    """
    existed = folder.exists()

    def busy() -> RunError:
        return RunError(
            f"another process trains in {folder}; wait until it ends, or give another folder (--folder) to start another run."
        )

    def failed(error: OSError) -> OptionError:
        return OptionError(f"{folder} cannot be the folder of a run ({error}); give another folder.")

    is_taken = False
    try:
        with storage.locked(folder / _LOCK, busy=busy, failed=failed):
            is_taken = True
            remove_staging(folder)
            yield
    finally:
        if is_taken and not existed and {path.name for path in folder.iterdir()} <= {_LOCK}:
            (folder / _LOCK).unlink(missing_ok=True)
            folder.rmdir()


class StateStore(Protocol):
    """Where the state of a training is kept between processes."""

    @property
    def path(self) -> Path:
        """The path that messages name."""

    def read(self) -> dict[str, Any] | None:
        """Return the state, or None if there is none."""

    def write(self, state: Mapping[str, Any]) -> None:
        """Replace the state. If this fails, the previous state stays."""


@dataclass(frozen=True, slots=True)
class FileState:
    """A state kept exactly in one file, with a digest of its values."""

    path: Path

    def read(self) -> dict[str, Any] | None:
        """Return the state, or None if there is no file."""
        return read_state(self.path) if self.path.exists() else None

    def write(self, state: Mapping[str, Any]) -> None:
        """Write the state; see `write_state`."""
        write_state(state, self.path)


def write_state(state: Mapping[str, Any], path: Path) -> None:
    """Write the state of a training with a digest of its values.

    The file is replaced only after the new state was written and verified.

    Raises
    ------
    OptionError
        If the file cannot be written. The previous state stays, and no partial file is left.
    """
    try:
        with staged_file(path) as temporary:
            with temporary.open("wb") as file:
                torch.save({**state, _DIGEST: digest_of_values(state)}, file)
                file.flush()
                os.fsync(file.fileno())
            # torch.save may not report that writing failed, so the file is read back.
            read_state(temporary)
    except (OSError, RuntimeError, CheckpointError) as error:
        raise OptionError(
            f"{path} cannot be written ({error}); free disk space, and run the same command to continue from the last state."
        ) from None


def read_state(path: Path) -> dict[str, Any]:
    """Read the state of a training.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or its values differ from the values that were written.
    """
    remedy = f"remove it to start the run again, replace it by a copy, or give another folder than {path.parent}"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, UnpicklingError, ValueError, LookupError, TypeError, AttributeError) as error:
        said = str(error).strip().split("\n")[0]
        raise CheckpointError(f"{path} cannot be read ({said}); {remedy}.") from None
    if not isinstance(state, dict) or _DIGEST not in state:
        raise CheckpointError(f"{path} is not a state of this version of samgeo, because it has no digest; {remedy}.")
    told = state.pop(_DIGEST)
    if told != digest_of_values(state):
        raise CheckpointError(f"{path} is damaged: its numbers differ from those that were written; {remedy}.")
    return state


def digest_of_values(value: object) -> str:
    """Return a digest of nested mappings and sequences of tensors, numbers and texts; keys and order count."""
    total = blake2b(digest_size=16)
    _add(total, value)
    return total.hexdigest()


def _add(total: blake2b, value: object) -> None:
    if isinstance(value, torch.Tensor):
        content = value.detach().cpu().contiguous()
        total.update(f"tensor {content.dtype} {tuple(content.shape)}\n".encode())
        total.update(content.reshape(-1).view(torch.uint8).numpy().tobytes() if content.numel() else b"")
    elif isinstance(value, Mapping):
        total.update(f"mapping {len(value)}\n".encode())
        for key, inner in value.items():
            total.update(f"{key!r}\n".encode())
            _add(total, inner)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        total.update(f"sequence {len(value)}\n".encode())
        for inner in value:
            _add(total, inner)
    else:
        total.update(f"{value!r}\n".encode())


def append_log(path: Path, line: Mapping[str, float]) -> None:
    """Add a line to the log of a training.

    Raises
    ------
    OptionError
        If the line cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
    except OSError as error:
        raise OptionError(
            f"{path} cannot be written ({error}); free disk space, and run the same command to continue."
        ) from None


def trim_log(path: Path, step: int) -> None:
    """Remove the lines of all steps after a step, because these steps are repeated, and an incomplete last line.

    Raises
    ------
    OptionError
        If the log cannot be read or written.
    """
    if not path.exists():
        return
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} cannot be read ({error}); move it to another folder to continue with a new log.") from None
    kept = [line for line in lines if _step_of(line) is None or (_step_of(line) or 0) <= step]
    if kept and _step_of(kept[-1]) is None and not kept[-1].endswith("\n"):
        kept.pop()
    if kept != lines:
        write_whole(path, "".join(kept).encode())


def _step_of(line: str) -> int | None:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, LookupError, TypeError):
        return None
