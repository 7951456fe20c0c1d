"""Stores with the embeddings of several scales: whoever reads them encodes nothing that they have, to the same bytes."""

import json
import os
import shutil
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
from click.testing import CliRunner
from scaled import Sharp, Shortsighted, paint

import samgeo
from samgeo.cli import main
from samgeo.errors import OptionError
from samgeo.map.session import Session
from samgeo.segmentation import predict, store_status
from samgeo.segmentation.windows.embedding import EmbeddingCache, EncodedWindows, NotEncodedError, only_encoded
from samgeo.segmentation.windows.store import EmbeddingStore
from samgeo.synthetic import town
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import write_raster

SCALES = (1, 2, 4)
LAKE = (40.5, 100.5)


def scene() -> np.ndarray:
    """A lake that is larger than a window of scale 2, with an island, and houses."""
    labels = np.zeros((280, 200), dtype=np.int32)
    labels[20:260, 14:150] = 1
    labels[90:104, 80:94] = 2
    labels[10:24, 165:180] = 3
    labels[160:180, 165:185] = 4
    return labels


IMAGE = paint(scene())
OPTIONS = {"overlap": 16, "progress": False}


def encode(store: Path, scales=SCALES, model: Oracle | None = None, **options):
    return samgeo.encode(IMAGE, store, model=model or Sharp(64), scales=scales, **OPTIONS | options)


def everything(model: Oracle | None = None, scales=SCALES, **options) -> str:
    options = {"points_per_side": 8, "model": model or Sharp(64)} | OPTIONS | options
    return samgeo.segment(IMAGE, scales=scales, **options).to_wkb().to_csv()


def clicked(model: Oracle | None = None, **options) -> str:
    predictor = samgeo.Predictor(IMAGE, model=model or Shortsighted(64), overlap=16, **options)
    return predictor.predict(points=[LAKE, (170.5, 16.5)]).to_wkb().to_csv()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stores") / "whole.zarr"
    done = encode(path, "auto")
    assert (done.scales, done.encoded) == ((1, 2, 4, 8), done.windows)
    return path


@pytest.fixture(scope="module")
def fresh() -> str:
    """Everything, without a store."""
    return everything()


@pytest.fixture(scope="module")
def fresh_clicked() -> str:
    return clicked()


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "store.zarr"))


def stored(path: Path) -> dict[int, int]:
    return {one.scale: one.stored for one in store_status(path).scales}


def test_who_has_a_store_of_all_scales_encodes_nothing_and_answers_the_same_bytes(
    store: Path, fresh: str, fresh_clicked: str
) -> None:
    model = Sharp(64)
    assert everything(model, cache=store) == fresh
    assert model.embedded == 0
    shown = store.with_name("shown.zarr")
    encode(shown, "auto", model=Shortsighted(64))
    seeing, other = Shortsighted(64), Shortsighted(64)
    assert clicked(seeing, cache=shown) == fresh_clicked
    prompt = {"boxes": [[14, 20, 150, 260]], "overlap": 16}
    found = predict(IMAGE, model=seeing, cache=shown, **prompt)
    assert found.to_wkb().to_csv() == predict(IMAGE, model=other, **prompt).to_wkb().to_csv()
    assert found.attrs["samgeo"]["scales"] != {"1": 1}
    session = Session(samgeo.Predictor(IMAGE, model=seeing, overlap=16, cache=shown))
    session.add_point(*LAKE)
    assert seeing.embedded == 0


def test_the_bundled_model_answers_the_same_bytes_from_the_store(tmp_path: Path) -> None:
    image = town((120, 200), seed=3).image
    options = {"window": 128, "scales": (1, 2), "points_per_side": 2, "progress": False}
    samgeo.encode(image, tmp_path / "town.zarr", window=128, scales=(1, 2), progress=False)
    before = stored(tmp_path / "town.zarr")
    from_store = samgeo.segment(image, cache=tmp_path / "town.zarr", **options)
    assert from_store.to_wkb().to_csv() == samgeo.segment(image, **options).to_wkb().to_csv()
    assert stored(tmp_path / "town.zarr") == before == {1: 2, 2: 1}


