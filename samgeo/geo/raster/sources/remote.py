"""Rasters at an address: what is said of it, how patient GDAL is with it, and which version of a file its server has."""

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

__all__ = ["gdal_name", "is_remote", "patient", "remote_version", "without_secrets"]

# A request that fails in a way that may pass (429, 5xx, a connection that breaks) is made again, each time after about twice as
# long; one that stalls has failed.
PATIENCE = {
    "GDAL_HTTP_MAX_RETRY": "5",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "100",
}
"""Options of GDAL to their values; a variable of the same name in the environment says otherwise."""


_NOT_KEPT = "CPL_VSIL_CURL_NON_CACHED"
_GDAL_NAMES = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}


def is_remote(path: str) -> bool:
    """Whether GDAL reads a path over the network."""
    return "://" in path or path.startswith("/vsi")


@contextmanager
def patient(path: str, *, fresh: bool = False) -> Iterator[None]:
    """Have GDAL ask again where a server fails, while what is at a path is opened or read.

    Parameters
    ----------
    path : str
    fresh : bool, default False
        Whether what GDAL keeps of the file is dropped when it is opened. GDAL keeps bad answers as well as good ones, for as
        long as the process lives, and does not notice that a file has been replaced.
    """
    if not is_remote(path):
        yield
        return
    import rasterio

    options = PATIENCE | ({_NOT_KEPT: gdal_name(path)} if fresh else {})
    with rasterio.Env(**{name: value for name, value in options.items() if name not in os.environ}):
        yield


def gdal_name(address: str) -> str:
    """Return GDAL's name for an address; anything else as it is."""
    scheme = urlsplit(address).scheme
    if scheme in ("http", "https", "ftp"):
        return f"/vsicurl/{address}"
    return f"{_GDAL_NAMES[scheme]}{address.partition('://')[2]}" if scheme in _GDAL_NAMES else address


def without_secrets(address: str) -> str:
    """Return a web address without its user and its query, which may hold a key; anything else as it is."""
    parts = urlsplit(address) if address.startswith(("http://", "https://")) else None
    return address if parts is None else f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


# What a server says of a request that it may answer another way, and of a file that is not there.
_OTHER_WAY, _GONE = {400, 401, 403, 405, 501}, {404, 410}
_REFUSED = ("refused",)

# A question of a few bytes needs less patience than a read: how often it is asked again at most, and how long one may take.
_MOST_REPEATS, _TIMEOUT_SECONDS, _SHORT_TIMEOUT_SECONDS = 2, 20.0, 4.0

# Object storage, of which fsspec's packages tell what a file is known by, and under which names they do.
_STORAGE = ("s3", "gs", "az", "abfs", "memory")
_ETAG_NAMES, _DATE_NAMES = ("ETag", "etag"), ("LastModified", "last_modified", "updated", "mtime", "created")


def remote_version(path: str, *, patient: bool = True) -> tuple[str, ...] | None:
    """Return what the server of a file says that changes with it: its ETag, or else its date, and its size.

    Parameters
    ----------
    path : str
        An address ``http://``, ``https://``, ``s3://``, ``gs://`` or ``az://``, or GDAL's ``/vsicurl/`` before one.
    patient : bool, default True
        Whether a web server that fails is asked again, and waited for; else it has a few seconds to answer.

    Returns
    -------
    tuple of str or None
        Empty where there is no such file; None where the server does not answer, or says nothing of the kind, or nobody here
        can ask it.
    """
    address = path.removeprefix("/vsicurl/")
    scheme = urlsplit(address).scheme
    if scheme in ("http", "https"):
        return _web_version(address, patient=patient)
    return _storage_version(address) if scheme in _STORAGE else None


def _web_version(address: str, *, patient: bool) -> tuple[str, ...] | None:
    # A signed address may hold for reading alone: then the first byte is asked for.
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
    """Return what a file is known by; servers behind one address may have other dates, but one ETag."""
    known = (etag or date, size)
    return known if any(known) else None
