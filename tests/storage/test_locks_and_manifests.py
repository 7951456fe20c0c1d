"""What run folders share: a lock for one process, and manifests that are compared."""

import subprocess
import sys
from pathlib import Path

import pytest

from samgeo.errors import OptionError, RunError
from samgeo.storage.run_folder import (
    MOST_SHOWN,
    differences,
    is_locked,
    listed,
    locked,
    plain_json,
    read_json,
    write_json,
)

HOLDER = """
import sys, time
from pathlib import Path
from samgeo.errors import RunError
from samgeo.storage.run_folder import locked

with locked(Path(sys.argv[1]), busy=lambda: RunError("busy"), failed=lambda error: RunError(str(error))):
    print("held", flush=True)
    time.sleep(600)
"""


def hold(path: Path):
    return locked(path, busy=lambda: RunError("another process"), failed=lambda error: OptionError(f"not made ({error})"))


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lock"
    with hold(path):
        assert is_locked(path)
        with pytest.raises(RunError, match="another process"), hold(path):
            pytest.fail("the lock was taken twice")
        assert is_locked(path)
    assert not is_locked(path)
    with hold(path):
        assert is_locked(path)


def test_an_error_in_the_block_passes_unchanged_and_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="of the block"), hold(tmp_path / "lock"):
        raise PermissionError("of the block")
    assert not is_locked(tmp_path / "lock")


def test_a_lock_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="not made"), hold(tmp_path / "file" / "lock"):
        pytest.fail("there is no such lock")


def test_a_killed_process_releases_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert is_locked(path)
        process.kill()
        process.wait()
    assert not is_locked(path)


def test_a_manifest_equals_what_is_read_back(tmp_path: Path) -> None:
    manifest = plain_json({"shape": (2, 3), "nodata": float("nan"), "names": {"a": None, "b": "é"}})
    write_json(tmp_path / "manifest.json", manifest)
    assert manifest["shape"] == [2, 3]
    assert differences(read_json(tmp_path / "manifest.json"), manifest) == []


def test_a_manifest_replaces_a_link_and_not_the_file_behind_it(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "manifest.json").symlink_to(tmp_path / "precious")
    write_json(tmp_path / "manifest.json", {"a": 1})
    assert read_json(tmp_path / "manifest.json") == {"a": 1}
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000], ids=["empty", "cut", "list", "bytes", "deep"]
)
def test_what_is_no_manifest_is_a_value_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(ValueError, match=r".+"):
        read_json(tmp_path / "manifest.json")
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "missing.json")


def test_each_difference_is_named() -> None:
    before = {"seed": 1, "model": {"name": "a", "digest": "x" * 100}, "gone": [1], "images": {"i.v2.tif": "1", "j.tif": "1"}}
    now = {"seed": 1.0, "model": {"name": "b", "digest": "y"}, "new": True, "images": {"i.v2.tif": "2", "j.tif": "2"}}
    assert differences(before, now, may_differ=lambda keys: keys == ("images", "j.tif")) == [
        "gone was [1] and is now null",
        'images.i.v2.tif was "1" and is now "2"',
        f'model.digest was "{"x" * 59}... (102 characters) and is now "y"',
        'model.name was "a" and is now "b"',
        "new was null and is now true",
    ]


def test_a_group_in_the_place_of_a_value_is_a_difference() -> None:
    assert differences({"a": {"b": 1}}, {"a": 1}) == ["a was null and is now 1", "a.b was 1 and is now null"]


def test_many_differences_are_counted() -> None:
    lines = differences({str(number): 0 for number in range(20)}, {str(number): 1 for number in range(20)})
    assert len(lines) == 20
    assert listed(lines).count("was 0 and is now 1") == MOST_SHOWN
    assert listed(lines).endswith("; and 12 more")
    assert listed(lines[:2]) == "; ".join(lines[:2])
