"""Errors of the file system are reported, and files that are damaged later are made again."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
from samrs_scenes import save, scene, table_of, turned

from samgeo.annotations import write_annotations
from samgeo.errors import AnnotationError, OptionError, SamgeoWarning
from samgeo.samrs import exporting, make_samrs
from samgeo.samrs import work as work_module
from samgeo.storage import integrity
from samgeo.testing import Oracle

SHAPE = (128, 192)
PLACE = {"crs": "EPSG:32633", "transform": (0.5, 0, 500_000, 0, -0.5, 5_400_000)}
OPTIONS = {"chip": 96, "polygons": True, "exports": ["torchgeo"], "min_visible": 0.3}
KINDS = ("gray", "color", "images", "masks", ".samgeo/parts")


def make(folder, model=None, out="out", **options):
    return make_samrs(
        folder / "images",
        folder / "boxes.json",
        folder / out,
        model=model or Oracle(128),
        progress=False,
        scheduler="synchronous",
        **OPTIONS,
        **options,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Make a data set of two images; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("finished")
    boxes = [turned(40, 40, 50, 20, 0), turned(130, 80, 60, 20, 30)]
    labels, _ = scene(boxes, SHAPE)
    for name in "ab":
        save(folder / "images" / f"{name}.tif", labels, **PLACE)
    names = [(f"{name}.tif", SHAPE) for name in "ab"]
    rows = [(image, number, box) for image in (0, 1) for number, box in enumerate(boxes)]
    write_annotations(table_of(names, rows), folder / "boxes.json", format="coco")
    make(folder)
    return folder


@pytest.fixture
def made(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "set")
    return tmp_path / "set"


def contents(folder):
    """Return the content of the visible files of a data set, and of the polygons of its images, by name."""
    paths = [path for path in (folder / "out").rglob("*") if path.is_file()]
    names = {path.relative_to(folder / "out").as_posix(): path for path in paths}
    return {name: path.read_bytes() for name, path in names.items() if not name.startswith(".samgeo") or ".parquet" in name}


def damaged(path, how):
    content = path.read_bytes()
    if how == "deleted":
        path.unlink()
    elif how == "flipped":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :])
    else:
        path.write_bytes({"emptied": b"", "halved": content[: len(content) // 2], "longer": content + b"\0"}[how])


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        *((kind, "flipped") for kind in KINDS),
        ("gray", "deleted"),
        ("images", "emptied"),
        ("color", "halved"),
        ("masks", "longer"),
        (".samgeo/parts", "halved"),
    ],
)
def test_a_damaged_file_of_a_finished_image_is_made_again(made, finished, kind, how):
    before = contents(finished)
    path = min((made / "out" / kind).iterdir())
    damaged(path, how)
    model = Oracle(128)
    told = make(made, model)
    whole = {name: content for name, content in contents(made).items() if "/replaced/" not in name}
    # Parquet files contain the time at which they were made, and are not compared.
    assert whole.keys() == before.keys()
    assert all(whole[name] == before[name] for name in before if not name.endswith(".parquet"))
    assert model.embedded > 0
    assert list(told.remade) == ["a.tif"]
    assert told.failed == {}
    assert path.name in told.remade["a.tif"]
    kept = list((made / "out" / ".samgeo" / "replaced").rglob(path.name))
    # Files that a user may have edited are kept in ``replaced``. Empty files and the JSON records of the set are not.
    assert len(kept) == (how in {"halved", "longer", "flipped"} and path.suffix != ".json")


def test_what_is_whole_is_not_made_again(made):
    model = Oracle(128)
    assert make(made, model).remade == {}
    # A copied file has another modification time, but is still complete.
    for path in (made / "out").rglob("*"):
        os.utime(path, ns=(1, 1))
    assert make(made, model, verify=True).remade == {}
    assert model.embedded == 0


def test_a_flip_that_leaves_no_trace_is_found_by_digests(made):
    path = min((made / "out" / "gray").iterdir())
    before, status = path.read_bytes(), path.stat()
    damaged(path, "flipped")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert make(made).remade == {}
    assert path.read_bytes() != before
    assert list(make(made, verify=True).remade) == ["a.tif"]
    assert path.read_bytes() == before


def test_a_flip_in_a_part_changes_no_instance(made, finished):
    part = made / "out" / ".samgeo" / "parts" / "a.json"
    digest, _, content = part.read_bytes().partition(b"\n")
    value = json.loads(content)
    value["pictures"][0]["instances"][0]["size_px"] += 1
    part.write_bytes(digest + b"\n" + json.dumps(value).encode())
    assert "does not match its digest" in make(made).remade["a.tif"]
    name = "instances/all.json"
    assert (made / "out" / name).read_bytes() == (finished / "out" / name).read_bytes()


LIMITED = """
import resource, sys
from pathlib import Path
from samgeo.samrs import exporting, make_samrs
from samgeo.errors import SamgeoError
from samgeo.testing import Oracle
folder, limit = Path(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    make_samrs(folder / "images", folder / "boxes.json", folder / "out", model=Oracle(128), min_box_iou=0, chip=128,
               progress=False, scheduler="synchronous")
except SamgeoError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="this system has no limit of file sizes")
def test_a_chip_that_the_file_system_cuts_is_never_published(tmp_path):
    from samgeo import Raster
    from samgeo.geo.grid import Rect
    from samgeo.samrs.chips import chip_bytes
    from samgeo.testing.rasters import write_raster

    (tmp_path / "images").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    path = write_raster(tmp_path / "images" / "a.tif", noise, **PLACE)
    write_annotations(table_of([("a.tif", (128, 128))], [(0, 0, (20, 30, 60, 50))]), tmp_path / "boxes.json", format="coco")
    size = len(chip_bytes(Raster.open(path), path, Rect(0, 0, 128, 128), ".tif"))
    command = [sys.executable, "-c", LIMITED, str(tmp_path), str(size - 100)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the test starts its own script
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".samgeo"]


