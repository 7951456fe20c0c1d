"""The first minutes on a GPU: tests, benchmarks and a training, each within its share of the time, into one folder.

python benchmarks/gpu/kit.py --out FOLDER [--minutes 9] [--parts tests,bench,train] [--network base] [--pack build/gpu-pack.tar]
                             [--smoke]

Needs Python 3.11 or newer with torch, numpy, scipy, safetensors and Pillow, and no network. Given again with the same folder,
it goes on where it was stopped. ``--smoke`` runs every part with tiny sizes, on a processor where there is no CUDA device.

FOLDER holds at most eight files: kit.json (the machine, what is missing, and the seconds of each part), kit.log, tests.json,
bench.json, train.json, log.jsonl (of the training), weights.safetensors and weights-now.safetensors.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# Shares of the time. A part that needs less leaves the rest to those after it.
PARTS = {"tests": 1.0, "bench": 3.0, "train": 6.0}
NEEDED = ("torch", "numpy", "scipy", "safetensors", "Pillow")
# What single units need, and what is left out without it.
WANTED = {
    "pytest": "the tests", "pytest-timeout": "the tests", "shapely": "masks of windows, and everything mode",
    "segment-anything": "the comparison with the published code",
    "transformers": "the comparison with transformers, and the tests of loading", "rasterio": "whole rasters",
    "geopandas": "whole rasters", "odc-geo": "whole rasters", "dask": "whole rasters",
}  # fmt: skip
FINISHING_S = 3.0


def main() -> None:
    begun = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--network", default="base", help="blocks of the network to train: base, deep, deeper or context")
    parser.add_argument("--pack", type=Path, default=ROOT / "build" / "gpu-pack.tar")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    parts = [part for part in options.parts.split(",") if part]
    if not parts or set(parts) - PARTS.keys() or len(set(parts)) < len(parts):
        sys.exit(f"--parts is {options.parts!r}; give some of {','.join(PARTS)}")
    if not 0 < options.minutes < float("inf"):
        sys.exit(f"--minutes is {options.minutes}; give more than 0")
    if not options.pack.is_file():
        sys.exit(f"{options.pack} is not there; make it with make gpu-pack where the open data are, and carry it along")
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "kit.log").open("a", encoding="utf-8") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(f"another kit is at work in {options.out}; wait for it, or give another folder")
        run(options, parts, begun, log)


def run(options: argparse.Namespace, parts: list[str], begun: float, log: Any) -> None:
    """Do the parts one after the other; each is a process of its own, which is ended when its time is over."""
    tidy(options.out)
    ends = begun + 60 * options.minutes - FINISHING_S
    state = read(options.out / "kit.json")
    with tempfile.TemporaryDirectory(prefix="samgeo-kit-") as site:
        paths = [str(ROOT), str(HERE), site]
        if inherited := os.environ.get("PYTHONPATH"):
            paths.append(inherited)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
        call: dict[str, Any] = {"minutes": options.minutes, "smoke": options.smoke, "network": options.network, "parts": {}}
        state.setdefault("calls", []).append(call)
        state["machine"] = machine(environment, options.pack, site)
        tell(log, json.dumps(state["machine"]))
        write(options.out / "kit.json", state)
        if absent := [name for name in NEEDED if name in state["machine"]["missing"]]:
            sys.exit(f"the kit needs {', '.join(absent)}, which this Python lacks: {sys.executable}")
        for number, name in enumerate(parts):
            weights = [PARTS[other] for other in parts[number:]]
            seconds = max((ends - time.monotonic()) * weights[0] / sum(weights), 0.0)
            tell(log, f"== {name}: {seconds:.0f} s")
            call["parts"][name] = {"budget_s": round(seconds, 1), "status": "begun"}
            write(options.out / "kit.json", state)
            started = time.monotonic()
            status = run_part(name, seconds, options, environment, log)
            tidy(options.out)
            call["parts"][name] |= {"status": status, "seconds": round(time.monotonic() - started, 1)}
            write(options.out / "kit.json", state)
            tell(log, f"== {name}: {status} after {call['parts'][name]['seconds']:.0f} s")
    call["seconds"] = round(time.monotonic() - begun, 1)
    write(options.out / "kit.json", state)
    tell(log, f"{options.out}: {', '.join(sorted(path.name for path in options.out.iterdir()))}")


def run_part(name: str, seconds: float, options: argparse.Namespace, environment: dict[str, str], log: Any) -> str:
    """Run a part, and end it and its children if it does not end by itself within its time."""
    command = [sys.executable, str(HERE / f"run_{name}.py"), "--out", str(options.out.resolve())]
    command += [
        "--pack",
        str(options.pack.resolve()),
        "--ends",
        f"{time.monotonic() + seconds - 1:.2f}",
        "--network",
        options.network,
    ]
    command += ["--smoke"] if options.smoke else []
    process = subprocess.Popen(  # noqa: S603  our own part
        command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )  # fmt: skip
    try:
        code = process.wait(max(seconds, 1.0))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return "ended by the clock"
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return "done" if code == 0 else f"failed with exit status {code}"


def tidy(out: Path) -> None:
    """Remove what a process that was ended had begun to write; nothing else is at work here."""
    for partial in out.glob(".*.partial"):
        partial.unlink()
    for staging in out.glob(".samgeo-*"):
        shutil.rmtree(staging)


# Run by a process of its own, because an import of torch that fails must not end the kit.
PROBE = """
import json, sys
from pathlib import Path
found = {}
try:
    import torch
    here = torch.cuda.is_available()
    found |= {"torch": torch.__version__, "cuda": torch.version.cuda}
    found["device"] = torch.cuda.get_device_name() if here else "no GPU: this is a processor"
    found["memory_gb"] = round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1) if here else None
    import packed
    found["unpacked"] = packed.unpack_wheels(Path(sys.argv[1]), Path(sys.argv[2]))
except Exception as error:
    found["problem"] = repr(error)
print(json.dumps(found))
"""


def machine(environment: dict[str, str], pack: Path, site: str) -> dict[str, Any]:
    """Ask what is here, unpack wheels of what is missing, and say what is missing still."""
    done = subprocess.run(  # noqa: S603  our own code
        [sys.executable, "-c", PROBE, str(pack), site], env=environment, capture_output=True, text=True, check=False
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        found = {"problem": done.stderr[-500:]}
    wanted = dict.fromkeys(NEEDED, "everything") | WANTED
    packages = {name: installed for name in wanted if (installed := version_of(name, site)) is not None}
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        **found,
        "packages": packages,
        "missing": {name: what for name, what in wanted.items() if name not in packages},
    }


def version_of(name: str, site: str) -> str | None:
    """Return the version of a package of this Python or of the unpacked ones."""
    from importlib.metadata import distributions

    try:
        return version(name)
    except PackageNotFoundError:
        for found in distributions(path=[site]):
            if found.metadata["Name"].lower().replace("_", "-") == name.lower():
                return found.version
    return None


def read(path: Path) -> dict[str, Any]:
    """Read the state of earlier calls."""
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state


def write(path: Path, state: dict[str, Any]) -> None:
    """Replace the state."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(state, indent=1), encoding="utf-8")
    os.replace(partial, path)  # noqa: PTH105  as one step


def tell(log: Any, line: str) -> None:
    """Say a line to the log and to whoever looks."""
    print(line, flush=True)
    log.write(line + "\n")
    log.flush()


if __name__ == "__main__":
    main()
