"""GeoTIFFs that lie, one a seed, and a child process that reads them within bounds of time and memory.

Run as a script: ``python hostile_rasters.py FIRST LAST FOLDER``. It prints a seed before it reads its file, and what came of it
after, so that a crash has a name.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import rasterio
from numpy.random import Generator
from rasterio.enums import Resampling
from rasterio.transform import from_origin

SECONDS_EACH = 5
ADDRESSES = 8 << 30
# The cache, and a thread's eight open files with a block of at most 256 MiB each.
RESIDENT = 2_700_000_000
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
FORMATS = {1: "B", 2: "B", 3: "H", 4: "I", 16: "Q"}
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, SAMPLES, ROWS_PER_STRIP, COUNTS = (
    256,
    257,
    258,
    259,
    262,
    273,
    277,
    278,
    279,
)
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS, EXTRA, FORMAT = 322, 323, 324, 325, 338, 339
SCALE, TIE_POINTS, KEYS, DOUBLES, ASCII, METADATA, NODATA = 33550, 33922, 34735, 34736, 34737, 42112, 42113
NUMBERS = [0, 1, 2, 3, 7, 8, 255, 256, 4096, 60_000, 65_535, 2**20, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]

LAYOUTS = {
    "strips": ("uint8", 3, {}),
    "deflate": ("uint16", 1, {"compress": "deflate", "tiled": True, "blockxsize": 64, "blockysize": 64, "predictor": 2}),
    "float": ("float32", 1, {"compress": "lzw", "nodata": -9999, "predictor": 3}),
    "jpeg": ("uint8", 3, {"compress": "jpeg", "photometric": "ycbcr", "tiled": True, "blockxsize": 64, "blockysize": 64}),
    "palette": ("uint8", 1, {"photometric": "palette"}),
    "big": ("int16", 4, {"bigtiff": "yes", "interleave": "band", "nodata": 7}),
    "alpha": ("uint8", 4, {"compress": "packbits", "alpha": "yes"}),
    "bits": ("uint8", 1, {"nbits": 1, "compress": "ccittfax4"}),
    "zstd": ("float64", 2, {"compress": "zstd"}),
    "lerc": ("uint16", 3, {"compress": "lerc_deflate", "interleave": "pixel"}),
    "webp": ("uint8", 3, {"compress": "webp", "tiled": True, "blockxsize": 64, "blockysize": 64}),
    "overviews": ("uint16", 1, {"compress": "deflate", "overviews": True}),
    "motorola": ("uint8", 1, {"endianness": "big", "tiled": True, "blockxsize": 64, "blockysize": 64}),
}


@cache
def whole(layout: str) -> bytes:
    """A file without lies."""
    dtype, count, options = LAYOUTS[layout]
    options = dict(options)
    overviews = options.pop("overviews", False)
    rng = np.random.default_rng(5)
    values = rng.integers(0, 2 if "nbits" in options else 200, (count, 150, 130)).astype(dtype)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tif"
        place = {"crs": "EPSG:32631", "transform": from_origin(500_000, 5_000_000, 0.5, 0.5)}
        with rasterio.open(
            path, "w", driver="GTiff", height=150, width=130, count=count, dtype=dtype, **place, **options
        ) as file:
            file.write(values)
            file.update_tags(note="x" * 40)
            if options.get("photometric") == "palette":
                file.write_colormap(1, {n: (n, 255 - n, 0, 255) for n in range(256)})
        if overviews:
            with rasterio.open(path, "r+") as file:
                file.build_overviews([2, 4], Resampling.nearest)
        return path.read_bytes()


class Tiff:
    """The directories of a TIFF, to be lied in."""

    def __init__(self, content: bytes) -> None:
        self.content = bytearray(content)
        self.order = "<" if content[:2] == b"II" else ">"
        self.big = self.number("H", 2) == 43
        self.word = "Q" if self.big else "I"
        self.links = [8 if self.big else 4]
        self.entries: list[tuple[int, int]] = []
        while at := self.number(self.word, self.links[-1]):
            count = self.number("Q" if self.big else "H", at)
            start = at + (8 if self.big else 2)
            self.entries += [(len(self.links) - 1, start + n * (20 if self.big else 12)) for n in range(count)]
            self.links.append(start + count * (20 if self.big else 12))

    def number(self, code: str, at: int) -> int:
        return struct.unpack_from(self.order + code, self.content, at)[0]

    def put(self, code: str, at: int, value: int) -> None:
        size = struct.calcsize(self.order + code)
        self.content[at : at + size] = (value % 256**size).to_bytes(size, "little" if self.order == "<" else "big")

    def find(self, tag: int, directory: int = 0) -> int | None:
        return next((at for where, at in self.entries if where == directory and self.number("H", at) == tag), None)

    def set(self, tag: int, value: int, directory: int = 0) -> None:
        """Set the number, or the first of several, of a tag."""
        at = self.find(tag, directory)
        if at is not None:
            kind, place = self.number("H", at + 2), self.place(at)
            code = FORMATS.get(kind)
            if kind == 3 and value > 65_535 and place == at + (12 if self.big else 8):
                self.put("H", at + 2, 4)
                code = "I"
            if code is not None:
                self.put(code, place, value)

    def place(self, at: int) -> int:
        """Where the values of an entry are."""
        size = SIZES.get(self.number("H", at + 2), 1) * self.number(self.word, at + 4)
        inside = at + (12 if self.big else 8)
        return inside if size <= (8 if self.big else 4) else self.number(self.word, inside)

    def span(self, tag: int) -> tuple[int, int] | None:
        at = self.find(tag)
        if at is None:
            return None
        return self.place(at), SIZES.get(self.number("H", at + 2), 1) * self.number(self.word, at + 4)

    def overwrite(self, tag: int, content: bytes) -> None:
        """Put values of another length behind the end of the file."""
        at = self.find(tag)
        if at is not None:
            self.put(self.word, at + 4, len(content) // SIZES.get(self.number("H", at + 2), 1))
            self.put(self.word, at + (12 if self.big else 8), len(self.content))
            self.content += content.ljust(16, b"\0")


def flipped(tiff: Tiff, rng: Generator) -> None:
    ends = [len(tiff.content), 400, min(at for _, at in tiff.entries) + 500]
    for _ in range(int(rng.integers(1, 40))):
        tiff.content[int(rng.integers(0, min(ends[rng.integers(3)], len(tiff.content))))] = int(rng.integers(256))


def cut(tiff: Tiff, rng: Generator) -> None:
    start = int(rng.integers(0, len(tiff.content)))
    stop = len(tiff.content) if rng.random() < 0.6 else start + int(rng.integers(1, 2000))
    del tiff.content[start:stop]


def absurd_entry(tiff: Tiff, rng: Generator) -> None:
    for _ in range(int(rng.integers(1, 4))):
        at = tiff.entries[rng.integers(len(tiff.entries))][1]
        field, code = [(0, "H"), (2, "H"), (4, tiff.word), (12 if tiff.big else 8, tiff.word)][rng.integers(4)]
        tiff.put(code, at + field, [*NUMBERS, len(tiff.content), len(tiff.content) - 1, at][rng.integers(len(NUMBERS) + 3)])


def absurd_number(tiff: Tiff, rng: Generator) -> None:
    for _ in range(int(rng.integers(1, 4))):
        where, at = tiff.entries[rng.integers(len(tiff.entries))]
        tiff.set(tiff.number("H", at), NUMBERS[rng.integers(len(NUMBERS))], where)


def loop(tiff: Tiff, rng: Generator) -> None:
    targets = [tiff.number(tiff.word, link) for link in tiff.links[:-1]]
    targets += [int(rng.integers(0, len(tiff.content))), 0, 4, 8]
    tiff.put(tiff.word, tiff.links[rng.integers(len(tiff.links))], targets[rng.integers(len(targets))])


def huge(tiff: Tiff, rng: Generator) -> None:
    sides = [20_000, 60_000, 200_000, 2_000_000, 2**31 - 1, 2**32 - 1]
    for tag in (WIDTH, LENGTH):
        tiff.set(tag, sides[rng.integers(len(sides))])
    if rng.random() < 0.5:
        for tag in (ROWS_PER_STRIP, TILE_WIDTH, TILE_LENGTH):
            tiff.set(tag, [16, 1024, 30_000, 60_000, 2**31 - 1, 2**31 - 16][rng.integers(6)])
    if rng.random() < 0.3:
        tiff.set(SAMPLES, [0, 2, 255, 4096, 65_535][rng.integers(5)])


def keys(tiff: Tiff, rng: Generator) -> None:
    for tag in (KEYS, DOUBLES, ASCII, SCALE, TIE_POINTS):
        span = tiff.span(tag)
        if span is None or rng.random() < 0.4:
            continue
        start, size = span
        for _ in range(int(rng.integers(1, 8))):
            value = [0, 1, 4326, 32_767, 65_535, int(rng.integers(65_536))][rng.integers(6)]
            tiff.put("H", start + 2 * int(rng.integers(0, size // 2)), value)
        if tag in (SCALE, TIE_POINTS):
            number = [float("nan"), float("inf"), 0.0, 1e308, -1e-320, 1e18][rng.integers(6)]
            tiff.content[start : start + 8] = struct.pack(tiff.order + "d", number)


TEXTS = [
    b"nan",
    b"-inf",
    b"1e999",
    b"",
    b"\xff\xfe\x80",
    b"9" * 400,
    b"0x10",
    b"1,5",
    b"-9999 7",
    b"none",
    b"1e-400",
    b"\0\0\0",
    b"%s%n",
]


def texts(tiff: Tiff, rng: Generator) -> None:
    tiff.overwrite(NODATA, TEXTS[rng.integers(len(TEXTS))] + b"\0")
    items = [
        b'<Item name="OVERVIEW_FILE" domain="OVERVIEWS">/etc/passwd</Item>',
        b'<Item name="NODATA_VALUES">1e999 nan x</Item>',
        b'<Item name="SCALE" sample="0" role="scale">nan</Item>',
        b'<Item name="INTERLEAVE" domain="IMAGE_STRUCTURE">PIXEL</Item>',
        b"<Item" * 3000,
        b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><Item name='a'>&x;</Item>",
        b"\xff" * 500,
    ]
    tiff.overwrite(METADATA, b"<GDALMetadata>" + items[rng.integers(len(items))] + b"</GDALMetadata>\0")


def lying_overview(tiff: Tiff, rng: Generator) -> None:
    for directory in range(1, len(tiff.links) - 1):
        for tag in (WIDTH, LENGTH, SAMPLES, BITS, ROWS_PER_STRIP, TILE_WIDTH, 254):
            if rng.random() < 0.5:
                tiff.set(tag, [0, 1, 2, 60, 1000, 60_000, 2**31 - 1][rng.integers(7)], directory)
    if rng.random() < 0.5:
        tiff.set(WIDTH, 60_000)
        tiff.set(LENGTH, 60_000)


def mixed(tiff: Tiff, rng: Generator) -> None:
    for _ in range(3):
        # What is left after a cut may be no TIFF to lie in.
        with suppress(struct.error, IndexError):
            MUTATIONS[rng.integers(len(MUTATIONS) - 1)](tiff, rng)


MUTATIONS: list[Callable[[Tiff, Generator], None]] = [
    flipped, absurd_entry, absurd_number, loop, huge, keys, texts, lying_overview, cut, mixed,
]  # fmt: skip


def directory(tags: dict[int, tuple[int, list[int]]], at: int, following: int = 0) -> bytes:
    """A directory of a little-endian TIFF that will be at a place, with its values behind it."""
    body, behind = struct.pack("<H", len(tags)), b""
    end = at + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}{FORMATS[kind]}", *values)
        if len(packed) > 4:
            packed, behind = struct.pack("<I", end + len(behind)), behind + packed
        body += struct.pack("<HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    return body + struct.pack("<I", following) + behind


def bomb(rng: Generator) -> bytes:
    """A few kilobytes that claim gigabytes."""
    side = [20_000, 60_000, 60_000, 100_000][rng.integers(4)]
    bits = [8, 16, 32][rng.integers(3)]
    if rng.random() < 0.5:
        return zeros(side, bits, rows=[1, 16, 512, side][rng.integers(4)])
    return zeros(side, bits, tile=[64, 512, 4096, 32_768][rng.integers(4)])


def zeros(side: int, bits: int, *, rows: int = 0, tile: int = 0, dot: bool = False) -> bytes:
    """A raster of zeros whose blocks are all the same bytes of the file; with a dot for an overview."""
    blocks = min((-(-side // tile)) ** 2 if tile else -(-side // rows), 200_000)
    data = zlib.compress(bytes(min((tile * tile if tile else rows * side) * bits // 8, 1 << 26)), 9)
    tags = {WIDTH: (4, [side]), LENGTH: (4, [side]), BITS: (3, [bits]), COMPRESSION: (3, [8]), PHOTOMETRIC: (3, [1])}
    tags |= {SAMPLES: (3, [1]), FORMAT: (3, [3 if bits == 32 else 1])}
    if tile:
        tags |= {TILE_WIDTH: (4, [tile]), TILE_LENGTH: (4, [tile]), TILE_OFFSETS: (4, [8] * blocks)}
        tags[TILE_COUNTS] = (4, [len(data)] * blocks)
    else:
        tags |= {ROWS_PER_STRIP: (4, [rows]), OFFSETS: (4, [8] * blocks), COUNTS: (4, [len(data)] * blocks)}
    at = 8 + len(data)
    last = directory(tags, at)
    if not dot:
        return struct.pack("<2sHI", b"II", 42, at) + data + last
    overview = {254: (4, [1]), WIDTH: (4, [1]), LENGTH: (4, [1]), BITS: (3, [bits]), PHOTOMETRIC: (3, [1]), SAMPLES: (3, [1])}
    overview |= {FORMAT: tags[FORMAT], ROWS_PER_STRIP: (4, [1]), OFFSETS: (4, [8]), COUNTS: (4, [bits // 8])}
    end = at + len(last)
    return struct.pack("<2sHI", b"II", 42, at) + data + directory(tags, at, end) + directory(overview, end)


def chain(rng: Generator) -> bytes:
    """Thousands of directories, each an overview, or a file of thousands of bands."""
    tags = {WIDTH: (4, [40]), LENGTH: (4, [40]), BITS: (3, [8]), PHOTOMETRIC: (3, [1]), ROWS_PER_STRIP: (4, [40])}
    tags |= {OFFSETS: (4, [8]), COUNTS: (4, [1600]), SAMPLES: (3, [1])}
    if rng.random() < 0.4:
        count = [300, 4097, 60_000][rng.integers(3)]
        tags |= {
            SAMPLES: (3, [count]),
            EXTRA: (3, [2] * (count - 1)),
            WIDTH: (4, [1]),
            LENGTH: (4, [1]),
            BITS: (3, [8] * count),
        }
        tags |= {COUNTS: (4, [count]), ROWS_PER_STRIP: (4, [1])}
        return struct.pack("<2sHI", b"II", 42, 8 + count) + bytes(count) + directory(tags, 8 + count)
    content, count = struct.pack("<2sHI", b"II", 42, 1608) + bytes(1600), [100, 1000, 20_000][rng.integers(3)]
    reduced = {254: (4, [1])} if rng.random() < 0.7 else {}
    parts = []
    at = len(content)
    for number in range(count):
        size = len(directory(tags | reduced, 0)) if number else len(directory(tags, 0))
        parts.append(directory(tags | (reduced if number else {}), at, at + size if number < count - 1 else 0))
        at += size
    return content + b"".join(parts)


def mutated(seed: int) -> tuple[str, bytes]:
    """The file of a seed, and what was done to it."""
    rng = np.random.default_rng([7, seed])
    choice = rng.random()
    if choice < 0.05:
        return "bomb", bomb(rng)
    if choice < 0.07:
        return "chain", chain(rng)
    layout = list(LAYOUTS)[rng.integers(len(LAYOUTS))]
    mutation = MUTATIONS[rng.integers(len(MUTATIONS))]
    if mutation is lying_overview:
        layout = "overviews"
    tiff = Tiff(whole(layout))
    mutation(tiff, rng)
    return f"{mutation.__name__} {layout}", bytes(tiff.content)


def read_some(path: Path) -> str:
    """Open and read a few windows: "result", or the message of the error."""
    from samgeo.errors import SamgeoError
    from samgeo.geo.grid import Rect
    from samgeo.geo.raster.raster import Raster

    try:
        raster = Raster.open(path)
        height, width = raster.shape
        raster.provenance()
        for x, y in ((0, 0), (width // 2, height // 2), (width - 100, height - 100)):
            pixels, valid = raster.read(Rect(x, y, x + 256, y + 256))
            assert pixels.shape == (256, 256, 3)
            assert valid.shape == (256, 256)
    except SamgeoError as error:
        return str(error)
    return "result"


def resident() -> int:
    """The most memory that this process has had, in bytes. Its ``ru_maxrss`` would count its parent's, from before it began."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main(first: int, last: int, folder: Path) -> None:
    """Read the files of seeds; a file that takes too long ends the process."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["GDAL_CACHEMAX"] = "512"  # MB; by default a twentieth of the machine's memory
    path = folder / f"hostile-{first}.tif"
    path.write_bytes(whole("strips"))
    assert read_some(path) == "result"
    for seed in range(first, last):
        kind, content = mutated(seed)
        path.write_bytes(content)
        print(json.dumps({"seed": seed, "kind": kind}), flush=True)  # noqa: T201 - to the parent
        # The default answer to this signal is to die, also inside of GDAL.
        signal.setitimer(signal.ITIMER_PROF, SECONDS_EACH)
        before = time.process_time()
        came = read_some(path)
        signal.setitimer(signal.ITIMER_PROF, 0)
        seconds = time.process_time() - before
        print(json.dumps({"seed": seed, "came": came, "seconds": seconds, "resident": resident()}), flush=True)  # noqa: T201 - to the parent
    path.unlink()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
