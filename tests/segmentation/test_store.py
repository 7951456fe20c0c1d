"""Embeddings that last: the same masks as fresh ones, no store of anything else, whoever writes and whoever is killed."""

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

import samgeo
from samgeo.models.embedding_packing import pack, rounded
from samgeo.segmentation.windows.embedding import embed, read_window
from samgeo.segmentation.windows.store import BLOCK, EmbeddingStore, pixel_digest
from samgeo.synthetic import town
from samgeo.testing import encode_ids, scattered
from samgeo.testing.oracle import Oracle


class Oracle64(Oracle):
    """Reads a square window of 64 pixels."""

    def __init__(self) -> None:
        super().__init__(64)

    def __reduce__(self):
        return type(self), ()


LABELS = scattered(30, (260, 330), seed=2, min_size=8, max_size=14)
IMAGE = encode_ids(LABELS)


def test_cached_equals_fresh_to_the_bit_with_the_bundled_model(tmp_path: Path) -> None:
    image = town((560, 400), seed=3).image
    store = tmp_path / "town.zarr"
    points = np.random.default_rng(0).uniform(0, 400, (6, 2))
    boxes = np.concatenate([points, points + 40], axis=1)

    def answers(**options) -> list[bytes]:
        predictor = samgeo.Predictor(image, **options)
        frames = [predictor.predict(points=points), predictor.predict(boxes=boxes)]
        return [frame.to_wkb().to_csv().encode() for frame in frames]

    fresh = answers()
    assert answers(cache=store) == fresh
    assert answers(cache=store) == fresh
    everything = {"points_per_side": 4, "progress": False}
    plain = samgeo.segment(image, **everything).to_wkb().to_csv()
    store = tmp_path / "encoded.zarr"  # a run computes on one core, a predictor on as many as torch takes
    samgeo.encode(image, store, progress=False)
    assert samgeo.segment(image, cache=store, **everything).to_wkb().to_csv() == plain


def test_a_store_is_read_instead_of_encoding(tmp_path: Path) -> None:
    store = tmp_path / "ids.zarr"
    first = samgeo.encode(IMAGE, store, model=Oracle64(), progress=False)
    assert first.encoded == first.windows
    assert first.kept == first.empty == 0
    again = samgeo.encode(IMAGE, store, model=Oracle64(), progress=False)
    assert (again.encoded, again.kept) == (0, first.windows)
    model = Oracle64()
    objects = samgeo.segment(IMAGE, model=model, cache=store, progress=False)
    boxes = samgeo.Predictor(IMAGE, model=model, cache=store).predict(boxes=objects.bounds.to_numpy())
    assert sorted(boxes.area_px) == sorted(np.bincount(LABELS.ravel())[1:])
    assert model.embedded == 0


def test_it_is_a_zarr_v3_group_sharded_compressed_in_half_precision_that_says_what_it_is_of(tmp_path: Path) -> None:
    store = tmp_path / "town.zarr"
    predictor = samgeo.Predictor(town((256, 256), seed=1).image, cache=store)
    predictor.predict(points=[[100, 100]])
    group = zarr.open_group(store, mode="r")
    assert group.metadata.zarr_format == 3
    arrays = dict(group.arrays())
    digest = arrays.pop("digest")
    assert digest.shape == (1, 1, 32)
    for array in arrays.values():
        assert array.dtype == np.float16
        assert array.shards[:2] == (BLOCK, BLOCK)
        assert array.chunks[:2] == (1, 1)
        assert "zstd" in repr(array.compressors)
    said = dict(group.attrs)["samgeo"]
    assert said["grid"]["shape"] == [256, 256]
    assert said["model"] == {"name": "tiny", "digest": predictor.model.digest, "input_size": 512}
    assert said["lattice"] == {"window": 512, "overlap": 128}
    assert "stretch" in said["pixels"]


class Unlisted(zarr.storage.LocalStore):
    """A store that cannot be listed, as a web server's."""

    supports_listing = False

    def list(self):
        raise AssertionError("listed")

    def list_prefix(self, prefix):
        raise AssertionError("listed")

    def list_dir(self, prefix):
        raise AssertionError("listed")


def test_a_store_is_opened_without_listing_it(tmp_path: Path) -> None:
    path = tmp_path / "store.zarr"
    samgeo.encode(IMAGE, path, model=Oracle64(), progress=False)
    names = sorted(zarr.open_group(path, mode="r", use_consolidated=False).array_keys())
    assert len(names) >= 2
    group = zarr.open_group(Unlisted(path, read_only=True), mode="r")
    assert sorted(group.array_keys()) == names
    for name in names:
        assert np.array_equal(group[name][0, 0], zarr.open_array(path / name, mode="r")[0, 0])


