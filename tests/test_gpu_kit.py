"""The kit for a GPU, tried on a processor: its pack, its parts, and what is left of it when it is killed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from samgeo.models.tiny import load_tiny
from samgeo.training.data import overhead_recipe as overhead
from samgeo.training.data.examples import Layer, Source
from samgeo.training.data.pictures import Picture

ROOT = Path(__file__).parents[1]
KIT = ROOT / "benchmarks" / "gpu"
MOST_FILES, MOST_BYTES = 8, 16 * 2**20


def squares(name, seed, side=192):
    """Bright squares on noise, one on each cell of a 3 x 3 lattice."""
    rng = np.random.default_rng(seed)
    image = rng.integers(20, 80, (side, side, 3)).astype(np.uint8)
    ids = np.zeros((side, side), dtype=np.uint16)
    for number in range(9):
        top, left = (number // 3) * 64 + 8, (number % 3) * 64 + 8
        ids[top : top + 48, left : left + 48] = number + 1
        image[top : top + 48, left : left + 48] = rng.integers(150, 250, 3)
    return Picture(name, image, {"building": ids})


def trained_on(*pictures):
    return Source("squares", list(pictures), 1.0, {"building": Layer(0.8, 0.5)}, (0.7, 1.3))


@pytest.fixture
def packed(monkeypatch):
    monkeypatch.syspath_prepend(str(KIT))
    import packed

    return packed


@pytest.fixture
def pack(packed, tmp_path):
    path = tmp_path / "pack.tar"
    held = {"Banepa": [squares("held", 2)]}
    crown = squares("crown", 3)
    packed.write_pack(path, [trained_on(squares("a", 0), squares("b", 1))], held, [("crown", crown.image, np.eye(4)[:1] * 9)])
    return path


def usable(out):
    """Check what a person who comes back to a folder must find: whole JSON, weights that load, few and small files."""
    files = list(out.iterdir())
    assert len(files) <= MOST_FILES
    assert all(file.is_file() and file.stat().st_size < MOST_BYTES for file in files)
    for file in out.glob("*.json"):
        json.loads(file.read_text())
    for file in out.glob("*.safetensors"):
        load_tiny(file, device="cpu")
    return {file.name for file in files}


def test_a_pack_gives_back_what_was_packed(packed, pack):
    read = packed.read_pack(pack)
    (source,) = read.sources
    assert (source.name, source.weight, source.scales) == ("squares", 1.0, (0.7, 1.3))
    assert source.layers == {"building": Layer(0.8, 0.5)}
    for picture, truth in zip(source.pictures, [squares("a", 0), squares("b", 1)], strict=True):
        assert picture.name == truth.name
        assert np.array_equal(picture.layers["building"], truth.layers["building"])
        assert np.abs(picture.image.astype(int) - truth.image).mean() < 12
    assert [picture.name for picture in read.validation["Banepa"]] == ["held"]
    assert read.crowns[0][0] == "crown"
    listed = packed.read_contents(pack)["files"]
    assert len(listed) == 7
    assert packed.describe(read.contents).count("\n") == 5


def test_a_pack_that_is_too_large_is_refused_and_leaves_nothing(packed, tmp_path):
    with pytest.raises(packed.PackError, match=r"the pack would have [\d,]+ bytes, and may have 5,000"):
        packed.write_pack(tmp_path / "pack.tar", [trained_on(squares("a", 0))], {}, most_bytes=5_000)
    assert list(tmp_path.iterdir()) == []
    assert packed.MOST_BYTES == 55_000_000


def test_training_pictures_that_show_a_validation_place_are_refused(packed):
    held = squares("held", 2)
    packed.check_apart([trained_on(squares("a", 0))], {"Banepa": [held]})
    with pytest.raises(packed.PackError, match="held is a validation picture"):
        packed.check_apart([trained_on(squares("held", 5))], {"Banepa": [held.cut(0, 0, 64, 64)]})
    wider = np.zeros((256, 256, 3), dtype=np.uint8)
    wider[64:, :192] = held.image
    renamed = Picture("renamed", wider, {"building": np.ones((256, 256), dtype=np.uint16)})
    with pytest.raises(packed.PackError, match="renamed shows pixels of a validation picture"):
        packed.check_apart([trained_on(renamed)], {"Banepa": [held]})


def test_wheels_are_unpacked_where_their_package_is_missing(packed, tmp_path):
    import zipfile

    wheels = []
    for name, tag in (("absent_package_of_a_test", "py3-none"), ("numpy", "py3-none"), ("of_another_python", "cp27-cp27")):
        wheel = tmp_path / f"{name}-1.0-{tag}-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(f"{name}/__init__.py", "")
        wheels.append(wheel)
    packed.write_pack(tmp_path / "pack.tar", [], {}, wheels=wheels)
    taken = packed.unpack_wheels(tmp_path / "pack.tar", tmp_path / "site")
    assert taken == [wheels[0].name]
    assert [one.name for one in (tmp_path / "site").iterdir()] == ["absent_package_of_a_test"]


NEEDS_DATA = pytest.mark.skipif("SAMGEO_DATA" not in os.environ, reason="needs the open data sets (SAMGEO_DATA)")


@NEEDS_DATA
def test_chips_of_banepa_are_split_by_place(packed):
    chips = list(overhead._banepa(Path(os.environ["SAMGEO_DATA"])))
    first, last = chips[: overhead.BANEPA_TRAINING_CHIPS], chips[overhead.BANEPA_TRAINING_CHIPS :]
    packed.check_apart([Source("banepa", first, 1.0, overhead.OBJECTS, (1, 1))], {"Banepa": last})
    with pytest.raises(packed.PackError, match="is a validation picture"):
        packed.check_apart([Source("banepa", chips, 1.0, overhead.OBJECTS, (1, 1))], {"Banepa": last})


@NEEDS_DATA
@pytest.mark.slow
def test_what_is_packed_of_the_open_data_sets_shows_no_validation_place(packed):
    import pack

    data = Path(os.environ["SAMGEO_DATA"])
    sources = pack.independent(overhead.sources(data, scenes=1))
    held = overhead.validation(data)
    assert sorted(held) == ["Banepa", "Dubai", "Rio"]
    packed.check_apart(sources, held)
    assert not [one.name for source in sources for one in source.pictures if one.name.startswith(pack.NOT_INDEPENDENT)]


def test_pictures_of_the_town_of_the_held_out_chips_are_left_out(packed):
    import pack

    named = [squares("nepal_banepa_0_0_0", 0), squares("philippines_1", 1)]
    assert [one.name for one in pack.independent([trained_on(*named)])[0].pictures] == ["philippines_1"]


def run_in_process(name, pack, out, monkeypatch, *more):
    """Run a part in this process, which has imported what takes so long."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    module = __import__(f"run_{name}")
    given = ["--out", str(out), "--pack", str(pack), "--ends", str(time.monotonic() + 120), "--smoke", *more]
    monkeypatch.setattr(sys, "argv", [f"run_{name}.py", *given])
    module.main()
    return json.loads((out / f"{name}.json").read_text())


