"""Remote rasters: retries of GDAL's requests, addresses without secrets, and versions of files from their servers."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

import rasterio

__all__ = ["gdal_name", "is_remote", "patient", "remote_version", "without_secrets"]

# GDAL repeats a request after a temporary failure (429, 5xx, a broken connection), with a waiting time that about doubles each
# time. A request that stalls counts as failed.
PATIENCE = {
    "GDAL_HTTP_MAX_RETRY": "5",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "100",
}
"""Options of GDAL and their values. An environment variable of the same name takes precedence."""

_NOT_KEPT = "CPL_VSIL_CURL_NON_CACHED"
_GDAL_NAMES = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}


def is_remote(path: str) -> bool:
    """Return whether GDAL reads a path over the network."""
    return "://" in path or path.startswith("/vsi")


@contextmanager
def patient(path: str, *, fresh: bool = False) -> Iterator[None]:
    """Make GDAL repeat failed requests within a ``with`` block in which a path is opened or read.

    Parameters
    ----------
    path : str
        Path or address; nothing changes for a local file.
    fresh : bool, default False
        Whether GDAL's cache for the file is dropped when it is opened. GDAL caches failed requests as well as good ones for the
        life of the process, and does not notice that a file has been replaced.
    """
    if not is_remote(path):
        yield
        return
    options = PATIENCE | ({_NOT_KEPT: gdal_name(path)} if fresh else {})
    with rasterio.Env(**{name: value for name, value in options.items() if name not in os.environ}):
        yield


def gdal_name(address: str) -> str:
    """Return GDAL's name for an address; any other path unchanged."""
    scheme = urlsplit(address).scheme
    if scheme in ("http", "https", "ftp"):
        return f"/vsicurl/{address}"
    return f"{_GDAL_NAMES[scheme]}{address.partition('://')[2]}" if scheme in _GDAL_NAMES else address


def without_secrets(address: str) -> str:
    """Return a web address without its user and its query, which may hold a key; any other path unchanged."""
    parts = urlsplit(address) if address.startswith(("http://", "https://")) else None
    return address if parts is None else f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


# HTTP codes for requests that may succeed with another method, and for files that do not exist.
_OTHER_WAY, _GONE = {400, 401, 403, 405, 501}, {404, 410}
_REFUSED = ("refused",)

# Limits for a request of a version, which transfers a few bytes: greatest number of repetitions, and time limits.
_MOST_REPEATS, _TIMEOUT_SECONDS, _SHORT_TIMEOUT_SECONDS = 2, 20.0, 4.0

# Protocols of object storage whose versions are asked with fsspec, and the names under which its packages report them.
_STORAGE = ("s3", "gs", "az", "abfs", "memory")
_ETAG_NAMES, _DATE_NAMES = ("ETag", "etag"), ("LastModified", "last_modified", "updated", "mtime", "created")


def remote_version(path: str, *, patient: bool = True) -> tuple[str, ...] | None:
    """Return the version of a remote file from its server: its ETag, or else its date, and its size.

    Parameters
    ----------
    path : str
        An address ``http://``, ``https://``, ``s3://``, ``gs://`` or ``az://``, or GDAL's ``/vsicurl/`` before one.
    patient : bool, default True
        Whether requests to a web server that fails are repeated, with waiting times. Otherwise one request with a short time
        limit is made.

    Returns
    -------
    tuple of str or None
        Empty if there is no such file. None if the server does not answer or reports none of these, or no installed package can
        ask it.
    """
    address = path.removeprefix("/vsicurl/")
    scheme = urlsplit(address).scheme
    if scheme in ("http", "https"):
        return _web_version(address, patient=patient)
    return _storage_version(address) if scheme in _STORAGE else None


def _web_version(address: str, *, patient: bool) -> tuple[str, ...] | None:
    # A signed address may be valid for reading only. If HEAD is refused, the first byte is read.
    for part in ({}, {"Range": "bytes=0-0"}):
        found = _try_to_ask(address, part, patient=patient)
        if found != _REFUSED:
            return found
    return None


def _try_to_ask(address: str, part: Mapping[str, str], *, patient: bool) -> tuple[str, ...] | None:
    most = _MOST_REPEATS if patient else 0
    given = os.environ.get("GDAL_HTTP_MAX_RETRY", str(most))
    repeats = min(int(given), most) if given.isdecimal() else most
    seconds = _TIMEOUT_SECONDS if patient else _SHORT_TIMEOUT_SECONDS
    for attempt in range(repeats + 1):
        try:
            return _ask(address, part, seconds)
        except HTTPError as error:
            error.close()
            if error.code in _GONE:
                return ()
            if error.code in _OTHER_WAY:
                return _REFUSED
        except (OSError, HTTPException, ValueError):
            pass
        if attempt < repeats:
            time.sleep(float(PATIENCE["GDAL_HTTP_RETRY_DELAY"]) * 2**attempt)
    return None


def _ask(address: str, part: Mapping[str, str], seconds: float) -> tuple[str, ...] | None:
    parts = urlsplit(address)
    user, _, place = parts.netloc.rpartition("@")
    headers = {"User-Agent": "samgeo", "Accept-Encoding": "identity", **part}
    if user:
        headers["Authorization"] = f"Basic {base64.b64encode(unquote(user).encode()).decode()}"
    url = urlunsplit((parts.scheme, place, parts.path, parts.query, ""))
    request = Request(url, headers=headers, method="GET" if part else "HEAD")  # noqa: S310 - of the web
    with urlopen(request, timeout=seconds) as response:  # noqa: S310
        found = response.headers
    size = (found.get("Content-Range", "").rpartition("/")[2] if part else "") or found.get("Content-Length", "")
    return _version(found.get("ETag", ""), found.get("Last-Modified", ""), size)


def _storage_version(address: str) -> tuple[str, ...] | None:
    import fsspec

    try:
        system, inner = fsspec.core.url_to_fs(address)
        system.invalidate_cache()
        found = system.info(inner)
    except FileNotFoundError:
        return ()
    except Exception:  # noqa: BLE001 - packages of storages raise what they like, and nothing is known then
        return None
    etag, date = (next((str(found[name]) for name in names if found.get(name)), "") for names in (_ETAG_NAMES, _DATE_NAMES))
    return _version(etag, date, str(found.get("size") or ""))


def _version(etag: str, date: str, size: str) -> tuple[str, ...] | None:
    """Return the version of a file. Servers behind one address may report different dates, but they report one ETag."""
    known = (etag or date, size)
    return known if any(known) else None