def test_metadata_that_a_killed_process_left_out_of_the_group_are_made_good(tmp_path: Path) -> None:
    path = tmp_path / "store.zarr"
    samgeo.encode(IMAGE, path, model=Oracle64(), progress=False)
    whole = json.loads((path / "zarr.json").read_text())
    arrays = whole["consolidated_metadata"]["metadata"]
    left_out = whole | {"consolidated_metadata": {**whole["consolidated_metadata"], "metadata": {"digest": arrays["digest"]}}}
    for told in (left_out, {name: value for name, value in whole.items() if name != "consolidated_metadata"}):
        (path / "zarr.json").write_text(json.dumps(told))
        assert samgeo.encode(IMAGE, path, model=Oracle64(), progress=False).encoded == 0
        assert json.loads((path / "zarr.json").read_text()) == whole


def test_a_rounded_embedding_is_rounded_for_good() -> None:
    model = samgeo.load_model("tiny")
    pixels = np.random.default_rng(0).integers(0, 255, (1, 512, 512, 3), dtype=np.uint8)
    once = rounded(model, model.embed(pixels)[0])
    first, second = pack(model, once), pack(model, rounded(model, once))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert {array.dtype for array in first.values()} == {np.dtype(np.float16)}


def other_image() -> np.ndarray:
    changed = IMAGE.copy()
    changed[:40, :40] = 9
    return changed


@pytest.mark.parametrize(
    ("image", "options", "reason"),
    [
        (IMAGE[:200], {}, "its grid has shape"),
        (IMAGE, {"bands": [3, 2, 1]}, "its raster's reading has bands"),
        (IMAGE, {"stretch": (0, 100)}, "its raster's reading has stretch"),
        (IMAGE, {"nodata": 0}, "its raster's reading has nodata"),
        (IMAGE, {"model": Oracle(96)}, "its model has input_size 64, and now it is 96"),
        (IMAGE, {"overlap": 8}, "its window lattice has overlap 16, and now it is 8"),
        (other_image(), {}, "is stale: the pixels of the window at row 0, column 0 have changed"),
    ],
)
def test_a_store_of_something_else_is_refused_with_the_reason(tmp_path: Path, image, options: dict, reason: str) -> None:
    store = tmp_path / "ids.zarr"
    samgeo.encode(IMAGE, store, model=Oracle64(), progress=False)
    options = {"model": Oracle64()} | options
    for use in (
        lambda: samgeo.Predictor(image, cache=store, **options),
        lambda: samgeo.encode(image, store, progress=False, **options),
        lambda: samgeo.segment(image, cache=store, progress=False, **options),
    ):
        with pytest.raises(samgeo.SamgeoError, match=reason):
            use()
    assert options["model"].embedded == 0
    assert samgeo.encode(image, store, overwrite=True, progress=False, **options).kept == 0
    samgeo.Predictor(image, cache=store, **options)


def test_a_window_that_changed_behind_the_looks_at_opening_is_refused_when_it_is_needed(tmp_path: Path) -> None:
    store = tmp_path / "ids.zarr"
    samgeo.encode(IMAGE, store, model=Oracle64(), progress=False)
    changed = IMAGE.copy()
    changed[110, 120] = 77
    predictor = samgeo.Predictor(changed, model=Oracle64(), cache=store)
    with pytest.raises(samgeo.SamgeoError, match="is stale"):
        predictor.predict(points=[[120.5, 110.5]])


