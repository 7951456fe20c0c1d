"""The process that the QGIS plugin starts: progress, messages, errors, and that it and its children end."""

import os
import sys
import time
from pathlib import Path

import pytest
from samgeo_qgis import process
from samgeo_qgis.process import Cancelled, Finished, LineReader, explain, percent, run
from tqdm import tqdm


class Log:
    """What a process reported."""

    def __init__(self):
        self.progress, self.messages = [], []

    def run(self, code, *, is_cancelled=lambda: False):
        return run(
            [sys.executable, "-c", code],
            environment=os.environ,
            on_progress=self.progress.append,
            on_message=self.messages.append,
            is_cancelled=is_cancelled,
        )


def test_lines_arrive_in_pieces():
    reader = LineReader()
    text = "Note: größer\r\n  0%|  |\r 50%|# |\rdone\n\nlast".encode()
    lines = [line for byte in text for line in reader.feed(bytes([byte]))]
    assert lines == ["Note: größer", "  0%|  |", " 50%|# |", "done", ""]
    assert reader.rest == "last"
    assert reader.feed(b"") == ["last"]
    assert reader.rest == ""


def test_bytes_that_are_no_text_do_not_stop_the_run():
    assert LineReader().feed(b"caf\xe9\n") == ["caf\ufffd"]


@pytest.mark.parametrize("total", [1, 3, 2000])
def test_the_bars_of_samgeo_are_progress(total, capsys):
    # The bar of `samgeo segment`.
    with tqdm(total=total, unit="window", desc="12% of town.tif", file=sys.stderr, mininterval=0) as bar:
        bar.update(total)
    reader = LineReader()
    shown = [percent(line) for line in reader.feed(capsys.readouterr().err.encode()) if line]
    assert (shown[0], shown[-1]) == (0, 100)
    assert None not in shown


@pytest.mark.parametrize("line", ["", "101 objects in town.gpkg", "a 50% share", "Note: 3%|"[:7]])
def test_other_lines_are_no_progress(line):
    assert percent(line) is None


def test_a_run_reports_progress_messages_and_output():
    log = Log()
    done = log.run(
        "import sys, time\n"
        "print('| table |\\n\\n| row |')\n"
        "w = lambda text: (sys.stderr.write(text), sys.stderr.flush(), time.sleep(0.05))\n"
        "w('Note: a band\\n'); w('\\rx:   0%|   | 0/4'); w('\\rx:  25%|#  | 1/4'); "
        "w('\\rx: 100%|###| 4/4\\n'); w('4 objects\\n')"
    )
    assert done == Finished(0, "| table |\n\n| row |", ("Note: a band", "4 objects"))
    assert log.messages == ["Note: a band", "4 objects"]
    assert log.progress == [0, 25, 100]


def test_much_output_does_not_block_the_process():
    log = Log()
    done = log.run("import sys\nfor i in range(4000): print('x' * 50); print('y' * 50, file=sys.stderr)")
    assert done.code == 0
    assert len(done.output.splitlines()) == len(log.messages) == 4000
    assert len(done.messages) == process.KEPT_LINES


def test_the_message_of_an_error_is_that_of_samgeo():
    # As the command line of samgeo writes them, after a bar.
    text = "Note: x\n\rt: 10%|# | 1/9\nError: town.tif does not exist; give a raster.\n"
    code = f"import sys\nsys.stderr.write({text!r})\nsys.exit(1)"
    assert explain(Log().run(code)) == "town.tif does not exist; give a raster."
    usage = ("Usage: samgeo find [OPTIONS]", "Try 'samgeo find -h' for help.", "", "Error: No such option: --colour")
    assert explain(Finished(2, "", usage)) == "No such option: --colour"
    two_lines = ("Error: the run began with other options:", "  model: tiny, not sam-vit-h")
    assert explain(Finished(1, "", two_lines)).splitlines() == [
        "the run began with other options:",
        "  model: tiny, not sam-vit-h",
    ]


def test_an_end_without_a_message_is_explained():
    traceback = explain(Log().run("raise ValueError('a defect')"))
    assert traceback.startswith("samgeo ended with exit code 1; its last messages:\nTraceback")
    assert traceback.endswith("ValueError: a defect")
    assert explain(Log().run("import sys; sys.exit(5)")) == "samgeo ended with exit code 5, without a message"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals")
def test_a_kill_by_the_system_is_explained():
    killed = Log().run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert explain(killed) == "samgeo was ended by signal 9, as when the memory of the machine is full, without a message"


def alive(pid):
    """Return whether a process runs; a dead one whose parent has not asked for it does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("stubborn", [False, True])
def test_cancelling_ends_the_process_and_its_children(tmp_path, monkeypatch, stubborn):
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.3)
    pids = tmp_path / "pids"
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if stubborn else ""
    code = (
        f"import os, pathlib, signal, subprocess, sys, time\n{ignore}\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"part = pathlib.Path({str(pids)!r} + '.part')\n"
        f"part.write_text(f'{{os.getpid()}} {{child.pid}}'); part.rename({str(pids)!r})\n"
        "time.sleep(60)"
    )
    begin = time.monotonic()
    with pytest.raises(Cancelled):
        Log().run(code, is_cancelled=pids.exists)
    assert time.monotonic() - begin < 30
    deadline = time.monotonic() + 10
    while any(map(alive, pids.read_text().split())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, pids.read_text().split()))


def test_a_program_that_cannot_start_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match="missing"):
        run(
            [str(tmp_path / "missing")],
            environment={},
            on_progress=print,
            on_message=print,
            is_cancelled=lambda: False,
        )
