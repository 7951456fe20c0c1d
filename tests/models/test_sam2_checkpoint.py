"""SAM 2 checkpoints of both published layouts load; whatever else lies in a file is refused with a reason and a remedy."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from sam2_oracle import MEMORY, official_state, random_sam2, sam2_config
from sam_oracle import official_state as sam1_state
from sam_oracle import random_sam
from test_sam2 import assert_equal_answers, images, maps_of, prompts
from transformers import Sam2VideoConfig, Sam2VideoModel

from samgeo.errors import CheckpointError, OptionError
from samgeo.models.preprocessing import normalise
from samgeo.models.sam2 import is_sam2, load_sam2
from samgeo.models.sam2.architecture import BASE_PLUS, LARGE, SMALL, TINY, Architecture, Trunk
from samgeo.models.sam2.checkpoint import write_sam2
from samgeo.models.sam2.checkpoint_layouts import image_tensors
from samgeo.models.sam2.model import Sam2Network

PUBLISHED = {"tiny": TINY, "small": SMALL, "base plus": BASE_PLUS, "large": LARGE}
# Tensors and parameters of the official files of SAM 2.1, and the numbers in them that segment an image.
RECORDED = {
    "tiny": (471, 38_962_498, 31_440_977),
    "small": (519, 46_060_354, 38_538_833),
    "base plus": (615, 80_850_178, 73_328_657),
    "large": (903, 224_446_642, 216_925_121),
}

pytestmark = pytest.mark.usefixtures("one_thread")


def load(path, **options):
    return load_sam2(
        path, **{"name": "random", "device": torch.device("cpu"), "dtype": torch.float32, "input_size": 128, **options}
    )


@pytest.fixture(scope="module")
def oracle():
    return random_sam2()


@pytest.fixture
def state(oracle):
    return official_state(oracle)


@pytest.fixture
def file(state, oracle, tmp_path):
    path = tmp_path / "sam2.pt"
    torch.save({"model": state}, path)
    oracle.config.save_pretrained(tmp_path)
    return path


def config_of(architecture):
    """The configuration of transformers for a published model."""
    return sam2_config(
        image_size=1024,
        widths=architecture.widths,
        heads=architecture.trunk.heads,
        blocks=architecture.blocks,
        windows=architecture.trunk.windows,
        global_blocks=architecture.trunk.global_blocks,
        position_grid=architecture.position_grid,
        width=256,
        mlp_dim=2048,
        iou_width=256,
    )


def test_a_written_file_has_the_official_tensors_without_the_memory(file, state, tmp_path):
    network = load(file).network
    for name in ("one", "other"):
        write_sam2(network.state_dict(), network.architecture, tmp_path / f"{name}.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "other.safetensors").read_bytes()
    written = load_file(tmp_path / "one.safetensors")
    assert written.keys() == state.keys() - MEMORY.keys()
    assert all(torch.equal(written[name], state[name]) for name in written)
    (tmp_path / "config.json").unlink()
    again = load(tmp_path / "one.safetensors", input_size=None)
    assert again.architecture == network.architecture
    assert again.input_size == 128


def test_all_layouts_and_containers_hold_the_same_weights(oracle, state, tmp_path):
    oracle.save_pretrained(tmp_path)
    expected = load(tmp_path).network.state_dict()
    files = {
        "official": lambda path: torch.save({"model": state}, path),
        "fine-tuned": lambda path: torch.save({"model": state, "optimizer": {"state": {}}, "epoch": 3, "loss": {}}, path),
        "bare": lambda path: torch.save(state, path),
        "legacy": lambda path: torch.save({"model": state}, path, _use_new_zipfile_serialization=False),
        "double": lambda path: torch.save({name: tensor.double() for name, tensor in state.items()}, path),
        "parallel": lambda path: torch.save({f"module.{k}": v for k, v in state.items()}, path),
        "safetensors": lambda path: save_file(state, path),
        "bin": lambda path: torch.save(oracle.state_dict(), path),
    }
    for name, write in files.items():
        write(tmp_path / name)
        found = load(tmp_path / name).network.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in found), name


def test_the_sizes_come_from_the_tensors_and_the_configuration(file):
    model = load(file)
    assert model.architecture == Architecture(
        widths=(16, 32, 64, 128),
        blocks=(1, 2, 3, 1),
        trunk=Trunk((1, 2, 4, 8), (8, 4, 6, 3), (4,)),
        input_size=128,
        prompt_width=32,
        decoder_mlp_width=48,
        decoder_inner_width=16,
        iou_width=24,
    )
    assert (model.name, model.input_size) == ("random", 128)


def test_the_tensors_are_told_from_those_of_other_models(state, oracle):
    assert is_sam2(set(state))
    assert is_sam2(set(oracle.state_dict()))
    assert is_sam2({f"module.{name}" for name in state})
    assert not is_sam2(set(sam1_state(random_sam())))
    assert not is_sam2(set())


@pytest.mark.parametrize("model_type", ["sam2", "sam2_video"])
def test_published_sizes_are_recognised_without_a_configuration(model_type):
    for architecture in PUBLISHED.values():
        with torch.device("meta"):
            network = Sam2Network(architecture)
        shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        assert Architecture.from_shapes(shapes) == architecture
        config = {**config_of(architecture).to_diff_dict(), "model_type": model_type}
        assert Architecture.from_shapes(shapes, config) == architecture
        # The configuration of another model is not used.
        assert Architecture.from_shapes(shapes, sam2_config().to_dict()) == architecture


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_have_the_recorded_tensors(name):
    tensors, parameters, image = RECORDED[name]
    with torch.device("meta"):
        video = Sam2VideoModel(Sam2VideoConfig(vision_config=config_of(PUBLISHED[name]).vision_config))
        network = Sam2Network(PUBLISHED[name])
    state = video.state_dict()
    # An official file has a tensor for each of the four kinds of points, and the random frequencies once.
    assert len(state) + 3 - 1 == tensors
    assert sum(parameter.numel() for parameter in video.parameters()) == parameters
    expected = network.state_dict()
    assert sum(tensor.numel() for tensor in expected.values()) == image
    found = image_tensors(state)
    assert {key: tensor.shape for key, tensor in found.items()} == {key: tensor.shape for key, tensor in expected.items()}


def test_a_trunk_that_nothing_describes_is_refused(file):
    config = file.with_name("config.json")
    described = json.loads(config.read_text())
    described["vision_config"]["backbone_config"]["embed_dim_per_stage"] = [8, 16, 32, 64]
    config.write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match=r"the config.json beside the file describes \(8, 16, 32, 64\) channels"):
        load(file)
    config.unlink()
    with pytest.raises(CheckpointError, match=r"there is no config.json beside the file.*put the config.json of the model"):
        load(file)


@pytest.mark.parametrize(
    ("section", "change", "says"),
    [
        ((), {"model_type": "edgetam"}, "type 'edgetam', not sam2 or sam2_video"),
        (("mask_decoder_config",), {"num_attention_heads": 5}, "5 attention heads do not divide"),
        (("mask_decoder_config",), {"dynamic_multimask_via_stability": False}, "dynamic_multimask_via_stability is False"),
        (("vision_config",), {"fpn_top_down_levels": [0, 1, 2, 3]}, r"fpn_top_down_levels is \[0, 1, 2, 3\]"),
        (("vision_config", "backbone_config"), {"num_query_pool_stages": 2}, r"only with 3"),
        (("vision_config", "backbone_config"), {"num_attention_heads_per_stage": [3, 2, 4, 8]}, "3 attention heads do not"),
        (("vision_config", "backbone_config"), {"num_attention_heads_per_stage": [1, 2]}, "not one for each stage"),
        (("vision_config", "backbone_config"), {"window_size_per_stage": [4, 4, 6, 3]}, "its positions repeat every 8"),
        (("vision_config", "backbone_config"), {"window_size_per_stage": [8, 5, 6, 3]}, "cannot be halved"),
        (("vision_config", "backbone_config"), {"window_size_per_stage": "8"}, "a list of numbers is expected"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(file, section, change, says):
    config = file.with_name("config.json")
    described = json.loads(config.read_text())
    inner = described
    for key in section:
        inner = inner.setdefault(key, {})
    inner.update(change)
    config.write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match=says) as error:
        load(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("image_encoder.trunk.pos_embed"), "image_encoder.trunk.pos_embed is missing"),
        (lambda s: s.pop("no_mem_embed"), "1 tensors are missing, such as no_mem_embed"),
        (lambda s: s.pop("sam_mask_decoder.obj_score_token.weight"), "such as mask_decoder.obj_score_token.weight"),
        (lambda s: s.pop("image_encoder.trunk.blocks.6.proj.weight"), r"3 stages of \(1, 2, 4\) blocks"),
        (lambda s: s.update({"sam_mask_decoder.hf_token.weight": torch.zeros(1)}), "hf_token.weight: this is another"),
        (lambda s: s.update({"no_mem_embed": torch.zeros(1, 1, 7)}), r"no_mem_embed has shape \(1, 1, 7\), not \(1, 1, 32\)"),
        (lambda s: s["no_mem_embed"].fill_(float("nan")), "no_mem_embed holds values that are not finite"),
        (lambda s: s.update({"no_mem_embed": torch.zeros(1, 1, 32, dtype=torch.int8)}), "floating-point type is expected"),
        (lambda s: s.update({"sam_mask_decoder.mask_tokens.weight": torch.zeros(1, 32)}), "1 mask tokens"),
        (lambda s: s.clear(), "it is not a SAM 2"),
    ],
)
def test_weights_that_make_no_sam2_are_refused(state, file, change, says):
    change(state)
    torch.save({"model": state}, file)
    with pytest.raises(CheckpointError, match=says) as error:
        load(file)
    assert str(file) in str(error.value)


def test_files_of_other_kinds_are_refused(file, tmp_path, state):
    path = tmp_path / "other.pt"
    torch.save(sam1_state(random_sam()), path)
    with pytest.raises(CheckpointError, match="it is not a SAM 2"):
        load(path)
    path.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(CheckpointError, match="corrupt"):
        load(path)
    path.write_bytes(b"<html>Sign in</html>")
    with pytest.raises(CheckpointError, match="web page"):
        load(path)
    with pytest.raises(CheckpointError, match="there is no file"):
        load(tmp_path / "absent.pt")
    torch.save({"model": state, "extra": Payload()}, path)
    with pytest.raises(CheckpointError, match="could run code"):
        load(path)


class Payload:
    """It runs when a reader that trusts the file unpickles it."""

    def __reduce__(self):
        return (print, ("the payload ran",))


def test_the_digest_is_that_of_the_file(file):
    digest = load(file, input_size=1024).digest
    assert load(file, sha256=digest[:8]).digest == f"{digest}-128px"
    with pytest.raises(CheckpointError, match="has sha256"):
        load(file, sha256="0" * 64)


@pytest.mark.parametrize("side", [0, -128, 64, 1000, True, 512.0])
def test_an_input_size_that_cannot_be_is_refused(file, side):
    with pytest.raises(OptionError, match="input_size is"):
        load(file, input_size=side)


def test_windows_that_do_not_divide_the_input_are_refused(tmp_path):
    random_sam2(image_size=384, windows=(6, 4, 6, 3)).save_pretrained(tmp_path)
    assert load(tmp_path, input_size=384).input_size == 384
    with pytest.raises(OptionError, match="repeat every 24 pixels"):
        load(tmp_path, input_size=128)


def test_the_memory_is_dropped(state, file):
    assert state.keys() > MEMORY.keys()
    assert not load(file).network.state_dict().keys() & MEMORY.keys()


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["official", "hugging face"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_full_width_is_answered_as_by_transformers(name, layout, tmp_path):
    config = config_of(PUBLISHED[name])
    oracle = random_sam2(config=config, std=0.05)
    path = tmp_path
    if layout == "official":
        path = tmp_path / "official.pt"
        torch.save({"model": official_state(oracle)}, path)
    else:
        oracle.save_pretrained(tmp_path)
    model, pixels = load(path, input_size=1024), images(1, 1024)
    assert model.architecture == PUBLISHED[name]
    embedding = model.embed(pixels)
    with torch.inference_mode():
        maps = oracle.get_image_embeddings(normalise(torch.from_numpy(pixels)))
    torch.testing.assert_close(maps_of(embedding), maps, rtol=0, atol=1e-4)
    for multimask in (True, False):
        assert_equal_answers(model, embedding[0], oracle, prompts("points boxes", 4, 1024), multimask=multimask, least=0.1)