def test_scales_that_a_store_lacks_are_encoded_once_and_added(tmp_path: Path, fresh: str, fresh_clicked: str) -> None:
    path = tmp_path / "store.zarr"
    encode(path, (1,))
    assert list(stored(path)) == [1]
    model = Sharp(64)
    assert everything(model, cache=path) == fresh
    there = stored(path)
    assert model.embedded == there[2] + there[4] > 0
    assert everything(model, cache=path) == fresh
    assert model.embedded == there[2] + there[4]
    assert encode(path).encoded == 0
    # A predictor adds the coarse windows that a prompt needs, and no others.
    path = tmp_path / "prompted.zarr"
    encode(path, (1,), model=Shortsighted(64))
    assert clicked(cache=path) == fresh_clicked
    assert 1 < len(stored(path)) < 5
    seeing = Shortsighted(64)
    assert clicked(seeing, cache=path) == fresh_clicked
    assert seeing.embedded == 0


def test_a_store_that_cannot_be_written_to_is_read_and_not_extended(
    tmp_path: Path, fresh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.zarr"
    encode(path, (1, 2))
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    access = os.access
    monkeypatch.setattr(os, "access", lambda place, mode: mode != os.W_OK and access(place, mode))
    model = Sharp(64)
    assert everything(model, cache=path) == fresh
    assert model.embedded == 2  # of scale 4
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_a_store_tells_its_scales_and_so_does_the_command(store: Path) -> None:
    said = store_status(store)
    assert [(one.scale, one.window, one.overlap) for one in said.scales] == [
        (1, 64, 16),
        (2, 128, 32),
        (4, 256, 64),
        (8, 512, 128),
    ]
    assert all(one.stored == one.windows for one in said.scales)
    shown = CliRunner().invoke(main, ["status", str(store)])
    assert shown.exit_code == 0
    assert "scale 4  2 of 2 windows of 256 pixels" in shown.output
    told = json.loads(CliRunner().invoke(main, ["status", str(store), "--json"]).output)
    assert [one["scale"] for one in told["scales"]] == [1, 2, 4, 8]
    with pytest.raises(OptionError, match="is not a store of embeddings"):
        store_status(store.parent)


def test_the_command_encodes_scales(tmp_path: Path) -> None:
    image = write_raster(tmp_path / "image.tif", np.zeros((90, 90, 3), dtype=np.uint8))
    small = [str(image), str(tmp_path / "store.zarr"), "--window", "64", "--overlap", "16"]
    done = CliRunner().invoke(main, ["encode", *small, "--scales", "1,2"])
    assert done.exit_code == 0, done.output
    assert "5 windows of 5 at scales 1, 2 encoded into" in done.stderr
    again = CliRunner().invoke(main, ["encode", *small, "--scales", "auto"])
    assert "0 windows of 5 at scales 1, 2 encoded into" in again.stderr
    for text, code, message in (("some", 2, "whole numbers; give them as in 1,2,4"), ("2", 1, "add scale 1")):
        other = [str(image), str(tmp_path / "no.zarr"), "--window", "64", "--scales", text]
        refused = CliRunner().invoke(main, ["encode", *other])
        assert (refused.exit_code, message in refused.stderr) == (code, True), refused.output
    assert not (tmp_path / "no.zarr").exists()


@pytest.mark.parametrize("scales", [(), (2, 4), (1, 65), (1, 1.5), "every"])
def test_scales_that_cannot_work_are_refused_before_a_store_is_made_or_replaced(tmp_path: Path, store: Path, scales) -> None:
    for path in (tmp_path / "new.zarr", store):
        with pytest.raises(OptionError, match="scales are"):
            encode(path, scales, overwrite=True)
    assert not (tmp_path / "new.zarr").exists()
    assert list(stored(store)) == [1, 2, 4, 8]


def test_a_store_of_scales_is_a_zarr_group_of_groups_that_is_opened_without_listing_it(store: Path) -> None:
    class Unlisted(zarr.storage.LocalStore):
        """A store that cannot be listed, as a web server's."""

        supports_listing = False

        def list_dir(self, prefix):
            raise AssertionError("listed")

    group = zarr.open_group(Unlisted(store, read_only=True), mode="r")
    assert sorted(group.array_keys()) == ["digest", "ids"]
    assert sorted(group.group_keys()) == ["scale-2", "scale-4", "scale-8"]
    part = zarr.open_group(store / "scale-4", mode="r")
    assert np.array_equal(group["scale-4"]["ids"][1, 0], part["ids"][1, 0])
    assert dict(part.attrs)["samgeo"]["lattice"] == {"window": 256, "overlap": 64, "scale": 4}
    # What a killed process left out of the metadata of the group is added.
    before = (store / "zarr.json").read_text()
    text = json.loads(before)
    del text["consolidated_metadata"]["metadata"]["scale-4/ids"]
    (store / "zarr.json").write_text(json.dumps(text))
    encode(store)
    assert json.loads((store / "zarr.json").read_text()) == json.loads(before)


def test_one_scale_of_a_store_is_no_store(store: Path) -> None:
    for use in (encode, lambda path: everything(cache=path), store_status):
        with pytest.raises(OptionError, match="has the windows of scale 4 of a store; give the store"):
            use(store / "scale-4")


@pytest.mark.parametrize("change", [{"scale": 8}, {"overlap": 32}])
def test_a_scale_with_another_description_is_refused(store: Path, change: dict) -> None:
    file = store / "scale-4" / "zarr.json"
    said = json.loads(file.read_text())
    said["attributes"]["samgeo"]["lattice"] |= change
    file.write_text(json.dumps(said))
    model = Sharp(64)
    with pytest.raises(OptionError, match="is damaged at scale 4: its window lattice has"):
        everything(model, cache=store)
    file.unlink()
    with pytest.raises(OptionError, match=r"scale-4 is not a store"):
        everything(model, cache=store)
    assert model.embedded == 0


def test_windows_whose_overviews_have_changed_are_refused_before_work(tmp_path: Path) -> None:
    """Coarse pixels that are read from overviews may differ from those without by rounding."""
    slope = 60 + np.add.outer(np.arange(256), np.arange(256)) // 4
    image = (slope[..., None] + np.random.default_rng(0).integers(0, 60, (256, 256, 3))).astype(np.uint8)
    options = {"model": Oracle(32), "scales": (1, 2), "progress": False}
    plain = write_raster(tmp_path / "image.tif", image)
    samgeo.encode(plain, tmp_path / "store.zarr", **options)
    write_raster(plain, image, overviews=(2,), overview_method="bilinear")
    assert samgeo.encode(plain, tmp_path / "store.zarr", **options | {"scales": (1,)}).encoded == 0
    with pytest.raises(OptionError, match="stale: the pixels, or the overviews from which they are read,"):
        samgeo.encode(plain, tmp_path / "store.zarr", **options)


def test_overwrite_replaces_all_scales_and_no_file_of_others(store: Path) -> None:
    (store / "scale-2" / "thesis.txt").write_text("years of work")
    with pytest.raises(OptionError, match=r"scale-2.thesis\.txt in it is not a file of a store"):
        encode(store, (1,), overwrite=True)
    (store / "scale-2" / "thesis.txt").unlink()
    assert encode(store, (1,), overwrite=True).kept == 0
    assert list(stored(store)) == [1]


@pytest.mark.parametrize("how", ["deleted", "flipped"])
def test_encoding_again_mends_a_damaged_scale(store: Path, how: str) -> None:
    shard = next(path for path in sorted((store / "scale-2" / "ids" / "c").rglob("*")) if path.is_file())
    content = shard.read_bytes()
    if how == "deleted":
        shard.unlink()
    else:
        shard.write_bytes(bytes([*content[:40], content[40] ^ 8, *content[41:]]))
    done = encode(store, verify=how == "flipped")
    assert 0 < done.mended == done.encoded < done.windows
    assert shard.read_bytes() == content
    assert encode(store, verify=True).mended == 0


def test_a_coarse_window_that_is_not_encoded_is_not_read_where_none_may_be_encoded(store: Path) -> None:
    """As for the preview under the mouse, which must not wait."""
    raster, model = samgeo.Raster.open(IMAGE), Sharp(64)
    part = EmbeddingStore.open(store).at_scale(4)
    windows = EncodedWindows(raster, model, part.lattice, EmbeddingCache(), part, scale=4)
    with only_encoded():
        assert windows.get((0, 0)).scale == 4
    gone = EncodedWindows(raster, model, part.lattice, EmbeddingCache(), EmbeddingStore.open(store).at_scale(3), scale=3)
    with only_encoded(), pytest.raises(NotEncodedError):
        gone.get((0, 0))
    assert model.embedded == 0


class Misnamed(Sharp):
    """A model whose arrays have names of the store."""

    def __init__(self, side: int, name: str) -> None:
        super().__init__(side)
        self.array = name

    def __reduce__(self):
        return type(self), (self.input_size, self.array)

    def pack(self, embedding):
        return {self.array: super().pack(embedding)["ids"]}


@pytest.mark.parametrize("name", ["digest", "scale-2"])
def test_arrays_with_names_of_the_store_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match=f"returned an array '{name}', which is a name of the store itself"):
        encode(tmp_path / "store.zarr", model=Misnamed(64, name))


