"""Checkpoints of every published layout load; whatever else lies in a file is refused with a reason and a remedy."""

import hashlib
import json
import pickle

import pytest
import torch
from safetensors.torch import save_file
from sam_oracle import official_state, random_sam

from samgeo.errors import CheckpointError
from samgeo.models.registry import list_models
from samgeo.models.sam1.architecture import VIT_B, VIT_H, VIT_L, Architecture
from samgeo.models.sam1.checkpoint import build_network, load_checkpoint, save_checkpoint
from samgeo.models.sam1.model import SamNetwork


@pytest.fixture(scope="module")
def oracle():
    return random_sam()


@pytest.fixture
def state(oracle):
    return official_state(oracle)


@pytest.fixture
def file(state, tmp_path):
    path = tmp_path / "sam.pth"
    torch.save(state, path)
    return path


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_architecture_is_read_off_the_tensors(file):
    assert load_checkpoint(file).architecture == Architecture(
        width=32,
        depth=3,
        heads=2,
        mlp_width=128,
        global_blocks=(1,),
        window=3,
        grid=4,
        prompt_width=32,
        decoder_mlp_width=48,
        decoder_inner_width=16,
        iou_width=24,
    )


@pytest.mark.parametrize(("letter", "architecture"), [("b", VIT_B), ("l", VIT_L), ("h", VIT_H)])
def test_the_published_sizes_are_recognised(letter, architecture):
    with torch.device("meta"):
        network = SamNetwork(architecture)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert Architecture.from_shapes(shapes) == architecture
    info = next(info for info in list_models() if info.name == f"sam-vit-{letter}")
    assert info.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert info.input_size == architecture.input_size
    # A float32 file is its numbers and a little more.
    assert 0 < info.size_bytes - 4 * info.parameters < 200_000


def test_the_digest_is_that_of_the_file(file):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert load_checkpoint(file).digest == digest
    assert load_checkpoint(file, sha256=digest[:8].upper()).digest == digest
    with pytest.raises(CheckpointError, match="has sha256"):
        load_checkpoint(file, sha256="0" * 64)


def test_all_layouts_and_containers_hold_the_same_weights(oracle, state, tmp_path):
    written = tmp_path / "hf"
    oracle.save_pretrained(written)
    files = {
        "safetensors": lambda path: save_file(state, path),
        "legacy": lambda path: torch.save(state, path, _use_new_zipfile_serialization=False),
        "double": lambda path: torch.save({name: tensor.double() for name, tensor in state.items()}, path),
        "wrapped": lambda path: torch.save({"model": state, "epoch": 3}, path),
        "lightning": lambda path: torch.save({"state_dict": {f"model.sam.{k}": v for k, v in state.items()}}, path),
        "parallel": lambda path: torch.save({f"module.{k}": v for k, v in state.items()}, path),
        # Published .bin files have the random frequencies under both names.
        "bin": lambda path: torch.save(oracle.state_dict(), path),
    }
    for name, write in files.items():
        write(tmp_path / name)
        assert same(load_checkpoint(tmp_path / name).weights, state), name
    for path in (written, written / "model.safetensors"):
        assert same(load_checkpoint(path).weights, state)


def test_what_we_write_we_read(file, tmp_path):
    checkpoint = load_checkpoint(file)
    own = tmp_path / "own.safetensors"
    save_checkpoint(build_network(checkpoint), own)
    again = load_checkpoint(own)
    assert again.architecture == checkpoint.architecture
    assert same(again.weights, checkpoint.weights)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_without_relative_positions_a_configuration_is_needed(tmp_path):
    oracle = random_sam(relative=False, heads=4, window=2, global_blocks=(0, 2))
    oracle.save_pretrained(tmp_path)
    architecture = load_checkpoint(tmp_path).architecture
    assert (architecture.heads, architecture.window, architecture.global_blocks) == (4, 2, (0, 2))
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match="do not define heads, window, global_blocks; keep"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "sam2"}, "type 'sam2'"),
        ({"model_type": "sam", "mask_decoder_config": {"num_attention_heads": 5}}, "5 attention heads do not divide"),
        ({"model_type": "sam", "mask_decoder_config": {"num_attention_heads": "8"}}, "a number is expected"),
        ([], "not a JSON object"),
    ],
)
def test_a_configuration_that_contradicts_the_weights_is_refused(file, config, says):
    file.with_name("config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=says):
        load_checkpoint(file)


class Payload:
    """Runs when unpickled by a reader that trusts the file."""

    def __reduce__(self):
        return (print, ("the payload ran",))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_payload_is_never_run(state, tmp_path, capsys, zipped):
    path = tmp_path / "evil.pth"
    torch.save({**state, "extra": Payload()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="could run code"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    assert "payload" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "neither a safetensors file"),
        (b"weights are at the usual place\n", "neither a safetensors file"),
        (b"\n<!DOCTYPE html><html>Sign in</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "git lfs pull"),
        (b"PK\x03\x04 and no more", "truncated or corrupt"),
        (b"\x80\x02}q\x00.", "corrupt"),
        ((2**40).to_bytes(8, "little") + b'{"a":', "truncated or corrupt"),
    ],
)
def test_what_is_no_checkpoint_is_told_apart(tmp_path, content, says):
    path = tmp_path / "sam.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=says) as error:
        load_checkpoint(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("container", ["zip", "legacy", "safetensors"])
def test_a_truncated_file_is_refused(state, tmp_path, container, share):
    path = tmp_path / "sam"
    if container == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=container == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match="corrupt"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("image_encoder.pos_embed"), "image_encoder.pos_embed is missing"),
        (lambda s: s.pop("mask_decoder.iou_token.weight"), "1 tensors are missing, such as mask_decoder.iou_token.weight"),
        (lambda s: s.update({"image_encoder.adapter.weight": torch.zeros(1)}), "image_encoder.adapter.weight: this is another"),
        (lambda s: s.update({"image_encoder.neck.1.bias": torch.zeros(7)}), r"neck.1.bias has shape \(7,\), not \(32,\)"),
        (lambda s: s.update({"image_encoder.pos_embed": torch.zeros(4, 4)}), "pos_embed has shape"),
        (lambda s: s["image_encoder.neck.1.bias"].fill_(float("nan")), "neck.1.bias holds values that are not finite"),
        (lambda s: s["mask_decoder.iou_token.weight"].fill_(float("inf")), "iou_token.weight holds values that are not finite"),
        (
            lambda s: s.update({"image_encoder.neck.1.bias": torch.zeros(32, dtype=torch.int8)}),
            "floating-point type is expected",
        ),
        (lambda s: s.update({"image_encoder.blocks.2.attn.rel_pos_h": torch.zeros(13, 16)}), r"windows of \[3, 7\] patches"),
        (lambda s: s.update({"epoch": 7}), "values that are not tensors: epoch"),
        (lambda s: s.clear(), "is missing"),
    ],
)
def test_weights_that_make_no_sam_are_refused(state, tmp_path, change, says):
    change(state)
    path = tmp_path / "sam.pth"
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=says) as error:
        load_checkpoint(path)
    assert str(path) in str(error.value)


def test_a_list_is_no_checkpoint(tmp_path):
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="contains a list"):
        load_checkpoint(tmp_path / "list.pth")


def test_a_path_without_weights_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="there is no file"):
        load_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(CheckpointError, match=r"contains none of model\.safetensors"):
        load_checkpoint(tmp_path)
