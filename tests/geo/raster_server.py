"""A server of files with ranges, in a process of its own: GDAL may hold the interpreter's lock while it waits for an answer."""

import functools
import hashlib
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Served:
    """A folder at an address.

    ``failures`` is how many of the next requests are answered with 503, ``asked`` how many came. ``tells`` is what is said of
    a file's version: ``b"e"`` its ETag and date, ``b"d"`` its date, ``b"n"`` nothing, ``b"r"`` its ETag, to readers alone.
    """

    url: str
    failures: Any
    asked: Any
    tells: Any


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *args, served: Served, **options) -> None:
        self.served = served
        super().__init__(*args, **options)

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        with self.served.asked.get_lock():
            self.served.asked.value += 1
        with self.served.failures.get_lock():
            fails = self.served.failures.value > 0
            self.served.failures.value -= fails
        path = Path(self.translate_path(self.path))
        if fails or not path.is_file():
            self.send_error(503 if fails else 404)
            return
        tells = self.served.tells.value
        if tells == b"r" and not with_body:
            self.send_error(403)
            return
        content, asked = path.read_bytes(), self.headers.get("Range")
        first, last = asked.removeprefix("bytes=").split("-") if asked else ("0", "")
        low, high = int(first), min(int(last or len(content)), len(content) - 1)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {low}-{high}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        if tells in (b"e", b"r"):
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()[:16]}"')
        if tells in (b"e", b"d"):
            self.send_header("Last-Modified", formatdate(path.stat().st_mtime, usegmt=True))
        self.send_header("Content-Length", str(high - low + 1))
        self.end_headers()
        if with_body:
            self.wfile.write(content[low : high + 1])

    def log_message(self, *_: object) -> None:
        """Be quiet."""


def serve(folder: Path, failures: Any, asked: Any, tells: Any, port: Any) -> None:
    handler = functools.partial(Handler, directory=str(folder), served=Served("", failures, asked, tells))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        port.put(server.server_port)
        server.serve_forever()


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """Serve a folder."""
    context = multiprocessing.get_context("spawn")
    failures, asked, port = context.Value("i", 0), context.Value("i", 0), context.Queue()
    tells = context.Value("c", b"e")
    process = context.Process(target=serve, args=(folder, failures, asked, tells, port), daemon=True)
    process.start()
    try:
        yield Served(f"127.0.0.1:{port.get(timeout=60)}", failures, asked, tells)
    finally:
        process.kill()
        process.join()
