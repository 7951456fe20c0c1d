"""A repository of the hub arrives whole, or one clear message says why not; its licence is told before the weights come."""

import hashlib
import json
import logging
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import huggingface_hub.constants
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from sam_oracle import random_sam

from samgeo.errors import CheckpointError, ModelError
from samgeo.models.download import NOTICES
from samgeo.models.hf.hub import fetch_config, fetch_weights, find_on_hub
from samgeo.models.registry import load_model, model_info, model_path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub(ThreadingHTTPServer):
    """Serves repositories on the loopback interface as the hub does: files, and what is known of a repository."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}  # "owner/name" to files by name
        self.cards = {}  # "owner/name" to what the hub says of the repository
        self.refused = {}  # "owner/name" to status and error code
        self.asked = []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._answer(body=True)

    def do_HEAD(self):
        self._answer(body=False)

    def _answer(self, *, body):
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            repository, content = "/".join(parts[2:4]), None
            if repository in self.server.cards:
                content = json.dumps({"id": repository, "siblings": [], "tags": []} | self.server.cards[repository]).encode()
        else:
            repository, file = "/".join(parts[:2]), "/".join(parts[4:])
            self.server.asked.append((repository, file))
            content = self.server.files.get(repository, {}).get(file)
        if repository in self.server.refused:
            self._refuse(*self.server.refused[repository])
        elif repository not in self.server.files:
            self._refuse(404, "RepoNotFound")
        elif content is None:
            self._refuse(404, "EntryNotFound")
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                self.wfile.write(content)

    def _refuse(self, status, code):
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Be quiet."""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    for name in ("SAMGEO_MODELS", "SAMGEO_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SAMGEO_HOME", str(tmp_path / "home"))
    with FakeHub() as serving:
        monkeypatch.setattr(huggingface_hub, "HfApi", partial(huggingface_hub.HfApi, endpoint=serving.address))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(
            huggingface_hub, "hf_hub_download", partial(huggingface_hub.hf_hub_download, endpoint=serving.address)
        )
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files of a repository with a small SAM 1."""
    folder = tmp_path_factory.mktemp("repository")
    random_sam().save_pretrained(folder)
    return {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")}


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.INFO, logger=NOTICES)
    return lambda: [record.getMessage() for record in caplog.records if record.name == NOTICES]


def test_a_repository_is_loaded_and_its_licence_is_told_once(hub, files, told):
    hub.files["somebody/sam"] = files
    hub.cards["somebody/sam"] = {"gated": False, "cardData": {"license": "mit"}}
    model = load_model("hf://somebody/sam", device="cpu")
    assert (model.name, model.input_size) == ("hf://somebody/sam", 64)
    (line,) = told()
    assert "hf://somebody/sam has the licence 'mit'" in line
    load_model("hf://somebody/sam", device="cpu")
    assert len(told()) == 1
    assert find_on_hub("somebody/sam", "model.safetensors").read_bytes() == files["model.safetensors"]


def test_the_licence_and_the_gate_of_an_unknown_repository_are_told_before_its_weights_come(hub, files, told):
    hub.files["somebody/sam"] = {"config.json": files["config.json"]}
    hub.cards["somebody/sam"] = {"gated": "manual"}
    with pytest.raises(ModelError, match=r"has no file model.safetensors"):
        load_model("hf://somebody/sam", device="cpu")
    (line,) = told()
    assert "states its licence on its page (https://huggingface.co/somebody/sam)" in line
    assert "it is gated" in line


def test_the_kind_is_told_by_the_configuration_and_the_weights_of_others_do_not_come(hub):
    for kind, says in (
        ("edgetam", "this is an EdgeTAM checkpoint, which samgeo cannot read"),
        ("grounding-dino", "this is a Grounding DINO model, which finds boxes for words"),
        ("sam3", "this is the detector of SAM 3 alone"),
        ("bert", "this is a model of type 'bert', which samgeo cannot read"),
        (None, "has no model_type"),
    ):
        repository = f"somebody/{kind}"
        hub.files[repository] = {"config.json": json.dumps({"model_type": kind}).encode(), "model.safetensors": b"never"}
        with pytest.raises(CheckpointError, match=says):
            load_model(f"hf://{repository}", device="cpu")
    assert "model.safetensors" not in {file for _, file in hub.asked}


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (
            403,
            "GatedRepo",
            r"is gated, and this machine's login has no access \(403\).*hf auth login.*neither accepts the licence",
        ),
        (401, "GatedRepo", r"is gated, and this machine's login has no access \(401\)"),
        (401, "RepoNotFound", r"no such public repository \(401\)"),
        (404, "RepoNotFound", r"no such public repository \(404\).*https://huggingface.co/somebody/gone"),
        (403, "Blocked", r"the hub refuses access \(403\).*hf auth login"),
    ],
)
def test_each_refusal_has_its_message(hub, told, status, code, says):
    hub.refused["somebody/gone"] = (status, code)
    with pytest.raises(ModelError, match=f"hf://somebody/gone cannot be loaded: .*{says}"):
        load_model("hf://somebody/gone", device="cpu")
    assert told() == []


def test_a_hub_that_does_not_answer_is_told(hub, monkeypatch):
    def silent(*_, **__):
        raise LocalEntryNotFoundError("Please check your connection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", silent)
    with pytest.raises(ModelError, match=r"the hub does not answer. Check the connection"):
        load_model("hf://somebody/sam", device="cpu")


def test_what_is_no_name_and_what_is_no_configuration_are_told(hub):
    with pytest.raises(ModelError, match=r"not the name of a repository. Give hf://owner/name"):
        load_model("hf://a/b/c", device="cpu")
    hub.files["somebody/page"] = {"config.json": b"<html>"}
    with pytest.raises(ModelError, match=r"config.json of hf://somebody/page is not JSON.*Delete"):
        fetch_config("somebody/page")
    hub.files["somebody/list"] = {"config.json": b"[]"}
    with pytest.raises(ModelError, match="not a JSON object"):
        fetch_config("somebody/list")
    hub.files["somebody/bare"] = {"model.safetensors": b""}
    with pytest.raises(ModelError, match=r"has no file config.json.*layout of transformers"):
        load_model("hf://somebody/bare", device="cpu")


def test_weights_that_are_something_else_are_refused(hub, files):
    hub.files["somebody/sam"] = files | {"model.safetensors": b"<html>an error</html>"}
    with pytest.raises(CheckpointError, match="this is a web page, not a checkpoint"):
        load_model("hf://somebody/sam", device="cpu")


@pytest.mark.parametrize("variable", ["SAMGEO_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_asks_nothing_and_takes_what_is_here(hub, files, told, monkeypatch, variable):
    hub.files["somebody/sam"] = files
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ModelError, match=r"config.json is not in the cache.*forbids downloads.*path of its folder"):
        load_model("hf://somebody/sam", device="cpu")
    assert hub.asked == []
    monkeypatch.delenv(variable)
    fetch_weights("somebody/sam")
    monkeypatch.setenv(variable, "1")
    assert load_model("hf://somebody/sam", device="cpu").input_size == 64
    assert told() == []


def test_a_gated_model_is_refused_with_its_licence_and_nothing_is_taken_elsewhere(hub, told):
    hub.refused["facebook/sam3"] = (403, "GatedRepo")
    with pytest.raises(ModelError, match=r"gated.*ask for access at https://huggingface.co/facebook/sam3"):
        model_path("sam3")
    (line,) = told()
    assert "SAM License" in line
    assert "gated" in line
    assert {repository for repository, _ in hub.asked} == {"facebook/sam3"}
    with pytest.raises(ModelError, match="samgeo models fetch sam3"):
        model_path("sam3", download=False)


def test_a_finder_of_words_comes_with_its_tokenizer(hub, files, told):
    repository = model_info("grounding-dino-tiny").hf_repo
    hub.files[repository] = files | {"vocab.txt": b"words", "tokenizer.json": b"{}", "pytorch_model.bin": b"never"}
    path = model_path("grounding-dino-tiny")
    assert {file.name for file in path.parent.iterdir()} == {"config.json", "model.safetensors", "vocab.txt", "tokenizer.json"}
    assert "Apache-2.0" in told()[0]
    assert model_path("grounding-dino-tiny", download=False) == path


def test_a_folder_of_samgeo_models_may_have_the_files_of_the_hub(hub, tmp_path, monkeypatch):
    folder = tmp_path / "models" / "sam3"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()
    monkeypatch.setenv("SAMGEO_MODELS", str(tmp_path / "models"))
    assert model_path("sam3") == folder / "model.safetensors"
    assert hub.asked == []
