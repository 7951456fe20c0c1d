"""The pack of the GPU kit: a tar of pictures, labels and wheels with a list of its contents, written and read.

A picture is a WebP image and a 16-bit PNG for each layer of objects. ``contents.json`` comes first and names all other files.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samgeo.training.data.examples import Layer, Source
from samgeo.training.data.pictures import Picture

CONTENTS = "contents.json"
MOST_BYTES = 55_000_000
TRAINING_QUALITY, VALIDATION_QUALITY = 90, 95
# Pictures that share so large a square, pixel by pixel, show the same place. Squares of even colour say nothing.
BLOCK_PX, EVEN = 32, 4.0

Boxed = tuple[str, NDArray[np.uint8], NDArray[np.float64]]


class PackError(RuntimeError):
    """A pack that must not be written, or cannot be read."""


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """What was read of a pack.

    Attributes
    ----------
    sources : list of Source
        To train on.
    validation : dict of str to list of Picture
    crowns : list of (name, image, boxes)
    contents : dict
        The list of contents.
    """

    sources: list[Source]
    validation: dict[str, list[Picture]]
    crowns: list[Boxed]
    contents: dict[str, Any]


def check_apart(sources: Iterable[Source], validation: Mapping[str, Sequence[Picture]]) -> None:
    """Refuse training pictures that show a validation place: by their name, or by a square that both hold at its corners."""
    held = {_root(picture.name) for pictures in validation.values() for picture in pictures}
    blocks = {block for pictures in validation.values() for picture in pictures for block in _blocks(picture.image)}
    for source in sources:
        for picture in source.pictures:
            if _root(picture.name) in held:
                raise PackError(
                    f"{source.name}: {picture.name} is a validation picture; leave it out of the training pictures."
                )
            if not blocks.isdisjoint(_blocks(picture.image)):
                raise PackError(f"{source.name}: {picture.name} shows pixels of a validation picture; leave it out.")


def _root(name: str) -> str:
    """Return the name of the picture that a part was cut of."""
    return name.partition("[")[0]


def _blocks(image: NDArray[np.uint8]) -> set[bytes]:
    height, width = image.shape[:2]
    squares = (
        image[top : top + BLOCK_PX, left : left + BLOCK_PX]
        for top in range(0, height - BLOCK_PX + 1, BLOCK_PX)
        for left in range(0, width - BLOCK_PX + 1, BLOCK_PX)
    )
    return {hashlib.blake2b(square.tobytes(), digest_size=16).digest() for square in squares if square.std() > EVEN}


def write_pack(
    path: Path,
    sources: Sequence[Source],
    validation: Mapping[str, Sequence[Picture]],
    crowns: Sequence[Boxed] = (),
    *,
    wheels: Sequence[Path] = (),
    notes: Mapping[str, Any] | None = None,
    most_bytes: int = MOST_BYTES,
) -> dict[str, Any]:
    """Write a pack, whole or not at all, and return the list of its contents.

    Raises
    ------
    PackError
        If a training picture shows a validation place, or the pack is larger than may be.
    """
    check_apart(sources, validation)
    files: dict[str, bytes] = {}

    def added(picture: Picture, names: Iterable[str], quality: int) -> dict[str, Any]:
        number = f"{len(files):05d}"
        image = f"pictures/{number}.webp"
        files[image] = _webp(picture.image, quality)
        layers = {}
        for name in names:
            if name in picture.layers:
                layers[name] = f"pictures/{number}-{name}.png"
                files[layers[name]] = _png(picture.layers[name])
        return {"name": picture.name, "image": image, "layers": layers}

    contents: dict[str, Any] = {"format": 1, **(notes or {})}
    contents["sources"] = [
        {
            "name": source.name,
            "weight": source.weight,
            "scales": list(source.scales),
            "layers": {name: [layer.share, layer.trust] for name, layer in source.layers.items()},
            "pictures": [added(picture, source.layers, TRAINING_QUALITY) for picture in source.pictures],
        }
        for source in sources
    ]
    contents["validation"] = {
        name: [added(picture, picture.layers, VALIDATION_QUALITY) for picture in pictures]
        for name, pictures in validation.items()
    }
    contents["crowns"] = []
    for name, image, boxes in crowns:
        file = f"pictures/{len(files):05d}.webp"
        files[file] = _webp(image, VALIDATION_QUALITY)
        contents["crowns"].append({"name": name, "image": file, "boxes": boxes.tolist()})
    for wheel in wheels:
        files[f"wheels/{wheel.name}"] = wheel.read_bytes()
    contents["files"] = {name: len(content) for name, content in files.items()}
    listed = json.dumps(contents).encode()
    total = sum(map(len, files.values())) + len(listed)
    if total > most_bytes:
        raise PackError(f"the pack would have {total:,} bytes, and may have {most_bytes:,}; take fewer pictures or wheels.")
    _write_tar(path, {CONTENTS: listed, **files}, most_bytes)
    return contents


def _write_tar(path: Path, files: Mapping[str, bytes], most_bytes: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with tarfile.open(partial, "w") as tar:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        if (size := partial.stat().st_size) > most_bytes:
            raise PackError(f"the pack would have {size:,} bytes, and may have {most_bytes:,}; take fewer pictures or wheels.")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_contents(path: Path) -> dict[str, Any]:
    """Return the list of what a pack holds."""
    return _read_tar(path, lambda name: name == CONTENTS)[1]


def read_pack(path: Path, *, threads: int = 1, every: int = 1) -> Pack:
    """Read a pack; with ``every``, only every so many pictures of each source and each set."""
    files, contents = _read_tar(path, lambda name: name.startswith("pictures/"))

    def picture(record: Mapping[str, Any]) -> Picture:
        layers = {name: _ids(files[file]) for name, file in record["layers"].items()}
        return Picture(record["name"], _image(files[record["image"]]), layers)

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        sources = [
            Source(
                record["name"],
                list(pool.map(picture, record["pictures"][::every])),
                record["weight"],
                {name: Layer(*values) for name, values in record["layers"].items()},
                (record["scales"][0], record["scales"][1]),
            )
            for record in contents["sources"]
        ]
        validation = {name: list(pool.map(picture, records[::every])) for name, records in contents["validation"].items()}
    crowns = [(one["name"], _image(files[one["image"]]), np.array(one["boxes"])) for one in contents["crowns"]]
    return Pack(sources, validation, crowns, contents)


def unpack_wheels(path: Path, folder: Path) -> list[str]:
    """Unpack the wheels of packages that this Python lacks, and that were built for it, into a folder; return their names."""
    files, _ = _read_tar(path, lambda name: name.startswith("wheels/"))
    taken = []
    own = f"{sys.version_info.major}{sys.version_info.minor}"
    for name, content in files.items():
        if (built := re.search(r"-cp(\d+)-cp\1-", name)) and built.group(1) != own:
            continue
        with zipfile.ZipFile(io.BytesIO(content)) as wheel:
            tops = {entry.split("/")[0].removesuffix(".py") for entry in wheel.namelist()}
            modules = [top for top in tops if top.isidentifier()]
            if any(find_spec(module) is None for module in modules if not module.startswith("_")):
                wheel.extractall(folder)  # noqa: S202  of our own pack; zipfile keeps every name within the folder
                taken.append(Path(name).name)
    return taken


def _read_tar(path: Path, wanted: Callable[[str], bool]) -> tuple[dict[str, bytes], dict[str, Any]]:
    try:
        with tarfile.open(path) as tar:
            found = {
                entry.name: file.read()
                for entry in tar
                if (entry.name == CONTENTS or wanted(entry.name)) and (file := tar.extractfile(entry)) is not None
            }
        contents: dict[str, Any] = json.loads(found.pop(CONTENTS))
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        raise PackError(f"{path} cannot be read as a pack ({error}); make it anew with make gpu-pack.") from None
    return found, contents


def _webp(image: NDArray[np.uint8], quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "WEBP", quality=quality, method=4)
    return stream.getvalue()


def _png(ids: NDArray[np.uint16]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(ids).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _image(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image.convert("RGB"))


def _ids(content: bytes) -> NDArray[np.uint16]:
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image).astype(np.uint16)


def describe(contents: Mapping[str, Any]) -> str:
    """Return a table of what a pack holds."""
    sizes: Mapping[str, int] = contents["files"]

    def size(records: Iterable[Mapping[str, Any]]) -> int:
        return sum(
            sizes[file] for record in records for file in (record["image"], *record.get("layers", {}).values())
        )  # fmt: skip

    lines = ["| part | files | MB |", "|---|---|---|"]
    parts = [(f"training: {source['name']}", source["pictures"]) for source in contents["sources"]]
    parts += [(f"validation: {name}", records) for name, records in contents["validation"].items()]
    parts.append(("validation: crowns", contents["crowns"]))
    lines += [f"| {name} | {len(records)} | {size(records) / 1e6:.2f} |" for name, records in parts]
    wheels = [name for name in sizes if name.startswith("wheels/")]
    lines += [f"| {Path(name).name} | 1 | {sizes[name] / 1e6:.2f} |" for name in wheels]
    lines.append(f"| all | {len(sizes)} | {sum(sizes.values()) / 1e6:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(describe(read_contents(Path(sys.argv[1]))))
