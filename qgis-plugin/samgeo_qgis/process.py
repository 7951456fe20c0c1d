"""Running samgeo as a process: its progress, its messages, its errors, and how it is stopped; this module needs no QGIS."""

from __future__ import annotations

import codecs
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Callable

__all__ = ["DONE_WITH_HOLES", "Cancelled", "Finished", "LineReader", "explain", "percent", "run"]

DONE_WITH_HOLES = 3
"""Exit code of samgeo where some windows failed; the output is there, and the messages list the windows."""

POLL_SECONDS = 0.1
GRACE_SECONDS = 10
KEPT_LINES = 200
SHOWN_LINES = 10
CHUNK = 65536

_PERCENT = re.compile(r"(?:^|\s)(\d{1,3})%\|")
_LINE_END = re.compile(r"\r\n|\r|\n")
_ERROR = "Error: "


class Cancelled(Exception):  # noqa: N818 - it is no error
    """The process was stopped, because the user asked for it."""


@dataclass(frozen=True)
class Finished:
    """A process that ended.

    Attributes
    ----------
    code : int
        Its exit code; negative for the number of a signal.
    output : str
        What it wrote to standard output.
    messages : tuple of str
        The last lines of standard error, without progress bars.
    """

    code: int
    output: str
    messages: tuple[str, ...]


class LineReader:
    """Text that arrives in pieces of bytes, as lines; a carriage return, with which progress bars begin anew, ends a line."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that are complete with these bytes; no bytes are the end of the text."""
        text = self._rest + self._decoder.decode(data, final=not data)
        # A line feed may follow a carriage return at the end.
        end = len(text) - 1 if data and text.endswith("\r") else len(text)
        *lines, rest = _LINE_END.split(text[:end])
        self._rest = rest + text[end:]
        if not data and self._rest:
            lines, self._rest = [*lines, self._rest], ""
        return lines

    @property
    def rest(self) -> str:
        """The line that is not complete."""
        return self._rest


def percent(line: str) -> int | None:
    """Return how many percent a progress bar shows, or None if the line is no progress bar."""
    found = _PERCENT.search(line)
    return None if found is None else min(100, int(found.group(1)))


def explain(finished: Finished) -> str:
    """Return the message of a process that failed: samgeo's own, or the last lines where it has none."""
    lines = list(finished.messages)
    starts = [index for index, line in enumerate(lines) if line.startswith(_ERROR)]
    if starts:
        return "\n".join(lines[starts[-1] :]).removeprefix(_ERROR).strip()
    if finished.code < 0:
        what = f"samgeo was ended by signal {-finished.code}"
        if finished.code == -9:
            what += ", as when the memory of the machine is full"
    else:
        what = f"samgeo ended with exit code {finished.code}"
    last = [line for line in lines if line.strip()][-SHOWN_LINES:]
    return "\n".join([f"{what}; its last messages:", *last]) if last else f"{what}, without a message"


def run(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    on_progress: Callable[[int], None],
    on_message: Callable[[str], None],
    is_cancelled: Callable[[], bool],
) -> Finished:
    """Run a program until it ends or is cancelled.

    Parameters
    ----------
    arguments : sequence of str
        The program and its arguments. No shell sees them.
    environment : mapping of str to str
        Its environment.
    on_progress : callable
        Gets each new percentage of a progress bar on standard error, from 0 to 100.
    on_message : callable
        Gets each other line of standard error.
    is_cancelled : callable
        Is asked ten times a second whether the process must stop.

    Returns
    -------
    Finished
        The exit code and what the process wrote.

    Raises
    ------
    Cancelled
        If the process was stopped. It is asked to end, and is killed with its children if it does not.
    OSError
        If the program cannot be started.
    """
    process = _start(arguments, environment)
    arriving: queue.Queue[tuple[str, bytes]] = queue.Queue()
    for name, pipe in (("out", process.stdout), ("err", process.stderr)):
        threading.Thread(target=_forward, args=(name, pipe, arriving), daemon=True).start()
    try:
        return _follow(process, arriving, on_progress, on_message, is_cancelled)
    except BaseException:
        _stop(process)
        raise


def _follow(
    process: subprocess.Popen[bytes],
    arriving: queue.Queue[tuple[str, bytes]],
    on_progress: Callable[[int], None],
    on_message: Callable[[str], None],
    is_cancelled: Callable[[], bool],
) -> Finished:
    """Pass on what a process writes until it ends."""
    output, errors = LineReader(), LineReader()
    said: list[str] = []
    messages: deque[str] = deque(maxlen=KEPT_LINES)
    shown: int | None = None
    open_pipes = 2
    while open_pipes or process.poll() is None:
        if is_cancelled():
            raise Cancelled
        try:
            name, data = arriving.get(timeout=POLL_SECONDS)
        except queue.Empty:
            continue
        open_pipes -= not data
        if name == "out":
            said += output.feed(data)
            continue
        for line in errors.feed(data):
            if percent(line) is None and line.strip():
                messages.append(line)
                on_message(line)
            shown = _show(percent(line), shown, on_progress)
        shown = _show(percent(errors.rest), shown, on_progress)
    return Finished(process.wait(), "\n".join(said), tuple(messages))


def _show(progress: int | None, shown: int | None, on_progress: Callable[[int], None]) -> int | None:
    """Report a percentage if it is new; return the last one that was reported."""
    if progress is None or progress == shown:
        return shown
    on_progress(progress)
    return progress


def _start(arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if os.name == "nt":
        flags = subprocess.CREATE_NO_WINDOW
        return subprocess.Popen(list(arguments), env=dict(environment), creationflags=flags, **pipes)  # noqa: S603 - no shell
    # Its own session, so that its children can be killed with it.
    return subprocess.Popen(list(arguments), env=dict(environment), start_new_session=True, **pipes)  # noqa: S603 - no shell


def _forward(name: str, pipe: IO[bytes], arriving: queue.Queue[tuple[str, bytes]]) -> None:
    """Put what arrives in a pipe into the queue; empty bytes are its end."""
    with pipe:
        while data := os.read(pipe.fileno(), CHUNK):
            arriving.put((name, data))
    arriving.put((name, b""))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children: first as samgeo ends by itself, then at once."""
    if os.name == "nt":
        # The command is a launcher, whose child is Python.
        taskkill = str(Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "taskkill.exe")
        subprocess.run([taskkill, "/F", "/T", "/PID", str(process.pid)], check=False, capture_output=True)  # noqa: S603 - no shell
        process.wait()
        return
    process.terminate()
    end = time.monotonic() + GRACE_SECONDS
    while process.poll() is None and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
