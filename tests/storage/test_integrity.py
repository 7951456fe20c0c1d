"""Copies that are compared with their source, and files that are compared with what was recorded of them."""

import os
from pathlib import Path

import pytest

from samgeo.storage.integrity import (
    SourceError,
    copy_checked,
    damage,
    digest_of_content,
    digest_of_file,
    record_file,
    stamps_in,
)


def test_a_copy_has_the_content_of_its_source(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "source").write_bytes(content)
    copy_checked(tmp_path / "source", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert digest_of_file(tmp_path / "copy") == digest_of_content(content)


def test_a_source_that_cannot_be_read_is_told_apart_from_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"content")
    with pytest.raises(SourceError, match="missing cannot be read"):
        copy_checked(tmp_path / "missing", tmp_path / "copy")
    with pytest.raises(SourceError, match="cannot be read"):
        copy_checked(tmp_path, tmp_path / "copy")
    with pytest.raises(FileNotFoundError) as caught:
        copy_checked(tmp_path / "source", tmp_path / "no folder" / "copy")
    assert not isinstance(caught.value, SourceError)


def test_a_disk_that_is_full_is_no_failure_of_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "source").write_bytes(b"content")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        copy_checked(tmp_path / "source", tmp_path / "copy")
    assert not isinstance(caught.value, SourceError)


def test_a_record_tells_what_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    record = record_file(path, "file")
    assert damage(path, record) == ""
    os.utime(path, ns=(0, record.modified_ns + 1))
    assert damage(path, record) == ""
    path.write_bytes(b"CONTENT")
    assert damage(path, record, verify=True) == "has another content"
    path.write_bytes(b"more content")
    assert damage(path, record) == "has 12 of 7 bytes"
    path.unlink()
    assert damage(path, record) == "is missing"


def test_stamps_have_every_file_and_say_what_is_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep" / "empty").mkdir(parents=True)
    (folder / "deep" / "file").write_bytes(b"four")
    (folder / "link").symlink_to(tmp_path)
    assert stamps_in(folder) == {"deep/file": [4, (folder / "deep" / "file").stat().st_mtime_ns], "link": []}
    (tmp_path / "other").symlink_to(folder)
    assert stamps_in(tmp_path / "other") == {".": []}
    assert stamps_in(tmp_path / "missing") == {".": []}
