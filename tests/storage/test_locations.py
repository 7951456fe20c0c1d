"""Objects in storage: what fails is named as what was tried, and by the class of errors of storage."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from samgeo.errors import StorageError
from samgeo.storage.locations import RemotePlace, as_place, fetched, is_there


@pytest.fixture
def place() -> Iterator[RemotePlace]:
    """An object in an empty storage in memory."""
    storage = MemoryFileSystem()
    storage.store.clear()
    yield RemotePlace("memory://bucket/deep/a.bin")
    storage.store.clear()


def test_an_object_is_written_looked_up_read_and_removed(place: RemotePlace, tmp_path: Path) -> None:
    assert not is_there(place)
    (tmp_path / "local").write_bytes(b"content")
    place.put(tmp_path / "local")
    assert is_there(place)
    assert place.size() == 7
    with fetched(place) as copy:
        assert copy.read_bytes() == b"content"
    assert not copy.exists()
    place.unlink()
    place.unlink()
    assert not is_there(place)


def test_a_local_file_that_cannot_be_read_is_no_failure_of_the_storage(place: RemotePlace, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        place.put(tmp_path / "missing")
    assert not is_there(place)


def test_the_message_says_what_was_tried(place: RemotePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("Access Denied")

    (tmp_path / "local").write_bytes(b"content")
    place.put(tmp_path / "local")
    for name in ("put_file", "get_file", "info", "rm_file", "pipe_file"):
        monkeypatch.setattr(MemoryFileSystem, name, refuse)
    for action, words in (
        (lambda: place.put(tmp_path / "local"), "cannot be written"),
        (lambda: fetched(place).__enter__(), "cannot be read"),
        (place.size, "cannot be looked up"),
        (place.check_writable, "cannot be written"),
    ):
        with pytest.raises(StorageError, match=rf"{place} {words} \(Access Denied\); check the address"):
            action()


def test_a_full_disk_of_this_machine_is_no_failure_of_the_storage(
    place: RemotePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "local").write_bytes(b"content")
    place.put(tmp_path / "local")
    monkeypatch.setattr(MemoryFileSystem, "get_file", full)
    with pytest.raises(OSError, match="No space left"), fetched(place):
        pytest.fail("there is no copy")


@pytest.mark.parametrize(("action", "words"), [("size", "looked up"), ("unlink", "removed"), ("check_writable", "written")])
def test_a_missing_package_is_named(action: str, words: str) -> None:
    place = as_place("oci://bucket/a.bin")
    with pytest.raises(StorageError, match=rf"cannot be {words}: that takes the package ocifs, .*pip install ocifs"):
        getattr(place, action)()


def test_an_address_that_is_no_storage_is_refused() -> None:
    with pytest.raises(StorageError, match="results go to files"):
        as_place("http://example.org/a.bin")
