"""Models come by name, path or hub, onto a device that is here."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from sam_oracle import official_state, random_sam

from samgeo.errors import CheckpointError, ModelError, OptionError
from samgeo.models import device, registry
from samgeo.models.device import resolve_device, resolve_dtype
from samgeo.models.protocols import Segmenter
from samgeo.models.registry import Gates, default_gates, list_models, load_model, model_info, model_path
from samgeo.models.sam1.model import Sam


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mine.pth"
    torch.save(official_state(random_sam()), path)
    return path


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMGEO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SAMGEO_OFFLINE", "1")
    monkeypatch.delenv("SAMGEO_MODELS", raising=False)


@pytest.fixture
def published(weights, tmp_path, monkeypatch):
    """Let the small model be what sam-vit-b is, in a folder of SAMGEO_MODELS."""
    monkeypatch.setenv("SAMGEO_MODELS", str(tmp_path))
    info = next(info for info in list_models() if info.name == "sam-vit-b")
    file = tmp_path / info.file
    file.write_bytes(weights.read_bytes())
    known = replace(info, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    monkeypatch.setattr(registry, "_MODELS", (known,))
    return file


def test_the_names_are_these_and_the_first_is_the_default():
    hiera = ["tiny", "small", "base-plus", "large"]
    prompts = [
        *("tiny", "sam-vit-b", "sam-vit-l", "sam-vit-h"),
        *(f"{version}-hiera-{size}" for version in ("sam2.1", "sam2") for size in hiera),
        *("mobile-sam", "sam-hq-vit-b", "sam-hq-vit-l", "sam-hq-vit-h", "sam-hq-vit-tiny", "sam3"),
    ]
    text = ["grounding-dino-tiny", "grounding-dino-base", "owlv2-base"]
    assert [info.name for info in list_models()] == prompts + text
    assert [info.name for info in list_models(kind="prompts")] == prompts
    assert [info.name for info in list_models(kind="text")] == text
    assert list_models()[0].name == registry.DEFAULT_MODEL
    with pytest.raises(OptionError, match="kind is 'words'; give 'prompts' or 'text'"):
        list_models(kind="words")


@pytest.mark.parametrize("info", list_models()[1:], ids=lambda info: info.name)
def test_what_is_recorded_of_each_model_is_sound(info):
    assert all(url.startswith("https://") and url.endswith(info.file) for url in info.urls)
    assert len(bytes.fromhex(info.sha256)) in (0, 32)
    assert len(bytes.fromhex(info.md5)) in (0, 16)
    assert info.verifiable
    assert info.license == ("SAM License" if info.name == "sam3" else "Apache-2.0")
    assert info.gated == (info.name == "sam3")
    assert "arXiv:2" in info.citation
    assert "not downloaded" in info.describe()
    assert info.from_hub == (info.file == "model.safetensors")
    assert not info.bundled
    if info.kind == "prompts":
        assert info.family in registry.LOADERS
        assert info.embedding_numbers > 1e6
        assert info.gates.pred_iou == (0.8 if info.family in ("sam2", "sam3") else 0.88)


def test_sizes_that_are_not_recorded_are_estimated_from_the_parameters():
    known, estimated = model_info("sam-hq-vit-h"), model_info("sam-hq-vit-b")
    assert (known.size_text(), estimated.size_text()) == ("2.57 GB", "about 379 MB")
    assert replace(known, size_bytes=None).size_text() == "about 2.57 GB"


def test_details_tell_what_is_recorded_and_what_is_not():
    sam3 = model_info("sam3").details()
    for text in ("SAM License", "5,616 GFLOP a window, 4.59 GFLOP a point, 10.6 MB an embedding", "arXiv:2511.16719"):
        assert text in sam3
    assert "the publisher decides at https://huggingface.co/facebook/sam3" in sam3
    bare = replace(model_info("mobile-sam"), sha256="")
    assert not bare.verifiable
    assert "not recorded, so that the file cannot be verified" in bare.details()
    assert "md5 c6b8953247bcfdc8bb8ef91e36a6cacc" in model_info("sam-hq-vit-b").details()
    assert "automatic masks" not in model_info("owlv2-base").details()


def test_the_default_is_bundled_and_is_what_is_said_of_it():
    info, model = list_models()[0], load_model(device="cpu")
    assert model.name == info.name
    assert model.input_size == info.input_size
    assert info.bundled
    assert model_path(info.name, download=False).stat().st_size == info.size_bytes
    assert sum(parameter.numel() for parameter in model.network.parameters()) == info.parameters
    assert default_gates(model) == info.gates


def test_a_path_gives_the_model_in_it(weights):
    model = load_model(weights, device="cpu")
    assert isinstance(model, Sam)
    assert isinstance(model, Segmenter)
    assert (model.name, model.input_size) == ("mine", 64)
    assert model.digest == hashlib.sha256(weights.read_bytes()).hexdigest()
    embedding = model.embed(np.zeros((1, 64, 64, 3), np.uint8))
    logits, predicted = load_model(str(weights), device="cpu").decode(embedding[0], boxes=[[8, 8, 40, 40]])
    assert torch.equal(logits, model.decode(embedding[0], boxes=[[8, 8, 40, 40]])[0])
    assert predicted.shape == (1, 3)


def test_what_is_a_model_passes_through(weights):
    model = load_model(weights, device="cpu")
    assert load_model(model) is model
    with pytest.raises(ModelError, match="int is not a model"):
        load_model(7)


def test_a_name_gives_the_verified_file(published):
    assert model_path("sam-vit-b") == published
    model = load_model("sam-vit-b", device="cpu")
    assert model.name == "sam-vit-b"
    assert str(published) in list_models()[0].describe()
    published.write_bytes(published.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match="has sha256"):
        load_model("sam-vit-b", device="cpu")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sam-vit-hh", "Did you mean 'sam-vit-h'"),
        ("sam_vit_b", "Did you mean 'sam-vit-b'"),
        ("TINY", "Did you mean 'tiny'"),
        ("xyzzy", "Known models: tiny, sam-vit-b, sam-vit-l, sam-vit-h"),
        ("/nowhere/sam.pth", "no model and no file"),
    ],
)
def test_an_unknown_name_says_what_is_near(name, says):
    with pytest.raises(ModelError, match=says):
        load_model(name, device="cpu")
    with pytest.raises(ModelError, match=says):
        model_path(name)


def test_weights_that_are_not_here_are_fetched_or_not():
    with pytest.raises(ModelError, match="samgeo models fetch sam-vit-l"):
        model_path("sam-vit-l", download=False)
    with pytest.raises(ModelError, match="with another program and save it as"):
        load_model("sam-vit-l", device="cpu")


@pytest.fixture
def downloads(monkeypatch):
    """What is downloaded, with what was told before; nothing is downloaded."""
    monkeypatch.delenv("SAMGEO_OFFLINE")
    events = []
    monkeypatch.setattr(registry, "notify", events.append)
    monkeypatch.setattr(
        registry, "fetch", lambda urls, file, **expected: events.append((file, expected)) or registry.Path(file)
    )
    return events


def test_the_licence_is_told_before_the_download(downloads):
    model_path("mobile-sam")
    told, (file, expected) = downloads
    assert told.startswith("mobile-sam: the weights (41 MB) have the licence Apache-2.0 and come from https://github.com/")
    assert (file, expected["sha256"][:8], expected["md5"], expected["size_bytes"]) == (
        "mobile_sam.pt",
        "6dbb9052",
        "",
        40_728_226,
    )
    model_path("sam-hq-vit-l")
    assert downloads[3][1] == {"sha256": "", "md5": "08947267966e4264fb39523eccc33f86", "size_bytes": None}


def test_a_file_of_which_no_digest_is_recorded_is_told_before_the_download(downloads, monkeypatch):
    monkeypatch.setattr(registry, "_MODELS", (replace(model_info("mobile-sam"), sha256=""),))
    model_path("mobile-sam")
    assert downloads[0].endswith("No digest of the file is recorded, so that it cannot be verified.")


def test_an_md5_is_checked_where_nothing_better_is_recorded(published, monkeypatch):
    info = list_models()[0]
    md5 = hashlib.md5(published.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(registry, "_MODELS", (replace(info, sha256="", md5=md5),))
    assert load_model("sam-vit-b", device="cpu").input_size == 64
    published.write_bytes(published.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match="has md5"):
        load_model("sam-vit-b", device="cpu")


def test_a_finder_of_words_is_no_promptable_model():
    with pytest.raises(ModelError, match="'owlv2-base' finds boxes for words"):
        load_model("owlv2-base", device="cpu")


@pytest.mark.parametrize("name", ["tiny", "sam-vit-b", "mobile-sam", "sam-hq-vit-b", "sam3"])
def test_a_model_whose_side_is_fixed_takes_no_other(name, weights):
    with pytest.raises(OptionError, match=f"the side of the input of {name} is fixed; leave input_size out"):
        load_model(name, device="cpu", input_size=512)


def test_a_file_or_a_model_whose_side_is_fixed_takes_no_other(weights):
    with pytest.raises(OptionError, match=r"the side of the input of .*mine\.pth is fixed"):
        load_model(weights, device="cpu", input_size=512)
    with pytest.raises(OptionError, match="mine is already loaded"):
        load_model(load_model(weights, device="cpu"), input_size=512)


def test_gates_are_the_models_own_or_those_of_its_name_or_sams(weights):
    model = load_model(weights, device="cpu")
    assert default_gates(model) == Gates(32, 0.88, 0.95, 1.0, 0.7, 0, 0.8)
    model.name = "tiny"
    assert default_gates(model) == list_models()[0].gates != Gates()
    model.gates = Gates(points_per_side=8)
    assert default_gates(model).points_per_side == 8


def test_auto_prefers_cuda_then_mps_then_cpu(monkeypatch):
    here = {"cuda": False, "mps": False}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: here["cuda"])
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: here["mps"])
    assert resolve_device("auto").type == "cpu"
    here["mps"] = True
    assert resolve_device("auto").type == resolve_device("mps").type == "mps"
    here["cuda"] = True
    assert resolve_device().type == "cuda"


@pytest.mark.parametrize(
    ("flags", "limit", "expected"),
    [
        ("fpu avx2 avx512f avx512_bf16", None, torch.bfloat16),
        ("fpu avx512f amx_bf16 amx_tile", "AVX512_CORE_AMX", torch.bfloat16),
        ("fpu avx512f avx512_bf16", "avx512_core_vnni", torch.float32),
        ("fpu avx2 avx512f avx512_vnni", None, torch.float32),
        (None, None, torch.float32),
    ],
)
def test_auto_is_bfloat16_where_the_processor_multiplies_in_it(tmp_path, monkeypatch, flags, limit, expected):
    info = tmp_path / "cpuinfo"
    if flags is not None:
        info.write_text(f"processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: {flags}\nbugs\t\t: none\n")
    monkeypatch.setattr(device, "CPU_INFO", info)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if limit is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    device._cpu_flags.cache_clear()
    try:
        assert resolve_dtype("auto", torch.device("cpu")) is expected
        assert resolve_dtype("float32", torch.device("cpu")) is torch.float32
    finally:
        device._cpu_flags.cache_clear()


def test_a_digest_without_its_type_is_that_of_the_file():
    assert device.untyped_digest(device.typed_digest("0a1b", torch.bfloat16)) == device.untyped_digest("0a1b") == "0a1b"


def test_auto_is_bfloat16_where_cuda_computes_in_it(monkeypatch):
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    monkeypatch.setattr(device, "_cuda_has_bfloat16", lambda _: True)
    assert resolve_dtype("auto", cuda) is resolve_dtype("bfloat16", cpu) is torch.bfloat16
    assert resolve_dtype("auto", cpu) is resolve_dtype(torch.float32, cuda) is torch.float32
    monkeypatch.setattr(device, "_cuda_has_bfloat16", lambda _: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "An old device")
    assert resolve_dtype("auto", cuda) is torch.float32
    with pytest.raises(ModelError, match="An old device does not compute in bfloat16; use"):
        resolve_dtype("bfloat16", cuda)


def test_a_device_that_is_not_here_is_refused_before_weights_are_read(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("cuda", "cuda:3", "mps"):
        with pytest.raises(ModelError, match=f"'{name}' is not available.*Use device='cpu'"):
            load_model("sam-vit-h", device=name)


@pytest.mark.parametrize(
    ("option", "value"), [("device", "gpu"), ("device", "xpu"), ("dtype", "float16"), ("dtype", torch.int8)]
)
def test_options_that_do_not_exist_are_refused(weights, option, value):
    with pytest.raises(OptionError, match=r"give (auto|a text)"):
        load_model(weights, **{"device": "cpu", option: value})


def test_names_are_listed_without_torch():
    code = "import sys, samgeo; samgeo.list_models(); sys.exit('torch' in sys.modules or 'huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603  our own code


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_answers_what_the_cpu_answers(weights):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    boxes = [[8, 8, 40, 40], [20, 3, 60, 64]]
    cpu, cuda = (load_model(weights, device=name, dtype="float32") for name in ("cpu", "cuda"))
    truth = cpu.decode(cpu.embed(pixels)[0], boxes=boxes)
    answer = cuda.decode(cuda.embed(pixels)[0], boxes=boxes)
    torch.testing.assert_close([part.cpu() for part in answer], list(truth), rtol=0, atol=1e-3)


def test_a_file_of_the_bundled_architecture_loads_by_its_path(tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(model_path("tiny").read_bytes())
    mine = load_model(path, device="cpu")
    assert mine.digest == load_model("tiny", device="cpu").digest
    assert default_gates(mine) == default_gates(load_model("tiny", device="cpu"))
