"""Vector files that lie, read by a child process within bounds of time and memory; see ``hostile_rasters.py``."""

import json
import resource
import signal
import sys
import time
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from hostile_rasters import resident

from samgeo.errors import SamgeoError
from samgeo.geo.vector.reading import read_provenance, read_vectors, write_vectors

SECONDS_EACH = 5
ADDRESSES = 8 << 30
SUFFIXES = [".parquet", ".gpkg", ".fgb", ".geojson"]
NUMBERS = [0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, 2**40, 2**63 - 1, 2**64 - 1]


def whole(path: Path) -> None:
    """Write a file without lies."""
    boxes = [shapely.box(x, 0, x + 1, 1) for x in range(60)]
    frame = gpd.GeoDataFrame(
        {"name": [f"roof {x}" for x in range(60)], "score": np.linspace(0, 1, 60)}, geometry=boxes, crs=32631
    )
    write_vectors(frame, path, provenance={"model": "tiny"}, overwrite=True)


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Flip, put absurd numbers, cut, copy; near the ends rather than in the middle, as headers and footers are there."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        size = len(changed)
        at = [int(rng.integers(8, min(1500, size))), int(rng.integers(max(size - 1500, 8), size)), int(rng.integers(8, size))]
        place = at[rng.integers(3)]
        match rng.integers(0, 5):
            case 0:
                changed[place] = int(rng.integers(256))
            case 1:
                width = [1, 2, 4, 8][rng.integers(4)]
                number = NUMBERS[rng.integers(len(NUMBERS))] % 256**width
                changed[place : place + width] = number.to_bytes(width, ["little", "big"][rng.integers(2)])
            case 2:
                del changed[place : place + int(rng.integers(1, 300))]
            case 3:
                start = int(rng.integers(0, size))
                changed[place:place] = changed[start : start + int(rng.integers(1, 300))]
            case 4:
                digits = [n for n in range(8, size) if 48 <= changed[n] <= 57]
                if digits:
                    digit = digits[rng.integers(len(digits))]
                    changed[digit : digit + 1] = [b"-", b"9", b"NaN", b"1e400", b"null"][rng.integers(5)]
        if len(changed) < 100:
            break
    return bytes(changed)


def read_all(path: Path) -> str:
    """Read features and what made them: "result", or the message of the error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = read_vectors(path)
            read_provenance(path)
    except SamgeoError as error:
        return str(error)
    return "result" if isinstance(frame, gpd.GeoDataFrame) else "?"


def main(count: int, folder: Path) -> None:
    """Read so many files of each format; one that takes too long ends the process."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2025-01-01T00:00:00.000Z"})  # The same bytes every day.
    for suffix in SUFFIXES:
        path = folder / f"a{suffix}"
        whole(path)
        content = path.read_bytes()
        assert read_all(path) == "result"
        for seed in range(count):
            path.write_bytes(mutated(content, np.random.default_rng([seed, *suffix.encode()])))
            print(json.dumps({"file": f"{seed}{suffix}"}), flush=True)  # noqa: T201 - to the parent
            signal.setitimer(signal.ITIMER_PROF, SECONDS_EACH)
            before = time.process_time()
            came = read_all(path)
            signal.setitimer(signal.ITIMER_PROF, 0)
            told = {"file": f"{seed}{suffix}", "came": came, "seconds": time.process_time() - before, "resident": resident()}
            print(json.dumps(told), flush=True)  # noqa: T201 - to the parent
        path.unlink()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
