"""Make the pack of the GPU kit out of the open data: one file of at most 55 MB for a machine without network.

python benchmarks/gpu/pack.py [--data FOLDER] [--output build/gpu-pack.tar] [--scenes 40] [--wheels kit|raster|none]

FOLDER is SAMGEO_DATA by default. ``--wheels raster`` takes along what samgeo needs for whole rasters, and then no training
pictures, for both do not fit. The file belongs into a folder that git ignores: it is data, and must not be committed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from packed import MOST_BYTES, PackError, describe, write_pack

from samgeo.training.data import overhead_recipe as overhead
from samgeo.training.data.examples import Source

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "build" / "gpu-pack.tar"
PYTHON = "3.12"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_24_x86_64", "manylinux_2_17_x86_64",
             "manylinux2014_x86_64")  # fmt: skip
# Versions are those of constraints.txt, where it has them.
WHEELS = {
    "none": (),
    "kit": (
        "segment-anything==1.0", "shapely", "safetensors", "filelock", "pytest", "pluggy", "iniconfig", "packaging",
        "pytest-timeout",
    ),
    "raster": (
        "segment-anything==1.0", "rasterio", "shapely", "pyproj", "geopandas", "odc-geo", "affine", "dask", "toolz",
        "cloudpickle", "partd", "locket", "cachetools", "certifi", "attrs", "click", "tqdm", "xarray",
    ),
}  # fmt: skip
# The town of Banepa's held-out chips: no pixel of them, but the same flight.
NOT_INDEPENDENT = "nepal_banepa"
LICENCES = {
    "oam-banepa-buildings, oam-kampala-buildings, oam-dhaka-buildings, oam-philippines-nepal-buildings":
        "imagery CC BY 4.0 (OpenAerialMap contributors), vectors ODbL (OpenStreetMap contributors)",
    "spacenet1-rio-more, spacenet1-rio-sample": "CC BY-SA 4.0 (SpaceNet partners, DigitalGlobe)",
    "japan-solar, japan-roads": "Public Data License 1.0 of Japan (GSI)",
    "dubai-semseg": "Humans in the Loop / MBRSC, open",
    "naip-urban-trees": "CC BY 4.0",
    "neon-tree-crowns": "NEON open data",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("SAMGEO_DATA"))
    parser.add_argument("--output", type=Path, default=DEFAULT)
    parser.add_argument("--scenes", type=int, default=40, help="generated towns")
    parser.add_argument("--wheels", choices=list(WHEELS), default="kit")
    options = parser.parse_args()
    if options.data is None or not options.data.is_dir():
        sys.exit("give the folder with the open data sets as --data, or in SAMGEO_DATA")
    print("reading the open data sets, and finding regions in those without labels: some minutes", flush=True)
    validation = overhead.validation(options.data)
    raster = options.wheels == "raster"
    sources = [] if raster else independent(overhead.sources(options.data, scenes=options.scenes))
    notes = {
        "scenes": {"seeds": list(range(overhead.FIRST_TOWN, overhead.FIRST_TOWN + (0 if raster else options.scenes)))},
        "licences": LICENCES,
    }
    with tempfile.TemporaryDirectory() as folder:
        wheels = download(WHEELS[options.wheels], Path(folder))
        try:
            contents = write_pack(
                options.output, sources, validation, list(overhead.crowns(options.data)), wheels=wheels, notes=notes
            )
        except PackError as error:
            sys.exit(str(error))
    print(describe(contents))
    print(f"{options.output}: {options.output.stat().st_size:,} bytes of at most {MOST_BYTES:,}")


def independent(sources: Sequence[Source]) -> list[Source]:
    """Leave out pictures of the towns that validation is of."""
    kept = []
    for source in sources:
        pictures = [picture for picture in source.pictures if not picture.name.startswith(NOT_INDEPENDENT)]
        kept.append(replace(source, pictures=pictures))
    return kept


def download(names: Sequence[str], folder: Path) -> list[Path]:
    """Fetch wheels for the machine with the GPU; what cannot be had is said, and left out."""
    pins = dict(re.findall(r"^([A-Za-z0-9_-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    platforms = [part for platform in PLATFORMS for part in ("--platform", platform)]
    for name in names:
        wanted = f"{name}=={pins[name]}" if name in pins else name
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp", *platforms]
        done = subprocess.run([*command, "--dest", str(folder), wanted], capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            print(f"left out, because pip cannot fetch it: {wanted}", flush=True)
    return sorted(folder.glob("*.whl"))


if __name__ == "__main__":
    main()