def test_the_benchmarks_are_recorded_one_by_one_and_not_made_twice(packed, pack, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    first = run_in_process("bench", pack, out, monkeypatch)
    assert first["roofline"]["status"] == first["window tiny float32"]["status"] == "done"
    window = first["window vit_b bfloat16"]
    assert window["points"] == 16
    assert {"encode", "points to masks", "whole window", "after the decoder", "stages, ms", "goal met"} <= window.keys()
    assert run_in_process("bench", pack, out, monkeypatch) == first
    usable(out)


def test_training_is_judged_before_and_after_and_its_weights_load(packed, pack, tmp_path, monkeypatch):
    import run_train

    class Judged:
        """What a process beside the training would give."""

        def __init__(self):
            self.target = tmp_path / "before.json"
            run_train.judge_before(str(pack), str(self.target), smoke=True)

        def wait(self, _):
            return 0

    monkeypatch.setattr(run_train, "judging_apart", lambda _: Judged())
    out = tmp_path / "out"
    out.mkdir()
    found = run_in_process("train", pack, out, monkeypatch, "--network", "deep")
    assert found["training"]["steps"] == found["state"]["step"] == 3
    assert found["training"]["crops"] == 6
    for when in ("before", "after"):
        assert set(found[when]["scores"]) == {"Banepa, building", "crowns", "Banepa, everything"}
        assert found[when]["scores"]["Banepa, building"]["objects"] == 2
    assert isinstance(found["after"]["worse than before"], list)
    assert usable(out) == {"train.json", "log.jsonl", "weights.safetensors", "weights-now.safetensors"}
    assert load_tiny(out / "weights.safetensors", device="cpu").network.config.attend == (1, 3)


def test_what_fell_is_named(packed):
    import run_train

    before = {"scores": {"A, building": {"click": 0.5, "box": 0.7, "three_clicks": 0.6}, "B, everything": {"recall": 0.8}}}
    after = {"scores": {"A, building": {"click": 0.6, "box": 0.69, "three_clicks": 0.6}, "B, everything": {"recall": 0.7}}}
    assert run_train.worse(before, after) == ["A, building, box: 0.7 to 0.69", "B, everything, recall: 0.8 to 0.7"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--parts", "tests,lunch"], "give some of tests,bench,train"),
        (["--minutes", "0"], "give more than 0"),
        (["--pack", "nowhere.tar"], "make it with make gpu-pack"),
    ],
)
def test_wrong_arguments_are_refused_at_once(packed, pack, tmp_path, given, says):
    command = [sys.executable, str(KIT / "kit.py"), "--out", str(tmp_path / "out"), "--pack", str(pack), *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own code
    assert done.returncode == 1
    assert says in done.stderr


def kit(out, pack, *more):
    command = [sys.executable, str(KIT / "kit.py"), "--out", str(out), "--pack", str(pack), "--smoke", *more]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, env=alone)  # noqa: S603  our own code


