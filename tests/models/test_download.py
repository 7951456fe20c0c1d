"""A download arrives whole and verified, or says why not and what to do; offline means offline."""

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from samgeo.errors import CheckpointError, ModelError, SamgeoWarning
from samgeo.models import download
from samgeo.models.download import cache_folder, check_md5, fetch, find

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT on the loopback interface, with the faults that a test asks for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges = []
        self.cuts = []  # bytes after which to cut each coming answer
        self.knows_ranges = True
        self.busy = []  # status, and Retry-After, of each coming answer

    def url(self, path="weights"):
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        if self.path == "/absent":
            self.send_error(404)
            return
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "http://example.org/weights")
            self.end_headers()
            return
        if self.server.busy:
            status, after = self.server.busy.pop(0)
            self.send_response(status)
            if after is not None:
                self.send_header("Retry-After", after)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.knows_ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else len(CONTENT)
        self.wfile.write(CONTENT[start : start + cut])

    def log_message(self, *_):
        """Be quiet."""


@pytest.fixture
def server():
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("SAMGEO_MODELS", "SAMGEO_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SAMGEO_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


def listing(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize("digest", [DIGEST, DIGEST[:6]])
def test_a_file_arrives_whole_and_once(server, home, digest):
    path = fetch([server.url()], "weights.pth", sha256=digest)
    assert path == home / "weights.pth" == find("weights.pth")
    assert path.read_bytes() == CONTENT
    assert fetch([server.url()], "weights.pth", sha256=digest) == path
    assert server.ranges == [None]
    assert listing(home) == ["weights.pth"]


def test_a_cut_connection_is_taken_up_where_it_was(server, home):
    server.cuts = [1000, 70_000]
    assert fetch([server.url()], "weights.pth", sha256=DIGEST).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000-", "bytes=71000-"]


def test_an_interrupted_download_is_taken_up_by_the_next(server, home):
    home.mkdir(parents=True)
    (home / "weights.pth.part").write_bytes(CONTENT[:5000])
    assert fetch([server.url()], "weights.pth", sha256=DIGEST).read_bytes() == CONTENT
    assert server.ranges == ["bytes=5000-"]


def test_a_download_that_had_all_its_bytes_is_finished(server, home):
    home.mkdir(parents=True)
    (home / "weights.pth.part").write_bytes(CONTENT)
    assert fetch([server.url()], "weights.pth", sha256=DIGEST).read_bytes() == CONTENT


def test_a_beginning_of_another_file_is_thrown_away(server, home):
    home.mkdir(parents=True)
    (home / "weights.pth.part").write_bytes(b"x" * 5000)
    assert fetch([server.url()], "weights.pth", sha256=DIGEST).read_bytes() == CONTENT
    assert server.ranges == ["bytes=5000-", None]


def test_a_server_without_ranges_is_asked_for_the_whole(server, home):
    server.knows_ranges = False
    home.mkdir(parents=True)
    (home / "weights.pth.part").write_bytes(CONTENT[:5000])
    assert fetch([server.url()], "weights.pth", sha256=DIGEST).read_bytes() == CONTENT


def test_a_connection_that_brings_nothing_is_given_up_and_what_arrived_is_kept(server, home):
    server.cuts = [1000] + [0] * 10
    with pytest.raises(ModelError, match="ended after 1000 of 1024000 bytes") as error:
        fetch([server.url()], "weights.pth", sha256=DIGEST)
    assert f"save it as {home / 'weights.pth'}" in str(error.value)
    assert listing(home) == ["weights.pth.part"]
    assert (home / "weights.pth.part").read_bytes() == CONTENT[:1000]


@pytest.fixture
def waited(monkeypatch):
    """How long was waited, in seconds; no time passes."""
    seconds = []
    monkeypatch.setattr(download.time, "sleep", seconds.append)
    return seconds


@pytest.mark.parametrize("status", sorted(download.BUSY))
def test_a_busy_server_is_asked_again(server, home, waited, status):
    server.busy = [(status, None), (status, "7")]
    assert fetch([server.url()], "weights.pth", sha256=DIGEST).read_bytes() == CONTENT
    assert waited == [2.0, 7.0]


def test_a_server_that_stays_busy_is_given_up_and_what_arrived_is_kept(server, home, waited):
    home.mkdir(parents=True)
    (home / "weights.pth.part").write_bytes(CONTENT[:1000])
    server.busy = [(503, None), (503, "Wed, 21 Oct 2026 07:28:00 GMT"), (503, "100000")]
    with pytest.raises(ModelError, match=r"Service Unavailable.*Try again: the downloaded part is kept"):
        fetch([server.url()], "weights.pth", sha256=DIGEST)
    assert waited == [2.0, 4.0]
    assert (home / "weights.pth.part").read_bytes() == CONTENT[:1000]
    server.busy = [(503, "100000")]
    assert fetch([server.url()], "weights.pth", sha256=DIGEST).read_bytes() == CONTENT
    assert waited == [2.0, 4.0, 30.0]


def test_an_answer_that_will_not_change_is_not_asked_for_again(server, home, waited):
    server.busy = [(403, None)] * 3
    with pytest.raises(ModelError, match="Forbidden"):
        fetch([server.url()], "weights.pth", sha256=DIGEST)
    assert waited == []
    assert len(server.busy) == 2


def test_a_file_with_another_digest_is_not_kept(server, home):
    with pytest.raises(ModelError, match=f"sha256 {DIGEST[:12]}... instead of 000000000000"):
        fetch([server.url()], "weights.pth", sha256="0" * 64)
    assert listing(home) == []


MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


def test_a_file_with_an_md5_alone_is_verified_by_it(server, home):
    assert fetch([server.url()], "weights.pth", md5=MD5).read_bytes() == CONTENT
    check_md5(home / "weights.pth", MD5)
    with pytest.raises(CheckpointError, match=f"has md5 {MD5[:12]}..., not 000000000000"):
        check_md5(home / "weights.pth", "0" * 32)
    with pytest.raises(ModelError, match=f"md5 {MD5[:12]}... instead of 000000000000"):
        fetch([server.url()], "other.pth", md5="0" * 32)
    assert listing(home) == ["weights.pth"]


def test_a_file_of_which_no_digest_is_recorded_arrives_with_a_warning(server):
    with pytest.warns(SamgeoWarning, match="no digest of weights.pth is recorded"):
        assert fetch([server.url()], "weights.pth").read_bytes() == CONTENT


def test_the_next_address_is_tried(server):
    assert fetch([server.url("absent"), server.url()], "weights.pth", sha256=DIGEST).read_bytes() == CONTENT


def test_an_absent_file_says_so(server, home):
    with pytest.raises(ModelError, match="Not Found"):
        fetch([server.url("absent")], "weights.pth", sha256=DIGEST)
    assert listing(home) == []


def test_a_server_that_does_not_answer_says_so(home):
    with pytest.raises(ModelError, match="could not be downloaded"):
        fetch(["http://127.0.0.1:9/weights"], "weights.pth", sha256=DIGEST)


@pytest.mark.parametrize("url", ["http://example.org/weights", "ftp://127.0.0.1/weights", "file:///etc/hostname", "elsewhere"])
def test_only_https_is_trusted(server, home, url):
    with pytest.raises(ModelError, match="only downloaded over https"):
        fetch([server.url(url) if url == "elsewhere" else url], "weights.pth", sha256=DIGEST)


@pytest.mark.parametrize("variable", ["SAMGEO_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_refuses_and_tells_where_to_put_the_file(server, home, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ModelError, match=variable) as error:
        fetch([server.url()], "weights.pth", sha256=DIGEST)
    assert server.url() in str(error.value)
    assert str(home / "weights.pth") in str(error.value)
    assert server.ranges == []


def test_of_several_that_want_a_file_one_downloads(server):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch([server.url()], "weights.pth", sha256=DIGEST))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_bytes() == CONTENT for path in found] == [True] * 4
    assert server.ranges == [None]


def test_a_cache_that_cannot_be_written_says_so(server, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SAMGEO_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="set SAMGEO_HOME to another folder"):
        fetch([server.url()], "weights.pth", sha256=DIGEST)


def test_folders_of_samgeo_models_come_first(tmp_path, home, monkeypatch):
    for folder in (tmp_path / "a", tmp_path / "b", home):
        folder.mkdir(parents=True)
    (home / "weights.pth").touch()
    assert find("weights.pth") == home / "weights.pth"
    monkeypatch.setenv("SAMGEO_MODELS", os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")]))
    (tmp_path / "b" / "weights.pth").touch()
    assert find("weights.pth") == tmp_path / "b" / "weights.pth"
    monkeypatch.setenv("SAMGEO_MODELS", str(tmp_path / "c"))
    with pytest.raises(ModelError, match="not a folder"):
        find("weights.pth")


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/samgeo"),
        ("linux", {}, "/home/me/.cache/samgeo"),
        ("darwin", {}, "/home/me/Library/Caches/samgeo"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/samgeo"),
        ("win32", {}, "/home/me/AppData/Local/samgeo"),
        ("win32", {"SAMGEO_HOME": "/mine"}, "/mine"),
    ],
)
def test_the_cache_is_where_the_platform_keeps_caches(monkeypatch, platform, variables, folder):
    for name in ("SAMGEO_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(download.sys, "platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder().as_posix() == folder
