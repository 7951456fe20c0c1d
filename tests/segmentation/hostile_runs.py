"""Folders of runs that lie, by seed, in a process of their own: for test_hostile_runs."""

import io
import json
import os
import pickle
import resource
import shutil
import signal
import sys
import time
import warnings
import zipfile
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.random import Generator

import samgeo
from samgeo.cli import main as command
from samgeo.errors import SamgeoError, StoppedError
from samgeo.segmentation.api import segment_to_file
from samgeo.segmentation.run.status import run_status
from samgeo.testing import encode_ids, scattered
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import write_raster

OPTIONS = {"window": 128, "overlap": 64, "points_per_side": 8, "progress": False, "scheduler": "synchronous"}
SECONDS_EACH = 60
ADDRESSES = 6 << 30  # beyond what the libraries take themselves

DEEP: list = []
for _ in range(900):
    DEEP = [DEEP]
DEEP_MAPPING: dict = {}
for _ in range(900):
    DEEP_MAPPING = {"a": DEEP_MAPPING}
ABSURD = [
    *(None, True, 0, -1, 1, 3, 0.5, 2**31, 2**63, 10**18, 10**400, 1e308, float("nan"), float("inf"), -0.0),
    *("", "0", "../../outside/note.txt", "/etc/passwd", "\ud800", "\x1b[2J", "x" * 100_000, "[" * 5000),
    *([], {}, [1], [[1]], {"a": 1}, DEEP, DEEP_MAPPING, [10**9] * 6, [10**15, 1], [2**31, 2**31]),
]
NAMES = [
    *("000000-000000-000001.npz", "000000-000000-000003-holes.npz", "000002-000000-000003.npz", "000001-000002-000001.npz"),
    *("000000-000000-999999999999999999999.npz", "999999999999-000000-000001.npz", "-000001-000000-000001.npz"),
    *("000000-000000-000003.npz.npz", "..npz", "%2e%2e.npz", "\u0660" * 6 + "-000000-000001.npz", "000001.parquet", "a\nb.npz"),
]


class Payload:
    """What a pickle would do."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def flip(path: Path, rng: Generator, _: Path) -> None:
    content = bytearray(path.read_bytes())
    for place in rng.integers(max(len(content), 1), size=rng.integers(1, 9)):
        if content:
            content[place] = rng.integers(256)
    path.write_bytes(content)


def cut(path: Path, rng: Generator, _: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(rng.integers(len(content) + 1))] if rng.random() < 0.8 else content + content)


def take_away(path: Path, rng: Generator, _: Path) -> None:
    path.unlink()
    if rng.random() < 0.5:
        path.mkdir()
        (path / "inner").touch()


def lead_out(path: Path, rng: Generator, outside: Path) -> None:
    """Put a link to a copy elsewhere in the place of a file, or of the folder that it is in."""
    victim = path if rng.random() < 0.5 or path.parent.name not in {"parts", "rows"} else path.parent
    target = outside / victim.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.move(victim, target)
    if rng.random() < 0.2:
        target = outside / "absent"
    victim.symlink_to(target)


def rename(path: Path, rng: Generator, _: Path) -> None:
    name = NAMES[rng.integers(len(NAMES))]
    if name == path.name:
        path.unlink()
    elif rng.random() < 0.5:
        shutil.copy(path, path.with_name(name))
    else:
        path.replace(path.with_name(name))


def swap(path: Path, rng: Generator, _: Path) -> None:
    others = [other for other in sorted(path.parent.iterdir()) if other.is_file() and other != path]
    if others:
        path.write_bytes(others[rng.integers(len(others))].read_bytes())


def lie_in_json(path: Path, rng: Generator, _: Path) -> None:
    whole = json.loads(path.read_bytes())
    at = whole
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = keys[rng.integers(len(keys))]
        if isinstance(at[key], dict | list) and at[key] and rng.random() < 0.8:
            at = at[key]
            continue
        at[key] = ABSURD[rng.integers(len(ABSURD))]
        break
    path.write_text(json.dumps(whole))


def lie_in_arrays(path: Path, rng: Generator, outside: Path) -> None:
    """Write arrays with sound checksums that say something absurd."""
    with np.load(path) as stored:
        arrays = dict(stored)
    name = list(arrays)[rng.integers(len(arrays))]
    array, choice = arrays[name], rng.integers(7)
    if choice == 0 and array.size:
        array.flat[rng.integers(array.size)] = [0, 1, -1, 200, 2**31 - 1][rng.integers(5)] if array.dtype.kind != "b" else True
    elif choice == 1:
        arrays[name] = array[: rng.integers(len(array) + 1)] if array.ndim else array
    elif choice == 2:
        arrays[name] = array.astype(["f8", "i1", "u8", "S4"][rng.integers(4)])
    elif choice == 3:
        arrays[name] = np.array([Payload(outside / "owned")], dtype=object)
    elif choice == 4:
        arrays[name] = np.zeros((0,) * int(rng.integers(5)), array.dtype)
    elif choice == 5:
        arrays[name] = np.repeat(array, 1000, axis=0)
    else:
        del arrays[name]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=True, **arrays)
    path.write_bytes(buffer.getvalue())


def lie_in_archive(path: Path, rng: Generator, outside: Path) -> None:
    """Write archives whose members have names that lead out, claim terabytes, or hold a pickle."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    first = next(iter(members))
    choice = rng.integers(5)
    if choice == 0:
        members["../../outside/owned.npy"] = members[first]
    elif choice == 1:
        members[str(outside / "owned.npy")] = members.pop(first)
    elif choice == 2:
        members[first] = pickle.dumps(Payload(outside / "owned"))
    elif choice == 3:
        header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (%d,), }" % (10 ** rng.integers(6, 19))
        members[first] = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n" + bytes(64)
    else:
        members["bomb.npy"] = bytes(1 << 28)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def lie_in_rows(path: Path, rng: Generator, _: Path) -> None:
    """Write a sound table of as many rows that is another one, sometimes with its digest."""
    table = pq.read_table(path)
    choice = rng.integers(5)
    if choice == 0:
        table = table.drop_columns([table.column_names[rng.integers(table.num_columns)]])
    elif choice == 1:
        table = table.replace_schema_metadata(None)
    elif choice == 2:
        table = table.replace_schema_metadata({b"geo": json.dumps(ABSURD[rng.integers(len(ABSURD))]).encode()})
    elif choice == 3:
        place = table.column_names.index("geometry")
        garbage = pa.array([rng.bytes(40)] * table.num_rows, pa.binary())
        table = table.set_column(place, table.schema.field("geometry"), garbage)
    else:
        table = pa.table({"a": pa.array([1] * table.num_rows)})
    pq.write_table(table, path)
    if rng.random() < 0.7:
        path.with_suffix(".blake2b").write_text(blake2b(path.read_bytes(), digest_size=16).hexdigest())