def test_what_does_not_arrive_is_told(made, monkeypatch):
    """If a file system loses the last bytes without an error, reading the file back finds it."""
    written = integrity.write_checked

    with pytest.raises(OSError, match="did not keep"):
        written(_Lossy(made / "x.bin"), b"abc")
    monkeypatch.setattr(work_module, "write_checked", lambda path, content: written(_Lossy(path), content))
    shutil.rmtree(made / "out")
    with pytest.raises(OptionError, match="did not keep"):
        make(made)
    assert not (made / "out" / "images").exists()


class _Lossy:
    """A path whose files lose the last byte of what is written."""

    def __init__(self, path):
        self._path = path

    def __getattr__(self, name):
        return getattr(self._path, name)

    def __str__(self):
        return str(self._path)

    def open(self, mode):
        file = self._path.open(mode)
        if mode != "wb":
            return file
        return _LossyFile(file)


class _LossyFile:
    def __init__(self, file):
        self._file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, content):
        return self._file.write(content[:-1]) + 1


def test_a_full_disk_says_so(made, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    shutil.rmtree(made / "out")
    monkeypatch.setattr(work_module, "write_checked", full)
    with pytest.raises(OptionError, match=r"No space left.*free disk space"):
        make(made)


# Exports, which are replaced at every call


def content_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def exported(tmp_path):
    """A data set with an export, and the options of its call."""
    boxes = [turned(40, 40, 50, 20, 0), turned(130, 80, 60, 20, 30)]
    labels, _ = scene(boxes, SHAPE)
    save(tmp_path / "images" / "a.tif", labels, **PLACE)
    table = table_of([("a.tif", SHAPE)], [(0, number, box) for number, box in enumerate(boxes)])
    options = {"model": Oracle(128), "exports": ["yolo-segments", "voc"], "copy_images": True, "progress": False}
    make_samrs(tmp_path / "images", table, tmp_path / "out", **options)

    def again():
        return make_samrs(tmp_path / "images", table, tmp_path / "out", **options)

    return tmp_path / "out", again


def test_an_export_is_replaced_by_the_same_export(exported):
    folder, again = exported
    before = content_of(folder / "exports")
    assert {"voc/a.xml", "yolo-segments/data.yaml", "yolo-segments/images/a.tif"} <= before.keys()
    again()
    assert content_of(folder / "exports") == before
    assert not (folder / ".samgeo" / "replaced").exists()


@pytest.mark.parametrize("change", ["foreign file", "edited file", "foreign link", "link in its place", "no record"])
def test_an_export_with_files_of_others_is_moved_aside(exported, change, tmp_path):
    folder, again = exported
    export, before = folder / "exports" / "voc", content_of(folder / "exports")
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "work.txt").write_text("mine")
    if change == "foreign file":
        (export / "notes.txt").write_text("mine")
    elif change == "edited file":
        (export / "a.xml").write_text("mine")
    elif change == "foreign link":
        (export / "link").symlink_to(precious)
    elif change == "link in its place":
        shutil.rmtree(export)
        export.symlink_to(precious)
    else:
        (folder / ".samgeo" / "folders" / "exports" / "voc.json").unlink()
    wanted = content_of(export)
    with pytest.warns(SamgeoWarning, match=r"voc had files that were not written here, .*; it is now .*replaced"):
        again()
    assert content_of(folder / "exports") == before
    assert not export.is_symlink()
    kept = folder / ".samgeo" / "replaced" / "exports" / "voc"
    assert content_of(kept) == wanted
    assert (precious / "work.txt").read_text() == "mine"
    again()
    assert content_of(folder / "exports") == before


def test_an_export_that_fails_leaves_the_earlier_one(exported, monkeypatch):
    folder, again = exported
    before = content_of(folder / "exports")

    def full(*_, **__):
        raise AnnotationError("no space")

    monkeypatch.setattr(exporting, "write_annotations", full)
    with pytest.raises(AnnotationError, match="no space"):
        again()
    assert content_of(folder / "exports") == before
