"""STAC Items: the choice of their raster assets, and the check of where an asset may lie.

An Item refers to other files, and may come from anywhere. Its assets may be addresses, and files in its own folder, of formats
that hold their own pixels (docs/decisions/0010-what-a-file-may-open.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urljoin, urlsplit
from urllib.request import urlopen

from samgeo.errors import OptionError, RasterError
from samgeo.geo.drivers import leads_elsewhere, suffix_of
from samgeo.geo.raster.sources.remote import without_secrets

if TYPE_CHECKING:
    from samgeo.types import StacItem

__all__ = ["Item", "as_items", "choose_assets", "names_items", "read_items"]

ADDRESSES = ("http", "https", "s3", "gs", "az")
MOST_BYTES = 1 << 26
TIMEOUT_SECONDS = 30.0

_RASTER_TYPES = ("image/tiff", "image/jp2", "image/png", "image/jpeg", "image/vnd.stac.geotiff")
_RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg")
_NO_DATA_ROLES = {"thumbnail", "overview", "metadata"}
_OF_AN_API = re.compile(r"/collections/[^/]+/items/[^/]+/?")


@dataclass(frozen=True, slots=True)
class Item:
    """A STAC Item.

    Attributes
    ----------
    name : str
        Name for messages.
    body : mapping
        Its JSON.
    base : str, optional
        Its own location: a file, or a web address. None if that is not known; relative links are then refused.
    """

    name: str
    body: Mapping[str, Any]
    base: str | None


def names_items(path: str) -> bool:
    """Return whether a path or an address is that of a STAC Item: ``.json`` or ``.geojson``, or an Item of a STAC API."""
    parts = urlsplit(path) if path.startswith(("http://", "https://")) else None
    return suffix_of(path) in {".json", ".geojson"} or (parts is not None and _OF_AN_API.search(parts.path) is not None)


def read_items(path: str) -> list[Item]:
    """Read the Item, or the Items of an ItemCollection, from a file or a web address.

    Raises
    ------
    RasterError
        If there is none.
    """
    name = without_secrets(path)
    try:
        found = json.loads(_content(path))
    except (OSError, HTTPException) as error:
        raise RasterError(f"{name} cannot be read ({error}); check the path or the address.") from None
    except (ValueError, RecursionError) as error:
        raise RasterError(f"{name} is neither a raster nor a STAC Item ({error}); check its content.") from None
    return list(_items(found, name, path))


def as_items(given: Mapping[str, Any] | StacItem) -> list[Item]:
    """Return the Items of a mapping, or of an object with ``to_dict`` such as those of pystac: an Item or an ItemCollection.

    Raises
    ------
    RasterError
        If it is neither.
    """
    found = given if isinstance(given, Mapping) else given.to_dict()
    return list(_items(found, f"the {type(given).__name__}", None))


def choose_assets(item: Item, wanted: Sequence[str] | None = None) -> dict[str, str]:
    """Choose the raster assets of an Item.

    Parameters
    ----------
    item : Item
        The Item.
    wanted : sequence of str, optional
        Keys of assets. By default the visual asset, else the only one with the role "data", else the only raster.

    Returns
    -------
    dict of str to str
        Key to path or address, in the given order.

    Raises
    ------
    OptionError
        If it has no such asset, or has several and none is chosen.
    RasterError
        If an asset lies where assets of Items may not lie.
    """
    assets = item.body.get("assets")
    if not isinstance(assets, Mapping) or not all(isinstance(asset, Mapping) for asset in assets.values()):
        raise RasterError(f"{item.name} has no assets; give a STAC Item of a raster.")
    if wanted is None:
        wanted = [_default(item, assets)]
    for key in wanted:
        if key not in assets:
            raise OptionError(f"{item.name} has no asset {key!r}; choose from {_listing(assets)}.")
    return {key: _resolve(item, key, assets[key].get("href")) for key in wanted}


def _items(found: object, name: str, base: str | None) -> Iterator[Item]:
    if isinstance(found, Mapping) and found.get("type") == "FeatureCollection" and isinstance(found.get("features"), list):
        inner = found["features"]
        if not inner:
            raise RasterError(f"{name} contains no STAC Item; search in another area or time.")
    else:
        inner = [found]
    for body in inner:
        if not isinstance(body, Mapping) or body.get("type") != "Feature" or "stac_version" not in body:
            kind = body.get("type") if isinstance(body, Mapping) else type(body).__name__
            raise RasterError(f"{name} is not a STAC Item but {kind!r}; give an Item or an ItemCollection.")
        yield Item(name if len(inner) == 1 else f"{body.get('id')} of {name}", body, base)


def _content(path: str) -> bytes:
    if path.startswith(("http://", "https://")):
        try:
            with urlopen(path, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 - redirects do not leave the web either
                content: bytes = response.read(MOST_BYTES + 1)
        except HTTPError as error:
            error.close()
            raise
    elif "://" in path or path.startswith("/vsi"):
        raise OSError("only files and web addresses of STAC Items are read; give the Item as a dict")
    else:
        with Path(path).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES >> 20} MiB")
    return content


def _default(item: Item, assets: Mapping[str, Mapping[str, Any]]) -> str:
    rasters = {key: _roles(asset) for key, asset in assets.items() if _is_raster(asset)}
    for those in (
        [key for key, roles in rasters.items() if key == "visual" or "visual" in roles],
        [key for key, roles in rasters.items() if "data" in roles],
        list(rasters),
    ):
        if len(those) == 1:
            return those[0]
    if not rasters:
        raise RasterError(f"{item.name} has no asset that is a raster (its assets are {_listing(assets)}); give another Item.")
    raise OptionError(
        f"{item.name} has several rasters; choose with assets from {_listing(rasters)}: give one, or several to combine their "
        "bands, such as red,green,blue."
    )


def _is_raster(asset: Mapping[str, Any]) -> bool:
    kind, href = str(asset.get("type") or "").lower(), str(asset.get("href") or "")
    is_raster = kind.startswith(_RASTER_TYPES) if kind else suffix_of(href) in _RASTER_SUFFIXES
    return is_raster and not _NO_DATA_ROLES & _roles(asset)


def _roles(asset: Mapping[str, Any]) -> set[str]:
    roles = asset.get("roles")
    return {str(role) for role in roles} if isinstance(roles, list) else set()


def _listing(assets: Mapping[str, Any]) -> str:
    names = [str(key) for key in assets]
    return ", ".join(names[:16]) + (f" and {len(names) - 16} more" if len(names) > 16 else "") or "none"


def _resolve(item: Item, key: str, href: object) -> str:
    """Return the path or the address of an asset, if an Item may refer to it."""
    if not isinstance(href, str) or not href or not href.isprintable():
        raise RasterError(f"the asset {key} of {item.name} has no valid href ({str(href)[:80]!r}); choose another asset.")
    base = item.base if item.base is not None and item.base.startswith(("http://", "https://")) else None
    address = urljoin(base, href) if base is not None else href
    scheme = urlsplit(address).scheme.lower()
    shown = without_secrets(address)
    if leads_elsewhere(address):
        raise RasterError(
            f"the asset {key} of {item.name} is {shown}, whose format can refer to other files. If all of these may be read, "
            "give that file itself."
        )
    if scheme in ADDRESSES and urlsplit(address).netloc:
        return address
    if scheme or base is not None or item.base is None:
        raise RasterError(
            f"the asset {key} of {item.name} is {shown}, which is not opened: assets must be web addresses or, if the Item is "
            "a local file, files in the folder of the Item. If the raster may be read, give the raster itself."
        )
    folder = Path(item.base).resolve().parent
    path = (folder / href).resolve()
    if not path.is_relative_to(folder):
        raise RasterError(
            f"the asset {key} of {item.name} is {path}, which is not opened because it is outside the folder of the Item. If "
            "the raster may be read, give the raster itself."
        )
    return str(path)
