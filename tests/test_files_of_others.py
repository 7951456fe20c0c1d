"""What a user has put into a folder that samgeo writes to is there afterwards: nothing is removed that samgeo did not make."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import samgeo
from samgeo.errors import OptionError, SamgeoError
from samgeo.samrs.folder import Folder
from samgeo.segmentation.run.folder import RunFolder
from samgeo.segmentation.run.folder_layout import MERGED, PARTS, ROWS, prepare
from samgeo.storage.staging import STAGING_PREFIX
from samgeo.testing import encode_ids, scattered
from samgeo.testing.oracle import Oracle

LABELS = scattered(5, (150, 190), seed=5, min_size=14, max_size=28)

# What may lie anywhere, by name: the text of a file, or the place that a link points to.
FOREIGN = {
    ".venv-3.12/precious.txt": "x",
    ".cache-abcdefgh/precious.txt": "x",
    ".git/HEAD": "ref",
    ".samgeo-notes/precious.txt": "x",
    ".samgeo-abcdefgh/inner/precious.txt": "x",
    ".manifest-old/manifest.json": "{}",
    ".hidden": "x",
    "parts/.mine-12345678/000000-000000-000001.npz": "x",
    "rows/.mine/000000.parquet": "x",
}
IN_BEGUN = {
    "parts/notes.txt": "x",
    "parts/old/000000-000000-000001.npz": "x",
    "rows/by hand.parquet": "x",
    "rows/000000.parquet.bak": "x",
}


def put(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder.parent / "elsewhere").mkdir(exist_ok=True)
    (folder.parent / "elsewhere" / "precious.txt").write_text("x")
    for name in (".link", f"{STAGING_PREFIX}1234abcd"):
        (folder / name).symlink_to(folder.parent / "elsewhere")


def check_there(folder: Path, files: dict[str, str]) -> None:
    assert {name: (folder / name).read_text() for name in files if (folder / name).is_file()} == files
    assert (folder / ".link").is_symlink()
    assert (folder.parent / "elsewhere" / "precious.txt").read_text() == "x"


def segment(output: Path, **options) -> None:
    samgeo.segment(encode_ids(LABELS), output, model=Oracle(128), progress=False, workers=1, **options)


def test_a_run_keeps_what_is_not_its_own_at_every_call(tmp_path: Path) -> None:
    run, output = tmp_path / "project", tmp_path / "objects.gpkg"
    run.mkdir()
    put(run, FOREIGN)
    segment(output, run_dir=run)
    check_there(run, FOREIGN)
    for name, text in IN_BEGUN.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(text)
    for _ in range(2):
        segment(output, run_dir=run)
        check_there(run, FOREIGN | IN_BEGUN)


def test_the_folder_of_a_run_that_is_done_is_removed_without_what_is_not_its_own(tmp_path: Path) -> None:
    output = tmp_path / "objects.gpkg"
    segment(output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["objects.gpkg"]
    run = tmp_path / "project"
    segment(tmp_path / "other.gpkg", run_dir=run)
    put(run, FOREIGN | IN_BEGUN)
    RunFolder(run).remove()
    check_there(run, FOREIGN | IN_BEGUN)
    assert not (run / "manifest.json").exists()
    assert not list((run / "parts").glob("*.npz"))
    shutil.rmtree(run)
    segment(tmp_path / "third.gpkg", run_dir=run)
    RunFolder(run).remove()
    assert not run.exists()


def test_what_a_killed_process_left_of_a_file_in_writing_is_removed(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / PARTS, tmp_path / ROWS):
        left = folder / f"{STAGING_PREFIX}x1_y2z3w"
        left.mkdir(parents=True)
        (left / "000000-000000-000001.npz").write_text("half")
    put(tmp_path / "own", FOREIGN)
    prepare(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", MERGED, "own", PARTS, ROWS]
    assert not [*(tmp_path / PARTS).iterdir(), *(tmp_path / ROWS).iterdir()]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("manifest.json", json.dumps({"name": "my web page"})),
        ("manifest.json", json.dumps({"kind": "another program", "format": 1})),
        ("session.json", json.dumps({"mine": 1})),
        ("output.json", "x"),
        ("merged/1.csv", "x"),
        ("lock", "a poem"),
        ("parts/list.csv", "bolt,nut"),
        ("rows/1.csv", "a,b"),
        ("notes.txt", "x"),
    ],
)
def test_a_folder_with_files_that_only_are_named_as_those_of_a_run_is_refused_as_it_is(
    tmp_path: Path, name: str, text: str
) -> None:
    run = tmp_path / "project"
    put(run, {name: text})
    before = sorted(path.relative_to(run) for path in run.rglob("*"))
    with pytest.raises(OptionError, match="is not the folder of a run"):
        segment(tmp_path / "objects.gpkg", run_dir=run)
    assert sorted(path.relative_to(run) for path in run.rglob("*")) == before
    check_there(run, {name: text})
    assert not (tmp_path / "objects.gpkg").exists()


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "digest/notes.txt", "digest/c/0/0/notes.txt", "mine/notes.txt"])
def test_a_store_with_files_of_others_is_not_replaced(tmp_path: Path, name: str) -> None:
    store = tmp_path / "city.zarr"
    options = {"model": Oracle(128), "progress": False}
    samgeo.encode(encode_ids(LABELS), store, **options)
    samgeo.encode(encode_ids(LABELS), store, overwrite=True, **options)
    (store / name).parent.mkdir(parents=True, exist_ok=True)
    (store / name).write_text("x")
    with pytest.raises(OptionError, match="not a file of a store"):
        samgeo.encode(encode_ids(LABELS), store, overwrite=True, **options)
    assert (store / name).read_text() == "x"
    samgeo.encode(encode_ids(LABELS), store, **options)  # which adds to it
    assert [path.name for path in tmp_path.iterdir()] == ["city.zarr"]


def test_a_store_with_a_link_is_not_replaced(tmp_path: Path) -> None:
    store = tmp_path / "city.zarr"
    samgeo.encode(encode_ids(LABELS), store, model=Oracle(128), progress=False)
    (tmp_path / "precious").mkdir()
    (store / "link").symlink_to(tmp_path / "precious")
    with pytest.raises(OptionError, match="not a file of a store"):
        samgeo.encode(encode_ids(LABELS), store, model=Oracle(128), progress=False, overwrite=True)
    assert (tmp_path / "precious").is_dir()


def test_a_data_set_is_not_begun_in_a_folder_of_something_else(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(encode_ids(LABELS).astype(np.uint8)).save(images / "a.png")
    target = tmp_path / "set"
    for files in (
        {"notes.txt": "x"},
        {".samgeo/temporary/precious.txt": "x", ".samgeo/other.txt": "x"},
        {".samgeo/parts/a.json": "{}"},
    ):
        shutil.rmtree(target, ignore_errors=True)
        put(target, files)
        with pytest.raises(SamgeoError, match="is not a data set that samgeo made"):
            Folder(target).check(images)
        check_there(target, files)
