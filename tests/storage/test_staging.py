"""Files and folders that appear under their names only when they are complete."""

import os
from pathlib import Path

import pytest
import torch

from samgeo.errors import OptionError
from samgeo.models.sam1.checkpoint import save_checkpoint
from samgeo.storage.atomic import write_whole
from samgeo.storage.staging import place_new, staged_file, staged_files, staged_folder


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk on which no file can be completed."""

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)


def write_half(path: Path) -> None:
    """Write some bytes, and fail."""
    path.write_bytes(b"half")
    raise ZeroDivisionError


def linked(folder: Path) -> tuple[Path, Path]:
    """Return a link, and the file behind it, which is in another folder."""
    (folder / "elsewhere").mkdir()
    link, target = folder / "link", folder / "elsewhere" / "target"
    target.write_bytes(b"precious")
    link.symlink_to(target)
    return link, target


def test_the_file_behind_a_link_is_replaced_by_default(tmp_path: Path) -> None:
    link, target = linked(tmp_path)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert [one.name for one in target.parent.iterdir()] == ["target"]


def test_a_link_is_replaced_itself_where_links_are_not_followed(tmp_path: Path) -> None:
    link, target = linked(tmp_path)
    write_whole(link, b"new", follow_links=False)
    assert not link.is_symlink()
    assert link.read_bytes() == b"new"
    assert target.read_bytes() == b"precious"
    (tmp_path / "dangling").symlink_to(tmp_path / "missing" / "file")
    write_whole(tmp_path / "dangling", b"whole", follow_links=False)
    assert not (tmp_path / "dangling").is_symlink()
    assert (tmp_path / "dangling").read_bytes() == b"whole"


@pytest.mark.parametrize("follow_links", [True, False])
def test_a_failed_write_leaves_link_and_file(tmp_path: Path, full: None, *, follow_links: bool) -> None:
    link, target = linked(tmp_path)
    with pytest.raises(OptionError, match=r"link cannot be written .*No space left"):
        write_whole(link, b"new", follow_links=follow_links)
    assert link.is_symlink()
    assert target.read_bytes() == b"precious"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["elsewhere", "link"]


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), staged_file(path) as temporary:
        write_half(temporary)
    assert path.read_bytes() == b"old"
    with staged_file(path) as temporary:
        temporary.write_bytes(b"whole")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("has_links", [True, False])
def test_a_new_file_never_replaces_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_links: bool) -> None:
    if not has_links:

        def refuse(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    first, second, path = tmp_path / "first", tmp_path / "second", tmp_path / "path"
    first.write_bytes(b"first")
    second.write_bytes(b"second")
    place_new(first, path)
    with pytest.raises(FileExistsError):
        place_new(second, path)
    assert path.read_bytes() == b"first"


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(ZeroDivisionError), staged_folder(path) as temporary:
        write_half(temporary / "a")
    assert list(path.iterdir()) == []
    with staged_folder(path) as temporary:
        (temporary / "a").write_bytes(b"a")
        assert list(path.iterdir()) == []
    assert [one.name for one in path.iterdir()] == ["a"]
    with pytest.raises(OSError, match="not empty"), staged_folder(path) as temporary:
        (temporary / "b").write_bytes(b"b")
    assert [one.name for one in path.iterdir()] == ["a"]
    assert list(tmp_path.iterdir()) == [path]


def test_several_files_are_complete_before_the_first_is_moved(tmp_path: Path) -> None:
    folder, names = tmp_path / "report", ("a", "b", "c")
    with staged_files(folder, names) as temporary:
        for name in names:
            (temporary / name).write_bytes(b"1")
        assert not folder.exists()
    (folder / "mine").write_bytes(b"mine")
    with pytest.raises(ZeroDivisionError), staged_files(folder, names) as temporary:
        write_half(temporary / "a")
    assert {one.name: one.read_bytes() for one in folder.iterdir()} == {"a": b"1", "b": b"1", "c": b"1", "mine": b"mine"}
    with staged_files(folder, names) as temporary:
        (temporary / "a").write_bytes(b"3")
    assert {one.name: one.read_bytes() for one in folder.iterdir()} == {"a": b"3", "mine": b"mine"}
    assert list(tmp_path.iterdir()) == [folder]


class Network:
    """A network with one tensor, as `save_checkpoint` needs it."""

    architecture = type("Architecture", (), {"to_json": staticmethod(lambda: "{}")})

    @staticmethod
    def state_dict() -> dict[str, torch.Tensor]:
        return {"a": torch.ones(3)}


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, full: None) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(OptionError, match=r"weights\.safetensors cannot be written .*No space left"):
        save_checkpoint(Network(), path)  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_in_a_missing_folder_is_an_error_of_the_option(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot be written"):
        save_checkpoint(Network(), tmp_path / "missing" / "weights.safetensors")  # type: ignore[arg-type]
