"""Download of weights: resumable, verified and atomic, and refused when the environment forbids the network.

Environment variables: ``SAMGEO_MODELS`` (folders with files that are already there), ``SAMGEO_HOME`` (folder for
downloads), ``SAMGEO_OFFLINE`` or ``HF_HUB_OFFLINE`` (forbid the network).
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from ipaddress import ip_address
from pathlib import Path
from ssl import SSLError
from typing import IO, TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from samgeo.errors import CheckpointError, ModelError, warn

if TYPE_CHECKING:
    from http.client import HTTPMessage

__all__ = ["NOTICES", "cache_folder", "check_md5", "fetch", "find", "is_offline", "notify"]

_log = logging.getLogger(__name__)

# Name of the logger of what a user should know before a download, such as the licence. The command line always shows it.
NOTICES = "samgeo.models.notices"

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30
# A broken download is resumed. After this number of attempts in a row that brought no new bytes, it fails.
FRUITLESS_TRIES = 3
RANGE_NOT_SATISFIABLE, PARTIAL_CONTENT = 416, 206
# HTTP codes of a server that is temporarily busy, and the first waiting time before the next attempt, which doubles each time.
# The server's Retry-After header takes precedence, up to the limit.
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
WAIT_S, LONGEST_WAIT_S = 2.0, 30.0


class _CutError(Exception):
    """The connection ended before the file did."""


NETWORK_ERRORS = (HTTPException, URLError, SSLError, TimeoutError, ConnectionError, _CutError)


def is_offline() -> bool:
    """Return whether the environment forbids the network."""
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in ("SAMGEO_OFFLINE", "HF_HUB_OFFLINE"))


def cache_folder() -> Path:
    """Return the folder for downloads: ``SAMGEO_HOME``, or ``samgeo`` in the cache folder of the platform."""
    given = os.environ.get("SAMGEO_HOME")
    if given:
        return Path(given).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "samgeo"


def find(file: str) -> Path | None:
    """Return the path of a file in a folder of ``SAMGEO_MODELS`` or in the cache; None if it is in neither.

    Raises
    ------
    ModelError
        If ``SAMGEO_MODELS`` names something that is not a folder.
    """
    folders = [Path(name).expanduser() for name in os.environ.get("SAMGEO_MODELS", "").split(os.pathsep) if name]
    absent = [folder for folder in folders if not folder.is_dir()]
    if absent:
        raise ModelError(f"SAMGEO_MODELS names {absent[0]}, which is not a folder; correct it or unset it.")
    places = [folder / file for folder in [*folders, cache_folder() / "models"]]
    return next((place for place in places if place.is_file()), None)


def notify(text: str) -> None:
    """Log what a user should know before or after a download."""
    logging.getLogger(NOTICES).info(text)


def fetch(urls: Sequence[str], file: str, *, sha256: str = "", md5: str = "", size_bytes: int | None = None) -> Path:
    """Return a file from the cache; download it first if it is not there.

    A partial file of an interrupted download is kept, and the download is resumed. If several processes need the same file, one
    downloads it and the others wait.

    Parameters
    ----------
    urls : sequence of str
        Addresses of the file, tried in order. Only https is allowed, and http on the loopback interface.
    file : str
        Name of the file in the cache.
    sha256, md5 : str, optional
        Expected digests of the file, or the beginnings of them. Without either the file cannot be verified, which a warning
        says.
    size_bytes : int, optional
        Size of the file, used if the server does not give it.

    Returns
    -------
    Path
        The file in the cache.

    Raises
    ------
    ModelError
        If the network is forbidden or fails, or the digest differs. The message says where to put the file by hand.
    """
    from filelock import FileLock

    target = cache_folder() / "models" / file
    if target.is_file():
        return target
    if is_offline():
        raise ModelError(
            f"{file} is not on this machine, and SAMGEO_OFFLINE or HF_HUB_OFFLINE forbids downloads. Unset this variable. "
            f"{_by_hand(urls, target)}"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(file + ".lock")):
            if not target.is_file():
                _fetch_first(urls, target, _Digests(sha256.lower(), md5.lower()), size_bytes)
    except OSError as error:
        raise ModelError(
            f"{file} could not be written to {target.parent} ({error}); free disk space, or set SAMGEO_HOME to another folder."
        ) from None
    return target


def check_md5(path: Path, md5: str) -> None:
    """Check the md5 of a file, where no better digest is recorded.

    Raises
    ------
    CheckpointError
        If the file has another one.
    """
    found = _digest(path, "md5")
    if found != md5.lower():
        raise CheckpointError(
            f"{path} has md5 {found[:12]}..., not {md5[:12]}...: it is damaged or another file. Delete it and download it "
            "again."
        )


@dataclass(frozen=True, slots=True)
class _Digests:
    """What is recorded of a file; empty if it is not recorded."""

    sha256: str
    md5: str

    def fault(self, path: Path) -> str:
        """Return how a file differs, or an empty text."""
        for name, expected in (("sha256", self.sha256), ("md5", self.md5)):
            if expected:
                found = _digest(path, name)
                return "" if found.startswith(expected) else f"{name} {found[:12]}... instead of {expected[:12]}..."
        return ""


def _digest(path: Path, name: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, name).hexdigest()


def _fetch_first(urls: Sequence[str], target: Path, digests: _Digests, size_bytes: int | None) -> None:
    failures = []
    for url in urls:
        try:
            _download(url, target, digests, size_bytes)
        except (ModelError, *NETWORK_ERRORS) as error:
            failures.append(f"{url}: {getattr(error, 'reason', None) or error}")
        else:
            return
    raise ModelError(
        f"{target.name} could not be downloaded ({'; '.join(failures)}). Try again: the downloaded part is kept. "
        f"{_by_hand(urls, target)}"
    )


def _by_hand(urls: Sequence[str], target: Path) -> str:
    folder = os.environ.get("SAMGEO_MODELS", "").split(os.pathsep)[0] or target.parent
    return f"Or download it from {urls[0]} with another program and save it as {Path(folder) / target.name}."


def _download(url: str, target: Path, digests: _Digests, size_bytes: int | None) -> None:
    part = target.with_name(target.name + ".part")
    resumed = part.exists()
    _complete(url, part, size_bytes)
    fault = digests.fault(part)
    if fault:
        part.unlink()
        if not resumed:
            raise ModelError(f"the downloaded file has {fault}: it is a wrong file")
        # The part from the earlier attempt may be damaged or of another version, so the download starts from the beginning.
        _download(url, target, digests, size_bytes)
        return
    part.replace(target)
    if not (digests.sha256 or digests.md5):
        warn(f"no digest of {target.name} is recorded, so that the download from {url} could not be verified.")


def _complete(url: str, part: Path, size_bytes: int | None) -> None:
    """Append to ``part`` until the file is complete; resume broken connections, and retry while a server is busy."""
    fruitless = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _append(url, part, size_bytes)
        except NETWORK_ERRORS as error:
            if isinstance(error, HTTPError) and error.code not in BUSY:
                raise
            arrived = part.stat().st_size if part.exists() else 0
            fruitless = 0 if arrived > before else fruitless + 1
            if fruitless == FRUITLESS_TRIES:
                raise
            _log.warning("%s: %s; trying again.", url, error)
            if isinstance(error, HTTPError):
                time.sleep(_wait_s(error, fruitless))
        else:
            return


def _wait_s(error: HTTPError, tries: int) -> float:
    """Return how long to wait for a busy server, in seconds. A ``Retry-After`` header with a date is ignored."""
    said = error.headers.get("Retry-After", "") if error.headers is not None else ""
    return min(float(said) if said.isdecimal() else WAIT_S * 2 ** (tries - 1), LONGEST_WAIT_S)


def _append(url: str, part: Path, size_bytes: int | None) -> None:
    start = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"User-Agent": "samgeo", "Accept-Encoding": "identity"})  # noqa: S310  _opener checks it
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = _opener(url).open(request, timeout=TIMEOUT_S)
    except HTTPError as error:
        with error:
            if start and error.code == RANGE_NOT_SATISFIABLE:
                return  # All bytes are there; the digest decides whether the file is correct.
            raise
    with response:
        if response.status != PARTIAL_CONTENT:
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else size_bytes
        with part.open("ab" if start else "wb") as file:
            _copy(response, file, start, total)
    if total is not None and part.stat().st_size < total:
        raise _CutError(f"the connection ended after {part.stat().st_size} of {total} bytes")


def _copy(response: HTTPResponse, file: IO[bytes], start: int, total: int | None) -> None:
    # Imported here, because models are also used on machines without tqdm, where nothing is downloaded.
    from tqdm import tqdm

    name = Path(file.name).name.removesuffix(".part")
    with tqdm(desc=name, initial=start, total=total, unit="B", unit_scale=True, disable=None, file=sys.stderr) as bar:
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            bar.update(len(chunk))


class _CheckedRedirects(HTTPRedirectHandler):
    """A redirect handler that refuses redirects to addresses from which downloads are not allowed."""

    def redirect_request(  # noqa: PLR0917  the signature is urllib's
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        _check(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(url: str) -> OpenerDirector:
    _check(url)
    local = urlsplit(url).scheme == "http"
    return build_opener(_CheckedRedirects(), *([ProxyHandler({})] if local else []))


def _check(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        raise ModelError(f"{url} is refused: weights are only downloaded over https")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
