"""Run benchmarks one after the other, and keep their tables as JSON.

    python benchmarks/run.py [--quick] [--output build/benchmarks] [NAME ...]

NAME is the name of a script without its suffix; all of them by default. --quick runs those that need two minutes or less
together on two cores, on small scenes: whether something became much slower can be seen by them, and nothing finer.

Each script prints what it measured. What it prints is kept as OUTPUT/NAME.txt, and its tables as OUTPUT/NAME.json: the machine,
the versions, the arguments, the seconds, and for each table its title and its rows as texts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent

# Scripts that need no data set, with arguments for small scenes.
QUICK: dict[str, tuple[str, ...]] = {
    "bench_masks": ("--points", "16", "--boxes", "800", "--repeats", "3"),
    "bench_vectorize": ("--masks", "60", "--repeats", "3"),
    "bench_merge": ("--side", "900", "--window", "256", "--overlap", "64", "--repeats", "1"),
    "bench_raster": ("--size", "512", "768", "--workers", "1"),
}
_RULE = re.compile(r"\|[\s:|-]+\|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="small scenes, some two minutes in all")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "benchmarks")
    options = parser.parse_args()
    scripts = {path.stem: path for path in sorted(FOLDER.glob("*.py")) if path.stem[0] != "_" and path != Path(__file__)}
    known = list(QUICK if options.quick else scripts)
    names = options.names or known
    if unknown := [name for name in names if name not in known]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; choose from {', '.join(known)}")
    options.output.mkdir(parents=True, exist_ok=True)
    failed = [name for name in names if not run(scripts[name], QUICK[name] if options.quick else (), options.output)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def run(script: Path, arguments: tuple[str, ...], output: Path) -> bool:
    """Run a script, show and keep what it prints, and return whether it succeeded."""
    print(f"== {script.stem} {' '.join(arguments)}", flush=True)
    wall, processor = time.perf_counter(), children_s()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    lines = []
    with subprocess.Popen(  # noqa: S603 - our own script
        [sys.executable, str(script), *arguments], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    told = "".join(lines)
    (output / f"{script.stem}.txt").write_text(told, encoding="utf-8")
    measured = {
        "benchmark": script.stem,
        "arguments": list(arguments),
        **machine(),
        "wall_s": round(time.perf_counter() - wall, 2),
        "processor_s": round(children_s() - processor, 2),
        "tables": tables(told),
    }
    (output / f"{script.stem}.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    return process.returncode == 0


def tables(told: str) -> list[dict[str, Any]]:
    """Return the Markdown tables in a text: the last line of text before each, its columns, and its rows."""
    found: list[dict[str, Any]] = []
    title, header = "", ""
    inside = False
    for line in map(str.strip, told.splitlines()):
        if _RULE.fullmatch(line) and header:
            found.append({"title": title, "columns": cells(header), "rows": []})
            inside = True
        elif line.startswith("|"):
            if inside:
                found[-1]["rows"].append(dict(zip(found[-1]["columns"], cells(line), strict=False)))
            header = line
        elif line:
            title, header, inside = line, "", False
    return found


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def machine() -> dict[str, Any]:
    """Return what the figures depend on: the processor, its number of cores, and the versions."""
    from importlib.metadata import version

    described = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"model name\s*: (.*)", described)
    return {
        "processor": model[1] if model else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "versions": {name: version(name) for name in ("samgeo", "torch", "numpy", "rasterio")},
        "python": platform.python_version(),
    }


def children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
