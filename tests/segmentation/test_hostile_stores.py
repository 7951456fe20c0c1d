"""Damaged stores of embeddings: refused with the reason, or what is missing encoded again; never another embedding."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

import samgeo
from samgeo.errors import OptionError
from samgeo.segmentation.windows.embedding import embed, read_window
from samgeo.segmentation.windows.store import EmbeddingStore
from samgeo.testing import encode_ids, scattered
from samgeo.testing.oracle import Oracle

IMAGE = encode_ids(scattered(12, (200, 140), seed=4, min_size=8, max_size=14))
NUMBERS = [b"9", b"0", b"-1", b"99999999999", b"null", b"1e9", b'"x"', b"[]", b"true"]
SIZES = [0, 2**31 - 1, 2**63, 2**64 - 1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stores") / "whole.zarr"
    samgeo.encode(IMAGE, path, model=Oracle(64), progress=False)
    return path


def damage(store: Path, rng: np.random.Generator) -> str:
    """Damage a file of a store; return which."""
    files = sorted(path for path in store.rglob("*") if path.is_file() and path.suffix != ".lock")
    path = files[rng.integers(len(files))]
    content = bytearray(path.read_bytes())
    digits = [place for place, byte in enumerate(content) if 48 <= byte <= 57]
    choice = rng.integers(5)
    if choice == 0:
        for _ in range(int(rng.integers(1, 20))):
            content[int(rng.integers(len(content)))] = int(rng.integers(256))
    elif choice == 1:
        del content[int(rng.integers(len(content))) :]
    elif choice == 2:
        place = int(rng.integers(len(content)))
        content[place : place + 8] = SIZES[rng.integers(len(SIZES))].to_bytes(8, "little")
    elif choice == 3 and path.name == "zarr.json":
        place = digits[rng.integers(len(digits))]
        content[place : place + 1] = NUMBERS[rng.integers(len(NUMBERS))]
    else:
        path.unlink()
        return path.name
    path.write_bytes(content)
    return path.name


def use(store: Path) -> tuple[int, int]:
    """Read every window; return how many were there and how many were not. None is other than it was."""
    raster, model = samgeo.Raster.open(IMAGE), Oracle(64)
    opened = EmbeddingStore.open_or_create(store, raster, model)
    there = 0
    for index in opened.lattice:
        window = read_window(raster, opened.lattice, index)
        before = model.embedded
        assert np.array_equal(embed(model, window, opened), embed(Oracle(64), window))
        there += model.embedded == before
    return there, len(opened.lattice) - there


@pytest.mark.parametrize("count", [40, pytest.param(400, marks=pytest.mark.slow)])
def test_damaged_stores_are_refused_or_filled_again(whole: Path, tmp_path: Path, count: int) -> None:
    assert use(whole) == (len(EmbeddingStore.open_or_create(whole, samgeo.Raster.open(IMAGE), Oracle(64)).lattice), 0)
    filled = 0
    errors: list[str] = []
    for seed in range(count):
        store = tmp_path / f"{seed}.zarr"
        shutil.copytree(whole, store)
        damage(store, np.random.default_rng(seed))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                missing = use(store)[1]
        except OptionError as error:
            errors.append(str(error))
        else:
            filled += missing > 0
        shutil.rmtree(store)
    assert len(errors) > 0.35 * count
    assert all(".zarr" in error for error in errors)
    assert filled > 0.02 * count


def test_a_value_that_changed_in_an_uncompressed_way_is_seen(whole: Path, tmp_path: Path) -> None:
    """Zarr itself reads another embedding without a word."""
    import zarr

    store = tmp_path / "a.zarr"
    shutil.copytree(whole, store)
    ids = zarr.open_group(store, mode="r+")["ids"]
    ids[0, 0] = np.asarray(ids[0, 0]) + 1
    with pytest.raises(OptionError, match="damaged: the window at row 0, column 0 is not what was written"):
        use(store)
    with pytest.raises(samgeo.SamgeoError, match="is damaged"):
        samgeo.segment(IMAGE, model=Oracle(64), cache=store, progress=False)


@pytest.mark.parametrize("lattice", [{}, [], {"window": "64", "overlap": 16}, {"window": 64, "overlap": 1e99}, {"window": 64}])
def test_a_store_that_does_not_say_what_it_is_of_is_refused(whole: Path, tmp_path: Path, lattice: object) -> None:
    store = tmp_path / "a.zarr"
    shutil.copytree(whole, store)
    said = json.loads((store / "zarr.json").read_text())
    said["attributes"]["samgeo"]["lattice"] = lattice
    (store / "zarr.json").write_text(json.dumps(said))
    with pytest.raises(OptionError, match=r"a\.zarr"):
        use(store)


@pytest.mark.parametrize(("how", "verify"), [("deleted", False), ("emptied", False), ("halved", True), ("flipped", True)])
def test_encoding_again_mends_what_is_damaged_and_nothing_else(tmp_path: Path, how: str, verify: bool) -> None:
    store, image = tmp_path / "store.zarr", encode_ids(scattered(12, (100, 300), seed=4, min_size=8, max_size=14))
    samgeo.encode(image, store, model=Oracle(64), progress=False)
    shards = sorted(path for path in (store / "ids" / "c").rglob("*") if path.is_file())
    content = shards[0].read_bytes()
    middle = len(content) // 2
    if how == "deleted":
        shards[0].unlink()
    else:
        flipped = content[:middle] + bytes([content[middle] ^ 8]) + content[middle + 1 :]
        shards[0].write_bytes({"emptied": b"", "halved": content[:middle], "flipped": flipped}[how])
    others = {path: path.read_bytes() for path in shards[1:]}
    done = samgeo.encode(image, store, model=Oracle(64), progress=False, verify=verify)
    assert 0 < done.mended == done.encoded < done.windows
    assert shards[0].read_bytes() == content
    assert {path: path.read_bytes() for path in others} == others
    again = samgeo.encode(image, store, model=Oracle(64), progress=False, verify=True)
    assert (again.mended, again.encoded, again.kept) == (0, 0, done.windows)
