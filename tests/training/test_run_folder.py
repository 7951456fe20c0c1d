"""The folder of a training: its state is what was written, one process works in it, and its log has every step once."""

import errno
import json
import threading
from contextlib import nullcontext

import pytest
import torch

import samgeo.training.loop as train_module
from samgeo.errors import CheckpointError, OptionError, RunError
from samgeo.training import run_folder
from samgeo.training.loop import TrainOptions, train
from samgeo.training.run_folder import locked, read_state, trim_log, write_state

OPTIONS = TrainOptions(steps=1, crops=((64, 4, 1.0),), images=1, log_steps=1)


def state():
    weights = {"a": torch.linspace(0, 1, 2000), "b": torch.zeros(0), "c": torch.ones(3, 5, dtype=torch.bfloat16)}
    return {"network": weights, "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "betas": (0.9, 0.98)}, "step": 3}


def test_a_state_comes_back(tmp_path):
    write_state(state(), tmp_path / "state.pt")
    back = read_state(tmp_path / "state.pt")
    assert back.keys() == state().keys()
    assert run_folder.digest_of_values(back) == run_folder.digest_of_values(state())
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def test_no_flipped_bit_changes_a_state_in_silence(tmp_path):
    path = tmp_path / "state.pt"
    write_state(state(), path)
    content, wanted = path.read_bytes(), run_folder.digest_of_values(state())
    refused = 0
    for place in range(0, len(content), 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        try:
            found = read_state(path)
        except CheckpointError:
            refused += 1
        else:  # what is between the members of the archive says nothing
            assert run_folder.digest_of_values(found) == wanted
    assert refused > 2000 * 4 // 97
    for size in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(CheckpointError, match="give another folder"):
            read_state(path)


def test_values_names_and_order_make_the_digest():
    whole = {"a": torch.ones(2), "b": [1, 2.0, "x"]}
    others = [
        {"a": torch.ones(2), "b": [1, 2.5, "x"]},
        {"a": torch.ones(2), "c": [1, 2.0, "x"]},
        {"a": torch.ones(1, 2), "b": [1, 2.0, "x"]},
        {"a": torch.ones(2, dtype=torch.float64), "b": [1, 2.0, "x"]},
        {"a": torch.tensor([1.0, -0.0]), "b": [1, 2.0, "x"]},
        {"b": [1, 2.0, "x"], "a": torch.ones(2)},
    ]
    digests = {run_folder.digest_of_values(value) for value in (whole, *others)}
    assert len(digests) == 7


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("PytorchStreamWriter failed")]
)
def test_a_full_disk_keeps_the_state_before(tmp_path, monkeypatch, error):
    write_state(state(), tmp_path / "state.pt")
    before = (tmp_path / "state.pt").read_bytes()

    def full(_, file):
        file.write(b"some")
        raise error

    monkeypatch.setattr(run_folder.torch, "save", full)
    with pytest.raises(OptionError, match="free disk space"):
        write_state(state(), tmp_path / "state.pt")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("state.pt", before)]


def test_a_state_that_does_not_arrive_is_told(tmp_path, monkeypatch):
    save = torch.save
    monkeypatch.setattr(run_folder.torch, "save", lambda value, file: save(value | {"step": 4}, file))
    with pytest.raises(OptionError, match="numbers differ from those that were written"):
        write_state(state(), tmp_path / "state.pt")
    assert not list(tmp_path.iterdir())


def test_a_damaged_state_is_not_continued(small_network, source, tmp_path):
    train(small_network, [source], tmp_path, OPTIONS, window_px=64)
    content = torch.load(tmp_path / "state.pt", weights_only=True)
    next(iter(content["average"].values())).view(-1)[0] += 1
    torch.save(content, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="damaged"):
        train(small_network, [source], tmp_path, OPTIONS, window_px=64)


def test_one_process_works_in_a_folder(small_network, source, tmp_path):
    with locked(tmp_path), pytest.raises(RunError, match="another process trains"):
        train(small_network, [source], tmp_path, OPTIONS, window_px=64)
    with locked(tmp_path):
        told = []

        def other():
            try:
                with locked(tmp_path):
                    told.append("in")
            except RunError:
                told.append("refused")

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert told == ["refused"]


def test_a_folder_that_was_never_used_is_taken_away(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "run"):
        raise KeyError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "step", "left"),
    [
        ('{"step": 1}\n{"step": 2}\n{"step": 3}\n', 2, '{"step": 1}\n{"step": 2}\n'),
        ('{"step": 1}\n{"step": 2}\n{"st', 2, '{"step": 1}\n{"step": 2}\n'),
        ('{"step": 1}\nmine\n{"step": 3}\n{"step": 2}\n', 2, '{"step": 1}\nmine\n{"step": 2}\n'),
        ('{"step": 1}\n', 0, ""),
        ("", 5, ""),
    ],
)
def test_a_log_goes_on_where_the_state_does(tmp_path, text, step, left):
    (tmp_path / "log.jsonl").write_text(text)
    trim_log(tmp_path / "log.jsonl", step)
    assert (tmp_path / "log.jsonl").read_text() == left


def test_the_number_of_threads_stays_that_of_the_run(small_network, source, tmp_path, monkeypatch):
    used = []

    def noted(threads):
        used.append(threads)
        return nullcontext()

    # Several threads on so little wait for each other for minutes where cores are shared.
    monkeypatch.setattr(train_module, "computing_in", noted)
    options = TrainOptions(steps=2, crops=((64, 4, 1.0),), images=1, log_steps=1, save_s=0)

    def stop(line):
        if line["step"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(small_network, [source], tmp_path, options, window_px=64, threads=3, report=stop)
    with pytest.raises(CheckpointError, match="3 threads"):
        train(small_network, [source], tmp_path, options, window_px=64, threads=1)
    train(small_network, [source], tmp_path, options, window_px=64)
    assert used == [3, 3]
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [1, 2]
    with pytest.raises(OptionError, match="threads is 0"):
        train(small_network, [source], tmp_path, options, window_px=64, threads=0)