def test_a_folder_of_something_else_is_neither_used_nor_removed(tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(samgeo.SamgeoError, match="is not a store of embeddings"):
            samgeo.encode(IMAGE, folder, model=Oracle64(), overwrite=overwrite, progress=False)
    assert (folder / "chapter.txt").read_text() == "years of work"
    with pytest.raises(samgeo.SamgeoError, match="does not exist; create it first"):
        samgeo.encode(IMAGE, tmp_path / "no" / "where.zarr", model=Oracle64(), progress=False)


def test_a_store_of_a_later_format_is_refused(tmp_path: Path) -> None:
    store = tmp_path / "ids.zarr"
    samgeo.encode(IMAGE, store, model=Oracle64(), progress=False)
    text = (store / "zarr.json").read_text()
    metadata = json.loads(text)
    metadata["attributes"]["samgeo"]["format"] = 99
    (store / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(samgeo.SamgeoError, match="has format 99"):
        samgeo.Predictor(IMAGE, model=Oracle64(), cache=store)


class Unkeepable:
    """A model without pack and unpack."""

    name, digest, input_size = "plain", "0", 64

    def __init__(self) -> None:
        self._oracle = Oracle(64)

    def embed(self, images, sizes=None):
        return self._oracle.embed(images, sizes)

    def decode(self, embedding, **prompts):
        return self._oracle.decode(embedding, **prompts)


def test_a_model_without_pack_works_in_memory_and_is_refused_a_store(tmp_path: Path) -> None:
    assert samgeo.Predictor(IMAGE, model=Unkeepable()).predict(boxes=[[0, 0, 60, 60]]).reason.isna().all()
    with pytest.raises(samgeo.SamgeoError, match="has no methods pack and unpack"):
        samgeo.Predictor(IMAGE, model=Unkeepable(), cache=tmp_path / "s.zarr")
    assert list(tmp_path.iterdir()) == []


def test_windows_without_data_are_not_encoded_and_not_asked_for_again(tmp_path: Path) -> None:
    image = IMAGE.copy()
    image[:, 120:] = 255
    model = Oracle64()
    options = {"model": model, "nodata": 255, "progress": False}
    first = samgeo.encode(image, tmp_path / "s.zarr", **options)
    assert first.empty > 0
    assert model.embedded == first.encoded == first.windows - first.empty
    assert samgeo.encode(image, tmp_path / "s.zarr", **options).kept == first.windows


def test_an_open_store_travels_to_other_processes(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    options = {"model": Oracle64(), "progress": False}
    samgeo.encode(IMAGE, store, scheduler="processes", workers=2, **options)
    raster = samgeo.Raster.open(IMAGE)
    opened = EmbeddingStore.open_or_create(store, raster, options["model"])
    assert pickle.loads(pickle.dumps(opened)) == opened  # noqa: S301 - our own bytes
    assert all(not opened.missing(block) for block in opened.blocks())


def assert_whole(store: Path) -> None:
    """Every window that is there equals a fresh one."""
    raster, model = samgeo.Raster.open(IMAGE), Oracle64()
    opened = EmbeddingStore.open_or_create(store, raster, model)
    for index in opened.lattice:
        window = read_window(raster, opened.lattice, index)
        arrays = opened.read(index, pixel_digest(window.image, window.size))
        assert arrays is None or np.array_equal(arrays["ids"], embed(model, window))


def test_writers_and_readers_at_once_do_not_harm_each_other(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            predictor = samgeo.Predictor(IMAGE, model=Oracle64(), cache=store)
            points = np.random.default_rng(seed).uniform(0, 250, (40, 2))
            predictor.predict(points=points)
        except BaseException as error:  # noqa: BLE001 - told to the test below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert_whole(store)
    assert not list(tmp_path.glob(".*"))


def test_of_processes_that_make_a_store_at_once_one_is_first_and_the_others_join_it(tmp_path: Path) -> None:
    raster, model = samgeo.Raster.open(IMAGE), Oracle64()
    for turn in range(10):
        path = tmp_path / f"{turn}.zarr"
        barrier, made, failures = threading.Barrier(6), [], []

        def work(path=path, barrier=barrier, made=made, failures=failures) -> None:
            barrier.wait()
            try:
                store = EmbeddingStore.open_or_create(path, raster, model)
                made.append((path.stat().st_ino, store))
            except samgeo.SamgeoError as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert len({inode for inode, _ in made}) == 1
    assert not list(tmp_path.glob(".*"))


SLOW = textwrap.dedent(
    """
    import sys, time
    import numpy as np
    import samgeo
    from samgeo.segmentation import encoding
    from samgeo.testing.oracle import Oracle

    encoding.FLUSH_SECONDS = 0.0

    class Oracle64(Oracle):
        def __init__(self):
            super().__init__(64)

        def embed(self, images, sizes=None):
            time.sleep(0.05)
            return super().embed(images, sizes)

    samgeo.encode(np.load(sys.argv[1]), sys.argv[2], model=Oracle64(), progress=False)
    """
)


def test_a_killed_run_is_continued_and_two_runs_share_the_work(tmp_path: Path) -> None:
    picture, store = tmp_path / "ids.npy", tmp_path / "s.zarr"
    np.save(picture, IMAGE)

    def start() -> subprocess.Popen:
        command = [sys.executable, "-c", SLOW, picture, store]
        return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})  # noqa: S603 - our own interpreter

    def stored() -> int:
        if not store.exists():
            return 0
        opened = EmbeddingStore.open_or_create(store, samgeo.Raster.open(IMAGE), Oracle64())
        return sum(len(opened.present(block)) for block in opened.blocks())

    run = start()
    deadline = time.monotonic() + 120
    while stored() < 3 and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    there = stored()
    assert there >= 3
    assert_whole(store)
    other = start()
    rest = samgeo.encode(IMAGE, store, model=Oracle64(), progress=False)
    assert other.wait(timeout=120) == 0
    assert rest.kept >= there
    assert rest.encoded + rest.kept == rest.windows
    assert stored() == rest.windows
    assert_whole(store)