@pytest.mark.slow
def test_of_threads_that_begin_a_scale_at_once_one_is_first_and_the_others_join_it(tmp_path: Path, fresh: str) -> None:
    path = tmp_path / "store.zarr"
    encode(path, (1,))
    barrier, failures = threading.Barrier(2), []

    def work() -> None:
        barrier.wait()
        try:
            everything(cache=path, workers=1)
        except samgeo.SamgeoError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    model = Sharp(64)
    assert everything(model, cache=path) == fresh
    assert model.embedded == 0
    assert not list(tmp_path.glob(".*"))


SLOW = textwrap.dedent(
    """
    import sys, time
    import numpy as np
    import samgeo
    from samgeo.segmentation import encoding
    from scaled import Sharp

    encoding.FLUSH_SECONDS = 0.0

    class Slow(Sharp):
        def embed(self, images, sizes=None):
            time.sleep(0.3)
            return super().embed(images, sizes)

    options = {"overlap": 16, "progress": False, "scales": (1, 2, 4), "workers": 1}
    samgeo.encode(np.load(sys.argv[1]), sys.argv[2], model=Slow(64), **options)
    """
)


def test_encoding_that_is_killed_at_a_coarse_scale_goes_on(tmp_path: Path, whole: Path) -> None:
    picture, path = tmp_path / "image.npy", tmp_path / "store.zarr"
    np.save(picture, IMAGE)
    encode(path, (1,))
    search = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", SLOW, picture, path]
    run = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": search})  # noqa: S603
    deadline = time.monotonic() + 120
    while stored(path).get(2, 0) < 2 and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    there = stored(path)
    assert 2 <= there[2] < stored(whole)[2]
    done = encode(path)
    assert done.kept == sum(there.values()) < done.windows
    assert done.encoded == done.windows - done.kept
    for scale in SCALES:
        one, other = (EmbeddingStore.open(place).at_scale(scale).path / "ids" for place in (path, whole))
        assert np.array_equal(zarr.open_array(one, mode="r")[:], zarr.open_array(other, mode="r")[:])