def mutate(folder: Path, rng: Generator, outside: Path) -> tuple[str, bool]:
    """Change one file of a run; return what was done, and whether all its checksums may still fit."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = files[rng.integers(len(files))]
    any_file = [flip, cut, take_away, lead_out, rename, swap]
    own = {".json": [lie_in_json] * 9, ".npz": [lie_in_arrays, lie_in_archive] * 3, ".parquet": [lie_in_rows] * 3}
    choices = any_file + own.get(path.suffix, [])
    done = choices[rng.integers(len(choices))]
    done(path, rng, outside)
    return f"{done.__name__} {path.relative_to(folder)}", done in {lie_in_arrays, lie_in_rows}


class Scene:
    """A raster, what comes of it, and two runs of it: one that is through, and one that stopped half-way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        labels = scattered(12, (250, 250), seed=4, min_size=20, max_size=60)
        labels[:, 140:150] = 99
        self.image = write_raster(folder / "image.tif", encode_ids(labels))
        self.segment("whole", "expected.parquet")
        calls = iter(range(7))
        try:
            self.segment("half", "half.parquet", stop=lambda: next(calls, None) is None)
        except StoppedError:
            self.expected = (folder / "expected.parquet").read_bytes()

    def segment(self, run: str, output: str, **options: object) -> None:
        given = OPTIONS | {"run_dir": self.folder / run} | options
        segment_to_file(self.image, self.folder / output, model=Oracle(128), **given)

    def use(self, run: str) -> str:
        """Ask for the status of a run and go on with it: "result", "another result", or the message of the error."""
        told = []
        for ask in (self.status, self.go_on):
            try:
                told.append(ask(run))
            except SamgeoError as error:
                told.append(str(error))
        return told[1]

    def status(self, run: str) -> str:
        from click.testing import CliRunner

        run_status(self.folder / run)
        for options in ([], ["--json"]):
            done = CliRunner().invoke(command, ["status", str(self.folder / run), *options])
            if done.exception is not None and not isinstance(done.exception, SystemExit):
                raise done.exception
            assert "\x1b" not in done.stdout
        return "told"

    def go_on(self, run: str) -> str:
        output = self.folder / "out.parquet"
        output.unlink(missing_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.segment(run, output.name)
        samgeo.geo.vector.reading.read_vectors(output)
        return "result" if output.read_bytes() == self.expected else "another result"


def main(first: int, last: int, folder: Path) -> None:
    """Use the runs of seeds; one that takes too long ends the process."""
    scene = Scene(folder)
    outside = folder / "outside"
    opened: list[str] = []
    sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESSES, used + ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for seed in range(first, last):
        rng = np.random.default_rng([11, seed])
        shutil.rmtree(outside, ignore_errors=True)
        outside.mkdir()
        (outside / ".mine-12345678").mkdir()
        (outside / "note.txt").write_text("mine")
        shutil.copytree(folder / ("whole" if rng.random() < 0.4 else "half"), folder / "run")
        kind, may_fit = mutate(folder / "run", rng, outside)
        before = {path: path.lstat().st_mtime_ns for path in outside.rglob("*")}
        print(json.dumps({"seed": seed, "kind": kind}), flush=True)  # noqa: T201 - to the parent
        opened.clear()
        signal.setitimer(signal.ITIMER_PROF, SECONDS_EACH)
        start = time.process_time()
        came = scene.use("run")
        signal.setitimer(signal.ITIMER_PROF, 0)
        line = {
            "seed": seed,
            "kind": kind,
            "may_fit": may_fit,
            "came": came,
            "seconds": time.process_time() - start,
            "outside": [path for path in opened if path.startswith(str(outside))],
            "touched": {path: path.lstat().st_mtime_ns for path in outside.rglob("*")} != before,
        }
        print(json.dumps(line), flush=True)  # noqa: T201 - to the parent
        target = folder / "run"
        target.unlink() if target.is_symlink() else shutil.rmtree(target, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