@pytest.mark.slow
def test_the_whole_kit_runs_on_a_processor_is_killed_and_goes_on(packed, pack, tmp_path):
    out = tmp_path / "out"
    process = kit(out, pack, "--minutes", "6", "--parts", "train,bench,tests")
    until = time.monotonic() + 120
    while not (out / "weights.safetensors").exists() or "state" not in json.loads((out / "train.json").read_text()):
        assert time.monotonic() < until
        time.sleep(0.05)
    process.kill()
    process.wait()
    # Its part ends itself when it sees that the kit is gone, and lets go of the log.
    time.sleep(3)
    assert {"kit.json", "kit.log", "train.json", "log.jsonl", "weights.safetensors"} <= {file.name for file in out.iterdir()}
    for file in out.glob("*.json"):
        json.loads(file.read_text())
    load_tiny(out / "weights.safetensors", device="cpu")
    assert kit(out, pack, "--minutes", "6", "--parts", "train,bench,tests").wait() == 0
    names = usable(out)
    assert names == {
        "kit.json", "kit.log", "tests.json", "bench.json", "train.json", "log.jsonl", "weights.safetensors",
        "weights-now.safetensors",
    }  # fmt: skip
    state = json.loads((out / "kit.json").read_text())
    assert len(state["calls"]) == 2
    assert state["calls"][0]["parts"]["train"]["status"] == "begun"
    assert {name: part["status"] for name, part in state["calls"][1]["parts"].items()} == dict.fromkeys(
        ("train", "bench", "tests"), "done"
    )
    assert "no GPU" in state["machine"]["device"]
    steps = [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3]
    tests = json.loads((out / "tests.json").read_text())
    assert sum(one["status"] == "done" for one in tests.values()) >= 7
    assert not [name for name, one in tests.items() if one["status"] == "failed"]


@pytest.mark.slow
def test_a_part_that_takes_too_long_is_ended_by_the_clock(packed, pack, tmp_path):
    out = tmp_path / "out"
    begun = time.monotonic()
    assert kit(out, pack, "--minutes", "0.3", "--parts", "bench").wait() == 0
    assert time.monotonic() - begun < 40
    state = json.loads((out / "kit.json").read_text())
    assert state["calls"][0]["parts"]["bench"]["status"] in {"done", "ended by the clock"}
    usable(out)


def test_training_and_the_models_benchmarks_import_nothing_of_geography():
    """Of what samgeo needs, a machine with a GPU has torch, numpy, scipy, safetensors and Pillow."""
    code = """
import importlib.abc, sys
ABSENT = {"rasterio", "geopandas", "pyogrio", "pyproj", "shapely", "odc", "xarray", "zarr", "dask", "distributed", "pyarrow",
          "pandas", "fsspec", "huggingface_hub", "matplotlib", "skimage", "sklearn", "tqdm", "click", "yaml", "affine"}
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
sys.path[:0] = sys.argv[1:]
import run_bench, run_train, packed
from samgeo.models.tiny import load_tiny
load_tiny(device="cpu")
"""
    command = [sys.executable, "-c", code, str(ROOT), str(KIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own code
    assert done.returncode == 0, done.stderr
